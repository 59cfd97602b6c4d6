//! openb: nodes and pods of a production GPU cluster (Alibaba cluster trace gpu-v2023; Weng et al., USENIX ATC 2023).

use super::InputError;
use super::csv_rows::CsvRows;
use crate::world::{Notes, Request};
use cluster::{Bytes, Cores};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A node of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenbNode {
    /// `sn`.
    pub name: String,
    /// CPU and memory; the number of GPUs, each whole.
    pub shape: Request,
    /// GPU model; empty without one.
    pub model: String,
}

/// A pod of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenbPod {
    /// `name`.
    pub name: String,
    /// What it requests.
    pub request: Request,
    /// GPU model that it wants; empty for any. Several are separated by `|`, of which the first is taken.
    pub model: String,
    /// `LS`, `BE`, `Burstable` or `Guaranteed`.
    pub qos: String,
    /// Creation, in s from the start of the trace.
    pub created_s: i64,
    /// Deletion, in s from the start of the trace.
    pub deleted_s: i64,
}

/// Both tables, with what was left out of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenbTrace {
    /// The nodes.
    pub nodes: Vec<OpenbNode>,
    /// The pods by creation.
    pub pods: Vec<OpenbPod>,
    /// Counts.
    pub notes: Notes,
}

const NODES_FILE: &str = "openb_node_list_all_node.csv";
const PODS_FILE: &str = "openb_pod_list_default.csv";
/// Most GPUs of a node or a pod that are no error.
const MOST_GPUS: f64 = 16.0;

impl OpenbTrace {
    /// Reads the trace from `folder` or its subfolder `openb`.
    ///
    /// # Errors
    /// When a file is absent, has other columns or no usable row. Rows that make no sense are left out and counted.
    pub fn read(folder: &Path) -> Result<Self, InputError> {
        let mut notes = Notes::default();
        let nodes = read_nodes(&find(folder, NODES_FILE)?, &mut notes)?;
        let pods = read_pods(&find(folder, PODS_FILE)?, &mut notes)?;
        Ok(Self { nodes, pods, notes })
    }

    /// Whether `folder` holds it.
    pub fn is_in(folder: &Path) -> bool {
        find(folder, NODES_FILE).is_ok() && find(folder, PODS_FILE).is_ok()
    }
}

fn find(folder: &Path, file: &str) -> Result<PathBuf, InputError> {
    [folder.join(file), folder.join("openb").join(file)]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| InputError::Absent { folder: folder.to_owned(), file: file.to_owned() })
}

fn read_nodes(path: &Path, notes: &mut Notes) -> Result<Vec<OpenbNode>, InputError> {
    let mut rows = CsvRows::open(path, &["sn", "cpu_milli", "memory_mib", "gpu", "model"], Some(&[]))?;
    let mut nodes = Vec::new();
    let mut dropped = Dropped::default();
    while rows.next()? {
        match amounts(rows.number(1), rows.number(2), rows.number(3), Some(1_000.0)) {
            Ok(shape) if shape.cpu.millicores() > 0 && shape.memory.get() > 0 => {
                nodes.push(OpenbNode { name: rows.text(0).to_owned(), shape, model: rows.text(4).to_owned() });
            }
            Ok(_) => dropped.add("nodes without CPU or memory"),
            Err(_) => dropped.add("nodes with a damaged, negative or impossible amount"),
        }
    }
    dropped.into_notes(path, nodes.is_empty(), notes)?;
    Ok(nodes)
}

const POD_COLUMNS: [&str; 8] =
    ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "qos", "creation_time", "deletion_time"];

fn read_pods(path: &Path, notes: &mut Notes) -> Result<Vec<OpenbPod>, InputError> {
    let others = ["gpu_spec", "pod_phase", "scheduled_time"];
    let wanted: Vec<&'static str> = POD_COLUMNS.into_iter().chain(["gpu_spec"]).collect();
    let mut rows = CsvRows::open(path, &wanted, Some(&others))?;
    let mut pods: Vec<OpenbPod> = Vec::new();
    let mut dropped = Dropped::default();
    let mut last_life: HashMap<String, i64> = HashMap::new();
    while rows.next()? {
        let request = match amounts(rows.number(1), rows.number(2), rows.number(3), rows.number(4).or(Some(0.0))) {
            Ok(request) => request,
            Err(reason) => {
                dropped.add(reason);
                continue;
            }
        };
        let (Some(created), Some(deleted)) = (rows.number(6), rows.number(7)) else {
            dropped.add("pods without a time of creation or deletion");
            continue;
        };
        let (created_s, deleted_s) = (created as i64, deleted as i64);
        if created_s < 0 || deleted_s < created_s {
            dropped.add("pods that were deleted before they were created");
            continue;
        }
        let name = rows.text(0).to_owned();
        // The tables are not sorted by name, so the latest end of a name is kept.
        if last_life.get(&name).is_some_and(|ended| *ended > created_s) {
            dropped.add("pods of a name whose earlier life had not ended");
            continue;
        }
        last_life.insert(name.clone(), deleted_s);
        if request == Request::default() {
            notes.count("pods without any request, kept as BestEffort", 1);
        }
        let model = rows.text(8).split('|').next().unwrap_or("").to_owned();
        pods.push(OpenbPod { name, request, model, qos: rows.text(5).to_owned(), created_s, deleted_s });
    }
    dropped.into_notes(path, pods.is_empty(), notes)?;
    pods.sort_by_key(|pod| pod.created_s);
    Ok(pods)
}

/// Turns the columns of a row into a request; the error is the reason why it is none.
fn amounts(
    cpu: Option<f64>,
    memory_mib: Option<f64>,
    gpus: Option<f64>,
    gpu_milli: Option<f64>,
) -> Result<Request, &'static str> {
    const DAMAGED: &str = "pods with a damaged request";
    let (cpu, memory_mib) = (cpu.ok_or(DAMAGED)?, memory_mib.ok_or(DAMAGED)?);
    let (gpus, gpu_milli) = (gpus.ok_or(DAMAGED)?, gpu_milli.ok_or(DAMAGED)?);
    if cpu < 0.0 || memory_mib < 0.0 || gpus < 0.0 || gpu_milli < 0.0 {
        return Err("pods with a negative request");
    }
    if gpus > MOST_GPUS || gpu_milli > 1_000.0 || cpu > 1e7 || memory_mib > 1e9 {
        return Err("pods with an impossible request");
    }
    let gpus = gpus as u8;
    let gpu_milli = match gpus {
        0 => 0,
        // A share of nothing is a whole GPU, and several GPUs are whole ones.
        1 if gpu_milli >= 1.0 => gpu_milli as u16,
        _ => 1_000,
    };
    let (cpu, memory) = (Cores::from_millicores(cpu as u64), Bytes::new((memory_mib * 1_048_576.0) as u64));
    Ok(Request { cpu, memory, gpus, gpu_milli })
}

/// Rows left out, by reason.
#[derive(Debug, Default)]
struct Dropped {
    counts: std::collections::BTreeMap<&'static str, u64>,
}

impl Dropped {
    fn add(&mut self, reason: &'static str) {
        *self.counts.entry(reason).or_default() += 1;
    }

    fn into_notes(self, path: &Path, nothing_left: bool, notes: &mut Notes) -> Result<(), InputError> {
        if nothing_left {
            let reasons: Vec<String> = self.counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            let reasons = if reasons.is_empty() { "the file is empty".to_owned() } else { reasons.join(", ") };
            return Err(InputError::Nothing { path: path.to_owned(), dropped: self.counts.values().sum(), reasons });
        }
        for (reason, count) in self.counts {
            notes.count(&format!("left out: {reason}"), count);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\nn1,32000,262144,2,T4\nn2,-5,100,0,\nn3,0,100,0,\n";
    const HEAD: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n";

    fn read(nodes: &str, pods: &str) -> Result<OpenbTrace, InputError> {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join(NODES_FILE), nodes).expect("fixture");
        std::fs::write(folder.path().join(PODS_FILE), pods).expect("fixture");
        OpenbTrace::read(folder.path())
    }

    #[test]
    fn good_rows_are_read_and_bad_rows_are_counted_by_reason() {
        let pods = format!(
            "{HEAD}\
             share,6000,12288,1,460,,LS,Running,10,70,10\n\
             whole,12000,16384,2,0,T4|P100,BE,Failed,5,5,\n\
             negative,-1,100,0,0,,LS,Running,0,1,0\n\
             text,abc,100,0,0,,LS,Running,0,1,0\n\
             share,6000,12288,1,460,,LS,Running,50,90,50\n\
             backwards,1,1,0,0,,LS,Running,9,3,9\n\
             nothing,0,0,0,0,,BE,Running,1,2,1\n\
             many,1,1,99,0,,BE,Running,1,2,1\n"
        );
        let trace = read(NODES, &pods).expect("a trace");
        assert_eq!(trace.nodes.len(), 1);
        assert_eq!((trace.nodes[0].shape.gpus, trace.nodes[0].model.as_str()), (2, "T4"));
        let names: Vec<&str> = trace.pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["nothing", "whole", "share"], "by creation");
        assert_eq!((trace.pods[1].request.gpu_milli, trace.pods[1].model.as_str()), (1_000, "T4"));
        let counts = &trace.notes.counts;
        for reason in [
            "left out: pods with a negative request",
            "left out: pods with a damaged request",
            "left out: pods with an impossible request",
            "left out: pods of a name whose earlier life had not ended",
            "left out: pods that were deleted before they were created",
            "left out: nodes with a damaged, negative or impossible amount",
            "left out: nodes without CPU or memory",
            "pods without any request, kept as BestEffort",
        ] {
            assert_eq!(counts.get(reason), Some(&1), "{reason} in {counts:?}");
        }
    }

    #[test]
    fn other_columns_are_named() {
        let error = read("sn,cpu\n", HEAD).expect_err("other columns").to_string();
        assert!(error.contains("`cpu_milli`") && error.contains("`sn`, `cpu`"), "{error}");
        let strange = NODES.replace("model\n", "model,colour\n").replace("T4\n", "T4,red\n");
        let error = read(&strange, HEAD).expect_err("unknown column").to_string();
        assert!(error.contains("`colour`"), "{error}");
        let error = read(NODES, HEAD).expect_err("no rows").to_string();
        assert!(error.contains("the file is empty"), "{error}");
        let error = OpenbTrace::read(Path::new("/nowhere")).expect_err("absent").to_string();
        assert!(error.contains("/nowhere") && error.contains("BERTH_TRACES"), "{error}");
        let broken = format!("{HEAD}a,b\n");
        let error = read(NODES, &broken).expect_err("short row");
        assert!(error.to_string().contains("near line 2"), "{error}");
    }
}
