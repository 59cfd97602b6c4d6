//! Clusters other than the plainest, through a real Prometheus: what belongs to whom, and what counts.

mod support;

use cluster::{NodeMetric, PODS};
use collector::prometheus::pods::{PodRow, read_pods};
use collector::prometheus::{BackfillSummary, Live, backfill, show_mapping};
use collector::raw::DropReason;
use store::Store;
use support::text::{Text, during};
use support::{Values, column, new_store, serve, source};

/// 2026-01-01T00:00:00Z, in seconds.
const FROM: i64 = 1_767_225_600;
const HOUR: i64 = 3_600;

async fn fetched(text: &Text, more: &[&str]) -> Option<anyhow::Result<(BackfillSummary, Store, tempfile::TempDir)>> {
    let served = serve(&text.text())?;
    let (folder, store) = new_store();
    let (url, to) = (served.server.url(), iso(text.to));
    // The first minutes have no full window yet.
    let span = ["--prometheus", &url, "--from", "2026-01-01T00:10:00Z", "--to", &to];
    Some(backfill(&source(&[&span, more].concat()), &store).await.map(|summary| (summary, store, folder)))
}

fn iso(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).expect("a time").to_rfc3339()
}

/// The only value that a node has in a column.
fn only(values: &Values, node: &str) -> Option<f64> {
    let mut all: Vec<f64> =
        values.get(node)?.values().map(|value| (value.unwrap_or(f64::NAN) * 1e6).round() / 1e6).collect();
    all.dedup();
    assert!(all.len() == 1, "`{node}` has {all:?}");
    Some(all[0]).filter(|value| !value.is_nan())
}

fn pods(store: &Store) -> Vec<PodRow> {
    store.days(&PODS).expect("days").into_iter().flat_map(|day| read_pods(store, day).expect("pods")).collect()
}

/// Received bytes a second by interface; what is meant is 1 MB/s on each node.
const INTERFACES: [(&str, &[(&str, f64)]); 9] = [
    ("eks", &[("eth0", 7e5), ("eth1", 3e5), ("eni4f1b2c3d4e5", 6e5), ("enid0a9b8c7d6e", 4e5), ("vlan.eth.1", 1e5)]),
    ("aks", &[("eth0", 1e6), ("enP53318s1", 1e6), ("azv12ab34cd56e", 1e6)]),
    ("gke", &[("eth0", 1e6), ("gke0a1b2c3d4e5", 1e6), ("docker0", 1e5)]),
    (
        "openshift",
        &[
            ("ens3", 1e6),
            ("0123456789abcde", 1e6),
            ("ovn-k8s-mp0", 1e6),
            ("br-ex", 1e6),
            ("br-int", 1e6),
            ("genev_sys_6081", 1e6),
            ("ovs-system", 1e6),
        ],
    ),
    (
        "cilium",
        &[("enp3s0f0", 1e6), ("lxc1a2b", 1e6), ("cilium_host", 1e6), ("cilium_vxlan", 1e6), ("lxc_health", 1e4)],
    ),
    (
        "calico",
        &[("em1", 1e6), ("cali0a1b2c3d4e5", 1e6), ("tunl0", 1e6), ("vxlan.calico", 1e6), ("wireguard.cali", 1e5)],
    ),
    (
        "weave",
        &[
            ("eth0", 1e6),
            ("weave", 1e6),
            ("vethwe-bridge", 1e6),
            ("vethwepl1a2b3c", 1e6),
            ("vxlan-6784", 1e6),
            ("datapath", 1e6),
        ],
    ),
    (
        "bonded",
        &[
            ("eno1", 4e5),
            ("eno2", 6e5),
            ("bond0", 1e6),
            ("bond0.100", 5e5),
            ("team0", 1e6),
            ("br0", 1e6),
            ("vnet3", 1e5),
            ("tap7", 1e5),
            ("lo", 5e6),
        ],
    ),
    (
        "antrea",
        &[
            ("enP2p1s0", 1e6),
            ("antrea-gw0", 1e6),
            ("nginx-6d-c3af12", 1e6),
            ("antrea-tun0", 1e6),
            ("wg0", 1e4),
            ("dummy0", 1e3),
            ("kube-ipvs0", 1e3),
            ("nodelocaldns", 1e3),
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_traffic_of_a_node_is_that_of_its_hardware() {
    let mut text = Text::new(FROM, FROM + HOUR);
    for (at, (node, interfaces)) in INTERFACES.into_iter().enumerate() {
        let host = format!(r#"instance="10.0.0.{at}:9100""#);
        text.host(&host, node, 0.5, 0..HOUR).node(&format!(r#"node="{node}",internal_ip="10.0.0.{at}""#), 0..HOUR);
        for (device, rate) in interfaces {
            text.counter("node_network_receive_bytes_total", &format!(r#"{host},device="{device}""#), *rate);
        }
    }
    let Some(fetched) = fetched(&text, &[]).await else { return };
    let (_, store, _folder) = fetched.expect("fetched");
    let received = column(&store, NodeMetric::NetworkReceive.column());
    for (node, _) in INTERFACES {
        assert_eq!(only(&received, node), Some(1e6), "{node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_are_those_that_do_not_stand_on_others() {
    let mut text = Text::new(FROM, FROM + HOUR);
    let host = r#"instance="10.0.0.1:9100""#;
    text.host(host, "n", 0.5, 0..HOUR).node(r#"node="n",internal_ip="10.0.0.1""#, 0..HOUR);
    // By hand: sda + nvme0n1 + vdb read 300 + 200 + 100 bytes a second, and vdb is the busiest of them.
    let real = [("sda", 300.0, 0.1), ("nvme0n1", 200.0, 0.2), ("vdb", 100.0, 0.3)];
    let above = [
        "sda1",
        "nvme0n1p2",
        "nvme0c0n1",
        "vdb3",
        "dm-0",
        "md127",
        "loop4",
        "zram0",
        "ram1",
        "nbd0",
        "drbd0",
        "bcache0",
        "zd16",
        "sr0",
        "mmcblk0p1",
    ];
    for (device, read, busy) in real.into_iter().chain(above.map(|device| (device, 900.0, 0.9))) {
        text.counter("node_disk_read_bytes_total", &format!(r#"{host},device="{device}""#), read);
        text.counter("node_disk_io_time_seconds_total", &format!(r#"{host},device="{device}""#), busy);
    }
    let Some(fetched) = fetched(&text, &[]).await else { return };
    let (_, store, _folder) = fetched.expect("fetched");
    assert_eq!(only(&column(&store, "disk_read_bytes_per_second"), "n"), Some(600.0));
    assert_eq!(only(&column(&store, "disk_io_time_ratio"), "n"), Some(0.3));
}

/// Mount point, type, share in use, whether it can only be read.
type Mount = (&'static str, &'static str, f64, bool);

#[tokio::test(flavor = "multi_thread")]
async fn the_root_filesystem_is_the_one_that_fills_up() {
    let systems: [(&str, &[Mount], f64); 7] = [
        ("ubuntu", &[("/", "ext4", 0.4, false), ("/var", "ext4", 0.8, false), ("/boot", "vfat", 0.9, false)], 0.4),
        ("bottlerocket", &[("/", "ext4", 1.0, true), ("/local", "xfs", 0.3, false), ("/var", "xfs", 0.3, false)], 0.3),
        (
            "talos",
            &[("/", "squashfs", 1.0, true), ("/var", "xfs", 0.25, false), ("/system/state", "xfs", 0.1, false)],
            0.25,
        ),
        ("coreos", &[("/", "overlay", 1.0, true), ("/sysroot", "xfs", 0.5, true), ("/var", "xfs", 0.5, false)], 0.5),
        (
            "cos",
            &[("/", "ext2", 0.6, true), ("/mnt/stateful_partition", "ext4", 0.2, false), ("/var", "ext4", 0.2, false)],
            0.2,
        ),
        ("minimal", &[("/var", "ext4", 0.7, false)], 0.7),
        ("container", &[("/", "overlay", 0.9, false), ("/", "rootfs", 0.95, false), ("/", "ext4", 0.45, false)], 0.45),
    ];
    let mut text = Text::new(FROM, FROM + HOUR);
    for (at, (node, mounts, _)) in systems.into_iter().enumerate() {
        let host = format!(r#"instance="10.0.0.{at}:9100""#);
        text.host(&host, node, 0.5, 0..HOUR).node(&format!(r#"node="{node}",internal_ip="10.0.0.{at}""#), 0..HOUR);
        for (mount, fstype, used, read_only) in mounts {
            let labels = format!(r#"{host},mountpoint="{mount}",fstype="{fstype}",device="/dev/{fstype}""#);
            text.gauge("node_filesystem_size_bytes", &labels, 1e11);
            text.gauge("node_filesystem_avail_bytes", &labels, (1.0 - used) * 1e11);
            text.gauge("node_filesystem_readonly", &labels, f64::from(u8::from(*read_only)));
        }
    }
    let Some(fetched) = fetched(&text, &[]).await else { return };
    let (summary, store, _folder) = fetched.expect("fetched");
    let used = column(&store, "filesystem_used_ratio");
    for (node, _, wanted) in systems {
        assert_eq!(only(&used, node), Some(wanted), "{node}");
    }
    assert_eq!(summary.columns["filesystem_used_ratio"].drops.get(DropReason::SeveralSeries), 0, "{summary}");
}

/// A pod with one container, as kube-state-metrics shows it.
fn pod(text: &mut Text, name: &str, more: &str, requests: &[(&str, &str, f64)]) {
    let labels = format!(r#"namespace="ml",pod="{name}",uid="uid-{name}"{more}"#);
    text.gauge("kube_pod_info", &format!(r#"{labels},node="n""#), 1.0);
    text.gauge("kube_pod_created", &labels, (FROM - 60) as f64);
    text.gauge("kube_pod_status_phase", &format!(r#"{labels},phase="Running""#), 1.0);
    for (container, resource, amount) in requests {
        let labels = format!(r#"{labels},container="{container}",node="n",resource="{resource}",unit="integer""#);
        text.gauge("kube_pod_container_resource_requests", &labels, *amount);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accelerators_of_every_vendor_count_whole_or_shared() {
    let counted = [
        "nvidia_com_gpu",
        "nvidia_com_gpu_shared",
        "nvidia_com_mig_1g_5gb",
        "nvidia_com_mig_3g_20gb",
        "amd_com_gpu",
        "amd_com_cpx_nps4",
        "gpu_intel_com_i915",
        "gpu_intel_com_xe",
        "habana_ai_gaudi",
        "google_com_tpu",
        "aws_amazon_com_neuron",
        "aws_amazon_com_neuroncore",
        "huawei_com_Ascend910",
    ];
    let others = [
        "cpu",
        "memory",
        "ephemeral_storage",
        "hugepages_2Mi",
        "nvidia_com_gpumem",
        "aliyun_com_gpu_mem",
        "gpu_intel_com_i915_monitoring",
        "vpc_amazonaws_com_pod_eni",
        "rdma_hca",
    ];
    let mut text = Text::new(FROM, FROM + HOUR);
    text.host(r#"instance="10.0.0.1:9100""#, "n", 0.5, 0..HOUR).node(r#"node="n",internal_ip="10.0.0.1""#, 0..HOUR);
    for resource in counted.into_iter().chain(others) {
        pod(&mut text, &resource.replace('_', "-").to_lowercase(), "", &[("main", resource, 2.0)]);
    }
    // Two containers, three resources: 1 + 2 + 4 units.
    pod(
        &mut text,
        "several",
        "",
        &[("a", "nvidia_com_gpu", 1.0), ("b", "nvidia_com_gpu", 2.0), ("b", "nvidia_com_mig_1g_5gb", 4.0)],
    );
    let Some(fetched) = fetched(&text, &[]).await else { return };
    let (_, store, _folder) = fetched.expect("fetched");
    let requests: std::collections::BTreeMap<String, Option<f64>> =
        pods(&store).into_iter().map(|row| (row.pod, row.gpu_request)).collect();
    for (resource, wanted) in
        counted.map(|resource| (resource, Some(2.0))).into_iter().chain(others.map(|other| (other, None)))
    {
        assert_eq!(requests[&resource.replace('_', "-").to_lowercase()], wanted, "{resource}");
    }
    assert_eq!(requests["several"], Some(7.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_init_containers_and_overhead_are_part_of_what_a_pod_requests() {
    let mut text = Text::new(FROM, FROM + HOUR);
    text.host(r#"instance="10.0.0.1:9100""#, "n", 0.5, 0..HOUR).node(r#"node="n",internal_ip="10.0.0.1""#, 0..HOUR);
    for name in ["plain", "meshed", "starting", "sandboxed"] {
        pod(&mut text, name, "", &[("main", "cpu", 0.5)]);
    }
    let init = |name: &str, container: &str| {
        format!(r#"namespace="ml",pod="{name}",uid="uid-{name}",container="{container}""#)
    };
    for (name, container, cores, policy) in [("meshed", "proxy", 0.25, "Always"), ("starting", "migrate", 2.0, "")] {
        let labels = init(name, container);
        text.gauge("kube_pod_init_container_info", &format!(r#"{labels},restart_policy="{policy}""#), 1.0);
        text.gauge("kube_pod_init_container_resource_requests", &format!(r#"{labels},node="n",resource="cpu""#), cores);
    }
    text.gauge("kube_pod_overhead_cpu_cores", r#"namespace="ml",pod="sandboxed",uid="uid-sandboxed""#, 0.125);
    let Some(fetched) = fetched(&text, &[]).await else { return };
    let (_, store, _folder) = fetched.expect("fetched");
    let found: Vec<(String, Option<f64>)> =
        pods(&store).into_iter().map(|row| (row.pod, row.cpu_request_cores)).collect();
    let wanted = [("meshed", 0.75), ("plain", 0.5), ("sandboxed", 0.625), ("starting", 2.0)];
    assert_eq!(found, wanted.map(|(pod, cores)| (pod.to_owned(), Some(cores))));
    // Of the node: four containers and the sidecar.
    assert_eq!(only(&column(&store, "cpu_requested_cores"), "n"), Some(2.25));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_told_of_by_an_exporter_that_is_gone_has_the_newest_phase_and_requests() {
    let mut text = Text::new(FROM, FROM + 2 * HOUR);
    text.host(r#"instance="10.0.0.1:9100""#, "n", 0.5, 0..2 * HOUR)
        .node(r#"node="n",internal_ip="10.0.0.1""#, 0..2 * HOUR);
    // Restarted after an hour. `grown` was resized from 1 core to a quarter meanwhile; `ended` is gone before the end.
    let pods_then = [
        ("lives", "Pending", 0.5, 0..HOUR),
        ("lives", "Running", 0.5, HOUR..2 * HOUR),
        ("grown", "Running", 1.0, 0..HOUR),
        ("grown", "Running", 0.25, HOUR..2 * HOUR),
        ("ended", "Running", 0.5, 0..HOUR),
        ("ended", "Succeeded", 0.5, HOUR..HOUR + 900),
    ];
    for (name, phase, cores, alive) in pods_then {
        let exporter = if alive.start == 0 { "10.244.0.9:8080" } else { "10.244.0.10:8080" };
        let labels = format!(r#"namespace="shop",pod="{name}",uid="{name}",instance="{exporter}""#);
        text.add("kube_pod_info", &format!(r#"{labels},node="n""#), during(&alive, |_| 1.0));
        text.add("kube_pod_created", &labels, during(&alive, |_| (FROM - 60) as f64));
        text.add("kube_pod_status_phase", &format!(r#"{labels},phase="{phase}""#), during(&alive, |_| 1.0));
        let container = format!(r#"{labels},container="main",node="n",resource="cpu""#);
        text.add("kube_pod_container_resource_requests", &container, during(&alive, |_| cores));
    }
    let Some(fetched) = fetched(&text, &[]).await else { return };
    let (_, store, _folder) = fetched.expect("fetched");
    let found: Vec<(String, Option<String>, Option<f64>)> =
        pods(&store).into_iter().map(|row| (row.pod, row.phase, row.cpu_request_cores)).collect();
    let wanted = [("ended", "Succeeded", 0.5), ("grown", "Running", 0.25), ("lives", "Running", 0.5)];
    assert_eq!(found, wanted.map(|(pod, phase, cores)| (pod.to_owned(), Some(phase.to_owned()), Some(cores))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_passes_to_another_node_has_two_histories() {
    let mut text = Text::new(FROM, FROM + 3 * HOUR);
    let (before, after) = (0..HOUR, HOUR + 300..3 * HOUR);
    text.host(r#"instance="10.0.0.9:9100""#, "fixed", 0.1, 0..3 * HOUR)
        .node(r#"node="fixed",internal_ip="10.0.0.9""#, 0..3 * HOUR);
    text.host(r#"instance="10.0.0.5:9100""#, "old", 0.4, before.clone())
        .node(r#"node="old",internal_ip="10.0.0.5""#, before);
    text.host(r#"instance="10.0.0.5:9100""#, "new", 1.6, after.clone())
        .node(r#"node="new",internal_ip="10.0.0.5""#, after);
    let Some(served) = serve(&text.text()) else { return };
    let url = served.server.url();
    let (_folder, store) = new_store();
    let source = source(&["--prometheus", &url, "--from", "2026-01-01T00:10:00Z", "--to", "2026-01-01T03:00:00Z"]);
    let summary = backfill(&source, &store).await.expect("fetched");
    let mapping = summary.mapping.as_ref().expect("mapping");
    assert_eq!((mapping.nodes, mapping.matched), (3, 3), "{mapping}");
    let (used, memory, allocatable) = (
        column(&store, "cpu_used_cores"),
        column(&store, "memory_used_bytes"),
        column(&store, "cpu_allocatable_cores"),
    );
    for (node, cores, since, until) in
        [("old", 0.4, 600, HOUR), ("new", 1.6, HOUR + 420, 3 * HOUR), ("fixed", 0.1, 600, 3 * HOUR)]
    {
        for ts in (FROM + since..FROM + until).step_by(30) {
            let at = ts * 1_000;
            let got = used[node][&at].unwrap_or_else(|| panic!("no value of `{node}` {} s after the start", ts - FROM));
            assert!((got - cores).abs() < 1e-9, "`{node}` has {got}, want {cores}");
            assert_eq!((memory[node][&at], allocatable[node][&at]), (Some(cores * 1e9), Some(2.0)), "{node}");
        }
        let outside = used[node]
            .iter()
            .filter(|(ts, value)| value.is_some() && !(since - 120..until + 120).contains(&(*ts / 1_000 - FROM)));
        assert_eq!(outside.count(), 0, "`{node}` has values of another node");
    }

    // Whoever looks back from the present sees the same: what 10.0.0.5 did in the first hour is no history of `new`.
    let end = (FROM + 3 * HOUR) * 1_000;
    let mut live = Live::new(&source).expect("live");
    live.look_around(end).await.expect("nodes");
    let first = live.samples(&((FROM + 600) * 1_000..(FROM + 1_200) * 1_000), 30_000).await.expect("samples");
    let nodes: Vec<&str> = first.iter().map(|(node, _)| node.as_str()).collect();
    assert_eq!(nodes, ["fixed"], "`old` is gone by now");
    let last = live.samples(&(end - 600_000..end), 30_000).await.expect("samples");
    let new = last.iter().find(|(node, _)| node.as_str() == "new").expect("the new node");
    assert!((new.1.last().expect("samples").get(NodeMetric::CpuUsed) - 1.6).abs() < 1e-9);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_scrape_localhost_are_told_apart_by_a_label_of_theirs() {
    let labelled = |label: &str| {
        let mut text = Text::new(FROM, FROM + HOUR);
        for at in 1..=3 {
            let host = format!(r#"instance="localhost:9100",{label}="node-{at}""#);
            text.host(&host, &format!("node-{at}"), 0.3 * f64::from(at), 0..HOUR);
            text.counter("node_network_receive_bytes_total", &format!(r#"{host},device="eth0""#), 1e6);
            text.node(&format!(r#"node="node-{at}",internal_ip="10.0.0.{at}""#), 0..HOUR);
        }
        text
    };
    let own = ["--node-label", "agent_hostname"];
    for (label, more) in [("node", &[][..]), ("k8s_node_name", &[]), ("agent_hostname", &own)] {
        // Cut into groups of one as well: the three share an address.
        for cut in [&[][..], &["--reply-points", "1000"]] {
            let Some(fetched) = fetched(&labelled(label), &[more, cut].concat()).await else { return };
            let (_, store, _folder) = fetched.expect(label);
            let (used, received) =
                (column(&store, "cpu_used_cores"), column(&store, "network_receive_bytes_per_second"));
            for at in 1..=3 {
                let node = format!("node-{at}");
                assert_eq!(
                    (only(&used, &node), only(&received, &node)),
                    (Some((0.3 * f64::from(at) * 1e6).round() / 1e6), Some(1e6)),
                    "{node} by {label}"
                );
            }
        }
    }
    let Some(refused) = fetched(&labelled("agent_hostname"), &[]).await else { return };
    let error = format!("{:#}", refused.expect_err("nobody can tell"));
    assert!(error.contains("`localhost:9100` is several hosts at once") && error.contains("--node-label"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_scraped_without_its_own_labels_is_named_and_a_good_one_beside_it_is_used() {
    let broken = |text: &mut Text| {
        let own = r#"instance="10.244.0.9:8080",job="bad",namespace="monitoring",pod="ksm-0",node="node-1""#;
        for at in 1..=2 {
            text.gauge("kube_node_info", &format!(r#"{own},exported_node="node-{at}",internal_ip="10.0.0.{at}""#), 1.0);
            for (resource, amount) in [("cpu", 7.0), ("memory", 7e9)] {
                text.gauge(
                    "kube_node_status_allocatable",
                    &format!(r#"{own},exported_node="node-{at}",resource="{resource}""#),
                    amount,
                );
            }
            let pod = format!(r#"{own},exported_namespace="shop",exported_pod="web-{at}",uid="web-{at}""#);
            text.gauge("kube_pod_info", &format!(r#"{pod},exported_node="node-{at}""#), 1.0);
            text.gauge("kube_pod_created", &pod, (FROM - 60) as f64);
        }
    };
    let hosts = || {
        let mut text = Text::new(FROM, FROM + HOUR);
        for at in 1..=2 {
            text.host(&format!(r#"instance="10.0.0.{at}:9100""#), &format!("node-{at}"), 0.5, 0..HOUR);
        }
        text
    };
    let mut alone = hosts();
    broken(&mut alone);
    let Some(refused) = fetched(&alone, &[]).await else { return };
    let error = format!("{:#}", refused.expect_err("no node can be named"));
    for named in ["honor_labels: true", "exported_node", "job `bad`", "ServiceMonitor", "--from"] {
        assert!(error.contains(named), "{error}");
    }

    // A second scrape job with the right settings is enough.
    let mut both = hosts();
    for at in 1..=2 {
        both.node(&format!(r#"node="node-{at}",internal_ip="10.0.0.{at}""#), 0..HOUR);
    }
    broken(&mut both);
    let Some(fetched_both) = fetched(&both, &[]).await else { return };
    let (summary, store, _folder) = fetched_both.expect("the good one is used");
    assert_eq!(only(&column(&store, "cpu_allocatable_cores"), "node-1"), Some(2.0), "not the broken exporter's 7");
    assert!(pods(&store).is_empty());
    assert!(summary.warnings.iter().any(|warning| warning.contains("honor_labels: true")), "{:?}", summary.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_cannot_be_observed_are_left_out_and_the_rest_is_read() {
    let mut text = Text::new(FROM, FROM + HOUR);
    for at in 1..=2 {
        text.host(&format!(r#"instance="10.0.0.{at}:9100""#), &format!("node-{at}"), 0.5, 0..HOUR);
        text.node(&format!(r#"node="node-{at}",internal_ip="10.0.0.{at}""#), 0..HOUR);
    }
    let strange =
        ["fargate-ip-10-0-0-11.eu-west-1.compute.internal", "aci", "vk", "win-image", "win-exporter", "edge-1"];
    for (at, node) in strange.iter().enumerate() {
        let more = match *node {
            "aci" => r#",kubelet_version="v1.25.0-vk-azure-aci-1.4.8""#,
            "win-image" => r#",os_image="Windows Server 2022 Datacenter""#,
            _ => "",
        };
        text.node(&format!(r#"node="{node}",internal_ip="10.0.1.{at}"{more}"#), 0..HOUR);
    }
    text.gauge(
        "kube_node_spec_taint",
        r#"node="vk",key="virtual-kubelet.io/provider",value="azure",effect="NoSchedule""#,
        1.0,
    );
    text.counter("windows_cpu_time_total", r#"instance="10.0.1.4:9182",core="0,0",mode="user""#, 0.5);
    text.gauge("kube_node_labels", r#"node="edge-1",label_example_org_edge="yes""#, 1.0);
    let rules = "type=virtual-kubelet,virtual-kubelet.io/provider,eks.amazonaws.com/compute-type=fargate,kubernetes.io/os=windows";
    for more in [format!("{rules},example.org/edge=yes"), format!("{rules},name=edge-*")] {
        let Some(fetched) = fetched(&text, &["--ignore-nodes", &more]).await else { return };
        let (summary, store, _folder) = fetched.expect("the rest is read");
        let mapping = summary.mapping.clone().expect("mapping");
        assert_eq!((mapping.nodes, mapping.matched, mapping.ignored.len()), (2, 2, 6), "{mapping}");
        let used = column(&store, "cpu_allocatable_cores");
        assert_eq!(used.keys().collect::<Vec<_>>(), ["node-1", "node-2"]);
        assert!(summary.to_string().contains("6 are left out"), "{summary}");
    }
    // By default what the defaults know is left out; of the rest the message says what to do.
    let Some(refused) = fetched(&text, &["--min-matched", "1"]).await else { return };
    let error = format!("{:#}", refused.expect_err("edge-1 is a node like any other"));
    assert!(
        error.contains("2 of 3 nodes") && error.contains("`edge-1`") && error.contains("--ignore-nodes"),
        "{error}"
    );
    let Some(served) = serve(&text.text()) else { return };
    let url = served.server.url();
    let all =
        source(&["--prometheus", &url, "--from", "2026-01-01", "--to", "2026-01-01T01:00:00Z", "--ignore-nodes", ""]);
    assert_eq!(show_mapping(&all).await.expect("mapping").nodes, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_whose_nodes_share_a_name_are_noticed_without_a_known_label() {
    let mut text = Text::new(FROM, FROM + 2 * HOUR);
    for (region, cores) in [("eu", 0.4), ("us", 1.2)] {
        let host = format!(r#"instance="10.0.0.1:9100",region="{region}""#);
        text.host(&host, "worker-1", cores, 0..2 * HOUR);
        text.node(
            &format!(r#"node="worker-1",region="{region}",system_uuid="uuid-{region}",internal_ip="10.0.0.1""#),
            0..2 * HOUR,
        );
    }
    let Some(refused) = fetched(&text, &[]).await else { return };
    let error = format!("{:#}", refused.expect_err("a mixture"));
    assert!(
        error.contains("`worker-1`") && error.contains("apart: `region`") && error.contains("--selector"),
        "{error}"
    );
    let Some(chosen) = fetched(&text, &["--selector", r#"region="us""#]).await else { return };
    let (_, store, _folder) = chosen.expect("one of them");
    assert_eq!(only(&column(&store, "cpu_used_cores"), "worker-1"), Some(1.2));
}
