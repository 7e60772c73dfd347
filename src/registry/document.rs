//! Documents of images, as JSON: manifests, indexes, configurations.
//!
//! Their bytes have a limit where they are read. It alone does not hold memory down, since two bytes
//! (`{}`) may become a hundred: here their values are counted, before any of them is kept.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny,
    MapAccess, SeqAccess, Visitor,
};

/// How many values a document may have: objects, arrays, and what is in them. An image of 500 layers,
/// as many steps of history and a hundred labels has some 6,000.
const MAX_VALUES: usize = 20_000;

/// Reads a document of an image.
///
/// # Errors
/// What is not JSON of this form, or has more than 20,000 values.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    parse_within(bytes, MAX_VALUES)
}

/// Reads a document that may have `values` values; see [`parse`].
pub fn parse_within<T: DeserializeOwned>(
    bytes: &[u8],
    values: usize,
) -> Result<T, serde_json::Error> {
    let mut left = values;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    Counted { left: &mut left, values }.deserialize(&mut json)?;
    serde_json::from_slice(bytes)
}

/// A value that is counted and not kept.
struct Counted<'a> {
    left: &'a mut usize,
    /// How many there may be.
    values: usize,
}

impl Counted<'_> {
    fn next(&mut self) -> Counted<'_> {
        Counted { left: self.left, values: self.values }
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.left.checked_sub(1) {
            Some(left) => *self.left = left,
            None => {
                let values = self.values;
                return Err(D::Error::custom(format_args!("more than {values} values")));
            }
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.next())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(self.next())?;
        }
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        IgnoredAny::deserialize(deserializer).map(drop)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn values_are_counted_wherever_they_are() {
        for (text, values) in [
            ("1", 1),
            ("{}", 1),
            (r#"[{}, {}, null, "a", 1.5, true]"#, 7),
            (r#"{"a": [{"b": -1}], "c": "d"}"#, 5),
        ] {
            assert!(parse_within::<Value>(text.as_bytes(), values).is_ok(), "{text}");
            let error = parse_within::<Value>(text.as_bytes(), values - 1).unwrap_err();
            assert!(error.to_string().starts_with("more than"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_document_is_told_as_before() {
        for text in ["", "{", "{}x", "[1,]", "\u{0}"] {
            let (ours, theirs) =
                (parse::<Value>(text.as_bytes()), serde_json::from_str::<Value>(text));
            assert_eq!(ours.unwrap_err().to_string(), theirs.unwrap_err().to_string(), "{text:?}");
        }
        // As deep as it may be, and no deeper: the stack of a thread is not endless.
        let deep = "[".repeat(100_000);
        assert!(parse::<Value>(deep.as_bytes()).is_err());
    }

    #[test]
    fn four_mebibytes_of_nothing_are_no_document() {
        let history = format!(r#"{{"history":[{}{{}}]}}"#, "{},".repeat(1_400_000));
        let error = parse::<oci_spec::image::ImageConfiguration>(history.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than 20000 values"), "{error}");
    }
}
