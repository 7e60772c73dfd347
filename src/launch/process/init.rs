//! `--init`: a small program as the container's first process, which starts the container's own,
//! passes signals on to it and waits for what its children leave.

use std::path::{Path, PathBuf};

use crate::launch::args::ProcessFlags;
use crate::launch::storage::mounts::Bound;

/// Where it is in the container: on a file system of ours, whatever the image has.
const IN_CONTAINER: &str = "/dev/init";
/// Where distributions have catatonit.
const ON_HOST: [&str; 3] =
    ["/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/libexec/catatonit/catatonit"];

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoInit {
    #[error(
        "--init needs catatonit, which is not installed: install it, or name one by --init-path"
    )]
    NotInstalled,
    #[error("--init-path {} is no program of this host", .0.display())]
    NotThere(PathBuf),
    #[error(
        "--init is for a program that is no init system: --systemd=false runs this one below it"
    )]
    Systemd,
}

/// Puts it in front of a command; what is bound into the container for it.
pub(crate) fn add(
    flags: &ProcessFlags,
    is_systemd: bool,
    command: &mut Vec<String>,
) -> Result<Option<Bound>, NoInit> {
    if !flags.init && flags.init_path.is_none() {
        return Ok(None);
    }
    if is_systemd {
        return Err(NoInit::Systemd);
    }
    let source = find(flags.init_path.as_deref())?;
    command.splice(0..0, [IN_CONTAINER.to_owned(), "--".to_owned()]);
    Ok(Some(Bound { source, target: IN_CONTAINER.into() }))
}

/// Links are followed here: in the container they would lead elsewhere.
fn find(asked: Option<&Path>) -> Result<PathBuf, NoInit> {
    let real = |path: &Path| path.canonicalize().ok().filter(|path| path.is_file());
    match asked {
        Some(path) => real(path).ok_or_else(|| NoInit::NotThere(path.to_owned())),
        None => ON_HOST.iter().find_map(|path| real(Path::new(path))).ok_or(NoInit::NotInstalled),
    }
}
