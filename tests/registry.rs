//! The registry client against a real registry (Debian's `docker-registry`) on loopback, and
//! against what an independent client (`oci-distribution`) says of the same images.
//!
//! Skipped, with a message, where `docker-registry` is not installed; `make test` takes no skipping.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use oci_distribution::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_distribution::manifest::OciManifest;
use oci_distribution::secrets::RegistryAuth;
use updaterd::model::{Digest, FailureKind, ImageSource, Platform};
use updaterd::registry::{Client, Error, Options, Paths, RegistriesConf};

/// A running registry, ended when dropped.
struct Registry {
    child: Child,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("docker-registry")).find(|path| path.is_file())
}

fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry")
}

/// Starts a registry, with `tls` lines in its configuration; `None` where it is not installed.
fn start(tls: &str) -> Option<Registry> {
    start_at("127.0.0.1:0", tls)
}

fn start_at(address: &str, tls: &str) -> Option<Registry> {
    let Some(program) = program() else {
        let required =
            std::env::var_os("UPDATERD_REQUIRE_SYSTEM").is_some_and(|value| value == "1");
        assert!(!required, "docker-registry is not installed (tests/install-dependencies.sh)");
        // Past the test harness, which would swallow it.
        let _ = writeln!(std::io::stderr(), "skipped: docker-registry is not installed");
        return None;
    };
    let directory = tempfile::tempdir().unwrap();
    let address = TcpListener::bind(address).unwrap().local_addr().unwrap();
    let root = directory.path().join("data");
    let config = directory.path().join("config.yml");
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: \"{address}\"\n{tls}",
        root.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert_eq!(child.try_wait().unwrap(), None, "docker-registry ended");
        assert!(start.elapsed() < Duration::from_secs(20), "docker-registry does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(Registry { child, address, directory })
}

/// The independent client, over plain HTTP. Its TLS wants a process-wide provider, used or not.
fn independent_client() -> oci_distribution::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
    oci_distribution::Client::new(config)
}

impl Registry {
    /// Pushes an image with one layer by the independent client; says its manifest's digest.
    async fn push(&self, image: &str, layer: &[u8]) -> String {
        let client = independent_client();
        let reference = format!("{}/{image}", self.address).parse().unwrap();
        let layers = [ImageLayer::oci_v1(layer.to_vec(), None)];
        let config = Config::oci_v1(&br#"{"architecture":"amd64","os":"linux"}"#[..], None);
        let anonymous = RegistryAuth::Anonymous;
        client.push(&reference, &layers, config, &anonymous, None).await.unwrap();
        client.fetch_manifest_digest(&reference, &anonymous).await.unwrap()
    }

    async fn push_index(&self, image: &str, index: serde_json::Value) -> String {
        let client = independent_client();
        let reference = format!("{}/{image}", self.address).parse().unwrap();
        let index = OciManifest::ImageIndex(serde_json::from_value(index).unwrap());
        client.push_manifest(&reference, &index).await.unwrap();
        client.fetch_manifest_digest(&reference, &RegistryAuth::Anonymous).await.unwrap()
    }

    fn source(&self, image: &str) -> ImageSource {
        let reference = format!("{}/{image}", self.address).parse().unwrap();
        ImageSource { reference, authfile: None }
    }

    /// The client as configured by files alone.
    fn client(&self, registries_conf: &str, certs: Option<PathBuf>) -> Client {
        let conf = self.directory.path().join("registries.conf");
        std::fs::write(&conf, registries_conf).unwrap();
        let main = RegistriesConf { file: conf, drop_ins: Vec::new() };
        let paths = Paths {
            registries_conf: vec![main],
            certs_dirs: certs.into_iter().collect(),
            ..Paths::default()
        };
        Client::new(&Options { paths, ..Options::default() }).unwrap()
    }

    fn insecure(&self) -> String {
        format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", self.address)
    }
}

fn platform(architecture: &str, variant: Option<&str>) -> Platform {
    Platform {
        os: "linux".into(),
        architecture: architecture.into(),
        variant: variant.map(str::to_owned),
    }
}

async fn blob(
    client: &Client,
    source: &ImageSource,
    digest: &Digest,
    size: usize,
    offset: u64,
) -> Result<Vec<u8>, Error> {
    let mut stream = client.blob(source, digest, size as u64, offset).await?;
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend(chunk?);
    }
    Ok(all)
}

#[tokio::test]
async fn agrees_with_an_independent_client() {
    let Some(registry) = start("") else { return };
    let layer = b"0123456789".repeat(100_000);
    let theirs = registry.push("team/app:1", &layer).await;
    let client = registry.client(&registry.insecure(), None);
    let source = registry.source("team/app:1");

    let target = client.target(&source).await.unwrap();
    assert_eq!(target.to_string(), theirs);
    let manifest = client.manifest(&source, &target).await.unwrap();
    assert_eq!(Digest::of(&manifest.bytes), target);
    let identity = client.identify(&source, &target, &Platform::host()).await.unwrap();
    assert_eq!((&identity.target, &identity.manifest), (&target, &target));

    let digest = Digest::of(&layer);
    assert_eq!(blob(&client, &source, &digest, layer.len(), 0).await.unwrap(), layer);
    let rest = blob(&client, &source, &digest, layer.len(), 999_990).await.unwrap();
    assert_eq!(rest, b"0123456789");

    let gone = client.target(&registry.source("team/app:2")).await.unwrap_err();
    assert_eq!(gone.kind(), FailureKind::NotFound);
    let other = Digest::of(b"not there");
    for error in [
        client.manifest(&source, &other).await.unwrap_err(),
        blob(&client, &source, &other, 10, 0).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), FailureKind::NotFound, "{error}");
        assert!(error.to_string().contains("unknown"), "{error}");
    }
}

#[tokio::test]
async fn an_index_is_told_from_its_manifests() {
    let Some(registry) = start("") else { return };
    let mut offers = Vec::new();
    let mut digests = Vec::new();
    for (tag, wanted) in [
        ("amd64", platform("amd64", None)),
        ("v6", platform("arm", Some("v6"))),
        ("v7", platform("arm", Some("v7"))),
    ] {
        let digest = registry.push(&format!("multi:{tag}"), tag.as_bytes()).await;
        let source = registry.source(&format!("multi:{tag}"));
        let client = registry.client(&registry.insecure(), None);
        let size = client.manifest(&source, &digest.parse().unwrap()).await.unwrap().bytes.len();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        offers.push(serde_json::json!({
            "mediaType": media_type, "digest": digest, "size": size, "platform": wanted,
        }));
        digests.push((wanted, digest));
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index =
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": offers});
    let theirs = registry.push_index("multi:1", index).await;

    let client = registry.client(&registry.insecure(), None);
    let source = registry.source("multi:1");
    let target = client.target(&source).await.unwrap();
    assert_eq!(target.to_string(), theirs);
    for (wanted, digest) in digests {
        let identity = client.identify(&source, &target, &wanted).await.unwrap();
        assert_eq!(identity.manifest.to_string(), digest, "{wanted}");
        assert_eq!((identity.target, identity.platform), (target.clone(), wanted));
    }
}

#[tokio::test]
async fn tls_needs_the_registrys_certificates() {
    let certificates = certificates();
    let file = |name: &str| certificates.join(name);
    let tls = format!(
        "  tls:\n    certificate: {}\n    key: {}\n    clientcas: [{}]\n",
        file("server.crt").display(),
        file("server.key").display(),
        file("ca.crt").display()
    );
    let Some(registry) = start(&tls) else { return };
    let certs = registry.directory.path().join("certs.d");
    let own = certs.join(registry.address.to_string());
    std::fs::create_dir_all(&own).unwrap();
    let source = registry.source("app:1");
    let kind = async |client: Client| client.target(&source).await.unwrap_err().kind();

    // The empty directory: the system's roots, where there are any, do not know this CA.
    let unknown = kind(registry.client("", Some(certs.clone()))).await;
    assert!(matches!(unknown, FailureKind::Unreachable | FailureKind::Configuration));
    std::fs::copy(file("ca.crt"), own.join("ca.crt")).unwrap();
    // The server is known now, but it wants a client certificate: that plain HTTP is no way in
    // either must not hide why.
    let insecure = registry.insecure();
    let refused = kind(registry.client(&insecure, Some(certs.clone()))).await;
    assert_eq!(refused, FailureKind::Unreachable);
    assert_eq!(kind(registry.client("", Some(certs.clone()))).await, FailureKind::Unreachable);
    std::fs::copy(file("client.cert"), own.join("client.cert")).unwrap();
    assert_eq!(kind(registry.client("", Some(certs.clone()))).await, FailureKind::Configuration);
    std::fs::copy(file("client.key"), own.join("client.key")).unwrap();
    // An answer at last: there is no such image.
    assert_eq!(kind(registry.client("", Some(certs.clone()))).await, FailureKind::NotFound);
    // An insecure registry gets TLS first, too.
    assert_eq!(kind(registry.client(&insecure, Some(certs))).await, FailureKind::NotFound);
}

#[tokio::test]
async fn an_address_of_ipv6_is_a_registry() {
    let Some(mut registry) = start_at("[::]:0", "") else { return };
    let port = registry.address.port();
    // The independent client knows no such names.
    registry.address = SocketAddr::from(([127, 0, 0, 1], port));
    let theirs = registry.push("team/app:1", b"layer").await;
    registry.address = format!("[::1]:{port}").parse().unwrap();
    let source = registry.source("team/app:1");
    assert!(source.reference.to_string().starts_with("[::1]:"));
    let client = registry.client(&registry.insecure(), None);
    assert_eq!(client.target(&source).await.unwrap().to_string(), theirs);
    // Its prefix and its directory of certificates are called after it as it is written.
    let blocked = registry.insecure().replace("insecure", "blocked");
    let refused = registry.client(&blocked, None).target(&source).await.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Configuration, "{refused}");
    let certs = registry.directory.path().join("certs.d");
    let own = certs.join(registry.address.to_string());
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("ca.crt"), "nonsense").unwrap();
    let refused = registry.client("", Some(certs)).target(&source).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("[::1]:{port}/ca.crt")), "{refused}");
}

/// Certificates of two authorities, of which the registry knows one: of several that are ours it gets the one
/// that it can make something of.
#[tokio::test]
async fn several_client_certificates_and_authorities() {
    let certificates = certificates();
    let file = |name: &str| certificates.join(name);
    let made = tempfile::tempdir().unwrap();
    let script = "set -e
        new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'
        for ca in known unknown; do
          openssl req -x509 $new -subj /CN=$ca -keyout $ca.ca.key -out $ca.ca.crt
          openssl req -x509 $new -subj /CN=client -keyout $ca.key -out $ca.cert \
            -CA $ca.ca.crt -CAkey $ca.ca.key -addext basicConstraints=critical,CA:FALSE
        done";
    let mut openssl = Command::new("/bin/bash");
    let made_them = openssl.args(["-c", script]).current_dir(made.path()).output().unwrap();
    assert!(made_them.status.success(), "{made_them:?}");
    let tls = format!(
        "  tls:\n    certificate: {}\n    key: {}\n    clientcas: [{}]\n",
        file("server.crt").display(),
        file("server.key").display(),
        made.path().join("known.ca.crt").display()
    );
    let Some(registry) = start(&tls) else { return };
    let certs = registry.directory.path().join("certs.d");
    let own = certs.join(registry.address.to_string());
    std::fs::create_dir_all(&own).unwrap();
    let source = registry.source("app:1");
    let place = |from: &str, to: &str| {
        std::fs::copy(made.path().join(from), own.join(to)).unwrap();
    };
    let told = async |conf: &str| {
        registry.client(conf, Some(certs.clone())).target(&source).await.unwrap_err()
    };
    // The second of two authorities has made the registry's certificate.
    place("unknown.ca.crt", "a.crt");
    std::fs::copy(file("ca.crt"), own.join("b.crt")).unwrap();
    place("unknown.cert", "a.cert");
    place("unknown.key", "a.key");
    assert_eq!(told("").await.kind(), FailureKind::Unreachable);
    place("known.cert", "z.cert");
    place("known.key", "z.key");
    let found = told("").await;
    assert_eq!(found.kind(), FailureKind::NotFound, "{found}");
    // Declared insecure, it gets the certificate all the same.
    std::fs::remove_file(own.join("b.crt")).unwrap();
    assert_eq!(told("").await.kind(), FailureKind::Unreachable);
    assert_eq!(told(&registry.insecure()).await.kind(), FailureKind::NotFound);
    place("unknown.key", "z.key");
    let refused = told("").await;
    assert_eq!(refused.kind(), FailureKind::Configuration, "{refused}");
    assert!(refused.to_string().contains("z.cert"), "{refused}");
}
