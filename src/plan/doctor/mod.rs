//! What is wrong with a host: from facts to findings, each with the command that mends it.

mod needs;

pub use needs::{Helper, needs};

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Plan, Reason, Sharer};
use crate::model::min_free::mebibytes;
use crate::model::{EngineKind, Scope, UnitName};

/// The timer by which Podman updates its containers itself.
pub const PODMANS_TIMER: &str = "podman-auto-update.timer";
/// Who makes passes: the service, or the timer.
pub const SERVICE: &str = "updaterd.service";
pub const TIMER: &str = "updaterd-check.timer";

/// Below this share of a disk, in per cent, and below [`SMALL`], it is nearly full.
const SHARE: u64 = 10;
/// 2 GiB: an image or two.
const SMALL: u64 = 2 << 30;

/// What was seen on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub scope: Scope,
    /// What a check found, or why there was none.
    pub plan: Result<Plan, String>,
    /// Containers with the update label that no unit owns, and whose they are.
    pub strays: Vec<(String, EngineKind)>,
    /// Units whose last update left them down, each with why.
    pub down: Vec<(UnitName, String)>,
    /// The state of units that matter to us, or why systemd could not be asked.
    pub units: Result<Vec<UnitFile>, String>,
    /// Whether a timer decides when passes are made.
    pub by_timer: bool,
    /// Whether Podman's containers are ours to look after.
    pub podman: bool,
    /// Programs that units call for, and that are not there; each with one of those units.
    pub missing: Vec<(Helper, String)>,
    /// The user whose manager ends with the last session; `None` where it stays, or is the host's.
    pub lingerless: Option<String>,
    pub volatile: Vec<Volatile>,
    /// What is wrong with the ledger, or why that cannot be said.
    pub ledger: Vec<String>,
    /// Files of the ledger that were damaged, and set aside.
    pub set_aside: Vec<PathBuf>,
    pub disks: Vec<Disk>,
    pub budgets: Vec<Budget>,
}

/// What the images may take that updaterd pulled into the storage of an engine, and what they have to, in
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub engine: EngineKind,
    pub budget: u64,
    pub needed: u64,
}

/// Whether a unit runs, and whether it does after the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    pub name: String,
    pub enabled: bool,
    pub active: bool,
}

/// Credentials that are gone after the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volatile {
    pub file: PathBuf,
    pub reader: Reader,
    /// The registries that no lasting file has credentials for.
    pub registries: Vec<String>,
    /// The file that would last, and whether there is one already.
    pub lasting: PathBuf,
    pub is_there: bool,
}

/// Who has a credentials file read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// It is one of those that are searched.
    Everybody,
    /// The variable of whoever asks here; then it is the only one.
    Caller,
    /// The variable of the service.
    Service,
    /// Labels or flags of these units' containers.
    Units(Vec<String>),
}

/// Where images lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub path: PathBuf,
    /// In bytes.
    pub free: u64,
    pub size: u64,
    /// So much is to stay free (`min_free`).
    pub reserve: u64,
    /// Whose images.
    pub engine: EngineKind,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub finding: Kind,
    /// What is wrong, in one line.
    pub what: String,
    /// The command that mends it, or that leads there.
    pub mend: String,
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing could be checked, or systemd not be asked.
    NotAsked,
    /// An engine, or a container of it, could not be read.
    Problem,
    NobodyChecks,
    PodmansTimer,
    NeedsOperator,
    NoUnit,
    InvalidPolicy,
    InvalidGroup,
    Pinned,
    CheckFailed,
    Quarantined,
    SharedTag,
    /// A container asks the registry at each start, so that its image cannot be put back.
    AsksItself,
    MissingHelper,
    NoLinger,
    VolatileCredentials,
    /// Some of what was remembered is lost.
    DamagedLedger,
    DiskNearlyFull,
    /// What has to stay is more than `disk_budget`.
    OverBudget,
}

/// All that is wrong, what keeps updates from happening first.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(nobody_checks(facts));
    found.extend(podmans_timer(facts));
    found.extend(linger(facts));
    found.extend(facts.down.iter().map(|(unit, why)| Finding {
        finding: Kind::NeedsOperator,
        what: format!("{unit} is down since its last update: {why}"),
        mend: format!("{} {unit}", journalctl(facts.scope)),
    }));
    found.extend(
        facts.strays.iter().map(|(container, engine)| stray(container, *engine, facts.scope)),
    );
    match &facts.plan {
        Ok(plan) => found.extend(of_plan(plan, facts.scope)),
        Err(why) => found.push(Finding {
            finding: Kind::NotAsked,
            what: format!("nothing could be checked: {why}"),
            mend: "updaterctl check".to_owned(),
        }),
    }
    found.extend(facts.missing.iter().map(|(helper, unit)| Finding {
        finding: Kind::MissingHelper,
        what: format!("{} is not installed, and {unit} cannot start without it", helper.program()),
        mend: format!("apt install {}", helper.package()),
    }));
    found.extend(facts.volatile.iter().map(|lost| volatile(lost, facts.scope)));
    found.extend(facts.ledger.iter().map(|what| Finding {
        finding: Kind::DamagedLedger,
        what: what.clone(),
        mend: "updaterctl update".to_owned(),
    }));
    found.extend(facts.set_aside.iter().map(|path| set_aside(path)));
    found.extend(facts.disks.iter().filter(|disk| disk.is_nearly_full()).map(disk));
    let over = |budget: &&Budget| budget.budget > 0 && budget.needed > budget.budget;
    found.extend(facts.budgets.iter().filter(over).map(over_budget));
    found
}

fn systemctl(scope: Scope) -> &'static str {
    match scope {
        Scope::System => "systemctl",
        Scope::User => "systemctl --user",
    }
}

fn journalctl(scope: Scope) -> &'static str {
    match scope {
        Scope::System => "journalctl -u",
        Scope::User => "journalctl --user -u",
    }
}

fn nobody_checks(facts: &Facts) -> Option<Finding> {
    let (scope, who) = (facts.scope, if facts.by_timer { TIMER } else { SERVICE });
    let units = match &facts.units {
        Ok(units) => units,
        Err(why) => {
            return Some(Finding {
                finding: Kind::NotAsked,
                what: format!("systemd could not be asked: {why}"),
                mend: format!("{} status", systemctl(scope)),
            });
        }
    };
    let unit = units.iter().find(|unit| unit.name == who);
    let what = match unit.map_or((false, false), |unit| (unit.enabled, unit.active)) {
        (true, true) => return None,
        (false, false) => format!("nobody checks for updates: {who} is neither enabled nor active"),
        (false, true) => format!("nobody checks after the next boot: {who} is not enabled"),
        (true, false) => format!("nobody checks for updates: {who} is not active"),
    };
    let mend = format!("{} enable --now {who} updaterd-recover.service", systemctl(scope));
    Some(Finding { finding: Kind::NobodyChecks, what, mend })
}

fn podmans_timer(facts: &Facts) -> Option<Finding> {
    let units = facts.units.as_ref().ok().filter(|_| facts.podman)?;
    let timer = units.iter().find(|unit| unit.name == PODMANS_TIMER)?;
    let is = match (timer.enabled, timer.active) {
        (false, false) => return None,
        (true, true) => "enabled and active",
        (true, false) => "enabled",
        (false, true) => "active",
    };
    Some(Finding {
        finding: Kind::PodmansTimer,
        what: format!(
            "{PODMANS_TIMER} is {is}: Podman updates beside updaterd, and remembers no bad image"
        ),
        mend: format!("{} disable --now {PODMANS_TIMER}", systemctl(facts.scope)),
    })
}

fn linger(facts: &Facts) -> Option<Finding> {
    facts.lingerless.as_ref().map(|user| Finding {
        finding: Kind::NoLinger,
        what: format!("units of {user} end with the last session, and are not started at boot"),
        mend: format!("loginctl enable-linger {user}"),
    })
}

fn stray(container: &str, engine: EngineKind, scope: Scope) -> Finding {
    let mend = match engine {
        EngineKind::Podman => format!("podman generate systemd --new --files --name {container}"),
        EngineKind::Native => {
            format!("{} edit --force --full {container}.service", systemctl(scope))
        }
    };
    Finding {
        finding: Kind::NoUnit,
        what: format!(
            "container {container} has the update label and no unit that owns it: nothing can be \
             restarted for it"
        ),
        mend,
    }
}

fn of_plan(plan: &Plan, scope: Scope) -> Vec<Finding> {
    let mut found = Vec::new();
    for problem in &plan.problems {
        found.push(Finding {
            finding: Kind::Problem,
            what: problem.to_string(),
            mend: "updaterctl check".to_owned(),
        });
    }
    for skipped in &plan.skipped {
        let unit = skipped.unit.as_ref().map_or(skipped.container.as_str(), UnitName::as_str);
        let edit = || format!("{} edit --full {unit}", systemctl(scope));
        let (finding, what, mend) = match &skipped.reason {
            Reason::Pinned => (
                Kind::Pinned,
                format!("{unit} follows {}, which will never change", skipped.reference),
                edit(),
            ),
            Reason::Quarantined { manifest, .. } => (
                Kind::Quarantined,
                format!("{unit}: {} stands for a {}", skipped.reference, skipped.reason),
                format!("updaterctl quarantine clear {}", manifest.short()),
            ),
            Reason::FailedTogether { manifest, .. } => (
                Kind::Quarantined,
                format!("{unit}: {}", skipped.reason),
                format!("updaterctl quarantine clear {}", manifest.short()),
            ),
            Reason::InvalidPolicy { .. } => {
                (Kind::InvalidPolicy, format!("{unit}: {}", skipped.reason), edit())
            }
            Reason::InvalidGroup { .. } => {
                (Kind::InvalidGroup, format!("{unit}: {}", skipped.reason), edit())
            }
            Reason::CheckFailed { .. } | Reason::CoolingDown { .. } | Reason::NotInStorage => (
                Kind::CheckFailed,
                format!("{unit}, {}: {}", skipped.reference, skipped.reason),
                format!("updaterctl why {unit}"),
            ),
            Reason::UpToDate
            | Reason::Disabled
            // What they wait for is told of by itself.
            | Reason::GroupWaits { .. }
            | Reason::WaitsForUnit { .. }
            | Reason::OnProbation { .. }
            // Whoever asks here is a person, for whom nothing is put off.
            | Reason::PutOff { .. }
            | Reason::Gated { .. }
            | Reason::BudgetSpent { .. }
            // These are told of as containers, whose engine is known.
            | Reason::NoUnit { .. }
            | Reason::Guest { .. } => continue,
        };
        found.push(Finding { finding, what, mend });
    }
    found.extend(plan.warnings.iter().map(shared));
    found.extend(plan.asking.iter().map(|asker| Finding {
        finding: Kind::AsksItself,
        what: asker.to_string(),
        mend: format!("{} edit --full {}", systemctl(scope), asker.unit),
    }));
    found
}

fn shared(sharer: &Sharer) -> Finding {
    let Sharer { container, reference, .. } = sharer;
    let mend = format!("podman tag {reference} localhost/{container}:own");
    Finding { finding: Kind::SharedTag, what: sharer.to_string(), mend }
}

fn volatile(volatile: &Volatile, scope: Scope) -> Finding {
    let Volatile { file, reader, registries, lasting, is_there } = volatile;
    let first = registries.first().map_or("REGISTRY", String::as_str);
    let copy = match is_there {
        true => format!("updater-launch login --authfile {} {first}", lasting.display()),
        false => format!("install -D -m 600 {} {}", file.display(), lasting.display()),
    };
    // A file that is named is the only one that is read: whoever names it has to name another.
    let edit = systemctl(scope);
    let (who, mend) = match reader {
        Reader::Everybody => (String::new(), copy),
        Reader::Caller => (
            ", which REGISTRY_AUTH_FILE names here,".to_owned(),
            format!("{copy} && export REGISTRY_AUTH_FILE={}", lasting.display()),
        ),
        Reader::Service => (
            format!(", which REGISTRY_AUTH_FILE of {SERVICE} names,"),
            format!("{copy} && {edit} edit {SERVICE}"),
        ),
        Reader::Units(units) => (
            format!(", which {} names,", units.join(", ")),
            format!("{copy} && {edit} edit --full {}", units.join(" ")),
        ),
    };
    let gone = if who.is_empty() { ", which is" } else { " and are" };
    Finding {
        finding: Kind::VolatileCredentials,
        what: format!(
            "credentials for {} are in {} only{who}{gone} gone after the next boot",
            registries.join(", "),
            file.display(),
        ),
        mend,
    }
}

fn set_aside(path: &Path) -> Finding {
    Finding {
        finding: Kind::DamagedLedger,
        what: format!(
            "{} was damaged, and what it said is lost to the ledger: look at it, and remove it",
            path.display()
        ),
        mend: format!("rm {}", path.display()),
    }
}

impl Disk {
    fn is_nearly_full(&self) -> bool {
        self.is_below_reserve() || (self.free < SMALL && self.free < self.size / 100 * SHARE)
    }

    fn is_below_reserve(&self) -> bool {
        self.free < self.reserve
    }
}

fn over_budget(Budget { engine, budget, needed }: &Budget) -> Finding {
    Finding {
        finding: Kind::OverBudget,
        what: format!(
            "the images of {engine} that units run or may go back to take {}, and disk_budget is {}: \
             allow more, or keep_images less",
            mebibytes(*needed),
            mebibytes(*budget)
        ),
        mend: "man updaterd.toml".to_owned(),
    }
}

fn disk(disk: &Disk) -> Finding {
    let mend = match disk.engine {
        EngineKind::Native => "updater-launch image prune --all",
        EngineKind::Podman => "podman image prune",
    };
    let why = match disk.is_below_reserve() {
        true => format!(", less than min_free, {}: pulls are refused", mebibytes(disk.reserve)),
        false => ": pulls are about to fail".to_owned(),
    };
    Finding {
        finding: Kind::DiskNearlyFull,
        what: format!("{} MiB are free where {} lies{why}", disk.free >> 20, disk.path.display()),
        mend: mend.to_owned(),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.what, self.mend)
    }
}

#[cfg(test)]
mod tests;
