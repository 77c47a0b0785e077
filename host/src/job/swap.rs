//! Exchanging operators while the job runs: prepared beside it, done at the barrier of a checkpoint, on probation after that, and taken back when it fails.
//!
//! ```text
//! Preparing ──► Ready ──Trigger(X)──► Exchanging ──Complete(X)──► Probation ──time or batches──► Confirming ──Trigger(Y)──► Closing ──Complete(Y)──► over
//!     │ refused     │ the job ends          └──────────────── a fault of the attempt ─────────────────┴──────────────────────────────────┘
//!     └─────────────┴──► nothing was touched                                        the former versions go on from X, or from what was before
//! ```
//!
//! - X, and every checkpoint until Y, says in its manifest that the exchange is on probation and what ran before; Y says it no more. So whoever begins from X or later, and before Y, goes back to X and
//!   to what ran before, also after a crash.
//! - Results of checkpoints behind X are not shown until Y exists: what is taken back was seen by nobody.
//! - One exchange is under way at a time.

mod course;
mod prepare;

pub(in crate::job) use self::{
    course::{Course, ProbationSettings, Stage},
    prepare::{Change, Preparation, Prepared, Target},
};
