//! What has been seen of the pods of a workload, and what follows for the next of them. The simulator's agent and the
//! server that asks the same network share it, so that both see the same.

use crate::cluster_state::{Amount, PodCourse, PodFacts};
use cluster::HOUR_MS;
use serde::{Deserialize, Serialize};

/// Of what it requests, a pod uses about this until anything was seen; 0.6 is what LoadAware schedulers assume at most for
/// CPU in their defaults. A guess that lasts for the first minute of a cluster.
const FIRST_RATIO: f64 = 0.6;

/// Hours of a day.
pub const HOURS: usize = 24;

/// One workload, per pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

    /// Takes in the mean pod of one scrape: its millicores and bytes. `at_ms` counts from where hours count.
    pub fn take_in(&mut self, at_ms: i64, cpu: f32, memory: f32) {
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
    /// A pod has ended by itself after `life_ms`.
    pub fn ended(&mut self, life_ms: i64) {
        self.ended += 1;
        self.life_ms += life_ms as f64;
    }
}

/// What a pod is expected to use.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Expected {
    /// On average.
    pub amount: Amount,
    /// By its workload's history, not by its requests.
    pub known: bool,
    /// Of memory at most, bytes.
    pub memory_peak: f32,
}

impl Expected {
    /// By the workload's history, else by requests: CPU at the cluster's mean ratio of usage to requests, memory in full.
    pub fn of(habit: Option<&Habit>, requested: Amount, usage_of_requests: Option<f64>) -> Self {
        match habit.filter(|habit| habit.is_known()) {
            Some(habit) => Self {
                amount: Amount {
                    cpu: habit.cpu().unwrap_or_default() as f32 / 1e3,
                    memory: habit.memory().unwrap_or_default() as f32,
                },
                known: true,
                memory_peak: habit.memory_peak(),
            },
            None => {
                let ratio = usage_of_requests.unwrap_or(FIRST_RATIO) as f32;
                let amount = Amount { cpu: ratio * requested.cpu, memory: requested.memory };
                Self { amount, known: false, memory_peak: requested.memory }
            }
        }
    }

    /// The next 24 hours, `hour` being the one that runs. Where the workload was not seen at an hour, its mean stands in;
    /// where pods of it have ended, later hours count by the share that lives that long (as if lives were exponential).
    pub fn course(&self, habit: Option<&Habit>, hour: usize) -> PodCourse {
        let mut course = PodCourse { hours: [self.amount.cpu; HOURS], memory_peak: self.memory_peak };
        let Some(habit) = habit else { return course };
        if self.known {
            for (ahead, value) in course.hours.iter_mut().enumerate() {
                if let Some(milli) = habit.cpu_in(hour + ahead) {
                    *value = milli / 1e3;
                }
            }
        }
        if let Some(life) = habit.life_ms() {
            let lives_on = (-(HOUR_MS as f64) / life.max(1.0)).exp() as f32;
            let mut alive = lives_on.sqrt();
            for value in &mut course.hours {
                *value *= alive;
                alive *= lives_on;
            }
        }
        course
    }

    /// What the agent reads of the pod.
    pub fn facts(&self, habit: Option<&Habit>, request: Amount, low_priority: bool) -> PodFacts {
        PodFacts {
            request,
            expected: self.amount,
            known: self.known,
            hours_known: habit.map_or(0.0, |habit| habit.hours_known() as f32 / HOURS as f32),
            low_priority,
            life_hours: habit.and_then(Habit::life_ms).map_or(f32::NAN, |life| (life / HOUR_MS as f64) as f32),
        }
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
    fn without_history_requests_count_and_with_it_the_hours_that_were_seen() {
        let asked = Amount { cpu: 2.0, memory: 8.0 };
        let guess = Expected::of(None, asked, Some(0.25));
        assert_eq!((guess.amount, guess.known, guess.memory_peak), (Amount { cpu: 0.5, memory: 8.0 }, false, 8.0));
        assert_eq!(guess.course(None, 3).hours, [0.5; HOURS]);

        let mut habit = Habit::default();
        habit.take_in(5 * HOUR_MS, 1_000.0, 4.0);
        habit.take_in(6 * HOUR_MS, 3_000.0, 6.0);
        let seen = Expected::of(Some(&habit), asked, Some(0.25));
        assert_eq!((seen.amount, seen.known, seen.memory_peak), (Amount { cpu: 2.0, memory: 5.0 }, true, 6.0));
        let course = seen.course(Some(&habit), 5);
        assert_eq!((course.hours[0], course.hours[1], course.hours[2]), (1.0, 3.0, 2.0));
        assert!((seen.facts(Some(&habit), asked, false).hours_known - 2.0 / 24.0).abs() < 1e-6);

        // Half of the pods live for an hour: life = 1 h ÷ ln 2.
        habit.ended((HOUR_MS as f64 / 2.0_f64.ln()) as i64);
        let course = seen.course(Some(&habit), 5);
        assert!((course.hours[1] - 3.0 * 0.5 * 0.5_f32.sqrt()).abs() < 1e-4, "{}", course.hours[1]);
    }
}
