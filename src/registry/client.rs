//! The client: digests, manifests, blobs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response};

use super::auth::credentials::{self, Credential, Searched};
use super::auth::program::Helpers;
use super::auth::token::Tokens;
use super::blob::{Blob, Pace};
use super::body;
use super::error::{ContentFault, Error, Problem};
use super::gate::lock;
use super::host::Host;
use super::manifest::{ACCEPTED, MAX_MANIFEST, RawManifest};
use super::mirror::Asked;
use super::options::Options;
use super::recent::Recent;
use super::registries_conf::{Location, Registries, Sources};
use super::request::{Query, Repository};
use super::throttle::Throttle;
use super::transport::Transport;
use crate::model::{Digest, Failure, ImageIdentity, ImageSource, Platform, Reference};
use crate::policy::{self, Policy};
use crate::update::port::Budget;

/// Where the registry says which manifest it means (distribution-spec, "Pulling manifests").
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A client for all registries. It keeps connections, challenges and tokens: one for a process.
#[derive(Debug)]
pub struct Client {
    options: Arc<Options>,
    pub(super) registries: Registries,
    pub(super) policy: Result<Policy, policy::Error>,
    transport: Transport,
    tokens: Tokens,
    helpers: Helpers,
    recent: Recent,
    throttle: Option<Throttle>,
    hosts: Mutex<HashMap<(String, bool), Arc<Host>>>,
}

impl Client {
    /// Reads registries.conf, which is the only thing that can fail, and the policy: where that cannot be
    /// read, no image is let in ([`Client::admit`]).
    pub fn new(options: &Options) -> Result<Self, Error> {
        let options = Arc::new(options.clone());
        Ok(Self {
            registries: Registries::load(&options.paths)?,
            policy: Policy::load(&options.paths.policy),
            transport: Transport::new(Arc::clone(&options)),
            throttle: options.rate.map(Throttle::new),
            helpers: Helpers::new(&options.paths, &options.timeouts),
            tokens: Tokens::new(options.rejections.clone()),
            options,
            recent: Recent::default(),
            hosts: Mutex::default(),
        })
    }

    /// The digest that the reference points at now: by one HEAD, or, where the registry sends no
    /// digest with it, by a GET whose bytes are hashed. A reference with a digest points at that:
    /// nobody is asked.
    pub async fn target(&self, source: &ImageSource) -> Result<Digest, Error> {
        let reference = &source.reference;
        if let Some(digest) = reference.digest() {
            return Ok(digest.clone());
        }
        let tag = reference.tag().unwrap_or("latest");
        self.ask_in_turn(source, Asked::Tag, async |repository| {
            self.ask_target(repository, tag).await
        })
        .await
        .map_err(|problem| Error::new(reference, problem))
    }

    /// The manifest or index with this digest, from the repository of `source`: one GET, or none
    /// where the same was read a moment ago.
    pub async fn manifest(
        &self,
        source: &ImageSource,
        digest: &Digest,
    ) -> Result<RawManifest, Error> {
        if let Some(manifest) = self.recent.get(source, digest) {
            return Ok(manifest);
        }
        let ask = async |repository: &Repository<'_>| {
            let manifest = self.get_manifest(repository, &digest.to_string()).await?;
            if manifest.digest != *digest {
                let (expected, got) = (digest.clone(), manifest.digest);
                let fault = ContentFault::Mismatch { expected, got };
                return Err(Problem::Content { peer: repository.host.registry.clone(), fault });
            }
            Ok(manifest)
        };
        let asked = self.ask_in_turn(source, Asked::content(&source.reference), ask).await;
        let failed = |problem| Error::new(shown(&source.reference, digest), problem);
        asked.inspect(|manifest| self.recent.keep(source, manifest)).map_err(failed)
    }

    /// The image for `platform` behind `target`. Where `target` is no index, that is `target`
    /// itself, whatever the platform: its manifest does not say what it is for.
    pub async fn identify(
        &self,
        source: &ImageSource,
        target: &Digest,
        platform: &Platform,
    ) -> Result<ImageIdentity, Error> {
        let index = self.manifest(source, target).await?;
        let manifest = index.for_platform(platform).map_err(|fault| {
            let peer = source.reference.registry().to_owned();
            Error::new(shown(&source.reference, target), Problem::Content { peer, fault })
        })?;
        Ok(ImageIdentity { target: target.clone(), manifest, platform: platform.clone() })
    }

    /// The bytes of a blob of `size` bytes, from `offset` on. Not verified against `digest`: see
    /// [`Blob`]. An offset beyond the size is an error of kind `InvalidContent`.
    pub async fn blob(
        &self,
        source: &ImageSource,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<Blob, Error> {
        let image = shown(&source.reference, digest);
        let ask = async |repository: &Repository<'_>| {
            let peer = repository.host.registry.clone();
            if offset > size {
                return Err(Problem::malformed(&peer, "blob", "the offset is beyond its end"));
            }
            let pace = Pace::new(&self.options.timeouts);
            if offset == size {
                return Ok(Blob::empty(image.clone(), &peer, size, pace));
            }
            let response = self.get_blob(repository, digest, size - offset, offset).await?;
            Blob::new(response, image.clone(), &peer, size, offset, pace)
        };
        let asked = self.ask_in_turn(source, Asked::content(&source.reference), ask).await;
        asked.map_err(|problem| Error::new(&image, problem))
    }

    /// To be called with so many bytes of a blob that have come: returns when it may be asked for more.
    pub async fn slow_down(&self, bytes: usize) {
        if let Some(throttle) = &self.throttle {
            throttle.slow_down(bytes).await;
        }
    }

    /// The host that is asked first for `source`, as images name it.
    pub fn host(&self, source: &ImageSource) -> Result<String, Error> {
        let asked = match source.reference.digest() {
            Some(_) => Asked::Digest,
            None => Asked::Tag,
        };
        match self.sources(source, asked) {
            Ok(Sources { mirrors, primary }) => {
                Ok(mirrors.into_iter().next().unwrap_or(primary).registry)
            }
            Err(problem) => Err(Error::new(&source.reference, problem)),
        }
    }

    /// What this host, as [`Client::host`] names it, said last of its limit on pulls.
    pub fn budget(&self, host: &str) -> Option<Budget> {
        let hosts = lock(&self.hosts);
        let mut of_name = hosts.iter().filter(|((registry, _), _)| registry == host);
        of_name.find_map(|(_, host)| host.budget())
    }

    /// Hosts that could not be reached, or said that they are asked too much, are asked again, by one
    /// request each; and so are credential helpers.
    pub fn begin_pass(&self) {
        self.helpers.forget();
        for host in lock(&self.hosts).values() {
            host.try_again();
        }
    }

    async fn ask_target(&self, repository: &Repository<'_>, tag: &str) -> Result<Digest, Problem> {
        let query = self.manifest_query(Method::HEAD, tag, "HEAD of the manifest");
        let answered = match repository.send(&query).await {
            // Some registries have no HEAD for manifests.
            Err(Problem::Status { status, .. }) if matches!(status.as_u16(), 405 | 501) => None,
            response => response?.headers().get(CONTENT_DIGEST).cloned(),
        };
        let digest = answered.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        match digest {
            Some(digest) => Ok(digest),
            None => Ok(self.get_manifest(repository, tag).await?.digest),
        }
    }

    pub(super) async fn get_manifest(
        &self,
        repository: &Repository<'_>,
        reference: &str,
    ) -> Result<RawManifest, Problem> {
        let query = self.manifest_query(Method::GET, reference, "GET of the manifest");
        let response = repository.send(&query).await?;
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let peer = &repository.host.registry;
        let bytes = body::whole(response, peer, "manifest", MAX_MANIFEST).await?;
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
        RawManifest::new(bytes, content_type)
            .map_err(|fault| Problem::Content { peer: peer.clone(), fault })
    }

    async fn get_blob(
        &self,
        repository: &Repository<'_>,
        digest: &Digest,
        left: u64,
        offset: u64,
    ) -> Result<Response, Problem> {
        let mut headers = HeaderMap::new();
        if offset > 0 {
            let range = HeaderValue::from_str(&format!("bytes={offset}-"));
            headers.extend(range.map(|range| (RANGE, range)).ok());
        }
        let timeouts = &self.options.timeouts;
        let query = Query {
            method: Method::GET,
            path: format!("blobs/{digest}"),
            headers,
            // From the offset, and from the start where the registry knows no ranges. The size is
            // what the manifest claims: who is slow is found out much earlier, by `Pace`.
            time: timeouts.total + Duration::from_secs((left + offset) / timeouts.slowest.max(1)),
            name: "GET of the blob",
        };
        repository.send(&query).await
    }

    fn manifest_query(&self, method: Method, reference: &str, name: &'static str) -> Query {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let path = format!("manifests/{reference}");
        Query { method, path, headers, time: self.options.timeouts.total, name }
    }

    pub(super) fn sources(&self, source: &ImageSource, asked: Asked) -> Result<Sources, Problem> {
        self.registries.sources(&source.reference, asked, self.options.tls_verify)
    }

    /// The repository at `location`, which is one of the image's [`Client::sources`].
    pub(super) async fn repository(
        &self,
        source: &ImageSource,
        location: Location,
    ) -> Result<Repository<'_>, Problem> {
        let authfile = source.authfile.as_deref();
        let name = location.name();
        let (paths, keepers) = (&self.options.paths, &self.registries.keepers);
        let searched = credentials::find(&name, authfile, paths, &self.helpers, keepers);
        Ok(self.at(location, searched.await?))
    }

    /// The root of a registry's API, which is no image's.
    pub(super) fn root_of(
        &self,
        key: &str,
        credential: Credential,
    ) -> Result<Repository<'_>, Problem> {
        let invalid = |_| Problem::InvalidLocation { location: key.to_owned() };
        let reference: Reference = format!("{key}/x").parse().map_err(invalid)?;
        let mut location = self.registries.locate(&reference, self.options.tls_verify)?;
        location.repository.clear();
        Ok(self.at(location, Searched { credential: Some(credential), missing: None }))
    }

    fn at(&self, location: Location, searched: Searched) -> Repository<'_> {
        let Searched { credential, missing } = searched;
        let key = (location.registry.clone(), location.insecure);
        let host = lock(&self.hosts)
            .entry(key)
            .or_insert_with(|| {
                let host = Host::new(&location.registry, location.authority(), location.insecure);
                Arc::new(host)
            })
            .clone();
        Repository {
            transport: &self.transport,
            tokens: &self.tokens,
            host,
            path: location.repository,
            credential,
            missing,
            registries: &self.registries,
            tls_verify: self.options.tls_verify,
            time: self.options.timeouts.total,
        }
    }
}

impl crate::update::port::Registry for Client {
    async fn host(&self, source: &ImageSource) -> Result<String, Failure> {
        Ok(Self::host(self, source)?)
    }

    fn begin_pass(&self) {
        Self::begin_pass(self);
    }

    fn budget(&self, host: &str) -> Option<Budget> {
        Self::budget(self, host)
    }

    async fn target(&self, source: &ImageSource) -> Result<Digest, Failure> {
        Ok(Self::target(self, source).await?)
    }

    async fn identify(
        &self,
        source: &ImageSource,
        target: &Digest,
        platform: &Platform,
    ) -> Result<ImageIdentity, Failure> {
        Ok(Self::identify(self, source, target, platform).await?)
    }
}

/// The image with a digest, in messages.
fn shown(reference: &Reference, digest: &Digest) -> String {
    match reference.digest() {
        Some(own) if own == digest => reference.to_string(),
        _ => format!("{reference} ({digest})"),
    }
}
