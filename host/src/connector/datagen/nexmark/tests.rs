//! Events are those of Nexmark, whole, in time, and refer to what is there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{
        Datagen, Generator,
        tests::{Made, check_shares, made},
    },
    *,
};
use crate::{connector::Source, stream::BatchLimits, stream::schema::Schema};

fn settings(seed: u64, events: NexmarkEvents) -> NexmarkSettings {
    NexmarkSettings { seed, events, event_rate: 10_000, key: None }
}

fn records(settings: &NexmarkSettings, count: u64) -> Vec<Made> {
    made(&Generator::Nexmark(settings.clone()), count, 1, BatchLimits::default()).concat()
}

/// Events as documents with their event times.
fn events(settings: &NexmarkSettings, count: u64) -> Vec<(Value, i64)> {
    let parse = |(_, value, time): Made| (serde_json::from_slice(&value).unwrap(), time.unwrap());
    records(settings, count).into_iter().map(parse).collect()
}

#[test]
fn the_events_are_frozen() {
    let first: Vec<String> = records(&settings(0, NexmarkEvents::All), 5)
        .into_iter()
        .map(|(_, value, _)| String::from_utf8(value).unwrap())
        .collect();
    assert!(
        first[0].starts_with(
            r#"{"Person":{"id":1000,"name":"vicky noris","email_address":"yplkvgz@qbxfg.com","credit_card":"7878 5821 1864 2539","city":"cheyenne","state":"az","date_time":1436918400000,"extra":"lwaiyhjhrkaruidlsjilvqccye"#
        ),
        "{}",
        first[0]
    );
    let bid: Value = serde_json::from_str(&first[4]).unwrap();
    assert_eq!(
        (&bid["Bid"]["auction"], &bid["Bid"]["bidder"], &bid["Bid"]["price"], &bid["Bid"]["channel"]),
        (&1000.into(), &1001.into(), &73_134_520.into(), &"channel-7568".into()),
        "{}",
        first[4]
    );
    let members: Vec<_> = bid["Bid"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["auction", "bidder", "price", "channel", "url", "date_time", "extra"]);
}

#[test]
fn kinds_come_in_their_proportion_and_a_kind_alone_is_the_same_events() {
    for seed in [0, 1, u64::MAX] {
        let all = events(&settings(seed, NexmarkEvents::All), 5_000);
        for (name, kind, in_fifty) in [
            ("Person", NexmarkEvents::Person, 1),
            ("Auction", NexmarkEvents::Auction, 3),
            ("Bid", NexmarkEvents::Bid, 46),
        ] {
            let of_all: Vec<_> =
                all.iter().filter_map(|(event, time)| Some((event.get(name)?.clone(), *time))).collect();
            assert_eq!(of_all.len(), 100 * in_fifty);
            assert_eq!(events(&settings(seed, kind), 100 * in_fifty as u64), of_all, "{name} of seed {seed}");
        }
    }
}

#[test]
fn events_refer_to_what_is_there_or_is_about_to_come() {
    for seed in [0, 7, 8, u64::MAX] {
        let (mut persons, mut auctions) = (0, 0);
        for (event, _) in events(&settings(seed, NexmarkEvents::All), 20_000) {
            let id = |kind: &str, field: &str| event[kind][field].as_u64().unwrap();
            // The crate draws identifiers up to 10 ahead of those that are there.
            let check =
                |id: u64, known: u64| assert!((1000..1000 + known + 10).contains(&id), "{event}, {known} known");
            if event.get("Person").is_some() {
                assert_eq!(id("Person", "id"), 1000 + persons);
                persons += 1;
            } else if event.get("Auction").is_some() {
                assert_eq!(id("Auction", "id"), 1000 + auctions);
                check(id("Auction", "seller"), persons);
                auctions += 1;
            } else {
                check(id("Bid", "auction"), auctions);
                // The hot bidder is the second of a hundred persons, who may not be there yet.
                check(id("Bid", "bidder"), persons + 1);
            }
        }
        assert_eq!((persons, auctions), (400, 1200));
    }
}

#[test]
fn seeds_make_different_events() {
    let prices = |seed| -> Vec<u64> {
        events(&settings(seed, NexmarkEvents::Bid), 20).iter().map(|(bid, _)| bid["price"].as_u64().unwrap()).collect()
    };
    let all: BTreeSet<_> = (0..50).map(prices).collect();
    assert_eq!(all.len(), 50);
    assert_eq!(prices(3), prices(3));
}

#[test]
fn event_times_are_those_of_the_rate() {
    let bids = NexmarkSettings { event_rate: 100, ..settings(0, NexmarkEvents::Bid) };
    for (index, (bid, time)) in events(&bids, 100).into_iter().enumerate() {
        let number = index as i64 / 46 * 50 + 4 + index as i64 % 46;
        assert_eq!(time, START_MS + number * 10);
        assert_eq!(bid["date_time"], time);
    }
    let auctions = NexmarkSettings { event_rate: 100, ..settings(0, NexmarkEvents::Auction) };
    let open: Vec<i64> =
        events(&auctions, 500).iter().map(|(auction, time)| auction["expires"].as_i64().unwrap() - time).collect();
    // A hundred auctions take 1,666 events.
    let mean = open.iter().sum::<i64>() / open.len() as i64;
    assert!(open.iter().all(|ms| (1..=33_321).contains(ms)) && (15_000..18_500).contains(&mean), "{mean}");
    // Times stay exact where a float would not be.
    let late = Nexmark::new(&NexmarkSettings { event_rate: 7, ..settings(0, NexmarkEvents::All) });
    assert_eq!(late.time_ms(7_000_000_007) - late.time_ms(7_000_000_000), 1000);
    assert_eq!(late.time_ms(u64::MAX), i64::MAX);
}

#[test]
fn every_field_that_is_offered_can_be_the_key() {
    for events in [NexmarkEvents::Person, NexmarkEvents::Auction, NexmarkEvents::Bid] {
        let fields = events.fields();
        assert!(!fields.is_empty());
        for (name, field) in fields {
            let settings = NexmarkSettings { key: Some(field), ..settings(5, events) };
            let source = Datagen::new(Generator::Nexmark(settings.clone()), Some(1), None);
            assert_eq!(source.key_schema(), Some(field.kind.schema()));
            for (key, value, _) in records(&settings, 60) {
                let value: Value = serde_json::from_slice(&value).unwrap();
                let expected = match field.kind {
                    KeyType::Text => value[name].as_str().unwrap().as_bytes().to_vec(),
                    KeyType::U64 => value[name].as_u64().unwrap().to_le_bytes().to_vec(),
                };
                assert_eq!(key.unwrap(), expected, "{name} of {value}");
            }
        }
    }
    let source = Datagen::new(Generator::Nexmark(settings(0, NexmarkEvents::All)), None, None);
    assert_eq!((source.key_schema(), source.value_schema()), (None, Schema::json()));
    assert!(NexmarkEvents::All.fields().is_empty());
}

#[test]
fn tasks_share_the_events() {
    let key = NexmarkEvents::Bid.fields()[0].1;
    check_shares(&Generator::Nexmark(NexmarkSettings { key: Some(key), ..settings(9, NexmarkEvents::Bid) }), 5_000);
    check_shares(&Generator::Nexmark(settings(1, NexmarkEvents::All)), 1_025);
    check_shares(&Generator::Nexmark(settings(1, NexmarkEvents::Person)), 1);
}
