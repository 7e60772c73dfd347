//! The form of all that is written: JSON with the version of its schema, and a checksum.
//!
//! What was written before there were versions has neither; it is read, and written anew.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::Digest;

/// The version of what is written. 1 is what has none; 2 has it, and checksums.
///
/// It is raised where an earlier version would read what is written and do something else than is
/// meant. A field that is added to what is in flight is refused there as it is, for it may be what a
/// unit must not be restarted without; what is added to an entry or to what checks learnt is left out
/// there, and nothing is lost but that.
pub(super) const SCHEMA: u32 = 2;

/// What is wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("it is no document of the ledger")]
    Syntax(#[from] serde_json::Error),
    #[error("its content does not have the checksum that was written with it")]
    Checksum,
    #[error("it cannot be read whole")]
    Size(#[source] io::Error),
    /// Not damaged: not ours to judge.
    #[error("it has schema {0}")]
    Newer(u32),
    /// Nor is this damaged: its checksum is right.
    #[error("it is whole, and says what this version does not know")]
    Foreign(#[source] serde_json::Error),
}

impl Fault {
    /// Whether another version wrote it, and may need it.
    pub(super) fn is_of_another_version(&self) -> bool {
        matches!(self, Self::Newer(_) | Self::Foreign(_))
    }
}

#[derive(Serialize)]
struct Sealed<'a> {
    schema: u32,
    sum: String,
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Opened<'a> {
    schema: Option<u32>,
    sum: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

/// One line, without its end.
pub(super) fn seal<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let content = serde_json::value::to_raw_value(value)?;
    let sum = sum(SCHEMA, content.get());
    serde_json::to_vec(&Sealed { schema: SCHEMA, sum, content: &content })
}

fn sum(schema: u32, content: &str) -> String {
    Digest::of(format!("{schema} {content}").as_bytes()).short()
}

/// What a document says, and the schema it is written in.
pub(super) fn open<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, u32), Fault> {
    let is_object = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if is_object
        && let Opened { schema: Some(schema), sum, content } = serde_json::from_slice(bytes)?
    {
        let Some(content) = content else { return Err(missing(schema)) };
        return match sum {
            None => Err(missing(schema)),
            Some(written) if written != self::sum(schema, content.get()) => Err(Fault::Checksum),
            Some(_) if schema > SCHEMA => Err(Fault::Newer(schema)),
            Some(_) => {
                let value = serde_json::from_str(content.get()).map_err(Fault::Foreign)?;
                Ok((value, schema))
            }
        };
    }
    Ok((serde_json::from_slice(bytes)?, 1))
}

/// What it means that something of the form is missing: a later schema may have another one.
fn missing(schema: u32) -> Fault {
    if schema > SCHEMA { Fault::Newer(schema) } else { Fault::Checksum }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_sealed_is_opened_and_no_bit_may_change() {
        let value = vec!["one".to_owned(), "two".to_owned()];
        let sealed = seal(&value).unwrap();
        assert_eq!(open::<Vec<String>>(&sealed).unwrap(), (value, SCHEMA));
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                assert!(open::<Vec<String>>(&damaged).is_err(), "byte {at}, bit {bit}");
            }
            assert!(open::<Vec<String>>(&sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_schemas_are_told_apart() {
        assert_eq!(open::<Vec<u8>>(b" [1, 2]").unwrap(), (vec![1, 2], 1));
        let newer = br#"{"schema":3,"other":"form"}"#;
        assert!(matches!(open::<Vec<u8>>(newer), Err(Fault::Newer(3))));
        assert!(matches!(open::<Vec<u8>>(br#"{"schema":2}"#), Err(Fault::Checksum)));
        assert!(matches!(open::<Vec<u8>>(b""), Err(Fault::Syntax(_))));
        let other = seal(&"words").unwrap();
        assert!(matches!(open::<Vec<u8>>(&other), Err(Fault::Foreign(_))));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = open::<Vec<String>>(&bytes);
        }
    }
}
