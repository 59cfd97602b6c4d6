//! One node's measured values, derived from what its pods use.

use super::demand::DemandDay;
use super::incident::{Fault, Incident, LEAK_KILL_MS};
use super::plan::{Plan, PodLife};
use super::shape::GIB;
use super::usage::Usage;
use super::workload::{Kind, Workload};
use cluster::{DAY_MS, HOUR_MS, MINUTE_MS, NodeMetric, NodeSample};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use synthetic::noise::{Ar1, generator, normal};

/// A pod that is bound to the node.
struct LivePod {
    pod: usize,
    /// Its fast noise.
    noise: f64,
    /// Filled share of its caches.
    cache: f64,
    cpu: f64,
    memory: f64,
    usage: Usage,
    track: Vec<TrackPoint>,
}

/// One scrape of a pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackPoint {
    /// When.
    pub ts: i64,
    /// CPU in cores.
    pub cpu: f64,
    /// Working set in bytes.
    pub memory: f64,
}

/// What a day of a node gave.
#[derive(Default)]
pub struct NodeDay {
    /// The scrapes, in order; missing ones are not there.
    pub samples: Vec<NodeSample>,
    /// Pods whose life ended, with what they used.
    pub ended: Vec<(usize, Usage)>,
    /// Scrapes of single pods, where wanted.
    pub tracks: Vec<(usize, Vec<TrackPoint>)>,
}

/// Goes through a node's history day by day.
pub struct NodeHistory<'a> {
    plan: &'a Plan,
    node: usize,
    step: i64,
    /// Pods ever bound to it, by time of binding.
    pods: Vec<usize>,
    next_pod: usize,
    live: Vec<LivePod>,
    /// Its incidents; a leak's end moves forward when its pod goes earlier.
    incidents: Vec<Incident>,
    next_incident: usize,
    leaker: Option<usize>,
    pod_noise: ChaCha8Rng,
    scrapes: ChaCha8Rng,
    traffic: Ar1,
    disk: Ar1,
    missing_until: i64,
    boot: i64,
    filesystem_used: f64,
    load1: f64,
    total_cpu: f64,
    wants_tracks: bool,
}

/// Sums over the pods of a node at one moment.
#[derive(Default)]
struct Sums {
    cpu: f64,
    memory: f64,
    receive: f64,
    transmit: f64,
    read: f64,
    write: f64,
    running: u32,
    cpu_requested: f64,
    memory_requested: f64,
    /// CPU that everybody together wants, whether or not the machine has it.
    wanted: f64,
}

impl<'a> NodeHistory<'a> {
    /// Starts before the first day. `wants_tracks` keeps every scrape of every pod, which costs memory.
    pub fn new(seed: u64, plan: &'a Plan, node: usize, step: i64, wants_tracks: bool) -> Self {
        let mut pods: Vec<usize> = (0..plan.pods.len()).filter(|pod| plan.pods[*pod].node == Some(node)).collect();
        pods.sort_by_key(|pod| (plan.pods[*pod].scheduled, *pod));
        let steps_per_minute = MINUTE_MS as f64 / step as f64;
        let index = node as u64;
        Self {
            plan,
            node,
            step,
            pods,
            next_pod: 0,
            live: Vec::new(),
            incidents: plan.incidents.iter().filter(|incident| incident.node == node).cloned().collect(),
            next_incident: 0,
            leaker: None,
            pod_noise: generator(seed, "pod-noise", index),
            scrapes: generator(seed, "scrapes", index),
            traffic: Ar1::new(generator(seed, "traffic", index), 3.0 * steps_per_minute, 0.15),
            disk: Ar1::new(generator(seed, "disk", index), 4.0 * steps_per_minute, 0.3),
            missing_until: i64::MIN,
            boot: plan.start - plan.machines[node].age_ms / 1_000 * 1_000,
            filesystem_used: plan.machines[node].filesystem_used,
            load1: 0.0,
            total_cpu: 0.0,
            wants_tracks,
        }
    }

    /// The day that begins at `day`. Days must come in order.
    pub fn day(&mut self, day: i64, demand: &DemandDay) -> NodeDay {
        let mut result = NodeDay::default();
        for place in 0..(DAY_MS / self.step) as usize {
            let ts = day + place as i64 * self.step;
            while self.incidents.get(self.next_incident).is_some_and(|incident| incident.end <= ts) {
                self.incident_ends(self.next_incident);
                self.next_incident += 1;
            }
            let active = self
                .incidents
                .get(self.next_incident)
                .filter(|incident| incident.start <= ts)
                .map(|_| self.next_incident);
            self.pods_change(ts, &mut result);
            let sample = self.scrape(ts, place, demand, active);
            if !self.is_missing(ts) {
                result.samples.push(sample);
                if self.wants_tracks && !sample.get(NodeMetric::CpuUsed).is_nan() {
                    for pod in self.live.iter_mut().filter(|pod| pod.memory > 0.0) {
                        pod.track.push(TrackPoint { ts, cpu: pod.cpu, memory: pod.memory });
                    }
                }
            }
        }
        for pod in self.live.iter_mut().filter(|pod| !pod.track.is_empty()) {
            result.tracks.push((pod.pod, std::mem::take(&mut pod.track)));
        }
        result
    }

    /// After the last day: what the pods that still live have used, and the incidents as they came out.
    pub fn finish(mut self) -> (Vec<(usize, Usage)>, Vec<Incident>) {
        // A leak whose pod went within minutes is none that anybody could have seen.
        self.incidents
            .retain(|incident| incident.fault != Fault::MemoryLeak || incident.end - incident.start > 10 * MINUTE_MS);
        (self.live.into_iter().map(|pod| (pod.pod, pod.usage)).collect(), self.incidents)
    }

    fn incident_ends(&mut self, incident: usize) {
        let ended = &self.incidents[incident];
        self.leaker = None;
        if ended.fault.takes_the_machine_down() {
            // The machine was up a little before the kubelet called itself ready.
            self.boot = ended.end - 45_000;
            self.load1 = 0.0;
        }
    }

    fn pods_change(&mut self, ts: i64, result: &mut NodeDay) {
        let plan = self.plan;
        let pods = &plan.pods;
        while let Some(pod) =
            self.pods.get(self.next_pod).copied().filter(|pod| pods[*pod].scheduled.is_some_and(|at| at <= ts))
        {
            self.next_pod += 1;
            let age = (ts - pods[pod].started.unwrap_or(ts)).max(0) as f64;
            let cache = 1.0 - (-age / CACHE_FILL_MS).exp();
            let (cpu, memory, usage, track) = (0.0, 0.0, Usage::default(), Vec::new());
            self.live.push(LivePod {
                pod,
                noise: 0.12 * normal(&mut self.pod_noise),
                cache,
                cpu,
                memory,
                usage,
                track,
            });
        }
        let mut place = 0;
        while place < self.live.len() {
            if pods[self.live[place].pod].finished.is_none_or(|at| at > ts) {
                place += 1;
                continue;
            }
            let ended = self.live.remove(place);
            if !ended.track.is_empty() {
                result.tracks.push((ended.pod, ended.track));
            }
            result.ended.push((ended.pod, ended.usage));
        }
    }

    /// Single scrapes are lost now and then (about one in a thousand), some minutes of them about every ten days.
    fn is_missing(&mut self, ts: i64) -> bool {
        let draw: f64 = self.scrapes.random();
        if draw < self.step as f64 / (10 * DAY_MS) as f64 {
            self.missing_until = ts + self.scrapes.random_range(3..20) * MINUTE_MS;
        }
        ts < self.missing_until || (0.4..0.401).contains(&draw)
    }

    fn scrape(&mut self, ts: i64, place: usize, demand: &DemandDay, active: Option<usize>) -> NodeSample {
        let incident = active.map(|place| self.incidents[place].clone());
        let down = incident.as_ref().is_some_and(|incident| incident.fault.takes_the_machine_down());
        let sums = self.pods_use(ts, place, demand, incident.as_ref(), down);
        let mut sample = NodeSample::empty(ts);
        let machine = &self.plan.machines[self.node];
        sample.set(NodeMetric::CpuAllocatable, machine.cpu_allocatable);
        sample.set(NodeMetric::MemoryAllocatable, machine.memory_allocatable);
        sample.set(NodeMetric::PodsRunning, f64::from(sums.running));
        sample.set(NodeMetric::CpuRequested, rounded(sums.cpu_requested, 1e4));
        sample.set(NodeMetric::MemoryRequested, sums.memory_requested.round());
        sample.set(NodeMetric::Ready, if down { 0.0 } else { 1.0 });
        if down {
            return sample;
        }
        self.measure(ts, &sums, incident.as_ref(), &mut sample);
        if let Some(place) = active {
            self.leak(ts, place, &mut sample);
        }
        sample
    }

    /// Lets every pod use what its demand asks for, as far as the machine can give it.
    fn pods_use(&mut self, ts: i64, place: usize, demand: &DemandDay, incident: Option<&Incident>, down: bool) -> Sums {
        let plan = self.plan;
        let machine = &plan.machines[self.node];
        let minute = ((ts - self.plan.start) / MINUTE_MS) as usize;
        let zone = f64::from(demand.zones[machine.zone][place]);
        let lost =
            incident.filter(|incident| incident.fault == Fault::NetworkLoss).map_or(0.0, |incident| incident.strength);
        let keeps = (-(self.step as f64) / 120_000.0).exp();
        let fresh = 0.12 * (1.0 - keeps * keeps).sqrt();
        let mut sums = Sums::default();
        for live in &mut self.live {
            let life = &self.plan.pods[live.pod];
            let workload = &self.plan.workloads[life.workload];
            sums.cpu_requested += workload.cpu_request;
            sums.memory_requested += workload.memory_request;
            (live.cpu, live.memory) = (0.0, 0.0);
            let Some(age) = life.started.map(|started| ts - started).filter(|age| *age >= 0) else { continue };
            sums.running += 1;
            live.noise = keeps * live.noise + fresh * normal(&mut self.pod_noise);
            if down {
                continue;
            }
            live.cache += (1.0 - live.cache) * (self.step as f64 / CACHE_FILL_MS).min(1.0);
            let replicas = f64::from(self.plan.replicas[life.workload][minute].max(1));
            let load = match demand.workloads[life.workload].get(place) {
                Some(value) => f64::from(*value) * zone * f64::from(workload.replicas) / replicas * (1.0 - 0.4 * lost),
                None => 1.0,
            };
            live.cpu = pod_cpu(workload, life, load, age, self.total_cpu, ts) * (1.0 + live.noise).max(0.2);
            live.memory = pod_memory(workload, load, live.cache, live.noise);
            sums.cpu += live.cpu;
        }
        // More than the machine has cannot be used: everybody gets the same share of what they want.
        let system = 0.04 + 0.012 * f64::from(machine.cores) + 0.006 * f64::from(sums.running);
        let room = f64::from(machine.cores) * 0.985 - system;
        let granted = if sums.cpu > room { room / sums.cpu } else { 1.0 };
        for live in self.live.iter_mut().filter(|live| live.memory > 0.0) {
            live.cpu *= granted;
            let life = &self.plan.pods[live.pod];
            let workload = &self.plan.workloads[life.workload];
            live.usage.add(live.cpu, live.memory, workload.cpu_request);
            sums.memory += live.memory;
            sums.receive += live.cpu * workload.receive;
            sums.transmit += live.cpu * workload.transmit;
            sums.read += live.cpu * workload.read;
            sums.write += live.cpu * workload.write;
            if workload.kind == Kind::Database && in_backup(workload, ts) {
                sums.read += 40e6;
                sums.write += 25e6;
            }
        }
        sums.wanted = sums.cpu + system;
        self.total_cpu = (sums.cpu * granted + system).max(0.0);
        sums
    }

    /// What node_exporter would show.
    fn measure(&mut self, ts: i64, sums: &Sums, incident: Option<&Incident>, sample: &mut NodeSample) {
        let plan = self.plan;
        let machine = &plan.machines[self.node];
        let cores = f64::from(machine.cores);
        let strength = |fault: Fault| {
            incident.filter(|incident| incident.fault == fault).map_or(0.0, |incident| incident.strength)
        };
        let (saturated, lost) = (strength(Fault::DiskSaturation), strength(Fault::NetworkLoss));
        let disk_noise = (1.0 + self.disk.step()).max(0.1);
        let traffic_noise = (1.0 + self.traffic.step()).max(0.1) * (1.0 - 0.85 * lost);
        let cpu = (self.total_cpu + 0.25 * saturated).min(cores * 0.995);
        let used = cpu / cores;

        let read = (sums.read + 2e5) * disk_noise + 0.35 * saturated * machine.disk_bandwidth;
        let write = (sums.write + 6e5) * disk_noise + 0.55 * saturated * machine.disk_bandwidth;
        let fill = (read + write) / machine.disk_bandwidth;
        let io_time = (1.0 - (-1.6 * fill).exp()).max(if saturated > 0.0 { 0.93 + 0.06 * saturated } else { 0.0 });

        let runnable = sums.wanted.max(cpu) + 1.5 * io_time + 9.0 * saturated;
        self.load1 += (runnable - self.load1) * (1.0 - (-(self.step as f64) / 60_000.0).exp());
        let crowding = (used - 0.55).max(0.0);
        let starved = 1.0 - (cores * 0.985 / sums.wanted.max(1e-9)).min(1.0);
        let memory = 0.6 * GIB + 0.02 * machine.memory + sums.memory;

        self.filesystem_used += write * self.step as f64 / 1_000.0 * KEPT_OF_WRITTEN / machine.filesystem;
        if self.filesystem_used > 0.82 {
            self.filesystem_used = 0.58; // the kubelet's image garbage collection
        }
        sample.set(NodeMetric::CpuUsed, rounded(cpu, 1e4));
        sample.set(NodeMetric::MemoryUsed, (memory.min(machine.memory * 0.985) / 4096.0).round() * 4096.0);
        sample.set(NodeMetric::NetworkReceive, ((sums.receive + 4e4) * traffic_noise).round());
        sample.set(NodeMetric::NetworkTransmit, ((sums.transmit + 6e4) * traffic_noise).round());
        sample.set(NodeMetric::DiskRead, read.round());
        sample.set(NodeMetric::DiskWrite, write.round());
        sample.set(NodeMetric::DiskIoTime, rounded(io_time.min(1.0), 1e5));
        sample.set(NodeMetric::FilesystemUsed, rounded(self.filesystem_used, 1e6));
        sample.set(NodeMetric::Load1, rounded(self.load1, 1e2));
        let cpu_pressure = 0.01 * used + 2.2 * crowding * crowding + 0.8 * starved;
        sample.set(
            NodeMetric::CpuPressure,
            rounded((cpu_pressure * (1.0 + 0.3 * self.traffic.value()).max(0.2)).min(1.0), 1e5),
        );
        sample.set(NodeMetric::MemoryPressure, rounded(memory_pressure(memory / machine.memory), 1e5));
        sample.set(NodeMetric::Uptime, (ts - self.boot) as f64 / 1_000.0);
    }

    /// Adds the memory of a leaking pod. The leak ends early when its pod goes, as a rollout makes it.
    fn leak(&mut self, ts: i64, place: usize, sample: &mut NodeSample) {
        let incident = &self.incidents[place];
        if incident.fault != Fault::MemoryLeak {
            return;
        }
        let leaks = |live: &LivePod| {
            matches!(self.plan.workloads[self.plan.pods[live.pod].workload].kind, Kind::Web | Kind::Worker)
        };
        let leaker = *self.leaker.get_or_insert_with(|| {
            // The pod that stays longest; without any the incident is over before it began.
            let pods = self.live.iter().filter(|live| leaks(live) && live.memory > 0.0);
            pods.max_by_key(|live| self.plan.pods[live.pod].finished.unwrap_or(i64::MAX))
                .map_or(usize::MAX, |live| live.pod)
        });
        let machine = &self.plan.machines[self.node];
        let Some(live) = self.live.iter_mut().find(|live| live.pod == leaker) else {
            self.incidents[place].end = ts;
            return;
        };
        let length = (incident.end - incident.start - LEAK_KILL_MS).max(1);
        let progress = (ts - incident.start) as f64 / length as f64;
        if progress < 1.0 {
            let used = sample.get(NodeMetric::MemoryUsed);
            let leaked = (machine.memory * 0.97 - used).max(0.0) * progress * (0.55 + 0.45 * incident.strength);
            let used = ((used + leaked) / 4096.0).round() * 4096.0;
            live.memory += leaked;
            sample.set(NodeMetric::MemoryUsed, used);
            sample.set(NodeMetric::MemoryPressure, rounded(memory_pressure(used / machine.memory), 1e5));
        }
    }
}

/// Caches are filled to 63 % after four hours.
const CACHE_FILL_MS: f64 = 4.0 * HOUR_MS as f64;
/// Share of what is written that stays (logs, images, volumes).
const KEPT_OF_WRITTEN: f64 = 0.01;

fn pod_cpu(workload: &Workload, life: &PodLife, load: f64, age: i64, node_cpu: f64, ts: i64) -> f64 {
    let request = workload.cpu_request;
    if let Some(fixed) = life.fixed_cpu {
        return fixed;
    }
    match workload.kind {
        Kind::Daemon => request * workload.intensity + 0.006 * node_cpu,
        Kind::Cron => (request * workload.intensity * life.share * ramp(age)).min(1.3 * request),
        Kind::Batch | Kind::Adhoc => (request * life.share * ramp(age)).min(1.3 * request),
        Kind::Web | Kind::Worker | Kind::Database => {
            // Cold caches and just-in-time compilers: the first minutes cost more.
            let warm_up = if age < 10 * MINUTE_MS { 0.6 * (-(age as f64) / 150_000.0).exp() } else { 0.0 };
            let backup = if workload.kind == Kind::Database && in_backup(workload, ts) { 0.5 } else { 0.0 };
            (request * (workload.intensity * load * life.share + warm_up + backup)).min(4.0 * request)
        }
    }
}

/// A job reads its input before it computes.
fn ramp(age: i64) -> f64 {
    if age < MINUTE_MS { 0.5 } else { 1.0 }
}

fn pod_memory(workload: &Workload, load: f64, cache: f64, noise: f64) -> f64 {
    let per_load = if workload.runs_to_end() { 0.0 } else { 0.12 * load.min(1.8) };
    workload.memory_request * (workload.memory_base + workload.memory_cache * cache + per_load) * (1.0 + 0.03 * noise)
}

fn in_backup(workload: &Workload, ts: i64) -> bool {
    let minute = ts.rem_euclid(DAY_MS) as f64 / MINUTE_MS as f64 - f64::from(workload.at_minute);
    (0.0..workload.run_minutes).contains(&minute)
}

fn memory_pressure(used: f64) -> f64 {
    (0.0005 + 6.0 * (used - 0.88).max(0.0).powf(1.5) * 3.0).min(1.0)
}

fn rounded(value: f64, places: f64) -> f64 {
    (value * places).round() / places
}
