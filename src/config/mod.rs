//! Configuration in three steps: fragments as they are written ([`fragment`]), merged by precedence
//! ([`fragment::Fragment::over`]), and [`Settings`] that are whole and valid. [`load`] is the one
//! that reads the disk; which files count is in updaterd.toml(5).

mod error;
mod files;
mod fragment;
mod scope;
mod settings;
mod value;

pub use error::Error;
pub use scope::{Paths, Scope};
pub use settings::{
    NotifySettings, PodmanSettings, RegistrySettings, Schedule, Settings, UnitSettings, Webhook,
};

use std::path::Path;

use fragment::Fragment;

/// Reads the configuration of the host or of the calling user.
///
/// # Errors
/// Where a file cannot be read, or a key or a value in one is not as updaterd.toml(5) says: with
/// file, line and column.
pub fn load(scope: Scope) -> Result<Settings, Error> {
    let dirs = scope.configuration_dirs()?;
    load_from(&dirs, Paths::of(scope)?)
}

/// Reads what lies in `dirs`, the first of which counts most.
fn load_from(dirs: &[impl AsRef<Path>], paths: Paths) -> Result<Settings, Error> {
    let mut merged = Fragment::default();
    for file in files::find(dirs)? {
        merged = Fragment::parse(&file.path, &file.text)?.over(merged);
    }
    Ok(Settings::new(merged, paths))
}

#[cfg(test)]
mod tests;
