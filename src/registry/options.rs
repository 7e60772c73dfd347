//! How a client is set up: timeouts, limits, and where its configuration files lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::proxy::Proxies;

/// Docker's oldest credentials file, below the home: of another form than the others.
pub(super) const LEGACY: &str = ".dockercfg";

/// What a [`Client`](super::Client) is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `User-Agent` header.
    pub user_agent: String,
    /// `Some(false)`: every registry counts as insecure, `Some(true)`: none does (`--tls-verify`).
    /// `None`: as registries.conf says.
    pub tls_verify: Option<bool>,
    pub timeouts: Timeouts,
    /// Bytes a second that blobs come with, all together, at the most.
    pub rate: Option<u64>,
    pub proxies: Proxies,
    pub paths: Paths,
    /// Where it is kept for other processes which credentials were rejected; `None` is nowhere.
    pub rejections: Option<PathBuf>,
}

/// How long a registry is waited for.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Name resolution, connection and TLS handshake.
    pub connect: Duration,
    /// Between two reads.
    pub idle: Duration,
    /// A whole request, body included, redirections too. A blob gets more: see `slowest`.
    pub total: Duration,
    /// Bytes a second, on the average of each `total`, below which the download of a blob is given
    /// up: what the slowest line in use has, and a registry that sends a byte now and then not.
    pub slowest: u64,
    /// A credential helper program.
    pub helper: Duration,
}

/// The files that containers-registries.conf(5), containers-policy.json(5), containers-auth.json(5) and
/// containers-certs.d(5) name, in the order in which they are looked at. Files that do not exist are passed over, except
/// `authfile`.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// The first that exists is read; where none does, the last one's drop-ins are.
    pub registries_conf: Vec<RegistriesConf>,
    /// The aliases of short names that Podman has noted; they count before those of registries.conf.
    pub short_name_aliases: Option<PathBuf>,
    /// containers-policy.json(5): the first that exists is read.
    pub policy: Vec<PathBuf>,
    /// A credentials file named by a flag or by `REGISTRY_AUTH_FILE`: the only one read then. One
    /// named by an `ImageSource` takes its place.
    pub authfile: Option<PathBuf>,
    /// Else the first of these with credentials for the image.
    pub authfiles: Vec<PathBuf>,
    /// The first with a directory for the registry is used.
    pub certs_dirs: Vec<PathBuf>,
    /// Where credential helpers are looked for: `PATH`.
    pub programs: Vec<PathBuf>,
    /// What credential helpers have as `HOME`, which a service of the system has not by itself.
    pub home: Option<PathBuf>,
}

/// A main file of containers-registries.conf(5), and what is read with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistriesConf {
    pub file: PathBuf,
    /// Directories whose `*.conf` are merged over it, all of them, in this order.
    pub drop_ins: Vec<PathBuf>,
}

impl Options {
    /// Those of a host, or of a user on it, whose state lies in this directory: what one process learns of
    /// credentials that are rejected, the others know.
    pub fn of(state: &Path) -> Self {
        Self { rejections: Some(state.join("logins/rejected.json")), ..Self::default() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_agent: concat!("updaterd/", env!("CARGO_PKG_VERSION")).to_owned(),
            tls_verify: None,
            timeouts: Timeouts::default(),
            rate: None,
            proxies: Proxies::from_environment(),
            paths: Paths::from_environment(),
            rejections: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(60),
            slowest: 32 * 1024,
            // Those of clouds ask for a token over the network, and begin slowly on a small host.
            helper: Duration::from_secs(20),
        }
    }
}

impl Paths {
    /// The usual places for the calling user, as the environment says, and where it says nothing
    /// of a home, as is usual for a service of the system, passwd(5).
    pub fn from_environment() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::from_variables(uid, variable, || home_of(uid))
    }

    fn from_variables(
        uid: u32,
        variable: impl Fn(&str) -> Option<OsString>,
        passwd: impl FnOnce() -> Option<PathBuf>,
    ) -> Self {
        let path = |name: &str| variable(name).map(PathBuf::from);
        let home = path("HOME").or_else(passwd);
        let below_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
        let user = path("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let user = user.map(|config| config.join("containers"));
        let of_user = |rest: &str| user.as_ref().map(|containers| containers.join(rest));
        let system = Path::new("/etc/containers");
        let runtime = path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
        // Where there is no runtime directory, as for a service of root's. Root's Podman keeps others
        // from looking in there, who have nothing there.
        let without_runtime = (uid == 0 || runtime.is_none())
            .then(|| PathBuf::from(format!("/run/containers/{uid}/auth.json")));
        // As containers/image does: a user's own file stands for itself, and the system's drop-ins
        // belong to the system's file.
        let user_drop_ins = of_user("registries.conf.d");
        let own = of_user("registries.conf")
            .map(|file| RegistriesConf { file, drop_ins: Vec::from_iter(user_drop_ins.clone()) });
        let drop_ins =
            [system.join("registries.conf.d")].into_iter().chain(user_drop_ins).collect();
        let registries_conf = match path("CONTAINERS_REGISTRIES_CONF") {
            Some(file) => vec![RegistriesConf { file, drop_ins }],
            None => {
                let file = system.join("registries.conf");
                own.into_iter().chain([RegistriesConf { file, drop_ins }]).collect()
            }
        };
        let docker = |dir: PathBuf| dir.join("config.json");
        let usual = runtime
            .into_iter()
            .chain(without_runtime)
            .chain(of_user("auth.json"))
            .chain(below_home(".docker").map(docker))
            .chain(below_home(LEGACY));
        // Whatever XDG_CONFIG_HOME says, as containers/image does it.
        let own_policy = below_home(".config/containers/policy.json");
        let cache = match uid {
            0 => Some(PathBuf::from("/var/cache")),
            _ => path("XDG_CACHE_HOME").or_else(|| below_home(".cache")),
        };
        Self {
            registries_conf,
            short_name_aliases: cache.map(|cache| cache.join("containers/short-name-aliases.conf")),
            policy: own_policy.into_iter().chain([system.join("policy.json")]).collect(),
            authfile: path("REGISTRY_AUTH_FILE"),
            // As Podman does it: the directory stands for all the usual places.
            authfiles: match path("DOCKER_CONFIG") {
                Some(dir) => vec![docker(dir)],
                None => usual.collect(),
            },
            certs_dirs: of_user("certs.d")
                .into_iter()
                .chain([system.join("certs.d"), PathBuf::from("/etc/docker/certs.d")])
                .collect(),
            // A relative one is wherever the caller happens to be.
            programs: variable("PATH")
                .map(|path| std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect())
                .unwrap_or_default(),
            home,
        }
    }
}

/// The home of a user of this host.
fn home_of(uid: u32) -> Option<PathBuf> {
    let user = match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)) {
        Ok(user) => user?,
        Err(cause) => {
            tracing::debug!(uid, %cause, "no home in the user database, ignoring");
            return None;
        }
    };
    Some(user.dir).filter(|home| home.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries_conf(dir: &str) -> (PathBuf, PathBuf) {
        let dir = Path::new(dir);
        (dir.join("registries.conf"), dir.join("registries.conf.d"))
    }

    #[test]
    fn a_service_of_root_without_environment() {
        let paths = Paths::from_variables(0, |_| None, || Some("/root".into()));
        let (own, own_dir) = registries_conf("/root/.config/containers");
        let (system, system_dir) = registries_conf("/etc/containers");
        let expected = [
            RegistriesConf { file: own, drop_ins: vec![own_dir.clone()] },
            RegistriesConf { file: system, drop_ins: vec![system_dir.clone(), own_dir.clone()] },
        ];
        assert_eq!(paths.registries_conf, expected);
        let named = |name: &str| (name == "CONTAINERS_REGISTRIES_CONF").then(|| "/named".into());
        let paths = Paths::from_variables(0, named, || Some("/root".into()));
        let expected =
            RegistriesConf { file: "/named".into(), drop_ins: vec![system_dir, own_dir] };
        assert_eq!(paths.registries_conf, [expected]);
        let authfiles: Vec<_> = paths.authfiles.iter().map(|path| path.to_str().unwrap()).collect();
        let expected = [
            "/run/containers/0/auth.json",
            "/root/.config/containers/auth.json",
            "/root/.docker/config.json",
            "/root/.dockercfg",
        ];
        assert_eq!(authfiles, expected);
        let chosen = Path::new("/var/cache/containers/short-name-aliases.conf");
        assert_eq!(paths.short_name_aliases.as_deref(), Some(chosen));
        assert_eq!(paths.authfile, None);
        let policies = ["/root/.config/containers/policy.json", "/etc/containers/policy.json"];
        assert_eq!(paths.policy, policies.map(PathBuf::from));
        assert_eq!(paths.certs_dirs[0], Path::new("/root/.config/containers/certs.d"));
        let homeless = Paths::from_variables(7, |_| None, || None);
        assert_eq!(homeless.authfiles, [Path::new("/run/containers/7/auth.json")]);
        assert_eq!(homeless.certs_dirs.len(), 2);
    }

    #[test]
    fn root_has_a_home() {
        assert!(home_of(0).is_some());
        assert_eq!(home_of(4_000_000_000), None);
    }

    #[test]
    fn a_user_with_environment() {
        let variable = |name: &str| match name {
            "HOME" => Some("/home/u".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/7".into()),
            "XDG_CONFIG_HOME" => Some("/cfg".into()),
            "REGISTRY_AUTH_FILE" => Some("/secret/auth.json".into()),
            "PATH" => Some("/opt/bin:.::bin:/usr/bin".into()),
            _ => None,
        };
        let paths = Paths::from_variables(7, variable, || panic!("the environment names a home"));
        let authfiles: Vec<_> = paths.authfiles.iter().map(|path| path.to_str().unwrap()).collect();
        let expected = [
            "/run/user/7/containers/auth.json",
            "/cfg/containers/auth.json",
            "/home/u/.docker/config.json",
            "/home/u/.dockercfg",
        ];
        assert_eq!(authfiles, expected);
        assert_eq!(paths.authfile.as_deref(), Some(Path::new("/secret/auth.json")));
        assert_eq!(paths.programs, ["/opt/bin", "/usr/bin"].map(PathBuf::from));
        assert_eq!(paths.home, Some("/home/u".into()));
        let chosen = Path::new("/home/u/.cache/containers/short-name-aliases.conf");
        assert_eq!(paths.short_name_aliases.as_deref(), Some(chosen));
        let (file, _) = registries_conf("/cfg/containers");
        assert_eq!(paths.registries_conf[0].file, file);
        assert_eq!(paths.certs_dirs[0], Path::new("/cfg/containers/certs.d"));
        let docker = |name: &str| {
            if name == "DOCKER_CONFIG" { Some("/docker".into()) } else { variable(name) }
        };
        let docker = Paths::from_variables(7, docker, || None);
        assert_eq!(docker.authfiles, [Path::new("/docker/config.json")]);
        let root = Paths::from_variables(0, variable, || None);
        let both = ["/run/user/7/containers/auth.json", "/run/containers/0/auth.json"];
        assert_eq!(root.authfiles[..2], both.map(PathBuf::from));
    }
}
