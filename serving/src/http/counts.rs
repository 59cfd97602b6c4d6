//! How many pods and nodes a request for scores names, counted before memory is taken for any of them: a pod may be as short as `{}`.

use crate::protocol::Refusal;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Entries of the lists of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub pods: usize,
    pub nodes: usize,
    pub in_flight: usize,
}

impl Counts {
    /// Counts what is in a body.
    ///
    /// # Errors
    /// 400 for what is not JSON.
    pub fn of(body: &[u8]) -> Result<Self, Refusal> {
        #[derive(serde::Deserialize)]
        struct Lists {
            #[serde(default)]
            pods: Count,
            #[serde(default)]
            nodes: Count,
            #[serde(default)]
            in_flight: Count,
        }
        // A body that is no object is for whoever reads it to refuse; it has nothing to count.
        match serde_json::from_slice::<Lists>(body) {
            Ok(lists) => Ok(Self { pods: lists.pods.0, nodes: lists.nodes.0, in_flight: lists.in_flight.0 }),
            Err(error) if error.is_data() => Ok(Self::default()),
            Err(error) => Err(Refusal::bad(format!("the body is not a valid score request: {error}"))),
        }
    }
}

#[derive(Default)]
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Counting)
    }
}

struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
        let mut count = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Count(count))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        let mut count = 0;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Count(count))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_whatever_they_are() {
        let counts = |body: &str| Counts::of(body.as_bytes()).expect("JSON");
        let body = r#"{"pods":[{},{"a":[1,2]},7],"nodes":["a","b"],"in_flight":{"a":{}},"explain":null}"#;
        assert_eq!(counts(body), Counts { pods: 3, nodes: 2, in_flight: 1 });
        // What is something else is refused where it is read.
        for other in ["[1]", "7", r#"{"pods":"x"}"#, r#"{"pods":[],"pods":[]}"#, "{}"] {
            assert_eq!(counts(other), Counts::default(), "{other}");
        }
        assert!(Counts::of(br#"{"pods":[{},{}"#).expect_err("cut").message.contains("not a valid score request"));
    }
}
