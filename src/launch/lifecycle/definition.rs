//! What a container is made from, kept as long as the container: for its next start, also after a
//! reboot.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::launch::args::{Create, LogDriver};
use crate::launch::lifecycle::restart::Policy;
use crate::launch::lifecycle::{asked, name};
use crate::launch::logs;
use crate::launch::place::Place;
use crate::launch::pod::definition::Pod;
use crate::launch::process::systemd;
use crate::launch::runtime::Runtime;
use crate::launch::storage::settle;
use crate::launch::storage::volume::Volume;
use crate::launch::supervise::{output, signal};
use crate::launch::{Error, host_environment, network, userns};
use crate::model::{ContainerId, Scope};
use crate::store::containers::Record;
use crate::store::{Image, is_lost};

/// The largest definition read, in bytes: labels, an environment and a command can be long.
const MAX: u64 = 4 * 1024 * 1024;

/// A container's definition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// The flags it was made with; nothing in them depends on who reads them, or where.
    pub(crate) create: Create,
    /// The command line it was made with, from the verb on.
    pub(crate) arguments: Vec<String>,
    /// What is mounted into it: also what other containers and its image had when it was made.
    pub(crate) volumes: Vec<Volume>,
    /// Its record: as it was made, or as it last ended.
    pub(crate) record: Record,
}

impl Definition {
    /// A new container of `image`, which has neither supervisor nor unit yet.
    pub(crate) fn new(
        place: &Place,
        mut create: Create,
        image: &Image,
        pod: Option<&Pod>,
    ) -> Result<Self, Error> {
        asked::health(&create, image)?;
        let config = image.config.config().clone().unwrap_or_default();
        let command = asked::command(&create, &config)?;
        let is_systemd = asked::is_systemd(&create, &command)?;
        let stop_signal = create.service.stop_signal.clone().or(config.stop_signal().clone());
        let stop_signal = match stop_signal {
            Some(signal) => signal,
            None if is_systemd => systemd::STOP_SIGNAL.to_owned(),
            None => "SIGTERM".to_owned(),
        };
        signal::parse(&stop_signal)?;
        let id =
            name::new_id().ok_or_else(|| Error::system("make an ID", std::io::ErrorKind::Other))?;
        let name = create.identity.name.get_or_insert_with(|| format!("container-{}", id.short()));
        network::expose::publish_all(
            &mut create.network,
            &create.expose,
            config.exposed_ports().as_deref().unwrap_or_default(),
        )?;
        let declared = config.volumes().as_deref().unwrap_or_default();
        let volumes = settle::settle(place, &create.storage, declared)?;
        let mut record = Record {
            allotted: None,
            name: name.clone(),
            reference: create.image.parse()?,
            authfile: create.source.registry.authfile.clone(),
            pod: pod.map(|pod| pod.id.clone()),
            image: image.identity.clone(),
            labels: asked::labels(&create.identity.label)?,
            image_labels: config.labels().clone().unwrap_or_default().into_iter().collect(),
            unit: None,
            host: None,
            supervisor: None,
            pid: None,
            cgroup: None,
            command,
            created: Timestamp::now(),
            started: None,
            ended: None,
            restarts: 0,
            rootfs: place.records().directory(&id).join("rootfs"),
            stop_signal,
            stop_timeout: create.service.stop_timeout,
            log_driver: output::name(create.service.log_driver).to_owned(),
            volumes: settle::used(&volumes),
            mounted_images: settle::images(&volumes),
            log: logs::options::parse(&create.service.log_opt, create.service.log_driver)?,
            remove: create.identity.rm,
            cidfile: create.identity.cidfile.clone(),
            id,
        };
        logs::options::settle(&mut record, place)?;
        let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into());
        Ok(Self { create, arguments: arguments.collect(), volumes, record })
    }

    /// Replaces the file as a whole. One that goes with its end need not outlast a power cut, unless
    /// it names volumes that have to go, too.
    pub(crate) fn write(&self, place: &Place) -> Result<(), Error> {
        let path = file(place, &self.record.id);
        let bytes = serde_json::to_vec(self).map_err(Error::Json)?;
        let leaves = self.record.volumes.iter().any(|volume| volume.anonymous);
        let written = match self.record.remove && !leaves {
            true => std::fs::write(&path, bytes),
            false => disk::replace(&path, &bytes),
        };
        written.map_err(|source| Error::file("write", path, source))
    }

    /// # Errors
    /// Where there is none, too.
    pub(crate) fn read(place: &Place, id: &ContainerId) -> Result<Self, Error> {
        let path = file(place, id);
        let bytes = disk::read(&path, MAX).map_err(|source| Error::file("read", &path, source))?;
        let bytes = bytes.filter(|bytes| !is_lost(bytes));
        let bytes = bytes.ok_or_else(|| Error::NoDefinition(id.short().to_owned()))?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Document { path, source })
    }
}

fn file(place: &Place, id: &ContainerId) -> PathBuf {
    place.writable(id).join("definition.json")
}

impl Create {
    /// The same, but for what depends on the caller: its environment, and its directory.
    pub(crate) fn settled(&self) -> Result<Self, Error> {
        let mut settled = self.clone();
        let host = host_environment();
        settled.program.env =
            asked::environment(&self.program, self.environment.http_proxy, &host)?;
        settled.program.env_file = Vec::new();
        if self.environment.env_host {
            settled.environment.host =
                host.iter().map(|(name, value)| format!("{name}={value}")).collect();
        }
        settled.identity.label = asked::labels_of(&self.identity.label_file)?;
        settled.identity.label.extend_from_slice(&self.identity.label);
        settled.identity.label_file = Vec::new();
        make_absolute(&mut settled.source.registry.authfile)?;
        if let Some(path) = &settled.source.registry.authfile {
            // Also where nothing is pulled now: updaterd asks the registry with it later.
            std::fs::metadata(path)
                .map_err(|source| Error::file("use the credentials file", path, source))?;
        }
        make_absolute(&mut settled.identity.cidfile)?;
        for option in &mut settled.service.log_opt {
            *option = asked::absolute_log(option)?;
        }
        make_absolute(&mut settled.process.conmon_pidfile)?;
        make_absolute(&mut settled.process.pidfile)?;
        make_absolute(&mut settled.process.init_path)?;
        if settled.identity.rm && settled.process.restart != Policy::No {
            return Err(Error::RemoveOrRestart);
        }
        Runtime::named(settled.process.runtime.as_deref())?;
        let passthrough = settled.service.log_driver == Some(LogDriver::Passthrough);
        if settled.process.tty && passthrough {
            return Err(Error::PassthroughTerminal);
        }
        make_absolute(&mut settled.identity.pod_id_file)?;
        for option in &mut settled.isolation.security_opt {
            *option = asked::absolute_profile(option)?;
        }
        for volume in &mut settled.storage.volume {
            *volume = asked::absolute_source(volume)?;
        }
        settled.network = network::join::settled(&self.network)?;
        let asked = asked::Asked::read(&settled)?;
        // Before an ordinary user is root of anything.
        asked.users.check(Scope::current()).map_err(userns::Error::from)?;
        asked.storage.look()?;
        Ok(settled)
    }
}

fn make_absolute(path: &mut Option<PathBuf>) -> Result<(), Error> {
    if let Some(path) = path {
        *path = asked::absolute(path)?;
    }
    Ok(())
}
