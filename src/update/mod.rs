//! The pipeline of one pass over ports: discover, check, plan, stage, promote, restart, verify,
//! commit or roll back, record.
//!
//! What must not live here: any call to a registry, a store, systemd or a disk but through
//! [`port`]; any choice that [`crate::plan`] can make.

mod ask;
mod check;
mod conclude;
mod dependents;
pub mod event;
mod execute;
mod give;
mod group;
mod hindered;
mod logs;
mod options;
pub mod port;
mod recall;
mod ration;
mod release;
mod probation;
pub mod report;
mod restart;
mod retain;
mod rollback;
mod stage;
mod turns;
mod under_way;
mod updater;
mod verify;

pub use ask::Hosts;
pub use check::Surveyed;
pub use event::{Event, EventKind, Origin};
pub use options::{Options, UnitOptions};
pub use report::{Entry, Excerpt, Outcome, OutcomeKind, Report, Trigger};
pub use updater::Updater;

#[cfg(test)]
mod tests;
