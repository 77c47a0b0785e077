//! A helper thread, started by the first piece of work.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam::channel::{Sender, unbounded};

use super::{Background, Work};

/// One helper thread. When this is dropped, work that has not begun is dropped too, and work that runs is waited for.
pub struct Threads {
    name: String,
    helper: Mutex<Option<Helper>>,
    progress: Arc<Progress>,
}

struct Helper {
    work: Sender<Work>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    one_more: Condvar,
}

#[derive(Default)]
struct State {
    ended: u64,
    closed: bool,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threads {
    /// A helper whose thread will have this name; the system shows its first 15 characters.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), helper: Mutex::new(None), progress: Arc::default() }
    }

    fn start(&self) -> io::Result<Helper> {
        let (work, queue) = unbounded::<Work>();
        let progress = Arc::clone(&self.progress);
        let name = self.name.chars().take(15).collect();
        let thread = thread::Builder::new().name(name).spawn(move || {
            for work in queue {
                if progress.lock().closed {
                    break;
                }
                // What panics tells so in its destructors; the helper is there for what comes next.
                let _ = catch_unwind(AssertUnwindSafe(work));
                progress.lock().ended += 1;
                progress.one_more.notify_all();
            }
        })?;
        Ok(Helper { work, thread })
    }
}

impl Background for Threads {
    fn spawn(&self, work: Work) -> io::Result<()> {
        let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
        let helper = match &mut *helper {
            Some(helper) => helper,
            none => none.insert(self.start()?),
        };
        helper.work.send(work).map_err(|_| io::Error::other("the helper thread has ended"))
    }

    fn ended(&self) -> u64 {
        self.progress.lock().ended
    }

    fn wait(&self, ended: u64, limit: Duration) -> Duration {
        let began = Instant::now();
        let state = self.progress.lock();
        let waited = self.progress.one_more.wait_timeout_while(state, limit, |state| state.ended <= ended);
        drop(waited);
        began.elapsed()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let helper = self.helper.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Helper { work, thread }) = helper else { return };
        self.progress.lock().closed = true;
        drop(work);
        // Work may hold the last reference to its own helper, which can't wait for itself.
        if thread.thread().id() != thread::current().id() {
            // Panics were caught.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn work_runs_in_its_order_on_one_thread_and_a_panic_ends_one_piece_only() {
        let threads = Threads::new("a helper with a long name");
        let seen = Arc::new(Mutex::new(Vec::new()));
        for number in 0..100 {
            let seen = Arc::clone(&seen);
            let work = move || {
                assert_eq!(thread::current().name(), Some("a helper with a"));
                assert!(number != 50, "this piece panics");
                seen.lock().expect("not poisoned").push(number);
            };
            threads.spawn(Box::new(work)).expect("a thread");
        }
        while threads.ended() < 100 {
            threads.wait(threads.ended(), Duration::from_secs(10));
        }
        let expected: Vec<_> = (0..100).filter(|number| *number != 50).collect();
        assert_eq!(*seen.lock().expect("not poisoned"), expected);
    }

    #[test]
    fn waiting_ends_with_its_limit_and_at_once_when_there_was_progress() {
        let threads = Threads::new("helper");
        assert!(threads.wait(0, Duration::from_millis(20)) >= Duration::from_millis(20));
        threads.spawn(Box::new(|| {})).expect("a thread");
        assert!(threads.wait(0, Duration::from_secs(60)) < Duration::from_secs(50));
        assert!(threads.wait(0, Duration::from_secs(60)) < Duration::from_secs(50));
    }

    #[test]
    fn what_has_not_begun_is_dropped_with_the_helper() {
        struct Told(Arc<AtomicU64>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let dropped = Arc::new(AtomicU64::new(0));
        let threads = Threads::new("helper");
        let (go, gone) = crossbeam::channel::bounded::<()>(0);
        threads.spawn(Box::new(move || assert!(gone.recv().is_err()))).expect("a thread");
        for _ in 0..3 {
            let told = Told(Arc::clone(&dropped));
            threads.spawn(Box::new(move || drop(told))).expect("a thread");
        }
        let releaser = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            drop(go);
        });
        drop(threads);
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        releaser.join().expect("it only sleeps");
    }
}
