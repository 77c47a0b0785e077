//! Work that runs on the thread of whoever asks for it: for simulation.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Background, Work};

/// Runs work where it is called: at once, or piece by piece when a seed says so. No thread, no clock: the same calls with the same seed have the same effects.
pub struct Inline {
    state: Mutex<State>,
}

struct State {
    pending: VecDeque<Work>,
    ended: u64,
    /// None: everything runs at once.
    seed: Option<u64>,
}

impl Inline {
    /// Runs work when it is given.
    pub fn at_once() -> Self {
        Self::with(None)
    }

    /// Keeps work until [`Self::step`] runs it, or someone waits for it.
    pub fn seeded(seed: u64) -> Self {
        Self::with(Some(seed))
    }

    fn with(seed: Option<u64>) -> Self {
        Self { state: Mutex::new(State { pending: VecDeque::new(), ended: 0, seed }) }
    }

    /// Runs the next piece, or not, as the seed says. Gives whether one was run.
    pub fn step(&self) -> bool {
        self.lock().draw() && self.run_next()
    }

    /// Whether work waits to be run.
    pub fn has_work(&self) -> bool {
        !self.lock().pending.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_next(&self) -> bool {
        // Not under the lock: work may give more work away.
        let Some(work) = self.lock().pending.pop_front() else { return false };
        // As on a thread: what panics tells so in its destructors.
        let _ = catch_unwind(AssertUnwindSafe(work));
        self.lock().ended += 1;
        true
    }
}

impl State {
    /// One bit of SplitMix64 (Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators").
    fn draw(&mut self) -> bool {
        let Some(seed) = &mut self.seed else { return true };
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) & 1 == 1
    }
}

impl Background for Inline {
    fn spawn(&self, work: Work) -> io::Result<()> {
        let at_once = {
            let mut state = self.lock();
            state.pending.push_back(work);
            state.seed.is_none()
        };
        if at_once {
            self.run_next();
        }
        Ok(())
    }

    fn ended(&self) -> u64 {
        self.lock().ended
    }

    fn wait(&self, ended: u64, _: Duration) -> Duration {
        if self.ended() <= ended {
            self.run_next();
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn order(background: &Inline, pieces: u32) -> Vec<String> {
        let log = Arc::new(Mutex::new(Vec::new()));
        for number in 0..pieces {
            let log = Arc::clone(&log);
            background.spawn(Box::new(move || log.lock().expect("not poisoned").push(number.to_string()))).expect("ok");
        }
        for _ in 0..1_000 {
            if !background.step() {
                log.lock().expect("not poisoned").push("-".into());
            }
            if background.ended() == u64::from(pieces) {
                break;
            }
        }
        Arc::try_unwrap(log).expect("all work has run").into_inner().expect("not poisoned")
    }

    #[test]
    fn at_once_means_before_spawn_returns() {
        let background = Inline::at_once();
        let (sender, receiver) = crossbeam::channel::unbounded();
        background.spawn(Box::new(move || sender.send(1).expect("the receiver is there"))).expect("ok");
        assert_eq!(receiver.try_recv(), Ok(1));
        background.spawn(Box::new(|| panic!("this piece panics"))).expect("ok");
        assert_eq!(background.ended(), 2);
    }

    #[test]
    fn the_same_seed_runs_work_at_the_same_steps() {
        let once = order(&Inline::seeded(7), 20);
        assert_eq!(once, order(&Inline::seeded(7), 20));
        assert_ne!(once, order(&Inline::seeded(8), 20));
        let numbers: Vec<_> = once.into_iter().filter(|entry| entry != "-").collect();
        assert_eq!(numbers, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn waiting_runs_the_next_piece() {
        let background = Inline::seeded(1);
        background.spawn(Box::new(|| {})).expect("ok");
        assert_eq!(background.wait(0, Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(background.ended(), 1);
    }
}
