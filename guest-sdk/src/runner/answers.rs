//! What becomes of answers of the host that contradict themselves: the record that asked fails, or the call where state was delivered.

use std::cell::RefCell;
use std::time::Duration;

use super::*;
use crate::host::{Level, Seldom};
use crate::state::{ListState, MapState, ReducingState};
use crate::ttl::Refresh;
use crate::wire::{BytesColumn, Cells, Page, Prefetched, StoredColumn};
use crate::{Context, Result as SdkResult};

/// Reads what the input says.
struct Reader {
    map: MapState<u8, u64>,
    list: ListState<u64>,
    short: ReducingState<u64>,
}

impl Operator for Reader {
    type Key<'a> = u64;
    type Input<'a> = &'a str;
    type Output<'a> = u64;

    fn declare(states: &mut Declaration) -> Self {
        let reader =
            Self { map: states.map("map"), list: states.list("list"), short: states.reducing("short", u64::max) };
        states.ttl(&reader.short, Duration::from_secs(1), Refresh::OnReadAndWrite);
        reader
    }

    fn process(&mut self, input: &str, ctx: &mut Context<Self>) -> SdkResult<()> {
        match input {
            "get" => self.map.get(ctx, &1).map(drop),
            "entries" => self.map.entries(ctx)?.try_for_each(|entry| entry.map(drop)),
            "items" => self.list.items(ctx)?.try_for_each(|item| item.map(drop)),
            "twice" => {
                let mut entries = self.map.entries(ctx)?;
                let (first, second) = (entries.next(), entries.next());
                assert!(first.is_some_and(|first| first.is_err()) && second.is_none(), "an error comes once");
                Ok(())
            }
            "short" => {
                let value = self.short.get(ctx)?;
                ctx.emit(value.unwrap_or(0))
            }
            _ => Ok(()),
        }
    }
}

/// Gives always the same answers.
#[derive(Default)]
struct Parrot {
    value: StoredColumn,
    page: Page,
    refuses: bool,
    puts: RefCell<Vec<(u32, Vec<u32>)>>,
}

impl Host for Parrot {
    fn put_many(&self, state: u32, cells: &Cells, _: &StoredColumn) -> Result<(), Error> {
        self.puts.borrow_mut().push((state, cells.slots.clone()));
        Ok(())
    }
    fn emit(&self, _: u32, _: &[u32], _: &BytesColumn, _: &[i64]) -> Result<(), Error> {
        Ok(())
    }
    fn emit_keyed(&self, _: u32, _: &BytesColumn, _: &BytesColumn, _: &[i64]) -> Result<(), Error> {
        Ok(())
    }
    fn log(&self, _: Level, _: &str) {}
    fn count(&self, _: &str, _: u64) {}
    fn gauge(&self, _: &str, _: f64) {}
    fn seldom(&self) -> &dyn Seldom {
        self
    }
}

impl Seldom for Parrot {
    fn get_many(&self, _: u32, _: &Cells) -> Result<StoredColumn, Error> {
        if self.refuses { Err(Error::State("no".to_owned())) } else { Ok(self.value.clone()) }
    }
    fn append_many(&self, _: u32, _: &Cells, _: &BytesColumn) -> Result<(), Error> {
        Ok(())
    }
    fn clear_many(&self, _: u32, _: &Cells) -> Result<(), Error> {
        Ok(())
    }
    fn read(&self, _: u32, _: u32, _: &[u8], _: Option<&[u8]>, _: u32) -> Result<Page, Error> {
        if self.refuses { Err(Error::State("no".to_owned())) } else { Ok(self.page.clone()) }
    }
    fn get_list(&self, _: u32) -> Result<StoredColumn, Error> {
        Ok(self.value.clone())
    }
    fn set_list(&self, _: u32, _: &BytesColumn) -> Result<(), Error> {
        Ok(())
    }
    fn put_broadcast(&self, _: u32, _: &BytesColumn, _: &StoredColumn) -> Result<(), Error> {
        Ok(())
    }
    fn read_broadcast(&self, _: u32, _: Option<&[u8]>, _: u32) -> Result<Page, Error> {
        Ok(self.page.clone())
    }
}

fn runner() -> Runner<Reader> {
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
    Runner::open("{}", task, &Parrot::default()).expect("it has nothing to open")
}

fn numbers(numbers: &[u64]) -> StoredColumn {
    let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    StoredColumn { data, ends: (1..=numbers.len() as u32).map(|count| count * 8).collect(), versions: vec![] }
}

/// One record of each key, 0 and 1, in the slots 0 and 1.
fn batch(input: &str) -> Batch {
    let (keys, length) = (numbers(&[0, 1]), input.len() as u32);
    Batch {
        keys: Keys {
            fresh: vec![0, 1],
            fresh_keys: BytesColumn { data: keys.data, ends: keys.ends },
            prefetched: vec![Prefetched { state: 2, slots: vec![0, 1], values: numbers(&[5, 6]) }],
            ..Keys::default()
        },
        slots: vec![0, 1],
        values: BytesColumn { data: input.repeat(2).into_bytes(), ends: vec![length, 2 * length] },
        ..Batch::default()
    }
}

#[test]
fn an_answer_that_contradicts_itself_fails_the_record_that_asked() {
    let keys = BytesColumn { data: vec![1, 2], ends: vec![1, 2] };
    let page = |map_keys: &BytesColumn, values: &StoredColumn| Page {
        map_keys: map_keys.clone(),
        values: values.clone(),
        next: None,
    };
    let broken = StoredColumn { ends: vec![9, 8], ..numbers(&[1, 2]) };
    let versions = StoredColumn { versions: vec![1], ..numbers(&[1, 2]) };
    for (input, value, page, expected) in [
        ("get", numbers(&[1, 2]), Page::default(), "state \"map\": the host answers one question with 2 values"),
        ("get", broken.clone(), Page::default(), "the ends of read values contradict"),
        ("get", versions.clone(), Page::default(), "read values: 2 values, 1 versions"),
        ("entries", numbers(&[]), page(&keys, &numbers(&[1])), "a page of 1 values with 2 map keys"),
        ("entries", numbers(&[]), page(&keys, &broken), "the ends of a page contradict"),
        ("entries", numbers(&[]), page(&keys, &versions), "a page: 2 values, 1 versions"),
        ("items", numbers(&[]), page(&keys, &numbers(&[1, 2])), "a page of 2 values with 2 map keys"),
        ("items", numbers(&[]), page(&BytesColumn::default(), &broken), "the ends of a page contradict"),
    ] {
        let host = Parrot { value, page, ..Parrot::default() };
        let values = &BytesColumn { data: input.as_bytes().to_vec(), ends: vec![0, input.len() as u32] };
        let batch = Batch { values: values.clone(), ..batch("") };
        let failures = runner().process(&batch, &host).expect("the batch goes on");
        assert_eq!(failures.len(), 1, "{input}");
        assert!(failures[0].index == 1 && failures[0].message.contains(expected), "{}", failures[0].message);
    }
    let host = Parrot { refuses: true, ..Parrot::default() };
    for input in ["get", "entries", "items"] {
        let values = BytesColumn { data: input.as_bytes().to_vec(), ends: vec![0, input.len() as u32] };
        let failures = runner().process(&Batch { values, ..batch("") }, &host).expect("the batch goes on");
        assert_eq!(failures[0].message, "state: no");
    }
    let values = BytesColumn { data: b"twice".to_vec(), ends: vec![0, 5] };
    assert_eq!(runner().process(&Batch { values, ..batch("") }, &host), Ok(vec![]));
}

#[test]
fn what_expires_must_be_delivered_for_every_call() {
    let (mut runner, host) = (runner(), Parrot::default());
    assert_eq!(runner.process(&batch("short"), &host), Ok(vec![]));
    // Both were looked at, which begins their time anew.
    assert_eq!(host.puts.take(), [(2, vec![0, 1])]);
    let again = |slots: &[u32]| {
        let mut again = batch("none");
        let values = numbers(&vec![7; slots.len()]);
        again.keys =
            Keys { prefetched: vec![Prefetched { state: 2, slots: slots.to_vec(), values }], ..Keys::default() };
        again
    };
    assert_eq!(runner.process(&again(&[1, 0]), &host), Ok(vec![]));
    assert!(host.puts.take().is_empty(), "nothing was looked at");
    let result = runner.process(&again(&[1]), &host);
    assert!(
        matches!(&result, Err(Error::InvalidInput(text)) if text.contains("slot 0 was not delivered")),
        "{result:?}"
    );
}

#[test]
fn what_is_not_asked_for_is_not_delivered() {
    let mut batch = batch("none");
    batch.keys.prefetched.push(Prefetched { state: 0, slots: vec![0, 1], values: numbers(&[1, 2]) });
    let result = runner().process(&batch, &Parrot::default());
    assert!(matches!(&result, Err(Error::InvalidInput(text)) if text.contains("state 0 is delivered")), "{result:?}");
}
