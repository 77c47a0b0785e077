//! Values of former schema versions: the functions that an author gives for them, and what is said where there is none or it fails.
//!
//! A value is migrated where it is decoded, straight to the current type, and is as any decoded value from then on: the host keeps it in its former version until it is
//! written next. All of it is out of line, so that values of the current version pay nothing for it; and a component whose operator migrates nothing has next to nothing of it,
//! because only [`Formers::add`] leads to it.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use crate::codec::short_name;
use crate::panics;
use crate::result::message;
use crate::{Error, Result};

/// Makes a value of the current type from the bytes of a former version.
pub(crate) type Migrate<T> = dyn Fn(&[u8]) -> Result<T>;

/// The schema version of a state's value, and the current one.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) state: &'a str,
    pub(crate) from: u16,
    pub(crate) to: u16,
}

/// The former versions of a state. Clones share them: a handle knows what is declared after it was made.
#[doc(hidden)]
pub struct Formers<T> {
    /// Empty: none is migrated.
    known: Rc<OnceCell<Box<dyn Known<T>>>>,
}

impl<T> Default for Formers<T> {
    fn default() -> Self {
        Self { known: Rc::default() }
    }
}

impl<T> Clone for Formers<T> {
    fn clone(&self) -> Self {
        Self { known: Rc::clone(&self.known) }
    }
}

impl<T> Formers<T> {
    pub(crate) fn add(&self, version: u16, migrate: Rc<Migrate<T>>)
    where
        T: 'static,
    {
        self.known.get_or_init(|| Box::new(Functions::default())).add(version, migrate);
    }

    /// The value of these bytes, which are not of the current version or do not decode.
    #[cold]
    #[inline(never)]
    pub(crate) fn migrate(&self, step: Step<'_>, bytes: &[u8]) -> Result<T> {
        match self.known.get() {
            Some(known) => known.migrate(step, bytes),
            None => Err(unreadable(step, short_name::<T>(), "")),
        }
    }

    /// As [`Formers::migrate`], of a value that was delivered for a slot and may never be looked at: where it fails, [`Formers::unmigrated`] says why. `records` are the
    /// slots of the call's records.
    pub(crate) fn migrate_delivered(&self, step: Step<'_>, bytes: &[u8], slot: u32, records: &[u32]) -> Option<T> {
        self.known.get()?.migrate_delivered(step, bytes, slot, records)
    }

    /// Why there is no value for a slot for which one was delivered.
    pub(crate) fn unmigrated(&self, step: Step<'_>, slot: u32) -> Error {
        match self.known.get() {
            Some(known) => known.unmigrated(step, slot),
            None => unreadable(step, short_name::<T>(), ""),
        }
    }
}

/// What a state does with values of its former versions, where it has any.
trait Known<T> {
    fn add(&self, version: u16, migrate: Rc<Migrate<T>>);
    fn migrate(&self, step: Step<'_>, bytes: &[u8]) -> Result<T>;
    fn migrate_delivered(&self, step: Step<'_>, bytes: &[u8], slot: u32, records: &[u32]) -> Option<T>;
    fn unmigrated(&self, step: Step<'_>, slot: u32) -> Error;
}

/// The author's functions.
struct Functions<T> {
    /// By version, in ascending order.
    by_version: RefCell<Vec<(u16, Rc<Migrate<T>>)>>,
    /// By slot, why the last value that was delivered for it in a former version and not migrated could not be. Nobody asks for it where there is a value.
    reasons: RefCell<Vec<Option<Box<str>>>>,
    /// Where among the records of a call the slot of a delivered value was found last.
    searched: Cell<usize>,
}

impl<T> Default for Functions<T> {
    fn default() -> Self {
        Self { by_version: RefCell::default(), reasons: RefCell::default(), searched: Cell::default() }
    }
}

impl<T> Functions<T> {
    fn find(&self, version: u16) -> Option<Rc<Migrate<T>>> {
        self.by_version.borrow().iter().find(|(former, _)| *former == version).map(|(_, migrate)| Rc::clone(migrate))
    }

    fn unreadable(&self, step: Step<'_>) -> Error {
        let formers: String = self.by_version.borrow().iter().map(|(version, _)| format!("{version}, ")).collect();
        unreadable(step, short_name::<T>(), &formers)
    }

    /// Notes why the value of a slot was not migrated; none: nobody could.
    fn note(&self, slot: u32, reason: Option<Box<str>>) {
        let mut reasons = self.reasons.borrow_mut();
        let count = reasons.len().max(slot as usize + 1);
        reasons.resize(count, None);
        reasons[slot as usize] = reason;
    }

    /// A record with this slot. Looks for it from where the last one was found, because values come in the order of their records as a rule.
    fn record_of(&self, slot: u32, records: &[u32]) -> u32 {
        let (before, rest) = records.split_at(self.searched.get().min(records.len()));
        let is_it = |record: &u32| *record == slot;
        let found = rest.iter().position(is_it).map(|at| before.len() + at).or_else(|| before.iter().position(is_it));
        self.searched.set(found.unwrap_or(0));
        found.map_or(panics::NO_RECORD, |record| record as u32)
    }
}

impl<T> Known<T> for Functions<T> {
    fn add(&self, version: u16, migrate: Rc<Migrate<T>>) {
        let mut functions = self.by_version.borrow_mut();
        let place = functions.iter().take_while(|(other, _)| *other < version).count();
        functions.insert(place, (version, migrate));
    }

    fn migrate(&self, step: Step<'_>, bytes: &[u8]) -> Result<T> {
        match self.find(step.from) {
            Some(migrate) => migrate(bytes).map_err(|error| refused(step, &error).into()),
            None => Err(self.unreadable(step)),
        }
    }

    fn migrate_delivered(&self, step: Step<'_>, bytes: &[u8], slot: u32, records: &[u32]) -> Option<T> {
        let result = self.find(step.from).map(|migrate| {
            // A panic is one of a record that has the key.
            panics::at(self.record_of(slot, records));
            let result = migrate(bytes);
            panics::at(panics::NO_RECORD);
            result
        });
        let reason = match result {
            Some(Ok(value)) => return Some(value),
            Some(Err(error)) => Some(refused(step, &error).into()),
            // It is the same for all.
            None => None,
        };
        self.note(slot, reason);
        None
    }

    fn unmigrated(&self, step: Step<'_>, slot: u32) -> Error {
        match self.reasons.borrow().get(slot as usize) {
            Some(Some(reason)) => (&**reason).into(),
            _ => self.unreadable(step),
        }
    }
}

/// Why a value can't be read whose version has no function. `formers` are the versions that have one, each with a comma behind it.
#[cold]
#[inline(never)]
fn unreadable(Step { state, from, to }: Step<'_>, name: &str, formers: &str) -> Error {
    let text = if from == to {
        format!("state \"{state}\": the value stored under schema version {to} doesn't decode as {name}")
    } else {
        let known = if formers.is_empty() { "version" } else { "versions" };
        format!("state \"{state}\": the value has schema version {from}, the operator knows {known} {formers}{to} only")
    };
    text.into()
}

/// What is said of a value that an author's function refuses, or whose bytes are not what it takes.
#[cold]
#[inline(never)]
pub(crate) fn refused(Step { state, from, to }: Step<'_>, error: &Error) -> String {
    let error = message(error);
    format!("state \"{state}\": the value of schema version {from} can't be migrated to version {to}: {error}")
}
