//! A registry that does one thing wrong: every fault at every request of a pull. Either the image comes, and
//! it is the right one, or the pull says what failed and leaves nothing; and nobody learns a password.

mod table;

use std::sync::Mutex;
use std::time::Instant;

use serde_json::json;

use self::table::{Effect, FAULTS, Fault, edited, is_blob, is_token, status};
use crate::front::{Front, Spoil, Step, TOKEN, login, token};
use crate::host::{Host, Outcome, seconds};
use crate::image::{Image, Layer, architecture};
use crate::impostor::{Impostor, pass_on};
use crate::registry::{Access, PASSWORD, Registry};
use crate::units::{ContainerUnit, configure, version};

cases![every_fault_at_every_request_of_a_pull, a_hiccup_costs_the_service_no_update];

/// Where the registry is, and whom it may send clients to. Fronts are from `FIRST` on.
const REAL: u16 = 5001;
const OTHER: u16 = 5002;
const FIRST: u16 = 5100;

/// So many pulls at once.
const AT_ONCE: usize = 32;

/// How often it happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Times {
    Once,
    Always,
}

/// One pull in which something goes wrong.
#[derive(Clone, Copy)]
struct Trial<'a> {
    step: &'a Step,
    fault: &'a Fault,
    times: Times,
}

fn every_fault_at_every_request_of_a_pull(host: &Host) {
    let registry = Registry::start_with(host, Access::Plain, REAL);
    let noise = offer(&registry);
    let other = other();
    let steps = steps(host);
    assert_eq!(steps.len(), 7, "{steps:?}");
    let logins: serde_json::Map<String, serde_json::Value> = (FIRST..FIRST + 500)
        .map(|port| (format!("localhost:{port}"), json!({ "auth": login() })))
        .collect();
    host.write(AUTHFILE, &json!({ "auths": logins }).to_string());
    let mut trials = Vec::new();
    for step in &steps {
        for fault in FAULTS {
            trials.extend([Times::Once, Times::Always].map(|times| Trial { step, fault, times }));
        }
    }
    let count = trials.len();
    let trials = Mutex::new((FIRST + 1..).zip(trials));
    let complaints = Mutex::new(Vec::new());
    // Most of them wait, most of the time.
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = trials.lock().unwrap().next();
                    let Some((port, trial)) = next else { break };
                    if let Some(why) = trial.complaint(host, port, &noise) {
                        complaints.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let mut complaints = complaints.into_inner().unwrap();
    for request in other.heard() {
        let head = request.head.to_lowercase();
        let leaks = head.contains("authorization") || head.contains(&TOKEN.to_lowercase());
        if leaks {
            complaints.push(format!("another host has heard {}", request.head));
        }
    }
    let told = complaints.join("\n");
    assert!(complaints.is_empty(), "{} of {count}\n{told}", complaints.len());
}

const AUTHFILE: &str = "/tmp/auth.json";

/// `app:latest`, an index of one small image: its content.
fn offer(registry: &Registry<'_>) -> Vec<u8> {
    let mut noise = vec![0; 200_000];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    let mut layer = Layer::new();
    layer.file("noise", 0o644, &noise);
    let built = Image::of(layer).build();
    let blob = |kind: &str, bytes: &[u8]| {
        registry.push_blob("app", &format!("application/vnd.oci.image.{kind}"), bytes)
    };
    let mut image = registry.push_manifest(
        "app:image",
        &json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob("config.v1+json", &built.config),
            "layers": [blob("layer.v1.tar+gzip", &built.layers[0])] }),
    );
    image["platform"] = json!({ "architecture": architecture(), "os": "linux" });
    registry.push_manifest(
        "app:latest",
        &json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [image] }),
    );
    noise
}

/// Another host, which lets everybody in.
fn other() -> Impostor {
    let other = Impostor::start(OTHER);
    other.reply(|request| match request.line.starts_with("GET /token") {
        true => token().into(),
        false => pass_on(REAL, request).into(),
    });
    other
}

fn pull(host: &Host, port: u16) -> Outcome {
    let root = root(port);
    host.run(&format!(
        "updater-launch --root {root} --runroot {root}/run pull --retry 0 --tls-verify=false \
         --authfile {AUTHFILE} localhost:{port}/app:latest"
    ))
}

fn root(port: u16) -> String {
    format!("/var/lib/updaterd/{port}")
}

/// The requests of a pull in which nothing goes wrong.
fn steps(host: &Host) -> Vec<Step> {
    host.write(
        AUTHFILE,
        &format!("{{\"auths\": {{\"localhost:{FIRST}\": {{\"auth\": \"{}\"}}}}}}", login()),
    );
    let front = Front::start(FIRST, REAL);
    let pulled = pull(host, FIRST);
    assert_eq!(pulled.status, 0, "{}", pulled.describe());
    Step::all(front.requests())
}

impl Trial<'_> {
    /// Carries it out behind a front at `port`; what is not as it should be.
    fn complaint(&self, host: &Host, port: u16, noise: &[u8]) -> Option<String> {
        let Self { step, fault, times } = *self;
        let front = Front::start(port, REAL);
        let count = if times == Times::Once { 1 } else { usize::MAX };
        front.spoil(step, count, (fault.spoil)(port));
        let began = Instant::now();
        let pulled = pull(host, port);
        let (took, asked) = (began.elapsed(), front.requests().len());
        let why = if took > seconds(60) || asked > 40 {
            Some(format!("{took:?} and {asked} requests"))
        } else {
            self.told(&pulled, port).or_else(|| self.left(host, port, noise))
        };
        let (name, line, before) = (fault.name, &step.line, step.before);
        let describe =
            |why| format!("{name} at {line} ({before}), {times:?}: {why}\n{}", pulled.describe());
        why.map(describe)
    }

    /// Whether the image is to be had.
    fn comes(&self) -> bool {
        match (self.fault.effect)(self.step) {
            Effect::Harmless => true,
            Effect::Passing => self.times == Times::Once,
            Effect::Final => false,
        }
    }

    /// What is wrong with how it ended and what was said.
    fn told(&self, pulled: &Outcome, port: u16) -> Option<String> {
        let said = pulled.said();
        if [PASSWORD, TOKEN, &login()].iter().any(|secret| said.contains(secret)) {
            return Some("a secret is told".to_owned());
        }
        match (pulled.status, self.comes()) {
            (0, true) => None,
            (125, false) => {
                let image = format!("localhost:{port}");
                let mut words = (self.fault.told)(self.step).iter().copied().chain([&*image]);
                let missing = words.find(|word| !said.contains(word));
                missing.map(|word| format!("it does not say {word:?}"))
            }
            (_, comes) => Some(format!("it comes: {}", !comes)),
        }
    }

    /// What is wrong with the store.
    fn left(&self, host: &Host, port: u16, noise: &[u8]) -> Option<String> {
        let root = root(port);
        let check = host.run(&format!(
            "updater-launch --root {root} --runroot {root}/run image check
             [ ! -e {root}/tmp ] || ls -A {root}/tmp"
        ));
        let images = if self.comes() { "1 image" } else { "0 images" };
        let whole = format!("{images}, nothing is missing or damaged\n");
        if check.status != 0 || check.stdout != whole {
            return Some(format!("the store: {}", check.describe()));
        }
        let is_right = || {
            let file = host.sh(&format!("ls {root}/layers/sha256/*/noise"));
            std::fs::read(file).unwrap() == noise
        };
        (self.comes() && !is_right()).then(|| "another content".to_owned())
    }
}

/// The service has no `--retry`: what hiccups cost it are seconds.
fn a_hiccup_costs_the_service_no_update(host: &Host) {
    let registry = Registry::start_with(host, Access::Plain, REAL);
    host.write(
        "/etc/containers/registries.conf.d/5000.conf",
        "[[registry]]\nlocation = \"localhost:5000\"\ninsecure = true\n",
    );
    let auth = json!({ "auths": { "localhost:5000": { "auth": login() } } });
    host.write("/root/.config/containers/auth.json", &auth.to_string());
    let front = Front::start(5000, REAL);
    let app = "localhost:5000/app:latest";
    registry.push_index("app:latest", &Image::app("v1"), "v1");
    ContainerUnit::new("app", app).start(host);
    configure(host, "schedule = \"timer\"\nsettle = \"300ms\"\n");
    let unavailable: fn() -> Spoil = || status("503 Service Unavailable", &[], "");
    let cut: fn() -> Spoil = || edited(|_, body| body.truncate(body.len() / 2));
    let documents: fn(&Step) -> bool = |step| !is_blob(step) && !is_token(step);
    for (next, wanted, spoil) in [
        ("v2", documents, unavailable),
        ("v3", is_token, cut),
        ("v4", is_blob, unavailable),
        ("v5", is_blob, cut),
    ] {
        registry.push_index("app:latest", &Image::app(next), next);
        // Another process is looked at, which has the same to ask.
        front.requests();
        host.sh(&format!("updater-launch --root /tmp/other --runroot /tmp/run pull -q {app}"));
        let steps = Step::all(front.requests());
        let wanted: Vec<&Step> =
            steps.iter().filter(|step| step.before == 0 && wanted(step)).collect();
        assert!(!wanted.is_empty(), "{steps:?}");
        // Tokens, and what a host wants, are known to who has asked.
        host.sh("systemctl stop updaterd.service");
        wanted.iter().for_each(|step| front.spoil(step, 1, spoil()));
        host.sh("updaterctl update");
        assert_eq!(version(host, "app"), next, "{wanted:?}");
    }
}
