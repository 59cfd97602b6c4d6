//! A store that holds every series twice, in each of the ways in which that comes about, gives the same tables as one that
//! holds it once; and so does the text itself, read without a server.

mod support;

use clap::{Args, FromArgMatches};
use cluster::{INCIDENTS, NodeMetric, PODS};
use collector::import::{OpenmetricsArgs, import_openmetrics};
use collector::prometheus::pods::{PodRow, read_pods};
use collector::prometheus::queries::QuerySettings;
use collector::prometheus::{Live, backfill};
use std::collections::BTreeMap;
use store::Store;
use support::history::History;
use support::text::{Line, changed, with};
use support::{Values, column, new_store, serve, source};

/// 2026-01-01T05:00:00Z, in seconds: the history crosses a border of chunks, at six o'clock.
const FROM: i64 = 1_767_243_600;
const MINUTES: i64 = 112;
const SPAN: [&str; 4] = ["--from", "2026-01-01T05:00:00Z", "--to", "2026-01-01T06:52:00Z"];

fn history() -> String {
    let text = History { nodes: 3, from: FROM, to: FROM + MINUTES * 60 }.text();
    // The exporters' own addresses, which the shared history leaves out for pods.
    changed(&text, |line| {
        let exporter = match line.name {
            name if name.starts_with("kube_") => "10.9.0.1:8080",
            name if name.starts_with("container_") => "10.0.0.1:10250",
            _ => return vec![(line.labels.to_owned(), line.value.to_owned())],
        };
        vec![(with(line.labels, "instance", exporter), line.value.to_owned())]
    })
}

/// All that a store's tables hold.
#[derive(Debug, PartialEq)]
struct Tables {
    columns: BTreeMap<&'static str, Values>,
    pods: Vec<PodRow>,
    incidents: Vec<String>,
}

impl Tables {
    fn read(store: &Store) -> Self {
        let columns = NodeMetric::ALL.iter().map(|metric| (metric.column(), rounded(column(store, metric.column()))));
        let days = store.days(&PODS).expect("days");
        let incidents = store
            .days(&INCIDENTS)
            .expect("days")
            .into_iter()
            .map(|day| format!("{:?}", store.read_day(&INCIDENTS, day, &[]).expect("incidents")));
        let rows = days.into_iter().flat_map(|day| read_pods(store, day).expect("pods")).map(|row| PodRow {
            cpu_used_cores_mean: row.cpu_used_cores_mean.map(nine_digits),
            cpu_used_cores_p95: row.cpu_used_cores_p95.map(nine_digits),
            ..row
        });
        Self { columns: columns.collect(), pods: rows.collect(), incidents: incidents.collect() }
    }
}

/// The order in which series are added up may change the last digit.
fn rounded(values: Values) -> Values {
    let line =
        |line: BTreeMap<i64, Option<f64>>| line.into_iter().map(|(ts, value)| (ts, value.map(nine_digits))).collect();
    values.into_iter().map(|(node, values)| (node, line(values))).collect()
}

fn nine_digits(value: f64) -> f64 {
    format!("{value:.9e}").parse().expect("a number")
}

async fn fetched(text: &str, more: &[&str]) -> anyhow::Result<Option<Tables>> {
    let Some(served) = serve(text) else { return Ok(None) };
    let (_folder, store) = new_store();
    let url = served.server.url();
    backfill(&source(&[&["--prometheus", &url], &SPAN[..], more].concat()), &store).await?;
    Ok(Some(Tables::read(&store)))
}

/// Which lines a text is made of twice, and how the second is labelled.
type Way = fn(&Line<'_>) -> Vec<String>;

/// A way in which a store comes to hold a series twice.
const WAYS: [(&str, Way); 7] = [
    ("two replicas of Prometheus, told apart by a label", |line| {
        ["a", "b"].map(|replica| with(line.labels, "prometheus_replica", replica)).into()
    }),
    ("two replicas of an agent, told apart by a label nobody knows", |line| {
        ["a", "b"].map(|replica| with(line.labels, "shard_owner", replica)).into()
    }),
    ("two scrape jobs of one exporter", |line| vec![line.labels.to_owned(), with(line.labels, "job", "second")]),
    ("kube-state-metrics that was restarted after an hour", |line| {
        let address = if line.ts < FROM + 3_600 { "10.9.0.1:8080" } else { "10.9.0.2:8080" };
        vec![if line.name.starts_with("kube_") {
            with(line.labels, "instance", address)
        } else {
            line.labels.to_owned()
        }]
    }),
    ("two kube-state-metrics side by side", |line| {
        let second = line.name.starts_with("kube_").then(|| with(line.labels, "instance", "10.9.0.2:8080"));
        [Some(line.labels.to_owned()), second].into_iter().flatten().collect()
    }),
    ("a kubelet by two endpoints", |line| {
        if !line.name.starts_with("container_") {
            return vec![line.labels.to_owned()];
        }
        let cadvisor = with(&with(line.labels, "metrics_path", "/metrics/cadvisor"), "cpu", "total");
        vec![with(&cadvisor, "id", "/kubepods/pod1"), with(line.labels, "metrics_path", "/metrics/resource")]
    }),
    ("node_exporter on two ports", |line| {
        let second = line.labels.contains(":9100").then(|| line.labels.replace(":9100", ":9796"));
        [Some(line.labels.to_owned()), second].into_iter().flatten().collect()
    }),
];

fn twice(text: &str, way: Way) -> String {
    changed(text, |line| way(line).into_iter().map(|labels| (labels, line.value.to_owned())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_holds_twice_counts_once_whatever_tells_the_two_apart() {
    let text = history();
    let Some(once) = fetched(&text, &[]).await.expect("once") else { return };
    // By hand, so that two wrongs are not equal: the history's own formulas.
    assert_eq!(once.pods.len(), 2);
    assert_eq!((once.pods[0].cpu_request_cores, once.pods[0].memory_request_bytes), (Some(0.25), Some(2e8)));
    let receive = &once.columns["network_receive_bytes_per_second"]["worker-0"];
    assert_eq!(receive.values().flatten().next_back(), Some(&1_000.0));
    for (name, way) in WAYS {
        let doubled = twice(&text, way);
        assert_ne!(doubled, changed(&text, |line| vec![(line.labels.to_owned(), line.value.to_owned())]), "{name}");
        let tables = fetched(&doubled, &[]).await.expect(name).expect("a server");
        for (column, values) in &once.columns {
            assert_eq!(&tables.columns[column], values, "{column} with {name}");
        }
        assert_eq!(tables.pods, once.pods, "pods with {name}");
        assert_eq!(tables.incidents, once.incidents, "incidents with {name}");
    }
}

fn import_args(more: &[&str], file: &std::path::Path) -> OpenmetricsArgs {
    let command = OpenmetricsArgs::augment_args(clap::Command::new("test"));
    let file = file.to_string_lossy();
    let matches = command.get_matches_from([&["test", "--step", "30s"], more, &[&*file]].concat());
    OpenmetricsArgs::from_arg_matches(&matches).expect("flags")
}

fn imported(text: &str, more: &[&str]) -> Tables {
    let (folder, store) = new_store();
    let file = folder.path().join("history.om");
    std::fs::write(&file, text).expect("text");
    import_openmetrics(&import_args(more, &file), &QuerySettings::default(), &store).expect("imported");
    Tables::read(&store)
}

/// Each device has others beside it that carry the same, and the root filesystem that of an image.
fn with_odd_devices(text: &str) -> String {
    changed(text, |line| {
        let beside: &[&str] = match line.labels {
            labels if labels.contains(r#"device="eth0""#) => {
                &["bond0", "eni4f1b2c3d4e5", "br-ex", "eth0.100", "0123456789abcde"]
            }
            labels if labels.contains(r#"device="sda""#) => &["sda1", "md0", "zram0", "dm-7"],
            _ => &[],
        };
        let mut lines = vec![(line.labels.to_owned(), line.value.to_owned())];
        lines.extend(beside.iter().map(|device| (with(line.labels, "device", device), line.value.to_owned())));
        if line.name == "node_filesystem_avail_bytes" || line.name == "node_filesystem_size_bytes" {
            lines.push((with(line.labels, "fstype", "overlay"), "1e9".to_owned()));
        }
        lines
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn text_and_server_give_the_same_tables() {
    let text = with_odd_devices(&twice(&history(), WAYS[0].1));
    let Some(fetched) = fetched(&text, &[]).await.expect("fetched") else { return };
    // By hand: 1,000 bytes a second through eth0, 500 from sda and sdb, 40 of 100 GB in use.
    let last = |column: &str| fetched.columns[column]["worker-0"].values().flatten().next_back().copied();
    assert_eq!(last("network_receive_bytes_per_second"), Some(1_000.0));
    assert_eq!((last("disk_read_bytes_per_second"), last("filesystem_used_ratio")), (Some(500.0), Some(0.4)));
    let imported = tokio::task::spawn_blocking(move || imported(&text, &[])).await.expect("imported");
    for (column, values) in &fetched.columns {
        assert_eq!(&imported.columns[column], values, "{column}");
    }
    assert_eq!(imported.pods, fetched.pods);
    assert_eq!(imported.incidents, fetched.incidents);
}

/// The history beside that of another cluster with the same names and addresses, which uses twice as much.
fn two_clusters() -> String {
    changed(&history(), |line| {
        let is_amount = [
            "node_cpu_",
            "node_memory_",
            "node_load1",
            "container_",
            "kube_pod_container_",
            "kube_node_status_allocatable",
        ]
        .iter()
        .any(|prefix| line.name.starts_with(prefix));
        let doubled = if is_amount {
            2.0 * line.value.parse::<f64>().expect("a number")
        } else {
            line.value.parse().expect("a number")
        };
        vec![
            (with(line.labels, "cluster", "prod"), line.value.to_owned()),
            (with(&with(line.labels, "cluster", "test"), "uid", "other"), doubled.to_string()),
        ]
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_chosen_by_label_or_selector_and_a_mixture_is_refused() {
    let text = two_clusters();
    let Some(served) = serve(&text) else { return };
    let url = served.server.url();
    let asked = |more: &[&str]| source(&[&["--prometheus", &url], &SPAN[..], more].concat());
    let (_folder, store) = new_store();
    let error = format!("{:#}", backfill(&asked(&[]), &store).await.expect_err("a mixture"));
    for named in ["several clusters", "label `cluster` is `prod`, `test`", "--cluster-label", "--selector"] {
        assert!(error.contains(named), "{error}");
    }
    let alone = fetched(&history(), &[]).await.expect("alone").expect("a server");
    for choice in [["--cluster-label", "cluster=prod"], ["--selector", r#"{cluster=~"pr.*"}"#]] {
        let (_folder, store) = new_store();
        let summary = backfill(&asked(&choice), &store).await.expect("one cluster");
        assert!(summary.server.contains("cluster="), "{}", summary.server);
        let tables = Tables::read(&store);
        for (column, values) in &alone.columns {
            assert_eq!(&tables.columns[column], values, "{column} with {choice:?}");
        }
        assert_eq!((&tables.pods, &tables.incidents), (&alone.pods, &alone.incidents), "{choice:?}");
        // Rows of the other cluster must not join them later.
        let error =
            format!("{:#}", backfill(&asked(&["--cluster-label", "cluster=test"]), &store).await.expect_err("joined"));
        assert!(error.contains("another --data"), "{error}");
    }

    // Whoever watches the cluster asks by the same selector.
    let at = (FROM + 50 * 60) * 1_000;
    let mixed = asked(&[]);
    let error = format!("{:#}", Live::new(&mixed).expect("live").look_around(at).await.expect_err("a mixture"));
    assert!(error.contains("label `cluster`"), "{error}");
    let prod = asked(&["--cluster-label", "cluster=prod"]);
    let mut live = Live::new(&prod).expect("live");
    let times = at - 300_000..at;
    for (node, samples) in live.samples(&times, 30_000).await.expect("samples") {
        for sample in samples {
            let wanted = alone.columns["cpu_used_cores"][node.as_str()][&sample.ts];
            assert_eq!(Some(nine_digits(sample.get(NodeMetric::CpuUsed))), wanted, "{node} at {}", sample.ts);
        }
    }
    let pods = live.pods(&times).await.expect("pods");
    assert!(pods.rows.iter().all(|row| row.pod_uid != "other") && pods.rows.len() == 2, "{:?}", pods.rows);

    let imported = tokio::task::spawn_blocking(move || imported(&text, &["--cluster-label", "cluster=prod"]));
    let imported = imported.await.expect("imported");
    assert_eq!(imported.columns["cpu_used_cores"], alone.columns["cpu_used_cores"]);
    assert_eq!(imported.pods, alone.pods);
}
