//! Authentication: what a registry asks for, the credentials of this host, and tokens.

pub(super) mod challenge;
pub(super) mod credentials;
pub(super) mod file;
pub(super) mod keepers;
pub(super) mod login;
pub(super) mod program;
pub(super) mod rejections;
pub(super) mod table;
pub(super) mod token;
