//! What a new crate begins as.
//!
//! The texts are those of a crate `operator-name`; its name is put in when they are written. They are run by the integration tests.

use clap::ValueEnum;

/// The name that stands in the texts, as a package and as a crate.
const PACKAGE: &str = "operator-name";
const CRATE: &str = "operator_name";

/// What is left out by git: what cargo and jobs write.
pub(super) const GITIGNORE: &str = "/target/\n.wasmill/\n";

/// Which operator a new crate begins as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Template {
    /// State by key: the highest reading of each sensor
    #[default]
    Keyed,
    /// No state: bids are filtered by a configured price and get a key
    Stateless,
}

/// The texts of a template.
pub(super) struct Texts {
    pub(super) lib: String,
    pub(super) test: String,
    pub(super) job: String,
}

impl Template {
    /// The texts for a crate of this name.
    pub(super) fn texts(self, name: &str) -> Texts {
        let (lib, test, job) = match self {
            Self::Keyed => (
                include_str!("templates/keyed/lib.rs"),
                include_str!("templates/keyed/test.rs"),
                include_str!("templates/keyed/job.toml"),
            ),
            Self::Stateless => (
                include_str!("templates/stateless/lib.rs"),
                include_str!("templates/stateless/test.rs"),
                include_str!("templates/stateless/job.toml"),
            ),
        };
        let named = |text: &str| text.replace(PACKAGE, name).replace(CRATE, &name.replace('-', "_"));
        Texts { lib: named(lib), test: named(test), job: named(job) }
    }
}
