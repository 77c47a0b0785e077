//! The aligner by hand, and against channels whose whole content is known beforehand.

use std::collections::{BTreeSet, VecDeque};

use proptest::{collection::vec, prelude::*};

use super::*;

const ONE: CheckpointId = CheckpointId(1);
const TWO: CheckpointId = CheckpointId(2);
const THREE: CheckpointId = CheckpointId(3);

#[test]
fn inputs_wait_for_the_last_barrier() {
    let mut aligner = Aligner::new(3, Mode::ExactlyOnce);
    assert_eq!(aligner.barrier(1, ONE), Alignment::Waiting);
    assert_eq!(aligner.barrier(0, ONE), Alignment::Waiting);
    assert_eq!((0..3).map(|input| aligner.is_blocked(input)).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(aligner.aligning(), Some(ONE));
    assert_eq!(aligner.barrier(2, ONE), Alignment::Complete(ONE));
    assert!((0..3).all(|input| !aligner.is_blocked(input)));
    assert_eq!(aligner.aligning(), None);
}

#[test]
fn at_least_once_blocks_nothing() {
    let mut aligner = Aligner::new(2, Mode::AtLeastOnce);
    assert_eq!(aligner.barrier(0, ONE), Alignment::Waiting);
    assert!(!aligner.is_blocked(0) && !aligner.is_blocked(1));
    assert_eq!(aligner.barrier(1, ONE), Alignment::Complete(ONE));
}

#[test]
fn the_end_of_an_input_aligns_it_for_ever() {
    let mut aligner = Aligner::new(2, Mode::ExactlyOnce);
    assert_eq!(aligner.barrier(0, ONE), Alignment::Waiting);
    assert_eq!(aligner.ended(1), Alignment::Complete(ONE));
    assert_eq!(aligner.barrier(0, TWO), Alignment::Complete(TWO));
    assert!(!aligner.all_ended());
    assert_eq!(aligner.ended(0), Alignment::Waiting);
    assert!(aligner.all_ended());
}

#[test]
fn a_higher_id_gives_up_a_lower_one() {
    let mut aligner = Aligner::new(3, Mode::ExactlyOnce);
    assert_eq!(aligner.barrier(0, ONE), Alignment::Waiting);
    assert_eq!(aligner.barrier(1, TWO), Alignment::Waiting);
    assert!(!aligner.is_blocked(0) && aligner.is_blocked(1));
    assert_eq!(aligner.barrier(2, ONE), Alignment::Stale);
    assert!(!aligner.is_blocked(2));
    assert_eq!(aligner.barrier(2, TWO), Alignment::Waiting);
    assert_eq!(aligner.barrier(0, TWO), Alignment::Complete(TWO));
    assert_eq!(aligner.barrier(0, TWO), Alignment::Stale);
}

#[test]
fn what_was_aborted_opens_its_inputs_and_comes_to_nothing() {
    let mut aligner = Aligner::new(2, Mode::ExactlyOnce);
    assert_eq!(aligner.barrier(0, ONE), Alignment::Waiting);
    aligner.given_up(ONE);
    assert!(!aligner.is_blocked(0));
    assert_eq!(aligner.barrier(1, ONE), Alignment::Stale);
    // It may be aborted before its first barrier comes, and long after it was given up here.
    aligner.given_up(TWO);
    assert_eq!(aligner.barrier(0, TWO), Alignment::Stale);
    assert_eq!(aligner.barrier(0, THREE), Alignment::Waiting);
    aligner.given_up(TWO);
    assert_eq!(aligner.aligning(), Some(THREE));
    assert_eq!(aligner.barrier(1, THREE), Alignment::Complete(THREE));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Record,
    Barrier(CheckpointId),
    End,
}

/// A channel's items: before each barrier some records, and a barrier for each checkpoint that is not left out.
fn channel(parts: &[(usize, bool)]) -> VecDeque<Item> {
    let mut items = VecDeque::new();
    for (id, (records, present)) in (1..).map(CheckpointId).zip(parts) {
        items.extend(std::iter::repeat_n(Item::Record, *records));
        items.extend(present.then_some(Item::Barrier(id)));
    }
    items.push_back(Item::End);
    items
}

/// The records before the barrier of `id`, or all where there is none.
fn records_before(channel: &VecDeque<Item>, id: CheckpointId) -> usize {
    channel.iter().take_while(|item| **item != Item::Barrier(id)).filter(|item| **item == Item::Record).count()
}

/// Those that some channel has, and every other has too or ends without a later one.
fn completing(channels: &[VecDeque<Item>], ids: u64) -> BTreeSet<CheckpointId> {
    let has = |channel: &VecDeque<Item>, id| channel.contains(&Item::Barrier(id));
    let ends_before =
        |channel: &VecDeque<Item>, id| !channel.iter().any(|item| matches!(item, Item::Barrier(later) if *later > id));
    let completes = |id: &CheckpointId| {
        channels.iter().any(|channel| has(channel, *id))
            && channels.iter().all(|channel| has(channel, *id) || ends_before(channel, *id))
    };
    (1..=ids).map(CheckpointId).filter(completes).collect()
}

fn channels() -> impl Strategy<Value = Vec<VecDeque<Item>>> {
    let present = prop_oneof![5 => Just(true), 1 => Just(false)];
    (1_usize..6, 0_usize..8)
        .prop_flat_map(move |(inputs, ids)| vec(vec((0_usize..4, present.clone()), ids), inputs))
        .prop_map(|parts| parts.iter().map(|parts| channel(parts)).collect())
}

/// Takes items from the open channels in the order that `picks` decides. Gives what was complete when, with the records taken from each channel until then.
fn drive(
    aligner: &mut Aligner,
    channels: &[VecDeque<Item>],
    picks: &[prop::sample::Index],
) -> Vec<(CheckpointId, Vec<usize>)> {
    let (mut rest, mut taken, mut complete) = (channels.to_vec(), vec![0; channels.len()], Vec::new());
    for pick in picks.iter().cycle() {
        let open: Vec<usize> =
            (0..rest.len()).filter(|input| !rest[*input].is_empty() && !aligner.is_blocked(*input)).collect();
        if open.is_empty() {
            break;
        }
        let input = open[pick.index(open.len())];
        let alignment = match rest[input].pop_front().expect("it is not empty") {
            Item::Record => {
                taken[input] += 1;
                Alignment::Waiting
            }
            Item::Barrier(id) => aligner.barrier(input, id),
            Item::End => aligner.ended(input),
        };
        if let Alignment::Complete(id) = alignment {
            complete.push((id, taken.clone()));
        }
        assert!(aligner.aligning().is_some() || (0..rest.len()).all(|input| !aligner.is_blocked(input)));
    }
    assert!(rest.iter().all(VecDeque::is_empty), "inputs are blocked for ever: {rest:?}");
    complete
}

proptest! {
    #[test]
    fn exactly_once_cuts_every_channel_at_its_barrier(channels in channels(), picks in vec(any::<prop::sample::Index>(), 1..60)) {
        let mut aligner = Aligner::new(channels.len(), Mode::ExactlyOnce);
        let complete = drive(&mut aligner, &channels, &picks);
        for (id, taken) in &complete {
            let before: Vec<usize> = channels.iter().map(|channel| records_before(channel, *id)).collect();
            prop_assert_eq!(taken, &before, "{}", id);
        }
        let ids: Vec<CheckpointId> = complete.into_iter().map(|(id, _)| id).collect();
        // In this order, which no interleaving may change.
        let expected: Vec<CheckpointId> = completing(&channels, 8).into_iter().collect();
        prop_assert_eq!(ids, expected);
        prop_assert!(aligner.all_ended() && aligner.aligning().is_none());
    }

    #[test]
    fn at_least_once_has_all_that_lies_before_the_barriers(channels in channels(), picks in vec(any::<prop::sample::Index>(), 1..60)) {
        let mut aligner = Aligner::new(channels.len(), Mode::AtLeastOnce);
        let complete = drive(&mut aligner, &channels, &picks);
        prop_assert!(complete.is_sorted_by(|(a, _), (b, _)| a < b));
        for (id, taken) in &complete {
            let enough = channels.iter().zip(taken).all(|(channel, taken)| *taken >= records_before(channel, *id));
            prop_assert!(enough, "{}", id);
        }
    }
}
