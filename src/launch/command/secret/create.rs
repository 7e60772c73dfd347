//! `updater-launch secret create`

use std::io::Read as _;

use clap::Args;

use crate::launch::lifecycle::asked;
use crate::launch::place::Place;
use crate::launch::storage::secrets::{Error as Secret, MAX, Secrets};
use crate::launch::{Error, say};

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Read it from the environment variable that is named in the place of a file
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    env: bool,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Replace a secret of the same name
    #[arg(long)]
    replace: bool,
    /// Name of the secret
    name: String,
    /// File with what it holds; "-" is standard input
    #[arg(value_name = "FILE")]
    source: String,
}

pub(crate) fn create(place: &Place, flags: &Create) -> Result<u8, Error> {
    let data = if flags.env {
        let value = std::env::var_os(&flags.source);
        let value = value.ok_or_else(|| Secret::Variable(flags.source.clone()))?;
        std::os::unix::ffi::OsStringExt::into_vec(value)
    } else {
        read(&flags.source)
            .map_err(|error| Error::file("read the secret from", &flags.source, error))?
    };
    let labels = asked::labels(&flags.label)?;
    let id = Secrets::open(place).create(&flags.name, &data, labels, flags.replace)?;
    say(id)?;
    Ok(0)
}

/// One byte more than may be, so that too much is known from just enough.
fn read(source: &str) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let limit = MAX as u64 + 1;
    match source {
        "-" => std::io::stdin().lock().take(limit).read_to_end(&mut data)?,
        path => std::fs::File::open(path)?.take(limit).read_to_end(&mut data)?,
    };
    Ok(data)
}
