//! One file for each command.

pub(super) mod exec;
pub(super) mod images;
pub(super) mod inspect;
pub(super) mod logs;
pub(super) mod ps;
pub(super) mod pull;
pub(super) mod rm;
pub(super) mod run;
pub(super) mod stop;
pub(super) mod tag;
