//! How fields are written and read.

use crate::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A field that may be `null` but has to be there: serde takes an absent `Option` for `None`, which hides a renamed field.
pub(crate) fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Models answer in single precision: more digits would say nothing, and lengthen an answer with thousands of nodes.
pub(crate) mod single {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f32(*value as f32)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        f64::deserialize(deserializer)
    }
}

/// The same for a value that may be unknown.
pub(crate) mod single_option {
    use serde::{Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|value| value as f32).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        super::required(deserializer)
    }
}

/// The parts of a score: each is there, `null` where it is unknown.
pub(crate) mod parts {
    use cluster::score::Parts;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wire {
        #[serde(with = "super::single_option")]
        load: Option<f64>,
        #[serde(with = "super::single_option")]
        placement: Option<f64>,
        #[serde(with = "super::single_option")]
        anomaly: Option<f64>,
    }

    pub fn serialize<S: Serializer>(parts: &Parts, serializer: S) -> Result<S::Ok, S::Error> {
        let Parts { load, placement, anomaly } = *parts;
        Wire { load, placement, anomaly }.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Parts, D::Error> {
        let Wire { load, placement, anomaly } = Wire::deserialize(deserializer)?;
        Ok(Parts { load, placement, anomaly })
    }
}

/// Milliseconds in a field that is RFC 3339 on the wire, by `#[serde(serialize_with = "score_api::rfc3339")]`.
///
/// # Errors
/// Those of the serializer.
pub fn rfc3339<S: Serializer>(millis: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    Timestamp::from_millis(*millis).serialize(serializer)
}
