//! A container with all that is known of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::launch::Error;
use crate::launch::isolation::cgroup;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::place::Place;
use crate::launch::pod::definition::Pod;
use crate::launch::pod::store::Pods;
use crate::launch::storage::volumes::Volumes;
use crate::model::Digest;
use crate::model::failure::chain;
use crate::store::containers::Record;
use crate::store::health::Health;
use crate::store::{Image, Store};

/// A container, what it was made from, and its image where that is still there.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) record: Record,
    pub(crate) definition: Option<Definition>,
    pub(crate) image: Option<Rc<Image>>,
    /// Where named volumes are.
    pub(crate) volumes: Volumes,
    /// The name of its pod, where it is in one.
    pub(crate) pod: Option<String>,
    /// What its checks said last, where it has some.
    pub(crate) health: Option<Health>,
}

impl Container {
    /// The container that `word` names.
    pub(crate) fn find(place: &Place, word: &str) -> Result<Self, Error> {
        let record = containers::find(place, word)?;
        Ok(Parts::open(place)?.container(place, record))
    }

    /// All containers, in the order of their creation. What cannot be read is said, and hides
    /// nothing else.
    pub(crate) fn all(place: &Place) -> Result<Vec<Self>, Error> {
        let found = place.records().all()?;
        for problem in &found.problems {
            eprintln!("Warning: {}, ignoring", chain(problem));
        }
        let mut parts = Parts::open(place)?;
        Ok(found.records.into_iter().map(|record| parts.container(place, record)).collect())
    }

    /// Podman's word for what it does.
    pub(crate) fn state(&self) -> &'static str {
        state(&self.record)
    }

    /// Labels of the image, and the operator's, which win.
    pub(crate) fn labels(&self) -> BTreeMap<&str, &str> {
        let all = self.record.image_labels.iter().chain(&self.record.labels);
        all.map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    /// The image's ID; empty where the image is gone.
    pub(crate) fn image_id(&self) -> String {
        self.image.as_ref().map(|image| image.id.hex()).unwrap_or_default()
    }

    /// Its exit status; -1 where nobody saw its end, 0 before.
    pub(crate) fn exit_code(&self) -> i32 {
        match self.record.ended {
            Some(ended) => i32::from(ended.status),
            None if self.state() == "exited" => -1,
            None => 0,
        }
    }

    /// The process ID of its first process; 0 where it does not run.
    pub(crate) fn pid(&self) -> i32 {
        self.record.pid.filter(|process| process.is_alive()).map_or(0, |process| process.pid)
    }

    /// The process ID of its supervisor; 0 where it has none.
    pub(crate) fn supervisor(&self) -> i32 {
        let supervisor = self.record.supervisor.filter(|process| process.is_alive());
        supervisor.map_or(0, |process| process.pid)
    }
}

/// Podman's word for what a container does.
pub(crate) fn state(record: &Record) -> &'static str {
    if record.pid.is_some_and(|process| process.is_alive()) {
        match record.cgroup.as_deref().is_some_and(cgroup::is_frozen) {
            true => "paused",
            false => "running",
        }
    } else if record.supervisor.is_none() || (record.is_supervised() && record.ended.is_none()) {
        "created"
    } else {
        "exited"
    }
}

/// What containers are put together from, each image read once.
struct Parts {
    store: Store,
    pods: Vec<Pod>,
    known: BTreeMap<Digest, Option<Rc<Image>>>,
}

impl Parts {
    fn open(place: &Place) -> Result<Self, Error> {
        // Pods that cannot be read keep nobody from seeing containers.
        let pods = Pods::open(place).all().unwrap_or_default();
        Ok(Self { store: place.store()?, pods, known: BTreeMap::new() })
    }

    /// A damaged image or definition keeps nobody from seeing the container.
    fn container(&mut self, place: &Place, record: Record) -> Container {
        let manifest = &record.image.manifest;
        let image = match self.known.get(manifest) {
            Some(image) => image.clone(),
            None => {
                let image = self.store.image(manifest).ok().flatten().map(Rc::new);
                self.known.insert(manifest.clone(), image.clone());
                image
            }
        };
        let definition = Definition::read(place, &record.id).ok();
        let pod = self.pods.iter().find(|pod| record.pod.as_ref() == Some(&pod.id));
        let pod = pod.map(|pod| pod.name.clone());
        let health = place.records().health(&record.id).ok().flatten();
        Container { record, definition, image, volumes: Volumes::open(place), pod, health }
    }
}
