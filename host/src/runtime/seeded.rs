//! All tasks on one thread, called in an order that a seed decides: the same seed gives the same run.

use std::{sync::Arc, time::Duration};

use super::{
    Clock, Control, ManualClock, Supervisor,
    task::{Progress, Task},
};
use crate::stream::{Fault, FaultKind};
use std::sync::atomic::Ordering;

/// Runs tasks to their end on this thread. Time stands still while any task can work, and moves on to the next thing that a task waits for otherwise.
///
/// # Errors
/// The first fault of a task; a host bug when no task can ever go on.
pub fn run_seeded(
    mut tasks: Vec<Task>,
    seed: u64,
    clock: &ManualClock,
    control: &Arc<Control>,
    supervisor: &mut dyn Supervisor,
) -> Result<(), Fault> {
    let mut random = SplitMix(seed);
    let mut waits: Vec<Option<Progress>> = vec![None; tasks.len()];
    let mut jumps = 0;
    while !tasks.is_empty() {
        let ready: Vec<usize> = (0..tasks.len()).filter(|index| waits[*index].is_none()).collect();
        if ready.is_empty() {
            let next = waits.iter().filter_map(|wait| match wait {
                Some(Progress::Idle(wait)) => Some(*wait),
                _ => None,
            });
            let supervised = supervisor.wake_at().map(|at| at.saturating_sub(clock.elapsed()));
            let next = next.chain(supervised);
            jumps += 1;
            let Some(next) = next.min().filter(|_| jumps < 1_000_000) else {
                return Err(Fault::new(FaultKind::HostBug, "every task waits for another"));
            };
            clock.advance(next.max(Duration::from_micros(1)));
            waits.fill(None);
            supervisor.poll()?;
            continue;
        }
        let willing: Vec<usize> = ready.iter().copied().filter(|index| !supervisor.stalls(*index)).collect();
        // Where all stall, time would stand still.
        let callable = if willing.is_empty() { ready } else { willing };
        let index = callable[(random.next() % callable.len() as u64) as usize];
        match tasks[index].step() {
            Ok(Progress::Worked) => {
                jumps = 0;
                // It may have given others something, or room.
                for (other, wait) in waits.iter_mut().enumerate() {
                    if matches!(wait, Some(Progress::Blocked)) || tasks[other].has_input() {
                        *wait = None;
                    }
                }
            }
            Ok(Progress::Done) => {
                tasks.swap_remove(index);
                waits.swap_remove(index);
                waits.fill(None);
            }
            Ok(wait) => waits[index] = Some(wait),
            Err(fault) => {
                control.abort.store(true, Ordering::Relaxed);
                return Err(fault);
            }
        }
        if supervisor.poll()? {
            // It may have asked for something, or let tasks go.
            waits.fill(None);
        }
    }
    Ok(())
}

/// Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators".
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
