//! `updater-launch load`

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{Mode, OFlags};

use crate::launch::archive::load::Archive;
use crate::launch::command::pull::run;
use crate::launch::copy::unpack::{Owner, Target};
use crate::launch::place::Place;
use crate::launch::{Error, events, say};
use crate::model::{ImageSource, Platform};
use crate::store::Store;
use crate::store::pull::{Want, pull};
use crate::store::unpack::Limits;

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// An archive, or a directory with an OCI layout; by default standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print nothing
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn load(place: &Place, flags: &Load) -> Result<u8, Error> {
    let store = place.store()?;
    if let Some(directory) = flags.input.as_deref().filter(|path| path.is_dir()) {
        return take(place, flags, &store, &Archive::open(directory)?);
    }
    let work = store.scratch()?;
    let input: Box<dyn Read> = match &flags.input {
        None if io::stdin().is_terminal() => return Err(Error::LoadFromTerminal),
        None => Box::new(io::stdin().lock()),
        Some(path) => {
            Box::new(File::open(path).map_err(|source| Error::file("open", path, source))?)
        }
    };
    unpack(input, work.path())?;
    take(place, flags, &store, &Archive::open(work.path())?)
}

/// Unpacks a tar archive, compressed by gzip or not.
fn unpack(input: Box<dyn Read>, directory: &Path) -> Result<(), Error> {
    let mut input = BufReader::with_capacity(1 << 17, input);
    let begin = input.fill_buf().map_err(|error| Error::system("read the archive", error))?;
    let zipped = begin.starts_with(&[0x1f, 0x8b]);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(directory, flags, Mode::empty());
    let root = root.map_err(|error| Error::file("open", directory, error.into()))?;
    let target =
        Target { root: root.as_fd(), directory: PathBuf::new(), owner: Owner::Ours, users: None };
    let limits = Limits::default();
    if zipped {
        let inflated = flate2::bufread::MultiGzDecoder::new(input);
        target.unpack(BufReader::with_capacity(1 << 16, inflated), &limits)?;
    } else {
        target.unpack(input, &limits)?;
    }
    Ok(())
}

fn take(place: &Place, flags: &Load, store: &Store, archive: &Archive) -> Result<u8, Error> {
    for offered in &archive.images {
        let unnamed = || "localhost/loaded".parse();
        let reference = offered.names.first().cloned().map_or_else(unnamed, Ok)?;
        let source = ImageSource { reference: reference.clone(), authfile: None };
        let want = Want { target: Some(offered.target.clone()), platform: Platform::host() };
        let image = run(pull(store, archive, &source, want, &()))??;
        for name in &offered.names {
            store.tag(name, &image.identity.manifest)?;
        }
        events::of_image(place, &image, &reference.to_string(), "load");
        if flags.quiet {
            continue;
        }
        match offered.names.as_slice() {
            [] => say(format_args!("Loaded image: sha256:{}", image.id.hex()))?,
            names => names.iter().try_for_each(|name| say(format_args!("Loaded image: {name}")))?,
        }
    }
    Ok(0)
}
