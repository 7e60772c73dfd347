//! The registries of this host, whose configuration is read when the first of them is asked:
//! what asks none works where registries.conf is broken.

use std::rc::Rc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::OnceCell;

use crate::model::{Digest, Failure, ImageIdentity, ImageSource, Platform};
use crate::plan::Budget;
use crate::registry::{self, Client};
use crate::store::pull::{Documents, Remote};
use crate::update::port::Registry;

/// One client, made when it is needed; the pull uses the connections of the check before it.
#[derive(Debug, Clone)]
pub struct Registries {
    options: registry::Options,
    client: Rc<OnceCell<Client>>,
}

impl Registries {
    pub fn new(options: registry::Options) -> Self {
        Self { options, client: Rc::default() }
    }

    /// A failure is not kept: registries.conf may be mended meanwhile.
    async fn client(&self) -> Result<&Client, Failure> {
        let made = async || Ok(Client::new(&self.options)?);
        self.client.get_or_try_init(made).await
    }
}

impl Registry for Registries {
    async fn host(&self, source: &ImageSource) -> Result<String, Failure> {
        Registry::host(self.client().await?, source).await
    }

    fn begin_pass(&self) {
        self.client.get().into_iter().for_each(Client::begin_pass);
    }

    fn budget(&self, host: &str) -> Option<Budget> {
        self.client.get()?.budget(host)
    }

    async fn target(&self, source: &ImageSource) -> Result<Digest, Failure> {
        Registry::target(self.client().await?, source).await
    }

    async fn identify(
        &self,
        source: &ImageSource,
        target: &Digest,
        platform: &Platform,
    ) -> Result<ImageIdentity, Failure> {
        Registry::identify(self.client().await?, source, target, platform).await
    }
}

impl Remote for Registries {
    async fn target(&self, source: &ImageSource) -> Result<Digest, Failure> {
        Remote::target(self.client().await?, source).await
    }

    async fn documents(
        &self,
        source: &ImageSource,
        target: &Digest,
        platform: &Platform,
    ) -> Result<Documents, Failure> {
        self.client().await?.documents(source, target, platform).await
    }

    async fn admit(&self, source: &ImageSource, documents: &Documents) -> Result<(), Failure> {
        Remote::admit(self.client().await?, source, documents).await
    }

    fn try_again(&self, source: &ImageSource) {
        self.client.get().into_iter().for_each(|client| client.try_again(source));
    }

    async fn blob(
        &self,
        source: &ImageSource,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Unpin, Failure> {
        Remote::blob(self.client().await?, source, digest, size, offset).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn broken_registries_are_told_when_one_is_asked_and_may_be_mended() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("registries.conf");
        std::fs::write(&conf, "[[registry]\n").unwrap();
        let main = registry::RegistriesConf { file: conf.clone(), drop_ins: vec![] };
        let paths = registry::Paths { registries_conf: vec![main], ..Default::default() };
        let registries = Registries::new(registry::Options { paths, ..Default::default() });
        let text = format!("registry.example/app@{}", Digest::of(b"v1"));
        let source = ImageSource { reference: text.parse().unwrap(), authfile: None };
        let broken = Registry::target(&registries, &source).await.unwrap_err();
        assert!(broken.message.contains("registries.conf"), "{broken}");
        std::fs::write(&conf, "").unwrap();
        // A reference with a digest asks nobody.
        assert_eq!(Registry::target(&registries, &source).await, Ok(Digest::of(b"v1")));
    }
}
