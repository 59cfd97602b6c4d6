//! Quantities that carry their unit in their type.

use crate::quantity::{ParseQuantityError, Quantity};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// An amount of CPU in integer millicores, as Kubernetes counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cores {
    millicores: u64,
}

impl Cores {
    /// From whole millicores.
    pub const fn from_millicores(millicores: u64) -> Self {
        Self { millicores }
    }

    /// In whole millicores.
    pub const fn millicores(self) -> u64 {
        self.millicores
    }

    /// In cores, for arithmetic on usage.
    pub fn as_f64(self) -> f64 {
        self.millicores as f64 / 1_000.0
    }

    /// Room left, or `None` when the requests already exceed `self`.
    pub fn checked_sub(self, requested: Self) -> Option<Self> {
        let millicores = self.millicores.checked_sub(requested.millicores)?;
        Some(Self { millicores })
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.millicores)
    }
}

impl FromStr for Cores {
    type Err = ParseQuantityError;

    /// Reads every form of a Kubernetes quantity: `250m`, `0.25`, `2`, `1e-1`, `250000u`. A finer part than a millicore is rounded up, as
    /// kube-scheduler does; more than 2^63 − 1 millicores are that many.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { millicores: Quantity::parse(text, "cpu")?.thousandths() })
    }
}

/// An amount of memory or storage in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes {
    bytes: u64,
}

impl Bytes {
    /// From whole bytes.
    pub const fn new(bytes: u64) -> Self {
        Self { bytes }
    }

    /// In whole bytes.
    pub const fn get(self) -> u64 {
        self.bytes
    }

    /// As a float, for arithmetic on usage.
    pub fn as_f64(self) -> f64 {
        self.bytes as f64
    }

    /// Room left, or `None` when the requests already exceed `self`.
    pub fn checked_sub(self, requested: Self) -> Option<Self> {
        let bytes = self.bytes.checked_sub(requested.bytes)?;
        Some(Self { bytes })
    }
}

/// Binary suffixes, by which bytes are written.
const BINARY: [(&str, u64); 6] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("Pi", 1 << 50), ("Ei", 1 << 60)];

impl fmt::Display for Bytes {
    /// The largest binary suffix that loses nothing: `512Mi`, `1500`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = BINARY.iter().rev().find(|(_, factor)| self.bytes > 0 && self.bytes.is_multiple_of(*factor));
        match exact {
            Some((suffix, factor)) => write!(f, "{}{suffix}", self.bytes / factor),
            None => write!(f, "{}", self.bytes),
        }
    }
}

impl FromStr for Bytes {
    type Err = ParseQuantityError;

    /// Reads every form of a Kubernetes quantity: `1.5Gi`, `1288490188800m`, `1e9`. A part of a byte is rounded up, as kube-scheduler does; more
    /// than 2^63 − 1 bytes are that many.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { bytes: Quantity::parse(text, "memory")?.units() })
    }
}

macro_rules! quantity_as_string {
    ($($quantity:ty),*) => {$(
        impl TryFrom<String> for $quantity {
            type Error = ParseQuantityError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$quantity> for String {
            fn from(quantity: $quantity) -> Self {
                quantity.to_string()
            }
        }
    )*};
}
quantity_as_string!(Cores, Bytes);

/// Usage ÷ allocatable. Finite and at least 0; may exceed 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
pub struct Utilization(f64);

impl Utilization {
    /// `None` for NaN, infinities and negative values.
    pub fn new(ratio: f64) -> Option<Self> {
        (ratio.is_finite() && ratio >= 0.0).then_some(Self(ratio))
    }

    /// As a ratio, not percent.
    pub const fn ratio(self) -> f64 {
        self.0
    }
}

/// The name of a Kubernetes node (`metadata.name`), not its `instance`, host name or address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(String);

impl NodeName {
    /// Any text that names a node in the source; it is not checked against DNS rules, since traces use other names.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The plain text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A map by node is asked by text without making a name of it.
impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The two resources that Berth forecasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Node CPU.
    Cpu,
    /// Node memory.
    Memory,
}

impl Resource {
    /// Both, in the order of every table.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Memory];

    /// `cpu` or `memory`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cores_are_read_as_digits() {
        for (text, millicores) in [
            ("0.251", 251),
            ("250m", 250),
            ("2", 2_000),
            (".5", 500),
            ("0.0001", 1),
            ("0", 0),
            ("5E-1", 500),
            ("100000000n", 100),
        ] {
            assert_eq!(text.parse::<Cores>().map(Cores::millicores), Ok(millicores), "{text}");
        }
    }

    #[test]
    fn bytes_take_binary_and_decimal_suffixes() {
        for (text, bytes) in [
            ("512Mi", 536_870_912),
            ("1.5Gi", 1_610_612_736),
            ("1k", 1_000),
            ("7", 7),
            ("1G", 1_000_000_000),
            ("1288490188800m", 1_288_490_189),
        ] {
            assert_eq!(text.parse::<Bytes>().map(Bytes::get), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_utilization_is_finite_and_not_negative() {
        assert_eq!(Utilization::new(f64::NAN), None);
        assert_eq!(Utilization::new(-0.1), None);
        assert_eq!(Utilization::new(1.2).map(Utilization::ratio), Some(1.2));
    }

    proptest! {
        #[test]
        fn quantities_survive_display_and_parse(amount in 0..=i64::MAX as u64) {
            prop_assert_eq!(Bytes::new(amount).to_string().parse::<Bytes>(), Ok(Bytes::new(amount)));
            prop_assert_eq!(Cores::from_millicores(amount).to_string().parse::<Cores>(), Ok(Cores::from_millicores(amount)));
        }
    }
}
