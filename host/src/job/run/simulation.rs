//! What a simulation has beside a seed: a storage that fails, a crash, and work off the record path that gets on when the seed says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    background::{Background, Inline},
    checkpoint::Storage,
    stream::SplitMix64,
};

/// What goes wrong in a run on purpose.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Decides when work off the record path gets on.
    pub seed: u64,
    /// Where checkpoints lie, whatever the job file says.
    pub storage: Arc<dyn Storage>,
    /// After so many steps the process crashes: the run ends, and nothing is tidied up.
    pub crash_after: Option<u64>,
}

/// All places where work off the record path runs, in simulation.
pub(super) struct Backgrounds(Mutex<State>);

struct State {
    random: Option<SplitMix64>,
    all: Vec<Arc<Inline>>,
}

impl Backgrounds {
    /// Without a seed, work runs at once.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(State { random: seed.map(SplitMix64::new), all: Vec::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more place.
    pub(super) fn make(&self) -> Arc<dyn Background> {
        let mut state = self.lock();
        let Some(seed) = state.random.as_mut().map(SplitMix64::draw) else { return Arc::new(Inline::at_once()) };
        let inline = Arc::new(Inline::seeded(seed));
        state.all.push(Arc::clone(&inline));
        inline
    }

    /// Lets one of them get on. Returns whether anything ran.
    pub(super) fn step(&self) -> bool {
        let chosen = {
            let mut state = self.lock();
            let count = state.all.len() as u64;
            match (&mut state.random, count) {
                (Some(random), 1..) => Some(random.draw() % count),
                _ => None,
            }
        };
        // Not under the lock: work may make others.
        let chosen = chosen.map(|index| Arc::clone(&self.lock().all[index as usize]));
        chosen.is_some_and(|inline| inline.step())
    }

    /// The attempt has ended: what is left of its work never runs.
    pub(super) fn forget(&self) {
        self.lock().all.clear();
    }
}
