//! Components that were uploaded and wait for the swap that refers to them.

use std::collections::VecDeque;

use bytes::Bytes;

/// How many are kept, and how many bytes of them; beyond either, the oldest goes.
const COMPONENTS_MAX: usize = 64;
const BYTES_MAX: usize = 256 << 20;

/// Components by their digests, the oldest first.
#[derive(Default)]
pub(super) struct Components(VecDeque<(String, Bytes)>);

impl Components {
    /// Keeps one. Its digest has been checked.
    pub(super) fn keep(&mut self, digest: String, component: Bytes) {
        self.remove(&digest);
        let bytes = |kept: &VecDeque<(String, Bytes)>| kept.iter().map(|(_, kept)| kept.len()).sum::<usize>();
        while self.0.len() >= COMPONENTS_MAX || (!self.0.is_empty() && bytes(&self.0) + component.len() > BYTES_MAX) {
            self.0.pop_front();
        }
        self.0.push_back((digest, component));
    }

    pub(super) fn get(&self, digest: &str) -> Option<Bytes> {
        self.0.iter().find(|(kept, _)| kept == digest).map(|(_, component)| component.clone())
    }

    /// Forgets one: a swap has it.
    pub(super) fn remove(&mut self, digest: &str) {
        self.0.retain(|(kept, _)| kept != digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut components = Components::default();
        let last = COMPONENTS_MAX as u8;
        for number in 0..=last {
            components.keep(number.to_string(), Bytes::from(vec![number]));
        }
        assert_eq!(components.get("0"), None);
        assert_eq!(components.get(&last.to_string()), Some(Bytes::from(vec![last])));
        components.keep("1".into(), Bytes::from(vec![1]));
        components.keep("another".into(), Bytes::new());
        assert_eq!((components.get("2"), components.get("1").is_some()), (None, true));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_bytes() {
        let mut components = Components::default();
        let large = Bytes::from(vec![0; 64 << 20]);
        for number in 0..5 {
            components.keep(number.to_string(), large.clone());
        }
        let kept: Vec<_> = (0..5).filter(|number| components.get(&number.to_string()).is_some()).collect();
        assert_eq!(kept, [1, 2, 3, 4]);
    }
}
