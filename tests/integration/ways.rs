//! The ways in which one job is run when its results must not depend on them: parallelism, sizes of batches, where state lives and how much memory it has, threads and
//! the seeded thread.
//!
//! Not all combinations, which would take minutes, but so many that any two values of different settings come together at least once: what goes wrong mostly takes two.

use std::fmt;

use wasmill::job::Executor;

use crate::harness::Job;

/// Numbers of tasks.
pub(crate) const PARALLELISMS: [u32; 3] = [1, 2, 5];
const BATCH_RECORDS: [usize; 3] = [1, 7, 1024];
const EXECUTORS: [Executor; 2] = [Executor::Threads, Executor::Seeded(0x5eed)];
const PLACES: [Place; 4] = [Place::Memory, Place::Disk("256MiB"), Place::Disk("8MiB"), Place::Disk(TINY_CACHE)];

/// So little memory for state that all of it goes to disk whenever it may.
const TINY_CACHE: &str = "1B";

/// Where state lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In memory, all of it.
    Memory,
    /// On disk, except for what fits into so much memory.
    Disk(&'static str),
}

/// One of the ways.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// The job's parallelism.
    pub(crate) parallelism: u32,
    /// `batch.records`.
    pub(crate) records: usize,
    /// Threads, or one in an order that a number decides.
    pub(crate) executor: Executor,
    /// Where state lives.
    pub(crate) place: Place,
}

impl Way {
    /// The job, to be run in this way.
    pub(crate) fn of(&self, job: &Job) -> Job {
        let job = job.clone().set("parallelism", self.parallelism).set("batch.records", self.records);
        self.place.of(&job).on(self.executor)
    }

    /// Whether there is no memory to speak of for state.
    pub(crate) fn is_tiny(&self) -> bool {
        self.place == Place::Disk(TINY_CACHE)
    }
}

impl Place {
    /// The job, with its state in this place.
    pub(crate) fn of(self, job: &Job) -> Job {
        match self {
            Self::Memory => job.clone().set("state.backend", "memory"),
            Self::Disk(cache) => job.clone().set("state.backend", "fjall").set("state.cache", cache),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parallelism, records, executor, place } = self;
        write!(f, "parallelism {parallelism}, batches of {records}, {executor:?}, state in {place:?}")
    }
}

/// Ways at these parallelisms.
pub(crate) fn ways(parallelisms: &[u32]) -> Vec<Way> {
    let mut ways = Vec::new();
    for (row, place) in PLACES.into_iter().enumerate() {
        for (column, parallelism) in parallelisms.iter().enumerate() {
            // Going round both at the same time meets all pairs of them, since 3 and 2 have no common divisor.
            let diagonal = row + column;
            ways.push(Way {
                parallelism: *parallelism,
                records: BATCH_RECORDS[diagonal % BATCH_RECORDS.len()],
                executor: EXECUTORS[diagonal % EXECUTORS.len()],
                place,
            });
        }
    }
    ways
}

#[test]
fn any_two_values_of_different_settings_meet() {
    let ways = ways(&PARALLELISMS);
    let settings = |way: &Way| {
        let at = |found: Option<usize>| found.expect("the value is one of the list");
        [
            at(PARALLELISMS.iter().position(|it| *it == way.parallelism)),
            at(BATCH_RECORDS.iter().position(|it| *it == way.records)),
            at(EXECUTORS.iter().position(|it| *it == way.executor)),
            at(PLACES.iter().position(|it| *it == way.place)),
        ]
    };
    let sizes = [PARALLELISMS.len(), BATCH_RECORDS.len(), EXECUTORS.len(), PLACES.len()];
    for (first, second) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        let met: std::collections::BTreeSet<_> =
            ways.iter().map(settings).map(|way| (way[first], way[second])).collect();
        assert_eq!(met.len(), sizes[first] * sizes[second], "settings {first} and {second}");
    }
}
