//! The core: what to do, and what to do next. Pure: no IO, no clock, no async.
//!
//! [`decide`] turns what was found into a [`Plan`]; [`rollout`] is the state machine that carries
//! one rollout of it to its end. Both are data and functions of data: whoever prints, tests or
//! executes them sees the same thing.
#![deny(clippy::disallowed_methods)]

pub mod absence;
pub mod approval;
pub mod back;
pub mod back_refusal;
pub mod backoff;
pub mod budget;
pub mod decide;
pub mod doctor;
pub mod fair_queue;
pub mod gate;
pub mod group;
pub mod hold;
pub mod memory;
pub mod order;
pub mod probation;
pub mod put_off;
pub mod quarantine;
pub mod reason;
pub mod registries;
pub mod retention;
pub mod rollout;
pub mod seen;
pub mod sharer;
pub mod watch;

pub use approval::{Approval, Approvals};
pub use backoff::Backoff;
pub use budget::{Allowance, Budget};
pub use decide::{Available, Input, Plan, decide};
pub use fair_queue::FairQueue;
pub use gate::{Gate, Gates};
pub use group::Groups;
pub use hold::{Hold, Holds};
pub use memory::Memory;
pub use order::{Followers, Graph, Turn, order};
pub use put_off::{PutOff, PutOffs};
pub use quarantine::{Beside, Quarantine, Quarantined};
pub use reason::Reason;
pub use registries::Registries;
pub use rollout::cause::{Cause, JobResult};
pub use rollout::{Rollout, Step};
pub use sharer::{Sharer, Sharing};
pub use watch::Watch;
