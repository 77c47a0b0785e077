//! When operator state may be touched, what a call sees of its own writes, and what is left of a call that failed.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    metrics::CounterSet,
    operator::{ExchangeLimits, Hooks, InputDescriptor, StateDescriptor},
    state::{Form, KeyedState, StateIds, StateSetup, StateSpec},
    stream::{FaultKind, schema::Schema},
};

const VALUE: u32 = 0;
const LIST: u32 = 1;
const UNION: u32 = 2;
const RULES: u32 = 3;
/// The schema version of all states.
const VERSION: u16 = 4;

const LIMITS: ExchangeLimits = ExchangeLimits { staged_bytes_max: 4096, key_bytes_max: 16, value_bytes_max: 64 };

fn descriptor() -> Descriptor {
    let kinds = [StateKind::Value, StateKind::OperatorList, StateKind::OperatorUnion, StateKind::Broadcast].into_iter();
    let state = |kind: StateKind| StateDescriptor {
        name: kind.to_string(),
        kind,
        version: VERSION,
        schema: Schema::bytes(),
        migrates_from: Vec::new(),
        map_key: None,
        ttl: None,
        prefetch: false,
        on_end: false,
    };
    let input =
        |name: &str, key, broadcast| InputDescriptor { name: name.into(), key, value: Schema::bytes(), broadcast };
    Descriptor {
        name: "test".into(),
        version: "1".into(),
        inputs: vec![input("in", Some(Schema::bytes()), false), input("rules", None, true)],
        outputs: Vec::new(),
        states: kinds.map(state).collect(),
        hooks: Hooks::default(),
    }
}

fn exchange() -> Box<Exchange> {
    let value =
        StateSpec { form: Form::Point, version: VERSION, prefetch: false, on_end: false, ttl: None, ttl_since: None };
    let state = KeyedState::new(StateSetup {
        states: vec![Some(value), None, None, None],
        ids: StateIds::default(),
        slots_max: 16,
        batch_records: 4,
        max_parallelism: 1,
        spill: None,
        snapshots: None,
    });
    let mut exchange = Exchange::new(state, Vec::new(), LIMITS, CounterSet::default(), Box::new(|_, _, _| {}));
    exchange.keep_operator_state(&descriptor(), &StateIds::default());
    exchange
}

fn strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> BytesColumn {
    strings.into_iter().collect()
}

fn put(exchange: &mut Exchange, entries: &[(&str, Option<&str>)]) -> Result<(), StageError> {
    let keys = strings(entries.iter().map(|(key, _)| key));
    let values = strings(entries.iter().map(|(_, value)| value.unwrap_or("")));
    let versions: Vec<u16> = entries.iter().map(|(_, value)| value.map_or(0, |_| VERSION)).collect();
    exchange.put_broadcast(RULES, (keys.data(), keys.ends()), (values.data(), values.ends(), &versions))
}

fn set(exchange: &mut Exchange, state: u32, elements: &[&str]) -> Result<(), StageError> {
    let elements = strings(elements);
    exchange.set_list(state, elements.data(), elements.ends())
}

/// All entries, read in pages of so many bytes.
fn entries(exchange: &Exchange, bytes: u32) -> Vec<(String, String)> {
    let (mut found, mut from) = (Vec::new(), None::<Vec<u8>>);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    loop {
        let page = exchange.read_broadcast(RULES, from.as_deref(), bytes).expect("it may be read");
        for index in 0..page.map_keys.len() {
            assert_eq!(page.values.get(index, VERSION).0, VERSION);
            found.push((text(page.map_keys.get(index)), text(page.values.values.get(index))));
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return found,
        }
        assert!(!page.map_keys.is_empty(), "a page has at least one entry");
    }
}

fn list(exchange: &mut Exchange, state: u32) -> Vec<String> {
    exchange.begin(Phase::Open, false);
    let elements = exchange.get_list(state).expect("it may be read");
    elements.values.iter().map(|element| String::from_utf8_lossy(element).into_owned()).collect()
}

/// Ends a call well.
fn apply(exchange: &mut Exchange) {
    assert_eq!(exchange.verdict(), None);
    exchange.apply_operator_state();
    exchange.discard();
}

#[test]
fn a_call_sees_its_own_writes_and_leaves_them_when_it_returned_well() {
    let mut exchange = exchange();
    exchange.begin(Phase::Broadcast(3), false);
    put(&mut exchange, &[("b", Some("1")), ("a", Some("2")), ("b", Some("3")), ("c", Some("4"))]).unwrap();
    let all = [("a", "2"), ("b", "3"), ("c", "4")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(entries(&exchange, 1), all);
    apply(&mut exchange);
    exchange.begin(Phase::Records(1), false);
    assert_eq!(entries(&exchange, 1000), all);
    exchange.begin(Phase::Broadcast(1), false);
    put(&mut exchange, &[("a", None), ("never", None), ("bb", Some("5"))]).unwrap();
    let keys = strings(["a", "b", "bb", "never"]);
    let column = exchange.get_broadcast(RULES, keys.data(), keys.ends()).unwrap();
    assert_eq!(column.versions, [0, VERSION, VERSION, 0]);
    assert_eq!(column.values, strings(["", "3", "5", ""]));
    assert_eq!(entries(&exchange, 3).iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["b", "bb", "c"]);
    // The call fails after all.
    exchange.discard();
    assert_eq!(entries(&exchange, 3), all);
}

#[test]
fn lists_are_replaced_whole_and_read_in_open_alone() {
    let mut exchange = exchange();
    for phase in [Phase::Records(1), Phase::Unkeyed(1), Phase::Broadcast(1), Phase::End(1)] {
        exchange.begin(phase, false);
        set(&mut exchange, LIST, &["x"]).unwrap();
        set(&mut exchange, LIST, &["a", "", "c"]).unwrap();
        assert!(matches!(exchange.get_list(LIST), Err(StageError::State(_))), "{phase:?}");
        apply(&mut exchange);
        assert_eq!(list(&mut exchange, LIST), ["a", "", "c"]);
        exchange.begin(phase, false);
        set(&mut exchange, LIST, &[]).unwrap();
        set(&mut exchange, UNION, &["u"]).unwrap();
        exchange.discard();
        assert_eq!(list(&mut exchange, LIST), ["a", "", "c"], "what a call that failed wrote is dropped");
        assert_eq!(list(&mut exchange, UNION), [""; 0]);
    }
}

/// What the refusal is, and whether it spoils a call in which something may be written.
#[track_caller]
fn refused<T: std::fmt::Debug>(
    phase: Phase,
    call: impl FnOnce(&mut Exchange) -> Result<T, StageError>,
    expected: StageError,
    verdict: Option<FaultKind>,
) {
    let mut exchange = exchange();
    exchange.begin(phase, false);
    assert_eq!(call(&mut exchange).expect_err("it is refused"), expected);
    assert_eq!(exchange.verdict().map(|fault| fault.kind), verdict);
}

#[test]
fn what_may_not_be_touched_now_is_refused_and_a_refused_write_spoils_the_call() {
    let only_open = || StageError::State("get-list may be called within open only".into());
    let only_calls = || StageError::State("set-list may be called within process, on-end and snapshot only".into());
    let only_broadcast = || {
        StageError::State("put-broadcast may be called only while records of a broadcast input are processed".into())
    };
    let spoilt = Some(FaultKind::MalformedColumns);
    refused(Phase::Closed, |it| it.get_list(LIST), only_open(), None);
    refused(Phase::Records(1), |it| it.get_list(LIST), only_open(), None);
    refused(Phase::Open, |it| set(it, LIST, &["x"]), only_calls(), None);
    refused(Phase::Closed, |it| set(it, LIST, &["x"]), only_calls(), None);
    refused(Phase::Open, |it| put(it, &[]), only_broadcast(), None);
    for phase in [Phase::Records(1), Phase::Unkeyed(1), Phase::End(1)] {
        refused(phase, |it| put(it, &[("a", Some("b"))]), only_broadcast(), spoilt);
    }
    // Reading is free from `open` to `close`.
    for phase in [Phase::Open, Phase::Closed, Phase::Records(1), Phase::Unkeyed(1), Phase::Broadcast(1), Phase::End(1)]
    {
        let mut exchange = exchange();
        exchange.begin(phase, false);
        assert_eq!(entries(&exchange, 10), []);
    }
    let idle = Exchange::idle();
    let early = |function: &str| StageError::State(format!("{function} may be called after describe only"));
    assert_eq!(idle.read_broadcast(RULES, None, 1), Err(early("read-broadcast")));
    assert_eq!(idle.get_broadcast(RULES, &[], &[]), Err(early("get-broadcast")));
}

#[test]
fn a_state_is_touched_by_the_functions_of_its_kind_alone() {
    let spoilt = Some(FaultKind::MalformedColumns);
    for state in [VALUE, RULES, 9] {
        refused(Phase::Open, |it| it.get_list(state), no_state(state), None);
        refused(Phase::Records(1), |it| set(it, state, &[]), no_state(state), spoilt);
    }
    for state in [VALUE, LIST, UNION, 9] {
        refused(Phase::Records(1), |it| it.get_broadcast(state, &[], &[]), no_state(state), None);
        refused(Phase::Records(1), |it| it.read_broadcast(state, None, 1), no_state(state), None);
        let write = |it: &mut Exchange| it.put_broadcast(state, (&[], &[]), (&[], &[], &[]));
        refused(Phase::Broadcast(1), write, no_state(state), spoilt);
    }
    for state in [LIST, UNION, RULES, 9] {
        refused(Phase::Records(1), |it| it.get_many(state, &[]), no_state(state), None);
        refused(Phase::Records(1), |it| it.put_many(state, &[], &[], &[], &[]), no_state(state), spoilt);
    }
}

#[test]
fn keyed_state_is_out_of_reach_while_records_without_keys_are_processed() {
    let none = |function: &str| {
        StageError::State(format!("{function} was called for a batch of an input whose records have no keys"))
    };
    for phase in [Phase::Unkeyed(1), Phase::Broadcast(1)] {
        refused(phase, |it| it.get_many(VALUE, &[]), none("get-many"), None);
        refused(phase, |it| it.slot_of(b"key"), none("slot-of"), None);
        let write = |it: &mut Exchange| it.put_many(VALUE, &[], &[], &[], &[]);
        refused(phase, write, none("put-many"), Some(FaultKind::MalformedColumns));
    }
}

#[test]
fn columns_and_sizes_are_checked() {
    let malformed = Some(FaultKind::MalformedColumns);
    let too_much = Some(FaultKind::OutputLimit);
    let raw = |keys: (&'static [u8], &'static [u32]), values: (&'static [u8], &'static [u32], &'static [u16])| {
        move |it: &mut Exchange| it.put_broadcast(RULES, keys, values)
    };
    let bad = |text: &str| StageError::Malformed(text.into());
    let text = "put-broadcast was given 1 map keys, 2 values and 0 versions";
    refused(Phase::Broadcast(1), raw((b"a", &[1]), (b"ab", &[1, 2], &[])), bad(text), malformed);
    let text = "put-broadcast was given bytes with schema version 0, which removes";
    refused(Phase::Broadcast(1), raw((b"a", &[1]), (b"x", &[1], &[0])), bad(text), malformed);
    let text = "put-broadcast was given schema version 3, but the state has version 4";
    refused(Phase::Broadcast(1), raw((b"a", &[1]), (b"x", &[1], &[3])), bad(text), malformed);
    let text = "put-broadcast, map-keys: the last end of the column is 2, but it holds 1 bytes";
    refused(Phase::Broadcast(1), raw((b"a", &[2]), (b"x", &[1], &[])), bad(text), malformed);
    let text = "set-list: end 1 of the column (1) lies before the end that precedes it (3)";
    refused(Phase::Records(1), |it| it.set_list(LIST, b"abc", &[3, 1]), bad(text), malformed);
    let text = "get-broadcast, map-keys: the last end of the column is 2, but it holds 1 bytes";
    refused(Phase::Records(1), |it| it.get_broadcast(RULES, b"a", &[2]), bad(text), None);

    let limit = |text: &str| StageError::Limit(text.into());
    let long = "x".repeat(65);
    let entry = [(&long[..17], Some("v"))];
    refused(Phase::Broadcast(1), |it| put(it, &entry), limit("a map key has 17 bytes, more than 16"), too_much);
    let entry = [("k", Some(&long[..]))];
    refused(Phase::Broadcast(1), |it| put(it, &entry), limit("a state's value has 65 bytes, more than 64"), too_much);
    refused(Phase::End(1), |it| set(it, UNION, &[&long]), limit("an element has 65 bytes, more than 64"), too_much);
    let all = "the call emitted more than 4096 bytes (limits.output), state included";
    let many = |it: &mut Exchange| (0..100).try_for_each(|_| set(it, LIST, &[&long[..64]]));
    refused(Phase::Records(1), many, limit(all), too_much);

    // What is read is bounded too, however often a key is named.
    let mut exchange = exchange();
    exchange.begin(Phase::Broadcast(1), false);
    put(&mut exchange, &[("k", Some(&long[..64]))]).unwrap();
    let keys = strings(vec!["k"; 65]);
    let read = exchange.get_broadcast(RULES, keys.data(), keys.ends());
    assert_eq!(read, Err(limit("get-broadcast was asked for more than 4096 bytes (limits.output)")));
    assert_eq!(exchange.verdict(), None, "a read that was refused spoils nothing");
}

proptest! {
    #[test]
    fn calls_are_transactions_over_an_ordered_map(
        calls in vec((any::<bool>(), vec((0_u8..12, proptest::option::of(0_u8..200)), 0..12)), 0..12),
        bytes in 0_u32..12,
    ) {
        let mut exchange = exchange();
        let mut model: BTreeMap<String, String> = BTreeMap::new();
        for (well, writes) in calls {
            exchange.begin(Phase::Broadcast(1), false);
            let mut seen = model.clone();
            for (key, value) in &writes {
                let (key, value) = (format!("{key:x}"), value.map(|value| value.to_string()));
                put(&mut exchange, &[(&key, value.as_deref())]).unwrap();
                match value {
                    Some(value) => seen.insert(key, value),
                    None => seen.remove(&key),
                };
                prop_assert_eq!(entries(&exchange, bytes), seen.clone().into_iter().collect::<Vec<_>>());
            }
            if well {
                apply(&mut exchange);
                model = seen;
            } else {
                exchange.discard();
            }
            prop_assert_eq!(entries(&exchange, bytes), model.clone().into_iter().collect::<Vec<_>>());
        }
    }
}
