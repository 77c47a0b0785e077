//! The names of all objects below a job's folder in the storage: one builder, one parser. Frozen, because stored checkpoints refer to these names.
//!
//! ```text
//! checkpoints/<id>/manifest.json                            the checkpoint exists when this exists
//! segments/<operator>/<attempt>-<task>-<id>-<n>.seg         sorted entries of one task; immutable
//! plugins/<digest>.wasm                                     a component, by the SHA-256 of its bytes: 64 hexadecimal digits in lower case
//! attempts/<n>                                              the mark of an attempt: 10 digits or more, so that names sort as numbers do
//! ```
//!
//! Other numbers are decimal and not padded. An object has exactly one name and a name exactly one object: [`Names::parse`] accepts what the builder gives, and nothing else.
//! What it does not accept is somebody else's, and none of ours may touch it.

use std::fmt;

use crate::stream::CheckpointId;

/// Digits of an attempt's number, at least: listings of a storage are sorted by bytes.
const ATTEMPT_DIGITS: usize = 10;

/// What an object below a job's folder is. Its `Display` is the object's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// The manifest of a checkpoint.
    Manifest(CheckpointId),
    /// Sorted entries of one task's state.
    Segment {
        /// Id of the operator whose state it is.
        operator: String,
        /// The attempt that wrote it.
        attempt: u64,
        /// The task that wrote it.
        task: u32,
        /// The checkpoint that it was written for.
        checkpoint: CheckpointId,
        /// Tells the segments apart that a task writes for one checkpoint.
        number: u32,
    },
    /// A component.
    Plugin {
        /// SHA-256 of its bytes, as 64 hexadecimal digits in lower case.
        digest: String,
    },
    /// The mark of an attempt.
    Attempt(u64),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(id) => write!(f, "checkpoints/{id}/manifest.json"),
            Self::Segment { operator, attempt, task, checkpoint, number } => {
                write!(f, "segments/{operator}/{attempt}-{task}-{checkpoint}-{number}.seg")
            }
            Self::Plugin { digest } => write!(f, "plugins/{digest}.wasm"),
            Self::Attempt(number) => write!(f, "attempts/{number:0ATTEMPT_DIGITS$}"),
        }
    }
}

/// Builds names, and tells what a name says. Relative to the job's folder, with `/` between the parts.
pub struct Names;

impl Names {
    /// The folder of a checkpoint, given where the job's folder lies.
    pub fn checkpoint(job: &str, id: CheckpointId) -> String {
        format!("{}/checkpoints/{id}", job.trim_end_matches('/'))
    }

    /// The manifest of a checkpoint.
    pub fn manifest(id: CheckpointId) -> String {
        Name::Manifest(id).to_string()
    }

    /// A segment of `task` of `operator`, written by `attempt` for checkpoint `id`; `number` tells such segments apart.
    pub fn segment(operator: &str, attempt: u64, task: u32, id: CheckpointId, number: u32) -> String {
        debug_assert!(is_id(operator), "{operator} is no id of an operator");
        Name::Segment { operator: operator.to_owned(), attempt, task, checkpoint: id, number }.to_string()
    }

    /// The component of this digest: 64 hexadecimal digits in lower case.
    pub fn plugin(digest: &str) -> String {
        debug_assert!(is_digest(digest), "{digest} is no digest");
        Name::Plugin { digest: digest.to_owned() }.to_string()
    }

    /// The mark of an attempt.
    pub fn attempt(number: u64) -> String {
        Name::Attempt(number).to_string()
    }

    /// What an object of this name is. None: it is none of ours.
    pub fn parse(name: &str) -> Option<Name> {
        let (folder, rest) = name.split_once('/')?;
        match folder {
            "checkpoints" => Some(Name::Manifest(CheckpointId(decimal(rest.strip_suffix("/manifest.json")?)?))),
            "segments" => parse_segment(rest),
            "plugins" => {
                let digest = rest.strip_suffix(".wasm").filter(|digest| is_digest(digest))?;
                Some(Name::Plugin { digest: digest.to_owned() })
            }
            "attempts" => {
                let number = rest.bytes().all(|byte| byte.is_ascii_digit()).then(|| rest.parse().ok())??;
                // Another count of zeros would be a second name of the same attempt.
                Some(Name::Attempt(number)).filter(|parsed| parsed.to_string() == name)
            }
            _ => None,
        }
    }
}

fn parse_segment(rest: &str) -> Option<Name> {
    let (operator, file) = rest.split_once('/')?;
    let mut numbers = file.strip_suffix(".seg")?.split('-').map(decimal);
    let mut number = || numbers.next().flatten();
    let (attempt, task, checkpoint, last) = (number()?, number()?, number()?, number()?);
    if numbers.next().is_some() || !is_id(operator) {
        return None;
    }
    Some(Name::Segment {
        operator: operator.to_owned(),
        attempt,
        task: task.try_into().ok()?,
        checkpoint: CheckpointId(checkpoint),
        number: last.try_into().ok()?,
    })
}

/// A number as it is written: digits without a sign and without zeros before them.
fn decimal(text: &str) -> Option<u64> {
    let written = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    written.then(|| text.parse().ok())?
}

/// Ids of operators are such names; the reader of job files says so.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = Name> {
        prop_oneof![
            any::<u64>().prop_map(|id| Name::Manifest(CheckpointId(id))),
            ("[a-z0-9-]{1,9}", any::<u64>(), any::<u32>(), any::<u64>(), any::<u32>()).prop_map(
                |(operator, attempt, task, id, number)| Name::Segment {
                    operator,
                    attempt,
                    task,
                    checkpoint: CheckpointId(id),
                    number
                }
            ),
            "[0-9a-f]{64}".prop_map(|digest| Name::Plugin { digest }),
            any::<u64>().prop_map(Name::Attempt),
        ]
    }

    #[test]
    fn names_are_frozen() {
        let digest = "0123456789abcdef".repeat(4);
        for (built, expected) in [
            (Names::manifest(CheckpointId(12)), "checkpoints/12/manifest.json"),
            (Names::segment("count-2", 3, 0, CheckpointId(12), 1), "segments/count-2/3-0-12-1.seg"),
            (Names::plugin(&digest), &format!("plugins/{digest}.wasm")),
            (Names::attempt(7), "attempts/0000000007"),
            (Names::attempt(u64::MAX), "attempts/18446744073709551615"),
        ] {
            assert_eq!(built, expected);
            assert_eq!(Names::parse(&built).map(|name| name.to_string()), Some(built));
        }
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in [
            "",
            "manifest.json",
            "checkpoints/12",
            "checkpoints/012/manifest.json",
            "checkpoints/+12/manifest.json",
            "checkpoints//manifest.json",
            "checkpoints/12/manifest.json.tmp",
            "checkpoints/18446744073709551616/manifest.json",
            "/checkpoints/12/manifest.json",
            "savepoints/before/manifest.json",
            "segments/count/1-2-3.seg",
            "segments/count/1-2-3-4-5.seg",
            "segments/count/1-2-3-04.seg",
            "segments/count/1-4294967296-3-4.seg",
            "segments/Count/1-2-3-4.seg",
            "segments//1-2-3-4.seg",
            "segments/a/b/1-2-3-4.seg",
            "segments/count/1-2-3-4.seg#1",
            "plugins/abc.wasm",
            "attempts/7",
            "attempts/",
            "attempts/00000000007",
            "attempts/+000000007",
        ] {
            assert_eq!(Names::parse(name), None, "{name}");
        }
        assert_eq!(Names::parse(&Names::plugin(&"a".repeat(64)).replace('a', "A")), None);
    }

    proptest! {
        #[test]
        fn every_name_is_read_as_what_was_named(name in names()) {
            prop_assert_eq!(Names::parse(&name.to_string()), Some(name));
        }

        #[test]
        fn what_is_read_is_named_so(name in names(), at in any::<prop::sample::Index>(), with in "[0-9a-f/.+-]{0,2}") {
            let mut text = name.to_string();
            let at = at.index(text.len());
            text.replace_range(at..=at, &with);
            if let Some(read) = Names::parse(&text) {
                prop_assert_eq!(read.to_string(), text);
            }
        }

        #[test]
        fn attempts_sort_as_numbers_do(a in 0..10_u64.pow(10), b in 0..10_u64.pow(10)) {
            prop_assert_eq!(Names::attempt(a).cmp(&Names::attempt(b)), a.cmp(&b));
        }
    }
}
