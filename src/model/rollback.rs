//! What becomes of a unit whose update failed.

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// What is done about a failed update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// The unit gets its old image back: `true`.
    Back,
    /// It is left as it is: `false`.
    Leave,
    /// It is stopped, and an operator is needed: `"never"`. For data that the new image may have
    /// migrated, which the old one cannot read.
    Never,
}

impl Serialize for Rollback {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Back => serializer.serialize_bool(true),
            Self::Leave => serializer.serialize_bool(false),
            Self::Never => serializer.serialize_str(NEVER),
        }
    }
}

impl<'de> Deserialize<'de> for Rollback {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(Word)
    }
}

const NEVER: &str = "never";

struct Word;

impl Visitor<'_> for Word {
    type Value = Rollback;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("true, false or \"never\"")
    }

    fn visit_bool<E: Error>(self, back: bool) -> Result<Rollback, E> {
        Ok(if back { Rollback::Back } else { Rollback::Leave })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Rollback, E> {
        match text {
            NEVER => Ok(Rollback::Never),
            _ => Err(E::custom(format!("{text:?} is not true, false or \"never\""))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["true", "false", "\"never\""] {
            let rollback: Rollback = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&rollback).unwrap(), text);
        }
        let error = serde_json::from_str::<Rollback>("\"no\"").unwrap_err().to_string();
        assert!(error.contains("true, false or \"never\""), "{error}");
    }
}
