//! How keyed state is stored: the bytes of a stored key and of a stored value.
//!
//! Frozen, because checkpoints will hold these bytes; golden tests hold them fast. All integers are big-endian, so that keys iterate in the order of their fields:
//!
//! ```text
//! stored key    | key group u16 | state id u16 | key length u16 | key | namespace length u16 | namespace | map key, or list index as u64, or nothing |
//! stored value  | flags u8 | schema version | last access i64, when flags say so | the guest's bytes |
//! ```
//!
//! - Everything of one key group is contiguous, so a rescaled task reads one range; within it everything of one state, of one key, of one namespace. Within a namespace
//!   entries iterate in the order of their encoded map keys, or of their list indices. Keys themselves are *not* ordered: their length comes first.
//! - A state without a namespace has the empty one. A point state (value, reducing, aggregating) ends there.
//! - Flags: bit 0 says that the last access follows, in milliseconds since the Unix epoch. The other bits are 0; a reader refuses what it does not know.
//! - The schema version is a LEB128 varint of 1 to 3 bytes, in its shortest form, and never 0: that stands for "absent" elsewhere, and what is absent is not stored.
//! - A stored key is never empty and at most 9,226 bytes long (fjall holds keys of 1 to 65,535 bytes). A value may be empty; a stored value is not.
//!
//! Timers will lie under a state id of their own with a layout of their own (time first).

use super::expiry::UNNOTED;
use crate::stream::EventTime;

/// Stands where a stored key has its key group, for state that belongs to a task and no key. It is above every key group, so such state comes last.
pub const NO_KEY_GROUP: u16 = u16::MAX;
/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 4 << 10;
/// Bytes of a namespace.
pub const NAMESPACE_BYTES_MAX: usize = 1 << 10;
/// Bytes of a map key.
pub const MAP_KEY_BYTES_MAX: usize = 4 << 10;
/// Bytes of a stored key.
pub const STORED_KEY_BYTES_MAX: usize = 8 + KEY_BYTES_MAX + NAMESPACE_BYTES_MAX + MAP_KEY_BYTES_MAX;

/// Bit of the flags: the last access follows the schema version.
const HAS_LAST_ACCESS: u8 = 1;

/// Bytes that are no stored key or value, or a field that is too long to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// A key of more than [`KEY_BYTES_MAX`] bytes.
    #[error("a key has {0} bytes; at most {KEY_BYTES_MAX} can be stored")]
    KeyTooLong(usize),
    /// A namespace of more than [`NAMESPACE_BYTES_MAX`] bytes.
    #[error("a namespace has {0} bytes; at most {NAMESPACE_BYTES_MAX} can be stored")]
    NamespaceTooLong(usize),
    /// A map key of more than [`MAP_KEY_BYTES_MAX`] bytes.
    #[error("a map key has {0} bytes; at most {MAP_KEY_BYTES_MAX} can be stored")]
    MapKeyTooLong(usize),
    /// The bytes end within a field.
    #[error("stored bytes end within their {0}")]
    Truncated(&'static str),
    /// Flags of a later version.
    #[error(
        "a stored value has the flags {0:#010b}, of which this version knows the lowest only; a later version wrote it"
    )]
    UnknownFlags(u8),
    /// A schema version that is 0, above 65,535, or not in its shortest form.
    #[error("a stored value has a schema version that can't be")]
    BadVersion,
}

/// The fields of a stored key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredKey<'a> {
    /// The key group of `key`.
    pub key_group: u16,
    /// The id of the state in this job.
    pub state: u16,
    /// The user's key.
    pub key: &'a [u8],
    /// What owns the entry (a window); empty: nothing does.
    pub namespace: &'a [u8],
    /// The encoded map key, or a list index as 8 bytes big-endian; empty for a point state.
    pub entry: &'a [u8],
}

impl<'a> StoredKey<'a> {
    /// Replaces what is in `out` by the stored key.
    ///
    /// # Errors
    /// When a field is too long.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), StoredError> {
        if self.entry.len() > MAP_KEY_BYTES_MAX {
            return Err(StoredError::MapKeyTooLong(self.entry.len()));
        }
        namespace_prefix(self.key_group, self.state, self.key, self.namespace, out)?;
        out.extend_from_slice(self.entry);
        Ok(())
    }

    /// Takes a stored key apart.
    ///
    /// # Errors
    /// When the bytes end too early or a field is longer than can be.
    pub fn decode(mut bytes: &'a [u8]) -> Result<Self, StoredError> {
        let key_group = take_u16(&mut bytes, "key group")?;
        let state = take_u16(&mut bytes, "state id")?;
        let key = take_string(&mut bytes, "key")?;
        let namespace = take_string(&mut bytes, "namespace")?;
        check_lengths(key, namespace)?;
        if bytes.len() > MAP_KEY_BYTES_MAX {
            return Err(StoredError::MapKeyTooLong(bytes.len()));
        }
        Ok(Self { key_group, state, key, namespace, entry: bytes })
    }
}

/// Replaces what is in `out` by the common beginning of all stored keys of one state in one key group.
pub(super) fn state_prefix(key_group: u16, state: u16, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&key_group.to_be_bytes());
    out.extend_from_slice(&state.to_be_bytes());
}

/// Replaces what is in `out` by the common beginning of all stored keys of one key and state: all its namespaces.
///
/// # Errors
/// When the key is too long.
pub(super) fn key_prefix(key_group: u16, state: u16, key: &[u8], out: &mut Vec<u8>) -> Result<(), StoredError> {
    check_lengths(key, &[])?;
    state_prefix(key_group, state, out);
    push_string(key, out);
    Ok(())
}

/// Replaces what is in `out` by the common beginning of all stored keys of one key, state and namespace. For a point state that is the whole stored key.
///
/// # Errors
/// When key or namespace are too long.
pub fn namespace_prefix(
    key_group: u16,
    state: u16,
    key: &[u8],
    namespace: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), StoredError> {
    check_lengths(key, namespace)?;
    key_prefix(key_group, state, key, out)?;
    push_string(namespace, out);
    Ok(())
}

/// Appends the stored key of a point state without a namespace. The key's length was checked.
#[inline]
pub(super) fn append_point_key(key_group: u16, state: u16, key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&key_group.to_be_bytes());
    out.extend_from_slice(&state.to_be_bytes());
    push_string(key, out);
    push_string(&[], out);
}

/// Turns a prefix into the smallest byte string above all that begin with it, in place. Gives false, and leaves nothing, when there is none.
pub(super) fn end_of_prefix(prefix: &mut Vec<u8>) -> bool {
    while let Some(last) = prefix.pop() {
        if last != u8::MAX {
            prefix.push(last + 1);
            return true;
        }
    }
    false
}

/// What is stored for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBytes<'a> {
    /// The schema version; not 0.
    pub version: u16,
    /// The last access, when the state has a time to live.
    pub last_access: Option<EventTime>,
    /// The guest's bytes.
    pub value: &'a [u8],
}

impl<'a> StoredBytes<'a> {
    /// Replaces what is in `out` by the stored value.
    ///
    /// # Errors
    /// When the version is 0.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), StoredError> {
        if self.version == 0 {
            return Err(StoredError::BadVersion);
        }
        out.clear();
        self.append(out);
        Ok(())
    }

    /// Appends the stored value to `out`. The version is not 0.
    #[inline]
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        debug_assert_ne!(self.version, 0, "what is absent is not stored");
        out.push(if self.last_access.is_some() { HAS_LAST_ACCESS } else { 0 });
        push_version(self.version, out);
        if let Some(EventTime(ms)) = self.last_access {
            out.extend_from_slice(&ms.to_be_bytes());
        }
        out.extend_from_slice(self.value);
    }

    /// When it was accessed last, in milliseconds; the largest number for what was written before its state had a time to live.
    pub(crate) fn accessed_ms(&self) -> i64 {
        self.last_access.map_or(UNNOTED, |time| time.0)
    }

    /// Takes a stored value apart.
    ///
    /// # Errors
    /// When the bytes end too early, or are none that this version writes.
    pub fn decode(mut bytes: &'a [u8]) -> Result<Self, StoredError> {
        let [flags] = take(&mut bytes, "flags")?;
        if flags & !HAS_LAST_ACCESS != 0 {
            return Err(StoredError::UnknownFlags(flags));
        }
        let version = take_version(&mut bytes)?;
        let last_access = match flags & HAS_LAST_ACCESS {
            0 => None,
            _ => Some(EventTime(i64::from_be_bytes(take(&mut bytes, "last access")?))),
        };
        Ok(Self { version, last_access, value: bytes })
    }
}

fn check_lengths(key: &[u8], namespace: &[u8]) -> Result<(), StoredError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(StoredError::KeyTooLong(key.len()));
    }
    if namespace.len() > NAMESPACE_BYTES_MAX {
        return Err(StoredError::NamespaceTooLong(namespace.len()));
    }
    Ok(())
}

/// Appends a byte string of which the length was checked, after its length.
fn push_string(string: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(string.len() as u16).to_be_bytes());
    out.extend_from_slice(string);
}

fn push_version(mut version: u16, out: &mut Vec<u8>) {
    while version >= 0x80 {
        out.push(version as u8 | 0x80);
        version >>= 7;
    }
    out.push(version as u8);
}

fn take_version(bytes: &mut &[u8]) -> Result<u16, StoredError> {
    let mut version = 0_u32;
    for shift in [0, 7, 14] {
        let [byte] = take(bytes, "schema version")?;
        version |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let shortest = byte != 0 || shift == 0;
            let version = u16::try_from(version).ok().filter(|version| *version != 0 && shortest);
            return version.ok_or(StoredError::BadVersion);
        }
    }
    Err(StoredError::BadVersion)
}

fn take<const N: usize>(bytes: &mut &[u8], field: &'static str) -> Result<[u8; N], StoredError> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(StoredError::Truncated(field))?;
    *bytes = rest;
    Ok(*taken)
}

fn take_u16(bytes: &mut &[u8], field: &'static str) -> Result<u16, StoredError> {
    take(bytes, field).map(u16::from_be_bytes)
}

fn take_string<'a>(bytes: &mut &'a [u8], field: &'static str) -> Result<&'a [u8], StoredError> {
    let length = usize::from(take_u16(bytes, field)?);
    let (taken, rest) = bytes.split_at_checked(length).ok_or(StoredError::Truncated(field))?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests;
