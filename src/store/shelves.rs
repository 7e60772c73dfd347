//! Which units the names are of that keep Podman's images: a name says a unit to people only.

use std::collections::BTreeMap;

use super::note::Note;
use super::{Error, Store};
use crate::model::UnitName;

/// Some ten thousand units.
const SHELVES: Note<BTreeMap<String, UnitName>> = Note::new(
    "shelves.json",
    4 << 20,
    "what Podman keeps for units that are removed stays until their next update",
);

impl Store {
    /// The units that names were noted for.
    pub fn shelves(&self) -> Result<BTreeMap<String, UnitName>, Error> {
        SHELVES.read(self)
    }

    /// Notes that `shelf` is of `unit`. Durable on return.
    pub fn note_shelf(&self, shelf: &str, unit: &UnitName) -> Result<(), Error> {
        SHELVES
            .change(self, |all| all.insert(shelf.to_owned(), unit.clone()).as_ref() != Some(unit))
    }

    /// Forgets those that nothing is on.
    pub fn retain_shelves(&self, is_there: impl Fn(&str) -> bool) -> Result<(), Error> {
        SHELVES.change(self, |all| {
            let before = all.len();
            all.retain(|shelf, _| is_there(shelf));
            all.len() < before
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_again_until_nothing_is_kept_for_them() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.shelves().unwrap(), BTreeMap::new());
        let [app, other] = ["app.service", "other.service"].map(|unit| unit.parse().unwrap());
        store.note_shelf("localhost/a", &app).unwrap();
        store.note_shelf("localhost/b", &other).unwrap();
        store.retain_shelves(|shelf| shelf == "localhost/b").unwrap();
        assert_eq!(store.shelves().unwrap(), BTreeMap::from([("localhost/b".to_owned(), other)]));
        std::fs::write(directory.path().join("shelves.json"), "{").unwrap();
        assert_eq!(store.shelves().unwrap(), BTreeMap::new());
    }
}
