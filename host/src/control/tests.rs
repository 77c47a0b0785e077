//! The API as it is served, by raw bytes on a connection: what it answers, and what it does not.

mod calls;
mod description;
mod fixture;
mod folder;
mod hostile;
mod metrics;
mod random;
mod schema;
