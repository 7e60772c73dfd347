//! `updater-launch pull`: the one command with an async runtime. `run` calls it as a child.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use clap::Args;

use crate::launch::args::RegistryFlags;
use crate::launch::place::Place;
use crate::launch::{Error, say};
use crate::model::{Digest, ImageSource, Platform, Reference};
use crate::registry::{Client, Options};
use crate::store::pull::{Progress, Want, pull as fetch};
use crate::store::{Image, Store};

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Print the image IDs only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
    /// Image references, with their registries
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
}

pub(crate) fn pull(place: &Place, flags: &Pull) -> Result<u8, Error> {
    let references: Vec<Reference> =
        flags.images.iter().map(|image| image.parse()).collect::<Result<_, _>>()?;
    let store = place.store()?;
    let options = Options {
        tls_verify: flags.registry.tls_verify,
        paths: place.registries.clone(),
        ..Options::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::system("start the runtime", error))?;
    for reference in references {
        let image = runtime.block_on(one(&store, &options, &reference, flags))?;
        say(image.id.hex())?;
    }
    Ok(0)
}

async fn one(
    store: &Store,
    options: &Options,
    reference: &Reference,
    flags: &Pull,
) -> Result<Image, Error> {
    let client = Client::new(options)?;
    let authfile = flags.registry.authfile.clone();
    let source = ImageSource { reference: reference.clone(), authfile };
    if !flags.quiet {
        eprintln!("Trying to pull {reference}...");
    }
    // Not everywhere is there a /proc, nor does it matter everywhere.
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let want = Want { target: None, platform: Platform::running(&cpuinfo) };
    let image = if !flags.quiet && std::io::stderr().is_terminal() {
        fetch(store, &client, &source, want, &Bars::default()).await?
    } else {
        fetch(store, &client, &source, want, &()).await?
    };
    if reference.tag().is_some() {
        store.tag(reference, &image.identity.manifest)?;
    }
    Ok(image)
}

/// One bar for each layer.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    layers: Mutex<BTreeMap<Digest, ProgressBar>>,
}

impl Bars {
    fn with(&self, layer: &Digest, act: impl FnOnce(&ProgressBar)) {
        // A poisoned lock only means that another bar could not be drawn.
        let layers = self.layers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(bar) = layers.get(layer) {
            act(bar);
        }
    }
}

impl Progress for Bars {
    fn started(&self, layer: &Digest, size: u64) {
        let bar = self.all.add(ProgressBar::new(size));
        let template = "{prefix} [{bar:30}] {bytes:>10}/{total_bytes:<10} {bytes_per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(layer.short());
        let mut layers = self.layers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        layers.insert(layer.clone(), bar);
    }

    fn advanced(&self, layer: &Digest, bytes: u64) {
        self.with(layer, |bar| bar.inc(bytes));
    }

    fn done(&self, layer: &Digest) {
        self.with(layer, ProgressBar::finish);
    }
}
