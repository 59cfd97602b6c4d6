//! Windows over the metrics of which a slot keeps the mean only.

use super::recent::Recent;
use super::rolling::{RollingMax, RollingSum, fixed};
use super::snapshot::bits;
use super::{DAY, HOUR};
use crate::catalogue::{Feature, Sink, Topic};
use crate::settings::WindowRules;
use crate::slot::Plain;

/// Bytes per second: two rates of up to 2^41, 288 of them, stay below 2^62.
const RATE_SCALE: f64 = (1_i64 << 12) as f64;
/// Ratios and loads per core, the latter up to 2^20 (a million processes on one core).
const RATIO_SCALE: f64 = (1_i64 << 32) as f64;
/// What the scale of ratios can hold.
const MAX_RATIO: f32 = 1e6;

/// Which figures a metric gives.
#[derive(Debug, Clone, Copy)]
struct Rolled {
    plain: Plain,
    name: &'static str,
    unit: &'static str,
    what: &'static str,
    scale: f64,
}

const fn ratio(plain: Plain, name: &'static str, unit: &'static str, what: &'static str) -> Rolled {
    Rolled { plain, name, unit, what, scale: RATIO_SCALE }
}

const fn rate(plain: Plain, name: &'static str, what: &'static str) -> Rolled {
    Rolled { plain, name, unit: "bytes/s", what, scale: RATE_SCALE }
}

/// Metrics with means over an hour and a day and the largest 5-minute mean of the day.
const ROLLED: [Rolled; 6] = [
    rate(Plain::Network, "network", "bytes received and sent per second"),
    rate(Plain::Disk, "disk", "bytes read and written per second"),
    ratio(Plain::DiskIo, "disk_io_time", "ratio", "share of time that the busiest disk had I/O in flight"),
    ratio(Plain::LoadPerCore, "load_per_core", "processes", "one-minute load average / allocatable cores"),
    ratio(Plain::CpuPressure, "cpu_pressure", "ratio", "share of time that some task waited for CPU"),
    ratio(Plain::MemoryPressure, "memory_pressure", "ratio", "share of time that some task waited for memory"),
];

/// A day of the plain metrics of one node.
#[derive(Debug, Clone)]
pub(crate) struct PlainWindows {
    recent: Vec<Recent>,
    hours: [RollingSum; ROLLED.len()],
    days: [RollingSum; ROLLED.len()],
    peaks: [RollingMax; ROLLED.len()],
    ready: RollingSum,
    seen: RollingSum,
    had_samples: Recent,
    slot: i64,
}

fn present(value: f32, scale: f64) -> Option<i64> {
    (!value.is_nan()).then(|| fixed(f64::from(value), scale))
}

impl PlainWindows {
    pub(crate) fn new() -> Self {
        Self {
            recent: (0..Plain::COUNT).map(|_| Recent::new(DAY + 1)).collect(),
            hours: Default::default(),
            days: Default::default(),
            peaks: Default::default(),
            ready: RollingSum::default(),
            seen: RollingSum::default(),
            had_samples: Recent::new(DAY),
            slot: 0,
        }
    }

    pub(crate) fn push(&mut self, plain: &[f32; Plain::COUNT], samples: u32) {
        self.slot += 1;
        for (place, rolled) in ROLLED.iter().enumerate() {
            let recent = &self.recent[rolled.plain as usize];
            // A load or rate beyond the scale is kept as it is and left out of the sums.
            let fits = |value: f32| if rolled.scale == RATIO_SCALE && value > MAX_RATIO { f32::NAN } else { value };
            let value = fits(plain[rolled.plain as usize]);
            let enters = present(value, rolled.scale);
            self.hours[place].step(enters, present(fits(recent.ago(HOUR - 1)), rolled.scale));
            self.days[place].step(enters, present(fits(recent.ago(DAY - 1)), rolled.scale));
            self.peaks[place].step(self.slot, DAY as i64, value);
        }
        let ready = Plain::Ready as usize;
        self.ready.step(present(plain[ready], RATIO_SCALE), present(self.recent[ready].ago(DAY - 1), RATIO_SCALE));
        let seen = if samples > 0 { 1.0 } else { 0.0 };
        self.seen.step(present(seen, 1.0), present(self.had_samples.ago(DAY - 1), 1.0));
        self.had_samples.push(seen);
        for (recent, value) in self.recent.iter_mut().zip(plain) {
            recent.push(*value);
        }
    }

    /// The day's slots by metric, and which of them had samples.
    pub(super) fn state(&self) -> (Vec<Vec<u32>>, Vec<bool>) {
        let plain = self.recent.iter().map(|recent| bits(recent.last(DAY + 1))).collect();
        (plain, self.had_samples.last(DAY).iter().map(|seen| *seen == 1.0).collect())
    }

    pub(crate) fn now(&self, plain: Plain) -> f32 {
        self.ago(plain, 0)
    }

    fn ago(&self, plain: Plain, slots: usize) -> f32 {
        self.recent[plain as usize].ago(slots)
    }

    /// Mean share of time with disk I/O over the last day.
    pub(crate) fn disk_io_of_day(&self, rules: &WindowRules) -> f32 {
        self.days[2].mean(rules.least_slots(DAY), RATIO_SCALE) as f32
    }

    /// Network, disk, load, pressure, file system.
    pub(crate) fn emit_devices(&self, rules: &WindowRules, sink: &mut impl Sink) {
        let feature = |rolled: &Rolled, name: &str, window: &str, formula: String| {
            Feature::new(Topic::Devices, format!("{}{name}", rolled.name), rolled.unit, window, formula)
        };
        for (place, rolled) in ROLLED.iter().enumerate() {
            let what = rolled.what;
            sink.put(self.now(rolled.plain), || feature(rolled, "", "5m", format!("mean of the samples: {what}")));
            sink.put(self.hours[place].mean(rules.least_slots(HOUR), rolled.scale) as f32, || {
                feature(rolled, "_mean_1h", "1h", format!("mean of the 5-minute means: {what}"))
            });
            let enough = self.days[place].count >= rules.least_slots(DAY);
            sink.put(self.days[place].mean(rules.least_slots(DAY), rolled.scale) as f32, || {
                feature(rolled, "_mean_24h", "24h", format!("mean of the 5-minute means: {what}"))
            });
            sink.put(if enough { self.peaks[place].max(self.slot, DAY as i64) } else { f32::NAN }, || {
                feature(rolled, "_max_24h", "24h", format!("largest 5-minute mean: {what}"))
            });
        }
        sink.put(self.now(Plain::Filesystem), || {
            Feature::new(
                Topic::Devices,
                "filesystem_used",
                "ratio",
                "5m",
                "mean of the samples: used share of the root filesystem",
            )
        });
        sink.put(self.now(Plain::Filesystem) - self.ago(Plain::Filesystem, DAY), || {
            let formula = "filesystem_used less its value 24 h ago";
            Feature::new(Topic::Devices, "filesystem_change_24h", "ratio", "24h", formula)
        });
    }

    /// Pods and requests.
    pub(crate) fn emit_pods(&self, sink: &mut impl Sink) {
        let feature =
            |name: &str, unit, window: &str, formula: &str| Feature::new(Topic::Pods, name, unit, window, formula);
        sink.put(self.now(Plain::Pods), || {
            feature("pods_running", "pods", "5m", "mean of the samples: pods in phase Running")
        });
        sink.put(self.now(Plain::Pods) - self.ago(Plain::Pods, HOUR), || {
            feature("pods_change_1h", "pods", "1h", "pods_running less its value 1 h ago")
        });
        for (plain, name) in [(Plain::CpuRequested, "cpu_requested"), (Plain::MemoryRequested, "memory_requested")] {
            sink.put(self.now(plain), || {
                feature(name, "ratio", "5m", "mean of the samples: sum of the pods' requests / allocatable")
            });
            sink.put(self.now(plain) - self.ago(plain, HOUR), || {
                feature(&format!("{name}_change_1h"), "ratio", "1h", &format!("{name} less its value 1 h ago"))
            });
        }
    }

    /// Uptime, readiness, gaps.
    pub(crate) fn emit_stability(&self, rules: &WindowRules, sink: &mut impl Sink) {
        let feature =
            |name, unit, window: &str, formula: &str| Feature::new(Topic::Stability, name, unit, window, formula);
        sink.put(self.now(Plain::Uptime) / 3600.0, || {
            feature("uptime_hours", "hours", "5m", "mean of the samples: time since boot")
        });
        sink.put(self.ready.mean(rules.least_slots(DAY), RATIO_SCALE) as f32, || {
            feature("ready_share_24h", "ratio", "24h", "mean of the 5-minute means of the Ready condition (1 or 0)")
        });
        sink.put((1.0 - self.seen.total as f64 / DAY as f64) as f32, || {
            feature(
                "missing_share_24h",
                "ratio",
                "24h",
                "share of the day's 288 slots without any sample; near 1 for a new node",
            )
        });
    }
}
