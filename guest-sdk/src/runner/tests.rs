//! What the runner does with columns that contradict themselves, and what it hands over.

use std::cell::RefCell;

use super::*;
use crate::host::{Level, Seldom};
use crate::state::ValueState;
use crate::wire::{BytesColumn, Cells, Prefetched, StoredColumn};
use crate::{Context, Result as SdkResult};

struct Sum(ValueState<u64>);

impl Operator for Sum {
    type Key<'a> = &'a str;
    type Input<'a> = u64;
    type Output<'a> = u64;
    fn declare(states: &mut Declaration) -> Self {
        Self(states.value("sum"))
    }
    fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> SdkResult<()> {
        let sum = self.0.get(ctx)?.unwrap_or(0) + input;
        self.0.set(ctx, sum)?;
        if input == 13 {
            return Err("unlucky".into());
        }
        ctx.emit(sum)
    }
}

#[derive(Default)]
struct Recorder {
    puts: RefCell<Vec<(Vec<u32>, StoredColumn)>>,
    emits: RefCell<Vec<(Vec<u32>, usize)>>,
}

impl Host for Recorder {
    fn put_many(&self, _: u32, cells: &Cells, values: &StoredColumn) -> Result<(), Error> {
        self.puts.borrow_mut().push((cells.slots.clone(), values.clone()));
        Ok(())
    }
    fn emit(&self, _: u32, src: &[u32], values: &BytesColumn, _: &[i64]) -> Result<(), Error> {
        self.emits.borrow_mut().push((src.to_vec(), values.ends.len()));
        Ok(())
    }
    fn emit_keyed(&self, _: u32, _: &BytesColumn, _: &BytesColumn, _: &[i64]) -> Result<(), Error> {
        Err(Error::Other("not keyed".to_owned()))
    }
    fn log(&self, _: Level, _: &str) {}
    fn count(&self, _: &str, _: u64) {}
    fn gauge(&self, _: &str, _: f64) {}
    fn seldom(&self) -> &dyn Seldom {
        unreachable!("a value that is delivered needs nothing else")
    }
}

fn runner() -> Runner<Sum> {
    let task = TaskInfo {
        job: String::new(),
        operator: String::new(),
        task: 0,
        parallelism: 1,
        max_parallelism: 128,
        key_groups: (0, 128),
        batch_records: 2,
        batch_bytes: 1 << 20,
    };
    Runner::open("{}", task, &Recorder::default()).expect("it has nothing to open")
}

fn strings(strings: &[&[u8]]) -> BytesColumn {
    let mut column = BytesColumn::default();
    for string in strings {
        column.data.extend_from_slice(string);
        column.ends.push(column.data.len() as u32);
    }
    column
}

/// Slot 0 is "a", slot 1 is "b" with the sum 5; three records.
fn batch() -> Batch {
    let stored = strings(&[b"", &5_u64.to_le_bytes()]);
    Batch {
        keys: Keys {
            released: vec![],
            fresh: vec![0, 1],
            fresh_keys: strings(&[b"a", b"b"]),
            prefetched: vec![Prefetched {
                state: 0,
                slots: vec![0, 1],
                values: StoredColumn { data: stored.data, ends: stored.ends, versions: vec![0, 1] },
            }],
        },
        slots: vec![0, 1, 0],
        values: strings(&[&1_u64.to_le_bytes(), &2_u64.to_le_bytes(), &3_u64.to_le_bytes()]),
        ..Batch::default()
    }
}

#[test]
fn outputs_leave_when_the_buffer_is_full_and_state_once_at_the_end() {
    let (mut runner, host) = (runner(), Recorder::default());
    assert_eq!(runner.process(&batch(), &host), Ok(vec![]));
    assert_eq!(*host.emits.borrow(), [(vec![0, 1], 2), (vec![2], 1)]);
    let data = [4_u64.to_le_bytes(), 7_u64.to_le_bytes()].concat();
    assert_eq!(*host.puts.borrow(), [(vec![0, 1], StoredColumn { data, ends: vec![8, 16], versions: vec![] })]);
}

#[test]
fn a_failed_record_leaves_nothing_but_its_failure() {
    let (mut runner, host) = (runner(), Recorder::default());
    let mut batch = batch();
    batch.values = strings(&[&1_u64.to_le_bytes(), &13_u64.to_le_bytes(), &13_u64.to_le_bytes()]);
    let failures = runner.process(&batch, &host).expect("the batch goes on");
    assert_eq!(
        failures.iter().map(|one| (one.index, one.message.as_str())).collect::<Vec<_>>(),
        [(1, "unlucky"), (2, "unlucky")]
    );
    assert_eq!(*host.emits.borrow(), [(vec![0], 1)]);
    // What was undone is not handed over.
    let data = 1_u64.to_le_bytes().to_vec();
    assert_eq!(*host.puts.borrow(), [(vec![0], StoredColumn { data, ends: vec![8], versions: vec![] })]);
}

#[test]
fn contradictory_columns_end_the_call_and_the_instance() {
    let changes: [(&str, fn(&mut Batch)); 16] = [
        ("another input", |batch| batch.input = 1),
        ("a slot too many", |batch| batch.slots.push(0)),
        ("no slots", |batch| batch.slots.clear()),
        ("a slot that nobody told of", |batch| batch.slots[1] = 2),
        ("a slot far away", |batch| batch.slots[1] = u32::MAX),
        ("falling ends", |batch| batch.values.ends = vec![16, 8, 24]),
        ("ends beyond the data", |batch| batch.values.ends[2] = 25),
        ("data beyond the ends", |batch| batch.values.data.push(0)),
        ("a timestamp too few", |batch| batch.timestamps = vec![1, 2]),
        ("a fresh slot without a key", |batch| batch.keys.fresh.push(2)),
        ("a fresh slot that is too large", |batch| batch.keys.fresh[1] = u32::MAX),
        ("a released slot that stands for nothing", |batch| batch.keys.released.push(0)),
        ("no state for a fresh slot", |batch| batch.keys.prefetched.clear()),
        ("a state that does not exist", |batch| batch.keys.prefetched[0].state = 1),
        ("state of a slot that nobody knows", |batch| batch.keys.prefetched[0].slots[1] = 9),
        ("a version too few", |batch| batch.keys.prefetched[0].values.versions = vec![1]),
    ];
    for (what, change) in changes {
        let (mut runner, host) = (runner(), Recorder::default());
        let mut wrong = batch();
        change(&mut wrong);
        let result = runner.process(&wrong, &host);
        assert!(matches!(result, Err(Error::InvalidInput(_))), "{what}: {result:?}");
        assert!(host.puts.borrow().is_empty(), "{what}");
        assert!(runner.process(&batch(), &host).is_err(), "{what}: the instance is dead");
    }
}

#[test]
fn a_slot_gets_another_key_with_another_state() {
    let (mut runner, host) = (runner(), Recorder::default());
    assert_eq!(runner.process(&batch(), &host), Ok(vec![]));
    let mut second = batch();
    second.keys.released = vec![0];
    second.slots = vec![1, 0, 0];
    second.keys.fresh = vec![0];
    second.keys.fresh_keys = strings(&["a key that does not lie in the array".as_bytes()]);
    let values = StoredColumn { data: 100_u64.to_le_bytes().to_vec(), ends: vec![8], versions: vec![] };
    second.keys.prefetched = vec![Prefetched { state: 0, slots: vec![0], values }];
    let host = Recorder::default();
    assert_eq!(runner.process(&second, &host), Ok(vec![]));
    let data = [8_u64.to_le_bytes(), 105_u64.to_le_bytes()].concat();
    assert_eq!(*host.puts.borrow(), [(vec![1, 0], StoredColumn { data, ends: vec![8, 16], versions: vec![] })]);
}

#[test]
fn only_records_with_bad_text_fail() {
    struct Echo;
    impl Operator for Echo {
        type Key<'a> = ();
        type Input<'a> = &'a str;
        type Output<'a> = &'a str;
        fn declare(_: &mut Declaration) -> Self {
            Self
        }
        fn process(&mut self, input: &str, ctx: &mut Context<Self>) -> SdkResult<()> {
            ctx.emit(input)
        }
    }
    let mut runner =
        Runner::<Echo>::open("{}", runner().memory.task, &Recorder::default()).expect("it has nothing to open");
    let host = Recorder::default();
    let batch = Batch { values: strings(&[b"good", b"b\xFFd", "größe".as_bytes()]), ..Batch::default() };
    let failures = runner.process(&batch, &host).expect("the batch goes on");
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].index, 1);
    assert_eq!(*host.emits.borrow(), [(vec![0, 2], 2)]);
}
