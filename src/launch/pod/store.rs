//! Pods on disk: definitions below the state directory, states below the running state.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::launch::Error;
use crate::launch::place::Place;
use crate::launch::pod;
use crate::launch::pod::definition::Pod;
use crate::model::ContainerId;
use crate::model::failure::chain;
use crate::store::containers::Process;

/// The largest document read, in bytes.
const MAX: u64 = 1024 * 1024;

/// A pod that runs, or ran and was not stopped in good order.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct State {
    /// The process that waits for the pod: its unit's main process.
    pub(crate) supervisor: Process,
    /// The process that holds the namespaces; `None` before it does.
    #[serde(default)]
    pub(crate) infra: Option<Process>,
    pub(crate) started: Timestamp,
}

impl State {
    /// Whether containers can join.
    pub(crate) fn is_running(&self) -> bool {
        self.infra.is_some_and(|infra| infra.is_alive())
    }

    /// Whether the pod runs or is being started.
    pub(crate) fn is_supervised(&self) -> bool {
        self.supervisor.is_alive()
    }
}

/// The pods of one place.
#[derive(Debug)]
pub(crate) struct Pods {
    definitions: PathBuf,
    states: PathBuf,
}

impl Pods {
    pub(crate) fn open(place: &Place) -> Self {
        Self { definitions: place.state.join("pods"), states: place.run.join("pods") }
    }

    /// All pods, in the order of their creation. One that cannot be read is told of, and left out.
    pub(crate) fn all(&self) -> Result<Vec<Pod>, Error> {
        let entries = match std::fs::read_dir(&self.definitions) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| Error::file("list", &self.definitions, source))?,
        };
        let mut pods: Vec<Pod> = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            let Some(id) = id else { continue };
            match self.get(&id) {
                Ok(pod) => pods.extend(pod),
                Err(error) => eprintln!("Warning: {}, ignoring", chain(&error)),
            }
        }
        pods.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(pods)
    }

    pub(crate) fn get(&self, id: &ContainerId) -> Result<Option<Pod>, Error> {
        read(&self.definition(id))
    }

    /// The pod that `word` names: by name, ID, or the beginning of an ID.
    pub(crate) fn find(&self, word: &str) -> Result<Pod, Error> {
        let pods = self.all()?;
        if let Some(named) = pods.iter().find(|pod| pod.name == word) {
            return Ok(named.clone());
        }
        let mut matching = pods.into_iter().filter(|pod| pod.id.as_str().starts_with(word));
        match (word.is_empty(), matching.next(), matching.next()) {
            (false, Some(pod), None) => Ok(pod),
            (false, Some(_), Some(_)) => Err(pod::Error::Ambiguous(word.to_owned()).into()),
            _ => Err(pod::Error::NoSuchPod(word.to_owned()).into()),
        }
    }

    /// The pods of a command line: words, and files that hold an ID. With `ignore`, what is not
    /// there is left out.
    pub(crate) fn select(
        &self,
        words: &[String],
        id_files: &[PathBuf],
        ignore: bool,
    ) -> Result<Vec<Pod>, Error> {
        let mut wanted = words.to_vec();
        for path in id_files {
            match std::fs::read_to_string(path) {
                Ok(text) => wanted.push(text.trim().to_owned()),
                Err(error) if ignore && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::file("read", path, source)),
            }
        }
        let mut found = Vec::new();
        for word in wanted {
            match self.find(&word) {
                Ok(pod) => found.push(pod),
                Err(Error::Pod(pod::Error::NoSuchPod(_))) if ignore => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    pub(crate) fn write(&self, pod: &Pod) -> Result<(), Error> {
        write(&self.definition(&pod.id), pod)
    }

    /// Removes all of a pod but its members; what is not there is no error.
    pub(crate) fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        self.stopped(id)?;
        let path = self.definition(id);
        disk::remove(&path).map_err(|source| Error::file("remove", path, source))
    }

    /// What of the pod runs; `None` where nothing does.
    pub(crate) fn state(&self, id: &ContainerId) -> Result<Option<State>, Error> {
        read(&self.directory(id).join("state.json"))
    }

    pub(crate) fn write_state(&self, id: &ContainerId, state: &State) -> Result<(), Error> {
        write(&self.directory(id).join("state.json"), state)
    }

    /// Forgets what ran of a pod.
    pub(crate) fn stopped(&self, id: &ContainerId) -> Result<(), Error> {
        let path = self.directory(id);
        disk::remove_tree(&path).map_err(|source| Error::file("remove", path, source))
    }

    /// The pod's directory while it runs, for files of its members.
    pub(crate) fn directory(&self, id: &ContainerId) -> PathBuf {
        self.states.join(id.as_str())
    }

    fn definition(&self, id: &ContainerId) -> PathBuf {
        self.definitions.join(format!("{id}.json"))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let bytes = disk::read(path, MAX).map_err(|source| Error::file("read", path, source))?;
    let parse = |bytes: Vec<u8>| {
        serde_json::from_slice(&bytes)
            .map_err(|source| Error::Document { path: path.to_owned(), source })
    };
    bytes.map(parse).transpose()
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let failed = |source| Error::file("write", path, source);
    if let Some(parent) = path.parent() {
        disk::make_private(parent).map_err(failed)?;
    }
    let bytes = serde_json::to_vec(value).map_err(Error::Json)?;
    disk::replace(path, &bytes).map_err(failed)
}
