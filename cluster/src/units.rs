//! Quantities that carry their unit in their type.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// A text that is no Kubernetes quantity.
///
/// Spec: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {wanted} quantity: {problem}")]
pub struct ParseQuantityError {
    /// What was read.
    pub text: String,
    /// What was wanted, such as `cpu`.
    pub wanted: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

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

    /// Reads `250m`, `0.25` or `2`. A finer part than a millicore is rounded up, as the API server does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nano = match text.strip_suffix('m') {
            Some(digits) => decimal(text, digits, "cpu", 6)?,
            None => decimal(text, text, "cpu", 9)?,
        };
        let millicores = u64::try_from(nano.div_ceil(1_000_000))
            .map_err(|_| problem(text, "cpu", "it is larger than 2^64 millicores"))?;
        Ok(Self { millicores })
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

/// Suffixes of the quantity spec, the longer first so that `Ki` is not taken for `i`.
const BYTE_SUFFIXES: [(&str, u128); 13] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("", 1),
];

impl fmt::Display for Bytes {
    /// The largest binary suffix that loses nothing: `512Mi`, `1500`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact =
            BYTE_SUFFIXES[..6].iter().rev().find(|(_, factor)| self.bytes > 0 && u128::from(self.bytes) % factor == 0);
        match exact {
            Some((suffix, factor)) => write!(f, "{}{suffix}", u128::from(self.bytes) / factor),
            None => write!(f, "{}", self.bytes),
        }
    }
}

impl FromStr for Bytes {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, factor) = BYTE_SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
            .unwrap_or((text, 1));
        let nano = decimal(text, digits, "memory", 9)?;
        let bytes = nano
            .checked_mul(factor)
            .map(|scaled| scaled.div_ceil(1_000_000_000))
            .and_then(|bytes| u64::try_from(bytes).ok())
            .ok_or_else(|| problem(text, "memory", "it is larger than 2^64 bytes"))?;
        Ok(Self { bytes })
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

/// Reads `digits` (such as `0.251`) as a number of 10^-`places`, digit by digit: a float would turn 0.251 into 250 m.
fn decimal(text: &str, digits: &str, wanted: &'static str, places: usize) -> Result<u128, ParseQuantityError> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(problem(text, wanted, "it has no digits"));
    }
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(problem(text, wanted, "only digits, one point and a unit suffix are allowed"));
    }
    let kept = &fraction[..fraction.len().min(places)];
    let dropped = &fraction[kept.len()..];
    let value: u128 =
        format!("{whole}{kept:0<places$}").parse().map_err(|_| problem(text, wanted, "it is too large"))?;
    let round_up = dropped.bytes().any(|byte| byte != b'0');
    Ok(value + u128::from(round_up))
}

fn problem(text: &str, wanted: &'static str, problem: &'static str) -> ParseQuantityError {
    ParseQuantityError { text: text.to_owned(), wanted, problem }
}

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
        for (text, millicores) in [("0.251", 251), ("250m", 250), ("2", 2_000), (".5", 500), ("0.0001", 1), ("0", 0)] {
            assert_eq!(text.parse::<Cores>().map(Cores::millicores), Ok(millicores), "{text}");
        }
    }

    #[test]
    fn bytes_take_binary_and_decimal_suffixes() {
        for (text, bytes) in
            [("512Mi", 536_870_912), ("1.5Gi", 1_610_612_736), ("1k", 1_000), ("7", 7), ("1G", 1_000_000_000)]
        {
            assert_eq!(text.parse::<Bytes>().map(Bytes::get), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_its_text() {
        for text in ["", "m", "-1", "1e3m", "one", "1.2.3", "99999999999999999999999999999999999999"] {
            let error = text.parse::<Cores>().expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
        assert!("1KiB".parse::<Bytes>().is_err());
    }

    #[test]
    fn a_utilization_is_finite_and_not_negative() {
        assert_eq!(Utilization::new(f64::NAN), None);
        assert_eq!(Utilization::new(-0.1), None);
        assert_eq!(Utilization::new(1.2).map(Utilization::ratio), Some(1.2));
    }

    proptest! {
        #[test]
        fn quantities_survive_display_and_parse(amount in any::<u64>()) {
            prop_assert_eq!(Bytes::new(amount).to_string().parse::<Bytes>(), Ok(Bytes::new(amount)));
            prop_assert_eq!(Cores::from_millicores(amount).to_string().parse::<Cores>(), Ok(Cores::from_millicores(amount)));
        }

        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = text.parse::<Cores>();
            let _ = text.parse::<Bytes>();
        }
    }
}
