//! Trailing windows over the columns of a series.

use super::SeriesSettings;
use crate::FeatureMatrix;
use std::collections::VecDeque;

/// Sums of the known values of the last readings of each column.
#[derive(Debug, Clone)]
struct Trailing {
    length: usize,
    /// Row by row; NaN is missing.
    values: VecDeque<f64>,
    known: Vec<u32>,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Trailing {
    fn new(width: usize, length: usize) -> Self {
        let zeros = vec![0.0; width];
        Self { length, values: VecDeque::new(), known: vec![0; width], sums: zeros.clone(), squares: zeros }
    }

    fn push(&mut self, row: &[f64]) {
        let width = row.len();
        if self.values.len() == self.length * width {
            for (column, value) in self.values.drain(..width).enumerate().filter(|(_, value)| !value.is_nan()) {
                self.known[column] -= 1;
                self.sums[column] -= value;
                self.squares[column] -= value * value;
            }
        }
        for (column, value) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            self.known[column] += 1;
            self.sums[column] += value;
            self.squares[column] += value * value;
        }
        self.values.extend(row);
    }

    /// The mean; NaN where nothing is known.
    fn mean(&self, column: usize) -> f64 {
        self.sums[column] / f64::from(self.known[column])
    }

    /// The standard deviation; NaN where nothing is known.
    fn deviation(&self, column: usize) -> f64 {
        let mean = self.mean(column);
        let variance = self.squares[column] / f64::from(self.known[column]) - mean * mean;
        // What the sums cannot tell from nothing: a constant column has no deviation.
        if variance <= 1e-9 * mean * mean { 0.0 } else { variance.sqrt() }
    }
}

/// What a detector sees of a row and of those before it.
#[derive(Debug, Clone)]
pub struct Views {
    width: usize,
    /// The first known value of each column: sums of distances from it lose fewer digits than sums of the values.
    origins: Vec<f64>,
    short: Trailing,
    long: Trailing,
}

/// Rows of a view, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ViewRows {
    pub width: usize,
    pub values: Vec<f32>,
}

impl ViewRows {
    /// The rows that are marked.
    pub fn only(self, marks: &[bool]) -> Self {
        let rows = self.values.chunks_exact(self.width).zip(marks).filter(|(_, mark)| **mark);
        Self { width: self.width, values: rows.flat_map(|(row, _)| row.iter().copied()).collect() }
    }
}

impl Views {
    /// Empty windows over `width` columns.
    pub fn new(width: usize, settings: &SeriesSettings) -> Self {
        Self {
            width,
            origins: vec![f64::NAN; width],
            short: Trailing::new(width, settings.short_readings),
            long: Trailing::new(width, settings.long_readings),
        }
    }

    /// Takes in a row and appends what is seen: to `now` each value and its distance from the mean of the short window; to
    /// `lately` the value, that mean, its distance from the mean of the long window, and the deviation within the short
    /// one. The windows end with the row.
    pub fn push(&mut self, row: impl Iterator<Item = f32>, now: &mut Vec<f32>, lately: &mut Vec<f32>) {
        let row: Vec<f64> = row
            .zip(&mut self.origins)
            .map(|(value, origin)| {
                let value = f64::from(value);
                if origin.is_nan() {
                    *origin = value;
                }
                value - *origin
            })
            .collect();
        self.short.push(&row);
        self.long.push(&row);
        let of = |view: &mut Vec<f32>, value: &dyn Fn(usize) -> f64| {
            view.extend((0..self.width).map(|column| value(column) as f32));
        };
        of(now, &|column| row[column] + self.origins[column]);
        of(now, &|column| row[column] - self.short.mean(column));
        of(lately, &|column| row[column] + self.origins[column]);
        of(lately, &|column| self.short.mean(column) + self.origins[column]);
        of(lately, &|column| self.short.mean(column) - self.long.mean(column));
        of(lately, &|column| self.short.deviation(column));
    }

    /// Both views of all rows.
    pub(super) fn of_rows(rows: &FeatureMatrix, used: &[usize], settings: &SeriesSettings) -> [ViewRows; 2] {
        let mut views = Self::new(used.len(), settings);
        let mut now = Vec::with_capacity(rows.rows() * used.len() * 2);
        let mut lately = Vec::with_capacity(rows.rows() * used.len() * 4);
        for row in 0..rows.rows() {
            let row = rows.row(row);
            views.push(used.iter().map(|column| row[*column]), &mut now, &mut lately);
        }
        [ViewRows { width: 2 * used.len(), values: now }, ViewRows { width: 4 * used.len(), values: lately }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_agree_with_a_calculation_by_hand() {
        let settings = SeriesSettings { short_readings: 2, long_readings: 4, ..SeriesSettings::every(5.0) };
        let mut views = Views::new(1, &settings);
        let mut last = (Vec::new(), Vec::new());
        for value in [10.0, 12.0, f32::NAN, 16.0, 20.0] {
            last = (Vec::new(), Vec::new());
            views.push(std::iter::once(value), &mut last.0, &mut last.1);
        }
        // Distances from 10: the short window holds 6 and 10, the long one 2, 6 and 10.
        assert_eq!(last.0, [20.0, 2.0]);
        assert_eq!(last.1, [20.0, 18.0, 2.0, 2.0]);
        let (mut now, mut lately) = (Vec::new(), Vec::new());
        views.push(std::iter::once(f32::NAN), &mut now, &mut lately);
        assert!(now.iter().all(|value| value.is_nan()) && lately[1] == 20.0, "{now:?} {lately:?}");
    }

    #[test]
    fn a_constant_stretch_has_no_deviation_however_large_the_values_were() {
        let settings = SeriesSettings { short_readings: 3, long_readings: 5, ..SeriesSettings::every(5.0) };
        let mut views = Views::new(1, &settings);
        let mut lately = Vec::new();
        for value in [1e9, 3e9, 7.0, 7.0, 7.0] {
            lately.clear();
            views.push(std::iter::once(value), &mut Vec::new(), &mut lately);
        }
        assert_eq!(lately[3], 0.0);
    }
}
