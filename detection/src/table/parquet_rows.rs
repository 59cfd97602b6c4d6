//! Rows of a Parquet file, a batch at a time. Columns are decoded one by one, each as what its type means here, so that a column of another
//! kind is no obstacle for those beside it.

use super::{Cell, TableRow};
use anyhow::{Context, ensure};
use polars_arrow::array::{Array, BinaryViewArray, FixedSizeBinaryArray, PrimitiveArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, Field, TimeUnit};
use polars_buffer::Buffer;
use polars_compute::cast::cast_default;
use polars_parquet::read::{
    BasicDecompressor, ColumnChunkMetadata, FileMetadata, Filter, PageReader, column_iter_to_arrays, infer_schema,
    read_metadata,
};
use polars_utils::float16::pf16;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

/// Rows in memory at once, beside the file's own row groups as they are packed.
const BATCH: usize = 65_536;
/// Milliseconds of a day.
const DAY: i64 = cluster::DAY_MS;

/// What the values of a column are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Time,
    Text,
    Bytes,
    /// No row has a value.
    Nothing,
}

#[derive(Debug)]
struct ColumnReader {
    /// With the type that its pages are decoded to.
    field: Field,
    kind: Kind,
}

#[derive(Debug)]
pub(super) struct ParquetRows {
    file: File,
    metadata: FileMetadata,
    /// By column; the type in words where it cannot be read.
    columns: Vec<Result<ColumnReader, String>>,
    names: Vec<String>,
    /// The row group that is read, the rows of it that are done, and its packed columns.
    group: usize,
    done: usize,
    chunks: Vec<Option<Buffer<u8>>>,
    /// Rows handed out in batches before this one.
    before: usize,
    batch: Vec<Vec<Cell>>,
    height: usize,
    at: usize,
}

impl ParquetRows {
    pub fn open(path: &Path) -> anyhow::Result<(Vec<String>, Self)> {
        let mut file = File::open(path)?;
        let metadata = read_metadata(&mut file).context("it is not a valid Parquet file")?;
        let schema = infer_schema(&metadata)?;
        let names: Vec<String> = schema.iter_names().map(ToString::to_string).collect();
        let columns = schema.iter_values().map(ColumnReader::new).collect();
        let rows = Self {
            file,
            metadata,
            columns,
            names: names.clone(),
            group: 0,
            done: 0,
            chunks: Vec::new(),
            before: 0,
            batch: Vec::new(),
            height: 0,
            at: 0,
        };
        Ok((names, rows))
    }

    /// The type of a column that cannot be read, in words.
    pub fn unreadable(&self, column: usize) -> Option<&str> {
        self.columns[column].as_ref().err().map(String::as_str)
    }

    pub fn next(&mut self, row: &mut TableRow) -> anyhow::Result<bool> {
        row.cells.clear();
        row.problem = None;
        while self.at == self.height {
            self.before += self.height;
            if !self.next_batch().with_context(|| format!("failed to read the rows from {} on", self.before + 1))? {
                return Ok(false);
            }
            self.at = 0;
        }
        row.line = (self.before + self.at + 1) as u64;
        row.cells.extend(self.batch.iter_mut().map(|column| std::mem::take(&mut column[self.at])));
        self.at += 1;
        Ok(true)
    }

    fn next_batch(&mut self) -> anyhow::Result<bool> {
        self.height = 0;
        let Some(group) = self.metadata.row_groups.get(self.group) else { return Ok(false) };
        if self.chunks.is_empty() {
            let length = self.file.metadata()?.len();
            for (name, column) in self.names.iter().zip(&self.columns) {
                let chunk = match column {
                    Ok(_) => Some(packed(&mut self.file, length, only(group.columns_under_root_iter(name))?)?),
                    Err(_) => None,
                };
                self.chunks.push(chunk);
            }
        }
        let rows = self.done..group.num_rows().min(self.done + BATCH);
        let mut batch = Vec::with_capacity(self.columns.len());
        for ((name, column), chunk) in self.names.iter().zip(&self.columns).zip(&self.chunks) {
            let cells = match (column, chunk) {
                (Ok(column), Some(chunk)) => {
                    let metadata = only(group.columns_under_root_iter(name))?;
                    column.cells(chunk, metadata, &rows).with_context(|| format!("failed to read column `{name}`"))?
                }
                (Err(kind), _) => vec![Cell::Text(format!("a value of type {kind}")); rows.len()],
                (Ok(_), None) => vec![Cell::Missing; rows.len()],
            };
            ensure!(cells.len() == rows.len(), "column `{name}` ends after {} rows", self.before + cells.len());
            batch.push(cells);
        }
        (self.batch, self.height) = (batch, rows.len());
        if rows.end == group.num_rows() {
            (self.group, self.done) = (self.group + 1, 0);
            self.chunks.clear();
        } else {
            self.done = rows.end;
        }
        Ok(true)
    }
}

/// A column that is not nested is kept in one piece.
fn only<'a>(
    columns: Option<impl ExactSizeIterator<Item = &'a ColumnChunkMetadata>>,
) -> anyhow::Result<&'a ColumnChunkMetadata> {
    let mut columns = columns.context("a row group lacks a column that the schema names")?;
    columns.next().context("a row group lacks a column that the schema names")
}

fn packed(file: &mut File, length: u64, column: &ColumnChunkMetadata) -> anyhow::Result<Buffer<u8>> {
    let range = column.byte_range();
    ensure!(range.start <= range.end && range.end <= length, "the file ends at byte {length}, within its columns");
    let mut bytes = vec![0; usize::try_from(range.end - range.start)?];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut bytes)?;
    Ok(Buffer::from_vec(bytes))
}

impl ColumnReader {
    fn new(field: &Field) -> Result<Self, String> {
        let (kind, dtype) = kind(&field.dtype).ok_or_else(|| words(&field.dtype))?;
        Ok(Self { field: Field { dtype, ..field.clone() }, kind })
    }

    fn cells(
        &self,
        chunk: &Buffer<u8>,
        metadata: &ColumnChunkMetadata,
        rows: &std::ops::Range<usize>,
    ) -> anyhow::Result<Vec<Cell>> {
        let pages = PageReader::new(Cursor::new(chunk.clone()), metadata, Vec::new(), usize::MAX);
        let pages = vec![BasicDecompressor::new(pages, Vec::new())];
        let types = vec![&metadata.descriptor().descriptor.primitive_type];
        let filter = Some(Filter::new_ranged(rows.start, rows.end));
        let (arrays, _) = column_iter_to_arrays(pages, types, self.field.clone(), filter)?;
        let mut cells = Vec::with_capacity(rows.len());
        for array in arrays {
            self.add(array.as_ref(), &mut cells)?;
        }
        Ok(cells)
    }

    fn add(&self, array: &dyn Array, cells: &mut Vec<Cell>) -> anyhow::Result<()> {
        use ArrowDataType::{Decimal, Decimal32, Decimal64};
        match self.kind {
            Kind::Nothing => cells.extend(std::iter::repeat_n(Cell::Missing, array.len())),
            Kind::Number => match &self.field.dtype {
                // The workspace's build of polars casts neither of these two.
                ArrowDataType::Float16 => {
                    let values = primitive::<pf16>(array)?.iter();
                    cells.extend(values.map(|value| number(value.map(|value| f64::from(*value)))));
                }
                Decimal(_, scale) | Decimal32(_, scale) | Decimal64(_, scale) => {
                    let unit = 10_f64.powi(i32::try_from(*scale)?);
                    let values = primitive::<i128>(array)?.iter();
                    cells.extend(values.map(|value| number(value.map(|value| *value as f64 / unit))));
                }
                _ => {
                    let numbers = cast_default(array, &ArrowDataType::Float64)?;
                    cells.extend(primitive::<f64>(numbers.as_ref())?.iter().map(|value| number(value.copied())));
                }
            },
            Kind::Time => {
                let millis: Vec<Option<i64>> = match &self.field.dtype {
                    ArrowDataType::Date32 => {
                        let days = primitive::<i32>(array)?.iter();
                        days.map(|days| days.map(|days| i64::from(*days) * DAY)).collect()
                    }
                    dtype => {
                        let ticks = primitive::<i64>(array)?.iter();
                        ticks.map(|ticks| ticks.and_then(|ticks| millis(*ticks, dtype))).collect()
                    }
                };
                cells.extend(
                    millis.into_iter().map(|millis| millis.map_or(Cell::Missing, |it| Cell::Number(it as f64))),
                );
            }
            Kind::Text => {
                let texts = array.as_any().downcast_ref::<Utf8ViewArray>().context("it is not text")?;
                cells.extend(texts.iter().map(|text| text.map_or(Cell::Missing, Cell::text)));
            }
            Kind::Bytes => match array.as_any().downcast_ref::<BinaryViewArray>() {
                Some(values) => cells.extend(values.iter().map(bytes)),
                None => {
                    let values = array.as_any().downcast_ref::<FixedSizeBinaryArray>().context("it is not binary")?;
                    cells.extend(values.iter().map(bytes));
                }
            },
        }
        Ok(())
    }
}

fn primitive<T: polars_arrow::types::NativeType>(array: &dyn Array) -> anyhow::Result<&PrimitiveArray<T>> {
    array.as_any().downcast_ref().context("its pages hold another type than its schema says")
}

fn number(value: Option<f64>) -> Cell {
    match value {
        Some(value) if value.is_finite() => Cell::Number(value),
        Some(value) if !value.is_nan() => Cell::Text(value.to_string()),
        _ => Cell::Missing,
    }
}

/// Text that was written as bytes; what is not UTF-8 stays apart from it and from each other.
fn bytes(value: Option<&[u8]>) -> Cell {
    match value.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Cell::Missing,
        Some((_, Ok(text))) => Cell::text(text),
        Some((bytes, Err(_))) => {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            Cell::Text(digits.fold("0x".to_owned(), |text, digits| text + &digits))
        }
    }
}

fn millis(ticks: i64, dtype: &ArrowDataType) -> Option<i64> {
    match dtype {
        ArrowDataType::Timestamp(TimeUnit::Second, _) => ticks.checked_mul(1_000),
        ArrowDataType::Timestamp(TimeUnit::Microsecond, _) => Some(ticks.div_euclid(1_000)),
        ArrowDataType::Timestamp(TimeUnit::Nanosecond, _) => Some(ticks.div_euclid(1_000_000)),
        _ => Some(ticks),
    }
}

/// What a type means here, and the type that its pages are decoded to: a dictionary only says how they are packed.
fn kind(dtype: &ArrowDataType) -> Option<(Kind, ArrowDataType)> {
    use ArrowDataType::*;
    Some(match dtype {
        Dictionary(_, values, _) => return kind(values),
        Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float16 | Float32 | Float64 => {
            (Kind::Number, dtype.clone())
        }
        Decimal(..) | Decimal32(..) | Decimal64(..) => (Kind::Number, dtype.clone()),
        Date32 | Date64 | Timestamp(..) => (Kind::Time, dtype.clone()),
        Utf8 | LargeUtf8 | Utf8View => (Kind::Text, Utf8View),
        Binary | LargeBinary | BinaryView => (Kind::Bytes, BinaryView),
        FixedSizeBinary(_) => (Kind::Bytes, dtype.clone()),
        Null => (Kind::Nothing, dtype.clone()),
        _ => return None,
    })
}

/// A type that cannot be read, as its writer names it.
fn words(dtype: &ArrowDataType) -> String {
    use ArrowDataType::*;
    match dtype {
        List(_) | LargeList(_) | FixedSizeList(..) => "list".to_owned(),
        Struct(_) => "struct".to_owned(),
        Time32(_) | Time64(_) => "time of day".to_owned(),
        Duration(_) | Interval(_) => "duration".to_owned(),
        Decimal256(precision, scale) => format!("decimal({precision}, {scale})"),
        other => format!("{other:?}").chars().take(60).collect(),
    }
}
