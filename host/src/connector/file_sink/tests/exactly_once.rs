//! Whatever happens between checkpoints, the folder has exactly the lines of those that were completed, each once.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{connector::Prepared, stream::CheckpointId};

/// What happens to a job.
#[derive(Clone, Debug)]
enum Act {
    /// A writer gets so many lines.
    Write(usize, usize),
    /// The input pauses.
    Flush(usize),
    /// A barrier reaches all writers.
    Barrier(Outcome),
    /// What is complete is committed, perhaps once more.
    Commit,
    /// All writers are lost after a barrier has reached some of them and a part of the last commit is done; the job goes on from the newest checkpoint.
    Crash { reached: usize, how: Crash, tasks: u32 },
    /// The job goes back by so many checkpoints and discards what came later.
    GoBack(usize),
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The checkpoint is complete, and not yet committed.
    Complete,
    /// It fails: what was set aside belongs to the next one.
    Fails,
}

#[derive(Clone, Copy, Debug)]
enum Crash {
    /// In the same process.
    Restart,
    /// Nobody cleans up.
    Kill,
}

fn act() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![3 => Just(Outcome::Complete), 1 => Just(Outcome::Fails)];
    let how = prop_oneof![Just(Crash::Restart), Just(Crash::Kill)];
    prop_oneof![
        8 => (0_usize..6, 1_usize..5).prop_map(|(writer, lines)| Act::Write(writer, lines)),
        1 => (0_usize..6).prop_map(Act::Flush),
        4 => outcome.prop_map(Act::Barrier),
        3 => Just(Act::Commit),
        2 => (0_usize..6, how, 1_u32..4).prop_map(|(reached, how, tasks)| Act::Crash { reached, how, tasks }),
        1 => (0_usize..3).prop_map(Act::GoBack),
    ]
}

/// What a manifest has of the sink, and what is true of it.
#[derive(Clone)]
struct Checkpoint {
    id: CheckpointId,
    transactions: Vec<Transaction>,
    /// All lines up to it.
    lines: Vec<String>,
}

/// A job with one file sink, whose tasks write to two inputs each.
struct Job<'a> {
    folder: &'a TempDir,
    part_bytes: u64,
    sink: FileSink,
    writers: Vec<Box<dyn SinkWriter>>,
    /// Number of the next line: no two are the same.
    line: u32,
    /// Number of the last checkpoint.
    last: CheckpointId,
    checkpoints: Vec<Checkpoint>,
    committed: bool,
    /// What checkpoints that failed have set aside.
    set_aside: Vec<Transaction>,
    /// Lines since the last complete checkpoint.
    lines: Vec<String>,
}

impl<'a> Job<'a> {
    fn start(folder: &'a TempDir, part_bytes: u64) -> Self {
        let mut job = Self {
            folder,
            part_bytes,
            sink: sink(folder, Format::Raw, part_bytes),
            writers: Vec::new(),
            line: 0,
            last: CheckpointId(0),
            checkpoints: Vec::new(),
            committed: true,
            set_aside: Vec::new(),
            lines: Vec::new(),
        };
        job.restore(2, None);
        job
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Write(writer, count) => self.write(writer, count),
            Act::Flush(writer) => {
                let index = writer % self.writers.len();
                self.writers[index].flush().expect("the disk is fine");
            }
            Act::Barrier(outcome) => self.barrier(outcome),
            Act::Commit => self.commit(),
            Act::Crash { reached, how, tasks } => self.crash(reached, how, tasks),
            Act::GoBack(by) => self.go_back(by),
        }
        let visible = if self.committed { self.checkpoints.last() } else { self.checkpoints.iter().rev().nth(1) };
        assert_eq!(self.visible(), visible.map(|checkpoint| checkpoint.lines.clone()).unwrap_or_default());
    }

    fn write(&mut self, writer: usize, count: usize) {
        let first = self.line;
        self.line += count as u32;
        let lines: Vec<String> = (first..self.line).map(|line| format!("line {line:06}")).collect();
        let index = writer % self.writers.len();
        self.writers[index].write(&batch(&lines)).expect("the disk is fine");
        self.lines.extend(lines);
    }

    /// A barrier reaches that many writers.
    fn reach(&mut self, writers: usize) {
        self.last = self.last.next();
        for writer in self.writers.iter_mut().take(writers) {
            let Prepared { transactions, work } = writer.prepare_commit(self.last).expect("the disk is fine");
            work.map_or(Ok(()), |work| work()).expect("the disk is fine");
            self.set_aside.extend(transactions);
        }
    }

    fn barrier(&mut self, outcome: Outcome) {
        self.reach(usize::MAX);
        if let Outcome::Fails = outcome {
            return;
        }
        // The host commits one checkpoint before the next is complete.
        self.commit();
        let mut lines = self.checkpoints.last().map(|checkpoint| checkpoint.lines.clone()).unwrap_or_default();
        lines.append(&mut self.lines);
        lines.sort_unstable();
        let transactions = std::mem::take(&mut self.set_aside);
        self.checkpoints.push(Checkpoint { id: self.last, transactions, lines });
        self.committed = false;
    }

    fn commit(&mut self) {
        if let Some(checkpoint) = self.checkpoints.last() {
            self.sink.commit(&checkpoint.transactions).expect("all is there");
        }
        self.committed = true;
    }

    fn crash(&mut self, reached: usize, how: Crash, tasks: u32) {
        if let (false, Some(checkpoint)) = (self.committed, self.checkpoints.last()) {
            let begun = &checkpoint.transactions[..reached.min(checkpoint.transactions.len())];
            self.sink.commit(begun).expect("all is there");
        }
        self.reach(reached);
        match how {
            Crash::Restart => self.writers.clear(),
            Crash::Kill => {
                self.writers.drain(..).for_each(std::mem::forget);
                self.sink = sink(self.folder, Format::Raw, self.part_bytes);
                fs::write(self.sink.folder.join(".part-lock.inprogress"), "").expect("the disk is fine");
            }
        }
        self.restore(tasks, None);
    }

    fn go_back(&mut self, by: usize) {
        self.writers.clear();
        self.commit();
        let by = by.min(self.checkpoints.len().saturating_sub(1));
        let later: Vec<_> = self.checkpoints.drain(self.checkpoints.len() - by..).collect();
        let Some(target) = self.checkpoints.last().cloned() else { return self.restore(2, None) };
        if later.iter().any(|checkpoint| !checkpoint.transactions.is_empty()) {
            let refused = self.sink.prepare(Commits::Restored {
                checkpoint: target.id,
                transactions: &target.transactions,
                discard_after: None,
            });
            assert!(refused.expect_err("later results are there").to_string().contains("--discard-results-after"));
        }
        self.restore(2, Some(target.id));
    }

    fn restore(&mut self, tasks: u32, discard_after: Option<CheckpointId>) {
        let commits = self.checkpoints.last().map_or(Commits::Fresh, |checkpoint| Commits::Restored {
            checkpoint: checkpoint.id,
            transactions: &checkpoint.transactions,
            discard_after,
        });
        self.sink.prepare(commits).expect("all is there");
        self.committed = true;
        self.set_aside.clear();
        self.lines.clear();
        assert!(found(&self.sink).iter().all(|(name, _)| !name.starts_with('.')), "nothing is left hidden");
        let writer = |task| self.sink.writer(context(task, tasks), &Schema::text()).expect("a writer opens");
        self.writers = (0..tasks).flat_map(|task| [task, task]).map(writer).collect();
    }

    /// The lines of all visible parts, sorted.
    fn visible(&self) -> Vec<String> {
        let parts = found(&self.sink).into_iter().filter(|(name, _)| !name.starts_with('.'));
        let mut lines: Vec<_> =
            parts.flat_map(|(_, part)| part.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines.sort_unstable();
        lines
    }
}

/// What is in the folder but for the lock.
fn found(sink: &FileSink) -> Vec<(String, String)> {
    contents(sink).into_iter().filter(|(name, _)| name != ".part-lock.inprogress").collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_lines_of_complete_checkpoints_are_there_once(acts in vec(act(), 0..40), part_bytes in 1_u64..60) {
        let folder = TempDir::new().expect("a folder");
        let mut job = Job::start(&folder, part_bytes);
        acts.iter().for_each(|act| job.act(act));
        job.barrier(Outcome::Complete);
        job.writers.drain(..).for_each(|writer| writer.finish().expect("nothing is left"));
        job.commit();
        let expected = job.checkpoints.last().map(|checkpoint| checkpoint.lines.clone()).unwrap_or_default();
        prop_assert_eq!(job.visible(), expected);
        prop_assert!(found(&job.sink).iter().all(|(name, _)| !name.starts_with('.')), "nothing is left hidden");
    }
}
