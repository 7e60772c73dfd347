//! What all programs of a container have in common: the first, and those of `exec`.

use oci_spec::OciSpecError;
use oci_spec::runtime::Process;
use serde::{Deserialize, Serialize};

use crate::launch::isolation::limits::Limits;
use crate::launch::process::umask;

/// What all programs of a container have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    pub(crate) no_new_privileges: bool,
    /// An AppArmor profile.
    pub(crate) apparmor: Option<String>,
    pub(crate) oom_score: Option<i32>,
    pub(crate) umask: u32,
    pub(crate) limits: Limits,
    /// Groups besides those of the user, by name or number.
    pub(crate) groups: Vec<String>,
}

impl Default for Attributes {
    /// Those of a container without flags.
    fn default() -> Self {
        Self {
            no_new_privileges: false,
            apparmor: None,
            oom_score: None,
            umask: umask::DEFAULT,
            limits: Limits::current(),
            groups: Vec::new(),
        }
    }
}

impl Attributes {
    /// Gives them to a program.
    pub(crate) fn apply(&self, process: &mut Process) -> Result<(), OciSpecError> {
        // The runtime takes `false` for "set".
        process.set_no_new_privileges(self.no_new_privileges.then_some(true));
        process.set_apparmor_profile(self.apparmor.clone());
        process.set_oom_score_adj(self.oom_score);
        process.set_rlimits(Some(self.limits.to_spec()?));
        process.user_mut().set_umask(Some(self.umask));
        Ok(())
    }
}
