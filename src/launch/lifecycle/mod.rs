//! From a command line to a container that is gone: its definition, name and image, its start, its
//! end, and what is left of it on the host meanwhile.

pub(crate) mod asked;
pub(crate) mod beside;
pub(crate) mod choose;
pub(crate) mod confine;
pub(crate) mod containers;
pub(crate) mod definition;
pub(crate) mod describe;
pub(crate) mod detach;
pub(crate) mod enter;
pub(crate) mod guest;
pub(crate) mod name;
pub(crate) mod restart;
pub(crate) mod selection;
pub(crate) mod people;
pub(crate) mod readiness;
pub(crate) mod session;
pub(crate) mod start;
pub(crate) mod surroundings;
pub(crate) mod traces;
