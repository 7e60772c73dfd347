//! A registry on the host's loopback interface: Debian's `docker-registry`, as a unit.

use std::time::Duration;

use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_distribution::client::{Config, ImageLayer};
use oci_distribution::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OciImageIndex,
};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client, Reference};

use crate::host::{Host, seconds};
use crate::image::{Image, architecture};

/// How clients reach a registry, and what it asks of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// HTTP, declared insecure in registries.conf(5).
    Plain,
    /// HTTP with a user name and a password.
    Password,
    /// HTTPS with a certificate that certs.d(5) trusts.
    Tls,
}

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "opensesame";
/// [`PASSWORD`], as htpasswd(1) writes it with bcrypt.
const HTPASSWD: &str = "alice:$2y$05$abcdefghijklmnopqrstuuQbLfdQZSxZ9gjhA5V9o8Tyc6aQRO0Qi";

pub(crate) struct Registry<'host> {
    host: &'host Host,
    access: Access,
    port: u16,
}

impl<'host> Registry<'host> {
    /// Starts `localhost:5000` over plain HTTP.
    pub(crate) fn start(host: &'host Host) -> Self {
        Self::start_with(host, Access::Plain, 5000)
    }

    pub(crate) fn start_with(host: &'host Host, access: Access, port: u16) -> Self {
        let registry = Self { host, access, port };
        registry.configure();
        registry.up();
        registry
    }

    /// Goes on with the same images, asking for something else.
    pub(crate) fn change_access(&mut self, access: Access) {
        self.down();
        self.access = access;
        self.configure();
        self.up();
    }

    pub(crate) fn down(&self) {
        self.host.sh(&format!("systemctl stop registry-{}.service", self.port));
    }

    pub(crate) fn up(&self) {
        let port = self.port;
        self.host.sh(&format!(
            "systemd-run --quiet --collect --unit=registry-{port} docker-registry serve /etc/registry/{port}.yml"
        ));
        let listening = format!("exec 3<> /dev/tcp/127.0.0.1/{port}");
        self.host.wait_for(&listening, seconds(20));
    }

    fn configure(&self) {
        let (host, port) = (self.host, self.port);
        let directory = "/etc/registry";
        let mut config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: false}}, level: warn}}\n\
             storage: {{filesystem: {{rootdirectory: /tmp/registry/{port}}}, delete: {{enabled: true}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n"
        );
        match self.access {
            Access::Plain => {}
            Access::Password => {
                host.write(&format!("{directory}/htpasswd"), HTPASSWD);
                config += "auth: {htpasswd: {realm: test, path: /etc/registry/htpasswd}}\n";
            }
            Access::Tls => {
                host.sh(&format!(
                    "mkdir -p {directory} /etc/containers/certs.d/localhost:{port}
                     openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                       -subj /CN=localhost -addext subjectAltName=DNS:localhost,DNS:registry.example \
                       -addext basicConstraints=critical,CA:FALSE \
                       -keyout {directory}/key.pem -out {directory}/cert.pem 2> /dev/null
                     cp {directory}/cert.pem /etc/containers/certs.d/localhost:{port}/ca.crt"
                ));
                config +=
                    "  tls: {certificate: /etc/registry/cert.pem, key: /etc/registry/key.pem}\n";
            }
        }
        host.write(&format!("{directory}/{port}.yml"), &config);
        if self.access != Access::Tls {
            host.write(
                &format!("/etc/containers/registries.conf.d/{port}.conf"),
                &format!("[[registry]]\nlocation = \"localhost:{port}\"\ninsecure = true\n"),
            );
        }
    }

    /// The full name of `image`, such as `app:v1`, at this registry.
    pub(crate) fn reference(&self, image: &str) -> String {
        format!("localhost:{}/{image}", self.port)
    }

    /// Pushes an image as `name`, such as `app:latest`, and gives its manifest's digest.
    pub(crate) fn push(&self, name: &str, image: &Image) -> String {
        let built = image.build();
        let media_type = IMAGE_LAYER_GZIP_MEDIA_TYPE;
        let layers: Vec<ImageLayer> = built
            .layers
            .into_iter()
            .map(|layer| ImageLayer::new(layer, media_type.into(), None))
            .collect();
        let config = Config::new(built.config, IMAGE_CONFIG_MEDIA_TYPE.into(), None);
        let reference: Reference = self.reference(name).parse().unwrap();
        let client = self.client();
        let auth = self.auth();
        block_on(async {
            client.push(&reference, &layers, config, &auth, None).await.unwrap();
            client.fetch_manifest_digest(&reference, &auth).await.unwrap()
        })
    }

    /// Pushes an index as `name` whose one image for this platform is `image`'s manifest. Each
    /// `note` gives another index. Gives the index's digest.
    pub(crate) fn push_index(&self, name: &str, image: &Image, note: &str) -> String {
        let manifest = self.push(&format!("{}-image", name.replace(':', ":of-")), image);
        let size = self.size(&manifest);
        let index: OciImageIndex = serde_json::from_value(serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": manifest,
                "size": size,
                "platform": { "os": "linux", "architecture": architecture() },
            }],
            "annotations": { "note": note },
        }))
        .unwrap();
        let reference: Reference = self.reference(name).parse().unwrap();
        let client = self.client();
        let auth = self.auth();
        block_on(async {
            client.push_manifest_list(&reference, &auth, index).await.unwrap();
            client.fetch_manifest_digest(&reference, &auth).await.unwrap()
        })
    }

    /// Attaches a signature of the manifest `digest` to the repository `name`, as cosign does: for the
    /// image `signed`, made with the private key in the file `key`.
    pub(crate) fn sign(&self, name: &str, digest: &str, signed: &str, key: &str) {
        let payload = serde_json::json!({
            "critical": {
                "identity": { "docker-reference": signed },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        self.host.write("/tmp/payload", &payload.to_string());
        let signature =
            self.host.sh(&format!("openssl dgst -sha256 -sign {key} /tmp/payload | base64 -w0"));
        let note = ("dev.cosignproject.cosign/signature".to_owned(), signature.trim().to_owned());
        let media_type = "application/vnd.dev.cosign.simplesigning.v1+json".to_owned();
        let layer =
            ImageLayer::new(payload.to_string(), media_type, Some([note].into_iter().collect()));
        let config = Config::new("{}", IMAGE_CONFIG_MEDIA_TYPE.into(), None);
        let name = format!("{name}:{}.sig", digest.replace(':', "-"));
        let reference: Reference = self.reference(&name).parse().unwrap();
        let (client, auth) = (self.client(), self.auth());
        block_on(client.push(&reference, &[layer], config, &auth, None)).unwrap();
    }

    /// The same as cosign does it since its third version: a bundle that refers to the manifest, and its list by the
    /// tag that stands for the referrers API, which this registry does not have.
    pub(crate) fn sign_by_bundle(&self, name: &str, digest: &str, signed: &str, key: &str) {
        const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let statement = serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{
                "digest": { "sha256": &digest["sha256:".len()..] },
                "annotations": { "docker-reference": signed },
            }],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        })
        .to_string();
        let kind = "application/vnd.in-toto+json";
        let encoded = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        self.host.write("/tmp/encoded", &encoded);
        self.host.write("/tmp/statement", &statement);
        let sign = format!("openssl dgst -sha256 -sign {key} /tmp/encoded | base64 -w0");
        let bundle = serde_json::json!({
            "mediaType": BUNDLE,
            "verificationMaterial": { "publicKey": { "hint": "" } },
            "dsseEnvelope": {
                "payload": self.host.sh("base64 -w0 /tmp/statement"),
                "payloadType": kind,
                "signatures": [{ "sig": self.host.sh(&sign) }],
            },
        })
        .to_string();
        self.refer(name, digest, BUNDLE, bundle.as_bytes());
    }

    /// An artifact of this kind that refers to the manifest `digest`, and is all that does.
    fn refer(&self, name: &str, digest: &str, kind: &str, bytes: &[u8]) {
        let reference: Reference = self.reference(name).parse().unwrap();
        let (client, auth) = (self.client(), self.auth());
        let sha256 = |bytes: &[u8]| updaterd::model::Digest::of(bytes).to_string();
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "artifactType": kind,
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2,
            },
            "layers": [{ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() }],
            "subject": { "mediaType": manifest_type, "digest": digest, "size": self.size(digest) },
        })
        .to_string();
        let own = sha256(manifest.as_bytes());
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE,
            "manifests": [{
                "mediaType": manifest_type, "digest": own, "size": manifest.len(), "artifactType": kind,
            }],
        })
        .to_string();
        let at = |tag: &str| -> Reference {
            let name = name.split(':').next().unwrap();
            let sign = if tag.contains(':') { '@' } else { ':' };
            self.reference(&format!("{name}{sign}{tag}")).parse().unwrap()
        };
        let list = at(&digest.replace(':', "-"));
        block_on(async {
            let operation = oci_distribution::RegistryOperation::Push;
            client.auth(&reference, &auth, operation).await.unwrap();
            for blob in [&b"{}"[..], bytes] {
                client.push_blob(&reference, blob.to_vec(), &sha256(blob)).await.unwrap();
            }
            for (place, document, kind) in
                [(at(&own), manifest, manifest_type), (list, index, OCI_IMAGE_INDEX_MEDIA_TYPE)]
            {
                let kind = kind.parse().unwrap();
                client.push_manifest_raw(&place, document.into_bytes(), kind).await.unwrap();
            }
        });
    }

    /// Loses the last layer of the image `name`, as a registry does whose disk was full.
    pub(crate) fn lose_layer(&self, name: &str) {
        std::fs::remove_file(self.blob(&self.last_layer(name))).unwrap();
    }

    /// Damages the last layer of the image `name`, as a disk does.
    pub(crate) fn damage_layer(&self, name: &str) {
        let file = self.blob(&self.last_layer(name));
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(file, bytes).unwrap();
    }

    fn last_layer(&self, name: &str) -> String {
        self.layers(name).pop().unwrap()
    }

    /// The digests of the layers of the image `name`, the lowest first.
    pub(crate) fn layers(&self, name: &str) -> Vec<String> {
        let reference: Reference = self.reference(name).parse().unwrap();
        let (client, auth) = (self.client(), self.auth());
        let (manifest, _) = block_on(client.pull_image_manifest(&reference, &auth)).unwrap();
        manifest.layers.into_iter().map(|layer| layer.digest).collect()
    }

    /// The size of a blob or a manifest that was pushed, in bytes.
    pub(crate) fn size(&self, digest: &str) -> u64 {
        std::fs::metadata(self.blob(digest)).unwrap().len()
    }

    /// The file of a blob or a manifest.
    fn blob(&self, digest: &str) -> String {
        let hex = &digest["sha256:".len()..];
        let (port, two) = (self.port, &hex[..2]);
        format!("/tmp/registry/{port}/docker/registry/v2/blobs/sha256/{two}/{hex}/data")
    }

    /// Requests that this registry has answered, as `METHOD path status`, in their order.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.answered().into_iter().map(|(request, _)| request).collect()
    }

    /// How many bytes of manifests and blobs it has sent.
    pub(crate) fn bytes_sent(&self) -> u64 {
        let answered = self.answered();
        answered
            .iter()
            .filter(|(request, _)| request.starts_with("GET"))
            .map(|(_, size)| size)
            .sum()
    }

    /// Requests, and the sizes of the bodies that answered them.
    fn answered(&self) -> Vec<(String, u64)> {
        let log = self.host.journal(&format!("--unit=registry-{}", self.port));
        let request = |line: &str| {
            let (_, rest) = line.split_once('"')?;
            let (request, rest) = rest.split_once("\" ")?;
            let mut words = request.split(' ');
            let (method, path) = (words.next()?, words.next()?);
            let mut words = rest.split(' ');
            let (status, size) = (words.next()?, words.next()?.parse().ok()?);
            path.starts_with("/v2/").then(|| (format!("{method} {path} {status}"), size))
        };
        log.lines().filter_map(request).collect()
    }

    fn client(&self) -> Client {
        let mut config = ClientConfig { protocol: ClientProtocol::Http, ..Default::default() };
        if self.access == Access::Tls {
            config.protocol = ClientProtocol::Https;
            config.extra_root_certificates = vec![Certificate {
                encoding: CertificateEncoding::Pem,
                data: std::fs::read("/etc/registry/cert.pem").unwrap(),
            }];
        }
        config.read_timeout = Some(Duration::from_secs(30));
        Client::new(config)
    }

    fn auth(&self) -> RegistryAuth {
        match self.access {
            Access::Password => RegistryAuth::Basic(USER.into(), PASSWORD.into()),
            Access::Plain | Access::Tls => RegistryAuth::Anonymous,
        }
    }
}

/// A registry with an application as `app:latest`; the image's reference.
pub(crate) fn offer(host: &Host) -> String {
    offer_image(host, &Image::app("v1"))
}

/// A registry with `image` as `app:latest`; its reference.
pub(crate) fn offer_image(host: &Host, image: &Image) -> String {
    let registry = Registry::start(host);
    registry.push("app:latest", image);
    registry.reference("app:latest")
}

/// The same as [`offer`], pulled already by root.
pub(crate) fn prepare(host: &Host) -> String {
    prepare_image(host, &Image::app("v1"))
}

/// The same as [`offer_image`], pulled already by root.
pub(crate) fn prepare_image(host: &Host, image: &Image) -> String {
    let reference = offer_image(host, image);
    host.sh(&format!("updater-launch pull {reference}"));
    reference
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
