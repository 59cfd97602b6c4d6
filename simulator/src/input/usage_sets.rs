//! What machines really use over time: public sets of virtual machines.

use super::InputError;
use super::csv_rows::CsvRows;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Which set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsageSet {
    /// 76 VMs of a hoster, three months: CPU and memory (GWA-T-12, Shen et al., CCGrid 2015)
    Bitbrains,
    /// Some thousand VM-days of PlanetLab: CPU only (Beloglazov and Buyya, CCPE 2012)
    Planetlab,
}

/// Distance of the values of both sets.
pub(super) const STEP_S: i64 = 300;
/// Slots of a day.
pub(super) const DAY_SLOTS: usize = 288;
/// A series with less of its slots than this is left out.
const LEAST_COVERAGE: f64 = 0.8;

/// Slots of ten years.
const MOST_SLOTS: usize = 3_660 * DAY_SLOTS;

/// The usage of one machine, as a share of what it has, one value per five minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineUsage {
    /// CPU, 0..1 and a little more.
    pub cpu: Vec<f32>,
    /// Memory, 0..1; empty where the set has none.
    pub memory: Vec<f32>,
}

/// Series to take usage from.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageLibrary {
    /// Which set.
    pub set: UsageSet,
    /// The machines, in name order.
    pub machines: Vec<MachineUsage>,
    /// Machines left out because too many of their values are missing.
    pub dropped: u64,
    /// Values missing in the others: each holds the value before it.
    pub filled: u64,
}

impl UsageLibrary {
    /// Reads a set below `folder`: `bitbrains-rnd/vms/*.csv.gz` or `planetlab/*.csv.gz`.
    ///
    /// # Errors
    /// When the folder or a column is absent, or a file is damaged.
    pub fn read(folder: &Path, set: UsageSet) -> Result<Self, InputError> {
        let below = match set {
            UsageSet::Bitbrains => "bitbrains-rnd/vms",
            UsageSet::Planetlab => "planetlab",
        };
        let place = folder.join(below);
        let mut files = csv_files(&place);
        if files.is_empty() {
            return Err(InputError::Absent { folder: folder.to_owned(), file: format!("{below}/*.csv.gz") });
        }
        files.sort();
        let mut library = Self { set, machines: Vec::new(), dropped: 0, filled: 0 };
        for file in &files {
            match set {
                UsageSet::Bitbrains => library.read_machine(file)?,
                UsageSet::Planetlab => library.read_day(file)?,
            }
        }
        if library.machines.is_empty() {
            let reasons = "too many values are missing".to_owned();
            return Err(InputError::Nothing { path: place, dropped: library.dropped, reasons });
        }
        Ok(library)
    }

    /// One file is one machine; rows have times, and may be missing.
    fn read_machine(&mut self, path: &Path) -> Result<(), InputError> {
        let mut rows = CsvRows::open(path, &["ts_s", "cpu_pct", "mem_pct"], None)?;
        let mut found: Vec<(i64, Option<f64>, Option<f64>)> = Vec::new();
        while rows.next()? {
            if let Some(ts) = rows.number(0) {
                found.push((ts as i64, rows.number(1), rows.number(2)));
            }
        }
        found.sort_by_key(|row| row.0);
        let (Some(first), Some(last)) = (found.first().map(|row| row.0), found.last().map(|row| row.0)) else {
            self.dropped += 1;
            return Ok(());
        };
        // From a midnight on, so that hours stay hours.
        let start = first.div_euclid(86_400) * 86_400;
        let slots = ((last - start) / STEP_S + 1) as usize;
        // A damaged time must not ask for the memory of a century.
        if slots > MOST_SLOTS {
            self.dropped += 1;
            return Ok(());
        }
        let (mut cpu, mut memory) = (vec![None; slots], vec![None; slots]);
        for (ts, cpu_pct, memory_pct) in found {
            let slot = ((ts - start) / STEP_S) as usize;
            cpu[slot] = cpu_pct;
            memory[slot] = memory_pct;
        }
        let (Some(cpu), memory) = (self.fill(cpu), self.fill(memory)) else {
            self.dropped += 1;
            return Ok(());
        };
        self.machines.push(MachineUsage { cpu, memory: memory.unwrap_or_default() });
        Ok(())
    }

    /// One file is one day; a row is a machine.
    fn read_day(&mut self, path: &Path) -> Result<(), InputError> {
        let mut rows = CsvRows::open(path, &["vm", "s000", "s287"], None)?;
        while rows.next()? {
            let values: Vec<Option<f64>> = rows.numbers_from(1).take(DAY_SLOTS).collect();
            match self.fill(values).filter(|cpu| cpu.len() == DAY_SLOTS) {
                Some(cpu) => self.machines.push(MachineUsage { cpu, memory: Vec::new() }),
                None => self.dropped += 1,
            }
        }
        Ok(())
    }

    /// Percent to shares; a missing value holds the one before it. `None` when too many are missing.
    fn fill(&mut self, percent: Vec<Option<f64>>) -> Option<Vec<f32>> {
        let known = percent.iter().flatten().filter(|value| **value >= 0.0).count();
        if percent.is_empty() || (known as f64) < LEAST_COVERAGE * percent.len() as f64 {
            return None;
        }
        self.filled += (percent.len() - known) as u64;
        let mut held = percent.iter().flatten().copied().find(|value| *value >= 0.0)? as f32 / 100.0;
        let mut hold = |value: Option<f64>| {
            if let Some(value) = value.filter(|value| *value >= 0.0) {
                held = value as f32 / 100.0;
            }
            held
        };
        Some(percent.into_iter().map(&mut hold).collect())
    }
}

fn csv_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_csv =
        |path: &PathBuf| path.to_string_lossy().ends_with(".csv.gz") || path.to_string_lossy().ends_with(".csv");
    entries.filter(is_csv).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_hold_the_value_before_and_empty_machines_are_left_out() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let vms = folder.path().join("bitbrains-rnd/vms");
        std::fs::create_dir_all(&vms).expect("folder");
        // The row of 600 s is missing.
        let rows = "ts_s,cpu_pct,mem_pct,mem_mb\n0,10,,1\n300,20,,1\n900,30,,1\n1200,30,,1\n1500,30,,1\n1800,30,,1\n";
        std::fs::write(vms.join("vm-001.csv"), rows).expect("fixture");
        std::fs::write(vms.join("vm-002.csv"), "ts_s,cpu_pct,mem_pct\n0,10,5\n3000,10,5\n").expect("fixture");
        std::fs::write(vms.join("vm-003.csv"), "ts_s,cpu_pct,mem_pct\n0,10,5\n1e15,10,5\n").expect("fixture");
        let library = UsageLibrary::read(folder.path(), UsageSet::Bitbrains).expect("a library");
        assert_eq!((library.machines.len(), library.dropped, library.filled), (1, 2, 1));
        assert_eq!(library.machines[0].cpu[..4], [0.1, 0.2, 0.2, 0.3]);
        assert!(library.machines[0].memory.is_empty());
        let error = UsageLibrary::read(folder.path(), UsageSet::Planetlab).expect_err("absent").to_string();
        assert!(error.contains("planetlab"), "{error}");
    }
}
