//! `wasmill state export`.

#[cfg(feature = "parquet")]
mod parquet;

use std::{
    fs::{File, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::Context;

use super::{find, open, show::Shower};
use crate::{
    cli::{
        EXIT_DONE,
        args::{ExportFormat, StateExportArgs},
        show,
    },
    job::{DescribedState, Entries, StoredEntry},
    operator::StateKind,
};

/// Lines are written when there are so many bytes of them.
const WRITTEN_AT_ONCE: usize = 64 << 10;

pub(super) fn export(args: StateExportArgs) -> anyhow::Result<u8> {
    let StateExportArgs { of, format, json: _, output } = args;
    let stored = open(&of.place)?;
    let (operator, state) = find(&stored, &of)?;
    let entries = stored.entries(operator, state);
    match (format, output) {
        (ExportFormat::Json, None) => write_lines(state, entries, io::stdout().lock())?,
        (ExportFormat::Json, Some(path)) => replace(&path, |file| write_lines(state, entries, file))?,
        (ExportFormat::Parquet, Some(path)) => replace(&path, |file| write_parquet(state, entries, file))?,
        (ExportFormat::Parquet, None) => anyhow::bail!("a Parquet file can't go to standard output: give -o FILE"),
    }
    Ok(EXIT_DONE)
}

#[cfg(feature = "parquet")]
use self::parquet::write_parquet;

#[cfg(not(feature = "parquet"))]
fn write_parquet(_: &DescribedState, _: Entries<'_>, _: &mut File) -> anyhow::Result<()> {
    anyhow::bail!(
        "this wasmill was built without Parquet: build it with `cargo build --release --features parquet`, or export JSON lines"
    )
}

/// Writes a file that takes the place of an earlier one when it is whole.
fn replace(path: &Path, write: impl FnOnce(&mut File) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let failed = || format!("{} can't be written", path.display());
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any new file: what the umask leaves of it.
    let permissions = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(folder).with_context(failed)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}

fn write_lines(state: &DescribedState, mut entries: Entries<'_>, out: impl Write) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(WRITTEN_AT_ONCE, out);
    let (shower, mut text) = (Shower::new(state), Vec::new());
    while let Some(entry) = entries.next()? {
        text.clear();
        line(state, &shower, &entry, &mut text)?;
        if show::written(out.write_all(&text))? == show::Reader::Gone {
            return Ok(());
        }
    }
    show::written(out.flush())?;
    Ok(())
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
