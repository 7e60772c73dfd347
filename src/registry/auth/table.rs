//! What is known of many things, within a bound: of those that nobody is using, the one used longest
//! ago is forgotten, and found out again where it is needed.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use crate::registry::gate::lock;

/// The table. Who uses an entry has a share of it.
#[derive(Debug)]
pub(in crate::registry) struct Table<K, V> {
    most: usize,
    entries: Mutex<Entries<K, V>>,
}

#[derive(Debug)]
struct Entries<K, V> {
    by_key: HashMap<K, (u64, Arc<V>)>,
    uses: u64,
}

impl<K: Hash + Eq + Clone, V: Default> Table<K, V> {
    /// One with `most` entries, and more only while more are in use.
    pub(in crate::registry) fn new(most: usize) -> Self {
        Self { most, entries: Mutex::new(Entries { by_key: HashMap::new(), uses: 0 }) }
    }

    /// The entry of `key`, made where there is none.
    pub(in crate::registry) fn get(&self, key: K) -> Arc<V> {
        let entries = &mut *lock(&self.entries);
        entries.uses += 1;
        if entries.by_key.len() >= self.most && !entries.by_key.contains_key(&key) {
            entries.forget_one();
        }
        let (used, entry) = entries.by_key.entry(key).or_default();
        *used = entries.uses;
        Arc::clone(entry)
    }

    /// Forgets all.
    pub(in crate::registry) fn clear(&self) {
        lock(&self.entries).by_key.clear();
    }
}

impl<K: Hash + Eq + Clone, V> Entries<K, V> {
    fn forget_one(&mut self) {
        let unused = self.by_key.iter().filter(|(_, (_, entry))| Arc::strong_count(entry) == 1);
        let oldest = unused.min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_longest_ago_goes_unless_somebody_has_it() {
        let table: Table<u32, Mutex<u32>> = Table::new(3);
        let set = |key: u32| *table.get(key).lock().unwrap() = key;
        let is_known = |key: u32| *table.get(key).lock().unwrap() == key;
        (1..=3).for_each(set);
        let held = table.get(2);
        assert!(is_known(1));
        set(4);
        assert!(is_known(1) && is_known(2) && is_known(4));
        assert!(!is_known(3), "and 1 went for it: 2 is in use");
        drop(held);
        assert_eq!(lock(&table.entries).by_key.len(), 3);
        table.clear();
        assert!(!is_known(4));
    }

    #[test]
    fn what_is_in_use_is_kept_beyond_the_bound() {
        let table: Table<u32, Mutex<u32>> = Table::new(2);
        let held: Vec<_> = (0..5).map(|key| table.get(key)).collect();
        assert_eq!(lock(&table.entries).by_key.len(), 5);
        assert!(Arc::ptr_eq(&held[0], &table.get(0)));
    }
}
