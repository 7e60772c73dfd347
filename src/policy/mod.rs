//! containers-policy.json(5): which images this host lets in (`docs/decisions/0030-policy.md`).
//!
//! What must not live here: requests. Which signatures an image has, `crate::registry` asks.

mod bundle;
mod document;
mod identity;
mod signature;

use std::path::{Path, PathBuf};

pub use bundle::{BUNDLE, SIGNS};
pub use document::SigstoreSigned;
pub use signature::Signature;

use crate::disk;
use crate::model::{Digest, Reference};
use document::{Document, Requirement, Requirements};

/// The largest policy or key read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What a host lets in. Without a file: everything.
#[derive(Debug, Clone, Default)]
pub struct Policy(Option<(PathBuf, Document)>);

/// Why a policy cannot be used. Nothing is let in then.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the policy {} cannot be used: {why}", path.display())]
pub struct Error {
    path: PathBuf,
    why: String,
}

/// What a policy says of an image.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    path: &'a Path,
    scope: &'a str,
    requirements: &'a Requirements,
}

/// An image that the policy keeps out: which rule, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} does not let it in: the rule for {scope} {why}", path = .path.display())]
pub struct Refusal {
    path: PathBuf,
    scope: String,
    why: String,
}

impl Policy {
    /// Reads the first of `paths` that exists.
    ///
    /// # Errors
    /// Where it cannot be read, or has anything in it that is not understood.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Error> {
        for path in paths {
            let failed = |why: String| Error { path: path.clone(), why };
            let read = disk::read(path, MAX_FILE).map_err(|error| failed(error.to_string()))?;
            let Some(bytes) = read else { continue };
            let document = Document::parse(&bytes).map_err(|error| failed(error.to_string()))?;
            return Ok(Self(Some((path.clone(), document))));
        }
        Ok(Self(None))
    }

    /// The rule for an image that is pulled by this name: the most specific one alone counts. `None`
    /// where the host has no policy.
    pub fn rule(&self, reference: &Reference) -> Option<Rule<'_>> {
        let (path, document) = self.0.as_ref()?;
        let (scope, requirements) = document.of(reference);
        Some(Rule { path, scope, requirements })
    }
}

impl<'a> Rule<'a> {
    /// The signatures that an image must have, all of them; none where it is let in as it is.
    ///
    /// # Errors
    /// Where it is not let in, whatever its signatures: also for a kind of signature that is not
    /// supported.
    pub fn demands(&self) -> Result<Vec<&'a SigstoreSigned>, Refusal> {
        let mut demands = Vec::new();
        for requirement in self.requirements.all() {
            match requirement {
                Requirement::InsecureAcceptAnything(_) => {}
                Requirement::Reject(_) => return Err(self.refusal("is \"reject\"")),
                Requirement::SignedBy(_) => {
                    return Err(self.refusal(
                        "asks for a GPG signature (\"signedBy\"), which is not supported: use \
                         \"sigstoreSigned\" with a key, or pull with Podman",
                    ));
                }
                Requirement::SigstoreSigned(signed) => match signed.unsupported() {
                    Some(what) => {
                        let why = format!(
                            "asks for \"sigstoreSigned\" with {what}, which is not supported: use a key, or pull with Podman"
                        );
                        return Err(self.refusal(&why));
                    }
                    None => demands.push(signed),
                },
            }
        }
        Ok(demands)
    }

    /// Whether one of `signatures` is what `demand` asks for: made with its key, for one of `digests`,
    /// and for this name.
    ///
    /// # Errors
    /// Where none is.
    pub fn judge(
        &self,
        demand: &SigstoreSigned,
        reference: &Reference,
        digests: &[&Digest],
        signatures: &[Signature],
    ) -> Result<(), Refusal> {
        let keys = demand.keys().map_err(|why| self.refusal(&why))?;
        let mut faults = Vec::new();
        for signature in signatures {
            let signed = signature.opened(&keys).and_then(|signed| {
                signed.is_of(digests)?;
                demand.identity().holds(reference, &signed.name)
            });
            match signed {
                Ok(()) => return Ok(()),
                Err(fault) => faults.push(fault),
            }
        }
        let why = match faults.last() {
            None => "asks for a signature (\"sigstoreSigned\"), and the image has none".to_owned(),
            Some(fault) => format!(
                "asks for a signature (\"sigstoreSigned\"), and none of the image's {} will do: {fault}",
                faults.len()
            ),
        };
        Err(self.refusal(&why))
    }

    fn refusal(&self, why: &str) -> Refusal {
        let scope = match self.scope {
            "" => "all images (\"default\")".to_owned(),
            scope => format!("\"{scope}\""),
        };
        Refusal { path: self.path.to_owned(), scope, why: why.to_owned() }
    }
}

#[cfg(test)]
mod bundle_tests;
#[cfg(test)]
mod tests;
