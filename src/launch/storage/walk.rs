//! Every file of a tree, by descriptors: no link leads out of it, whoever changes it meanwhile.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat2, statat};
use rustix::io::Errno;

/// Calls `visit` with each file below `root` by its directory and name, and with `root` itself by
/// an empty name. Links are visited, not followed; what is mounted below is left out.
///
/// # Errors
/// The first of `visit` or of the file system; `ENAMETOOLONG` for a path of more than 4095 bytes.
pub(crate) fn each(
    root: &Path,
    mut visit: impl FnMut(BorrowedFd<'_>, &Path) -> rustix::io::Result<()>,
) -> io::Result<()> {
    let opened = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    visit(opened.as_fd(), Path::new(""))?;
    if FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) != FileType::Directory {
        return Ok(());
    }
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directories = vec![PathBuf::from(".")];
    while let Some(path) = directories.pop() {
        let directory = match openat2(&opened, &path, flags, Mode::empty(), within) {
            // It was another file system's, or is none any more.
            Err(Errno::XDEV | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            directory => directory?,
        };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name: &Path = Path::new(std::ffi::OsStr::new(
                <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(
                    entry.file_name().to_bytes(),
                ),
            ));
            if name == Path::new(".") || name == Path::new("..") {
                continue;
            }
            let kind = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                found => FileType::from_raw_mode(found?.st_mode),
            };
            match visit(directory.as_fd(), name) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            if kind == FileType::Directory {
                directories.push(path.join(name));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_leads_out() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), "").unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::write(root.path().join("a/b/file"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("a/link")).unwrap();
        let mut names = Vec::new();
        each(root.path(), |_, name| {
            names.push(name.display().to_string());
            Ok(())
        })
        .unwrap();
        names.sort();
        assert_eq!(names, ["", "a", "b", "file", "link"]);
    }
}
