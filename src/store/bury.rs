//! What processes have left that died: work, what they held, files of locks. It is told by its locks, which are
//! free; what a process is at that lives stays.

use std::path::Path;

use super::erase::{Brake, Pace};
use super::hold::HELD;
use super::listing::{self, entries};
use super::workspace::{WORK, is_of_pull, remove};
use super::{Error, Store, lock, pull, seal};
use crate::disk::Lock;
use crate::model::Digest;

impl Store {
    /// Removes what the dead have left, as far as `brake` lets it. Layers that were whole get their names, as
    /// those of a pull do that is given up, unless a process that lives is at them: the locks of `own` are the
    /// caller's. What cannot be removed now stays for the next time.
    pub(super) fn bury(&self, own: &[Digest], brake: &Brake) {
        let mut pace = Pace::new(brake);
        for (work, _locked) in self.dead_in(WORK) {
            if !is_of_pull(&work) || self.inherit(&work, own) {
                tracing::debug!(work = %work.display(), "dropping work of a process that died");
                remove(&work, &mut pace);
            }
        }
        for (holder, _locked) in self.dead_in(HELD) {
            remove(&holder, &mut pace);
        }
        for path in entries(&self.root.join("locks")).unwrap_or_default() {
            if let Some(layer) = listing::digest(&path) {
                // With the lock goes its file.
                drop(self.try_lock_layer(&layer));
            }
        }
    }

    /// Whether there is something to be removed.
    pub(super) fn has_dead(&self) -> bool {
        self.dead_in(WORK).chain(self.dead_in(HELD)).next().is_some()
    }

    /// Gives the layers their names that were whole in the work of a process that died. Whether the rest
    /// may go.
    fn inherit(&self, work: &Path, own: &[Digest]) -> bool {
        let (mut locks, mut whole, mut is_alone) = (Vec::new(), Vec::new(), true);
        for layer in seal::whole_in(work) {
            let lock = if own.contains(&layer) {
                None
            } else if let Ok(Some(lock)) = self.try_lock_layer(&layer) {
                Some(lock)
            } else {
                // Whoever waited for it inherits it.
                is_alone = false;
                continue;
            };
            locks.extend(lock);
            whole.push(layer);
        }
        pull::keep(self, work, &whole);
        // From here on something of a layer may be missing.
        is_alone && seal::withdraw(work).is_ok()
    }

    /// The lock of who fetches this layer, if it is free; its file goes away with the lock.
    pub(super) fn try_lock_layer(&self, diff_id: &Digest) -> Result<Option<Lock>, Error> {
        lock::try_exclusive(&self.root.join("locks").join(diff_id.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{layer, store};
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let name =
            |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = entries(directory).unwrap().iter().map(name).collect();
        names.sort();
        names
    }

    /// The work of a pull that was killed: a layer of this boot, one of another, one that is not whole.
    fn dead_work(store: &Store, name: &str) -> [Digest; 3] {
        let layers = ["whole", "older", "half"].map(|seed| Digest::of(seed.as_bytes()));
        let work = store.root.join("tmp").join(name);
        for layer in &layers {
            std::fs::create_dir_all(work.join(layer.hex()).join("below")).unwrap();
        }
        seal::write(&work, &layers[0]).unwrap();
        seal::write(&work, &layers[1]).unwrap();
        let seal = work.join(format!("whole-{}", layers[1].hex()));
        let said = std::fs::read_to_string(&seal).unwrap();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        std::fs::write(&seal, said.replace(boot.trim(), "another")).unwrap();
        layers
    }

    #[test]
    fn only_the_dead_lose_what_they_had() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let (work, holder) = (store.workspace().unwrap(), store.holder().unwrap());
        let (image, other) = (Digest::of(b"image"), Digest::of(b"other"));
        holder.hold(&image).unwrap();
        let lock = store.try_lock_layer(&image).unwrap().unwrap();
        std::fs::create_dir_all(store.root.join("tmp/0123/below")).unwrap();
        std::fs::create_dir_all(store.root.join("held/0123")).unwrap();
        std::fs::write(store.root.join("held/0123").join(other.hex()), "").unwrap();
        std::fs::write(store.root.join("locks").join(other.hex()), "").unwrap();
        assert!(store.has_dead());
        assert!(!store.held().unwrap().contains(&other));

        store.bury(&[], &Brake::default());

        assert!(!store.has_dead() && work.path().is_dir());
        assert_eq!(store.held().unwrap(), [image.clone()].into());
        assert_eq!(names(&store.root.join("locks")), [image.hex(), "index".into(), "store".into()]);
        let path = work.path().to_owned();
        drop((work, holder, lock));
        assert!(!path.exists());
        assert_eq!(store.held().unwrap(), [].into());
    }

    #[test]
    fn whole_layers_of_the_dead_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let [whole, older, half] = dead_work(&store, "pull-0123");
        store.bury(&[], &Brake::default());
        let there = [&whole, &older, &half].map(|layer| store.layer_path(layer).is_dir());
        assert_eq!(there, [true, false, false]);
        assert_eq!(names(&store.root.join("tmp")), [""; 0]);
        assert_eq!(store.changed(&whole).unwrap(), None);
        // What was made of an archive, say, is nobody's layer.
        std::fs::remove_dir_all(store.layer_path(&whole)).unwrap();
        dead_work(&store, "0123");
        store.bury(&[], &Brake::default());
        assert!(!store.layer_path(&whole).exists() && !store.has_dead());
        dead_work(&store, "pull-0123");
        store.bury(&[], &Brake::default());
        // It is there already.
        dead_work(&store, "pull-0123");
        store.bury(&[], &Brake::default());
        assert_eq!(names(&store.root.join("tmp")), [""; 0]);
    }

    #[test]
    fn who_waits_for_a_layer_inherits_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let [whole, ..] = dead_work(&store, "pull-0123");
        let _waited = store.try_lock_layer(&whole).unwrap().unwrap();
        store.bury(&[], &Brake::default());
        assert!(
            !store.layer_path(&whole).exists() && store.has_dead(),
            "another process passes by"
        );
        store.bury(std::slice::from_ref(&whole), &Brake::default());
        assert!(store.layer_path(&whole).is_dir() && !store.has_dead());
    }

    #[test]
    fn what_is_stopped_goes_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let [whole, ..] = dead_work(&store, "pull-0123");
        let brake = Brake::default();
        brake.pull();
        store.bury(&[], &brake);
        assert!(store.has_dead() && store.layer_path(&whole).is_dir());
        store.bury(&[], &Brake::default());
        assert!(!store.has_dead() && store.layer_path(&whole).is_dir());
    }

    #[test]
    fn what_is_written_into_a_layer_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let [whole, ..] = dead_work(&store, "pull-0123");
        let work = store.root.join("tmp/pull-0123").join(whole.hex());
        std::fs::write(work.join("below/file"), "as it came").unwrap();
        store.bury(&[], &Brake::default());
        assert_eq!(store.changed(&whole).unwrap(), None);
        // Clocks of file systems tick.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let file = store.layer_path(&whole).join("below/file");
        let before = std::fs::metadata(&file).unwrap().modified().unwrap();
        std::fs::write(&file, "as it is now").unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
        let changed = store.changed(&whole).unwrap().unwrap();
        assert_eq!((changed.path.as_str(), changed.files), ("below/file", 1));
        std::fs::write(store.layer_path(&whole).join("new"), "").unwrap();
        let changed = store.changed(&whole).unwrap().unwrap();
        assert_eq!((changed.path.as_str(), changed.files), (".", 3));
        // Another directory in its place is not what the seal is of.
        std::fs::rename(store.layer_path(&whole), store.root.join("aside")).unwrap();
        std::fs::create_dir(store.layer_path(&whole)).unwrap();
        assert_eq!(store.changed(&whole).unwrap(), None);
        assert_eq!(store.changed(&layer(&store, "unsealed")).unwrap(), None);
    }
}
