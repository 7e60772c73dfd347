//! Resource limits of a container's programs (getrlimit(2)).

use oci_spec::OciSpecError;
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};
use rustix::process::{Resource, getrlimit};

/// As Podman has it: so many open files and processes, where the launcher's own hard limit (the
/// unit's `LimitNOFILE=`, `LimitNPROC=`) does not say less. Soft and hard limit are the same.
const MOST: u64 = 1_048_576;

/// What a container's programs are limited to; all other limits are the launcher's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    open_files: u64,
    processes: u64,
}

impl Limits {
    /// From this process's own limits.
    pub(crate) fn current() -> Self {
        let most = |resource| getrlimit(resource).maximum.map_or(MOST, |hard| hard.min(MOST));
        Self { open_files: most(Resource::Nofile), processes: most(Resource::Nproc) }
    }

    pub(crate) fn to_spec(self) -> Result<Vec<PosixRlimit>, OciSpecError> {
        [
            (PosixRlimitType::RlimitNofile, self.open_files),
            (PosixRlimitType::RlimitNproc, self.processes),
        ]
        .into_iter()
        .map(|(typ, limit)| PosixRlimitBuilder::default().typ(typ).soft(limit).hard(limit).build())
        .collect()
    }
}
