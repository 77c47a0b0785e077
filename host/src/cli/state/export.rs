//! `wasmill state export`.

use std::io::{self, BufWriter, Write};

use super::{find, show::Shower};
use crate::{
    cli::{
        EXIT_DONE,
        args::{ExportFormat, StateExportArgs},
        show,
    },
    job::{DescribedState, StoredEntry, StoredState},
    operator::StateKind,
};

/// Lines are written when there are so many bytes of them.
const WRITTEN_AT_ONCE: usize = 64 << 10;

pub(super) fn export(args: StateExportArgs) -> anyhow::Result<u8> {
    let StateExportArgs { of, format: ExportFormat::Json, json: _ } = args;
    let stored = StoredState::open(&of.place)?;
    let (operator, state) = find(&stored, &of)?;
    let mut out = BufWriter::with_capacity(WRITTEN_AT_ONCE, io::stdout().lock());
    let mut entries = stored.entries(operator, state);
    let (shower, mut text) = (Shower::new(state), Vec::new());
    while let Some(entry) = entries.next()? {
        text.clear();
        line(state, &shower, &entry, &mut text)?;
        if show::written(out.write_all(&text))? == show::Reader::Gone {
            return Ok(EXIT_DONE);
        }
    }
    show::written(out.flush())?;
    Ok(EXIT_DONE)
}

/// Appends an entry and a line feed.
fn line(state: &DescribedState, shower: &Shower<'_>, entry: &StoredEntry<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
    out.push(b'{');
    if state.kind.is_keyed() {
        out.extend_from_slice(b"\"key\":");
        shower.key(entry.key, out)?;
        out.push(b',');
    }
    if matches!(state.kind, StateKind::OperatorList | StateKind::OperatorUnion) {
        out.extend_from_slice(format!("\"task\":{},", entry.task).as_bytes());
    }
    if !entry.namespace.is_empty() {
        out.extend_from_slice(b"\"namespace\":");
        shower.namespace(entry.namespace, out)?;
        out.push(b',');
    }
    if state.kind.is_map() {
        out.extend_from_slice(b"\"map_key\":");
        shower.map_key(entry.entry, out)?;
        out.push(b',');
    }
    out.extend_from_slice(b"\"value\":");
    shower.value(entry, out)?;
    out.extend_from_slice(b"}\n");
    Ok(())
}
