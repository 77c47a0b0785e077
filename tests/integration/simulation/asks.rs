//! What is asked of a job while it runs: swaps, savepoints, its end.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use wasmill::{
    job::{
        AnswerAt, Changes, Drain, Happening, OperatorChange, PreparedJob, Rehearsal, Request, SavepointRequest,
        StopRequest, SwapRequest,
    },
    spec::Limits,
};

/// By operator, components that do the same as its plugin, with other digests.
#[derive(Default)]
pub(super) struct Builds(OnceLock<BTreeMap<String, Vec<Bytes>>>);

impl Builds {
    /// Makes them, of the components that the job has, if they are not made yet.
    pub(super) fn make(&self, job: &PreparedJob) {
        self.0.get_or_init(|| builds_of(job));
    }
}

/// So many other builds there are of a plugin.
pub(super) const BUILDS: u64 = 3;

/// The components of a job, each with a custom section behind it that says which build it is.
fn builds_of(job: &PreparedJob) -> BTreeMap<String, Vec<Bytes>> {
    let operators = job.spec.operators.iter().zip(&job.plugins);
    let builds = |component: &Bytes| -> Vec<Bytes> {
        let build = |number: u8| [component, &[0_u8, 7, 5, b'b', b'u', b'i', b'l', b'd', number][..]].concat().into();
        (0..BUILDS as u8).map(build).collect()
    };
    operators.map(|(operator, located)| (operator.id.value.clone(), builds(&located.component))).collect()
}

pub(super) fn ask_to_stop() -> Happening {
    let request = || StopRequest { drain: Drain::No, savepoint: SavepointRequest::default() };
    Happening::Ask(Arc::new(move || Request::Stop(request())))
}

/// A savepoint is taken beside the checkpoints of the job.
pub(super) fn ask_for_savepoint() -> Happening {
    Happening::Ask(Arc::new(|| Request::Savepoint(SavepointRequest::default())))
}

/// Whether a run is stopped by it.
pub(super) fn stops(what: &Happening) -> bool {
    match what {
        Happening::Stop => true,
        Happening::Ask(ask) => matches!(ask(), Request::Stop(_)),
        _ => false,
    }
}

/// What is asked of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedFor {
    /// Versions of all operators that do the same as those before.
    Swap,
    /// Versions that have too little room for their results.
    SwapThatFails,
    /// A savepoint, beside the checkpoints of the job.
    Savepoint,
    /// Its end, with a savepoint.
    Stop,
}

/// Operators are exchanged, each for a build and with so much room for its results.
pub(super) fn swap_for(chosen: Vec<(String, usize, Option<u64>)>, builds: &Arc<Builds>) -> Happening {
    let builds = Arc::clone(builds);
    Happening::Ask(Arc::new(move || {
        let operators = chosen.iter().map(|(id, build, output)| OperatorChange {
            id: id.clone(),
            changes: Changes {
                component: builds.0.get().map(|builds| builds[id][*build].clone()),
                limits: Some(Limits { output: output.unwrap_or(64 << 20), ..Limits::default() }),
                ..Changes::default()
            },
        });
        Request::Swap(SwapRequest {
            operators: operators.collect(),
            rehearsal: Rehearsal::No,
            answer_at: AnswerAt::Commit,
            dropped: Vec::new(),
        })
    }))
}
