//! Which features a model reads, in which order: names of the catalogue, and differences of two of them.
//!
//! A forecast relative to the present level learns best from features relative to it, so `cpu_lag_30m - cpu_mean_1h` is
//! as good a column as `cpu_lag_30m`. The difference is taken here, once, for training and serving alike.

use crate::catalogue;
use serde::{Deserialize, Serialize};

/// One column of a model's input: a feature, or the difference of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Term {
    /// Place of the feature in a row of the catalogue.
    plus: usize,
    /// Place of the feature that is taken off, if any.
    minus: Option<usize>,
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
#[error("unknown feature `{name}`. `features list` shows the catalogue; a column is a name or `one - other`")]
pub struct UnknownFeature {
    /// What was asked for.
    pub name: String,
}

impl Selection {
    /// Reads columns such as `cpu_mean_1h` and `cpu_lag_30m - cpu_mean_1h`.
    ///
    /// # Errors
    /// When a name is not in the catalogue.
    pub fn new<S: AsRef<str>>(columns: &[S]) -> Result<Self, UnknownFeature> {
        let find =
            |name: &str| catalogue::index(name.trim()).ok_or_else(|| UnknownFeature { name: name.trim().to_owned() });
        let mut names = Vec::with_capacity(columns.len());
        let mut terms = Vec::with_capacity(columns.len());
        for column in columns {
            let term = match column.as_ref().split_once('-') {
                None => Term { plus: find(column.as_ref())?, minus: None },
                Some((plus, minus)) => Term { plus: find(plus)?, minus: Some(find(minus)?) },
            };
            let all = catalogue::all();
            names.push(match term.minus {
                None => all[term.plus].name.clone(),
                Some(minus) => format!("{} - {}", all[term.plus].name, all[minus].name),
            });
            terms.push(term);
        }
        Ok(Self { names, terms })
    }

    /// Every feature of the catalogue, in its order.
    pub fn everything() -> Self {
        let all = catalogue::all();
        let terms = (0..all.len()).map(|plus| Term { plus, minus: None }).collect();
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
            *value = at(term.plus) - term.minus.map_or(0.0, at);
        }
    }

    /// The places in the catalogue that the selection reads, each once, ascending.
    pub(crate) fn sources(&self) -> Vec<usize> {
        let mut sources: Vec<usize> =
            self.terms.iter().flat_map(|term| [Some(term.plus), term.minus]).flatten().collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// For each column the places of its features in `sources`.
    pub(crate) fn places_in<'a>(&'a self, sources: &'a [usize]) -> impl Iterator<Item = (usize, Option<usize>)> + 'a {
        let place = |wanted: usize| sources.binary_search(&wanted).unwrap_or(0);
        self.terms.iter().map(move |term| (place(term.plus), term.minus.map(place)))
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
