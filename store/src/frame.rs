//! Table schemas in Polars' words.

use crate::StoreError;
use cluster::{ColumnKind, TableSchema};
use polars::prelude::*;

/// The Polars type of a column kind. Timestamps are UTC milliseconds.
pub fn polars_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Timestamp => DataType::Datetime(TimeUnit::Milliseconds, Some(TimeZone::UTC)),
        ColumnKind::Text => DataType::String,
        ColumnKind::Float => DataType::Float64,
        ColumnKind::Float32 => DataType::Float32,
        ColumnKind::Integer => DataType::Int64,
    }
}

/// A frame of the table without rows.
pub fn empty_frame(table: &TableSchema) -> DataFrame {
    let columns = table.columns.iter().map(|column| Column::new_empty(column.name.into(), &polars_type(column.kind)));
    DataFrame::new(0, columns.collect()).unwrap_or_default()
}

/// Orders the columns as the schema has them, adds optional ones that are absent as null, and checks the rest.
///
/// # Errors
/// When a column is missing, unknown, of another type, or null where it may not be.
pub fn conform(table: &TableSchema, frame: &DataFrame) -> Result<DataFrame, StoreError> {
    let schema_error = |column: &str, wanted: String, got: &str| StoreError::Schema {
        table: table.name.to_owned(),
        column: column.to_owned(),
        wanted,
        got: got.to_owned(),
    };
    if let Some(unknown) = frame
        .get_column_names()
        .into_iter()
        .find(|name| !table.columns.iter().any(|column| column.name == name.as_str()))
    {
        return Err(schema_error(unknown, "no such column".into(), "one"));
    }
    let mut columns = Vec::with_capacity(table.columns.len());
    for column in table.columns {
        let wanted = polars_type(column.kind);
        match frame.column(column.name) {
            Ok(values) if *values.dtype() == wanted => {
                if !column.optional && values.null_count() > 0 {
                    return Err(StoreError::Missing {
                        table: table.name.to_owned(),
                        column: column.name.to_owned(),
                        count: values.null_count(),
                    });
                }
                columns.push(values.clone());
            }
            Ok(values) => {
                return Err(schema_error(column.name, format!("{wanted:?}"), &format!("{:?}", values.dtype())));
            }
            Err(_) if column.optional => columns.push(Column::full_null(column.name.into(), frame.height(), &wanted)),
            Err(_) => return Err(schema_error(column.name, format!("{wanted:?}"), "nothing")),
        }
    }
    DataFrame::new(frame.height(), columns)
        .map_err(|source| StoreError::Frame { doing: "put the columns in order", source })
}
