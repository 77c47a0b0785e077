//! Looking at state, and putting it there, whatever the operator has done.

use std::collections::BTreeMap;

use crate::codec::{Decode, Encode};
use crate::descriptor::StateKind;
use crate::input::Inputs;
use crate::map_key::{self, KeyBytes, MapKey, Part};
use crate::operator::Operator;
use crate::schema::Schema;

use super::host::TestHost;
use super::table::Place;
use super::{Harness, column, decoded, encoded};

/// All functions panic when there is no such state, or when it is of another kind or type. Values of former schema versions are shown as the operator would see them.
impl<O: Operator, I: Inputs<O>> Harness<O, I> {
    /// The value, or the accumulator, that `key` has in a state.
    pub fn state<T: for<'a> Decode<'a>>(&mut self, name: &str, key: impl Encode) -> Option<T> {
        self.state_in(name, key, &[])
    }

    /// The value, or the accumulator, that `key` has in a state in a namespace.
    pub fn state_in<T: for<'a> Decode<'a>>(&mut self, name: &str, key: impl Encode, namespace: &[u8]) -> Option<T> {
        let index = self.typed::<T>(name);
        let place = (encoded(&key), namespace.to_vec(), Vec::new());
        let host = self.host.borrow();
        let table = &host.tables[index];
        assert!(table.descriptor.kind.is_point(), "state \"{name}\" is not one of single values");
        table.get(&place, host.now).map(|(version, bytes)| decoded(&self.current(index, version, bytes)))
    }

    /// The items of the list that `key` has in a state.
    pub fn list<T: for<'a> Decode<'a>>(&mut self, name: &str, key: impl Encode) -> Vec<T> {
        self.list_in(name, key, &[])
    }

    /// The items of the list that `key` has in a state in a namespace.
    pub fn list_in<T: for<'a> Decode<'a>>(&mut self, name: &str, key: impl Encode, namespace: &[u8]) -> Vec<T> {
        self.items(name, &[StateKind::List], &encoded(&key), namespace)
    }

    /// The value at a map key in the map that `key` has in a state.
    pub fn map_entry<V: for<'a> Decode<'a>>(
        &mut self,
        name: &str,
        key: impl Encode,
        map_key: impl KeyBytes,
    ) -> Option<V> {
        let index = self.typed::<V>(name);
        let mut bytes = Vec::new();
        map_key.write(&mut bytes, Part::Last);
        let host = self.host.borrow();
        let table = &host.tables[index];
        assert!(table.is(&[StateKind::Map]), "state \"{name}\" is no map");
        let stored = table.get(&(encoded(&key), Vec::new(), bytes), host.now);
        stored.map(|(version, bytes)| decoded(&self.current(index, version, bytes)))
    }

    /// The entries of the map that `key` has in a state, in their order.
    pub fn map<K: MapKey, V: for<'a> Decode<'a>>(&mut self, name: &str, key: impl Encode) -> Vec<(K, V)> {
        self.map_in(name, key, &[])
    }

    /// The entries of the map that `key` has in a state in a namespace, in their order.
    pub fn map_in<K: MapKey, V: for<'a> Decode<'a>>(
        &mut self,
        name: &str,
        key: impl Encode,
        namespace: &[u8],
    ) -> Vec<(K, V)> {
        self.entries(name, StateKind::Map, &encoded(&key), namespace)
    }

    /// The items of a list of the task.
    pub fn operator_list<T: for<'a> Decode<'a>>(&mut self, name: &str) -> Vec<T> {
        self.items(name, &[StateKind::OperatorList, StateKind::OperatorUnion], &[], &[])
    }

    /// Makes these the items of a list of the task, as a restore does, and opens another instance.
    pub fn set_operator_list<T: Encode>(&mut self, name: &str, items: impl IntoIterator<Item = T>) {
        let index = self.typed::<T>(name);
        let table = &mut self.host.get_mut().tables[index];
        assert!(!table.descriptor.kind.is_keyed(), "state \"{name}\" belongs to a key");
        table.clear(&[], &[]);
        items.into_iter().for_each(|item| table.append(Vec::new(), &[], &encoded(&item), 0));
        self.reopen();
    }

    /// The entries of broadcast state, in their order.
    pub fn broadcast<K: MapKey, V: for<'a> Decode<'a>>(&mut self, name: &str) -> Vec<(K, V)> {
        self.entries(name, StateKind::Broadcast, &[], &[])
    }

    /// Puts a stored value there as bytes, as a former version of the operator may have left it, and opens another instance.
    pub fn put_state_bytes(&mut self, name: &str, key: impl Encode, version: u16, bytes: &[u8]) {
        self.put_bytes(name, (encoded(&key), Vec::new(), Vec::new()), version, bytes);
    }

    /// Puts a stored map entry there as bytes, as a former version of the operator may have left it, and opens another instance.
    pub fn put_map_bytes(&mut self, name: &str, key: impl Encode, map_key: impl KeyBytes, version: u16, bytes: &[u8]) {
        let mut map_key_bytes = Vec::new();
        map_key.write(&mut map_key_bytes, Part::Last);
        self.put_bytes(name, (encoded(&key), Vec::new(), map_key_bytes), version, bytes);
    }

    /// The number of keys that have an entry in a state.
    pub fn state_len(&mut self, name: &str) -> usize {
        let index = self.state_index(name);
        self.host.borrow().state_len(index)
    }

    /// How many values a state holds of each schema version: those of former versions have not been written since. Values that have expired count as long as they are
    /// there.
    pub fn state_versions(&mut self, name: &str) -> BTreeMap<u16, usize> {
        let index = self.state_index(name);
        self.host.borrow().tables[index].versions()
    }

    fn put_bytes(&mut self, name: &str, place: Place, version: u16, bytes: &[u8]) {
        let index = self.state_index(name);
        let host: &mut TestHost = self.host.get_mut();
        host.tables[index].put(place, version, bytes, host.now);
        self.reopen();
    }

    fn items<T: for<'a> Decode<'a>>(
        &mut self,
        name: &str,
        kinds: &[StateKind],
        key: &[u8],
        namespace: &[u8],
    ) -> Vec<T> {
        let index = self.typed::<T>(name);
        self.raw(index, kinds, key, namespace).into_iter().map(|(_, bytes)| decoded(&bytes)).collect()
    }

    fn entries<K: MapKey, V: for<'a> Decode<'a>>(
        &mut self,
        name: &str,
        kind: StateKind,
        key: &[u8],
        namespace: &[u8],
    ) -> Vec<(K, V)> {
        let index = self.typed::<V>(name);
        assert_eq!(Some(K::document()), self.descriptor.states[index].map_key, "state \"{name}\" has other map keys");
        let key_of = |bytes: &[u8]| map_key::decode(bytes).unwrap_or_else(|error| panic!("{error}"));
        let raw = self.raw(index, &[kind], key, namespace);
        raw.into_iter().map(|(key, bytes)| (key_of(&key), decoded(&bytes))).collect()
    }

    /// Stored bytes of any version as those of the current one.
    fn current(&self, index: usize, version: u16, bytes: &[u8]) -> Vec<u8> {
        if version == self.descriptor.states[index].version {
            return bytes.to_vec();
        }
        match self.runner.migrate(index as u32, version, &column([bytes].into_iter())) {
            Ok(migrated) => migrated.data,
            Err(error) => panic!("{error}"),
        }
    }

    /// Map keys and values.
    fn raw(&self, index: usize, kinds: &[StateKind], key: &[u8], namespace: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let host = self.host.borrow();
        let table = &host.tables[index];
        assert!(table.is(kinds), "state \"{}\" is of another kind", table.descriptor.name);
        let places = table.range(key, namespace, &[], host.now).into_iter();
        places
            .map(|place| {
                let (version, bytes) = table.get(&place, host.now).unwrap_or_default();
                let bytes = self.current(index, version, bytes);
                (place.2, bytes)
            })
            .collect()
    }

    /// The number of a state whose values are `T`, when all records have been processed.
    fn typed<T: Schema>(&mut self, name: &str) -> usize {
        let index = self.state_index(name);
        assert_eq!(T::document(), self.descriptor.states[index].schema, "state \"{name}\" holds another type");
        index
    }

    fn state_index(&mut self, name: &str) -> usize {
        self.run();
        match self.descriptor.states.iter().position(|state| state.name == name) {
            Some(index) => index,
            None => panic!("there is no state \"{name}\""),
        }
    }
}
