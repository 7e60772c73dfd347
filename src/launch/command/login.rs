//! `updater-launch login` and `logout`: credentials for registries, in auth.json.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::launch::command::pull::run;
use crate::launch::place::Place;
use crate::launch::{Error, say};
use crate::registry::{Client, Options, login as auth};

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// User name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password; whoever lists processes can read it: --password-stdin is better
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password")]
    password_stdin: bool,
    /// Only print who is logged in
    #[arg(long)]
    get_login: bool,
    /// Say where the login is kept
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    registry: crate::launch::args::RegistryFlags,
    /// The registry, or one of its repositories; by default docker.io
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// Forget all logins
    #[arg(short, long, conflicts_with = "name")]
    all: bool,
    /// File with credentials (containers-auth.json(5))
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// The registry, or one of its repositories; by default docker.io
    name: Option<String>,
}

/// Why somebody is not logged in, or out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("not logged into {0}")]
    NotLoggedIn(String),
    #[error("{0:?} is no registry, such as quay.io or quay.io/team")]
    Name(String),
    #[error("--password-stdin needs --username")]
    NoName,
    #[error("there is no terminal to ask for {0}: give it by a flag, or --password-stdin")]
    NoTerminal(&'static str),
    #[error("no {0} was given")]
    Empty(&'static str),
    #[error("no place for credentials was found: name one by --authfile")]
    NoFile,
    #[error("{registry} is logged into by {file}, which is not ours to change", file = file.display())]
    Elsewhere { registry: String, file: PathBuf },
}

pub(crate) fn login(place: &Place, flags: &Login) -> Result<u8, Error> {
    let key = key(flags.name.as_deref())?;
    let authfile = flags.registry.authfile.as_deref();
    let known = run(auth::known(&key, authfile, &place.registries))??;
    if flags.get_login {
        let (name, _) = known.ok_or(Refused::NotLoggedIn(key))?;
        return say(name).map(|()| 0);
    }
    let options = Options { rejections: None, ..place.asking(flags.registry.tls_verify) };
    let client = Client::new(&options)?;
    client.goes_by_files()?;
    let asked = flags.username.is_some() || flags.password.is_some() || flags.password_stdin;
    if let (Some((name, Some(password))), false) = (&known, asked) {
        say(format_args!("Authenticating with existing credentials for {key}"))?;
        if run(client.check(&key, name, password))?.is_ok() {
            say(format_args!("Existing credentials are valid. Already logged in to {key}"))?;
            return Ok(0);
        }
        say("Existing credentials are invalid, please enter valid username and password")?;
    }
    let (name, password) = credentials(flags)?;
    run(client.check(&key, &name, &password))??;
    let file = authfile.map(PathBuf::from).or_else(|| auth::file(&place.registries));
    let file = file.ok_or(Refused::NoFile)?;
    auth::keep(&file, &key, &name, &password)?;
    if flags.verbose {
        say(format_args!("Used: {}", file.display()))?;
    }
    say("Login Succeeded!")?;
    Ok(0)
}

pub(crate) fn logout(place: &Place, flags: &Logout) -> Result<u8, Error> {
    let file = flags.authfile.clone().or_else(|| auth::file(&place.registries));
    let file = file.ok_or(Refused::NoFile)?;
    if flags.all {
        auth::forget(&file, None)?;
        return say("Removed login credentials for all registries").map(|()| 0);
    }
    let key = key(flags.name.as_deref())?;
    if auth::forget(&file, Some(&key))? {
        return say(format_args!("Removed login credentials for {key}")).map(|()| 0);
    }
    let elsewhere = match &flags.authfile {
        Some(_) => None,
        None => run(elsewhere(place, &file, &key))?,
    };
    Err(match elsewhere {
        Some(other) => Refused::Elsewhere { registry: key, file: other },
        None => Refused::NotLoggedIn(key),
    }
    .into())
}

/// The file, other than `own`, that there is a login in.
async fn elsewhere(place: &Place, own: &Path, key: &str) -> Option<PathBuf> {
    let Place { registries, .. } = place;
    for other in registries.authfiles.iter().filter(|other| *other != own) {
        let known = auth::known(key, Some(other), registries).await;
        if known.is_ok_and(|known| known.is_some()) {
            return Some(other.clone());
        }
    }
    None
}

/// `quay.io` or `quay.io/team`, without a scheme or a slash at its end.
fn key(name: Option<&str>) -> Result<String, Refused> {
    let name = name.unwrap_or("docker.io");
    let refused = || Refused::Name(name.to_owned());
    let bare = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://"));
    let key = bare.unwrap_or(name).trim_end_matches('/').to_owned();
    // What can stand before an image's name.
    let image = format!("{key}/x");
    let reference: crate::model::Reference = image.parse().map_err(|_| refused())?;
    if key.contains([':', '@']) && reference.registry() != key.split('/').next().unwrap_or(&key) {
        return Err(refused());
    }
    Ok(key)
}

fn credentials(flags: &Login) -> Result<(String, String), Error> {
    if flags.password_stdin && flags.username.is_none() {
        return Err(Refused::NoName.into());
    }
    let name = match &flags.username {
        Some(name) => name.clone(),
        None => ask("Username: ", "a user name", true)?,
    };
    let password = if let Some(password) = &flags.password {
        password.clone()
    } else if flags.password_stdin {
        let mut text = String::new();
        io::Read::read_to_string(&mut io::stdin().lock(), &mut text)
            .map_err(|error| Error::system("read the password", error))?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        ask("Password: ", "a password", false)?
    };
    match (name.is_empty(), password.is_empty()) {
        (true, _) => Err(Refused::Empty("user name").into()),
        (_, true) => Err(Refused::Empty("password").into()),
        _ => Ok((name, password)),
    }
}

/// Asks on the terminal; what is secret is not shown.
fn ask(prompt: &str, what: &'static str, shown: bool) -> Result<String, Error> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

    let input = io::stdin();
    if !input.is_terminal() {
        return Err(Refused::NoTerminal(what).into());
    }
    let failed = |error: io::Error| Error::system("ask for a login", error);
    let of_terminal = |error: nix::Error| failed(error.into());
    eprint!("{prompt}");
    io::stderr().flush().map_err(failed)?;
    let usual = tcgetattr(&input).map_err(of_terminal)?;
    if !shown {
        let mut silent = usual.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&input, SetArg::TCSANOW, &silent).map_err(of_terminal)?;
    }
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    if !shown {
        tcsetattr(&input, SetArg::TCSANOW, &usual).map_err(of_terminal)?;
        eprintln!();
    }
    read.map_err(failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_and_their_repositories() {
        assert_eq!(key(None).unwrap(), "docker.io");
        assert_eq!(key(Some("https://quay.io/")).unwrap(), "quay.io");
        assert_eq!(key(Some("localhost:5000/team")).unwrap(), "localhost:5000/team");
        for wrong in ["", "a b", "quay.io/UPPER", "quay.io/app:1", "-x"] {
            assert!(key(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
