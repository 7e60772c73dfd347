//! The files of ours that a container sees: its hosts, resolver and name.

use std::fs;
use std::path::Path;

use crate::launch::Error;
use crate::launch::network::join::{Files, HOSTS, RESOLVER};
use crate::launch::storage::mounts::Bound;

/// Writes them below `bundle`; each with where it is bound. Those that are the image's own are not
/// among them.
pub(crate) fn write(bundle: &Path, hostname: &str, names: &Files) -> Result<Vec<Bound>, Error> {
    let hostname = format!("{hostname}\n");
    let files = [
        (HOSTS, "/etc/hosts", names.hosts.as_ref()),
        (RESOLVER, "/etc/resolv.conf", names.resolver.as_ref()),
        ("hostname", "/etc/hostname", Some(&hostname)),
    ];
    let mut bound = Vec::new();
    for (name, target, text) in files {
        let path = bundle.join(name);
        let Some(text) = text else {
            // One of an earlier start.
            let _ = fs::remove_file(&path);
            continue;
        };
        fs::write(&path, text).map_err(|source| Error::file("write", &path, source))?;
        bound.push(Bound { source: path, target: target.into() });
    }
    Ok(bound)
}
