//! `--blkio-weight*` and `--device-*-bps`, `--device-*-iops`. Pure.

use std::fmt;
use std::io;
use std::path::Path;

use crate::launch::isolation::resources::{InvalidLimit, size};

/// A device, and what it is limited to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) number: Number,
    pub(super) rate: u64,
}

/// Major and minor number, as `io.max` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(u32, u32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

impl Device {
    /// `PATH:RATE`; a rate in bytes may have a unit.
    pub(super) fn read(
        flag: &'static str,
        text: &str,
        number: &impl Fn(&Path) -> io::Result<Option<(u32, u32)>>,
    ) -> Result<Self, InvalidLimit> {
        let invalid = || {
            let wanted = "PATH:RATE with a path from the root and a rate above 0";
            InvalidLimit::Value { flag, value: text.to_owned(), wanted }
        };
        let (path, rate) = text.rsplit_once(':').ok_or_else(invalid)?;
        let in_bytes = flag.ends_with("bps");
        let rate = if in_bytes { size::parse_bytes(rate) } else { rate.parse().ok() };
        let rate = rate.filter(|rate| *rate > 0 && path.starts_with('/')).ok_or_else(invalid)?;
        let no_device = |source| InvalidLimit::NoDevice { flag, path: path.into(), source };
        let found = number(Path::new(path)).map_err(|error| no_device(Some(error)))?;
        let (major, minor) = found.ok_or_else(|| no_device(None))?;
        Ok(Self { number: Number(major, minor), rate })
    }
}

/// A weight of 10 to 1000.
pub(super) fn weight(flag: &'static str, weight: u64) -> Result<u64, InvalidLimit> {
    let wanted = "a weight from 10 to 1000";
    let valid = (10..=1000).contains(&weight).then_some(weight);
    valid.ok_or_else(|| InvalidLimit::Value { flag, value: weight.to_string(), wanted })
}

/// For the scheduler BFQ as it is, else for `io.weight`, which goes from 1 to 10000 (crun(1)).
pub(super) fn weights(device: &str, weight: u64) -> Vec<(String, String)> {
    let wide = 1 + (weight - 10) * 9999 / 990;
    vec![
        ("io.bfq.weight".to_owned(), format!("{device}{weight}")),
        ("io.weight".to_owned(), format!("{device}{wide}")),
    ]
}
