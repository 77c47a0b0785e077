//! Maps, lists, namespaces and accumulators, held against plain collections: whatever the sizes of batches and of the slot table, and with records that fail.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::{Harness, Setup};

/// Does to a map, a list, an accumulator and a sum what the input says.
struct Keeper {
    map: MapState<String, u64>,
    list: ListState<String>,
    mean: AggregatingState<Mean>,
    sum: ReducingState<u64>,
}

struct Mean;

impl Aggregate for Mean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }
    fn add(&self, (sum, count): &mut (u64, u64), input: u64) {
        *sum += input;
        *count += 1;
    }
    fn get(&self, (sum, count): &(u64, u64)) -> u64 {
        sum / count
    }
    fn merge(&self, (sum, count): &mut (u64, u64), other: (u64, u64)) {
        *sum += other.0;
        *count += other.1;
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, Schema)]
enum Do {
    Insert(String, u64),
    Remove(String),
    ClearMap,
    Get(String),
    Entries,
    Add(String),
    Replace(Vec<String>),
    ClearList,
    Items,
    Mean(u64),
    Merge(u64, u64),
    ClearMean,
    Sum(u64),
    ClearSum,
}

/// A namespace, what is done in it one after the other, and whether the record then fails.
type Input = (String, Vec<Do>, bool);

/// What was read, as text.
type Seen = Vec<String>;

impl Operator for Keeper {
    type Key<'a> = &'a str;
    type Input<'a> = Input;
    type Output<'a> = Seen;

    fn declare(states: &mut Declaration) -> Self {
        let keeper = Self {
            map: states.map("map"),
            list: states.list("list"),
            mean: states.aggregating("mean", Mean),
            sum: states.reducing("sum", |a, b| a + b),
        };
        states.namespaced(&keeper.mean);
        states.namespaced(&keeper.sum);
        keeper
    }

    fn process(&mut self, (namespace, deeds, fails): Input, ctx: &mut Context<Self>) -> Result<()> {
        ctx.set_namespace(namespace.as_bytes())?;
        let mut seen = Vec::new();
        for deed in deeds {
            match deed {
                Do::Insert(key, value) => self.map.insert(ctx, &key, value)?,
                Do::Remove(key) => self.map.remove(ctx, &key)?,
                Do::ClearMap => self.map.clear(ctx)?,
                Do::Get(key) => {
                    let value = self.map.get(ctx, &key)?;
                    assert_eq!(self.map.contains(ctx, &key)?, value.is_some());
                    seen.push(format!("{value:?}"));
                }
                Do::Entries => {
                    let entries = self.map.entries(ctx)?.collect::<Result<Vec<_>>>()?;
                    assert_eq!(self.map.is_empty(ctx)?, entries.is_empty());
                    seen.push(format!("{entries:?}"));
                }
                Do::Add(item) => self.list.add(ctx, &item)?,
                Do::Replace(items) => self.list.replace(ctx, &items)?,
                Do::ClearList => self.list.clear(ctx)?,
                Do::Items => {
                    let items = self.list.items(ctx)?.collect::<Result<Vec<_>>>()?;
                    assert_eq!(self.list.is_empty(ctx)?, items.is_empty());
                    seen.push(format!("{items:?}"));
                }
                Do::Mean(value) => self.mean.add(ctx, value)?,
                Do::Merge(sum, count) => self.mean.merge(ctx, (sum, count + 1))?,
                Do::ClearMean => self.mean.clear(ctx)?,
                Do::Sum(value) => {
                    let sum = self.sum.add(ctx, value)?;
                    seen.push(format!("{sum}"));
                }
                Do::ClearSum => self.sum.clear(ctx)?,
            }
        }
        seen.push(format!("{:?} {:?}", self.mean.get(ctx)?, self.mean.accumulator(ctx)?));
        ctx.emit(seen)?;
        if fails {
            bail!("as it was told");
        }
        Ok(())
    }
}

/// What a key has in a namespace.
#[derive(Clone, Default)]
struct Model {
    map: BTreeMap<String, u64>,
    list: Vec<String>,
    mean: Option<(u64, u64)>,
    sum: Option<u64>,
}

impl Model {
    fn take(&mut self, deeds: &[Do]) -> Seen {
        let mut seen = Vec::new();
        for deed in deeds.iter().cloned() {
            match deed {
                Do::Insert(key, value) => drop(self.map.insert(key, value)),
                Do::Remove(key) => drop(self.map.remove(&key)),
                Do::ClearMap => self.map.clear(),
                Do::Get(key) => seen.push(format!("{:?}", self.map.get(&key))),
                Do::Entries => seen.push(format!("{:?}", self.map.iter().collect::<Vec<_>>())),
                Do::Add(item) => self.list.push(item),
                Do::Replace(items) => self.list = items,
                Do::ClearList => self.list.clear(),
                Do::Items => seen.push(format!("{:?}", self.list)),
                Do::Mean(value) => {
                    self.mean = self.mean.map_or(Some((value, 1)), |(sum, count)| Some((sum + value, count + 1)))
                }
                Do::Merge(sum, count) => {
                    let (old_sum, old_count) = self.mean.unwrap_or_default();
                    self.mean = Some((old_sum + sum, old_count + count + 1));
                }
                Do::ClearMean => self.mean = None,
                Do::Sum(value) => {
                    self.sum = Some(self.sum.unwrap_or(0) + value);
                    seen.push(format!("{}", self.sum.unwrap_or(0)));
                }
                Do::ClearSum => self.sum = None,
            }
        }
        seen.push(format!("{:?} {:?}", self.mean.map(|(sum, count)| sum / count), self.mean));
        seen
    }
}

fn deed() -> impl Strategy<Value = Do> {
    let key = || prop_oneof!["[a-d]{0,2}", Just("a long key that takes many bytes".repeat(20))];
    prop_oneof![
        4 => (key(), 0..9_u64).prop_map(|(key, value)| Do::Insert(key, value)),
        2 => key().prop_map(Do::Remove),
        1 => Just(Do::ClearMap),
        3 => key().prop_map(Do::Get),
        3 => Just(Do::Entries),
        4 => "[a-c]{0,9}".prop_map(Do::Add),
        1 => proptest::collection::vec("[a-c]", 0..3).prop_map(Do::Replace),
        1 => Just(Do::ClearList),
        3 => Just(Do::Items),
        2 => (0..9_u64).prop_map(Do::Mean),
        1 => (0..9_u64, 0..3_u64).prop_map(|(sum, count)| Do::Merge(sum, count)),
        1 => Just(Do::ClearMean),
        2 => (0..9_u64).prop_map(Do::Sum),
        1 => Just(Do::ClearSum),
    ]
}

proptest! {
    #[test]
    fn state_is_that_of_plain_collections(
        records in proptest::collection::vec(
            ("[a-c]", "[xy]{0,1}", proptest::collection::vec(deed(), 0..5), proptest::bool::weighted(0.25)), 0..60,
        ),
        (batch, slots) in (1_usize..20, 1_usize..5),
        reopen_at in 0_usize..60,
    ) {
        let mut harness = Harness::<Keeper>::with(Setup::default().batch_records(batch).slots_max(slots));
        let mut models: BTreeMap<(String, String), Model> = BTreeMap::new();
        let (mut results, mut failures) = (Vec::new(), 0);
        for (index, (key, namespace, deeds, fails)) in records.into_iter().enumerate() {
            if index == reopen_at {
                harness.reopen();
            }
            let model = models.entry((key.clone(), namespace.clone())).or_default();
            let mut changed = model.clone();
            let seen = changed.take(&deeds);
            if fails {
                failures += 1;
            } else {
                *model = changed;
                results.push(seen);
            }
            harness.send(key.as_str(), (namespace, deeds, fails));
        }
        prop_assert_eq!(harness.take_outputs::<Seen>(), results);
        prop_assert_eq!(harness.take_failures().len(), failures);
        for ((key, namespace), model) in models {
            let (key, namespace) = (key.as_str(), namespace.as_bytes());
            prop_assert_eq!(harness.map_in::<String, u64>("map", key, namespace), model.map.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(harness.list_in::<String>("list", key, namespace), model.list);
            prop_assert_eq!(harness.state_in::<(u64, u64)>("mean", key, namespace), model.mean);
            prop_assert_eq!(harness.state_in::<u64>("sum", key, namespace), model.sum);
        }
    }
}

fn calls(harness: &mut Harness<Keeper>, key: &str, deeds: &[Do]) -> u64 {
    let before = harness.host_calls();
    harness.send(key, (String::new(), deeds.to_vec(), false));
    harness.host_calls() - before
}

#[test]
fn what_was_read_or_written_once_is_not_asked_for_again() {
    let mut harness = Harness::<Keeper>::with(Setup::default().slots_max(1));
    let get = |key: &str| Do::Get(key.to_owned());
    let insert = |key: &str| Do::Insert(key.to_owned(), 1);
    // Each record also looks at the mean, and emits.
    assert_eq!(calls(&mut harness, "k", &[]), 2);
    assert_eq!(calls(&mut harness, "k", &[]), 1);
    assert_eq!(calls(&mut harness, "k", &[get("a"), get("a")]), 1 + 1);
    assert_eq!(calls(&mut harness, "k", &[get("a")]), 1);
    // Writing reads nothing, and all of it is handed over at once.
    assert_eq!(calls(&mut harness, "k", &[insert("a"), insert("b"), Do::Remove("c".to_owned())]), 1 + 1);
    assert_eq!(calls(&mut harness, "k", &[get("a"), get("b"), get("c")]), 1);
    // What is not there after a clearing is known.
    assert_eq!(calls(&mut harness, "k", &[Do::ClearMap, get("a"), get("z"), insert("y"), Do::Entries]), 1 + 2);
    assert_eq!(calls(&mut harness, "k", &[get("a"), get("z"), get("y")]), 1);
    let add = || Do::Add("item".to_owned());
    assert_eq!(calls(&mut harness, "k", &[add(), add()]), 1 + 1);
    assert_eq!(calls(&mut harness, "k", &[Do::ClearList, add(), Do::Items]), 1 + 2);
    // Another key takes the slot.
    assert_eq!(calls(&mut harness, "other", &[get("y")]), 1 + 2);
    assert_eq!(calls(&mut harness, "k", &[get("y")]), 1 + 2);
    assert_eq!(harness.take_outputs::<Seen>().pop().expect("a result")[0], "Some(1)");
}

/// Emits the first entries of its map, which takes several pages.
struct Long(MapState<(String, i64), String>, ListState<u64>);

impl Operator for Long {
    type Key<'a> = u64;
    type Input<'a> = u64;
    type Output<'a> = (String, i64, u64);

    fn declare(states: &mut Declaration) -> Self {
        Self(states.map("map"), states.list("list"))
    }

    fn process(&mut self, count: u64, ctx: &mut Context<Self>) -> Result<()> {
        for number in 0..count {
            let at = number as i64 % 50 - 25;
            self.0.insert(ctx, &(format!("{}", number % 3), at), "long ".repeat(200))?;
        }
        self.1.add_all(ctx, &(0..count).collect::<Vec<_>>())?;
        // What is written while it is read is not seen.
        for (entry, item) in self.0.entries(ctx)?.zip(self.1.items(ctx)?) {
            let (((name, at), _), item) = (entry?, item?);
            ctx.emit((name, at, item))?;
            self.0.clear(ctx)?;
            self.1.clear(ctx)?;
            self.0.insert(ctx, &("0".to_owned(), at), String::new())?;
        }
        Ok(())
    }
}

#[test]
fn entries_come_in_order_over_many_pages() {
    let mut harness = Harness::<Long>::with(Setup::default().batch_records(1));
    harness.send(1_u64, 150_u64);
    let results = harness.take_outputs::<(String, i64, u64)>();
    assert_eq!(results.len(), 150);
    assert!(results.is_sorted(), "by name, then by number, negative ones first");
    assert_eq!(results[0], ("0".to_owned(), -25, 0));
    assert_eq!(harness.map::<(String, i64), String>("map", 1_u64).len(), 1);
    assert!(harness.list::<u64>("list", 1_u64).is_empty());
    harness.send(1_u64, 149_u64);
    assert_eq!(harness.take_outputs::<(String, i64, u64)>().len(), 149);
    assert!(harness.take_failures().is_empty());
}

#[test]
fn more_than_is_kept_is_read_again() {
    let mut harness = Harness::<Large>::with(Setup::default().batch_records(1));
    for number in 0..60_u64 {
        harness.send(1_u64, (number, 1_000_000_u64));
    }
    for number in 0..60_u64 {
        harness.send(1_u64, (number, 0_u64));
    }
    assert_eq!(harness.take_outputs::<u64>(), (0..60).collect::<Vec<_>>());
}

/// Writes large values, and says what they begin with.
struct Large(MapState<u64, Vec<u8>>);

impl Operator for Large {
    type Key<'a> = u64;
    type Input<'a> = (u64, u64);
    type Output<'a> = u64;

    fn declare(states: &mut Declaration) -> Self {
        Self(states.map("map"))
    }

    fn process(&mut self, (number, size): (u64, u64), ctx: &mut Context<Self>) -> Result<()> {
        if size > 0 {
            return self.0.insert(ctx, &number, vec![number as u8; size as usize]);
        }
        let first = self.0.with(ctx, &number, |bytes| bytes.map_or(0, |bytes| bytes[0]))?;
        ctx.emit(u64::from(first))
    }
}

#[test]
fn an_entry_that_does_not_decode_fails_only_those_who_read_it() {
    let mut harness = Harness::<Keeper>::new();
    harness.put_map_bytes("map", "k", "bad", 1, &[1, 2]);
    harness.put_map_bytes("map", "k", "old", 7, &[0; 8]);
    let get = |key: &str| Do::Get(key.to_owned());
    for deed in [get("bad"), get("old"), get("none"), Do::Entries, Do::Insert("bad".to_owned(), 5), get("bad")] {
        harness.send("k", (String::new(), vec![deed], false));
    }
    let messages: Vec<_> = harness.take_failures().into_iter().map(|failed| (failed.index, failed.message)).collect();
    let bad = "state \"map\": the value stored under schema version 1 doesn't decode as u64".to_owned();
    let old = "state \"map\": the value has schema version 7, the operator knows version 1 only".to_owned();
    assert_eq!(messages, [(0, bad.clone()), (1, old), (3, bad)]);
    assert_eq!(harness.map_entry::<u64>("map", "k", "bad"), Some(5));
}

/// Uses a state in a namespace that was not declared for it, and goes beyond limits.
struct Wrong(ValueState<u64>, MapState<String, u64>);

impl Operator for Wrong {
    type Key<'a> = &'a str;
    type Input<'a> = &'a str;
    type Output<'a> = ();

    fn declare(states: &mut Declaration) -> Self {
        Self(states.value("plain"), states.map("map"))
    }

    fn process(&mut self, input: &str, ctx: &mut Context<Self>) -> Result<()> {
        match input {
            "get" | "set" => {
                self.0.set(ctx, 1)?;
                self.1.insert(ctx, "key", 1)?;
                ctx.set_namespace(b"space")?;
                if input == "get" { self.0.get(ctx).map(drop) } else { self.0.set(ctx, 2) }
            }
            "back" => {
                ctx.set_namespace(b"space")?;
                ctx.set_namespace(b"")?;
                self.0.set(ctx, 3)
            }
            "namespace" => ctx.set_namespace(&[0; 1025]),
            _ => self.1.insert(ctx, &"k".repeat(4097), 1),
        }
    }
}

#[test]
fn mistakes_are_said_in_plain_words_and_undone() {
    let mut harness = Harness::<Wrong>::new();
    for input in ["get", "set", "namespace", "key"] {
        harness.send("k", input);
    }
    let messages: Vec<_> = harness.take_failures().into_iter().map(|failed| failed.message).collect();
    let plain = "state \"plain\" is used in a namespace, which was not declared: `states.namespaced` of it is missing";
    assert_eq!(messages[..2], [plain, plain]);
    assert_eq!(messages[2], "a namespace has 1025 bytes; the limit is 1024");
    assert_eq!(messages[3], "a map key has 4097 bytes; the limit is 4096");
    assert_eq!(harness.state::<u64>("plain", "k"), None);
    assert!(harness.map::<String, u64>("map", "k").is_empty());
    harness.send("k", "back");
    assert_eq!(harness.state::<u64>("plain", "k"), Some(3));
}
