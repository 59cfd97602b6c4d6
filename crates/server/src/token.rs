//! The bearer token that clients must send.

use runtime::WrongUse;
use std::path::Path;

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
