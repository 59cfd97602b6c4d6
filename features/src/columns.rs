//! Polars columns as plain slices.

use polars::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// Milliseconds since the epoch.
pub(crate) fn timestamps(column: &Column) -> Result<Vec<i64>, PolarsError> {
    let physical = column.to_physical_repr();
    let values = physical.i64()?;
    Ok(values.iter().map(|value| value.unwrap_or(i64::MIN)).collect())
}

/// The runs of equal text in a sorted column: each text with its rows. Rows without text are left out.
pub(crate) fn runs(column: &Column) -> Result<Vec<(String, Range<usize>)>, PolarsError> {
    let values = column.str()?.rechunk();
    let mut runs = Vec::new();
    let mut start = 0;
    while start < values.len() {
        let text = values.get(start);
        let end = end_of_run(start, values.len(), |row| values.get(row) == text);
        if let Some(text) = text {
            runs.push((text.to_owned(), start..end));
        }
        start = end;
    }
    Ok(runs)
}

/// The end of the run that begins at `start`: steps that double, then halves the last one. A day has thousands of rows
/// per node, so this looks at a few dozen instead.
fn end_of_run(start: usize, len: usize, same: impl Fn(usize) -> bool) -> usize {
    let mut step = 1;
    while start + step < len && same(start + step) {
        step *= 2;
    }
    let (mut inside, mut outside) = (start + step / 2, (start + step).min(len));
    while outside - inside > 1 {
        let middle = usize::midpoint(inside, outside);
        if same(middle) { inside = middle } else { outside = middle }
    }
    outside
}

/// Values with NaN for null; empty when all are null. Borrowed where the column lies in one piece without nulls.
pub(crate) fn doubles(column: &Column) -> Result<Cow<'_, [f64]>, PolarsError> {
    let values = column.f64()?;
    if values.null_count() == values.len() {
        return Ok(Cow::Borrowed(&[]));
    }
    if let Ok(slice) = values.cont_slice() {
        return Ok(Cow::Borrowed(slice));
    }
    let mut owned = Vec::with_capacity(values.len());
    for chunk in values.downcast_iter() {
        let start = owned.len();
        owned.extend_from_slice(chunk.values().as_slice());
        if let Some(validity) = chunk.validity() {
            for (value, valid) in owned[start..].iter_mut().zip(validity.iter()) {
                if !valid {
                    *value = f64::NAN;
                }
            }
        }
    }
    Ok(Cow::Owned(owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_the_text_changes() {
        let names: Vec<&str> = [vec!["a"; 1], vec!["b"; 7], vec!["c"; 300]].concat();
        let runs = runs(&Column::new("node".into(), names)).expect("runs");
        let ends: Vec<_> = runs.iter().map(|(name, rows)| (name.as_str(), rows.clone())).collect();
        assert_eq!(ends, [("a", 0..1), ("b", 1..8), ("c", 8..308)]);
    }

    #[test]
    fn nulls_become_nan_and_a_column_of_nulls_is_empty() {
        let column = Column::new("x".into(), [Some(1.0), None, Some(3.0)]);
        let values = doubles(&column).expect("floats");
        assert!(values[0] == 1.0 && values[1].is_nan() && values[2] == 3.0);
        let nulls = Column::full_null("x".into(), 3, &DataType::Float64);
        assert!(doubles(&nulls).expect("floats").is_empty());
    }
}
