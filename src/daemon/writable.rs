//! Whether the service may write where the configuration has it write: its unit mounts all but
//! its own directories read-only.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::config::Paths;

/// A directory of the configuration that is read-only to this process.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} is read-only to this service: make the directory, and add \"ReadWritePaths={path}\" \
     below [Service] by \"systemctl edit updaterd.service updaterd-recover.service \
     updaterd-check.service\"",
    path = path.display()
)]
pub struct ReadOnly {
    pub path: PathBuf,
    source: io::Error,
}

/// Looks at the directories before anything is done. What else may be wrong with them is said by
/// those who write.
///
/// # Errors
/// Where one lies on what is mounted read-only.
pub fn probe(paths: &Paths) -> Result<(), ReadOnly> {
    probe_by(paths, |path| access(path, Access::WRITE_OK))
}

fn probe_by(paths: &Paths, look: impl Fn(&Path) -> Result<(), Errno>) -> Result<(), ReadOnly> {
    for path in [&paths.state, &paths.run] {
        // A directory that is not there yet is made in the nearest one that is.
        let mut found = path.ancestors().map(&look).filter(|found| *found != Err(Errno::NOENT));
        if let Some(Err(Errno::ROFS)) = found.next() {
            return Err(ReadOnly { path: path.clone(), source: Errno::ROFS.into() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_directory_is_told_with_what_to_do() {
        let paths = Paths { state: "/srv/updaterd/state".into(), run: "/run/updaterd".into() };
        let look = |path: &Path| match path.to_str() {
            Some("/srv") => Err(Errno::ROFS),
            Some("/run" | "/") => Ok(()),
            _ => Err(Errno::NOENT),
        };
        let text = probe_by(&paths, look).unwrap_err().to_string();
        assert!(text.contains("ReadWritePaths=/srv/updaterd/state"), "{text}");
        assert!(text.contains("systemctl edit updaterd.service"), "{text}");
        // Not for this process to say.
        probe_by(&paths, |_| Err(Errno::ACCESS)).unwrap();
    }

    #[test]
    fn what_can_be_written_is_good() {
        let dir = tempfile::tempdir().unwrap();
        probe(&Paths { state: dir.path().join("a/b"), run: dir.path().into() }).unwrap();
    }
}
