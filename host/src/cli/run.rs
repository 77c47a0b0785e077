//! `wasmill run`.

use std::{
    cell::RefCell,
    fs,
    io::IsTerminal,
    io::Write,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use anyhow::{Context, bail};

use super::{
    EXIT_DONE, EXIT_FAILED,
    args::{JobArgs, RunArgs},
    place::cache_folder,
    serve, show,
};
use crate::{
    job::{
        Claim, DropState, DumpFolder, Executor, Live, Loader, Outcome, Report, RunOptions, Start, StartFrom, prepare,
    },
    runtime::Control,
    spec::{JobFile, SinkKind, Surroundings},
};

/// The exit code of a process that a signal ended, for the second Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

pub(super) fn run(args: RunArgs, process_start: Instant) -> anyhow::Result<u8> {
    let job = read_job(&args.job)?;
    if args.json && job.sinks.iter().any(|sink| matches!(sink.kind, SinkKind::Stdout { .. })) {
        bail!("--json and a stdout sink both want standard output: use --report FILE, or another sink");
    }
    let start = Start {
        from: args.from,
        discard_results_after: args.discard_results_after,
        claim: if args.claim { Claim::Yes } else { Claim::No },
        dropped: args.drop_state.into_iter().collect(),
    };
    if job.checkpoint.is_none() {
        begins_at_the_beginning(&start)?;
    }
    let live = Live::new(&job.name);
    // A seeded run repeats another one, and nothing from outside may change it.
    let server = match args.seed {
        None => serve::serve(&args.serve, &job.name, &live)?,
        Some(_) => None,
    };
    // Better now than after hours of work.
    let dump = args.dump_state.as_deref().map(DumpFolder::claim).transpose()?;
    let mut loader = Loader::new(cache_folder().as_deref())?;
    let mut prepared = prepare(job, &mut loader, &mut show::say)?;
    if let Some(folder) = dump {
        prepared.dump_state_to(folder);
    }
    if let Some(path) = &args.report {
        // This too.
        fs::write(path, "").with_context(|| format!("the report can't be written to {}", path.display()))?;
    }
    let control = Arc::new(Control::default());
    stop_on_signals(&control)?;
    // Records and a progress line on one terminal would write over each other.
    let shows_records = prepared.spec.sinks.iter().any(|sink| matches!(sink.kind, SinkKind::Stdout { .. }));
    let quiet = shows_records && std::io::stdout().is_terminal();
    let line = RefCell::new(show::ProgressLine::new());
    let options = RunOptions {
        executor: args.seed.map_or(Executor::Threads, Executor::Seeded),
        start,
        process_start,
        control: Arc::clone(&control),
        progress: &mut |progress| {
            if !quiet {
                line.borrow_mut().show(progress);
            }
        },
        say: &mut |text| {
            line.borrow_mut().clear();
            show::say(text);
        },
        live: Arc::clone(&live),
        simulation: None,
    };
    let (report, fault) = prepared.run(options)?;
    // Whoever waits for an answer gets it before this process is busy with itself.
    drop(server);
    line.borrow_mut().clear();
    let reported = args.report.as_deref().map_or(Ok(()), |path| write_report(path, &report));
    if control.closed.load(Ordering::Relaxed) && report.outcome == Outcome::Stopped {
        // Whoever read standard output has gone (`| head`), and probably does not want a summary either.
        return reported.map(|()| EXIT_DONE);
    }
    if report.outcome != Outcome::AlreadyDone {
        show::summary(&report);
    }
    if let (Some(folder), None) = (&args.dump_state, &fault) {
        let folder = folder.display();
        show::say(&match report.outcome {
            Outcome::AlreadyDone => {
                format!("nothing was written to {folder}; wasmill state shows that of the checkpoint as well")
            }
            _ => format!("state written to {folder}: wasmill state list {folder}"),
        });
    }
    if args.json {
        let document = serde_json::to_string(&report)?;
        show::out(|out| writeln!(out, "{document}"))?;
    }
    match fault {
        None => reported.map(|()| EXIT_DONE),
        Some(fault) => {
            show::fault(&report.job, &fault);
            if let Err(error) = &reported {
                show::error(error);
            }
            Ok(EXIT_FAILED)
        }
    }
}

/// A job without checkpoints resumes nothing.
pub(super) fn begins_at_the_beginning(start: &Start) -> anyhow::Result<()> {
    if let StartFrom::Place(place) = &start.from {
        bail!("this job takes no checkpoints, so it can't begin from {}: leave out --from", place.display());
    }
    if let Some(DropState { operator, state }) = start.dropped.first() {
        bail!("this job takes no checkpoints, so there is no {operator}/{state} to give up: leave out --drop-state");
    }
    if start.discard_results_after.is_some() {
        bail!("this job takes no checkpoints, so it has no results after one: leave out --discard-results-after");
    }
    Ok(())
}

/// Reads a job file with the overrides of the command line.
pub(super) fn read_job(args: &JobArgs) -> anyhow::Result<JobFile> {
    let cwd = std::env::current_dir().context("the current folder can't be found")?;
    let surroundings = Surroundings { env: &|name| std::env::var(name).ok(), cwd };
    // Spec errors decide the exit code through JobError, as those of the planner do.
    JobFile::read(&args.job, &args.sets, &surroundings).map_err(|error| crate::job::JobError::from(error).into())
}

fn write_report(path: &Path, report: &Report) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(report)?;
    fs::write(path, json + "\n").with_context(|| format!("the report can't be written to {}", path.display()))
}

/// The first Ctrl-C (or SIGTERM) stops sources and lets what was read flow out; the second ends the process.
fn stop_on_signals(control: &Arc<Control>) -> anyhow::Result<()> {
    use signal_hook::{consts::TERM_SIGNALS, flag, iterator::Signals};
    let seen = Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        // In this order: the second one finds the flag that the first one set.
        flag::register_conditional_shutdown(*signal, EXIT_INTERRUPTED, Arc::clone(&seen))?;
        flag::register(*signal, Arc::clone(&seen))?;
    }
    let mut signals = Signals::new(TERM_SIGNALS)?;
    let control = Arc::clone(control);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            show::say("stopping: what was read is processed first; again to end at once");
            control.stop.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(())
}
