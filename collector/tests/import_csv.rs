//! The shipped mappings on the real sets, and damaged input. Expected figures come from the sets' own README files and
//! from counting with awk; they are not taken from this code.

use cluster::{NODE_METRICS, NodeMetric};
use collector::import::mapping::Mapping;
use collector::import::{ImportSummary, import_csv};
use collector::openmetrics::export::read_day;
use collector::raw::DropReason;
use std::io::Write;
use std::path::{Path, PathBuf};
use store::Store;

/// The real sets; `None`, said loudly, where they are not at hand.
fn real(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BERTH_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let file = folder.join(path);
    if !file.exists() {
        println!("SKIPPED: `{}` is not there; set BERTH_TEST_DATA to the folder of real traces", file.display());
        return None;
    }
    Some(file)
}

fn mapping(name: &str) -> Mapping {
    Mapping::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings").join(name)).expect("a shipped mapping")
}

fn import(mapping: &Mapping, file: &Path) -> (tempfile::TempDir, Store, ImportSummary) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(folder.path());
    let summary = import_csv(mapping, &[file.to_owned()], &store).expect("imported");
    (folder, store, summary)
}

/// Mean of used ÷ allocatable over all rows of a node, in percent.
fn mean_percent(store: &Store, node: &str, used: NodeMetric, whole: NodeMetric) -> f64 {
    let mut values = Vec::new();
    for date in store.days(&NODE_METRICS).expect("days") {
        let nodes = read_day(store, date).expect("day");
        values.extend(nodes.get(node).into_iter().flatten().map(|sample| sample.get(used) / sample.get(whole) * 100.0));
    }
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn every_shipped_mapping_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("mappings") {
        Mapping::load(&entry.expect("entry").path()).expect("valid");
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn alibaba_has_the_nodes_and_means_of_its_readme() {
    let Some(file) = real("alibaba2018-nodes/usage_5min.csv.gz") else { return };
    let (_folder, store, summary) = import(&mapping("alibaba2018-nodes.toml"), &file);
    assert_eq!((summary.rows, summary.nodes.len()), (17_147, 9));
    let (first, last) = summary.days.expect("days");
    assert_eq!((last - first).num_days() + 1, 8);
    // "m_1933 is nearly idle (CPU 6 %)", "CPU mean 32-43 %" on the others, "memory mean 87-92 %".
    let cpu = |node: &str| mean_percent(&store, node, NodeMetric::CpuUsed, NodeMetric::CpuAllocatable);
    let memory = |node: &str| mean_percent(&store, node, NodeMetric::MemoryUsed, NodeMetric::MemoryAllocatable);
    assert!((cpu("m_1933") - 6.0).abs() < 0.5, "{}", cpu("m_1933"));
    for node in ["m_1932", "m_1934", "m_1938", "m_1940"] {
        assert!(
            (32.0..43.0).contains(&cpu(node)) && (87.0..92.0).contains(&memory(node)),
            "{node}: {} {}",
            cpu(node),
            memory(node)
        );
    }
}

#[test]
fn bad_marks_of_alibabas_raw_rows_are_counted_and_become_null() {
    let Some(file) = real("alibaba2018-nodes/usage_raw.csv.gz") else { return };
    let (_folder, store, summary) = import(&mapping("alibaba2018-nodes-raw.toml"), &file);
    // awk over the file: 57,948 rows, seven times 101 and four times -1 in disk_io_percent, no duplicates.
    assert_eq!(summary.rows, 57_948);
    assert_eq!(summary.columns["disk_io_time_ratio"].get(DropReason::InvalidMark), 11);
    assert_eq!(summary.drops.get(DropReason::Duplicate), 0);
    let mut missing = 0;
    for date in store.days(&NODE_METRICS).expect("days") {
        let nodes = read_day(&store, date).expect("day");
        missing += nodes.values().flatten().filter(|sample| sample.get(NodeMetric::DiskIoTime).is_nan()).count();
    }
    assert_eq!(missing, 11);
}

#[test]
fn bitbrains_has_the_rows_and_peak_of_its_readme() {
    let Some(file) = real("bitbrains-rnd/nodes_5min.csv.gz") else { return };
    let (_folder, store, summary) = import(&mapping("bitbrains-rnd.toml"), &file);
    assert_eq!((summary.rows, summary.nodes.len()), (284_079, 12));
    // "nothing is clipped, the largest CPU value is 91 %"; 91 days from 30 June 22:00 UTC.
    let mut largest: f64 = 0.0;
    for date in store.days(&NODE_METRICS).expect("days") {
        let nodes = read_day(&store, date).expect("day");
        let values = nodes
            .values()
            .flatten()
            .map(|sample| sample.get(NodeMetric::CpuUsed) / sample.get(NodeMetric::CpuAllocatable));
        largest = values.fold(largest, f64::max);
    }
    assert!((largest * 100.0 - 91.0).abs() < 0.5, "{largest}");
}

#[test]
fn a_server_of_smd_takes_its_name_from_the_file() {
    let Some(file) = real("smd/machine-1-2.train.csv.gz") else { return };
    let (_folder, _store, summary) = import(&mapping("smd.toml"), &file);
    assert!(summary.nodes.contains("machine-1-2"), "{:?}", summary.nodes);
    assert_eq!(summary.rows, 23_694);
}

fn small() -> Mapping {
    mapping("alibaba2018-nodes.toml")
}

fn written(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("trace.csv");
    std::fs::write(&path, bytes).expect("fixture");
    path
}

const HEADER: &str = "machine,ts_s,cpu_pct,mem_pct,net_in,net_out,disk_pct\n";

#[test]
fn what_cannot_be_read_is_counted_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = format!(
        "{HEADER}a,0,10,20,1,1,101\na,300,ten,20,1,1,5\na,600\n,900,10,20,1,1,5\na,noon,10,20,1,1,5\na,0,99,20,1,1,5\na,1200,,,,,\na,1500,inf,20,1,1,-5\n"
    );
    let (_data, store, summary) = import(&small(), &written(&folder, text.as_bytes()));
    for (reason, count) in [
        (DropReason::InvalidMark, 1),
        (DropReason::NotANumber, 1),
        (DropReason::Unreadable, 1),
        (DropReason::NoKey, 1),
        (DropReason::NotATime, 1),
        (DropReason::Duplicate, 1),
        (DropReason::Empty, 1),
        (DropReason::NotFinite, 1),
        (DropReason::Negative, 1),
    ] {
        assert_eq!(summary.drops.get(reason), count, "{reason:?} in {}", summary.drops);
    }
    assert_eq!((summary.lines, summary.rows), (8, 3));
    let date = store.days(&NODE_METRICS).expect("days")[0];
    let samples = read_day(&store, date).expect("day").remove("a").expect("node");
    assert_eq!(samples[0].get(NodeMetric::CpuUsed), 0.1);
    assert!(samples[0].get(NodeMetric::DiskIoTime).is_nan() && samples[1].get(NodeMetric::CpuUsed).is_nan());
}

/// Runs `import csv` on a text and returns its exit code and what it says, with the rows that it wrote.
fn command(time: &str, more: &str, text: &[u8]) -> (Option<i32>, String, Vec<(i64, f64)>) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mapping = format!(
        "description = \"test\"\nnode = {{ column = \"node\" }}\n{more}\ntime = {{ column = \"ts\", {time} }}\n[columns.cpu_used_cores]\ncolumn = \"cpu\"\n"
    );
    std::fs::write(folder.path().join("mapping.toml"), mapping).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_collector"))
        .arg("--data")
        .arg(folder.path().join("data"))
        .args(["import", "csv", "--mapping"])
        .arg(folder.path().join("mapping.toml"))
        .arg(written(&folder, text))
        .output()
        .expect("it runs");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    let store = Store::new(folder.path().join("data"));
    let mut rows = Vec::new();
    for date in store.days(&NODE_METRICS).expect("days") {
        let nodes = read_day(&store, date).expect("day");
        rows.extend(nodes.values().flatten().map(|sample| (sample.ts, sample.get(NodeMetric::CpuUsed))));
    }
    (output.status.code(), said, rows)
}

/// 2026-11-29T00:00:00Z, by `date -u -d 2026-11-29 +%s`.
const NIGHT: i64 = 1_795_910_400_000;

#[test]
fn times_as_pandas_and_grafana_write_them_are_read() {
    let rows = vec![(NIGHT, 0.5), (NIGHT + 60_000, 0.625)];
    for (time, first, second) in [
        ("unit = \"rfc3339\"", "2026-11-29 00:00:00", "2026-11-29 00:01:00"),
        ("unit = \"text\"", "2026-11-29 00:00:00+00:00", "2026-11-29 00:01:00+00:00"),
        ("unit = \"text\"", "2026-11-29T01:00+01:00", "2026-11-29T01:01+01:00"),
        ("unit = \"text\"", "2026-11-29 00:00", "2026-11-29 00:01"),
        ("unit = \"text\"", "1795910400", "1795910460"),
        ("unit = \"text\"", "1795910400000", "1795910460000"),
        ("unit = \"milliseconds\"", "1795910400000", "1795910460000"),
        ("unit = \"microseconds\"", "1795910400000000", "1795910460000000"),
        ("unit = \"text\", format = \"%d/%m/%Y %H:%M\"", "29/11/2026 00:00", "29/11/2026 00:01"),
    ] {
        let text = format!("ts,node,cpu\n{first},node-1,0.5\n{second},node-1,0.625\n");
        let (code, said, got) = command(time, "", text.as_bytes());
        assert_eq!((code, &got), (Some(0), &rows), "{first}: {said}");
        let has_zone = first.contains('+') || first.starts_with("1795");
        assert_eq!(said.contains("2 times have no offset and were taken for UTC"), !has_zone, "{said}");
    }
}

#[test]
fn a_file_of_which_nothing_can_be_used_ends_with_examples_and_not_with_success() {
    for (time, ts, named) in [
        ("unit = \"text\"", "29/11/2026 00:00", "set `time.format`"),
        ("unit = \"seconds\"", "1795910400000", "but would be as milliseconds"),
        ("unit = \"seconds\"", "2026-11-29", "which is not a number of seconds"),
        ("unit = \"text\"", "1970-01-01T00:00:00Z", "not in the years 2000 to 2199"),
    ] {
        let text = format!("ts,node,cpu\n{ts},node-1,0.5\n{ts},node-2,0.5\n");
        let (code, said, rows) = command(time, "", text.as_bytes());
        assert_eq!((code, rows.len()), (Some(1), 0), "{said}");
        assert!(said.contains("nothing was written") && said.contains(&format!("row 1 has {ts:?} in `ts`")), "{said}");
        assert!(said.contains(named) && said.contains("2 not_a_time"), "{said}");
    }
    // A few of many are counted, and shown.
    let (code, said, rows) =
        command("unit = \"seconds\"", "", b"ts,node,cpu\n1795910400,node-1,0.5\n1795910460000,node-1,0.5\n");
    assert_eq!((code, rows), (Some(0), vec![(NIGHT, 0.5)]));
    assert!(said.contains("1 not_a_time") && said.contains("row 2 has \"1795910460000\""), "{said}");
}

#[test]
fn separators_marks_and_encodings_are_read_as_the_mapping_says_or_named() {
    let rows = vec![(NIGHT, 0.5)];
    let german = "ts;node;cpu\n29.11.2026;node-1;0,5\n";
    let day = "unit = \"text\", format = \"%d.%m.%Y\"";
    let (code, said, got) = command(day, "delimiter = \";\"\ndecimal = \",\"", german.as_bytes());
    assert_eq!((code, got), (Some(0), rows.clone()), "{said}");
    let (code, said, _) = command(day, "", german.as_bytes());
    assert!(code == Some(2) && said.contains("separated by ';'") && said.contains("`delimiter`"), "{said}");
    let (code, said, _) = command(day, "delimiter = \";\"", german.as_bytes());
    assert!(code == Some(1) && said.contains("row 1 has \"0,5\" in `cpu`"), "{said}");
    let plain = "ts,node,cpu\n1795910400,node-1,0.5\n";
    let marked = [b"\xef\xbb\xbf", plain.as_bytes()].concat();
    let (code, said, got) = command("unit = \"seconds\"", "", &marked);
    assert_eq!((code, got), (Some(0), rows), "{said}");
    let wide: Vec<u8> = format!("\u{feff}{plain}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (code, said, _) = command("unit = \"seconds\"", "", &wide);
    assert!(code == Some(1) && said.contains("UTF-16") && said.contains("Save it as UTF-8"), "{said}");
}

#[test]
fn the_same_file_again_changes_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = written(&folder, format!("{HEADER}a,0,10,20,1,1,5\nb,0,11,20,1,1,5\n").as_bytes());
    let (_data, store, _) = import(&small(), &path);
    let first = collector::collect::freeze(&store).expect("frozen");
    import_csv(&small(), &[path], &store).expect("again");
    assert_eq!(collector::collect::freeze(&store).expect("frozen").id, first.id);
    assert_eq!(first.inputs[0].name, "trace.csv");
}

#[test]
fn a_file_of_another_kind_or_a_cut_gzip_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let data = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(data.path());
    let path = written(&folder, b"time,value\n1,2\n");
    let error = format!("{:#}", import_csv(&small(), &[path], &store).expect_err("other columns"));
    assert!(error.contains("`ts_s`") && error.contains("`value`") && error.contains("trace.csv"), "{error}");

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for row in 0..5_000 {
        writeln!(gzip, "a,{},1,2,3,4,5", row * 300).expect("row");
    }
    let bytes = gzip.finish().expect("gzip");
    let path = written(&folder, &bytes[..bytes.len() / 2]);
    let error = format!("{:#}", import_csv(&small(), &[path], &store).expect_err("cut"));
    assert!(error.contains("trace.csv"), "{error}");
    assert!(store.days(&NODE_METRICS).expect("days").is_empty(), "nothing of a damaged file is kept");

    let missing = folder.path().join("nothing.csv");
    let error = format!("{:#}", import_csv(&small(), &[missing], &store).expect_err("absent"));
    assert!(error.contains("nothing.csv"), "{error}");
}
