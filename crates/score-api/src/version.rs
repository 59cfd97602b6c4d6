//! Which form of the answers a server speaks.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the answers below `/v1`, written as `api_version`. Fields may be added to it, none may be taken away or renamed; a change
/// that a client has to know of makes it another version, which this one refuses to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiVersion;

impl ApiVersion {
    /// The number on the wire.
    pub const NUMBER: u64 = 1;
}

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            Self::NUMBER => Ok(Self),
            other => {
                Err(D::Error::invalid_value(Unexpected::Unsigned(other), &"`api_version` 1, the one that is read here"))
            }
        }
    }
}
