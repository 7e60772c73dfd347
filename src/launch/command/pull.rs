//! `updater-launch pull`: the one command with an async runtime. `run` calls it as a child.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd as _;
use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use indicatif::{MultiProgress, ProgressBar};
use nix::sys::signal::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::launch::args::{PlatformFlags, PullPolicy, RegistryFlags};
use crate::launch::events;
use crate::launch::image::name::{Named, check, full};
use crate::launch::place::Place;
use crate::launch::supervise::interruption::Interruption;
use crate::launch::{Error, say};
use crate::model::failure::chain;
use crate::model::{Digest, Failure, FailureKind, ImageSource, Platform, Reference};
use crate::registry::{Client, Options};
use crate::store::pull::{Progress, Want, broken_off, pull as fetch, share_heap};
use crate::store::{Image, Store};
use crate::terminal::bar;

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Print the image IDs only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// When to ask the registry at all
    #[arg(long, value_name = "WHEN", default_value = "always")]
    pub(crate) policy: PullPolicy,
    #[command(flatten)]
    pub(crate) platform: PlatformFlags,
    /// How often to try again where the registry cannot be reached, or is at fault itself
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub(crate) retry: u32,
    /// How long to wait before that, such as 5s; by default a second, and twice as long each time
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) retry_delay: Option<Duration>,
    /// Refused: name the tags that are wanted
    #[arg(short, long, hide = true)]
    pub(crate) all_tags: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
    /// Image references; what one without a registry stands for, registries.conf(5) says
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
}

pub(crate) fn pull(place: &Place, flags: &Pull) -> Result<u8, Error> {
    if flags.all_tags {
        return Err(Error::AllTags);
    }
    for name in &flags.images {
        check(name)?;
    }
    let asking = Asking {
        place,
        store: place.store()?,
        options: place.asking(flags.registry.tls_verify),
        platform: flags.platform.wanted()?,
        flags,
    };
    for name in &flags.images {
        say(asking.image(name)?.id.hex())?;
    }
    Ok(0)
}

/// What is the same for all images of a call.
struct Asking<'a> {
    place: &'a Place,
    store: Store,
    options: Options,
    platform: Platform,
    flags: &'a Pull,
}

impl Asking<'_> {
    /// Of all that a name may stand for, the first that can be had.
    fn image(&self, name: &str) -> Result<Image, Error> {
        let candidates = match full(self.place, &self.store, name)? {
            Named::One(reference) => return self.one(&reference),
            Named::Any(_) if self.flags.policy == PullPolicy::Never => {
                return Err(Error::NoImage(name.to_owned()));
            }
            Named::Any(candidates) => candidates,
        };
        if !self.flags.quiet {
            eprintln!("{candidates}");
        }
        let mut failures = Vec::new();
        for reference in &candidates.references {
            match self.one(reference) {
                Err(error) if error.signal().is_none() => failures.push(error),
                done => return done,
            }
        }
        match (failures.pop(), failures.as_slice()) {
            (Some(only), []) => Err(only),
            (last, before) => {
                let all: Vec<String> = before.iter().chain(&last).map(|it| chain(it)).collect();
                let failures = all.join("; ");
                Err(Error::NoCandidate { name: name.to_owned(), failures })
            }
        }
    }

    fn one(&self, reference: &Reference) -> Result<Image, Error> {
        let Self { place, store, options, platform, flags } = self;
        let image = match (flags.policy, store.resolve(reference)?) {
            (PullPolicy::Missing | PullPolicy::Never, Some(image)) => image,
            (PullPolicy::Never, None) => return Err(Error::NoImage(reference.to_string())),
            (policy, here) => {
                let pulled = again_and_again(store, options, reference, platform, flags);
                if let Ok(image) = &pulled {
                    events::of_image(place, image, &reference.to_string(), "pull");
                }
                match (pulled, here) {
                    (Err(error), Some(image))
                        if policy == PullPolicy::Newer && error.signal().is_none() =>
                    {
                        eprintln!("Warning: {}, ignoring", chain(&error));
                        image
                    }
                    (pulled, _) => pulled?,
                }
            }
        };
        if !platform.accepts(&image.identity.platform) {
            eprintln!(
                "Warning: {reference} is for {}, not for {platform}",
                image.identity.platform
            );
        }
        Ok(image)
    }
}

/// Tries again what may have more luck the next time.
fn again_and_again(
    store: &Store,
    options: &Options,
    reference: &Reference,
    platform: &Platform,
    flags: &Pull,
) -> Result<Image, Error> {
    let mut attempt = 0;
    loop {
        let error = match run(one(store, options, reference, platform, flags))? {
            Err(Error::Store(error)) => error,
            pulled => return pulled,
        };
        let passing = matches!(error.kind(), FailureKind::Unreachable | FailureKind::ServerError);
        if !passing || attempt >= flags.retry {
            return Err(error.into());
        }
        let delay = flags.retry_delay.unwrap_or_else(|| Duration::from_secs(1 << attempt.min(6)));
        eprintln!(
            "Warning: {}, trying again in {}",
            chain(&error),
            humantime::format_duration(delay)
        );
        std::thread::sleep(delay);
        attempt += 1;
    }
}

/// Runs what needs the network. Asked to end meanwhile, it does so when what was begun is cleared
/// away.
pub(super) fn run<T>(future: impl Future<Output = T>) -> Result<T, Error> {
    share_heap();
    let interruption = Interruption::take()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::system("start the runtime", error))?;
    let ended = runtime.block_on(async {
        tokio::select! {
            done = future => Ok(done),
            asked = asked_to_end(&interruption) => Err(asked),
        }
    });
    // Waits for the threads of a pull that was given up: they clear away.
    drop(runtime);
    ended.map_err(|asked| match asked {
        Ok(signal) => Error::Ended { signal: signal as i32 },
        Err(error) => Error::system("wait for signals", error),
    })
}

async fn asked_to_end(interruption: &Interruption) -> io::Result<Signal> {
    // SAFETY: the descriptor is borrowed, and open as long as it is.
    let readable =
        unsafe { AsyncFd::register_with_interest(interruption.as_fd(), Interest::READABLE)? };
    loop {
        let mut ready = readable.readable().await?;
        if let Some(signal) = interruption.came() {
            return Ok(signal);
        }
        ready.clear_ready();
    }
}

async fn one(
    store: &Store,
    options: &Options,
    reference: &Reference,
    platform: &Platform,
    flags: &Pull,
) -> Result<Image, Error> {
    let client = Client::new(options)?;
    let authfile = flags.registry.authfile.clone();
    let source = ImageSource { reference: reference.clone(), authfile };
    if !flags.quiet {
        eprintln!("Trying to pull {reference}...");
    }
    let want = Want { target: None, platform: platform.clone() };
    let image = if !flags.quiet && io::stderr().is_terminal() {
        fetch(store, &client, &source, want, &Bars::default()).await?
    } else {
        fetch(store, &client, &source, want, &Lines).await?
    };
    if reference.tag().is_some() {
        store.tag(reference, &image.identity.manifest)?;
    }
    Ok(image)
}

/// What is worth a line where no bars can be drawn.
struct Lines;

impl Progress for Lines {
    fn broke_off(&self, layer: &Digest, failure: &Failure, wait: Duration) {
        eprintln!("Warning: {}", broken_off(layer, failure, wait));
    }
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
        let bar = bar::add(&self.all, layer.short(), size);
        let mut layers = self.layers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        layers.insert(layer.clone(), bar);
    }

    fn advanced(&self, layer: &Digest, bytes: u64) {
        self.with(layer, |bar| bar.inc(bytes));
    }

    fn broke_off(&self, layer: &Digest, failure: &Failure, wait: Duration) {
        // A line that cannot be written is not worth the pull.
        let _ = self.all.println(format!("Warning: {}", broken_off(layer, failure, wait)));
    }

    fn done(&self, layer: &Digest) {
        self.with(layer, ProgressBar::finish);
    }
}
