//! The one shape in which features reach an algorithm.

use crate::ModelError;
use std::sync::Arc;

/// Rows of named features, row-major, `NaN` for a missing value. Infinite values are refused.
///
/// Names and values are shared: a clone costs two reference counts.
#[derive(Clone)]
pub struct FeatureMatrix {
    names: Arc<[String]>,
    values: Arc<Vec<f32>>,
    rows: usize,
}

impl FeatureMatrix {
    /// `values` has `rows × names.len()` entries, row by row.
    ///
    /// # Errors
    /// A length that does not fit, a name that occurs twice, no columns, an infinite value.
    pub fn new(names: impl Into<Arc<[String]>>, rows: usize, values: Vec<f32>) -> Result<Self, ModelError> {
        let names = names.into();
        if names.is_empty() {
            return Err(ModelError::Shape { what: "feature matrix", unit: "columns, at least 1", expected: 1, got: 0 });
        }
        let mut seen = std::collections::HashMap::with_capacity(names.len());
        for (second, name) in names.iter().enumerate() {
            if let Some(first) = seen.insert(name.as_str(), second) {
                return Err(ModelError::DuplicateFeature { name: name.clone(), first, second });
            }
        }
        let expected = rows * names.len();
        if values.len() != expected {
            return Err(ModelError::Shape { what: "feature matrix", unit: "values", expected, got: values.len() });
        }
        if let Some(at) = values.iter().position(|value| value.is_infinite()) {
            return Err(ModelError::NotFinite {
                what: "feature matrix",
                row: at / names.len(),
                column: Some(names[at % names.len()].clone()),
                value: values[at],
            });
        }
        Ok(Self { names, values: Arc::new(values), rows })
    }

    /// From one slice per column, in the order of `names`.
    ///
    /// # Errors
    /// As [`FeatureMatrix::new`]; columns of unequal length.
    pub fn from_columns(names: impl Into<Arc<[String]>>, columns: &[&[f32]]) -> Result<Self, ModelError> {
        let names = names.into();
        if columns.len() != names.len() {
            return Err(ModelError::Shape {
                what: "feature matrix",
                unit: "columns",
                expected: names.len(),
                got: columns.len(),
            });
        }
        let rows = columns.first().map_or(0, |column| column.len());
        for column in columns {
            ModelError::rows("feature column", rows, column.len())?;
        }
        let mut values = vec![f32::NAN; rows * columns.len()];
        for (at, column) in columns.iter().enumerate() {
            for (row, value) in column.iter().enumerate() {
                values[row * columns.len() + at] = *value;
            }
        }
        Self::new(names, rows, values)
    }

    /// Names of the columns, in order.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.names.len()
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One row. `row` must be below [`FeatureMatrix::rows`].
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width()..(row + 1) * self.width()]
    }

    /// Position of a column.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// The values of one column, top to bottom. `column` must be below [`FeatureMatrix::width`].
    pub fn column(&self, column: usize) -> impl ExactSizeIterator<Item = f32> + '_ {
        (0..self.rows).map(move |row| self.values[row * self.width() + column])
    }

    /// The values of the column called `name`; `wanted_by` goes into the message when there is none.
    ///
    /// # Errors
    /// [`ModelError::UnknownFeature`].
    pub fn named_column(&self, name: &str, wanted_by: &str) -> Result<Vec<f32>, ModelError> {
        Ok(self.column(position_of(&self.names, name, wanted_by)?).collect())
    }

    /// The rows at `rows`, in that order (repeats allowed), as a matrix of its own.
    ///
    /// # Errors
    /// A row that does not exist.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self, ModelError> {
        let mut values = Vec::with_capacity(rows.len() * self.width());
        for &row in rows {
            if row >= self.rows {
                return Err(ModelError::Shape {
                    what: "row selection",
                    unit: "as highest row",
                    expected: self.rows.saturating_sub(1),
                    got: row,
                });
            }
            values.extend_from_slice(self.row(row));
        }
        Ok(Self { names: Arc::clone(&self.names), values: Arc::new(values), rows: rows.len() })
    }

    /// The columns at `positions`, which are called `names`, as a matrix of its own. Whoever keeps both has checked them.
    pub(crate) fn gather(&self, names: &Arc<[String]>, positions: &[usize]) -> Self {
        let mut values = Vec::with_capacity(self.rows * positions.len());
        for row in 0..self.rows {
            let row = self.row(row);
            values.extend(positions.iter().map(|&position| row[position]));
        }
        Self { names: Arc::clone(names), values: Arc::new(values), rows: self.rows }
    }

    /// The columns called `names`, in that order, as a matrix of its own; the same list of names copies nothing.
    ///
    /// # Errors
    /// [`ModelError::UnknownFeature`] for the first name that is absent.
    pub fn select_columns(&self, names: &[String]) -> Result<Self, ModelError> {
        if names == &self.names[..] {
            return Ok(self.clone());
        }
        let positions =
            names.iter().map(|name| position_of(&self.names, name, "the selection")).collect::<Result<Vec<_>, _>>()?;
        let mut values = Vec::with_capacity(self.rows * names.len());
        for row in 0..self.rows {
            let row = self.row(row);
            values.extend(positions.iter().map(|&position| row[position]));
        }
        Self::new(names.to_vec(), self.rows, values)
    }

    /// Checks that the columns are exactly `expected`, in order.
    ///
    /// # Errors
    /// Another number of columns, or the first name that differs.
    pub fn expect_names(&self, expected: &[String]) -> Result<(), ModelError> {
        if self.width() != expected.len() {
            return Err(ModelError::Shape {
                what: "feature matrix",
                unit: "columns",
                expected: expected.len(),
                got: self.width(),
            });
        }
        match self.names.iter().zip(expected).position(|(got, expected)| got != expected) {
            None => Ok(()),
            Some(index) => Err(ModelError::FeatureName {
                index,
                expected: expected[index].clone(),
                got: self.names[index].clone(),
            }),
        }
    }

    /// The shared values, for a library that reads them in place.
    pub(crate) fn shared_values(&self) -> Arc<Vec<f32>> {
        Arc::clone(&self.values)
    }
}

impl std::fmt::Debug for FeatureMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeatureMatrix").field("rows", &self.rows).field("names", &self.names).finish_non_exhaustive()
    }
}

/// Where `name` stands in `names`, or who missed it.
pub(crate) fn position_of(names: &[String], name: &str, wanted_by: &str) -> Result<usize, ModelError> {
    names.iter().position(|known| known == name).ok_or_else(|| ModelError::UnknownFeature {
        name: name.to_owned(),
        wanted_by: wanted_by.to_owned(),
        columns: names.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn message(result: Result<FeatureMatrix, ModelError>) -> String {
        result.expect_err("it does not fit").to_string()
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let new = |columns: &[&str], rows, values| message(FeatureMatrix::new(names(columns), rows, values));
        assert_eq!(new(&["a", "b"], 2, vec![0.0; 3]), "feature matrix has 3 values, expected 4");
        assert_eq!(new(&["a", "b", "a"], 0, Vec::new()), "feature `a` occurs twice, at 0 and 2");
        assert_eq!(new(&[], 0, Vec::new()), "feature matrix has 0 columns, at least 1, expected 1");
        assert!(
            new(&["a", "b"], 2, vec![0.0, f32::NAN, 1.0, f32::NEG_INFINITY])
                .starts_with("feature matrix has the value -inf in row 1, column `b`.")
        );
        assert_eq!(
            message(FeatureMatrix::from_columns(names(&["a", "b"]), &[&[1.0], &[1.0, 2.0]])),
            "feature column has 2 rows, expected 1"
        );
    }

    #[test]
    fn rows_and_columns_are_selected_in_the_order_asked_for() {
        let x =
            FeatureMatrix::from_columns(names(&["a", "b"]), &[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]).expect("a matrix");
        assert_eq!(x.select_rows(&[2, 0, 2]).expect("they exist").values(), [3.0, 6.0, 1.0, 4.0, 3.0, 6.0]);
        assert_eq!(message(x.select_rows(&[3])), "row selection has 3 as highest row, expected 2");
        let swapped = x.select_columns(&names(&["b", "a"])).expect("they exist");
        assert_eq!((swapped.row(1), swapped.position("a")), (&[5.0, 2.0][..], Some(1)));
        assert_eq!(x.named_column("b", "a test").expect("it exists"), [4.0, 5.0, 6.0]);
        assert!(message(x.select_columns(&names(&["c"]))).starts_with("the features have no column `c`"));
    }
}
