//! containers-certs.d(5): whose signature is good at one registry, and who we are there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_platform_verifier::Verifier;
use webpki::EndEntityCert;

use super::error::{FileFault, Problem};
use super::files;

/// What a directory of certs.d holds for one registry.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Whose signature is good, beside those that the system knows.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// Who we are, by the names of the files.
    pairs: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads the first of `directories` that has one for `registry`; `None` where none has.
    pub(super) fn load(registry: &str, directories: &[PathBuf]) -> Result<Option<Self>, Problem> {
        let directory = directories.iter().map(|dir| dir.join(registry)).find(|dir| dir.is_dir());
        let Some(directory) = directory else { return Ok(None) };
        let at = |path: &Path, source| Problem::Certificates {
            registry: registry.to_owned(),
            path: path.to_owned(),
            source,
        };
        let found = files::list(&directory, &["crt", "cert", "key"])
            .map_err(|fault| at(&directory, fault))?;
        let mut certificates = Self { authorities: Vec::new(), pairs: Vec::new() };
        for path in &found {
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                Some("crt") => {
                    certificates.authorities.extend(authorities(path).map_err(|f| at(path, f))?);
                }
                Some("cert") => {
                    certificates.pairs.push(pair(path).map_err(|fault| at(path, fault))?);
                }
                _ if !path.with_extension("cert").exists() => {
                    let text = "the key has no client certificate (.cert) beside it".to_owned();
                    return Err(at(path, FileFault::Certificate(text)));
                }
                _ => {}
            }
        }
        Ok(Some(certificates))
    }

    /// Whether the registry may ask who we are.
    pub(super) fn has_own(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// How TLS is spoken where it may: reqwest itself knows of one certificate only.
    ///
    /// # Errors
    /// Where nobody's signature is good: the system knows none, and neither is one here.
    pub(super) fn tls(&self, registry: &str, verify: bool) -> Result<ClientConfig, Problem> {
        let failed = |source| Problem::Authorities { registry: registry.to_owned(), source };
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match verify {
            true => {
                let known = self.authorities.iter().cloned();
                Arc::new(
                    Verifier::new_with_extra_roots(known, Arc::clone(&provider)).map_err(failed)?,
                )
            }
            false => Arc::new(Anybody(provider.signature_verification_algorithms)),
        };
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = builder.with_client_cert_resolver(Arc::new(Own(self.pairs.clone())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Several certificates for one registry: the first that it can make something of.
#[derive(Debug)]
struct Own(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Own {
    /// As Go, and therefore Podman, chooses: one that was made by an authority that the registry names, in a
    /// chain or by itself. Where there is none, the first: the registry says better what is wrong with it
    /// than with nothing.
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let can_sign = |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(schemes).is_some();
        let is_known = |pair: &&Arc<CertifiedKey>| {
            let mut chain = pair.cert.iter();
            authorities.is_empty() || chain.any(|one| is_by(one, authorities))
        };
        let mut able = self.0.iter().filter(can_sign);
        able.clone().find(is_known).or_else(|| able.next()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

fn is_by(certificate: &CertificateDer<'_>, authorities: &[&[u8]]) -> bool {
    EndEntityCert::try_from(certificate).is_ok_and(|certificate| {
        let issuer = DistinguishedName::in_sequence(certificate.issuer());
        authorities.contains(&issuer.as_ref())
    })
}

/// Lets any registry be who it says: for those that are declared insecure.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    chain(&files::read(path)?.unwrap_or_default())
}

/// All certificates of a file.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let fault = |text: &str| FileFault::Certificate(text.to_owned());
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|_| fault("is not PEM"))?;
    if found.is_empty() { Err(fault("holds no certificate")) } else { Ok(found) }
}

fn pair(path: &Path) -> Result<Arc<CertifiedKey>, FileFault> {
    let fault = |text: &str| FileFault::Certificate(text.to_owned());
    let no_key = || fault("the client certificate has no key (.key) beside it");
    let key = files::read(&path.with_extension("key"))?.ok_or_else(no_key)?;
    let unusable =
        || fault("client certificate (X.509, version 3) and key are not a pair of PEM files");
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| unusable())?;
    let chain = chain(&files::read(path)?.unwrap_or_default()).map_err(|_| unusable())?;
    let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
    pair.map(Arc::new).map_err(|_| unusable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_certificates_name_their_file() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("r.io:5000");
        std::fs::create_dir(&own).unwrap();
        let load = || Certificates::load("r.io:5000", &[directory.path().to_owned()]);
        assert!(load().unwrap().unwrap().authorities.is_empty());
        for name in ["lonely.key", "bad.crt", "lonely.cert"] {
            std::fs::write(own.join(name), "nonsense").unwrap();
            let problem = load().unwrap_err();
            assert!(problem.to_string().contains(name), "{problem}");
            std::fs::remove_file(own.join(name)).unwrap();
        }
    }
}
