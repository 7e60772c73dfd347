//! Whether units are enabled and active: for who asks once, and changes nothing.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, proxy};

use super::{Error, environment_file, private};

/// How much of an environment file is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait UnitFiles {
    fn get_unit_file_state(&self, name: &str) -> zbus::Result<String>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
}

#[proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait LoadedUnit {
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
}

#[proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1"
)]
trait LoadedService {
    #[zbus(property)]
    fn environment(&self) -> zbus::Result<Vec<String>>;
    /// Each with whether it may be missing.
    #[zbus(property)]
    fn environment_files(&self) -> zbus::Result<Vec<(String, bool)>>;
    #[zbus(property)]
    fn unset_environment(&self) -> zbus::Result<Vec<String>>;
}

/// The state of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// As `systemctl is-enabled` has it; empty where there is no such unit.
    pub enabled: String,
    /// As `systemctl is-active` has it.
    pub active: String,
}

/// A manager that is asked of its units.
#[derive(Debug)]
pub struct UnitStates {
    connection: Connection,
    systemd: UnitFilesProxy<'static>,
}

impl UnitStates {
    /// Over a bus.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn over(connection: Connection) -> Result<Self, Error> {
        let systemd = UnitFilesProxy::builder(&connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(|source| failed("Introspect", "the manager", source))?;
        Ok(Self { connection, systemd })
    }

    /// Over systemd's own socket, where there is no bus.
    ///
    /// # Errors
    /// Where no systemd listens there.
    pub async fn without_bus(socket: &Path) -> Result<Self, Error> {
        Self::over(private::connect(socket).await?).await
    }

    /// The state of `unit`, whether it is there or not.
    ///
    /// # Errors
    /// Where systemd cannot be asked.
    pub async fn of(&self, unit: &str) -> Result<State, Error> {
        // No such file is an error of its own there; whether systemd answers at all, the next call says.
        let enabled = self.systemd.get_unit_file_state(unit).await.unwrap_or_default();
        let path = self.systemd.load_unit(unit).await;
        let path = path.map_err(|source| failed("LoadUnit", unit, source))?;
        let loaded = LoadedUnitProxy::builder(&self.connection)
            .path(path)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(|source| failed("LoadUnit", unit, source))?;
        let active = loaded.active_state().await;
        Ok(State { enabled, active: active.map_err(|source| failed("Get", unit, source))? })
    }
}

impl UnitStates {
    /// A variable that the unit file of the service `unit` sets: the files that it names count more than
    /// itself, and what it takes away, most (systemd.exec(5)). A file that cannot be read sets nothing.
    ///
    /// # Errors
    /// Where systemd cannot be asked.
    pub async fn variable(&self, unit: &str, name: &str) -> Result<Option<String>, Error> {
        let path = self.systemd.load_unit(unit).await;
        let path = path.map_err(|source| failed("LoadUnit", unit, source))?;
        let service = LoadedServiceProxy::builder(&self.connection)
            .path(path)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(|source| failed("LoadUnit", unit, source))?;
        let failed = |source| failed("Get", unit, source);
        let set = service.environment().await.map_err(failed)?;
        let files = service.environment_files().await.map_err(failed)?;
        let unset = service.unset_environment().await.map_err(failed)?;
        let own = set.iter().rev().find_map(|set| set.strip_prefix(name)?.strip_prefix('='));
        let in_files = files.iter().rev().find_map(|(pattern, _)| in_files(pattern, name));
        let value = in_files.or_else(|| own.map(str::to_owned)).filter(|value| {
            let away = |it: &String| it == name || *it == format!("{name}={value}");
            !value.is_empty() && !unset.iter().any(away)
        });
        Ok(value)
    }
}

/// The value that the last of the files has that an `EnvironmentFile=` is a pattern of.
fn in_files(pattern: &str, name: &str) -> Option<String> {
    let files: Vec<_> = glob::glob(pattern).ok()?.flatten().collect();
    files.iter().rev().find_map(|path| {
        let mut text = String::new();
        let file = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        if let Err(cause) = file {
            tracing::debug!(path = %path.display(), %cause, "an environment file, ignoring");
        }
        environment_file::value(&text, name)
    })
}

fn failed(call: &'static str, unit: &str, source: zbus::Error) -> Error {
    Error::Call { call, unit: unit.to_owned(), source }
}
