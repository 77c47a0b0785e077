//! Whether a job that failed begins again from its last checkpoint, and when (Flink: "task failure recovery").
//!
//! The strategies are Flink's: none, fixed delay, failure rate, exponential delay. Beyond them, two faults end a job at once under every strategy: a host bug, and
//! the same fault in the same place twice in a row from the same checkpoint. The second would come again for ever: a poison record is read again after each restore. What fails
//! outside, a disk or a network, may well work the next time, so it only waits; it also says nothing about a poison record, and does not come between two of its faults.
//!
//! Pure: time and the seed of the jitter are arguments.

use std::{collections::VecDeque, time::Duration};

use crate::stream::{CheckpointId, FaultKind, SplitMix64};

/// When a job begins again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RestartStrategy {
    /// Never.
    None,
    /// After the same wait each time, for so many times.
    FixedDelay {
        /// How many times in the whole run.
        attempts: u32,
        /// The wait.
        delay: Duration,
    },
    /// After the same wait each time, unless it failed too often.
    FailureRate {
        /// How many failures within `interval` are not too many.
        failures: u32,
        /// The time in which they are counted.
        interval: Duration,
        /// The wait.
        delay: Duration,
    },
    /// After waits that grow, until it has run well for a while.
    ExponentialDelay {
        /// The first wait.
        initial_delay: Duration,
        /// The longest wait.
        max_delay: Duration,
        /// Each wait is so many times the one before; at least 1.
        multiplier: f64,
        /// The time without a failure after which the waits and the count of attempts begin anew.
        reset_after: Duration,
        /// The part of a wait by which chance makes it longer or shorter; 0 to 1.
        jitter: f64,
        /// How many times before the waits begin anew. None: any number.
        attempts: Option<u32>,
    },
}

/// What is known of a fault that ended an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultFacts {
    /// Whose it is.
    pub kind: FaultKind,
    /// What happened, without anything that differs from time to time.
    pub signature: String,
    /// Where it happened: the task, and the record as far as it is known.
    pub place: String,
    /// What the attempt was restored from, and with it where its sources began. None: it began at the beginning.
    pub restored_from: Option<CheckpointId>,
}

/// What becomes of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It begins again after this wait.
    RestartAfter(Duration),
    /// It has failed.
    GiveUp {
        /// Why, for people.
        reason: String,
    },
}

/// Decides about the faults of one run.
#[derive(Clone, Debug)]
pub struct RestartPolicy {
    strategy: RestartStrategy,
    random: SplitMix64,
    /// The last fault that was not external.
    poison: Option<FaultFacts>,
    /// Restarts; under the exponential delay, since the waits began anew.
    restarts: u32,
    /// When the last failures were, the oldest first; no more than the failure rate asks about.
    failures: VecDeque<Duration>,
    /// The last wait before chance changed it, and when it was over.
    last: Option<(Duration, Duration)>,
}

impl RestartPolicy {
    /// `seed` decides the jitter.
    pub fn new(strategy: RestartStrategy, seed: u64) -> Self {
        let random = SplitMix64::new(seed);
        Self { strategy, random, poison: None, restarts: 0, failures: VecDeque::new(), last: None }
    }

    /// An attempt failed at `now`, the time since the run began. To be called once for each attempt.
    pub fn failed(&mut self, now: Duration, fault: &FaultFacts) -> Decision {
        match self.ends_at_once(fault) {
            Some(reason) => Decision::GiveUp { reason },
            None => self.by_strategy(now),
        }
    }

    fn ends_at_once(&mut self, fault: &FaultFacts) -> Option<String> {
        match fault.kind {
            FaultKind::HostBug => Some("wasmill itself is wrong, and would be again".to_owned()),
            FaultKind::External => None,
            _ if self.poison.as_ref() == Some(fault) => {
                let from = match fault.restored_from {
                    Some(id) => format!("checkpoint {id}"),
                    None => "the beginning".to_owned(),
                };
                Some(format!("the same fault came in the same place ({}) twice in a row from {from}", fault.place))
            }
            _ => {
                self.poison = Some(fault.clone());
                None
            }
        }
    }

    fn by_strategy(&mut self, now: Duration) -> Decision {
        match self.strategy {
            RestartStrategy::None => give_up("the restart strategy is `none`".to_owned()),
            RestartStrategy::FixedDelay { attempts, delay } => self.counted(Some(attempts), delay),
            RestartStrategy::FailureRate { failures, interval, delay } => self.rated(now, failures, interval, delay),
            RestartStrategy::ExponentialDelay {
                initial_delay,
                max_delay,
                multiplier,
                reset_after,
                jitter,
                attempts,
            } => {
                let wait = self.backed_off(now, initial_delay, max_delay, multiplier, reset_after);
                let after = self.jittered(wait, jitter).min(max_delay);
                self.last = Some((wait, now.saturating_add(after)));
                self.counted(attempts, after)
            }
        }
    }

    fn counted(&mut self, attempts: Option<u32>, delay: Duration) -> Decision {
        if let Some(attempts) = attempts.filter(|attempts| self.restarts >= *attempts) {
            return give_up(format!(
                "it has been restarted {} already, and `restart.attempts` allows no more",
                times(attempts)
            ));
        }
        self.restarts = self.restarts.saturating_add(1);
        Decision::RestartAfter(delay)
    }

    fn rated(&mut self, now: Duration, failures: u32, interval: Duration, delay: Duration) -> Decision {
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|at| now.saturating_sub(*at) > interval) {
            self.failures.pop_front();
        }
        if self.failures.len() > failures as usize {
            let (count, rate) = (times(self.failures.len() as u32), times(failures));
            return give_up(format!("it has failed {count} within {interval:?}; `restart.failures` allows {rate}"));
        }
        Decision::RestartAfter(delay)
    }

    /// The wait before chance changes it. Begins anew if the job ran well for `reset_after`.
    fn backed_off(
        &mut self,
        now: Duration,
        first: Duration,
        most: Duration,
        multiplier: f64,
        reset_after: Duration,
    ) -> Duration {
        match self.last {
            Some((wait, over)) if now.saturating_sub(over) < reset_after => scaled(wait, multiplier).min(most),
            _ => {
                self.restarts = 0;
                first.min(most)
            }
        }
    }

    /// Longer or shorter by chance.
    fn jittered(&mut self, wait: Duration, jitter: f64) -> Duration {
        let part = self.random.draw() as f64 / u64::MAX as f64;
        scaled(wait, 1.0 + jitter * (2.0 * part - 1.0))
    }
}

/// Without the panic of a product that no duration holds.
fn scaled(wait: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64(wait.as_secs_f64() * by).unwrap_or(Duration::MAX)
}

fn give_up(reason: String) -> Decision {
    Decision::GiveUp { reason }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        _ => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests;
