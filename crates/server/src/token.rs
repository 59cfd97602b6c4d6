//! The bearer token that clients must send.

use crate::ApiError;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use runtime::WrongUse;
use std::fmt;
use std::path::Path;

/// A token. It is shown nowhere.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// A token by its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Looks at a request's headers before anything else of it is read.
    ///
    /// # Errors
    /// 401 where they do not have this token.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if given.is_some_and(|given| is_same(given.trim().as_bytes(), self.0.as_bytes())) {
            return Ok(());
        }
        Err(ApiError {
            status: StatusCode::UNAUTHORIZED,
            message: "a bearer token is wanted, and this is not it".to_owned(),
        })
    }
}

/// Equality in a time that does not tell how much of it agrees.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
}

/// The token in a file, without white space around it.
///
/// # Errors
/// A file that cannot be read or is empty.
pub fn read_token(path: &Path) -> anyhow::Result<String> {
    let text = runtime::files::read_text(path)?;
    let token = text.trim();
    anyhow::ensure!(!token.is_empty(), WrongUse(format!("token file `{}` is empty", path.display())));
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_taken_and_it_is_not_shown() {
        let token = Token::new("secret-word");
        let with = |value: &str| {
            let headers: HeaderMap = [(AUTHORIZATION, value.parse().expect("a value"))].into_iter().collect();
            token.check(&headers).map_err(|error| error.status.as_u16())
        };
        assert_eq!(with("Bearer secret-word"), Ok(()));
        for wrong in ["Bearer secret-wor", "Bearer secret-word-", "Bearer ", "Basic secret-word", "secret-word"] {
            assert_eq!(with(wrong), Err(401), "{wrong}");
        }
        assert_eq!(token.check(&HeaderMap::new()).map_err(|error| error.status.as_u16()), Err(401));
        assert!(!format!("{token:?}").contains("secret"));
    }
}
