//! Reads a tar stream entry by entry, with bounded memory: ustar, PAX and GNU long names
//! (pax(1), tar(5)).
//!
//! Headers are parsed by the `tar` crate; its iterator is not used, because it reads extended
//! headers of any size into memory.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use tar::{EntryType, Header};

use super::Fault;
use crate::model::failure::excerpt;

const BLOCK: usize = 512;
/// What all extended headers of one entry may hold, in bytes: paths, and extended attributes of
/// 64 KiB each.
const MAX_EXTENDED: u64 = 1024 * 1024;

/// One entry, its data not read yet.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: EntryType,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since the epoch.
    pub(crate) mtime: (i64, i64),
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// Its path, for a message.
    pub(crate) fn shown(&self) -> String {
        shown(&self.path)
    }

    /// What the kernel said of it.
    pub(super) fn failed(&self, cause: impl Into<io::Error>) -> Fault {
        Fault::of_entry(self.shown(), cause.into())
    }

    /// That it is not one to unpack.
    pub(super) fn refused(&self, why: &'static str) -> Fault {
        Fault::Entry { path: self.shown(), why }
    }
}

/// A path from outside, for a message.
pub(super) fn shown(path: &[u8]) -> String {
    excerpt(&String::from_utf8_lossy(path))
}

/// What PAX and GNU headers say about the entry that follows them.
#[derive(Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, i64)>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of all headers so far.
    total: u64,
}

/// A tar stream.
#[derive(Debug)]
pub(crate) struct Archive<R> {
    reader: R,
    /// Data of the current entry that is not read yet, and its padding.
    left: u64,
    padding: u64,
}

impl<R: BufRead> Archive<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, left: 0, padding: 0 }
    }

    pub(super) fn into_inner(self) -> R {
        self.reader
    }

    /// The next entry; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        let mut extended = Extended::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(Fault::malformed)?;
            match header.entry_type() {
                EntryType::XHeader => {
                    extended.count(size)?;
                    let data = self.whole(size)?;
                    extended.read_pax(&data)?;
                }
                EntryType::GNULongName => {
                    extended.count(size)?;
                    extended.path = Some(self.long_name(size)?);
                }
                EntryType::GNULongLink => {
                    extended.count(size)?;
                    extended.link = Some(self.long_name(size)?);
                }
                // Defaults for all entries: git and others write comments there, nothing that
                // concerns files.
                EntryType::XGlobalHeader => self.expect(size),
                kind => {
                    // A directory or link with a size has no data (pax(1)), but for hard links of
                    // old archives, which no image has.
                    let size = extended.size.unwrap_or(size);
                    let data = matches!(kind, EntryType::Regular | EntryType::Continuous);
                    self.expect(if data || !is_known(kind) { size } else { 0 });
                    return extended.entry(kind, &header).map(Some);
                }
            }
        }
    }

    /// The next piece of the current entry's data; empty at its end.
    pub(crate) fn data(&mut self) -> Result<&[u8], Fault> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX);
        let piece = self.reader.fill_buf().map_err(Fault::Stream)?;
        if piece.is_empty() {
            return Err(Fault::Truncated);
        }
        Ok(&piece[..piece.len().min(limit)])
    }

    /// Moves on by `count` bytes, no more than [`Archive::data`] gave.
    pub(crate) fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.left -= count as u64;
    }

    /// Bytes of data of the current entry that were not read yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip(&mut self) -> Result<(), Fault> {
        while self.left > 0 {
            let count = self.data()?.len();
            self.consume(count);
        }
        self.left = std::mem::take(&mut self.padding);
        while self.left > 0 {
            let count = self.data()?.len();
            self.consume(count);
        }
        Ok(())
    }

    /// A header block; `None` at a block of zeros or where the stream ends between two entries.
    fn header(&mut self) -> Result<Option<Header>, Fault> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let piece = self.reader.fill_buf().map_err(Fault::Stream)?;
            if piece.is_empty() {
                return if filled == 0 { Ok(None) } else { Err(Fault::Truncated) };
            }
            let count = piece.len().min(BLOCK - filled);
            block[filled..filled + count].copy_from_slice(&piece[..count]);
            self.reader.consume(count);
            filled += count;
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let stated = Header::from_byte_slice(&block).cksum().map_err(Fault::malformed)?;
        // The checksum counts its own field as blanks.
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        if sum(&block[..148]) + 8 * 32 + sum(&block[156..]) != stated {
            return Err(Fault::Malformed("the checksum of a header is wrong".to_owned()));
        }
        // Mode, owner, group, size and time that a writer left out count as zero.
        for field in [100..108, 108..116, 116..124, 124..136, 136..148] {
            if block[field.clone()].iter().all(|byte| matches!(byte, 0 | b' ')) {
                block[field.start] = b'0';
            }
        }
        Ok(Some(Header::from_byte_slice(&block).clone()))
    }

    /// All data of the current entry; the caller has looked at the size.
    fn whole(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        self.expect(size);
        let mut data = Vec::new();
        while self.left > 0 {
            let piece = self.data()?;
            data.extend_from_slice(piece);
            let count = piece.len();
            self.consume(count);
        }
        Ok(data)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        let mut name = self.whole(size)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }
}

fn is_known(kind: EntryType) -> bool {
    use EntryType as T;
    matches!(kind, T::Directory | T::Symlink | T::Link | T::Char | T::Block | T::Fifo)
}

impl Extended {
    /// Refuses what would be too much together, before it is read.
    fn count(&mut self, size: u64) -> Result<(), Fault> {
        self.total = self.total.saturating_add(size);
        if self.total > MAX_EXTENDED {
            let text = format!("an entry with extended headers of {} bytes", self.total);
            return Err(Fault::Malformed(text));
        }
        Ok(())
    }

    /// `LENGTH KEY=VALUE\n`, repeated; the length counts itself.
    fn read_pax(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        let malformed = || Fault::Malformed("a PAX header that cannot be read".to_owned());
        while !data.is_empty() {
            let blank = data.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length: usize = number(&data[..blank]).ok_or_else(malformed)?;
            let record = data.get(blank + 1..length).ok_or_else(malformed)?;
            let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            self.set(key, value).ok_or_else(malformed)?;
            data = &data[length..];
        }
        if self.xattrs.contains_key(&b""[..]) {
            return Err(malformed());
        }
        Ok(())
    }

    /// The last of a key counts. An empty value takes earlier ones back (pax(1)), but for an
    /// attribute, which may be empty. `None` for what cannot be read.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.path = said(value).map(<[u8]>::to_vec),
            b"linkpath" => self.link = said(value).map(<[u8]>::to_vec),
            b"size" => self.size = read(value, number)?,
            b"uid" => self.uid = read(value, number)?,
            b"gid" => self.gid = read(value, number)?,
            b"mtime" => self.mtime = read(value, time)?,
            // Content that is not in one piece would be unpacked as something else.
            _ if key.starts_with(b"GNU.sparse.") => return None,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                }
            }
        }
        Some(())
    }

    fn entry(self, kind: EntryType, header: &Header) -> Result<Entry, Fault> {
        let id = |id: u64| match u32::try_from(id) {
            // All bits set means "leave as it is" to chown(2).
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(Fault::Malformed(format!("owner {id}"))),
        };
        let uid = self.uid.map_or_else(|| header.uid(), Ok).map_err(Fault::malformed)?;
        let gid = self.gid.map_or_else(|| header.gid(), Ok).map_err(Fault::malformed)?;
        let seconds = || header.mtime().map(|time| (time.cast_signed(), 0));
        let path = self.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = self.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        Ok(Entry {
            kind,
            path,
            link: link.unwrap_or_default(),
            mode: header.mode().map_err(Fault::malformed)? & 0o7777,
            uid: id(uid)?,
            gid: id(gid)?,
            mtime: self.mtime.map_or_else(seconds, Ok).map_err(Fault::malformed)?,
            xattrs: self.xattrs,
        })
    }
}

fn said(value: &[u8]) -> Option<&[u8]> {
    Some(value).filter(|value| !value.is_empty())
}

/// The value, `Some(None)` for an empty one, `None` for one that cannot be read.
fn read<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match said(value) {
        Some(value) => parse(value).map(Some),
        None => Some(None),
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A decimal number of seconds, maybe negative, maybe with a fraction, which rounds down.
fn time(text: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

/// Reads the rest of the stream, which is padding.
pub(super) fn drain(mut reader: impl BufRead) -> io::Result<()> {
    loop {
        let count = reader.fill_buf()?.len();
        if count == 0 {
            return Ok(());
        }
        reader.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_with_fractions() {
        assert_eq!(time(b"1700000000.25"), Some((1_700_000_000, 250_000_000)));
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"7"), Some((7, 0)));
        for bad in [&b""[..], b"1.x", b"1.-5", b"x"] {
            assert_eq!(time(bad), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2048)) {
            let mut archive = Archive::new(&bytes[..]);
            while let Ok(Some(_)) = archive.next() {}
            let _ = Extended::default().read_pax(&bytes);
        }
    }
}
