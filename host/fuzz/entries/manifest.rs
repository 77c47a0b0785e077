//! Bytes as a manifest: read as they are, and with the checksum put right. What can be read is written and read again as the same.

use std::path::Path;

use serde_json::Value;
use wasmill::job::CheckpointManifest;
use xxhash_rust::xxh3::xxh3_64;

/// Reads bytes as a manifest.
pub(crate) fn feed(bytes: &[u8]) {
    read(bytes);
    if let Some(signed) = sign(bytes) {
        read(signed.as_bytes());
    }
}

fn read(text: &[u8]) {
    let path = Path::new("manifest.json");
    let Ok(manifest) = CheckpointManifest::from_json(path, text) else { return };
    // What commands ask of a manifest.
    let _ = (manifest.bytes(), manifest.counted(), manifest.segments().count(), manifest.plugins().count());
    manifest.operators.iter().flat_map(|operator| &operator.tasks).for_each(|task| drop(task.runs()));
    let again =
        CheckpointManifest::from_json(path, manifest.to_json().as_bytes()).expect("what is written can be read");
    assert_eq!(manifest, again);
}

/// The same document, with the checksum that it should have. None: it is no document.
fn sign(text: &[u8]) -> Option<String> {
    let mut document: Value = serde_json::from_slice(text).ok()?;
    document.as_object_mut()?.remove("checksum");
    let text = document.to_string();
    let members = text.strip_suffix('}').filter(|members| members.len() > 1)?;
    Some(format!("{members},\"checksum\":\"{:016x}\"}}", xxh3_64(members.as_bytes())))
}
