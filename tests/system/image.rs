//! Test images: a static busybox, and one script.

use std::io::Write;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::entry::Entry;
use crate::registry::digest;

/// What busybox is called as in the images.
const APPLETS: &[&str] = &[
    "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname", "echo",
    "env", "expr", "false", "find", "grep", "head", "hostname", "httpd", "id", "ip", "kill", "ln",
    "ls", "mkdir", "mknod", "mount", "mv", "nc", "nslookup", "ping", "ps", "pwd", "readlink", "rm",
    "rmdir", "sed", "seq", "sh", "sleep", "sort", "stat", "stty", "tail", "test", "timeout",
    "touch", "tr", "true", "tty", "umount", "uname", "wc", "wget", "which", "yes",
];

/// An image to be pushed.
#[derive(Clone)]
pub(crate) struct Image {
    architecture: &'static str,
    layers: Vec<Vec<u8>>,
    config: serde_json::Map<String, serde_json::Value>,
}

/// An image as a registry takes it.
pub(crate) struct Built {
    /// Compressed, bottom first.
    pub(crate) layers: Vec<Bytes>,
    pub(crate) config: Bytes,
}

impl Image {
    /// An image that runs `script` with `sh`. `version` is in `/app/version`.
    pub(crate) fn script(version: &str, script: &str) -> Self {
        let mut layer = Layer::new();
        layer.file("app/version", 0o644, format!("{version}\n").as_bytes());
        layer.file("app/start", 0o755, format!("#!/bin/sh\n{script}\n").as_bytes());
        Self {
            architecture: architecture(),
            layers: vec![base().to_vec(), layer.finish()],
            config: serde_json::Map::new(),
        }
        .with("Cmd", ["/app/start"])
        .with("Env", ["PATH=/bin", "FROM_IMAGE=yes"])
    }

    /// A program that runs until it is told to stop.
    pub(crate) fn app(version: &str) -> Self {
        Self::script(version, &format!("{ON_TERM}\necho app {version} started\n{UNTIL_TERM}"))
    }

    /// A program that fails as soon as it runs.
    pub(crate) fn crashing(version: &str) -> Self {
        Self::script(version, &format!("echo app {version} crashes >&2\nexit 3"))
    }

    /// A program that runs for a moment, long enough to be called ready, and fails then.
    pub(crate) fn crashing_later(version: &str) -> Self {
        let script =
            format!("echo app {version} started\nsleep 0.7\necho app {version} crashes >&2");
        Self::script(version, &format!("{script}\nexit 3"))
    }

    /// A program that says `READY=1` itself, by the host's `systemd-notify`: for units that run it
    /// with `--sdnotify=container --volume /usr:/usr:ro`.
    pub(crate) fn notifying(version: &str) -> Self {
        let ready = "/usr/bin/systemd-notify --ready";
        Self::script(
            version,
            &format!("{ON_TERM}\necho app {version} started\n{ready}\n{UNTIL_TERM}"),
        )
    }

    /// This machine's Debian, with its systemd as the command: for units that run it with
    /// `--volume /usr:/usr:ro`. What Debian keeps outside of `/usr` is in the image.
    pub(crate) fn debian() -> Self {
        let mut layer = Layer::new();
        for directory in ["dev", "etc", "proc", "root", "run", "sys", "usr", "var", "var/lib"] {
            layer.directory(directory, 0o755);
        }
        layer.directory("tmp", 0o1777);
        for (path, target) in [
            ("bin", "usr/bin"),
            ("sbin", "usr/sbin"),
            ("lib", "usr/lib"),
            ("lib64", "usr/lib64"),
            ("etc/os-release", "../usr/lib/os-release"),
            ("usr/sbin/init", "../lib/systemd/systemd"),
        ] {
            layer.link(path, target);
        }
        layer.file("etc/machine-id", 0o444, b"");
        for path in ["passwd", "group", "nsswitch.conf", "ld.so.cache"] {
            let content = std::fs::read(format!("/etc/{path}")).unwrap();
            layer.file(&format!("etc/{path}"), 0o644, &content);
        }
        Self {
            architecture: architecture(),
            layers: vec![layer.finish()],
            config: serde_json::Map::new(),
        }
        .with("Cmd", ["/sbin/init"])
        .with("Env", ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
    }

    /// An image of nothing but this layer.
    pub(crate) fn of(layer: Layer) -> Self {
        let layers = vec![layer.finish()];
        Self { architecture: architecture(), layers, config: serde_json::Map::new() }
    }

    /// Sets a key of the image's configuration, such as `User` (image-spec, `config.md`).
    pub(crate) fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.config.insert(key.to_owned(), value.into());
        self
    }

    /// For another machine than this.
    pub(crate) fn for_architecture(self, architecture: &'static str) -> Self {
        Self { architecture, ..self }
    }

    /// Adds a layer made by hand.
    pub(crate) fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer.finish());
        self
    }

    pub(crate) fn build(&self) -> Built {
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| digest(layer)).collect();
        let config = serde_json::json!({
            "created": "2024-01-01T00:00:00Z",
            "architecture": self.architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        Built {
            layers: self.layers.iter().map(|layer| compressed(layer)).collect(),
            config: Bytes::from(serde_json::to_vec(&config).unwrap()),
        }
    }
}

/// Before it says anything: a first process without a handler is not hurt by a signal.
const ON_TERM: &str = "trap 'echo app stopped; exit 0' TERM";
const UNTIL_TERM: &str = "while :; do sleep 1000 & wait $!; done";

/// This machine's architecture, in the words of image indexes.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The base layer is compressed once: a test may push a hundred images.
fn compressed(layer: &[u8]) -> Bytes {
    static BASE: OnceLock<Bytes> = OnceLock::new();
    let compress = || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(layer).unwrap();
        Bytes::from(encoder.finish().unwrap())
    };
    if layer == base() { BASE.get_or_init(compress).clone() } else { compress() }
}

/// The layer all images share.
fn base() -> &'static [u8] {
    static BASE: OnceLock<Vec<u8>> = OnceLock::new();
    BASE.get_or_init(|| {
        let mut layer = Layer::new();
        for directory in ["app", "bin", "dev", "etc", "proc", "root", "run", "sys", "usr", "var"] {
            layer.directory(directory, 0o755);
        }
        layer.directory("tmp", 0o1777);
        layer.file("bin/busybox", 0o755, &std::fs::read("/bin/busybox").unwrap());
        for applet in APPLETS {
            layer.link(&format!("bin/{applet}"), "busybox");
        }
        // For programs of the host, where a unit mounts its /usr.
        layer.link("lib", "usr/lib");
        layer.link("lib64", "usr/lib64");
        layer.file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n");
        layer.file("etc/group", 0o644, b"root:x:0:\napp:x:1001:\nextra:x:1002:app\n");
        layer.finish()
    })
}

/// A layer's archive, entry by entry.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn directory(&mut self, path: &str, mode: u32) {
        self.entry(tar::EntryType::Directory, path, mode, &[]);
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(tar::EntryType::Regular, path, mode, content);
    }

    /// A file that belongs to somebody else than root.
    pub(crate) fn file_of(&mut self, (uid, gid): (u64, u64), path: &str, content: &[u8]) {
        let mut header = Self::header(tar::EntryType::Regular, 0o640, content.len());
        header.set_uid(uid);
        header.set_gid(gid);
        self.0.append_data(&mut header, path, content).unwrap();
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        let mut header = Self::header(tar::EntryType::Symlink, 0o777, 0);
        self.0.append_link(&mut header, path, target).unwrap();
    }

    /// An entry of which more is to be said.
    pub(crate) fn add(&mut self, entry: &Entry) {
        entry.append(&mut self.0);
    }

    fn entry(&mut self, kind: tar::EntryType, path: &str, mode: u32, content: &[u8]) {
        let mut header = Self::header(kind, mode, content.len());
        self.0.append_data(&mut header, path, content).unwrap();
    }

    fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size as u64);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}
