//! Which features a model reads, in which order: names of the catalogue, and differences and ratios of two of them.
//!
//! A forecast relative to the present level learns best from features relative to it, so `cpu_lag_30m - cpu_mean_1h` is
//! as good a column as `cpu_lag_30m`. Where nodes differ by factors, as in bytes per second, `network / network_mean_24h`
//! compares them: the binary logarithm of the ratio, so that half and double lie equally far from 0. Two such ratios have
//! a difference: `network / network_mean_24h - cpu_utilization / cpu_mean_24h` is traffic that CPU does not explain. All are
//! computed here, once, for training and serving alike.

use crate::catalogue;
use serde::{Deserialize, Serialize};

/// One column of a model's input: a feature, or two of them combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    /// The feature at a place.
    Plain(usize),
    /// The first less the second.
    Difference(usize, usize),
    /// Binary logarithm of the first over the second.
    Ratio(usize, usize),
    /// One such ratio less another.
    RatioDifference([usize; 4]),
}

/// Ratios beyond 2^±10 are as good as this: a rate that fell to 0 is far away, not infinitely far.
const FARTHEST_RATIO: f32 = 10.0;

impl Term {
    /// The value, where `at` gives that of a place; NaN where one of them is missing.
    pub(crate) fn value(self, at: impl Fn(usize) -> f32) -> f32 {
        match self {
            Self::Plain(place) => at(place),
            Self::Difference(first, second) => at(first) - at(second),
            Self::Ratio(first, second) => ratio(at(first), at(second)),
            Self::RatioDifference([first, second, third, fourth]) => {
                ratio(at(first), at(second)) - ratio(at(third), at(fourth))
            }
        }
    }

    fn places(self) -> Vec<usize> {
        match self {
            Self::Plain(place) => vec![place],
            Self::Difference(first, second) | Self::Ratio(first, second) => vec![first, second],
            Self::RatioDifference(places) => places.to_vec(),
        }
    }

    fn moved(self, to: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::Plain(place) => Self::Plain(to(place)),
            Self::Difference(first, second) => Self::Difference(to(first), to(second)),
            Self::Ratio(first, second) => Self::Ratio(to(first), to(second)),
            Self::RatioDifference(places) => Self::RatioDifference(places.map(to)),
        }
    }
}

/// Binary logarithm of the ratio, within [`FARTHEST_RATIO`]; NaN where one is missing.
fn ratio(first: f32, second: f32) -> f32 {
    match (first.max(0.0), second.max(0.0)) {
        _ if first.is_nan() || second.is_nan() => f32::NAN,
        (0.0, 0.0) => 0.0,
        (first, second) => (first / second).log2().clamp(-FARTHEST_RATIO, FARTHEST_RATIO),
    }
}

/// An ordered list of model inputs, checked against the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Selection {
    names: Vec<String>,
    terms: Vec<Term>,
}

/// A column that the catalogue does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown feature `{name}`. `features list` shows the catalogue; a column is a name, `one - other`, `one / other` or a difference of two ratios"
)]
pub struct UnknownFeature {
    /// What was asked for.
    pub name: String,
}

impl Selection {
    /// Reads columns such as `cpu_mean_1h`, `cpu_lag_30m - cpu_mean_1h` and `network / network_mean_24h`.
    ///
    /// # Errors
    /// When a name is not in the catalogue.
    pub fn new<S: AsRef<str>>(columns: &[S]) -> Result<Self, UnknownFeature> {
        let find =
            |name: &str| catalogue::index(name.trim()).ok_or_else(|| UnknownFeature { name: name.trim().to_owned() });
        let mut names = Vec::with_capacity(columns.len());
        let mut terms = Vec::with_capacity(columns.len());
        for column in columns {
            let column = column.as_ref();
            let all = catalogue::all();
            let name = |place: usize| all[place].name.as_str();
            let ratio = |text: &str| match text.split_once('/') {
                Some((first, second)) => Ok((find(first)?, find(second)?)),
                None => Err(UnknownFeature { name: text.trim().to_owned() }),
            };
            let term = if let Some((left, right)) = column.split_once('-').filter(|_| column.contains('/')) {
                let ((first, second), (third, fourth)) = (ratio(left)?, ratio(right)?);
                Term::RatioDifference([first, second, third, fourth])
            } else if let Some((first, second)) = column.split_once('-') {
                Term::Difference(find(first)?, find(second)?)
            } else if let Some((first, second)) = column.split_once('/') {
                Term::Ratio(find(first)?, find(second)?)
            } else {
                Term::Plain(find(column)?)
            };
            names.push(match term {
                Term::Plain(place) => name(place).to_owned(),
                Term::Difference(first, second) => format!("{} - {}", name(first), name(second)),
                Term::Ratio(first, second) => format!("{} / {}", name(first), name(second)),
                Term::RatioDifference([first, second, third, fourth]) => {
                    format!("{} / {} - {} / {}", name(first), name(second), name(third), name(fourth))
                }
            });
            terms.push(term);
        }
        Ok(Self { names, terms })
    }

    /// Every feature of the catalogue, in its order.
    pub fn everything() -> Self {
        let all = catalogue::all();
        let terms = (0..all.len()).map(Term::Plain).collect();
        Self { names: all.iter().map(|feature| feature.name.clone()).collect(), terms }
    }

    /// The columns' names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Picks the columns out of a full row in catalogue order. `row` and `out` must have the catalogue's and the
    /// selection's length; what does not fit is left alone.
    pub fn pick(&self, row: &[f32], out: &mut [f32]) {
        let at = |place: usize| row.get(place).copied().unwrap_or(f32::NAN);
        for (value, term) in out.iter_mut().zip(&self.terms) {
            *value = term.value(at);
        }
    }

    /// The names of the features that the columns are made of, each once, in catalogue order.
    pub fn inputs(&self) -> Vec<&'static str> {
        let all = catalogue::all();
        self.sources().into_iter().map(|place| all[place].name.as_str()).collect()
    }

    /// Fills the columns from the values of [`Selection::inputs`] alone, in their order.
    pub fn pick_inputs(&self, inputs: &[f32], out: &mut [f32]) {
        let at = |place: usize| inputs.get(place).copied().unwrap_or(f32::NAN);
        for (value, term) in out.iter_mut().zip(self.places_in(&self.sources())) {
            *value = term.value(at);
        }
    }

    /// The places in the catalogue that the selection reads, each once, ascending.
    pub(crate) fn sources(&self) -> Vec<usize> {
        let mut sources: Vec<usize> = self.terms.iter().flat_map(|term| term.places()).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// The columns with the places of their features in `sources`.
    pub(crate) fn places_in(&self, sources: &[usize]) -> Vec<Term> {
        let place = |wanted: usize| sources.binary_search(&wanted).unwrap_or(0);
        self.terms.iter().map(|term| term.moved(place)).collect()
    }
}

impl TryFrom<Vec<String>> for Selection {
    type Error = UnknownFeature;
    fn try_from(names: Vec<String>) -> Result<Self, Self::Error> {
        Self::new(&names)
    }
}

impl From<Selection> for Vec<String> {
    fn from(selection: Selection) -> Self {
        selection.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_taken_of_the_two_features() {
        let selection = Selection::new(&["hour", "cpu_mean_1h-cpu_mean_24h"]).expect("known");
        assert_eq!(selection.names(), ["hour", "cpu_mean_1h - cpu_mean_24h"]);
        let mut row = vec![0.0; catalogue::all().len()];
        row[catalogue::index("hour").expect("hour")] = 7.0;
        row[catalogue::index("cpu_mean_1h").expect("mean")] = 0.75;
        row[catalogue::index("cpu_mean_24h").expect("mean")] = 0.5;
        let mut out = [0.0; 2];
        selection.pick(&row, &mut out);
        assert_eq!(out, [7.0, 0.25]);
    }

    #[test]
    fn a_ratio_is_a_logarithm_that_stays_finite() {
        let of = |first: f32, second: f32| Term::Ratio(0, 1).value(|place| [first, second][place]);
        assert_eq!([of(8.0, 2.0), of(2.0, 8.0), of(3.0, 3.0)], [2.0, -2.0, 0.0]);
        assert_eq!([of(0.0, 5.0), of(5.0, 0.0), of(0.0, 0.0)], [-10.0, 10.0, 0.0]);
        assert!(of(f32::NAN, 1.0).is_nan() && of(1.0, f32::NAN).is_nan());
        // Traffic fell to a quarter, CPU to half: one halving is unexplained.
        let of = Term::RatioDifference([0, 1, 2, 3]).value(|place| [2.0, 8.0, 0.2, 0.4][place]);
        assert_eq!(of, -1.0);
        let columns = ["network / network_mean_24h", "network / network_mean_24h - cpu_utilization / cpu_mean_24h"];
        assert_eq!(Selection::new(&columns).expect("known").names(), columns);
        let error = Selection::new(&["network / network_mean_24h - cpu_mean_1h"]).expect_err("half a ratio");
        assert!(error.to_string().contains("`cpu_mean_1h`"), "{error}");
    }

    #[test]
    fn inputs_give_the_same_columns_as_a_full_row() {
        let selection = Selection::new(&["cpu_mean_1h - cpu_mean_24h", "hour"]).expect("known");
        let full: Vec<f32> = (0..catalogue::all().len()).map(|place| place as f32).collect();
        let inputs: Vec<f32> =
            selection.inputs().iter().map(|name| full[catalogue::index(name).expect("known")]).collect();
        let (mut from_full, mut from_inputs) = ([0.0; 2], [0.0; 2]);
        selection.pick(&full, &mut from_full);
        selection.pick_inputs(&inputs, &mut from_inputs);
        assert_eq!((inputs.len(), from_inputs), (3, from_full));
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = Selection::new(&["cpu_mean_1h - cpu_mena_24h"]).expect_err("misspelt");
        assert!(error.to_string().contains("`cpu_mena_24h`"), "{error}");
    }

    #[test]
    fn it_survives_json() {
        let selection = Selection::new(&["cpu_lag_30m - cpu_mean_1h", "hour"]).expect("known");
        let text = serde_json::to_string(&selection).expect("written");
        assert_eq!(serde_json::from_str::<Selection>(&text).expect("read"), selection);
    }
}
