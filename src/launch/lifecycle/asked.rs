//! What a command line asks of a container, checked.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use oci_spec::image::Config as ImageConfig;

use crate::launch::args::{Create, EnvironmentFlags, ProgramFlags, SdNotify};
use crate::launch::health::plan::{Plan, plan};
use crate::launch::image::name;
use crate::launch::isolation::devices::Device;
use crate::launch::isolation::limits::Limits;
use crate::launch::isolation::owner::Owner;
use crate::launch::isolation::resources::{Resources, block_device};
use crate::launch::isolation::security::{Security, apparmor_is_enabled};
use crate::launch::isolation::{self, cgroup, device_rule, sysctl};
use crate::launch::logs;
use crate::launch::network;
use crate::launch::process::environment::{Environment, Inherited};
use crate::launch::process::{systemd, time_zone, user};
use crate::launch::storage::settle;
use crate::launch::{Error, userns};
use crate::store::Image;

/// Where the time zones of a host are (localtime(5)).
pub(crate) const ZONES: &str = "/usr/share/zoneinfo";

/// What was asked for, in the types of those who carry it out.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `NAME=VALUE`.
    pub(crate) environment: Vec<String>,
    pub(crate) storage: settle::Asked,
    pub(crate) users: userns::asked::Asked,
    pub(crate) network: network::join::Asked,
    pub(crate) security: Security,
    pub(crate) limits: Limits,
    pub(crate) resources: Resources,
    /// Devices that are allowed by rule.
    pub(crate) devices: Vec<Device>,
}

impl Asked {
    /// Reads flags that depend on nobody's environment or directory any more.
    ///
    /// # Errors
    /// All that can be wrong with them.
    pub(crate) fn read(create: &Create) -> Result<Self, Error> {
        name::check(&create.image)?;
        labels(&create.identity.label)?;
        annotations(&create.identity.annotation)?;
        network::expose::parse(&create.expose.expose).map_err(network::Error::from)?;
        create.environment.inherited(&[]).environment().map_err(Error::Variable)?;
        entrypoint(&create.program)?;
        logs::options::parse(&create.service.log_opt, create.service.log_driver)?;
        if let Some(zone) = &create.program.tz {
            time_zone::file(zone, Path::new(ZONES))?;
        }
        user::check_groups(&create.program.group_add)?;
        let flags = &create.isolation;
        // Which namespaces it has, its pod may say; what no namespace has, is refused now.
        let own = sysctl::Own { ipc: true, network: true, uts: true };
        sysctl::read(&flags.sysctl, own).map_err(isolation::Error::from)?;
        let rules = flags.device_cgroup_rule.iter().map(|rule| device_rule::read(rule));
        let devices = rules.collect::<Result<Vec<_>, _>>().map_err(isolation::Error::from)?;
        let security = Security::read(&flags.security_opt).map_err(isolation::Error::from)?;
        security.check(apparmor_is_enabled()).map_err(isolation::Error::from)?;
        Ok(Self {
            environment: create.program.env.clone(),
            storage: settle::Asked::read(&create.storage)?,
            users: userns::asked::Asked::read(&create.users).map_err(userns::Error::from)?,
            network: network::join::Asked::read(&create.network)?,
            security,
            limits: Limits::new(&flags.ulimit).map_err(isolation::Error::from)?,
            resources: Resources::read(&create.resources, block_device)
                .map_err(isolation::Error::from)?,
            devices: devices.concat(),
        })
    }
}

/// The proxies of `host` where they are wanted, the files, then the variables, each with the values
/// that `host` has for names without one.
pub(crate) fn environment(
    flags: &ProgramFlags,
    with_proxies: bool,
    host: &BTreeMap<String, String>,
) -> Result<Vec<String>, Error> {
    let mut environment = Environment::default();
    if with_proxies {
        environment.apply_proxies(host);
    }
    for path in &flags.env_file {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
        let failed = |(line, source)| Error::EnvFile { path: path.clone(), line, source };
        environment.apply_file(&text, host).map_err(failed)?;
    }
    for variable in &flags.env {
        environment.apply(variable, host).map_err(Error::Variable)?;
    }
    Ok(environment.to_strings())
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::file("find", path, source))
}

pub(crate) fn labels(words: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let pair = |word: &String| match word.split_once('=').unwrap_or((word, "")) {
        ("", _) => Err(Error::Label(word.clone())),
        (key, value) => Ok((key.to_owned(), value.to_owned())),
    };
    words.iter().map(pair).collect()
}

/// Labels from files, one a line; `#` begins a comment, and blank lines are nothing.
pub(crate) fn labels_of(files: &[PathBuf]) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for path in files {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
        let lines = text.lines().map(str::trim);
        all.extend(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(Into::into));
    }
    Ok(all)
}

/// What the runtime is told besides.
pub(crate) fn annotations(words: &[String]) -> Result<HashMap<String, String>, Error> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::Annotation(word.clone())),
    };
    words.iter().map(pair).collect()
}

/// A `--security-opt` whose file is a path from here, as one from the root.
pub(crate) fn absolute_profile(option: &str) -> Result<String, Error> {
    let parts = option.split_once(['=', ':']).filter(|(name, _)| *name == "seccomp");
    match parts {
        Some((_, file)) if !["", "unconfined"].contains(&file) => {
            Ok(format!("seccomp={}", absolute(Path::new(file))?.display()))
        }
        _ => Ok(option.to_owned()),
    }
}

/// A `--volume` whose source is a path from here, as one from the root.
pub(crate) fn absolute_source(volume: &str) -> Result<String, Error> {
    match volume.split_once(':') {
        Some((source, rest)) if source.starts_with('.') => {
            Ok(format!("{}:{rest}", absolute(Path::new(source))?.display()))
        }
        _ => Ok(volume.to_owned()),
    }
}

/// A `--log-opt` whose file is a path from here, as one from the root.
pub(crate) fn absolute_log(option: &str) -> Result<String, Error> {
    match option.strip_prefix("path=") {
        Some(path) if !path.is_empty() => {
            Ok(format!("path={}", absolute(Path::new(path))?.display()))
        }
        _ => Ok(option.to_owned()),
    }
}

/// One word, or a JSON list of words (podman-run(1), `--entrypoint`); `None` is the image's.
fn entrypoint(flags: &ProgramFlags) -> Result<Option<Vec<String>>, Error> {
    match flags.entrypoint.as_deref() {
        None => Ok(None),
        Some("") => Ok(Some(Vec::new())),
        Some(list) if list.starts_with('[') => {
            serde_json::from_str(list).map(Some).map_err(|_| Error::Entrypoint(list.to_owned()))
        }
        Some(word) => Ok(Some(vec![word.to_owned()])),
    }
}

impl EnvironmentFlags {
    /// What a container has of an image's variables, and of the host's.
    pub(crate) fn inherited<'a>(&'a self, image: &'a [String]) -> Inherited<'a> {
        Inherited {
            host: &self.host,
            image,
            merged: &self.env_merge,
            unset: &self.unsetenv,
            nothing: self.unsetenv_all,
        }
    }
}

impl Create {
    /// What was asked to run instead of the image's entrypoint.
    ///
    /// # Errors
    /// Where it is no word and no list of words.
    pub(crate) fn entrypoint(&self) -> Result<Option<Vec<String>>, Error> {
        entrypoint(&self.program)
    }
}

/// The command: the image's entrypoint and command, each replaced by what was asked for. Another
/// entrypoint drops the image's command.
pub(crate) fn command(create: &Create, image: &ImageConfig) -> Result<Vec<String>, Error> {
    let asked = entrypoint(&create.program)?;
    let of_image = asked.is_none();
    let mut words = asked.unwrap_or_else(|| image.entrypoint().clone().unwrap_or_default());
    if !create.command.is_empty() {
        words.extend_from_slice(&create.command);
    } else if of_image {
        words.extend(image.cmd().clone().unwrap_or_default());
    }
    if words.is_empty() { Err(Error::NoCommand) } else { Ok(words) }
}

/// Whether the container is to have what systemd needs, as the operator said or by its command.
pub(crate) fn is_systemd(create: &Create, command: &[String]) -> Result<bool, Error> {
    let wanted = systemd::is_wanted(create.service.systemd, command);
    let flags = &create.isolation;
    let others = flags.cgroupns.as_ref().is_some_and(|owner| *owner != Owner::Private);
    match (wanted, create.service.cgroups) {
        (true, Some(cgroup::Mode::Disabled)) => Err(Error::SystemdCgroup),
        // What it may write there would be the host's, or another container's.
        (true, _) if others && !flags.privileged => Err(isolation::Error::SystemdNamespace.into()),
        _ => Ok(wanted),
    }
}

/// How the container's health is checked; `None` where it is not.
pub(crate) fn health(create: &Create, image: &Image) -> Result<Option<Plan>, Error> {
    match plan(&create.health, image.healthcheck.as_ref())? {
        None if create.service.sdnotify == SdNotify::Healthy => Err(Error::NothingHealthy),
        plan => Ok(plan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrypoint_of(text: &str) -> Result<Option<Vec<String>>, Error> {
        entrypoint(&ProgramFlags { entrypoint: Some(text.to_owned()), ..ProgramFlags::default() })
    }

    #[test]
    fn an_entrypoint_is_a_word_or_a_list() {
        assert_eq!(entrypoint_of("/bin/x").unwrap().unwrap(), ["/bin/x"]);
        assert_eq!(entrypoint_of("[\"a\",\"b c\"]").unwrap().unwrap(), ["a", "b c"]);
        assert!(entrypoint_of("").unwrap().unwrap().is_empty());
        assert!(entrypoint_of("[a").is_err());
    }

    #[test]
    fn labels_need_a_key() {
        let words = ["a=b=c".to_owned(), "d".to_owned()];
        let read = labels(&words).unwrap();
        assert_eq!((&*read["a"], &*read["d"]), ("b=c", ""));
        assert!(labels(&["=x".to_owned()]).is_err());
    }
}
