//! Links of an image that lead nowhere, in the place of a file of ours.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2, statat, unlinkat};
use rustix::io::Errno;

/// Removes `file` below `root` where it is a link to nothing, so that a file can be there.
pub(crate) fn remove(root: &Path, file: &Path) -> rustix::io::Result<()> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let find = |path: &Path| {
        let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), confined)
    };
    if !matches!(find(file), Err(Errno::NOENT)) {
        return Ok(());
    }
    let parent = match find(file.parent().unwrap_or(Path::new("/"))) {
        Err(Errno::NOENT) => return Ok(()),
        parent => parent?,
    };
    let name = file.file_name().unwrap_or(OsStr::new("."));
    match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink => {
            unlinkat(&parent, name, AtFlags::empty())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_link_to_nothing_goes() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("etc")).unwrap();
        std::fs::write(at("zone"), "").unwrap();
        symlink("/zone", at("etc/good")).unwrap();
        symlink("/nowhere", at("etc/bad")).unwrap();
        symlink(outside.path(), at("etc/out")).unwrap();
        symlink("/nowhere", outside.path().join("link")).unwrap();
        for name in ["etc/good", "etc/bad", "etc/none", "none/none", "etc/out/link"] {
            let _ = remove(root.path(), &Path::new("/").join(name));
        }
        assert!(at("etc/good").is_symlink() && !at("etc/bad").is_symlink());
        assert!(outside.path().join("link").is_symlink());
    }
}
