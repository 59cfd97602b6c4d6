//! The nodes of the made-up cluster: zones, machine types, what the kubelet keeps for itself.

use cluster::NodeName;
use rand::Rng;
use synthetic::noise::{between, generator};

/// One GiB in bytes.
pub const GIB: f64 = 1_073_741_824.0;

/// A machine type, and how often it is met in a cluster of mixed age.
struct MachineType {
    name: &'static str,
    cores: u32,
    memory_gib: f64,
    /// Sequential throughput of its disk.
    disk_bytes_per_second: f64,
    weight: u32,
}

/// Sizes as the large clouds sell them: 2, 4 and 8 GiB per core.
const MACHINE_TYPES: [MachineType; 4] = [
    MachineType { name: "general-8", cores: 8, memory_gib: 32.0, disk_bytes_per_second: 250e6, weight: 5 },
    MachineType { name: "compute-16", cores: 16, memory_gib: 32.0, disk_bytes_per_second: 350e6, weight: 3 },
    MachineType { name: "memory-8", cores: 8, memory_gib: 64.0, disk_bytes_per_second: 250e6, weight: 2 },
    MachineType { name: "general-4", cores: 4, memory_gib: 16.0, disk_bytes_per_second: 150e6, weight: 2 },
];

/// Letters of the zones.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its Kubernetes name.
    pub name: NodeName,
    /// Its address inside the cluster.
    pub address: String,
    /// Its zone, as an index.
    pub zone: usize,
    /// Its zone's name.
    pub zone_name: String,
    /// Its machine type.
    pub machine_type: &'static str,
    /// Its cores.
    pub cores: u32,
    /// Its memory in bytes.
    pub memory: f64,
    /// CPU that the kubelet offers to pods, in cores.
    pub cpu_allocatable: f64,
    /// Memory that the kubelet offers to pods, in bytes.
    pub memory_allocatable: f64,
    /// Throughput of its disk, in bytes/s.
    pub disk_bandwidth: f64,
    /// Size of its root filesystem, in bytes.
    pub filesystem: f64,
    /// Filled share of the root filesystem at the start.
    pub filesystem_used: f64,
    /// When it was last started before the history begins, in milliseconds before it.
    pub age_ms: i64,
}

/// The nodes of a cluster. Every machine type is there when there are nodes enough.
pub fn machines(seed: u64, count: usize) -> Vec<Machine> {
    let mut random = generator(seed, "machines", 0);
    let total: u32 = MACHINE_TYPES.iter().map(|kind| kind.weight).sum();
    (0..count)
        .map(|index| {
            let mut draw = random.random_range(0..total);
            let drawn = MACHINE_TYPES.iter().find(|kind| {
                let hit = draw < kind.weight;
                draw = draw.saturating_sub(kind.weight);
                hit
            });
            let kind = MACHINE_TYPES.get(index).or(drawn).unwrap_or(&MACHINE_TYPES[0]);
            machine(index, kind, &mut random)
        })
        .collect()
}

fn machine(index: usize, kind: &MachineType, random: &mut rand_chacha::ChaCha8Rng) -> Machine {
    let zone = index % ZONES.len();
    let zone_name = format!("zone-{}", ZONES[zone]);
    let memory = kind.memory_gib * GIB;
    Machine {
        name: NodeName::new(format!("worker-{}-{:02}", ZONES[zone], index / ZONES.len() + 1)),
        address: format!("10.{}.{}.{}", 20 + zone, index / 250, index % 250 + 4),
        zone,
        zone_name,
        machine_type: kind.name,
        cores: kind.cores,
        memory,
        // Reserved for the kubelet and the system: 80 millicores and some more per core; 255 MiB, 6 % and the
        // eviction threshold of 100 MiB, about what managed offerings keep back.
        cpu_allocatable: f64::from(kind.cores) - 0.06 - 0.0025 * f64::from(kind.cores),
        memory_allocatable: ((memory * 0.94 - 355.0 * 1_048_576.0) / 4096.0).floor() * 4096.0,
        disk_bandwidth: kind.disk_bytes_per_second,
        filesystem: 100.0 * GIB,
        filesystem_used: between(random, 0.25, 0.6),
        age_ms: (between(random, 2.0, 90.0) * cluster::DAY_MS as f64) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_cluster_has_every_type_and_zone_and_unlike_names() {
        let nodes = machines(3, 12);
        for kind in &MACHINE_TYPES {
            assert!(nodes.iter().any(|node| node.machine_type == kind.name), "{}", kind.name);
        }
        let names: std::collections::BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let addresses: std::collections::BTreeSet<&str> = nodes.iter().map(|node| node.address.as_str()).collect();
        assert_eq!((names.len(), addresses.len()), (12, 12));
        assert!(
            nodes
                .iter()
                .all(|node| node.cpu_allocatable < f64::from(node.cores) && node.memory_allocatable < node.memory)
        );
    }
}
