//! A stop ends a job cleanly: what was read is processed to its end, and the end of the input is not played.

use std::time::Duration;

use wasmill::job::{Executor, Outcome};

use crate::harness::Job;

/// Sums without end, one result for each record.
fn endless(rate: &str) -> Job {
    let text = format!(
        r#"
        name = "endless"
        [[source]]
        id   = "numbers"
        type = "datagen"
        keys = 100
        {rate}
        [[operator]]
        id     = "sum"
        plugin = {{ crate = "plugins/keyed-sum" }}
        inputs = ["numbers"]
        config = {{ emit-every = 1, final = true }}
        [[sink]]
        id     = "sums"
        type   = "blackhole"
        inputs = ["sum"]
        "#
    );
    Job::of_text(&text).stopped_after(Duration::from_millis(200))
}

#[test]
fn all_records_that_were_read_are_processed_and_on_end_is_not_called() {
    for (rate, executor) in [("rate = 20_000", Executor::Threads), ("", Executor::Threads), ("", Executor::Seeded(5))] {
        for parallelism in [1, 3] {
            let job = endless(rate).set("parallelism", parallelism).on(executor);
            let ran = job.run();
            let what = job.describe();
            assert_eq!(ran.report.outcome, Outcome::Stopped, "{what}");
            let (source, sum, sink) = (&ran.report.sources["numbers"], ran.operator("sum"), &ran.report.sinks["sums"]);
            assert!(source.records_in > 0, "{what}");
            assert_eq!(source.records_in, sum.records_in, "{what}");
            // At the end of the input there would be 100 results more.
            assert_eq!((sum.records_out, sink.records_out), (source.records_in, source.records_in), "{what}");
        }
    }
}

#[test]
fn results_of_a_stopped_job_are_visible_and_whole() {
    let ran = endless("rate = 20_000").set("parallelism", 2).into_files("sums").run();
    let written = ran.report.sinks["sums"].records_out;
    assert_eq!(ran.documents("sums").len() as u64, written);
    assert!(ran.files("sums").keys().all(|name| !name.starts_with('.')), "{:?}", ran.files("sums").keys());
}

#[test]
fn a_stop_before_the_first_record_is_no_failure() {
    let ran = endless("rate = 0.001").stopped_after(Duration::ZERO).run();
    assert_eq!(ran.report.outcome, Outcome::Stopped);
}

#[test]
fn a_job_that_is_done_is_not_called_stopped() {
    let ran = endless("count = 1000").run();
    assert_eq!(ran.report.outcome, Outcome::Done);
    assert_eq!(ran.report.sinks["sums"].records_out, 1_100);
}
