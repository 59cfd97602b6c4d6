//! Columns of small tables, from plain values and back.

use cluster::ColumnKind;
use polars::prelude::*;
use store::polars_type;

/// A text column.
pub fn text<'a>(name: &str, values: impl Iterator<Item = Option<&'a str>>) -> Column {
    StringChunked::from_iter_options(name.into(), values).into_series().into()
}

/// A float column.
pub fn float(name: &str, values: impl Iterator<Item = Option<f64>>) -> Column {
    Float64Chunked::from_iter_options(name.into(), values).into_series().into()
}

/// An integer column.
pub fn integer(name: &str, values: impl Iterator<Item = Option<i64>>) -> Column {
    Int64Chunked::from_iter_options(name.into(), values).into_series().into()
}

/// A timestamp column from UTC milliseconds.
///
/// # Errors
/// Polars' word on it.
pub fn time(name: &str, values: impl Iterator<Item = Option<i64>>) -> PolarsResult<Column> {
    integer(name, values).cast(&polars_type(ColumnKind::Timestamp))
}

/// The values of a text column.
///
/// # Errors
/// When there is no such column of this type; so below.
pub fn texts(frame: &DataFrame, name: &str) -> PolarsResult<Vec<Option<String>>> {
    Ok(frame.column(name)?.str()?.iter().map(|value| value.map(str::to_owned)).collect())
}

/// The values of a float column.
///
/// # Errors
/// See [`texts`].
pub fn floats(frame: &DataFrame, name: &str) -> PolarsResult<Vec<Option<f64>>> {
    Ok(frame.column(name)?.f64()?.iter().collect())
}

/// The values of an integer column, or the milliseconds of a timestamp column.
///
/// # Errors
/// See [`texts`].
pub fn integers(frame: &DataFrame, name: &str) -> PolarsResult<Vec<Option<i64>>> {
    Ok(frame.column(name)?.cast(&DataType::Int64)?.i64()?.iter().collect())
}
