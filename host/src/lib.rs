//! wasmill: a stateful stream runtime whose operators are sandboxed WebAssembly components.
//!
//! The host, this crate, runs the dataflow, routes records and keeps state. What users write, the operators, are components of the WIT package
//! `wasmill:operator` (in `wit/`); they see records and state in batches and touch nothing else. This page says how the parts fit together; every module says
//! what it owns and what it must never do. Why things are as they are is in `host/docs/decisions`.
//!
//! # Concepts
//!
//! - A **job** is a running program: sources, operators and sinks joined by edges, as a job file describes them ([`spec::JobFile`]). [`job::prepare`] makes it
//!   ready, [`job::PreparedJob::run`] runs it.
//! - An **operator** is a vertex of the job's graph whose code is a *plugin*: a component, known by its digest ([`operator::Plugin`], [`wasm::WasmPlugin`]). A
//!   live copy of a plugin is an *instance* ([`operator::Instance`]); it belongs to one task and is thrown away after any fault.
//! - A **task** is one parallel instance of a chain of operators, with the source or sink at its ends ([`runtime::Task`]). Parallelism is the number of tasks.
//! - **State** belongs to a key. The task that owns the key keeps it in a table ([`state::KeyTable`]); a guest is lent the values that a batch needs and hands
//!   back what it changed before the call returns. Keys are spread over tasks by key group ([`stream::key_group()`]). Some state belongs to a task instead: lists,
//!   and maps that are the same on all tasks because every task gets the records that change them ([`state::OperatorStates`]).
//! - A **checkpoint** is a consistent cut of the whole job: all state, how far sources were read, and what sinks have set aside ([`checkpoint`]). It exists when its manifest does
//!   ([`job::CheckpointManifest`]). A *run* begins from the newest one; when it fails it goes on from the last one with another *attempt*, whose number fences earlier ones. What is promised is in
//!   `host/docs/guarantees.md`.
//!
//! # The way of a record
//!
//! 1. A [`connector::SourceReader`] appends records to a [`stream::Batch`]: keys, values and event times in columns, and a 64-bit hash of each key that is
//!    computed here, once. The batch closes when it is full or a timeout has passed.
//! 2. Chained operators are called one after the other in the same task. Between tasks a [`dataflow::Router`] cuts batches by key group (`hash`), passes them
//!    on (`forward`), deals them out (`rebalance`) or gives them to all (`broadcast`), and a bounded channel carries them ([`runtime::channel()`]). A full channel is
//!    the back-pressure. Edges lead to the inputs of an operator by name; several may lead to one.
//! 3. [`operator::Execution`] takes the batch. The table finds the slot of every key; the instance gets the slots, the values, and the state of the keys that it
//!    has not met. What it emits and writes is staged in an [`operator::Exchange`].
//! 4. The call returns well: state is written, results go on. It fails: everything staged is dropped, the instance is replaced, and `on-error` decides whether
//!    the job fails or the batch is run in parts until the record that fails stands alone.
//! 5. A [`connector::SinkWriter`] writes values, as JSON by the schema that the plugin recorded ([`stream::schema`]).
//!
//! A bounded input ends with the last watermark, then each operator's keys are visited that asked for it, then `close`. A job that is stopped skips the visits.
//!
//! # The way of a barrier
//!
//! 1. The [`checkpoint::Coordinator`] says that a checkpoint is due, and every source is asked for it. Between two reads a source task notes its position, sends a barrier to all that it sends to
//!    ([`stream::Element`]), and goes on.
//! 2. A task with several inputs takes nothing more from one whose barrier has come, until the others' have ([`checkpoint::Aligner`]); at-least-once waits for nobody. Then it sends the barrier on and takes
//!    its snapshot: operator state is copied, the marks of keyed state change turns ([`state::KeyedState::begin_snapshot`]), sinks set aside what they have
//!    ([`connector::SinkWriter::prepare_commit`]). That is the pause.
//! 3. While records flow, keyed state that changed since the last snapshot is copied a little at a time; beside the task it is sorted and put as segments ([`checkpoint::SegmentWriter`],
//!    [`checkpoint::Storage`]), and results are synced. When all of it is kept, the task acknowledges ([`runtime::TaskEvent`]).
//! 4. When all tasks have, the manifest is put, unless a newer attempt has begun. Then the checkpoint exists: sinks commit what they have set aside ([`connector::Sink::commit`]), and what no checkpoint needs
//!    any more is deleted ([`checkpoint::deletions`]).
//! 5. Tasks whose input has ended stay and acknowledge; when all are at rest, the last checkpoint is taken, and with its commit the job ends.
//!
//! After a fault the [`checkpoint::RestartPolicy`] decides whether and when the next attempt begins; sources, state and sinks then go back to the newest checkpoint.
//!
//! # A job that runs
//!
//! [`job::Live`] is a job as others see it: its status, and the place where requests are put. [`control`] serves it by HTTP, to those who know the job's token; the commands of [`cli`] that concern running jobs
//! are clients of that, and nothing else. A request is answered by whoever looks after the run, between two steps: the record path waits for nobody.
//!
//! # Floors
//!
//! Imports point down only. Everything may import `stream`, `metrics` and `background`.
//!
//! ```text
//! 7  main, cli                              words typed by a person
//! 6  control                                a running job, as others see it and change it: the HTTP API and its client
//! 5  job                                    the life of one job; the only place where parts are wired together
//! 4  wasm          runtime                  siblings: neither knows the other
//! 3  operator      spec                     what an operator may touch | the file that a user writes
//! 2  state  checkpoint  dataflow  connector  mechanisms: strangers to each other
//! 1  stream        metrics       background the vocabulary | plain counters | work off the record path
//! ```
//!
//! What is absent on purpose:
//! - `runtime` does not know that operators are wasm, and `wasm` knows no channel and no task. They meet in `job`.
//! - Only `wasm/instance.rs` calls a guest: it sets the time budget, calls, and classifies what comes back.
//! - `state`, `dataflow`, `connector` and `operator` read no clock and draw no random numbers: time is an argument, so a seed repeats a run
//!   ([`runtime::run_seeded`]). Two clocks stay real even then: the one that holds a call to its time budget, and the ones that only measure.
//! - `checkpoint` moves opaque entries by key group: it does not know what a stored key means, and no database. `state` knows no file of a checkpoint, and its spill knows no snapshot.
//! - What decides about checkpoints (coordinator, aligner, resolver, retention, restart policy) is pure: time and facts are arguments. tokio is in `checkpoint/storage/object.rs`
//!   and in `control`, each with a runtime of its own.
//! - Nothing here knows what a window is.
//!
//! # Example
//!
//! A job without an operator, on one thread and with simulated time:
//!
//! ```
//! use std::{path::Path, sync::Arc, time::Instant};
//! use wasmill::{
//!     job::{Executor, Live, Loader, Outcome, RunOptions, Start, prepare},
//!     runtime::Control,
//!     spec::{JobFile, Surroundings},
//! };
//!
//! let text = r#"
//!     name = "count-to-nowhere"
//!
//!     [[source]]
//!     id    = "numbers"
//!     type  = "datagen"
//!     count = 1000000
//!
//!     [[sink]]
//!     id     = "nowhere"
//!     type   = "blackhole"
//!     inputs = ["numbers"]
//! "#;
//! let surroundings = Surroundings { env: &|_| None, cwd: "/jobs".into() };
//! let sets = ["source.numbers.count=5000".to_owned(), "parallelism=2".to_owned()];
//! let job = JobFile::parse(Path::new("job.toml"), text, &sets, &surroundings)?;
//! assert_eq!(job.max_parallelism, 128);
//!
//! let prepared = prepare(job, &mut Loader::new(None)?, &mut |line| eprintln!("{line}"))?;
//! let (report, fault) = prepared.run(RunOptions {
//!     executor: Executor::Seeded(7),
//!     start: Start::default(),
//!     process_start: Instant::now(),
//!     control: Arc::new(Control::default()),
//!     progress: &mut |_| {},
//!     say: &mut |_| {},
//!     live: Live::new("count-to-nowhere"),
//!     simulation: None,
//! })?;
//! assert!(fault.is_none());
//! assert_eq!(report.outcome, Outcome::Done);
//! assert_eq!(report.sinks["nowhere"].records_out, 5_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is wrong with a job file is said with its place, and all at once:
//!
//! ```
//! # use std::path::Path;
//! # use wasmill::spec::{JobFile, Surroundings};
//! # let surroundings = Surroundings { env: &|_| None, cwd: "/jobs".into() };
//! let text = "name = \"job\"\nparalelism = 2\n\n[[source]]\nid = \"lines\"\ntype = \"stdin\"\n";
//! let error = JobFile::parse(Path::new("job.toml"), text, &[], &surroundings).unwrap_err();
//! assert!(error.to_string().starts_with("job.toml:2:1: unknown key `paralelism`"));
//! ```

pub mod background;
pub mod checkpoint;
pub mod cli;
pub mod connector;
pub mod control;
pub mod dataflow;
pub mod job;
pub mod metrics;
pub mod operator;
pub mod runtime;
pub mod spec;
pub mod state;
pub mod stream;
pub mod wasm;
