//! What is seen on the host for `updaterctl doctor`: [`crate::plan::doctor`] says what of it is wrong.
//!
//! What must not live here: judgement. What cannot be looked at is left out, unless its absence is a
//! finding.

mod credentials;
mod programs;
mod users;

use std::path::{Path, PathBuf};

use super::api::{Checked, UnitStatus};
use super::host::connect;
use crate::config::{Schedule, Scope, Settings};
use crate::ledger::Ledger;
use crate::model::failure::chain;
use crate::model::{EngineKind, MinFree};
use crate::plan::doctor::{Budget, Disk, Facts, PODMANS_TIMER, SERVICE, TIMER, UnitFile};
use crate::plan::{Reason, decide::Skipped};
use crate::store::Store;
use crate::systemd::unit_files::{State, UnitStates};
use crate::systemd::{self, private};

/// Looks at the host. `checked` is what a check found, or why there was none; `containers` is what
/// runs.
pub async fn gather(
    scope: Scope,
    settings: &Settings,
    checked: Result<Checked, String>,
    containers: &[UnitStatus],
) -> Facts {
    let (plan, down) = match checked {
        Ok(Checked { plan, not_running, .. }) => (Ok(plan), not_running),
        Err(why) => (Err(why), vec![]),
    };
    let ledger = Ledger::new(&settings.paths.state.join("ledger"));
    // A check says what is damaged; without one it is said here.
    let damage = match plan {
        Ok(_) => vec![],
        Err(_) => ledger.damage().unwrap_or_else(|error| vec![chain(&error)]),
    };
    let skipped = plan.as_ref().map(|plan| plan.skipped.as_slice()).unwrap_or_default();
    let (units, of_service) = match units(scope).await {
        Ok((units, authfile)) => (Ok(units), authfile),
        Err(error) => (Err(chain(&error)), None),
    };
    Facts {
        scope,
        strays: strays(skipped, containers),
        plan,
        down: down.into_iter().filter_map(|lost| Some((lost.unit?, lost.detail))).collect(),
        units,
        by_timer: settings.schedule == Schedule::Timer,
        podman: settings.podman.is_some(),
        missing: programs::missing(scope),
        lingerless: users::lingerless(scope),
        volatile: credentials::volatile(of_service, containers),
        ledger: damage,
        set_aside: ledger.set_aside(),
        disks: disks(scope, settings),
        budgets: budgets(settings),
    }
}

/// Containers that no unit owns, with the engine that has them.
fn strays(skipped: &[Skipped], containers: &[UnitStatus]) -> Vec<(String, EngineKind)> {
    let unowned = |reason: &Reason| matches!(reason, Reason::NoUnit { .. } | Reason::Guest { .. });
    let engine = |name: &str| {
        let mut running = containers.iter().filter_map(|status| status.running.as_ref());
        running.find(|running| running.container == name).map(|running| running.engine)
    };
    let strays = skipped.iter().filter(|skipped| unowned(&skipped.reason));
    strays.filter_map(|stray| Some((stray.container.clone(), engine(&stray.container)?))).collect()
}

/// The units that matter to us, and the credentials file that the service is told to read.
async fn units(scope: Scope) -> Result<(Vec<UnitFile>, Option<PathBuf>), systemd::Error> {
    let systemd = match connect(scope).await {
        Ok(connection) => UnitStates::over(connection).await?,
        Err(error) => match scope.runtime_dir() {
            Ok(run) => UnitStates::without_bus(&private::socket(&run)).await?,
            Err(_) => return Err(error),
        },
    };
    let mut found = Vec::new();
    for name in [SERVICE, TIMER, PODMANS_TIMER] {
        let State { enabled, active } = systemd.of(name).await?;
        found.push(UnitFile {
            name: name.to_owned(),
            enabled: enabled.starts_with("enabled"),
            active: matches!(active.as_str(), "active" | "activating" | "reloading"),
        });
    }
    let authfile = systemd.variable(SERVICE, "REGISTRY_AUTH_FILE").await?;
    Ok((found, authfile.map(PathBuf::from)))
}

/// What images take, as the last pass found it; nothing where that cannot be read.
fn budgets(settings: &Settings) -> Vec<Budget> {
    let needed = Store::open(&settings.paths.state).and_then(|store| store.needed_at_least());
    let budget = settings.disk_budget;
    let is_on = |engine| engine != EngineKind::Podman || settings.podman.is_some();
    let needed = needed.unwrap_or_default().into_iter().filter(|(engine, _)| is_on(*engine));
    needed.map(|(engine, needed)| Budget { engine, budget, needed }).collect()
}

/// The disks that images lie on. What is not there yet will lie on its nearest ancestor's.
fn disks(scope: Scope, settings: &Settings) -> Vec<Disk> {
    let podmans = PathBuf::from("/var/lib/containers/storage");
    let own = (settings.paths.state.clone(), EngineKind::Native);
    let mut places = vec![own];
    if scope == Scope::System && settings.podman.is_some() && podmans.is_dir() {
        places.push((podmans, EngineKind::Podman));
    }
    places.into_iter().filter_map(|(path, engine)| disk(path, engine, settings.min_free)).collect()
}

fn disk(path: PathBuf, engine: EngineKind, min_free: MinFree) -> Option<Disk> {
    let there = path.ancestors().find(|path| path.exists()).map(Path::to_owned)?;
    let seen = rustix::fs::statvfs(&there).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
    let (free, size) = (bytes(seen.f_bavail), bytes(seen.f_blocks));
    Some(Disk { free, size, reserve: min_free.of(size), path, engine })
}
