//! Log lines go to standard error.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;

pub(super) fn start(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // wasmtime and its compiler speak at debug level and below; only ours is meant.
    let ours = tracing_subscriber::filter::filter_fn(|metadata| metadata.target().starts_with("wasmill"));
    use tracing_subscriber::{Layer, layer::SubscriberExt, util::SubscriberInitExt};
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .compact();
    tracing_subscriber::registry().with(lines.with_filter(ours).with_filter(level)).init();
}
