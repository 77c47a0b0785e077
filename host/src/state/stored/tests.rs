//! Stored keys and values: what is frozen, that they come back, and that they are ordered.

use proptest::{collection::vec, prelude::*};

use super::*;

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    // Few different bytes, so that strings are often prefixes of each other.
    vec(prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()], 0..max)
}

fn encoded(key: StoredKey) -> Vec<u8> {
    let mut out = b"what was there before".to_vec();
    key.encode(&mut out).expect("the fields are short");
    out
}

#[test]
fn stored_keys_are_frozen() {
    let point = StoredKey { key_group: 0x0102, state: 3, key: b"the", namespace: b"", entry: b"" };
    assert_eq!(encoded(point), b"\x01\x02\x00\x03\x00\x03the\x00\x00");
    let map = StoredKey { key_group: 127, state: 0x0400, key: b"", namespace: b"window", entry: b"map key" };
    assert_eq!(encoded(map), b"\x00\x7f\x04\x00\x00\x00\x00\x06windowmap key");
    let list = StoredKey { key_group: 0, state: 0, key: b"k", namespace: b"n", entry: &258_u64.to_be_bytes() };
    assert_eq!(encoded(list), b"\x00\x00\x00\x00\x00\x01k\x00\x01n\x00\x00\x00\x00\x00\x00\x01\x02");
}

#[test]
fn stored_values_are_frozen() {
    let encoded = |version, last_access: Option<i64>, value: &[u8]| {
        let mut out = Vec::new();
        let last_access = last_access.map(EventTime);
        StoredBytes { version, last_access, value }.encode(&mut out).expect("the version is not 0");
        out
    };
    assert_eq!(encoded(1, None, b"value"), b"\x00\x01value");
    assert_eq!(encoded(300, None, b""), b"\x00\xac\x02");
    assert_eq!(encoded(u16::MAX, None, b"v"), b"\x00\xff\xff\x03v");
    assert_eq!(encoded(2, Some(1_790_000_000_000), b"v"), b"\x01\x02\x00\x00\x01\xa0\xc4\x50\x6c\x00v");
    assert_eq!(encoded(2, Some(-1), b""), b"\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff");
}

#[test]
fn what_is_too_long_is_refused_before_it_is_stored() {
    let key = vec![7; KEY_BYTES_MAX + 1];
    let namespace = vec![7; NAMESPACE_BYTES_MAX + 1];
    let fields = |key, namespace, entry| StoredKey { key_group: 1, state: 1, key, namespace, entry };
    let mut out = Vec::new();
    assert_eq!(fields(&key, b"", b"").encode(&mut out), Err(StoredError::KeyTooLong(4097)));
    assert_eq!(fields(b"", &namespace, b"").encode(&mut out), Err(StoredError::NamespaceTooLong(1025)));
    assert_eq!(fields(b"", b"", &key).encode(&mut out), Err(StoredError::MapKeyTooLong(4097)));
    assert_eq!(key_prefix(1, 1, &key, &mut out), Err(StoredError::KeyTooLong(4097)));

    let longest = fields(&key[1..], &namespace[1..], &key[1..]);
    assert_eq!(encoded(longest).len(), STORED_KEY_BYTES_MAX);
    assert_eq!(StoredKey::decode(&encoded(longest)), Ok(longest));
}

#[test]
fn bytes_that_are_no_stored_key_are_refused() {
    let stored = encoded(StoredKey { key_group: 1, state: 2, key: b"key", namespace: b"space", entry: b"" });
    for length in 0..stored.len() {
        assert!(matches!(StoredKey::decode(&stored[..length]), Err(StoredError::Truncated(_))));
    }
    let too_long = [&[0, 0, 0, 0, 0x10, 1][..], &[0; 5000]].concat();
    assert_eq!(StoredKey::decode(&too_long), Err(StoredError::KeyTooLong(4097)));
    let too_long = [&[0, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4097]].concat();
    assert_eq!(StoredKey::decode(&too_long), Err(StoredError::MapKeyTooLong(4097)));
}

#[test]
fn bytes_that_are_no_stored_value_are_refused() {
    let cases: [(&[u8], StoredError); 8] = [
        (b"", StoredError::Truncated("flags")),
        (b"\x02\x01", StoredError::UnknownFlags(2)),
        (b"\x00", StoredError::Truncated("schema version")),
        (b"\x00\x80", StoredError::Truncated("schema version")),
        (b"\x00\x00", StoredError::BadVersion),
        (b"\x00\x81\x00", StoredError::BadVersion),
        (b"\x00\xff\xff\x04", StoredError::BadVersion),
        (b"\x01\x01\x00\x00\x00\x00\x00\x00\x00", StoredError::Truncated("last access")),
    ];
    for (bytes, error) in cases {
        assert_eq!(StoredBytes::decode(bytes), Err(error), "{bytes:?}");
    }
    let mut out = Vec::new();
    assert_eq!(
        StoredBytes { version: 0, last_access: None, value: b"" }.encode(&mut out),
        Err(StoredError::BadVersion)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn stored_keys_come_back_and_begin_with_their_prefixes(
        (key_group, state) in any::<(u16, u16)>(), key in bytes(20), namespace in bytes(20), entry in bytes(20),
    ) {
        let fields = StoredKey { key_group, state, key: &key, namespace: &namespace, entry: &entry };
        let stored = encoded(fields);
        prop_assert_eq!(StoredKey::decode(&stored), Ok(fields));
        prop_assert!(!stored.is_empty() && stored.len() <= STORED_KEY_BYTES_MAX);

        let (mut by_state, mut by_key, mut by_namespace) = (Vec::new(), Vec::new(), Vec::new());
        state_prefix(key_group, state, &mut by_state);
        key_prefix(key_group, state, &key, &mut by_key).expect("short");
        namespace_prefix(key_group, state, &key, &namespace, &mut by_namespace).expect("short");
        prop_assert!(by_key.starts_with(&by_state) && by_namespace.starts_with(&by_key));
        prop_assert_eq!(&stored[by_namespace.len()..], &entry);
    }

    /// A prefix selects what has the same fields, and nothing else.
    #[test]
    fn only_the_entries_of_a_namespace_begin_with_its_prefix(a in (bytes(4), bytes(4), bytes(4)), b in (bytes(4), bytes(4), bytes(4))) {
        let stored = encoded(StoredKey { key_group: 1, state: 1, key: &a.0, namespace: &a.1, entry: &a.2 });
        let mut prefix = Vec::new();
        namespace_prefix(1, 1, &b.0, &b.1, &mut prefix).expect("short");
        prop_assert_eq!(stored.starts_with(&prefix), (&a.0, &a.1) == (&b.0, &b.1));
        key_prefix(1, 1, &b.0, &mut prefix).expect("short");
        prop_assert_eq!(stored.starts_with(&prefix), a.0 == b.0);
    }

    #[test]
    fn entries_of_a_map_iterate_in_the_order_of_their_encoded_keys(key in bytes(9), namespace in bytes(9), a in bytes(9), b in bytes(9)) {
        let stored = |entry| encoded(StoredKey { key_group: 9, state: 9, key: &key, namespace: &namespace, entry });
        prop_assert_eq!(stored(&a).cmp(&stored(&b)), a.cmp(&b));
    }

    #[test]
    fn elements_of_a_list_iterate_in_append_order_and_key_groups_in_theirs(a in any::<(u16, u16, u64)>(), b in any::<(u16, u16, u64)>()) {
        let stored = |(key_group, state, index): (u16, u16, u64)| {
            encoded(StoredKey { key_group, state, key: b"key", namespace: b"", entry: &index.to_be_bytes() })
        };
        prop_assert_eq!(stored(a).cmp(&stored(b)), a.cmp(&b));
    }

    #[test]
    fn a_prefix_ends_where_no_more_begin_with_it(prefix in bytes(5), other in bytes(6)) {
        let mut end = prefix.clone();
        if end_of_prefix(&mut end) {
            let within = other >= prefix && other < end;
            prop_assert_eq!(within, other.starts_with(&prefix));
        } else {
            prop_assert!(end.is_empty() && prefix.iter().all(|byte| *byte == u8::MAX));
            prop_assert_eq!(other >= prefix, other.starts_with(&prefix));
        }
    }

    #[test]
    fn stored_values_come_back(version in 1_u16.., ms in proptest::option::of(any::<i64>()), value in bytes(40)) {
        let fields = StoredBytes { version, last_access: ms.map(EventTime), value: &value };
        let mut stored = b"what was there before".to_vec();
        fields.encode(&mut stored).expect("the version is not 0");
        prop_assert_eq!(StoredBytes::decode(&stored), Ok(fields));
    }

    #[test]
    fn no_bytes_make_the_decoders_fail_otherwise(bytes in vec(any::<u8>(), 0..40)) {
        if let Ok(key) = StoredKey::decode(&bytes) {
            prop_assert_eq!(encoded(key), bytes.clone());
        }
        if let Ok(value) = StoredBytes::decode(&bytes) {
            let mut again = Vec::new();
            value.encode(&mut again).expect("it was decoded");
            prop_assert_eq!(again, bytes);
        }
    }
}
