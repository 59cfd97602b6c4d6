//! What is measured of a node at each scrape step.

use crate::schema::Column;

macro_rules! node_metrics {
    ($($(#[$doc:meta])* $variant:ident = $column:literal, $unit:literal, $max:expr, $help:literal;)*) => {
        /// A metric of `raw/node_metrics`; the discriminant is its place in [`NodeSample::values`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum NodeMetric { $(#[doc = $help] $variant,)* }

        impl NodeMetric {
            /// All of them, in the order of the table's columns.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The column's name in `raw/node_metrics`.
            pub const fn column(self) -> &'static str {
                match self { $(Self::$variant => $column,)* }
            }

            /// The base unit of its values.
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* }
            }

            /// What it says, in words.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// A value above this cannot be real; below 0 none can.
            pub const fn plausible_max(self) -> f64 {
                match self { $(Self::$variant => $max,)* }
            }

            /// The metric that a column of `raw/node_metrics` holds.
            pub fn from_column(column: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|metric| metric.column() == column)
            }
        }

        /// The columns of the table's measured part, in order.
        pub(crate) const METRIC_COLUMNS: [Column; NodeMetric::COUNT] =
            [$(Column::optional_float($column, $unit, $help),)*];
    };
}

/// The largest machine type sold has well under 10,000 cores; anything above is a unit error.
const MAX_CORES: f64 = 1e4;
/// One PiB: no node has more memory.
const MAX_BYTES: f64 = 1.125_899_906_842_624e15;
/// 10 Tbit/s and the like: no node moves more.
const MAX_RATE: f64 = 1.25e12;

node_metrics! {
    CpuUsed = "cpu_used_cores", "cores", MAX_CORES, "CPU in use, idle, iowait and steal left out";
    CpuAllocatable = "cpu_allocatable_cores", "cores", MAX_CORES, "CPU that the kubelet offers to pods";
    MemoryUsed = "memory_used_bytes", "bytes", MAX_BYTES, "memory in use: total less available";
    MemoryAllocatable = "memory_allocatable_bytes", "bytes", MAX_BYTES, "memory that the kubelet offers to pods";
    NetworkReceive = "network_receive_bytes_per_second", "bytes/s", MAX_RATE, "received on physical interfaces";
    NetworkTransmit = "network_transmit_bytes_per_second", "bytes/s", MAX_RATE, "sent on physical interfaces";
    DiskRead = "disk_read_bytes_per_second", "bytes/s", MAX_RATE, "read from block devices";
    DiskWrite = "disk_write_bytes_per_second", "bytes/s", MAX_RATE, "written to block devices";
    DiskIoTime = "disk_io_time_ratio", "ratio", 1.05, "share of time that the busiest block device had I/O in flight";
    FilesystemUsed = "filesystem_used_ratio", "ratio", 1.05, "used share of the root filesystem";
    Load1 = "load1", "processes", 1e6, "one-minute load average";
    CpuPressure = "cpu_pressure_ratio", "ratio", 1.05, "share of time that some task waited for CPU (PSI)";
    MemoryPressure = "memory_pressure_ratio", "ratio", 1.05, "share of time that some task waited for memory (PSI)";
    PodsRunning = "pods_running", "pods", 1e5, "pods in phase Running";
    CpuRequested = "cpu_requested_cores", "cores", MAX_CORES, "sum of the CPU requests of the pods on the node, sidecars included";
    MemoryRequested = "memory_requested_bytes", "bytes", MAX_BYTES, "sum of the memory requests of the pods on the node, sidecars included";
    Uptime = "uptime_seconds", "seconds", 1e10, "time since boot";
    Ready = "ready", "ratio", 1.0, "1 while the node's Ready condition is true, else 0";
}

/// One scrape of one node. A metric that the source does not have is NaN here and null in Parquet, never zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeSample {
    /// When it was taken, in UTC milliseconds.
    pub ts: i64,
    /// By [`NodeMetric`], in its unit.
    pub values: [f64; NodeMetric::COUNT],
}

impl NodeSample {
    /// A sample at `ts` without any value.
    pub const fn empty(ts: i64) -> Self {
        Self { ts, values: [f64::NAN; NodeMetric::COUNT] }
    }

    /// The value of `metric`; NaN when it is missing.
    pub const fn get(&self, metric: NodeMetric) -> f64 {
        self.values[metric as usize]
    }

    /// Sets the value of `metric`.
    pub const fn set(&mut self, metric: NodeMetric, value: f64) {
        self.values[metric as usize] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_leads_back_to_its_metric() {
        for metric in NodeMetric::ALL {
            assert_eq!(NodeMetric::from_column(metric.column()), Some(*metric));
        }
        assert_eq!(NodeMetric::from_column("cpu"), None);
    }

    #[test]
    fn a_new_sample_has_no_value() {
        let mut sample = NodeSample::empty(7);
        assert!(sample.values.iter().all(|value| value.is_nan()));
        sample.set(NodeMetric::Ready, 1.0);
        assert_eq!(sample.get(NodeMetric::Ready), 1.0);
    }
}
