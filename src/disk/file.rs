//! Small files that are replaced as a whole or grow at their end, and survive a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

#[cfg(test)]
use super::fault::step;

/// A step of a write: tests cut the power there, and `_lose` is what the disk has lost then.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests have it fail")]
fn step(_lose: impl FnOnce()) -> io::Result<()> {
    Ok(())
}

/// Whether an error says that there is nothing by that name: a file in the place of a directory
/// above it is as good as none.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Reads a file; `None` where there is none.
///
/// # Errors
/// `FileTooLarge` for more than `limit` bytes; whatever open(2) and read(2) say.
pub fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if is_absent(&error) => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let text = format!("it is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Some(bytes))
}

/// Replaces a file, readable for its owner only: a reader, and the disk after a crash, has the
/// old or the new one, whole. Durable on return. The caller holds the lock that lets one process
/// at a time replace files in this directory.
///
/// # Errors
/// Whatever the file system says; the old file is then as it was, and no part of the new is left.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Not made from the name, which may be as long as names can be.
    let aside = path.with_file_name(".new");
    let written = write_flushed(&aside, bytes).and_then(|()| rename(&aside, path));
    if let Err(error) = written {
        // A full disk must not keep the half of a file as well.
        if step(|| ()).is_ok() {
            let _ = fs::remove_file(&aside);
        }
        return Err(error);
    }
    sync_parent(path)
}

/// Adds a line to the end of a file, which is made, for its owner only, where it is not there. Durable
/// on return; after a crash, the beginning of the line may be there.
///
/// # Errors
/// Whatever the file system says; where it lets go of it, nothing of the line is there then.
pub fn append_line(path: &Path, line: &[u8]) -> io::Result<()> {
    let is_new = !path.exists();
    step(|| ())?;
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    let added = add_line(&mut file, before, line).and_then(|()| match is_new {
        // A new file is on disk only with its name.
        true => step(|| drop(fs::remove_file(path))).and_then(|()| sync_parent(path)),
        false => Ok(()),
    });
    // What is not said to be there must not be the beginning of the next line.
    if added.is_err() && step(|| ()).is_ok() {
        let _ = file.set_len(before);
    }
    added
}

fn add_line(file: &mut File, before: u64, line: &[u8]) -> io::Result<()> {
    let bytes =
        [if ends_a_line(file, before)? { "" } else { "\n" }.as_bytes(), line, b"\n"].concat();
    step(|| drop(file.write_all(&bytes[..bytes.len() / 2])))?;
    file.write_all(&bytes)?;
    // What is not flushed is there in part, or not at all.
    step(|| drop(file.set_len(before + bytes.len() as u64 / 2)))?;
    file.sync_all()
}

/// Whether what is added begins a line. An earlier one may be cut off, where a disk that failed then
/// did not let go of it either.
fn ends_a_line(file: &File, length: u64) -> io::Result<bool> {
    let Some(last) = length.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// Cuts a file off after so many bytes. Durable on return.
///
/// # Errors
/// Whatever the file system says.
pub fn cut(path: &Path, length: u64) -> io::Result<()> {
    step(|| ())?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    step(|| ())?;
    file.sync_all()
}

/// Gives a file another name in its directory, which no file is to have. Durable on return.
///
/// # Errors
/// Whatever the file system says.
pub fn rename_within(path: &Path, to: &Path) -> io::Result<()> {
    rename(path, to).and_then(|()| sync_parent(to))
}

/// Gives a file a second name in its directory. Durable on return.
///
/// # Errors
/// Whatever the file system says.
pub fn link_within(path: &Path, to: &Path) -> io::Result<()> {
    step(|| ())?;
    fs::hard_link(path, to)?;
    sync_parent(to)
}

/// Removes a file durably; none is no error.
///
/// # Errors
/// Whatever the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    step(|| ())?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_parent(path)),
    }
}

/// Makes a directory and those above it, for their owner only, where they are not there.
///
/// # Errors
/// Whatever the file system says.
pub fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn write_flushed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    step(|| ())?;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    step(|| drop(file.write_all(&bytes[..bytes.len() / 2])))?;
    file.write_all(bytes)?;
    step(|| drop(file.set_len(bytes.len() as u64 / 2)))?;
    file.sync_all()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step(|| ())?;
    fs::rename(from, to)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Whatever the file system says.
pub fn sync_directory(dir: &Path) -> io::Result<()> {
    step(|| ())?;
    File::open(dir)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_reads_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.service");
        assert_eq!(read(&path, 9).unwrap(), None);
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"new");
        assert_eq!(read(&path.join("below"), 9).unwrap(), None);
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        append_line(&path, b"er").unwrap();
        append_line(&path, b"yet").unwrap();
        assert_eq!(read(&path, 11).unwrap().unwrap(), b"new\ner\nyet\n");
        cut(&path, 3).unwrap();
        assert_eq!(read(&path, 5).unwrap().unwrap(), b"new");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_replacement_that_fails_leaves_nothing_of_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        replace(&path, b"new").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
