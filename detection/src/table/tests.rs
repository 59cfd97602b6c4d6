//! Tables as other programs write them. The Parquet files are made by pyarrow, see `fixtures/make.py`; what they hold stands there.

use super::{Cell, TableReader, TableRow};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/table/fixtures").join(name)
}

/// All cells, by row.
fn rows(path: &Path) -> (TableReader, Vec<Vec<Cell>>) {
    let mut reader = TableReader::open(path).expect("a table");
    let (mut row, mut all) = (TableRow::default(), Vec::new());
    while reader.next(&mut row).expect("a row") {
        assert_eq!(row.problem, None);
        all.push(row.cells.clone());
    }
    (reader, all)
}

/// 2026-11-01T00:00:00Z in milliseconds.
const MIDNIGHT: f64 = 1_793_491_200_000.0;

#[test]
fn columns_of_a_parquet_file_are_read_by_what_they_mean() {
    let (reader, rows) = rows(&fixture("types.parquet"));
    assert_eq!(rows.len(), 4);
    let column = |name: &str| -> Vec<Cell> {
        let place = reader.position(name).expect(name);
        rows.iter().map(|row| row[place].clone()).collect()
    };
    let text = |text: &str| Cell::Text(text.to_owned());
    let numbers = |values: [f64; 3]| [values.map(Cell::Number).to_vec(), vec![Cell::Missing]].concat();
    let names = vec![text("node-a"), text("node-b"), text("node-a"), Cell::Missing];
    for name in ["text", "large", "category", "binary"] {
        assert_eq!(column(name), names, "{name}");
    }
    assert_eq!(column("raw"), [text("0xff00"), text("0xff01"), text("ok"), Cell::Missing]);
    assert_eq!(column("fixed"), [text("aa"), text("bb"), text("aa"), Cell::Missing]);
    for name in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"] {
        assert_eq!(column(name), numbers([1.0, 2.0, 3.0]), "{name}");
    }
    assert_eq!(column("category_of_numbers"), numbers([10.0, 20.0, 10.0]));
    assert_eq!(column("boolean"), numbers([1.0, 0.0, 1.0]));
    for name in ["half", "double"] {
        assert_eq!(column(name), numbers([0.25, 0.5, 0.75]), "{name}");
    }
    assert_eq!(column("float"), [Cell::Number(0.25), Cell::Missing, text("inf"), Cell::Missing]);
    assert_eq!(column("decimal"), numbers([0.25, -1.5, 123_456.789]));
    assert_eq!(column("wide_decimal"), numbers([0.25, 1e20, 0.0]));
    assert_eq!(column("day")[0], Cell::Number(MIDNIGHT));
    for name in ["millis", "micros", "nanos"] {
        assert_eq!(column(name), numbers([MIDNIGHT, MIDNIGHT + 60_000.0, MIDNIGHT + 120_000.0]), "{name}");
    }
    assert_eq!(column("nothing"), vec![Cell::Missing; 4]);
    // What has no meaning here says so in every row, and nothing beside it is lost.
    for (name, kind) in [
        ("list", "list"),
        ("struct", "struct"),
        // In a Parquet file a map is a list of pairs.
        ("map", "list"),
        ("clock", "time of day"),
        ("span", "duration"),
        ("huge_decimal", "decimal(50, 2)"),
    ] {
        let place = reader.position(name).expect(name);
        assert_eq!(reader.unreadable(place), Some(kind));
        let refused = reader.check_readable([0, place]).expect_err(kind).to_string();
        assert!(refused.contains(&format!("column `{name}` is of type {kind}")), "{refused}");
        assert_eq!(column(name), vec![text(&format!("a value of type {kind}")); 4]);
    }
    assert_eq!(reader.unreadable(reader.position("decimal").expect("a column")), None);
}

#[test]
fn times_of_spark_and_row_groups_of_any_size_are_read() {
    let (_, spark) = rows(&fixture("int96.parquet"));
    assert_eq!(spark[1], [Cell::Number(MIDNIGHT + 60_000.0), Cell::Text("node-b".to_owned())]);
    assert_eq!(spark[3], [Cell::Missing, Cell::Missing]);
    let (_, groups) = rows(&fixture("groups.parquet"));
    let wanted: Vec<Vec<Cell>> =
        (0..10).map(|row| vec![Cell::Text(format!("node-{}", row % 3)), Cell::Number(f64::from(row) / 8.0)]).collect();
    assert_eq!(groups, wanted);
}

#[test]
fn a_damaged_parquet_file_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let whole = std::fs::read(fixture("types.parquet")).expect("a file");
    let path = folder.path().join("damaged.parquet");
    let mut read = 0;
    for at in (0..whole.len()).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        std::fs::write(&path, &damaged).expect("written");
        let Ok(mut reader) = TableReader::open(&path) else { continue };
        let mut row = TableRow::default();
        while let Ok(true) = reader.next(&mut row) {
            read += 1;
        }
    }
    assert!(read > 0, "where the damage lies in a column, others may still be read");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let error = format!("{:#}", TableReader::open(&path).expect_err("cut"));
    assert!(error.contains("not a valid Parquet file"), "{error}");
}

fn csv(text: &[u8]) -> (Vec<String>, Vec<Vec<Cell>>) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("table.csv");
    std::fs::write(&path, text).expect("written");
    let (reader, rows) = rows(&path);
    (reader.header().to_vec(), rows)
}

#[test]
fn a_table_is_read_with_whatever_separates_its_columns() {
    let wanted = vec![vec![Cell::Text("2026-11-01 06:00".to_owned()), Cell::Text("n1".to_owned()), Cell::Number(0.5)]];
    for text in [
        "ts,node,cpu\n2026-11-01 06:00,n1,0.5\n",
        "\u{feff}ts,node,cpu\r\n2026-11-01 06:00,n1,0.5\r\n",
        "ts;node;cpu\n2026-11-01 06:00;n1;0,5\n",
        "ts\tnode\tcpu\n2026-11-01 06:00\tn1\t0.5\n",
        "ts|node|cpu\n2026-11-01 06:00|n1|0,5\n",
    ] {
        let (header, rows) = csv(text.as_bytes());
        assert_eq!(header, ["ts", "node", "cpu"], "{text:?}");
        assert_eq!(rows, wanted, "{text:?}");
    }
    // With commas between columns a decimal comma cannot be told from one.
    assert_eq!(csv(b"a,b\n1,\"0,5\"\n").1, [[Cell::Number(1.0), Cell::Text("0,5".to_owned())]]);
}

#[test]
fn another_encoding_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("wide.csv");
    let wide: Vec<u8> = "\u{feff}ts,cpu\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, wide).expect("written");
    let error = format!("{:#}", TableReader::open(&path).expect_err("UTF-16"));
    assert!(error.contains("wide.csv") && error.contains("UTF-16") && error.contains("Save it as UTF-8"), "{error}");
}
