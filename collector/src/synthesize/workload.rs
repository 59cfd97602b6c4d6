//! What runs on the made-up cluster, and how its load goes with the hours, the days and the weeks.

use super::shape::{GIB, Machine};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;
use synthetic::noise::{between, generator, normal};

/// What a workload is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Serves people: follows their day. Some are scaled with the load.
    Web,
    /// Works through a queue: follows the day weakly, in bursts.
    Worker,
    /// Keeps data: much memory, a nightly backup.
    Database,
    /// One pod on every node.
    Daemon,
    /// Runs at fixed times.
    Cron,
    /// Runs once, whenever somebody starts it.
    Batch,
    /// The culprit of a noisy-neighbour incident.
    Adhoc,
}

/// One workload: a controller and the way its pods use the node.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its controller's name.
    pub name: String,
    /// Its namespace.
    pub namespace: &'static str,
    /// What it is like.
    pub kind: Kind,
    /// Pods at demand 1.
    pub replicas: u16,
    /// Whether the number of pods follows the demand.
    pub autoscaled: bool,
    /// Requested by a pod, in cores.
    pub cpu_request: f64,
    /// Requested by a pod, in bytes.
    pub memory_request: f64,
    /// CPU used by a pod ÷ its request at demand 1.
    pub intensity: f64,
    /// When its day is busiest (UTC hour).
    pub peak_hour: f64,
    /// Share of the peak that is left at night.
    pub floor: f64,
    /// Load at the weekend ÷ load on a working day.
    pub weekend: f64,
    /// Growth of the demand per day.
    pub trend: f64,
    /// Deviation of the noise of its demand (of the logarithm).
    pub noise: f64,
    /// Network bytes received per core-second.
    pub receive: f64,
    /// Network bytes sent per core-second.
    pub transmit: f64,
    /// Disk bytes read per core-second.
    pub read: f64,
    /// Disk bytes written per core-second.
    pub write: f64,
    /// Memory of a fresh pod ÷ its request.
    pub memory_base: f64,
    /// Memory that caches take over hours ÷ its request.
    pub memory_cache: f64,
    /// Minutes between runs, of cron jobs.
    pub every_minutes: u32,
    /// Minute of the day of the first run.
    pub at_minute: u32,
    /// Mean length of a run, in minutes.
    pub run_minutes: f64,
    /// Priority of its pods.
    pub priority: i64,
}

impl Workload {
    /// Kind of its controller, in Kubernetes' words.
    pub const fn controller(&self) -> &'static str {
        match self.kind {
            Kind::Web | Kind::Worker => "Deployment",
            Kind::Database => "StatefulSet",
            Kind::Daemon => "DaemonSet",
            Kind::Cron => "CronJob",
            Kind::Batch | Kind::Adhoc => "Job",
        }
    }

    /// Whether its pods run to an end by themselves.
    pub const fn runs_to_end(&self) -> bool {
        matches!(self.kind, Kind::Cron | Kind::Batch | Kind::Adhoc)
    }

    /// Its demand at `ts` without any noise; 1 at the peak of the first working day.
    pub fn demand(&self, ts: i64, start: i64) -> f64 {
        let hour = ts.rem_euclid(cluster::DAY_MS) as f64 / cluster::HOUR_MS as f64;
        // The epoch was a Thursday: days 2 and 3 after it were a weekend.
        let day = (ts.div_euclid(cluster::DAY_MS) + 3).rem_euclid(7) as f64 + hour / 24.0;
        let angle = (hour - self.peak_hour) / 24.0 * TAU;
        // A broad hump with a dip around noon of its own day: the second harmonic makes a late-morning and an afternoon top.
        let hump = (0.5 + 0.5 * angle.cos()).powf(1.4) * (1.0 - 0.12 * (0.5 + 0.5 * (3.0 * angle).cos()));
        let days_gone = (ts - start) as f64 / cluster::DAY_MS as f64;
        let weekday = self.weekend + (1.0 - self.weekend) * working_day(day);
        (self.floor + (1.0 - self.floor) * hump) * weekday * (1.0 + self.trend * days_gone).clamp(0.5, 2.0)
    }
}

/// 1 on working days, 0 at the weekend, with two hours of passage. `day` counts from Monday 0:00.
fn working_day(day: f64) -> f64 {
    let passage = 1.0 / 12.0;
    let into_weekend = ((day - 5.0) / passage).clamp(0.0, 1.0);
    let out_of_it = ((day - 7.0 + passage) / passage).clamp(0.0, 1.0);
    1.0 - into_weekend + out_of_it
}

const WEB_NAMES: [&str; 10] = [
    "storefront",
    "api-gateway",
    "checkout",
    "search",
    "catalog",
    "accounts",
    "media",
    "recommend",
    "pricing",
    "notify",
];
const WORKER_NAMES: [&str; 6] = ["mailer", "indexer", "thumbnailer", "events", "billing-worker", "sync"];
const DATABASE_NAMES: [&str; 4] = ["orders-db", "sessions-cache", "analytics-db", "queue"];
const CRON_NAMES: [&str; 6] = ["report", "cleanup", "export", "rollup", "reindex", "snapshot"];
/// Requests as people write them.
const CPU_REQUESTS: [f64; 6] = [0.1, 0.25, 0.5, 0.5, 1.0, 1.5];

/// Shares of the cluster's CPU that services request together; the rest is room for jobs, daemons and surges.
const REQUESTED_BY_SERVICES: f64 = 0.58;

/// The workloads of a cluster of these machines.
pub fn workloads(seed: u64, machines: &[Machine]) -> Vec<Workload> {
    let mut random = generator(seed, "workloads", 0);
    let cores: f64 = machines.iter().map(|machine| machine.cpu_allocatable).sum();
    let memory: f64 = machines.iter().map(|machine| machine.memory_allocatable).sum();
    let mut all: Vec<Workload> =
        ["log-agent", "metrics-agent", "network-proxy"].iter().map(|name| daemon(name)).collect();
    let (mut cpu_left, mut memory_left) = (cores * REQUESTED_BY_SERVICES, memory * 0.62);
    let mut number = 0;
    // A draw that does not fit is tried again smaller; a few rounds fill the budget.
    while cpu_left > 0.2 && memory_left > 0.25 * GIB && number < 40 + machines.len() * 8 {
        let mut workload = match number % 5 {
            0 | 1 | 3 => web(&mut random, number),
            2 => worker(&mut random, number),
            _ => database(&mut random, number),
        };
        let fits = |workload: &Workload| {
            f64::from(workload.replicas) * workload.cpu_request <= cpu_left
                && f64::from(workload.replicas) * workload.memory_request <= memory_left
        };
        while !fits(&workload) && workload.replicas > 1 {
            workload.replicas -= 1;
        }
        number += 1;
        if fits(&workload) {
            cpu_left -= f64::from(workload.replicas) * workload.cpu_request;
            memory_left -= f64::from(workload.replicas) * workload.memory_request;
            all.push(workload);
        }
    }
    let jobs = (machines.len() / 2).max(2);
    all.extend((0..jobs).map(|number| cron(&mut random, number)));
    all.push(batch("etl", 1.5, 3.0, 40.0, cores / 90.0));
    all.push(batch("training", 3.0, 6.0, 110.0, cores / 500.0));
    all.push(batch("ci", 0.75, 1.5, 12.0, cores / 40.0));
    all.push(adhoc());
    all
}

fn name(names: &[&str], number: usize) -> String {
    let round = number / names.len();
    let base = names[number % names.len()];
    if round == 0 { base.to_owned() } else { format!("{base}-{}", round + 1) }
}

/// A service with the traits that all of them share; the callers below say where they differ.
fn service(random: &mut ChaCha8Rng, name: String, namespace: &'static str, kind: Kind) -> Workload {
    let cpu_request = CPU_REQUESTS[random.random_range(0..CPU_REQUESTS.len())];
    Workload {
        name,
        namespace,
        kind,
        replicas: random.random_range(2..8),
        autoscaled: false,
        cpu_request,
        memory_request: (cpu_request * between(random, 1.2, 3.0) * 4.0).ceil() / 4.0 * GIB,
        intensity: between(random, 0.6, 1.25),
        peak_hour: (13.5 + 2.0 * normal(random)).rem_euclid(24.0),
        floor: between(random, 0.15, 0.4),
        weekend: between(random, 0.35, 0.9),
        trend: 0.002 * normal(random),
        noise: between(random, 0.08, 0.2),
        receive: between(random, 1e6, 6e6),
        transmit: between(random, 2e6, 12e6),
        read: between(random, 1e4, 2e5),
        write: between(random, 1e5, 8e5),
        memory_base: between(random, 0.35, 0.6),
        memory_cache: between(random, 0.05, 0.3),
        every_minutes: 0,
        at_minute: 0,
        run_minutes: 0.0,
        priority: 0,
    }
}

fn web(random: &mut ChaCha8Rng, number: usize) -> Workload {
    let mut workload = service(random, name(&WEB_NAMES, number), "shop", Kind::Web);
    workload.autoscaled = random.random_range(0..3) == 0;
    workload
}

fn worker(random: &mut ChaCha8Rng, number: usize) -> Workload {
    let mut workload = service(random, name(&WORKER_NAMES, number), "backend", Kind::Worker);
    workload.floor = between(random, 0.4, 0.7);
    workload.noise = between(random, 0.2, 0.35);
    workload.peak_hour = between(random, 0.0, 24.0);
    workload
}

fn database(random: &mut ChaCha8Rng, number: usize) -> Workload {
    let mut workload = service(random, name(&DATABASE_NAMES, number), "data", Kind::Database);
    workload.replicas = random.random_range(1..4);
    workload.cpu_request = workload.cpu_request.max(0.5);
    workload.memory_request = (workload.cpu_request * 4.0).ceil() * GIB;
    workload.memory_base = between(random, 0.6, 0.75);
    workload.noise = between(random, 0.05, 0.12);
    workload.read = between(random, 2e6, 2e7);
    workload.write = between(random, 2e6, 1.5e7);
    workload.at_minute = random.random_range(0..300);
    workload.run_minutes = between(random, 20.0, 70.0);
    workload.priority = 1_000;
    workload
}

fn job(name: String, kind: Kind, cpu_request: f64, memory_gib: f64) -> Workload {
    Workload {
        name,
        namespace: "jobs",
        kind,
        replicas: 1,
        autoscaled: false,
        cpu_request,
        memory_request: memory_gib * GIB,
        intensity: 1.0,
        peak_hour: 12.0,
        floor: 1.0,
        weekend: 1.0,
        trend: 0.0,
        noise: 0.0,
        receive: 2e6,
        transmit: 1e6,
        read: 1.2e7,
        write: 8e6,
        memory_base: 0.5,
        memory_cache: 0.3,
        every_minutes: 0,
        at_minute: 0,
        run_minutes: 10.0,
        priority: -10,
    }
}

fn cron(random: &mut ChaCha8Rng, number: usize) -> Workload {
    let cpu_request = [0.5, 1.0, 2.0][random.random_range(0..3)];
    let mut workload = job(name(&CRON_NAMES, number), Kind::Cron, cpu_request, cpu_request * 2.0);
    // Daily, every six hours, every two hours, hourly.
    workload.every_minutes = [1_440, 1_440, 360, 120, 60][random.random_range(0..5)];
    workload.at_minute = random.random_range(0..workload.every_minutes.min(1_440)) / 5 * 5;
    workload.run_minutes = (f64::from(workload.every_minutes) * between(random, 0.05, 0.2)).clamp(4.0, 75.0);
    workload.intensity = between(random, 0.7, 1.3);
    workload
}

/// `per_hour`: how many are started in an hour of a working day, on average, in the whole cluster.
fn batch(name: &str, cpu_request: f64, memory_gib: f64, run_minutes: f64, per_hour: f64) -> Workload {
    let mut workload = job(name.to_owned(), Kind::Batch, cpu_request, memory_gib);
    workload.run_minutes = run_minutes;
    workload.intensity = per_hour; // read by the plan; a batch pod uses what it requests
    workload.floor = 0.3;
    workload.weekend = 0.4;
    workload.peak_hour = 14.0;
    workload
}

fn adhoc() -> Workload {
    let mut workload = job("adhoc-query".into(), Kind::Adhoc, 0.25, 0.5);
    workload.namespace = "default";
    workload
}

fn daemon(name: &str) -> Workload {
    let mut workload = job(name.to_owned(), Kind::Daemon, 0.1, 0.125);
    workload.namespace = "kube-system";
    workload.intensity = 0.35;
    workload.read = 1e4;
    workload.write = 1e6;
    workload.priority = 2_000_001_000; // system-node-critical
    workload
}

#[cfg(test)]
mod tests {
    use super::super::shape::machines;
    use super::*;
    use cluster::{DAY_MS, HOUR_MS};

    fn of_kind(kind: Kind) -> Workload {
        let all = workloads(1, &machines(1, 12));
        all.into_iter().find(|workload| workload.kind == kind).expect("a workload of this kind")
    }

    #[test]
    fn demand_follows_the_day_and_the_week() {
        let web = of_kind(Kind::Web);
        let monday = 4 * DAY_MS; // 5 January 1970
        let peak = monday + (web.peak_hour * HOUR_MS as f64) as i64;
        assert!(web.demand(peak, monday) > 1.5 * web.demand(peak + 12 * HOUR_MS, monday));
        let saturday = web.demand(peak + 5 * DAY_MS, monday) / web.demand(peak, monday);
        assert!((saturday - web.weekend).abs() < 0.05, "{saturday} against {}", web.weekend);
    }

    #[test]
    fn the_week_has_no_jump() {
        let days = (0..10_080).map(|minute| working_day(f64::from(minute) / 1_440.0)).collect::<Vec<_>>();
        assert!(days.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.02));
        assert_eq!((days[0], days[6 * 1_440]), (1.0, 0.0));
    }

    #[test]
    fn services_request_about_what_was_planned() {
        let nodes = machines(5, 30);
        let cores: f64 = nodes.iter().map(|node| node.cpu_allocatable).sum();
        let services = workloads(5, &nodes)
            .into_iter()
            .filter(|workload| matches!(workload.kind, Kind::Web | Kind::Worker | Kind::Database));
        let requested: f64 = services.map(|workload| f64::from(workload.replicas) * workload.cpu_request).sum();
        assert!((0.4..=REQUESTED_BY_SERVICES).contains(&(requested / cores)), "{}", requested / cores);
    }
}
