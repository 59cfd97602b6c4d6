//! What has been seen of the pods of each workload: the usage that cAdvisor reports of every container, once it has
//! arrived, and how long pods have lived.

use cluster::HOUR_MS;

/// Hours of a day.
pub const HOURS: usize = 24;

/// One workload, per pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Habit {
    samples: u32,
    cpu_sum: f64,
    memory_sum: f64,
    memory_peak: f32,
    /// Newest day by hour: number of the hour since the start, samples, sum of millicores.
    hours: [(i32, u32, f32); HOURS],
    ended: u32,
    life_ms: f64,
}

impl Default for Habit {
    fn default() -> Self {
        Self {
            samples: 0,
            cpu_sum: 0.0,
            memory_sum: 0.0,
            memory_peak: 0.0,
            hours: [(-1, 0, 0.0); HOURS],
            ended: 0,
            life_ms: 0.0,
        }
    }
}

impl Habit {
    /// Whether any usage was seen.
    pub const fn is_known(&self) -> bool {
        self.samples > 0
    }

    /// Mean millicores of a pod; `None` before the first sample has arrived.
    pub fn cpu(&self) -> Option<f64> {
        self.is_known().then(|| self.cpu_sum / f64::from(self.samples))
    }

    /// Mean bytes of a pod.
    pub fn memory(&self) -> Option<f64> {
        self.is_known().then(|| self.memory_sum / f64::from(self.samples))
    }

    /// Most bytes of a pod: the highest mean over the workload's pods at any sample.
    pub const fn memory_peak(&self) -> f32 {
        self.memory_peak
    }

    /// Mean millicores of a pod in an hour of the day (0 is that of the scenario's start), on the newest day on which it
    /// was seen; `None` where it never was.
    #[inline]
    pub fn cpu_in(&self, hour: usize) -> Option<f32> {
        let (_, samples, sum) = self.hours[hour % HOURS];
        (samples > 0).then(|| sum / samples as f32)
    }

    /// Hours of the day at which it was seen.
    pub fn hours_known(&self) -> usize {
        self.hours.iter().filter(|(_, samples, _)| *samples > 0).count()
    }

    /// Mean life in ms of the pods that have ended; `None` before the first.
    pub fn life_ms(&self) -> Option<f64> {
        (self.ended > 0).then(|| self.life_ms / f64::from(self.ended))
    }

    fn take_in(&mut self, at_ms: i64, cpu: f32, memory: f32) {
        self.samples += 1;
        self.cpu_sum += f64::from(cpu);
        self.memory_sum += f64::from(memory);
        self.memory_peak = self.memory_peak.max(memory);
        let hour = (at_ms / HOUR_MS) as i32;
        let place = &mut self.hours[hour as usize % HOURS];
        if place.0 != hour {
            *place = (hour, 0, 0.0);
        }
        place.1 += 1;
        place.2 += cpu;
    }
}

/// Mean usage of a workload's pods at one scrape: workload, millicores, bytes.
pub(super) type WorkloadSample = (u32, f32, f32);

/// All workloads. Nothing is gathered until somebody wants it: most policies do not.
#[derive(Debug, Clone, Default)]
pub(super) struct Habits {
    pub list: Vec<Habit>,
    /// Millicores that a pod of each workload requests.
    requested: Vec<f64>,
    /// Usage and requests of all samples, in millicores: what a request is worth.
    seen: (f64, f64),
    /// Sums of the scrape that is being taken, by workload: millicores, bytes, pods.
    sums: Vec<(f64, f64, u32)>,
    touched: Vec<u32>,
}

impl Habits {
    /// Gathers from now on. `requested` are the millicores that a pod of each workload requests.
    pub fn watch(&mut self, requested: Vec<f64>) {
        self.list = vec![Habit::default(); requested.len()];
        self.sums = vec![(0.0, 0.0, 0); requested.len()];
        self.requested = requested;
    }

    pub fn is_watched(&self) -> bool {
        !self.list.is_empty()
    }

    /// One pod of the scrape that is being taken.
    pub fn sample(&mut self, workload: u32, cpu: f64, memory: f64) {
        let sum = &mut self.sums[workload as usize];
        if sum.2 == 0 {
            self.touched.push(workload);
        }
        *sum = (sum.0 + cpu, sum.1 + memory, sum.2 + 1);
    }

    /// The end of the scrape: means by workload.
    pub fn means(&mut self, samples: &mut Vec<WorkloadSample>) {
        for workload in self.touched.drain(..) {
            let (cpu, memory, pods) = std::mem::take(&mut self.sums[workload as usize]);
            let pods = f64::from(pods);
            samples.push((workload, (cpu / pods) as f32, (memory / pods) as f32));
        }
    }

    /// A scrape has arrived.
    pub fn arrive(&mut self, at_ms: i64, samples: &[WorkloadSample]) {
        for (workload, cpu, memory) in samples {
            self.list[*workload as usize].take_in(at_ms, *cpu, *memory);
            let requested = self.requested[*workload as usize];
            if requested > 0.0 {
                self.seen = (self.seen.0 + f64::from(*cpu), self.seen.1 + requested);
            }
        }
    }

    /// A pod has ended by itself after `life_ms`. The API server tells at once.
    pub fn ended(&mut self, workload: u32, life_ms: i64) {
        if let Some(habit) = self.list.get_mut(workload as usize) {
            habit.ended += 1;
            habit.life_ms += life_ms as f64;
        }
    }

    /// Mean CPU usage as a share of requests, over all samples that have arrived.
    pub fn usage_of_requests(&self) -> Option<f64> {
        (self.seen.1 > 0.0).then(|| self.seen.0 / self.seen.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::MINUTE_MS;

    #[test]
    fn an_hour_of_the_day_is_that_of_the_newest_day() {
        let mut habit = Habit::default();
        assert_eq!((habit.cpu(), habit.cpu_in(0), habit.life_ms()), (None, None, None));
        habit.take_in(10 * MINUTE_MS, 100.0, 5.0);
        habit.take_in(20 * MINUTE_MS, 300.0, 9.0);
        assert_eq!((habit.cpu_in(0), habit.cpu_in(1), habit.memory_peak()), (Some(200.0), None, 9.0));
        habit.take_in(24 * HOUR_MS + MINUTE_MS, 800.0, 1.0);
        assert_eq!((habit.cpu_in(0), habit.cpu(), habit.hours_known()), (Some(800.0), Some(400.0), 1));
    }

    #[test]
    fn a_scrape_gives_the_mean_pod_of_each_workload() {
        let mut habits = Habits::default();
        habits.watch(vec![500.0; 3]);
        habits.sample(2, 100.0, 10.0);
        habits.sample(0, 50.0, 1.0);
        habits.sample(2, 300.0, 30.0);
        let mut samples = Vec::new();
        habits.means(&mut samples);
        assert_eq!(samples, [(2, 200.0, 20.0), (0, 50.0, 1.0)]);
        habits.arrive(0, &samples);
        assert_eq!(habits.usage_of_requests(), Some(0.25));
        assert!(habits.list[2].is_known() && !habits.list[1].is_known());
    }
}
