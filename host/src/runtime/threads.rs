//! Every task on a thread of its own.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Instant,
};

use crossbeam::sync::{Parker, Unparker};

use super::{
    Control, Supervisor,
    task::{Progress, Task},
};
use crate::stream::{Fault, FaultKind};
use std::sync::atomic::Ordering;

/// Runs tasks to their end. `tasks` come with what they sleep on; `wake_all` are the other ends. Polls `supervisor` on this thread about a hundred times a second until all have ended.
/// When one fails, the others are told to end, and the first fault is returned.
///
/// # Errors
/// The first fault of a task, or a host bug when a thread can't be had or unwinds.
pub fn run_on_threads(
    tasks: Vec<(Task, Parker)>,
    wake_all: &[Unparker],
    control: &Arc<Control>,
    supervisor: &mut dyn Supervisor,
) -> Result<(), Fault> {
    let (ended, ends) = crossbeam::channel::unbounded();
    let mut fault = None;
    let mut running = 0;
    thread::scope(|scope| {
        for (task, parker) in tasks {
            let ended = ended.clone();
            let name = task.name().to_owned();
            let spawned = thread::Builder::new().name(name.chars().take(15).collect()).spawn_scoped(scope, move || {
                let result = catch_unwind(AssertUnwindSafe(|| drive(task, &parker)))
                    .unwrap_or_else(|panic| Err(host_bug(&name, &*panic)));
                // The receiver lives as long as this scope.
                let _ = ended.send(result);
            });
            match spawned {
                Ok(_) => running += 1,
                Err(error) => {
                    fault = Some(Fault::new(FaultKind::External, format!("a thread can't be started: {error}")));
                    break;
                }
            }
        }
        let mut stopped = false;
        while running > 0 {
            if fault.is_some() {
                control.abort.store(true, Ordering::Relaxed);
            }
            let stop = control.stop.load(Ordering::Relaxed);
            if fault.is_some() || (stop && !stopped) {
                wake_all.iter().for_each(Unparker::unpark);
                stopped = stop;
            }
            if let Ok(result) = ends.recv_timeout(std::time::Duration::from_millis(10)) {
                running -= 1;
                if let Err(failed) = result {
                    fault.get_or_insert(failed);
                }
            }
            if fault.is_none()
                && let Err(failed) = supervisor.poll()
            {
                fault = Some(failed);
            }
        }
    });
    fault.map_or(Ok(()), Err)
}

fn drive(mut task: Task, parker: &Parker) -> Result<(), Fault> {
    let counters: Vec<_> = task.counters().cloned().collect();
    loop {
        match task.step()? {
            Progress::Worked => {}
            Progress::Done => return Ok(()),
            Progress::Idle(wait) => {
                let began = Instant::now();
                parker.park_timeout(wait);
                let time = began.elapsed();
                counters.iter().for_each(|counters| counters.idle_ns.add_time(time));
            }
            Progress::Blocked => {
                let began = Instant::now();
                // The receiver wakes this task; the bound is against a receiver that failed.
                parker.park_timeout(std::time::Duration::from_millis(100));
                let time = began.elapsed();
                counters.iter().for_each(|counters| counters.back_pressured_ns.add_time(time));
            }
        }
    }
}

fn host_bug(task: &str, panic: &(dyn Any + Send)) -> Fault {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Fault::new(
        FaultKind::HostBug,
        format!("wasmill itself failed in task {task}: {text}; please report this with the lines above"),
    )
}
