//! What running containers use, read from the kernel: processes ([`processes`]) and resources
//! ([`usage`]).

pub(crate) mod processes;
pub(crate) mod usage;
