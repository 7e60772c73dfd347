//! `updater-launch image`: the same verbs as without the word, and a few more.

mod check;
mod prune;

use clap::{Args, Subcommand};

use crate::launch::Error;
use crate::launch::command::inspect::{InspectFlags, Kind};
use crate::launch::command::{history, images, inspect, load, pull, rmi, save, tag, untag};
use crate::launch::image::find;
use crate::launch::place::Place;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Look whether all that is in local storage is whole
    Check(check::Check),
    /// Whether an image is in local storage: exit status 0, or 1
    Exists(Name),
    /// Show the steps an image was built in
    History(history::History),
    /// Show all that is known of images
    Inspect(InspectFlags),
    /// List images in local storage
    #[command(visible_alias = "list")]
    Ls(images::Images),
    /// Remove images that nothing uses
    Prune(prune::Prune),
    /// Bring images into local storage
    Pull(pull::Pull),
    /// Remove images
    Rm(rmi::Rmi),
    /// Read images from an archive
    Load(load::Load),
    /// Write images into an archive
    Save(save::Save),
    /// Give an image another name
    Tag(tag::Tag),
    /// Take names of an image away
    Untag(untag::Untag),
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Reference or ID
    image: String,
}

pub(crate) fn run(place: &Place, command: &Command) -> Result<u8, Error> {
    match command {
        Command::Check(flags) => check::check(place, flags),
        Command::Exists(name) => {
            Ok(u8::from(find::look_for(place, &place.store()?, &name.image)?.is_none()))
        }
        Command::History(flags) => history::show(place, flags),
        Command::Inspect(flags) => inspect::show_kind(place, Kind::Image, flags),
        Command::Ls(flags) => images::list(place, flags),
        Command::Prune(flags) => prune::prune(place, flags),
        Command::Pull(flags) => pull::pull(place, flags),
        Command::Rm(flags) => rmi::remove(place, flags),
        Command::Load(flags) => load::load(place, flags),
        Command::Save(flags) => save::save(place, flags),
        Command::Tag(flags) => tag::tag(place, flags),
        Command::Untag(flags) => untag::untag(place, flags),
    }
}
