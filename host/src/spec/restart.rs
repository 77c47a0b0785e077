//! `[restart]`: what becomes of a job that fails.

use std::time::Duration;

use humantime::format_duration;

use super::{
    At, CheckpointSettings, nearest,
    section::{Field, Section},
};
use crate::checkpoint::RestartStrategy;

/// Restarts under a fixed delay when the file does not say how many; this and all that follows as in Flink.
const ATTEMPTS_DEFAULT: u32 = 1;

/// The wait under a fixed delay and under a failure rate.
const DELAY_DEFAULT: Duration = Duration::from_secs(1);

/// Failures within the interval that are not too many.
const FAILURES_DEFAULT: u32 = 1;

/// The time in which failures are counted.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// The first wait under an exponential delay.
const INITIAL_DELAY_DEFAULT: Duration = Duration::from_secs(1);

/// The longest one.
const MAX_DELAY_DEFAULT: Duration = Duration::from_secs(60);

/// Each wait is so many times the one before.
const MULTIPLIER_DEFAULT: f64 = 1.5;

/// The time without a failure after which waits begin anew.
const RESET_AFTER_DEFAULT: Duration = Duration::from_secs(3600);

/// The part of a wait that chance decides.
const JITTER_DEFAULT: f64 = 0.1;

const STRATEGIES: [(&str, Strategy); 4] = [
    ("none", Strategy::None),
    ("fixed-delay", Strategy::FixedDelay),
    ("failure-rate", Strategy::FailureRate),
    ("exponential-delay", Strategy::ExponentialDelay),
];

/// The keys that only some strategies have, and which.
const KEYS_OF_STRATEGIES: [(&[&str], &[Strategy]); 4] = [
    (&["attempts"], &[Strategy::FixedDelay, Strategy::ExponentialDelay]),
    (&["delay"], &[Strategy::FixedDelay, Strategy::FailureRate]),
    (&["failures", "interval"], &[Strategy::FailureRate]),
    (&["initial-delay", "max-delay", "multiplier", "reset-after", "jitter"], &[Strategy::ExponentialDelay]),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strategy {
    None,
    FixedDelay,
    FailureRate,
    ExponentialDelay,
}

/// What becomes of a job that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestartSettings {
    /// When it begins again. Where the file does not say it, Flink's rule holds: by exponential delay with checkpoints, never without.
    pub strategy: RestartStrategy,
}

impl RestartSettings {
    /// Those of a job that does not say any.
    pub(super) fn default_of(checkpoint: Option<&CheckpointSettings>) -> Self {
        let strategy = match checkpoint {
            None => RestartStrategy::None,
            Some(_) => RestartStrategy::ExponentialDelay {
                initial_delay: INITIAL_DELAY_DEFAULT,
                max_delay: MAX_DELAY_DEFAULT,
                multiplier: MULTIPLIER_DEFAULT,
                reset_after: RESET_AFTER_DEFAULT,
                jitter: JITTER_DEFAULT,
                attempts: None,
            },
        };
        Self { strategy }
    }
}

pub(super) fn read(field: Field<'_>) -> Option<RestartSettings> {
    let mut section = field.section("`restart`", "{ strategy = \"fixed-delay\" }")?;
    let named = section.has("strategy");
    let strategy = section.optional("strategy", |field| field.word(&STRATEGIES, &[]));
    // Of a strategy that can't be read nobody knows which keys it has.
    let strategy = match strategy {
        Some(strategy) => strategy.value,
        None if named => return None,
        None => Strategy::ExponentialDelay,
    };
    for (keys, owners) in KEYS_OF_STRATEGIES.iter().filter(|(_, owners)| !owners.contains(&strategy)) {
        let owners: Vec<&str> =
            STRATEGIES.iter().filter(|(_, owner)| owners.contains(owner)).map(|(name, _)| *name).collect();
        let noun = if owners.len() == 1 { "strategy" } else { "strategies" };
        section.refuse_keys(keys, &format!("goes with the {noun} {} only", nearest::listed(owners, "and")));
    }
    let strategy = match strategy {
        Strategy::None => Some(RestartStrategy::None),
        Strategy::FixedDelay => Some(read_fixed_delay(&mut section)),
        Strategy::FailureRate => Some(read_failure_rate(&mut section)),
        Strategy::ExponentialDelay => read_exponential_delay(&mut section),
    };
    section.finish();
    Some(RestartSettings { strategy: strategy? })
}

fn read_fixed_delay(section: &mut Section<'_>) -> RestartStrategy {
    RestartStrategy::FixedDelay {
        attempts: value_or(read_attempts(section), ATTEMPTS_DEFAULT),
        delay: value_or(section.optional("delay", Field::duration), DELAY_DEFAULT),
    }
}

fn read_failure_rate(section: &mut Section<'_>) -> RestartStrategy {
    RestartStrategy::FailureRate {
        failures: value_or(section.optional("failures", |field| field.whole(1..=u32::MAX)), FAILURES_DEFAULT),
        interval: value_or(section.optional("interval", Field::duration), INTERVAL_DEFAULT),
        delay: value_or(section.optional("delay", Field::duration), DELAY_DEFAULT),
    }
}

fn read_exponential_delay(section: &mut Section<'_>) -> Option<RestartStrategy> {
    let first = section.optional("initial-delay", Field::duration);
    let most = section.optional("max-delay", Field::duration);
    let multiplier = section.optional("multiplier", |field| field.number(1.0..=f64::MAX));
    let reset_after = section.optional("reset-after", Field::duration);
    let jitter = section.optional("jitter", |field| field.number(0.0..=1.0));
    let attempts = read_attempts(section).map(|attempts| attempts.value);
    let place = first.as_ref().or(most.as_ref()).map(|delay| delay.at.clone());
    let (initial_delay, max_delay) = (value_or(first, INITIAL_DELAY_DEFAULT), value_or(most, MAX_DELAY_DEFAULT));
    if initial_delay > max_delay {
        let (first, most) = (format_duration(initial_delay), format_duration(max_delay));
        let why = format!("`initial-delay` is {first}, more than `max-delay`, which is {most}");
        section.scope.refuse(&place.unwrap_or_else(|| section.at.clone()), why);
        return None;
    }
    Some(RestartStrategy::ExponentialDelay {
        initial_delay,
        max_delay,
        multiplier: value_or(multiplier, MULTIPLIER_DEFAULT),
        reset_after: value_or(reset_after, RESET_AFTER_DEFAULT),
        jitter: value_or(jitter, JITTER_DEFAULT),
        attempts,
    })
}

fn read_attempts(section: &mut Section<'_>) -> Option<At<u32>> {
    section.optional("attempts", |field| field.whole(1..=u32::MAX))
}

fn value_or<T>(read: Option<At<T>>, default: T) -> T {
    read.map_or(default, |read| read.value)
}
