//! Quantities as the Kubernetes API writes them: `250m`, `1.5Gi`, `1288490188800m`, `2E9`.

use num_bigint::BigUint;
use num_traits::{Pow, ToPrimitive, Zero};

/// A text that is not a Kubernetes quantity.
///
/// Spec: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {wanted} quantity: {problem}")]
pub struct ParseQuantityError {
    /// What was read, at most [`SHOWN`] characters of it.
    pub text: String,
    /// What was wanted, such as `cpu`.
    pub wanted: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Characters of a wrong text that are repeated.
const SHOWN: usize = 60;
/// The API server takes longer ones; nobody writes them, and reading one takes a time that grows with the square of its length.
const MAX_LENGTH: usize = 512;
/// The largest amount that the API keeps: what is larger becomes this one.
const MAX: u64 = i64::MAX as u64;
/// The finest amount that it keeps: what is finer is rounded up to the next billionth.
const NANO: i64 = 9;
/// Decimal digits before the point from which on an amount is larger than [`MAX`] whatever else it holds.
const MANY_DIGITS: i64 = 20;

/// Suffixes and their powers of two.
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
/// Suffixes and their powers of ten.
const DECIMAL: [(&str, i64); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// An amount that is not negative, in billionths of a unit, at most 2^63 − 1 units. What a text has beyond that is capped and rounded up, as
/// the API does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity {
    nano: u128,
}

impl Quantity {
    /// Reads a quantity: a number with at most one point, and a suffix, which is binary (`Ki` to `Ei`), decimal (`n` to `E`) or an exponent
    /// (`e3`, `E-3`).
    pub(crate) fn parse(text: &str, wanted: &'static str) -> Result<Self, ParseQuantityError> {
        let refused = |problem| ParseQuantityError { text: text.chars().take(SHOWN).collect(), wanted, problem };
        if text.len() > MAX_LENGTH {
            return Err(refused("it is longer than 512 characters"));
        }
        let (is_negative, number) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = number.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(number.len());
        let (digits, suffix) = number.split_at(end);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(refused("it does not begin with a number"));
        }
        if fraction.contains('.') {
            return Err(refused("it has two decimal points"));
        }
        let suffix = Suffix::parse(suffix)
            .ok_or_else(|| refused("its unit is none of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, e3"))?;
        let quantity = Self::of(whole, fraction, suffix);
        if is_negative && quantity.nano > 0 {
            return Err(refused("it is negative"));
        }
        Ok(quantity)
    }

    /// `whole.fraction × suffix`, exactly, then capped and rounded up.
    fn of(whole: &str, fraction: &str, suffix: Suffix) -> Self {
        let significant = format!("{whole}{fraction}");
        let digits = significant.trim_start_matches('0').trim_end_matches('0');
        if digits.is_empty() {
            return Self { nano: 0 };
        }
        let trailing = significant.len() - significant.trim_end_matches('0').len();
        // The amount is 0.d₁d₂… × 10^before × 2^binary.
        let (decimal, binary) = match suffix {
            Suffix::Binary(power) => (0, power),
            Suffix::Decimal(power) => (power, 0),
        };
        let exponent = decimal.saturating_add(trailing as i64).saturating_sub(fraction.len() as i64);
        let before = exponent.saturating_add(digits.len() as i64);
        let cap = u128::from(MAX) * 10_u128.pow(NANO as u32);
        if before >= MANY_DIGITS {
            return Self { nano: cap };
        }
        // Even times 2^60, which has 19 digits, less than a billionth is left.
        if before < -(NANO + MANY_DIGITS) {
            return Self { nano: 1 };
        }
        let amount = digits.bytes().fold(BigUint::zero(), |amount, digit| amount * 10_u32 + u32::from(digit - b'0'));
        let amount = amount << binary;
        let power = exponent + NANO;
        let ten = |power: i64| BigUint::from(10_u32).pow(power.unsigned_abs());
        let nano = if power >= 0 {
            amount * ten(power)
        } else {
            let divisor = ten(power);
            (amount + &divisor - 1_u32) / divisor
        };
        Self { nano: nano.to_u128().unwrap_or(cap).min(cap) }
    }

    /// In whole units, a part of one rounded up.
    pub(crate) fn units(self) -> u64 {
        self.scaled(NANO)
    }

    /// In whole thousandths, a part of one rounded up; at most 2^63 − 1 of them.
    pub(crate) fn thousandths(self) -> u64 {
        self.scaled(NANO - 3)
    }

    fn scaled(self, places: i64) -> u64 {
        let scaled = self.nano.div_ceil(10_u128.pow(places as u32));
        u64::try_from(scaled).unwrap_or(MAX).min(MAX)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Suffix {
    /// A power of two.
    Binary(u32),
    /// A power of ten.
    Decimal(i64),
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        if let Some((_, power)) = BINARY.into_iter().find(|(suffix, _)| *suffix == text) {
            return Some(Self::Binary(power));
        }
        if let Some((_, power)) = DECIMAL.into_iter().find(|(suffix, _)| *suffix == text) {
            return Some(Self::Decimal(power));
        }
        let exponent = text.strip_prefix(['e', 'E'])?;
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let power: i64 = digits.parse().unwrap_or(i64::MAX);
        Some(Self::Decimal(if exponent.starts_with('-') { -power } else { power }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nano(text: &str) -> u128 {
        Quantity::parse(text, "test").unwrap_or_else(|error| panic!("{error}")).nano
    }

    const CAP: u128 = 9_223_372_036_854_775_807_000_000_000;
    const UNIT: u128 = 1_000_000_000;

    /// What apimachinery's own tests want of `resource.ParseQuantity`, in billionths.
    #[test]
    fn every_form_is_read_as_the_api_server_reads_it() {
        for zero in ["0", "0n", "0u", "0m", "0Ki", "0k", "0Mi", "0M", "0Gi", "0G", "0Ti", "0T", "-0", "0e10", "0.000"] {
            assert_eq!(nano(zero), 0, "{zero}");
        }
        for (text, wanted) in [
            ("1", UNIT),
            // Binary.
            ("1Ki", 1_024 * UNIT),
            ("8Ki", 8_192 * UNIT),
            ("7Mi", 7_340_032 * UNIT),
            ("6Gi", 6_442_450_944 * UNIT),
            ("5Ti", 5_497_558_138_880 * UNIT),
            ("4Pi", 4_503_599_627_370_496 * UNIT),
            ("3Ei", 3_458_764_513_820_540_928 * UNIT),
            ("10Ti", 10_995_116_277_760 * UNIT),
            // Decimal.
            ("5n", 5),
            ("4u", 4_000),
            ("3m", 3_000_000),
            ("9", 9 * UNIT),
            ("8k", 8_000 * UNIT),
            ("50k", 50_000 * UNIT),
            ("7M", 7_000_000 * UNIT),
            ("6G", 6_000_000_000 * UNIT),
            ("5T", 5_000_000_000_000 * UNIT),
            ("2P", 2_000_000_000_000_000 * UNIT),
            ("1E", 1_000_000_000_000_000_000 * UNIT),
            // Exponents: of a number that is too small for one, an `E` is the unit.
            ("1E-3", 1_000_000),
            ("1e3", 1_000 * UNIT),
            ("1E6", 1_000_000 * UNIT),
            ("1e9", 1_000_000_000 * UNIT),
            ("1E18", 1_000_000_000_000_000_000 * UNIT),
            ("1e14", 100_000_000_000_000 * UNIT),
            ("0.5e0", 500_000_000),
            ("0.5e-1", 50_000_000),
            ("1.3E+6", 1_300_000 * UNIT),
            ("1.40e9", 1_400_000_000 * UNIT),
            ("1.7E18", 1_700_000_000_000_000_000 * UNIT),
            // With a point.
            ("100.035k", 100_035 * UNIT),
            ("0.001", 1_000_000),
            ("0.0005k", 500_000_000),
            ("0.05000", 50_000_000),
            ("10.035M", 10_035_000 * UNIT),
            ("7.123456M", 7_123_456 * UNIT),
            ("6.987654321G", 6_987_654_321 * UNIT),
            ("40.1T", 40_100_000_000_000 * UNIT),
            ("2.5P", 2_500_000_000_000_000 * UNIT),
            ("1.01E", 1_010_000_000_000_000_000 * UNIT),
            ("100.035Ki", 102_435_840_000_000),
            ("0.5Mi", 524_288 * UNIT),
            ("0.05Gi", 53_687_091_200_000_000),
            ("0.025Ti", 27_487_790_694_400_000_000),
            (".001", 1_000_000),
            (".0001k", 100_000_000),
            ("1.", UNIT),
            ("1.G", 1_000_000_000 * UNIT),
            ("+1.5Gi", 1_610_612_736 * UNIT),
            // Finer than a billionth: rounded up, however little it is.
            ("3.001n", 4),
            ("1.1E-9", 2),
            ("0.0000000001", 1),
            ("0.00000000050", 1),
            ("0.5e-9", 1),
            ("0.9n", 1),
            ("0.00000012345", 124),
            ("0.00000012354", 124),
            ("0.000000000001Ki", 2),
            ("1e-400", 1),
            // More than 2^63 − 1: capped.
            ("9Ei", CAP),
            ("9223372036854775807Ki", CAP),
            ("9223372036854775807", CAP),
            ("9223372036854775808", CAP),
            ("12E", CAP),
            ("1e400", CAP),
            ("1e99999999999999999999", CAP),
            ("340282366920938463463374607431.7682114551", CAP),
            ("99999999999999999999999999999999999999", CAP),
            // What the API server makes of 1.2Gi and 0.1Gi.
            ("1288490188800m", 1_288_490_188_800_000_000),
            ("107374182400m", 107_374_182_400_000_000),
        ] {
            assert_eq!(nano(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_quantity_is_refused_with_its_text() {
        for text in [
            "", "m", ".", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i", "3.01i", "3.01e-", "1e", "1e+",
            "1E1.5", " 1", "1 ", "1 Gi", "1K", "1KiB", "1ki", "0x10", "1_000", "٣", "NaN", "inf", "-1", "-0.1m", "--1",
            "+-1", "1e3m",
        ] {
            let error = Quantity::parse(text, "memory").expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
        let long = Quantity::parse(&"9".repeat(100_000), "memory").expect_err("too long");
        assert!(long.to_string().len() < 200, "{long}");
    }

    #[test]
    fn a_part_of_a_unit_counts_as_one() {
        let of = |text: &str| Quantity::parse(text, "test").map(|quantity| (quantity.units(), quantity.thousandths()));
        assert_eq!(of("1288490188800m"), Ok((1_288_490_189, 1_288_490_188_800)));
        assert_eq!(of("100u"), Ok((1, 1)));
        assert_eq!(of("250000u"), Ok((1, 250)));
        assert_eq!(of("1E"), Ok((1_000_000_000_000_000_000, i64::MAX as u64)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-+]?[0-9.]{0,40}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,25}|.{0,24}") {
            let _ = Quantity::parse(&text, "test");
        }

        #[test]
        fn more_digits_are_never_less(whole in 0_u64..1_000_000, fraction in "[0-9]{0,30}", suffix in "(m|k|Ki|Gi|e3|e-7)?") {
            let of = |text: String| Quantity::parse(&text, "test").expect("a quantity");
            let (less, more) = (of(format!("{whole}.{fraction}{suffix}")), of(format!("{whole}.{fraction}1{suffix}")));
            let next = of(format!("{}{suffix}", whole + 1));
            prop_assert!(less <= more && more <= next);
        }
    }
}
