//! The command line, and one file for each command.

pub(crate) mod attach;
pub(crate) mod completion;
pub(crate) mod confirm;
pub(crate) mod container;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod healthcheck;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod images;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod kill;
mod line;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod network;
pub(crate) mod pause;
pub(crate) mod pod;
pub(crate) mod port;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod rename;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod save;
pub(crate) mod secret;
pub(crate) mod retire;
pub(crate) mod stage;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod tag;
pub(crate) mod top;
pub(crate) mod untag;
pub(crate) mod version;
pub(crate) mod volume;
pub(crate) mod wait;

pub use line::Arguments;
pub(crate) use line::Command;

use crate::launch::error::Error;
use crate::launch::lifecycle::session;
use crate::launch::place::Place;
use crate::launch::process::{activation, umask};
use crate::launch::runtime::Runtime;

/// Carries out one command line.
pub(super) fn carry_out(arguments: Arguments) -> Result<u8, Error> {
    let starts = match &arguments.command {
        Command::Run(_) | Command::Start(_) | Command::Restart(_) => true,
        Command::Pod { command } => command.starts(),
        _ => false,
    };
    activation::keep_own(starts);
    let runtime = arguments.runtime;
    // One that is not there is refused, whatever it was named for.
    let chosen = Runtime::named(runtime.as_deref())?;
    let place = Place::find(arguments.root, arguments.runroot)?;
    if starts || matches!(arguments.command, Command::Exec(_)) {
        session::leave(&place);
    }
    if enters_at_once(&arguments.command) {
        place.enter()?;
    }
    if starts || matches!(arguments.command, Command::Exec(_) | Command::Healthcheck(_)) {
        // What is made for a container is made for its users, whatever the unit's UMask= is.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask::DEFAULT));
    }
    match arguments.command {
        Command::Run(mut run) => {
            run.create.process.runtime = runtime;
            run::run(&place, &run)
        }
        Command::Create(mut create) => {
            create.create.process.runtime = runtime;
            create::create(&place, &create)
        }
        Command::Start(start) => start::start(&place, &start),
        Command::Stop(stop) => stop::stop(&place, &stop),
        Command::Kill(kill) => kill::kill(&place, &kill),
        Command::Restart(restart) => restart::restart(&place, &restart),
        Command::Attach(attach) => attach::run(&place, &attach),
        Command::Wait(wait) => wait::wait(&place, &wait),
        Command::Pause(pause) => pause::pause(&place, &pause, true),
        Command::Unpause(pause) => pause::pause(&place, &pause, false),
        Command::Rename(rename) => rename::rename(&place, &rename),
        Command::Rm(remove) => rm::remove(&place, &remove),
        Command::Ps(ps) => ps::list(&place, &ps),
        Command::Inspect(inspect) => inspect::show(&place, &inspect),
        Command::Exec(exec) => exec::exec(&place, &exec),
        Command::Healthcheck(check) => healthcheck::healthcheck(&place, &check),
        Command::Logs(logs) => logs::show(&place, &logs),
        Command::Pull(pull) => pull::pull(&place, &pull),
        Command::Images(images) => images::list(&place, &images),
        Command::Pod { command } => pod::carry_out(&place, &command),
        Command::Network { command } => network::carry_out(&place, &command),
        Command::Port(port) => port::show(&place, &port),
        Command::Stage => stage::stage(&place),
        Command::Retire => retire::retire(&place),
        Command::Tag(tag) => tag::tag(&place, &tag),
        Command::Volume(volume) => volume::carry_out(&place, &volume),
        Command::Secret(secret) => secret::carry_out(&place, &secret),
        Command::Untag(untag) => untag::untag(&place, &untag),
        Command::Rmi(rmi) => rmi::remove(&place, &rmi),
        Command::History(history) => history::show(&place, &history),
        Command::Login(login) => login::login(&place, &login),
        Command::Logout(logout) => login::logout(&place, &logout),
        Command::Save(save) => save::save(&place, &save),
        Command::Load(load) => load::load(&place, &load),
        Command::Cp(cp) => cp::copy(&place, &cp),
        Command::Events(events) => events::events(&place, &events),
        Command::Top(top) => top::top(&place, &top),
        Command::Stats(stats) => stats::stats(&place, &stats),
        Command::Info(info) => info::info(&place, &chosen, &info),
        Command::Version(version) => version::version(&version),
        Command::Completion(completion) => completion::completion(&completion),
        Command::Image { command } => image::run(&place, &command),
        Command::Container { command } => container::run(&place, &command),
    }
}

/// Whether a command is root of a user namespace from its beginning, where an ordinary user calls
/// it. Some never are; the others enter one, or join a container's, when it is time for it.
fn enters_at_once(command: &Command) -> bool {
    let outside = matches!(
        command,
        Command::Stop(_)
            | Command::Attach(_)
            | Command::Kill(_)
            | Command::Wait(_)
            | Command::Ps(_)
            | Command::Cp(_)
            | Command::Top(_)
            | Command::Inspect(_)
            | Command::Healthcheck(_)
            | Command::Logs(_)
            | Command::Images(_)
            | Command::Tag(_)
            | Command::Untag(_)
            | Command::Login(_)
            | Command::Logout(_)
            | Command::Stats(_)
            | Command::Events(_)
            | Command::Info(_)
            | Command::Version(_)
            | Command::Completion(_)
            | Command::Secret(_)
            | Command::Port(_)
            | Command::Network { .. }
    );
    let later = matches!(
        command,
        Command::Run(_)
            | Command::Create(_)
            | Command::Start(_)
            | Command::Restart(_)
            | Command::Rm(_)
            | Command::Exec(_)
            | Command::Pod { .. }
            | Command::Volume(_)
    );
    !outside && !later
}
