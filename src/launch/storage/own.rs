//! Whose files a volume's are: `U` makes them the container's user's, and on hosts with SELinux `z`
//! and `Z` label them for containers.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Uid, XattrFlags, chownat, lsetxattr, statat};

use crate::launch::storage::volume::Relabel;
use crate::launch::storage::walk;
use crate::model::ContainerId;

/// Directories of the system: all of its files would be made over to one container.
const NEVER: [&str; 24] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt",
    "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib",
    "/var/log", "/var/tmp",
];

/// Whether no volume's files may be made over, since they are the system's.
pub(crate) fn is_systems(path: &Path) -> bool {
    NEVER.iter().any(|never| path == Path::new(never))
}

/// Makes all files of a tree those of `uid` and `gid`; a changed owner costs set-user-ID bits.
pub(crate) fn chown(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    walk::each(path, |directory, name| {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let now = statat(directory, name, flags)?;
        if (now.st_uid, now.st_gid) == (uid, gid) {
            return Ok(());
        }
        chownat(directory, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)
    })
}

/// Whether the kernel keeps labels (SELinux).
pub(crate) fn has_labels() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Labels all files of a tree for containers: for all of them, or for this one.
pub(crate) fn relabel(path: &Path, relabel: Relabel, id: &ContainerId) -> io::Result<()> {
    set(path, "security.selinux", &label(relabel, id))
}

fn label(relabel: Relabel, id: &ContainerId) -> String {
    let level = match relabel {
        Relabel::Shared => "s0".to_owned(),
        Relabel::Private => {
            // Two categories of 1024, in order: one of half a million pairs, the same at each start.
            let number = u32::from_str_radix(&id.as_str()[..8], 16).unwrap_or_default();
            let (a, b) = (number % 1024, number / 1024 % 1023);
            let b = if b >= a { b + 1 } else { b };
            format!("s0:c{},c{}", a.min(b), a.max(b))
        }
    };
    format!("system_u:object_r:container_file_t:{level}")
}

fn set(path: &Path, attribute: &str, label: &str) -> io::Result<()> {
    walk::each(path, |directory, name| {
        let through = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
        // An empty name is the root itself, reached through its own descriptor.
        if name.as_os_str().is_empty() {
            return rustix::fs::setxattr(through, attribute, label.as_bytes(), XattrFlags::empty());
        }
        lsetxattr(through.join(name), attribute, label.as_bytes(), XattrFlags::empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let id: ContainerId = "0123456789abcdef".repeat(4).parse().unwrap();
        assert_eq!(label(Relabel::Shared, &id), "system_u:object_r:container_file_t:s0");
        let private = label(Relabel::Private, &id);
        assert_eq!(private, label(Relabel::Private, &id));
        assert!(private.starts_with("system_u:object_r:container_file_t:s0:c"), "{private}");
    }

    #[test]
    fn all_files_of_a_tree_are_labelled() {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        std::fs::create_dir(root.path().join("a")).unwrap();
        std::fs::write(root.path().join("a/file"), "").unwrap();
        set(root.path(), "user.test", "label").unwrap();
        for path in ["", "a", "a/file"] {
            let mut value = [0u8; 16];
            let path = root.path().join(path);
            let length = rustix::fs::getxattr(&path, "user.test", &mut value).unwrap();
            assert_eq!(&value[..length], b"label", "{}", path.display());
        }
    }

    #[test]
    fn the_systems_directories_are_nobodys() {
        assert!(is_systems(Path::new("/etc/")) && is_systems(Path::new("/")));
        assert!(!is_systems(Path::new("/srv/data")));
    }
}
