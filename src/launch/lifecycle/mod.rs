//! From a command line to a container that is gone: its definition, name and image, its start, its
//! end, and what is left of it on the host meanwhile.

pub(crate) mod choose;
pub(crate) mod containers;
pub(crate) mod detach;
pub(crate) mod name;
pub(crate) mod traces;
