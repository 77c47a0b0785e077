//! Each strategy by hand, and what ends a job under all of them.

use proptest::{collection::vec, prelude::*};

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn external() -> FaultFacts {
    FaultFacts {
        kind: FaultKind::External,
        signature: "the disk is full".to_owned(),
        place: "sink".to_owned(),
        restored_from: None,
    }
}

fn trap(place: &str, restored_from: Option<u64>) -> FaultFacts {
    let (signature, restored_from) = ("unreachable".to_owned(), restored_from.map(CheckpointId));
    FaultFacts { kind: FaultKind::Trap, signature, place: place.to_owned(), restored_from }
}

/// 1 s, 1.5 s, … 60 s; anew after an hour.
fn exponential(jitter: f64, attempts: Option<u32>) -> RestartStrategy {
    RestartStrategy::ExponentialDelay {
        initial_delay: seconds(1),
        max_delay: seconds(60),
        multiplier: 1.5,
        reset_after: seconds(3_600),
        jitter,
        attempts,
    }
}

/// The milliseconds of the waits after failures at these seconds; None where it gives up.
fn waits(strategy: RestartStrategy, at: &[u64]) -> Vec<Option<u128>> {
    let mut policy = RestartPolicy::new(strategy, 7);
    at.iter()
        .map(|second| match policy.failed(seconds(*second), &external()) {
            Decision::RestartAfter(wait) => Some(wait.as_millis()),
            Decision::GiveUp { .. } => None,
        })
        .collect()
}

fn reason(decision: Decision) -> String {
    match decision {
        Decision::GiveUp { reason } => reason,
        Decision::RestartAfter(wait) => panic!("restarts after {wait:?}"),
    }
}

#[test]
fn none_gives_up() {
    let mut policy = RestartPolicy::new(RestartStrategy::None, 0);
    assert_eq!(reason(policy.failed(seconds(1), &external())), "the restart strategy is `none`");
}

#[test]
fn fixed_delay_counts_over_the_whole_run() {
    let once = RestartStrategy::FixedDelay { attempts: 1, delay: seconds(1) };
    assert_eq!(waits(once, &[0, 100_000]), [Some(1_000), None]);
    let strategy = RestartStrategy::FixedDelay { attempts: 3, delay: seconds(5) };
    assert_eq!(waits(strategy, &[0, 1_000, 9_999_999, 9_999_999]), [Some(5_000), Some(5_000), Some(5_000), None]);
}

#[test]
fn failure_rate_counts_within_its_interval() {
    let one_a_minute = RestartStrategy::FailureRate { failures: 1, interval: seconds(60), delay: seconds(1) };
    assert_eq!(waits(one_a_minute, &[0, 61, 121]), [Some(1_000), Some(1_000), None]);
    let strategy = RestartStrategy::FailureRate { failures: 2, interval: seconds(60), delay: seconds(3) };
    assert_eq!(waits(strategy, &[0, 30, 61, 92, 93]), [Some(3_000), Some(3_000), Some(3_000), Some(3_000), None]);
    let mut policy = RestartPolicy::new(strategy, 0);
    policy.failed(seconds(1), &external());
    policy.failed(seconds(2), &external());
    let expected = "it has failed 3 times within 60s; `restart.failures` allows 2 times";
    assert_eq!(reason(policy.failed(seconds(3), &external())), expected);
}

#[test]
fn exponential_delay_grows_to_its_bound_and_begins_anew() {
    let strategy = exponential(0.0, None);
    let expected = [1_000, 1_500, 2_250, 3_375].map(Some);
    assert_eq!(waits(strategy, &[0, 10, 20, 30]), expected);
    let many: Vec<u64> = (0..20).map(|at| at * 100).collect();
    assert_eq!(waits(strategy, &many).last(), Some(&Some(60_000)));
    // The hour counts from when the job began again.
    assert_eq!(waits(strategy, &[0, 3_600, 7_202]), [Some(1_000), Some(1_500), Some(1_000)]);
}

#[test]
fn exponential_delay_counts_until_it_begins_anew() {
    let strategy = exponential(0.0, Some(2));
    assert_eq!(waits(strategy, &[0, 10, 20]), [Some(1_000), Some(1_500), None]);
    assert_eq!(
        waits(strategy, &[0, 10, 5_000, 5_010, 5_020]),
        [Some(1_000), Some(1_500), Some(1_000), Some(1_500), None]
    );
}

#[test]
fn a_host_bug_ends_the_job() {
    let mut policy = RestartPolicy::new(exponential(0.1, None), 0);
    let bug = FaultFacts { kind: FaultKind::HostBug, ..trap("x", None) };
    assert_eq!(reason(policy.failed(seconds(0), &bug)), "wasmill itself is wrong, and would be again");
}

#[test]
fn the_same_fault_in_the_same_place_twice_ends_the_job() {
    let mut policy = RestartPolicy::new(exponential(0.1, None), 0);
    let mut restarts = |fault: &FaultFacts| matches!(policy.failed(seconds(0), fault), Decision::RestartAfter(_));
    let poison = trap("count, record 17", Some(3));
    assert!(restarts(&poison));
    assert!(restarts(&trap("count, record 18", Some(3))), "another place");
    assert!(restarts(&poison));
    assert!(restarts(&trap("count, record 17", Some(4))), "another checkpoint: it came further");
    assert!(restarts(&poison));
    assert!(restarts(&external()) && restarts(&external()), "what is outside may work the next time");
    let expected = "the same fault came in the same place (count, record 17) twice in a row from checkpoint 3";
    assert_eq!(reason(policy.failed(seconds(0), &poison)), expected);
    let mut policy = RestartPolicy::new(exponential(0.1, None), 0);
    policy.failed(seconds(0), &trap("x", None));
    assert!(reason(policy.failed(seconds(0), &trap("x", None))).ends_with("twice in a row from the beginning"));
}

proptest! {
    #[test]
    fn waits_stay_within_their_bounds_and_repeat_with_the_seed(
        seed in any::<u64>(),
        jitter in 0.0_f64..=1.0,
        multiplier in 1.0_f64..1e30,
        first in 1_u64..100,
        most in 1_u64..1_000,
        gaps in vec(0_u64..10_000, 1..40),
    ) {
        let strategy = RestartStrategy::ExponentialDelay {
            initial_delay: seconds(first),
            max_delay: seconds(most),
            multiplier,
            reset_after: seconds(3_600),
            jitter,
            attempts: None,
        };
        let (mut policy, mut again) = (RestartPolicy::new(strategy, seed), RestartPolicy::new(strategy, seed));
        let mut now = Duration::ZERO;
        let mut least = seconds(first.min(most)).mul_f64(1.0 - jitter);
        least = least.saturating_sub(Duration::from_micros(1));
        for gap in gaps {
            now += seconds(gap);
            let decision = policy.failed(now, &external());
            prop_assert_eq!(&decision, &again.failed(now, &external()));
            match decision {
                Decision::RestartAfter(wait) => {
                    prop_assert!(wait >= least && wait <= seconds(most), "{:?}", wait);
                    now += wait;
                }
                Decision::GiveUp { reason } => prop_assert!(false, "{}", reason),
            }
        }
    }

    /// Never more restarts in an interval than were allowed, and never fewer than could be.
    #[test]
    fn the_failure_rate_is_what_it_says(failures in 1_u32..5, gaps in vec(0_u64..40, 1..60)) {
        let strategy = RestartStrategy::FailureRate { failures, interval: seconds(60), delay: seconds(1) };
        let mut policy = RestartPolicy::new(strategy, 0);
        let mut at: Vec<u64> = Vec::new();
        for gap in gaps {
            at.push(at.last().unwrap_or(&0) + gap);
            let now = *at.last().expect("one was pushed");
            let recent = at.iter().filter(|then| now - **then <= 60).count();
            let restarts = matches!(policy.failed(seconds(now), &external()), Decision::RestartAfter(_));
            prop_assert_eq!(restarts, recent <= failures as usize);
        }
    }
}
