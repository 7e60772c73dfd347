//! Which of the images that a reference stands for is wanted.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::launch::Error;
use crate::model::Platform;

// Which of a reference's images is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PlatformFlags {
    /// For this platform instead of the host's, such as linux/arm64/v8
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with_all = ["os", "arch", "variant"])]
    pub(crate) platform: Option<String>,
    /// For this operating system
    #[arg(long, value_name = "OS")]
    pub(crate) os: Option<String>,
    /// For this architecture, such as arm64
    #[arg(long, value_name = "ARCH")]
    pub(crate) arch: Option<String>,
    /// For this variant of the architecture, such as v8
    #[arg(long, value_name = "VARIANT")]
    pub(crate) variant: Option<String>,
}

impl PlatformFlags {
    /// Whether one is named at all.
    pub(crate) fn are_set(&self) -> bool {
        *self != Self::default()
    }

    /// That, or the host's.
    ///
    /// # Errors
    /// Where `--platform` is not OS/ARCH[/VARIANT].
    pub(crate) fn wanted(&self) -> Result<Platform, Error> {
        if let Some(text) = &self.platform {
            let mut parts = text.split('/').map(str::to_owned);
            return match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(os), Some(architecture), variant, None)
                    if ![&os, &architecture].into_iter().chain(&variant).any(String::is_empty) =>
                {
                    Ok(Platform { os, architecture, variant })
                }
                _ => Err(Error::Platform(text.clone())),
            };
        }
        // Not everywhere is there a /proc, nor does it matter everywhere.
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let host = Platform::running(&cpuinfo);
        // The host's variant says nothing of another architecture.
        let variant = match (&self.variant, &self.arch) {
            (Some(variant), _) => Some(variant.clone()),
            (None, Some(arch)) if *arch != host.architecture => None,
            (None, _) => host.variant,
        };
        Ok(Platform {
            os: self.os.clone().unwrap_or(host.os),
            architecture: self.arch.clone().unwrap_or(host.architecture),
            variant,
        })
    }
}
