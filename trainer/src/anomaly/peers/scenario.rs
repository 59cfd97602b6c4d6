//! Made-up series with labelled incidents: enough to see how detectors differ without any data of one's own.

use super::CompareSettings;
use super::task::{Series, Task};
use clap::ValueEnum;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// Which kind of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// An incident every two days and node, about 2 % of the readings
    Standard,
    /// An incident every eight hours and node, about 12 % of the readings
    HighAnomaly,
    /// An incident every eight days and node: labels are few
    Rare,
    /// As standard, while the usual level of every metric wanders away
    Drift,
    /// As standard, but two kinds of incidents occur in the test alone
    UnseenKinds,
}

impl Scenario {
    /// As the command line has it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    const fn days_between(self) -> f64 {
        match self {
            Self::Standard | Self::Drift | Self::UnseenKinds => 2.0,
            Self::HighAnomaly => 0.33,
            Self::Rare => 8.0,
        }
    }
}

/// Metrics of a made-up node, all in 0..1 but for the rates.
const COLUMNS: [&str; 6] = ["cpu", "memory", "network", "disk_busy", "disk_rate", "load_per_core"];

/// What goes wrong, as in [`COLUMNS`]' terms; the last two are the unseen ones.
const KINDS: [&str; 5] = ["cpu_saturation", "memory_leak", "network_loss", "disk_saturation", "noisy_neighbour"];
const SEEN_BEFORE: usize = 3;

const NODES: usize = 6;
const DAYS: usize = 28;
/// Readings of a day, five minutes apart.
const DAY: usize = 288;

/// The series of a scenario; the same seed gives the same ones.
///
/// # Errors
/// Shares that leave a slice too short.
pub fn generate(scenario: Scenario, seed: u64, settings: &CompareSettings) -> anyhow::Result<Task> {
    let late_from = ((1.0 - settings.test_share) * (DAYS * DAY) as f64) as usize;
    let series = (0..NODES).map(|node| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(node as u64 + 1);
        made_up(scenario, node, late_from, &mut random)
    });
    let columns = COLUMNS.map(str::to_owned).to_vec();
    let name = format!("made-up scenario {}, seed {seed}, {NODES} nodes, {DAYS} days", scenario.name());
    Task::new(name, columns, series.collect(), 5.0, settings)
}

/// Noise that remembers: `x' = φ x + σ √(1 − φ²) ε`.
struct Wander {
    keeps: f64,
    deviation: f64,
    value: f64,
}

impl Wander {
    fn step(&mut self, random: &mut ChaCha8Rng) -> f64 {
        let fresh: f64 = random.sample(StandardNormal);
        self.value = self.keeps * self.value + self.deviation * (1.0 - self.keeps * self.keeps).sqrt() * fresh;
        self.value
    }
}

fn made_up(scenario: Scenario, node: usize, late_from: usize, random: &mut ChaCha8Rng) -> Series {
    let between = |random: &mut ChaCha8Rng, low: f64, high: f64| low + (high - low) * random.random::<f64>();
    let rows = DAYS * DAY;
    let (base, swing) = (between(random, 0.2, 0.4), between(random, 0.06, 0.18));
    let (phase, memory) = (between(random, 0.0, TAU), between(random, 0.4, 0.7));
    let wander = |keeps, deviation| Wander { keeps, deviation, value: 0.0 };
    let (mut work, mut caches, mut traffic, mut disk) =
        (wander(0.9, 0.03), wander(0.998, 0.05), wander(0.8, 0.1), wander(0.85, 0.2));
    let drift = if scenario == Scenario::Drift { between(random, 0.1, 0.2) } else { 0.0 };
    let (odd, incidents) = incidents(scenario, rows, late_from, random);
    let mut values = Vec::with_capacity(rows * COLUMNS.len());
    for row in 0..rows {
        let day = row as f64 / DAY as f64;
        let weekend = if (day as usize) % 7 >= 5 { 0.6 } else { 1.0 };
        let gone = day / DAYS as f64;
        let demand = base + drift * gone + weekend * swing * (TAU * day + phase).sin() + work.step(random);
        // A batch job now and then is nothing odd.
        let batch = if (row + 37 * node) % DAY < 10 { 0.15 } else { 0.0 };
        let mut cpu = (demand + batch).max(0.02);
        let mut used = memory + drift * gone + 0.1 * demand + caches.step(random);
        let mut network = (40.0 * demand * (1.0 + traffic.step(random))).max(0.5);
        let mut rate = (8.0 * (demand + 2.0 * batch) * (1.0 + disk.step(random))).max(0.2);
        let mut busy = 1.0 - (-rate / 25.0).exp();
        let mut waiting = 0.0;
        if let Some(incident) = incidents.iter().find(|incident| (incident.from..incident.until).contains(&row)) {
            let strength = incident.strength;
            let progress = (row - incident.from) as f64 / (incident.until - incident.from) as f64;
            match incident.kind {
                0 => (cpu, waiting) = (cpu + (0.98 - cpu) * (0.7 + 0.3 * strength), 0.5 + strength),
                1 => used += (0.97 - used).max(0.0) * progress * (0.55 + 0.45 * strength),
                2 => (network, cpu) = (network * (1.0 - 0.85 * strength), cpu * (1.0 - 0.4 * strength)),
                3 => (busy, rate, waiting) = (0.93 + 0.06 * strength, rate * (2.0 + 4.0 * strength), 0.3 * strength),
                _ => cpu += 0.15 + 0.25 * strength,
            }
        }
        let cpu = cpu.min(0.995);
        let load = cpu * between(random, 0.9, 1.2) + waiting + 0.1 * busy;
        values.extend([cpu, used.min(0.985), network, busy.min(1.0), rate, load].map(|value| value as f32));
    }
    let kinds = incidents.iter().map(|incident| KINDS[incident.kind].to_owned()).collect();
    Series { name: format!("node-{node}"), values, odd, kinds }
}

struct Incident {
    kind: usize,
    from: usize,
    until: usize,
    strength: f64,
}

/// Incidents of 30 to 90 minutes with rests of an hour at least.
fn incidents(scenario: Scenario, rows: usize, late_from: usize, random: &mut ChaCha8Rng) -> (Vec<bool>, Vec<Incident>) {
    let (mut odd, mut incidents, mut at) = (vec![false; rows], Vec::new(), 0);
    loop {
        let wait = -(1.0 - random.random::<f64>()).ln() * scenario.days_between() * DAY as f64;
        let from = at + 12 + wait as usize;
        let until = from + random.random_range(6..=18);
        if until >= rows {
            return (odd, incidents);
        }
        let is_late = from >= late_from;
        let kinds = if scenario == Scenario::UnseenKinds && !is_late { SEEN_BEFORE } else { KINDS.len() };
        incidents.push(Incident {
            kind: random.random_range(0..kinds),
            from,
            until,
            strength: 0.5 + 0.5 * random.random::<f64>(),
        });
        odd[from..until].fill(true);
        at = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_differ_as_their_names_say() {
        let settings = CompareSettings::default();
        let of = |scenario| generate(scenario, 3, &settings).expect("a task");
        let share = |scenario| {
            let task = of(scenario);
            task.odd.iter().filter(|odd| **odd).count() as f64 / task.odd.len() as f64
        };
        let (rare, standard, high) = (share(Scenario::Rare), share(Scenario::Standard), share(Scenario::HighAnomaly));
        assert!((0.001..0.01).contains(&rare) && (0.01..0.04).contains(&standard), "{rare} {standard}");
        assert!((0.07..0.2).contains(&high), "{high}");
        let kinds = |scenario, before_test: bool| -> std::collections::BTreeSet<String> {
            let task = of(scenario);
            let labels = task.history.labels.iter().flatten();
            labels
                .filter(|label| (label.started_at < task.test.from) == before_test)
                .map(|label| label.kind.clone())
                .collect()
        };
        assert_eq!(kinds(Scenario::UnseenKinds, true).len(), 3);
        assert_eq!(kinds(Scenario::UnseenKinds, false).len(), 5);
        let values = |task: Task| task.history.x.values().to_vec();
        assert_eq!(values(of(Scenario::Standard)), values(of(Scenario::Standard)));
        let other = generate(Scenario::Standard, 4, &settings).expect("a task");
        assert_ne!(values(of(Scenario::Standard)), values(other));
    }
}
