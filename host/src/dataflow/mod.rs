//! How records are routed between tasks, and how far event time has come. Pure: no channels, no threads, no clock.

mod partitioning;
mod router;
mod watermark;

pub use partitioning::Partitioning;
pub use router::Router;
pub use watermark::WatermarkTracker;
