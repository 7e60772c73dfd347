//! The format of `k8s-file`: `TIME stdout|stderr F|P TEXT`, a line of the file for each line of the
//! container, or for each piece of a long one (P).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::launch::Error;
use crate::launch::logs::{End, Line, Printer, Wanted, quiet};
use crate::store::containers::Record;

/// The longest line read, in bytes: more than is ever written.
const LONGEST: u64 = 1 << 20;
/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A file that lines are added to; when it would grow beyond its limit, it begins anew.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    path: PathBuf,
    size: u64,
    limit: Option<u64>,
}

impl LogFile {
    /// # Errors
    /// Also where it is no plain file.
    pub(crate) fn open(path: &Path, limit: Option<u64>) -> io::Result<Self> {
        // A FIFO would block, or end us, and a link lead wherever its owner likes.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
        let file =
            File::options().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
        let status = file.metadata()?;
        if !status.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
        }
        Ok(Self { file, path: path.to_owned(), size: status.len(), limit })
    }

    /// Adds a line, or a piece of one that goes on.
    pub(crate) fn write(&mut self, text: &[u8], error: bool, whole: bool) -> io::Result<()> {
        let stream = if error { "stderr" } else { "stdout" };
        let tag = if whole { "F" } else { "P" };
        let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%9f+00:00");
        let mut entry = format!("{time} {stream} {tag} ").into_bytes();
        entry.extend_from_slice(text);
        entry.push(b'\n');
        let length = entry.len() as u64;
        if self.size > 0 && self.limit.is_some_and(|limit| self.size + length > limit) {
            // Renamed, so that who reads the old one reads it to its end.
            let mut name = self.path.clone().into_os_string();
            name.push(".new");
            let new = PathBuf::from(name);
            let _ = std::fs::remove_file(&new);
            let fresh = Self::open(&new, self.limit)?;
            std::fs::rename(&new, &self.path)?;
            (self.file, self.size) = (fresh.file, 0);
        }
        self.file.write_all(&entry)?;
        self.size += length;
        Ok(())
    }
}

/// Reads one line of the file; `None` for what is none.
fn parse(line: &[u8]) -> Option<Line> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let text = |part: Option<&[u8]>| std::str::from_utf8(part?).ok().map(str::to_owned);
    let time = text(parts.next())?.parse().ok()?;
    let error = match text(parts.next())?.as_str() {
        "stdout" => false,
        "stderr" => true,
        _ => return None,
    };
    // Others may follow after a colon.
    let whole = text(parts.next())?.split(':').next() == Some("F");
    Some(Line { time, error, whole, text: parts.next().unwrap_or_default().to_vec() })
}

/// Shows what a container wrote to the file; with `follow` also what it writes until its end.
pub(crate) fn show(
    record: &Record,
    path: &Path,
    wanted: Wanted,
    follow: bool,
    printer: &mut Printer,
) -> Result<(), Error> {
    let failed = |source| Error::file("read the log", path, source);
    let end = End::of(record);
    let mut reader = match Reader::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    let mut held = VecDeque::new();
    while let Some(line) = reader.next().map_err(failed)? {
        if !wanted.holds(line.time) {
            continue;
        }
        match wanted.tail {
            None => {
                if !shown(printer, &line)? {
                    return Ok(());
                }
            }
            Some(tail) => {
                held.push_back(line);
                drop_lines(&mut held, tail);
            }
        }
    }
    for line in &held {
        if !shown(printer, line)? {
            return Ok(());
        }
    }
    let mut ended = !follow;
    while !ended {
        ended = end.wait(LOOK);
        loop {
            while let Some(line) = reader.next().map_err(failed)? {
                if wanted.until.is_some_and(|until| line.time > until) || !shown(printer, &line)? {
                    return Ok(());
                }
            }
            if !reader.renew().map_err(failed)? {
                break;
            }
        }
    }
    Ok(())
}

/// Keeps the last `tail` lines, with all their pieces.
fn drop_lines(held: &mut VecDeque<Line>, tail: usize) {
    let ends = held.iter().filter(|line| line.whole).count();
    let open = usize::from(held.back().is_some_and(|line| !line.whole));
    let mut surplus = (ends + open).saturating_sub(tail);
    while surplus > 0 {
        match held.pop_front() {
            Some(line) if line.whole => surplus -= 1,
            Some(_) => {}
            None => break,
        }
    }
}

fn shown(printer: &mut Printer, line: &Line) -> Result<bool, Error> {
    let printed = printer.print(line);
    let gone = printed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    quiet(printed).map(|()| !gone)
}

struct Reader {
    file: BufReader<File>,
    path: PathBuf,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl Reader {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Self { file: BufReader::new(file), path: path.to_owned(), begun: Vec::new() })
    }

    /// The next whole line that is one of a log.
    fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let room = LONGEST.saturating_sub(self.begun.len() as u64);
            let mut limited = io::Read::take(&mut self.file, room);
            if limited.read_until(b'\n', &mut self.begun)? == 0 && room > 0 {
                return Ok(None);
            }
            if self.begun.last() != Some(&b'\n') && (self.begun.len() as u64) < LONGEST {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.begun);
            if let Some(line) = parse(line.strip_suffix(b"\n").unwrap_or(&line)) {
                return Ok(Some(line));
            }
        }
    }

    /// Goes on with the file that stands in this one's place by now; whether there is one.
    fn renew(&mut self) -> io::Result<bool> {
        let identity = |status: std::fs::Metadata| (status.dev(), status.ino());
        let now = match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            now => identity(now?),
        };
        if now == identity(self.file.get_ref().metadata()?) {
            return Ok(false);
        }
        *self = Self::open(&self.path)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_begins_anew_at_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ctr.log");
        let mut file = LogFile::open(&path, Some(200)).unwrap();
        for number in 0..3 {
            file.write(format!("line {number}").as_bytes(), number == 1, number != 2).unwrap();
        }
        let mut reader = Reader::open(&path).unwrap();
        let mut read = || reader.next().unwrap().unwrap();
        let (first, second, third) = (read(), read(), read());
        assert_eq!((&*first.text, first.error, first.whole), (&b"line 0"[..], false, true));
        assert!(second.error && !third.whole);
        assert!(reader.next().unwrap().is_none() && !reader.renew().unwrap());
        file.write(&[b'x'; 60], false, true).unwrap();
        assert!(reader.next().unwrap().is_none() && reader.renew().unwrap());
        assert_eq!(reader.next().unwrap().unwrap().text.len(), 60);
        assert!(std::fs::metadata(&path).unwrap().len() <= 200);
        assert!(LogFile::open(Path::new("/dev/null"), None).is_err());
    }

    #[test]
    fn the_last_lines_come_with_their_pieces() {
        let line = |text: &str, whole| Line {
            time: Timestamp::UNIX_EPOCH,
            error: false,
            whole,
            text: text.into(),
        };
        let mut held: VecDeque<_> =
            [line("a", true), line("b", false), line("c", true), line("d", false)].into();
        drop_lines(&mut held, 2);
        assert_eq!(held.iter().map(|line| &*line.text).collect::<Vec<_>>(), [b"b", b"c", b"d"]);
        drop_lines(&mut held, 0);
        assert!(held.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }
    }
}
