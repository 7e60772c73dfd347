//! `updater-launch save`

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tar::Builder;

use crate::launch::Error;
use crate::launch::archive::Fault;
use crate::launch::archive::save::{Output, Packed};
use crate::launch::image::find::{Found, find};
use crate::launch::place::Place;
use crate::model::Reference;
use crate::store::Image;

const ABOUT: &str = "\
The store keeps layers unpacked: they are packed anew, so that their digests, and with them the
image's ID, are others than those of the image that was pulled. The files in it are the same.";

#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Save {
    /// Where to: a file, or, for oci-dir, a directory; by default standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, value_name = "FORM", default_value = "docker-archive")]
    format: Form,
    /// All names are images, instead of names of one
    #[arg(short, long)]
    multi_image_archive: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
    /// References or IDs
    #[arg(required = true)]
    images: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    DockerArchive,
    OciArchive,
    OciDir,
}

pub(crate) fn save(place: &Place, flags: &Save) -> Result<u8, Error> {
    let store = place.store()?;
    let mut wanted: Vec<(Image, Vec<Reference>)> = Vec::new();
    for word in &flags.images {
        let Found { image, name } = find(place, &store, word)?;
        match wanted.iter_mut().find(|(known, _)| known.id == image.id) {
            Some((_, names)) => names.extend(name),
            None => wanted.push((image, name.into_iter().collect())),
        }
    }
    let several = flags.multi_image_archive && flags.format == Form::DockerArchive;
    if wanted.len() > 1 && !several {
        return Err(Fault::Several.into());
    }
    let output = open(flags)?;
    let work = store.scratch()?;
    let mut packed = Vec::new();
    for (number, (image, names)) in wanted.into_iter().enumerate() {
        let directory = work.path().join(number.to_string());
        std::fs::create_dir(&directory)
            .map_err(|source| Error::file("make", &directory, source))?;
        let image_packed = Packed::new(&store, &image, names, &directory)?;
        if !image_packed.same && !flags.quiet {
            let (old, new) = (image.id.short(), image_packed.id().short());
            eprintln!("The layers are packed anew: what was image {old} here is image {new} there");
        }
        packed.push(image_packed);
    }
    let written = write(output, flags.format, &packed);
    if let (Err(_), Some(path)) = (&written, &flags.output) {
        // The half of an archive is none.
        let _ = if flags.format == Form::OciDir {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
    }
    written.map(|()| 0)
}

fn open(flags: &Save) -> Result<Output<Box<dyn Write>>, Error> {
    let to: Box<dyn Write> = match (&flags.output, flags.format) {
        (None, Form::OciDir) => return Err(Fault::NoDirectory.into()),
        (Some(path), Form::OciDir) if path.exists() => {
            return Err(Fault::Exists(path.clone()).into());
        }
        (Some(path), Form::OciDir) => return Ok(Output::Directory(path.clone())),
        (None, _) if io::stdout().is_terminal() => return Err(Fault::Terminal.into()),
        (None, _) => Box::new(io::stdout().lock()),
        (Some(path), _) => {
            let file = File::create(path).map_err(|source| Error::file("write", path, source))?;
            Box::new(file)
        }
    };
    Ok(Output::Archive(Builder::new(Box::new(io::BufWriter::with_capacity(1 << 17, to)))))
}

fn write(mut output: Output<Box<dyn Write>>, form: Form, images: &[Packed]) -> Result<(), Error> {
    match form {
        Form::DockerArchive => output.docker(images)?,
        Form::OciArchive | Form::OciDir => {
            images.iter().try_for_each(|image| output.oci(image))?;
        }
    }
    output.finish()
}
