//! Which units the names are of that keep Podman's images: a name says a unit to people only.

use std::collections::BTreeMap;

use super::{Error, Store};
use crate::disk::{self, Mode};
use crate::model::UnitName;

/// The largest file read, in bytes: some ten thousand units.
const MAX_SHELVES: u64 = 4 * 1024 * 1024;

impl Store {
    /// The units that names were noted for. Where that cannot be read, what they keep stays for good.
    pub fn shelves(&self) -> Result<BTreeMap<String, UnitName>, Error> {
        let path = self.root.join("shelves.json");
        let bytes = disk::read(&path, MAX_SHELVES).map_err(|cause| Error::read(&path, cause))?;
        let Some(bytes) = bytes else { return Ok(BTreeMap::new()) };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|cause| {
            tracing::warn!(
                target: "updaterd",
                "{} is damaged ({cause}): what Podman keeps for units that are removed stays until their \
                 next update, ignoring",
                path.display()
            );
            BTreeMap::new()
        }))
    }

    /// Notes that `shelf` is of `unit`. Durable on return.
    pub fn note_shelf(&self, shelf: &str, unit: &UnitName) -> Result<(), Error> {
        self.change_shelves(|all| all.insert(shelf.to_owned(), unit.clone()).as_ref() != Some(unit))
    }

    /// Forgets those that nothing is on.
    pub fn retain_shelves(&self, is_there: impl Fn(&str) -> bool) -> Result<(), Error> {
        self.change_shelves(|all| {
            let before = all.len();
            all.retain(|shelf, _| is_there(shelf));
            all.len() < before
        })
    }

    fn change_shelves(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, UnitName>) -> bool,
    ) -> Result<(), Error> {
        let (path, locks) = (self.root.join("shelves.json"), self.root.join("locks"));
        disk::make_private(&locks).map_err(|cause| Error::io("create", &locks, cause))?;
        let _lock = super::lock::wait(&locks.join("shelves"), Mode::Exclusive)?;
        let mut all = self.shelves()?;
        if !change(&mut all) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&all)
            .map_err(|source| Error::Syntax { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|cause| Error::write(&path, cause))
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
