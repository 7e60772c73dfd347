//! `updater-launch cp`

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};

use crate::launch::Error;
use crate::launch::copy::Fault;
use crate::launch::copy::end::{End, Tree};
use crate::launch::copy::pack::Source;
use crate::launch::copy::unpack::{Owner, Target};
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::model::MinFree;
use crate::store::containers::Record;
use crate::store::unpack::Limits;

#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// Give what goes into a container to its user; --archive=false keeps user and group IDs
    #[arg(short, long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    archive: bool,
    /// Taken for Podman's sake: a directory never takes the place of a file, nor the other way round
    #[arg(long, hide = true)]
    overwrite: bool,
    /// CONTAINER:PATH, PATH, or - for a tar archive from standard input
    source: String,
    /// CONTAINER:PATH, PATH, or - for a tar archive to standard output
    target: String,
}

/// Whoever copies knows how much that is; but a container may have a file with a hole of any size,
/// and is not to fill the disk with it.
const LIMITS: Limits = Limits {
    entries: u64::MAX,
    min_free: MinFree { bytes: 64 * 1024 * 1024, percent: 1 },
    ..Limits::DEFAULT
};

/// How the container's side is found, and the copy's other side.
struct Side {
    tree: Tree,
    /// `None`: the host's.
    record: Option<Record>,
    path: PathBuf,
}

impl Side {
    /// Works on the side as a target. What is made in a container whose users are others outside is
    /// made by its root: a mount that shows files by a map has nobody else.
    fn target<T>(
        &self,
        directory: PathBuf,
        owner: Owner,
        work: impl FnOnce(Target<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let users = self.tree.own.as_ref();
        let target = Target { root: self.tree.root.as_fd(), directory, owner, users };
        match users {
            Some(users) => users.as_root(|| work(target))?,
            None => work(target),
        }
    }
}

pub(crate) fn copy(place: &Place, flags: &Cp) -> Result<u8, Error> {
    if flags.overwrite {
        return Err(Error::Overwrite);
    }
    match (End::parse(&flags.source), End::parse(&flags.target)) {
        (End::Host(_), End::Host(_) | End::Stream) | (End::Stream, End::Host(_) | End::Stream) => {
            Err(Error::NoContainerSide)
        }
        (End::Stream, to) => {
            let [side] = open(place, [to])?;
            if side.tree.look(&side.path)? != Some(true) {
                let shown = side.path.display().to_string();
                return Err(Fault::NoDirectory(shown, ", as an archive needs").into());
            }
            let owner = owner(place, flags, &side)?;
            side.target(side.path.clone(), owner, |target| {
                Ok(target.unpack(io::stdin().lock(), &LIMITS)?)
            })?;
            Ok(0)
        }
        (from, End::Stream) => {
            let [side] = open(place, [from])?;
            let source = Source::open(&side.tree.root, &side.path)?;
            let (name, _) = names(&side.path);
            source.pack(&name, io::stdout().lock(), side.tree.own.as_ref())?;
            Ok(0)
        }
        (from, to) => {
            let [from, to] = open(place, [from, to])?;
            between(place, flags, &from, &to)
        }
    }
}

/// Opens the sides of a copy. Those that run are found from outside; all else wants root of the user
/// namespace of one of them, or of one like that.
fn open<const N: usize>(place: &Place, ends: [End; N]) -> Result<[Side; N], Error> {
    let mut found = Vec::new();
    for end in ends {
        found.push(find(place, end)?);
    }
    let supervisors = found.iter().filter_map(|(record, tree, _)| {
        record.as_ref().filter(|_| tree.is_some()).and_then(|record| record.supervisor)
    });
    place.join(supervisors.last())?;
    let mut sides = Vec::new();
    for (record, tree, path) in found {
        let tree = match (tree, &record) {
            (Some(mut tree), Some(record)) => {
                tree.know_users(place, record)?;
                tree
            }
            (None, Some(record)) => Tree::of_stopped(place, record)?,
            (Some(tree), None) => tree,
            (None, None) => Tree::host()?,
        };
        sides.push(Side { tree, record, path });
    }
    // As many as there were ends.
    sides.try_into().map_err(|_| Error::NoContainerSide)
}

type Found = (Option<Record>, Option<Tree>, PathBuf);

fn find(place: &Place, end: End) -> Result<Found, Error> {
    match end {
        End::Container { name, path } => {
            let record = containers::find(place, &name)?;
            let tree = Tree::of_running(&record)?;
            Ok((Some(record), tree, Path::new("/").join(path)))
        }
        End::Host(path) => {
            // What "." at the end means is lost by making it absolute.
            let contents = path.as_os_str().as_bytes().ends_with(b"/.") || path == Path::new(".");
            let slash = path.as_os_str().as_bytes().ends_with(b"/");
            let mut path =
                std::path::absolute(&path).map_err(|source| Error::file("find", path, source))?;
            if contents {
                path.as_mut_os_string().push("/.");
            } else if slash && path != Path::new("/") {
                path.as_mut_os_string().push("/");
            }
            Ok((None, None, path))
        }
        End::Stream => Err(Error::NoContainerSide),
    }
}

/// What a source is called in its archive, and whether only what is in it is meant (`DIR/.`).
fn names(path: &Path) -> (OsString, bool) {
    let contents = path.as_os_str().as_bytes().ends_with(b"/.");
    let name = path.file_name().map(OsString::from).unwrap_or_default();
    (if contents { OsString::new() } else { name }, contents)
}

fn owner(place: &Place, flags: &Cp, to: &Side) -> Result<Owner, Error> {
    match &to.record {
        None => Ok(Owner::Ours),
        Some(_) if !flags.archive => Ok(Owner::Kept),
        Some(record) => {
            let (uid, gid) = to.tree.user(place, record)?;
            Ok(Owner::Are(uid, gid))
        }
    }
}

/// podman-cp(1): into a directory that is there, else under a new name beside it.
fn between(place: &Place, flags: &Cp, from: &Side, to: &Side) -> Result<u8, Error> {
    let source = Source::open(&from.tree.root, &from.path)?;
    let (mut name, contents) = names(&from.path);
    let shown = || to.path.display().to_string();
    let ends_as_directory = to.path.as_os_str().as_bytes().ends_with(b"/");
    let directory = match to.tree.look(&to.path)? {
        Some(true) => to.path.clone(),
        Some(false) if source.is_directory() => {
            return Err(Fault::NoDirectory(shown(), ", and what is copied is one").into());
        }
        None if ends_as_directory && !source.is_directory() => {
            return Err(Fault::Missing(shown(), " to copy into").into());
        }
        _ => {
            let parent = to.path.parent().unwrap_or(Path::new("/")).to_owned();
            if to.tree.look(&parent)? != Some(true) {
                return Err(Fault::Missing(parent.display().to_string(), " to copy into").into());
            }
            name = to.path.file_name().map(OsString::from).unwrap_or_default();
            parent
        }
    };
    if contents && directory == to.path {
        name = OsString::new();
    }
    let owner = owner(place, flags, to)?;
    let (reader, writer) = io::pipe().map_err(|error| Error::system("make a pipe", error))?;
    let writer = io::BufWriter::with_capacity(1 << 16, writer);
    let users = from.tree.own.as_ref();
    // A second thread, here where no container is started: neither side waits for a whole archive.
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| source.pack(&name, writer, users));
        let mut reader = io::BufReader::with_capacity(1 << 16, reader);
        let unpacked =
            to.target(directory, owner, |target| Ok(target.unpack(&mut reader, &LIMITS)?));
        if unpacked.is_ok() {
            // What is after the last entry, so that the other side does not find a closed pipe.
            let _ = io::copy(&mut reader, &mut io::sink());
        }
        drop(reader);
        let packed =
            packing.join().unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::Other).into()));
        // Where unpacking failed, packing did for that reason.
        unpacked.and(packed.map_err(Error::from))
    })?;
    Ok(0)
}
