//! The events of an auction site: persons who register, auctions they open, and bids.
//!
//! The workload is that of Tucker, Tufte, Papadimos and Maier 2008 ("NEXMark - A Benchmark for Queries over Data Streams"), as the crate `nexmark` makes it: of 50
//! events one is a person, three are auctions and 46 are bids, in this order; half of the bids go to a hot auction, and most bidders and sellers are hot ones.
//!
//! The crate draws an event from its number. Two things are ours:
//! - **The seed.** The crate has none. Other seeds than 0 take their draws from another part of its endless stream, and identifiers are counted from the beginning
//!   of that part. What a draw says of persons and auctions before the beginning is folded into those that are there.
//! - **Time.** Event number n (of all kinds) has the time [`START_MS`] + n / `event-rate` seconds, to the millisecond. The crate's own times begin at the present
//!   and lose precision with the number of events.
//!
//! An event of one kind is written as its fields: `{"auction":1000,"bidder":1001,"price":…}`; of all kinds, as `{"Bid":{…}}`, which is how serde writes an enum.

#[cfg(test)]
mod tests;

use std::ops::Range;

use nexmark::{
    EventGenerator,
    config::NexmarkConfig,
    event::{Event, EventType},
};

use super::{Make, START_MS};
use crate::{
    connector::KeyType,
    stream::{Batch, hash_key, splitmix64},
};

/// Of so many events in a row one is a person and three are auctions.
const EPOCH_EVENTS: u64 = 50;
const EPOCH_AUCTIONS: u64 = 3;

/// The identifiers of the first person and the first auction.
const FIRST_ID: u64 = 1000;

/// How many events begin at the least between the parts of two seeds. The crate finds hot persons and auctions in groups of 100 of each, so an epoch has 100 persons.
const SEED_STRIDE: u64 = EPOCH_EVENTS * 100;

/// How many auctions are open at a time, by tradition. It decides how long they stay open.
const OPEN_AUCTIONS: u64 = 100;

/// What the `nexmark` generator makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexmarkSettings {
    /// What all draws depend on. 0: the draws of the crate as they are.
    pub seed: u64,
    /// Which events.
    pub events: NexmarkEvents,
    /// How many events of all kinds there are in a second of event time; at least 1.
    pub event_rate: u64,
    /// The field that is the records' key. None: no keys.
    pub key: Option<NexmarkField>,
}

/// Which events are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NexmarkEvents {
    /// All, each with its kind: `{"Bid":{…}}`.
    #[default]
    All,
    /// Persons only.
    Person,
    /// Auctions only.
    Auction,
    /// Bids only.
    Bid,
}

/// A field of an event that can be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NexmarkField {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: KeyType,
}

impl NexmarkEvents {
    /// The fields that can be a key, by name: none if events of all kinds are made, since no field is in all of them.
    pub fn fields(self) -> Vec<(&'static str, NexmarkField)> {
        const PERSON: &[&str] = &["id", "name", "email_address", "credit_card", "city", "state"];
        const AUCTION: &[&str] = &["id", "item_name", "initial_bid", "reserve", "seller", "category"];
        const BID: &[&str] = &["auction", "bidder", "price", "channel", "url"];
        let (names, numbers): (_, &[&str]) = match self {
            Self::All => (&[][..], &[]),
            Self::Person => (PERSON, &["id"]),
            Self::Auction => (AUCTION, &["id", "initial_bid", "reserve", "seller", "category"]),
            Self::Bid => (BID, &["auction", "bidder", "price"]),
        };
        let kind = |name| if numbers.contains(name) { KeyType::U64 } else { KeyType::Text };
        names.iter().map(|name| (*name, NexmarkField { name, kind: kind(name) })).collect()
    }

    /// Whether every event has the field.
    pub(super) fn have(self, field: NexmarkField) -> bool {
        self.fields().iter().any(|(_, known)| *known == field)
    }

    fn kind(self) -> Option<EventType> {
        match self {
            Self::All => None,
            Self::Person => Some(EventType::Person),
            Self::Auction => Some(EventType::Auction),
            Self::Bid => Some(EventType::Bid),
        }
    }
}

/// Makes the events.
pub(super) struct Nexmark {
    settings: NexmarkSettings,
    /// None only while its position is changed.
    events: Option<EventGenerator>,
    /// Event number 0 is this one of the crate's stream.
    first: u64,
}

impl Nexmark {
    pub(super) fn new(settings: &NexmarkSettings) -> Self {
        let first = match settings.seed {
            0 => 0,
            // 42 bits: identifiers and the numbers of events stay far below 2^63, and two seeds are far apart.
            seed => (splitmix64(seed) >> 22) * SEED_STRIDE,
        };
        let config = NexmarkConfig {
            first_event_id: first as usize,
            base_time: 0,
            in_flight_auctions: OPEN_AUCTIONS as usize,
            ..NexmarkConfig::default()
        };
        let events = EventGenerator::new(config);
        let events = match settings.events.kind() {
            None => events,
            Some(kind) => events.with_type_filter(kind),
        };
        Self { settings: settings.clone(), events: Some(events), first }
    }

    /// The time of an event, in milliseconds.
    fn time_ms(&self, number: u64) -> i64 {
        START_MS.saturating_add_unsigned(self.ms_of(number))
    }

    /// How long so many events take, in milliseconds.
    fn ms_of(&self, events: u64) -> u64 {
        let ms = u128::from(events) * 1000 / u128::from(self.settings.event_rate);
        u64::try_from(ms).unwrap_or(u64::MAX)
    }

    /// Makes an event of the crate that of our stream.
    fn settle(&self, event: &mut Event, number: u64) {
        let epochs = self.first / EPOCH_EVENTS;
        let persons = number / EPOCH_EVENTS + 1;
        let auctions = number / EPOCH_EVENTS * EPOCH_AUCTIONS + (number % EPOCH_EVENTS).min(EPOCH_AUCTIONS);
        let person = |id: &mut usize| *id = own_id(*id, epochs, persons);
        let auction = |id: &mut usize| *id = own_id(*id, epochs * EPOCH_AUCTIONS, auctions);
        let time = self.time_ms(number).unsigned_abs();
        match event {
            Event::Person(event) => {
                person(&mut event.id);
                event.date_time = time;
            }
            Event::Auction(event) => {
                auction(&mut event.id);
                person(&mut event.seller);
                // As the crate has it: on average as long as it takes to open as many auctions as are open at a time.
                let span = 2 * self.ms_of(OPEN_AUCTIONS * EPOCH_EVENTS / EPOCH_AUCTIONS);
                let draw = splitmix64(self.first.wrapping_add(number));
                (event.date_time, event.expires) = (time, time + 1 + draw % span.max(1));
            }
            Event::Bid(event) => {
                auction(&mut event.auction);
                person(&mut event.bidder);
                event.date_time = time;
            }
        }
    }
}

/// An identifier that is counted from ours, of which `known` are there, instead of from the crate's first one.
fn own_id(id: usize, before: u64, known: u64) -> usize {
    let index = id as i64 - (FIRST_ID + before) as i64;
    let index = if index < 0 { index.rem_euclid(known.max(1) as i64) } else { index };
    index as usize + FIRST_ID as usize
}

impl Make for Nexmark {
    const RECORD_BYTES: usize = 1024;

    fn make(&mut self, numbers: Range<u64>, batch: &mut Batch) {
        let Some(events) = self.events.take() else { return };
        let mut events = events.with_offset(numbers.start);
        for _ in numbers {
            let number = events.global_offset();
            let Some(mut event) = events.next() else { break };
            self.settle(&mut event, number);
            batch.timestamps.push(event.timestamp() as i64);
            batch.values.push_with(|data| write(&event, self.settings.events, data));
            if let Some(field) = self.settings.key {
                push_key(&event, field, batch);
            }
        }
        self.events = Some(events);
    }
}

fn write(event: &Event, events: NexmarkEvents, data: &mut Vec<u8>) {
    let written = match (events, event) {
        (NexmarkEvents::All, event) => serde_json::to_writer(data, event),
        (_, Event::Person(person)) => serde_json::to_writer(data, person),
        (_, Event::Auction(auction)) => serde_json::to_writer(data, auction),
        (_, Event::Bid(bid)) => serde_json::to_writer(data, bid),
    };
    // Numbers and strings can be written, and a vector takes them.
    debug_assert!(written.is_ok());
}

fn push_key(event: &Event, field: NexmarkField, batch: &mut Batch) {
    let number;
    let key = match field_of(event, field.name) {
        Field::Text(text) => text.as_bytes(),
        Field::Number(value) => {
            number = (value as u64).to_le_bytes();
            &number
        }
    };
    batch.keys.get_or_insert_default().push(key, hash_key(key));
}

enum Field<'e> {
    Text(&'e str),
    Number(usize),
}

/// A field that [`NexmarkEvents::fields`] names.
fn field_of<'e>(event: &'e Event, name: &str) -> Field<'e> {
    use Field::{Number, Text};
    match (event, name) {
        (Event::Person(person), "id") => Number(person.id),
        (Event::Person(person), "name") => Text(&person.name),
        (Event::Person(person), "email_address") => Text(&person.email_address),
        (Event::Person(person), "credit_card") => Text(&person.credit_card),
        (Event::Person(person), "city") => Text(&person.city),
        (Event::Person(person), "state") => Text(&person.state),
        (Event::Auction(auction), "id") => Number(auction.id),
        (Event::Auction(auction), "item_name") => Text(&auction.item_name),
        (Event::Auction(auction), "initial_bid") => Number(auction.initial_bid),
        (Event::Auction(auction), "reserve") => Number(auction.reserve),
        (Event::Auction(auction), "seller") => Number(auction.seller),
        (Event::Auction(auction), "category") => Number(auction.category),
        (Event::Bid(bid), "auction") => Number(bid.auction),
        (Event::Bid(bid), "bidder") => Number(bid.bidder),
        (Event::Bid(bid), "price") => Number(bid.price),
        (Event::Bid(bid), "channel") => Text(&bid.channel),
        (Event::Bid(bid), "url") => Text(&bid.url),
        (event, name) => unreachable!("{:?} has no field {name}: it was checked before", event.event_type()),
    }
}
