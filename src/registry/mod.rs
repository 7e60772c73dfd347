//! The edge to registries: digests, manifests and blobs, read-only (OCI distribution-spec).
//!
//! Everything a registry sends has a limit and a deadline, and manifests are verified here. What
//! must not live here: where images are stored, when to ask again, how many requests run at once.
//!
//! The configuration files are those of the `containers-*(5)` manual pages. registries.conf is
//! read once, by [`Client::new`]; certs.d at the first request to a registry; credentials for
//! every request. A new client (the daemon makes one when it is told to reload) reads all of them.

mod admit;
mod auth;
mod blob;
mod body;
mod certificates;
mod client;
pub mod document;
pub mod error;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod gate;
mod host;
pub mod login;
pub mod manifest;
mod mirror;
mod no_proxy;
mod options;
mod proxy;
mod quota;
mod recent;
mod referrers;
mod registries_conf;
mod request;
pub mod short_names;
mod throttle;
mod transport;

pub use blob::Blob;
pub use client::Client;
pub use error::Error;
pub use manifest::RawManifest;
pub use options::{Options, Paths, RegistriesConf, Timeouts};
pub use proxy::Proxies;
pub use short_names::ShortNames;

#[cfg(test)]
mod mirror_tests;
#[cfg(test)]
mod proxy_tests;
#[cfg(test)]
mod referrers_tests;
#[cfg(test)]
mod tests;
