//! Migrations as the host sees them: the export, and which record is named when one panics.

use std::cell::RefCell;

use super::*;
use crate::host::{Level, Seldom};
use crate::state::{MapState, ValueState};
use crate::wire::{Cells, Prefetched, StoredColumn};
use crate::{Context, Result as SdkResult, bail};

thread_local! {
    /// The record that was current, for each migration.
    static CURRENT: RefCell<Vec<Option<u32>>> = const { RefCell::new(Vec::new()) };
}

struct Keeper {
    value: ValueState<String>,
    _map: MapState<u8, u64>,
}

impl Operator for Keeper {
    type Key<'a> = u64;
    type Input<'a> = ();
    type Output<'a> = &'a str;

    fn declare(states: &mut Declaration) -> Self {
        let keeper = Self { value: states.value("value"), _map: states.map("map") };
        states.migrates_from(&keeper.value, 2, |old: String| Ok(old + "!"));
        states.migrates_from(&keeper.value, 1, |old: u32| {
            CURRENT.with_borrow_mut(|current| current.push(panics::current()));
            if old == 13 {
                bail!("{old} is unlucky");
            }
            Ok(old.to_string())
        });
        states.schema_version(&keeper.value, 3);
        keeper
    }

    fn process(&mut self, (): (), ctx: &mut Context<Self>) -> SdkResult<()> {
        let value = self.value.get(ctx)?.unwrap_or_default();
        ctx.emit(&value)
    }
}

/// Takes results, and nothing else.
struct Mute;

impl Host for Mute {
    fn put_many(&self, _: u32, _: &Cells, _: &StoredColumn) -> Result<(), Error> {
        Err(Error::State("what is only read must not be written".to_owned()))
    }
    fn emit(&self, _: u32, _: &[u32], _: &BytesColumn, _: &[i64]) -> Result<(), Error> {
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

fn runner() -> Runner<Keeper> {
    let task = TaskInfo {
        job: String::new(),
        operator: String::new(),
        task: 0,
        parallelism: 1,
        max_parallelism: 128,
        key_groups: (0, 128),
        batch_records: 10,
        batch_bytes: 1 << 20,
    };
    Runner::open("{}", task, &Mute).expect("it has nothing to open")
}

fn column(strings: &[&[u8]]) -> BytesColumn {
    let mut column = BytesColumn::default();
    for string in strings {
        column.data.extend_from_slice(string);
        column.ends.push(column.data.len() as u32);
    }
    column
}

#[test]
fn values_of_a_former_version_become_those_of_the_current_one() {
    let runner = runner();
    assert_eq!(runner.migrate(0, 1, &column(&[&[7], &[0x80, 1]])), Ok(column(&[b"7", b"128"])));
    assert_eq!(runner.migrate(0, 2, &column(&[b"a", b""])), Ok(column(&[b"a!", b"!"])));
    assert_eq!(runner.migrate(0, 1, &BytesColumn::default()), Ok(BytesColumn::default()));
}

#[test]
fn a_value_that_can_not_be_migrated_is_named_and_the_instance_lives_on() {
    let runner = runner();
    let text = "value 1: state \"value\": the value of schema version 1 can't be migrated to version 3: 13 is unlucky";
    assert_eq!(runner.migrate(0, 1, &column(&[&[7], &[13]])), Err(Error::Other(text.to_owned())));
    let result = runner.migrate(0, 1, &column(&[&[]]));
    assert!(matches!(&result, Err(Error::Other(text)) if text.contains("0 bytes don't decode as u32")), "{result:?}");
    assert_eq!(runner.migrate(0, 1, &column(&[&[7]])), Ok(column(&[b"7"])));
    assert_eq!(panics::current(), None);
}

#[test]
fn what_nobody_migrates_is_refused() {
    let runner = runner();
    for (state, version, expected) in [
        (2, 1, "there is no state 2"),
        (0, 3, "state \"value\" doesn't migrate from schema version 3"),
        (0, 0, "state \"value\" doesn't migrate from schema version 0"),
        (1, 1, "state \"map\" doesn't migrate from schema version 1"),
    ] {
        let result = runner.migrate(state, version, &column(&[&[7]]));
        assert_eq!(result, Err(Error::InvalidInput(expected.to_owned())));
    }
    let wrong = BytesColumn { data: vec![7], ends: vec![2] };
    assert!(matches!(runner.migrate(0, 1, &wrong), Err(Error::InvalidInput(_))));
}

/// Records with these slots, which are fresh in the order `fresh` and have values of version 1.
fn batch(slots: &[u32], fresh: &[u32], values: &[&[u8]]) -> Batch {
    let BytesColumn { data, ends } = column(values);
    let keys: Vec<[u8; 8]> = fresh.iter().map(|slot| u64::from(*slot).to_le_bytes()).collect();
    Batch {
        keys: Keys {
            fresh: fresh.to_vec(),
            fresh_keys: column(&keys.iter().map(<[u8; 8]>::as_slice).collect::<Vec<_>>()),
            prefetched: vec![Prefetched {
                state: 0,
                slots: fresh.to_vec(),
                values: StoredColumn { data, ends, versions: vec![1; fresh.len()] },
            }],
            ..Keys::default()
        },
        slots: slots.to_vec(),
        values: column(&vec![&[] as &[u8]; slots.len()]),
        ..Batch::default()
    }
}

#[test]
fn a_value_that_is_delivered_is_migrated_on_account_of_a_record_that_has_its_key() {
    for (fresh, expected) in [([4, 2, 7], [0, 1, 4]), ([7, 4, 2], [4, 5, 1])] {
        let mut runner = runner();
        let result = runner.process(&batch(&[4, 2, 4, 2, 7, 4], &fresh, &[&[1], &[2], &[3]]), &Mute);
        assert_eq!(result, Ok(vec![]));
        assert_eq!(CURRENT.take(), expected.map(Some));
    }
}

#[test]
fn a_slot_that_gets_another_key_fails_no_more() {
    let mut runner = runner();
    let failed = |runner: &mut Runner<Keeper>, batch: &Batch| {
        let failures = runner.process(batch, &Mute).expect("the batch goes on");
        failures.iter().map(|failure| failure.index).collect::<Vec<_>>()
    };
    assert_eq!(failed(&mut runner, &batch(&[0, 1, 0], &[0, 1], &[&[13], &[7]])), [0, 2]);
    assert_eq!(failed(&mut runner, &batch(&[1, 0], &[], &[])), [1]);
    // Fresh again, with bytes of no known version.
    let mut again = batch(&[0], &[0], &[&[7]]);
    again.keys.prefetched[0].values.versions = vec![9];
    let failures = runner.process(&again, &Mute).expect("the batch goes on");
    assert!(failures[0].message.contains("schema version 9"), "{}", failures[0].message);
    assert_eq!(failed(&mut runner, &batch(&[0], &[0], &[&[13]])), [0]);
    let mut released = batch(&[1], &[], &[]);
    released.keys.released = vec![0];
    assert!(failed(&mut runner, &released).is_empty());
    assert_eq!(failed(&mut runner, &batch(&[0], &[0], &[&[7]])), [0; 0]);
}

#[test]
fn a_former_value_for_a_slot_that_nobody_knows_ends_the_call() {
    let mut wrong = batch(&[0], &[0], &[&[7]]);
    wrong.keys.prefetched[0].slots = vec![9];
    let result = runner().process(&wrong, &Mute);
    assert!(matches!(&result, Err(Error::InvalidInput(text)) if text.contains("slot 9")), "{result:?}");
}
