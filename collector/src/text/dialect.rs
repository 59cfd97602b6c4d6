//! How a table in text separates its columns, and the whole of a number from its part.

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    delimiter: u8,
    decimal: Decimal,
}

/// What separates the whole of a number from its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decimal {
    Point,
    Comma,
    /// Each number shows it.
    Either,
}

/// A dialect that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialectError {
    /// Such as a letter.
    #[error("the delimiter {0:?} is not one of `,`, `;`, `|`, a tab or a space")]
    Delimiter(char),
    /// Neither point nor comma.
    #[error("the decimal mark {0:?} is neither `.` nor `,`")]
    Decimal(char),
    /// One character for both.
    #[error("`,` cannot both separate columns and be the decimal mark")]
    Both,
}

const DELIMITERS: [char; 5] = [',', ';', '\t', '|', ' '];

impl Default for Dialect {
    /// Commas between columns, a point in numbers.
    fn default() -> Self {
        Self { delimiter: b',', decimal: Decimal::Point }
    }
}

impl Dialect {
    /// By its two characters.
    ///
    /// # Errors
    /// See [`DialectError`].
    pub fn new(delimiter: char, decimal: char) -> Result<Self, DialectError> {
        if !DELIMITERS.contains(&delimiter) {
            return Err(DialectError::Delimiter(delimiter));
        }
        let decimal = match (delimiter, decimal) {
            (',', ',') => return Err(DialectError::Both),
            (_, '.') => Decimal::Point,
            (_, ',') => Decimal::Comma,
            _ => return Err(DialectError::Decimal(decimal)),
        };
        Ok(Self { delimiter: delimiter as u8, decimal })
    }

    /// Of a table whose columns are separated by something else than commas, and of which nobody says how its numbers are written: one
    /// comma or one point in a number is its decimal mark.
    ///
    /// # Errors
    /// [`DialectError::Delimiter`].
    pub fn with_either_mark(delimiter: char) -> Result<Self, DialectError> {
        Ok(Self { decimal: Decimal::Either, ..Self::new(delimiter, '.')? })
    }

    /// The byte between columns.
    pub const fn delimiter(self) -> u8 {
        self.delimiter
    }

    /// A number; `None` where it is none, or written with the other mark: `1.234` with a decimal comma may be a thousand, and is not guessed at.
    pub fn number(self, text: &str) -> Option<f64> {
        match (self.decimal, text.contains('.'), text.contains(',')) {
            (Decimal::Point, ..) | (Decimal::Either, _, false) => return text.parse().ok(),
            (Decimal::Comma | Decimal::Either, true, _) => return None,
            (Decimal::Comma | Decimal::Either, false, _) => {}
        }
        match text.split_once(',') {
            Some((whole, part)) => format!("{whole}.{part}").parse().ok(),
            None => text.parse().ok(),
        }
    }
}

/// What seems to separate the columns of a header line that has no comma; `None` where it has one, or nothing does.
pub fn likely_delimiter(header: &str) -> Option<char> {
    if header.contains(',') {
        return None;
    }
    let count = |delimiter: &char| header.matches(*delimiter).count();
    [';', '\t', '|'].into_iter().filter(|delimiter| count(delimiter) > 0).max_by_key(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_comma_is_read_where_it_is_said_and_nothing_is_guessed() {
        let point = Dialect::default();
        assert_eq!((point.number("0.5"), point.number("0,5")), (Some(0.5), None));
        let comma = Dialect::new(';', ',').expect("a dialect");
        for (text, number) in [
            ("0,5", Some(0.5)),
            ("12", Some(12.0)),
            ("-1,5e3", Some(-1_500.0)),
            ("1.234", None),
            ("1.234,5", None),
            ("1,2,3", None),
            ("", None),
        ] {
            assert_eq!(comma.number(text), number, "{text}");
        }
        assert_eq!(comma.delimiter(), b';');
        let either = Dialect::with_either_mark('\t').expect("a dialect");
        for (text, number) in
            [("0,5", Some(0.5)), ("0.5", Some(0.5)), ("12", Some(12.0)), ("1.234,5", None), ("1,2,3", None)]
        {
            assert_eq!(either.number(text), number, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        assert_eq!(Dialect::new('x', '.'), Err(DialectError::Delimiter('x')));
        assert_eq!(Dialect::new(';', '\''), Err(DialectError::Decimal('\'')));
        assert_eq!(Dialect::new(',', ','), Err(DialectError::Both));
    }

    #[test]
    fn the_header_shows_what_separates_columns() {
        assert_eq!(likely_delimiter("ts;node;cpu"), Some(';'));
        assert_eq!(likely_delimiter("ts\tnode"), Some('\t'));
        assert_eq!(likely_delimiter("ts,node;a;b"), None);
        assert_eq!(likely_delimiter("value"), None);
    }
}
