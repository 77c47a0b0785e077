//! Which files a file source reads: decided once, before the job starts. A job that is restored reads the same ones.
//!
//! A pattern is a file, a folder or a glob. A folder stands for all files below it, at any depth, in the manner of command-line tools: names that begin with `.`
//! are left out, by globs too, unless the pattern itself names them; symbolic links are followed. Each file is read once, however many patterns and links
//! lead to it. What is found but is no regular file is an error, and so is a pattern that finds nothing: a typing error should not look like empty input.

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use glob::MatchOptions;

use super::{Compression, ConnectorError, file_source::Codec};

/// A file as it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: Arc<Path>,
    /// In bytes, compressed. What is appended later is not read.
    pub(super) size: u64,
    /// When it was changed last, in milliseconds since the Unix epoch.
    pub(super) modified_ms: i64,
    pub(super) codec: Codec,
}

/// Lists the files that the patterns stand for, sorted by path.
pub(super) fn list(patterns: &[PathBuf], compression: Compression) -> Result<Vec<Listed>, ConnectorError> {
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        let mut found = Vec::new();
        for path in matches(pattern)? {
            collect(&path, &mut Vec::new(), &mut found)?;
        }
        if found.is_empty() {
            return Err(nothing(pattern));
        }
        paths.extend(found);
    }
    let mut seen = BTreeSet::new();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let real = fs::canonicalize(&path).map_err(|e| io_error(&path, "looking at it", e))?;
        if seen.insert(real) {
            files.push(open(&path, compression)?);
        }
    }
    Ok(files)
}

/// What a pattern stands for: itself if there is such a file, else what it matches as a glob.
fn matches(pattern: &Path) -> Result<Vec<PathBuf>, ConnectorError> {
    let text = pattern.to_string_lossy();
    match fs::metadata(pattern) {
        Ok(_) => return Ok(vec![pattern.to_owned()]),
        Err(error) if error.kind() == io::ErrorKind::NotFound && text.contains(['*', '?', '[']) => {}
        Err(source) => return Err(io_error(pattern, "looking for it", source)),
    }
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let paths = glob::glob_with(&text, options)
        .map_err(|error| ConnectorError::Refused(format!("{text}: this is not a glob: {}", error.msg)))?;
    let path = |entry: glob::GlobResult| {
        entry.map_err(|error| {
            let path = error.path().to_owned();
            ConnectorError::Io { path, doing: "looking for files", source: error.into() }
        })
    };
    paths.map(path).collect()
}

/// Adds the files that `path` stands for. `around` identifies the folders that it lies in.
fn collect(path: &Path, around: &mut Vec<(u64, u64)>, files: &mut Vec<PathBuf>) -> Result<(), ConnectorError> {
    let refused = |why| Err(ConnectorError::Refused(format!("{}: {why}", path.display())));
    let metadata = fs::metadata(path).map_err(|e| io_error(path, "looking at it", e))?;
    if metadata.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    if !metadata.is_dir() {
        return refused(
            "this is not a regular file; name the files to read one by one, or by a glob that leaves it out",
        );
    }
    let identity = (metadata.dev(), metadata.ino());
    if around.contains(&identity) {
        return refused("this folder lies within itself, by a symbolic link; remove the link");
    }
    around.push(identity);
    for entry in fs::read_dir(path).map_err(|e| io_error(path, "listing the folder", e))? {
        let entry = entry.map_err(|e| io_error(path, "listing the folder", e))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            collect(&entry.path(), around, files)?;
        }
    }
    around.pop();
    Ok(())
}

/// Makes sure that a file can be read, and looks at its size and its first bytes.
fn open(path: &Path, compression: Compression) -> Result<Listed, ConnectorError> {
    let mut file = File::open(path).map_err(|e| io_error(path, "opening it for reading", e))?;
    let metadata = file.metadata().map_err(|e| io_error(path, "reading its size", e))?;
    let codec = compression.codec_of(path, &mut file)?;
    Ok(Listed { path: Arc::from(path), size: metadata.len(), modified_ms: modified_ms(&metadata), codec })
}

fn modified_ms(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000)
}

/// Makes sure that a file that was listed before a restore can still be read as it was. What was appended since does no harm; that it was changed can only be
/// suspected.
pub(super) fn look_again(listed: &Listed) -> Result<(), ConnectorError> {
    const DOING: &str =
        "opening it again (the checkpoint says that a part of it is still to be read; put the file back)";
    let path = &*listed.path;
    let refused = |why: String| Err(ConnectorError::Refused(format!("{}: {why}", path.display())));
    if !fs::metadata(path).map_err(|e| io_error(path, DOING, e))?.is_file() {
        return refused("it was a file when it was listed, and is none now; put the file back".into());
    }
    let opened = File::open(path).and_then(|file| file.metadata());
    let metadata = opened.map_err(|e| io_error(path, DOING, e))?;
    if metadata.len() < listed.size {
        return refused(format!(
            "the file became shorter: it had {} bytes when it was listed, now it has {}, and a part of it is still to be read; put the file back as it was",
            listed.size,
            metadata.len()
        ));
    }
    if metadata.len() == listed.size && modified_ms(&metadata) != listed.modified_ms {
        tracing::warn!(
            "{}: the file was changed after it was listed; if its content is another one, the results are those of neither",
            path.display()
        );
    }
    Ok(())
}

fn nothing(pattern: &Path) -> ConnectorError {
    let why = if pattern.is_dir() { "the folder holds no files" } else { "no file matches" };
    ConnectorError::Refused(format!(
        "{}: {why} (names that begin with \".\" are left out); correct the path",
        pattern.display()
    ))
}

fn io_error(path: &Path, doing: &'static str, source: io::Error) -> ConnectorError {
    ConnectorError::Io { path: path.to_owned(), doing, source }
}
