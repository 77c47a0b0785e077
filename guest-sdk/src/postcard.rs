//! Postcard's wire format: <https://postcard.jamesmunns.com/wire-format>.
//!
//! The same bytes as those of the `postcard` crate, and the same values and refusals when they are read; property tests hold both against it. What is different is that
//! numbers, which are nearly all there is, are not taken byte by byte: see [`writer`] and [`reader`].

mod reader;
mod writer;

pub(crate) use reader::read;
pub(crate) use writer::write;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Choice {
        Unit,
        Newtype(i64),
        Tuple(i8, i16),
        Struct { flag: bool, letter: char },
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(Vec<u8>);

    type Numbers = ((u8, u16, u32, u64, u128), (i8, i16, i32, i64, i128));
    type Mixed = (Option<u32>, bool, char, f32, f64, Vec<Choice>, BTreeMap<u16, String>, Wrapped);

    /// Ours reads what the crate reads, takes as much of it, and refuses what the crate refuses.
    #[track_caller]
    fn check_read<'a, T: Deserialize<'a> + std::fmt::Debug>(bytes: &'a [u8]) {
        // As text, because a NaN is not equal to itself.
        let theirs = ::postcard::take_from_bytes::<T>(bytes).map(|read| format!("{read:?}"));
        let ours = super::read::<T>(bytes, bytes.len()).map(|read| format!("{read:?}"));
        let theirs = theirs.ok();
        assert_eq!(ours.ok(), theirs, "{bytes:?}");
        // Whatever lies behind the value.
        for more in [&[0x7F; 3][..], &[0x80; 12], &[0xFF; 12]] {
            let longer: &'a [u8] = Vec::leak([bytes, more].concat());
            let ours = super::read::<T>(longer, bytes.len()).map(|read| format!("{read:?}"));
            assert_eq!(ours.ok(), theirs, "{bytes:?} before {more:?}");
        }
    }

    fn check_reads(bytes: &[u8]) {
        check_read::<(u16, u8)>(bytes);
        check_read::<(u32, i8)>(bytes);
        check_read::<(u64, u64)>(bytes);
        check_read::<(i64, i32, i16)>(bytes);
        check_read::<u128>(bytes);
        check_read::<i128>(bytes);
        check_read::<(usize, char)>(bytes);
        check_read::<(&str, String)>(bytes);
        check_read::<Numbers>(bytes);
        check_read::<Mixed>(bytes);
    }

    fn ours(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        super::write(value, &mut bytes).expect("plain data");
        bytes
    }

    fn choice() -> impl Strategy<Value = Choice> {
        prop_oneof![
            Just(Choice::Unit),
            any::<i64>().prop_map(Choice::Newtype),
            any::<(i8, i16)>().prop_map(|(a, b)| Choice::Tuple(a, b)),
            any::<(bool, char)>().prop_map(|(flag, letter)| Choice::Struct { flag, letter }),
        ]
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_postcard_crate(
            value in (any::<(u8, u16, u32, u64, u128)>(), any::<(i32, i128, f32, f64)>(), any::<(String, Option<String>, ())>(), any::<BTreeMap<u16, Vec<i64>>>()),
            choices in proptest::collection::vec(choice(), 0..4),
            wrapped in any::<Vec<u8>>().prop_map(Wrapped),
        ) {
            let value = (value, choices, wrapped);
            prop_assert_eq!(ours(&value), ::postcard::to_allocvec(&value).expect("plain data"));
        }

        #[test]
        fn what_was_written_is_read_again(numbers: Numbers, choices in proptest::collection::vec(choice(), 0..4), wrapped: Vec<u8>, cut: u8) {
            let bytes = ours(&numbers);
            check_read::<Numbers>(&bytes);
            check_read::<Numbers>(&bytes[..usize::from(cut) % bytes.len()]);
            let bytes = ours(&(Some(numbers.0.2), true, 'é', 1.5_f32, -0.1_f64, choices, BTreeMap::from([(numbers.0.1, "text")]), Wrapped(wrapped)));
            check_read::<Mixed>(&bytes);
            check_read::<Mixed>(&bytes[..usize::from(cut) % bytes.len()]);
        }

        #[test]
        fn any_bytes_are_read_as_the_crate_reads_them(bytes: Vec<u8>, start in 0..20_usize, high in proptest::collection::vec(0x7C..=0xFF_u8, 0..24)) {
            check_reads(&bytes);
            check_reads(&[&vec![0x80; start][..], &bytes].concat());
            check_reads(&high);
            check_reads(&[&high[..], &[3; 4]].concat());
        }
    }

    #[test]
    fn numbers_around_every_length_agree() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1_u64 << shift) - 1] {
                assert_eq!(ours(&value), ::postcard::to_allocvec(&value).expect("plain data"));
                assert_eq!(ours(&(value as i64)), ::postcard::to_allocvec(&(value as i64)).expect("plain data"));
                for room in 0..4 {
                    check_reads(&[ours(&value), vec![0x81; room]].concat());
                    check_reads(&[ours(&value), vec![1; 2 * room]].concat());
                }
            }
        }
    }
}
