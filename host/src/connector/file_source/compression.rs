//! Compressed files, read as a stream.
//!
//! gzip (RFC 1952, any number of members) and zstd (RFC 8878, any number of frames, skippable ones too). How a file is compressed is decided when it is listed: by the
//! ending of its name or by the setting, and held against the bytes that it begins with, so that a file that is named wrongly is refused before the job starts
//! instead of being read as something else.
//!
//! A compressed file can only be read from its beginning, so it is one split. Its offsets, in positions and in messages, count uncompressed bytes; to go on at one, what
//! lies before it is read once more.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

use super::{listing::Listed, read_error};
use crate::connector::{Compression, ConnectorError};

#[cfg(test)]
mod tests;

/// How many bytes are read from the file at a time.
const READ_BYTES: usize = 128 << 10;

/// How many bytes at the beginning of a file tell how it is compressed.
const MAGIC_BYTES: usize = 4;

/// The largest window of a zstd frame that is taken, as a power of two: 128 MiB, what `zstd -d` takes without being told more. It bounds a reader's memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How one file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Plain,
    /// By gzip (RFC 1952).
    Gzip,
    /// By zstd (RFC 8878).
    Zstd,
}

impl Codec {
    const COMPRESSED: [Self; 2] = [Self::Gzip, Self::Zstd];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The ending of names, with its dot.
    fn ending(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    fn by_name(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        Self::COMPRESSED.into_iter().find(|codec| name.ends_with(codec.ending())).unwrap_or(Self::Plain)
    }

    /// What a file's first bytes say. No text begins with the magic of gzip or zstd: neither is UTF-8.
    fn by_magic(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

impl Compression {
    /// How the open file at `path` is compressed. A file without bytes is an empty one, whatever its name.
    ///
    /// # Errors
    /// When the file begins with something else than name or setting say, or can't be read.
    pub(in crate::connector) fn codec_of(self, path: &Path, file: &mut File) -> Result<Codec, ConnectorError> {
        let mut magic = Vec::with_capacity(MAGIC_BYTES);
        let begun = file.take(MAGIC_BYTES as u64).read_to_end(&mut magic);
        begun.map_err(|source| read_error(path, source))?;
        let found = Codec::by_magic(&magic);
        let (meant, why) = match self {
            Self::None => return Ok(Codec::Plain),
            Self::Auto => (Codec::by_name(path), "by its name"),
            Self::Gzip => (Codec::Gzip, "by the setting `compression`"),
            Self::Zstd => (Codec::Zstd, "by the setting `compression`"),
        };
        if magic.is_empty() || found == meant {
            return Ok(meant);
        }
        let is = match found {
            Codec::Plain => "it does not begin like one",
            Codec::Gzip => "it begins like a gzip file",
            Codec::Zstd => "it begins like a zstd file",
        };
        let should = match meant {
            Codec::Plain => format!("the file is not compressed, {why}"),
            meant => format!("this is a {} file, {why}", meant.name()),
        };
        let (path, setting) = (path.display(), found.name());
        Err(ConnectorError::Refused(format!(
            "{path}: {should}, but {is}; rename it, or set compression = \"{setting}\""
        )))
    }
}

/// The uncompressed bytes of a file.
pub(super) struct Uncompressed {
    decoder: Box<dyn Read + Send>,
    /// Compressed bytes taken from the file so far.
    taken: Arc<AtomicU64>,
    listed: Listed,
    /// Uncompressed bytes given or left out so far.
    position: u64,
    /// Bytes before this offset are not wanted.
    from: u64,
}

/// What came of reading on.
pub(super) enum Inflated {
    /// So many bytes at the beginning of the buffer.
    Bytes(usize),
    /// Some that are not wanted.
    Unwanted,
    /// There are no more.
    End,
}

impl Uncompressed {
    /// Reads `file` from its beginning, as far as it went when it was listed, and gives what follows offset `from`.
    ///
    /// # Errors
    /// When there is no memory for a decoder.
    pub(super) fn new(file: File, listed: Listed, from: u64) -> Result<Self, ConnectorError> {
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Counted { file: file.take(listed.size), taken: Arc::clone(&taken) };
        let input = BufReader::with_capacity(READ_BYTES, counted);
        let decoder: Box<dyn Read + Send> = match listed.codec {
            Codec::Plain => Box::new(input),
            Codec::Gzip => Box::new(MultiGzDecoder::new(input)),
            Codec::Zstd => Box::new(zstd_decoder(input).map_err(|source| read_error(&listed.path, source))?),
        };
        Ok(Self { decoder, taken, listed, position: 0, from })
    }

    /// Fills the beginning of `into`, which has room.
    ///
    /// # Errors
    /// When the file can't be read, became shorter, or holds something else than whole compressed data that goes on beyond the offset.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<Inflated, ConnectorError> {
        let unwanted = usize::try_from(self.from.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let wanted = if unwanted == 0 { into.len() } else { unwanted.min(into.len()) };
        let len = loop {
            match self.decoder.read(&mut into[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
                Ok(len) => break len,
            }
        };
        self.position += len as u64;
        match len {
            0 if unwanted > 0 => Err(self.too_short()),
            0 => Ok(Inflated::End),
            _ if unwanted > 0 => Ok(Inflated::Unwanted),
            _ => Ok(Inflated::Bytes(len)),
        }
    }

    fn too_short(&self) -> ConnectorError {
        ConnectorError::Input(format!(
            "{}: the file is another one than before: it ends at byte {} (uncompressed), but the checkpoint says that it was read up to byte {}; put the file back as it was",
            self.listed.path.display(),
            self.position,
            self.from
        ))
    }

    fn failed(&self, source: io::Error) -> ConnectorError {
        // What the system says about the file, not the decoder about its content.
        if source.raw_os_error().is_some() {
            return read_error(&self.listed.path, source);
        }
        let (path, codec, size) = (self.listed.path.display(), self.listed.codec.name(), self.listed.size);
        let (position, taken) = (self.position, self.taken.load(Ordering::Relaxed));
        let why = if source.kind() != io::ErrorKind::UnexpectedEof {
            format!("the {codec} data is corrupt: {source}")
        } else if taken < size {
            format!(
                "the file became shorter while it was read: it had {size} bytes when the job began, now it has {taken}"
            )
        } else {
            format!("the {codec} data ends in the middle: the file was cut short")
        };
        ConnectorError::Input(format!(
            "{path}: after byte {position} (uncompressed), {why}; replace the file and run the job again"
        ))
    }
}

fn zstd_decoder<R: io::BufRead>(input: R) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Counts what is read from a file.
struct Counted {
    file: io::Take<File>,
    taken: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(into)?;
        self.taken.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}
