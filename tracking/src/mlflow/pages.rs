//! Lists that come page by page, up to an end that a server may not have.

use crate::TrackingError;
use std::collections::HashSet;

/// Pages of one list, a thousand entries each: more is no list that anybody made.
const MOST_PAGES: usize = 1_000;

/// Where a list has been read up to.
#[derive(Debug, Default)]
pub(super) struct Pages {
    token: String,
    seen: HashSet<String>,
}

impl Pages {
    /// The token of the page that is asked for next; empty for the first one.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Goes on to the page that `next` names; false where there is none.
    ///
    /// # Errors
    /// A token that came before, or more pages than a list has: it would go on for ever.
    pub fn turn(&mut self, next: String, server: &str, doing: &str) -> Result<bool, TrackingError> {
        if next.is_empty() {
            return Ok(false);
        }
        let why = if self.seen.len() >= MOST_PAGES {
            format!("it gives more than {MOST_PAGES} pages")
        } else if !self.seen.insert(next.clone()) {
            format!("it gives the page token `{}` a second time", next.chars().take(100).collect::<String>())
        } else {
            self.token = next;
            return Ok(true);
        };
        Err(TrackingError::Foreign { server: server.to_owned(), doing: doing.to_owned(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_end_is_an_error() {
        let mut pages = Pages::default();
        let mut turn = |next: &str| pages.turn(next.to_owned(), "http://mlflow", "list versions");
        assert!(turn("a").expect("a page") && turn("b").expect("a page") && !turn("").expect("the end"));
        let error = turn("a").expect_err("a circle").to_string();
        assert!(error.contains("`a` a second time") && error.contains("list versions"), "{error}");
        let mut pages = Pages::default();
        let mut turn = |next: usize| pages.turn(next.to_string(), "http://mlflow", "list versions");
        assert!((0..MOST_PAGES).all(|page| turn(page).expect("a page")));
        assert!(turn(MOST_PAGES).expect_err("too many").to_string().contains("more than 1000 pages"));
    }
}
