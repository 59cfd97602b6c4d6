//! Text as people's programs write it: encodings, separators, times. Shared by all who read tables of others.

mod dialect;
mod encoding;
mod moment;

pub use dialect::{Dialect, DialectError, likely_delimiter};
pub use encoding::{EncodingError, unpacked, utf8};
pub use moment::{Moment, epoch_millis, parse_moment};
