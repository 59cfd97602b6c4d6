//! A tensor's `data`: a list, flat or nested to any depth in row-major order, read straight into one vector.

use super::Values;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// Nesting deeper than any shape of use; it bounds the stack.
const DEEPEST: usize = 16;

/// Reads `data`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Values>, D::Error> {
    let mut values = Values::None;
    Level { values: &mut values, depth: 0 }.deserialize(deserializer)?;
    Ok(Some(values))
}

struct Level<'a> {
    values: &'a mut Values,
    depth: usize,
}

impl Level<'_> {
    fn number<E: Error>(self, value: f64) -> Result<(), E> {
        self.inside()?;
        match self.values {
            Values::None => *self.values = Values::Numbers(vec![value]),
            Values::Numbers(numbers) => numbers.push(value),
            Values::Texts(_) => return Err(E::custom("`data` mixes numbers and text")),
        }
        Ok(())
    }

    fn text<E: Error>(self, value: &str) -> Result<(), E> {
        self.inside()?;
        match self.values {
            Values::None => *self.values = Values::Texts(vec![value.to_owned()]),
            Values::Texts(texts) => texts.push(value.to_owned()),
            Values::Numbers(_) => return Err(E::custom("`data` mixes numbers and text")),
        }
        Ok(())
    }

    fn inside<E: Error>(&self) -> Result<(), E> {
        if self.depth == 0 { Err(E::custom("`data` must be a list")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, true and false, text, null for a missing number, or lists of them")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.number(f64::from(u8::from(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.text(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.number(f64::NAN)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth == DEEPEST {
            return Err(A::Error::custom(format!("`data` is nested deeper than {DEEPEST} lists")));
        }
        while list.next_element_seed(Level { values: &mut *self.values, depth: self.depth + 1 })?.is_some() {}
        Ok(())
    }
}
