//! Reading events back, and waiting for more.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;

use super::{Event, old, path};
use crate::launch::Error;
use crate::launch::place::Place;
use crate::launch::view::filter::{Filters, InvalidFilter, has_label};

/// Which events are wanted.
#[derive(Debug)]
pub(crate) struct EventFilter(Vec<(String, Vec<String>)>);

const KEYS: &str = "container, event, image, label, type";

impl EventFilter {
    /// # Errors
    /// For keys that do not exist.
    pub(crate) fn new(filters: &Filters) -> Result<Self, InvalidFilter> {
        let mut tests = Vec::new();
        for (key, values) in filters.iter() {
            if !matches!(key, "container" | "event" | "status" | "image" | "label" | "type") {
                return Err(InvalidFilter::Key { key: key.to_owned(), known: KEYS });
            }
            tests.push((key.to_owned(), values.to_vec()));
        }
        Ok(Self(tests))
    }

    pub(crate) fn holds(&self, event: &Event) -> bool {
        let holds = |key: &str, value: &String| match key {
            "container" => {
                event.kind == "container"
                    && (event.name == *value || !value.is_empty() && event.id.starts_with(value))
            }
            "event" | "status" => event.status == *value,
            "image" => match event.kind.as_str() {
                "image" => event.name == *value || event.id.starts_with(value),
                _ => event.image.contains(value),
            },
            "label" => has_label(value, |key| event.attributes.get(key).map(String::as_str)),
            _ => event.kind == *value,
        };
        self.0.iter().all(|(key, values)| values.iter().any(|value| holds(key, value)))
    }
}

/// The events of one place, in their order.
#[derive(Debug)]
pub(crate) struct Events<'a> {
    place: &'a Place,
    file: Option<BufReader<File>>,
    /// The beginning of a line that is still being written.
    begun: Vec<u8>,
}

impl<'a> Events<'a> {
    /// From the oldest that is kept on.
    pub(crate) fn open(place: &'a Place) -> Result<Self, Error> {
        let mut events = Self { place, file: None, begun: Vec::new() };
        events.file = events.look(&old(place))?;
        if events.file.is_none() {
            events.file = events.look(&path(place))?;
        }
        Ok(events)
    }

    /// The next; `None` where there is none yet.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Error> {
        let file = path(self.place);
        let failed = |source| Error::file("read", &file, source);
        loop {
            let Some(reader) = &mut self.file else {
                self.file = self.look(&file)?;
                if self.file.is_none() {
                    return Ok(None);
                }
                continue;
            };
            reader.read_until(b'\n', &mut self.begun).map_err(failed)?;
            if self.begun.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.begun);
                match serde_json::from_slice(&line) {
                    Ok(event) => return Ok(Some(event)),
                    Err(_) => continue,
                }
            }
            let own = reader.get_ref().metadata().map_err(failed)?;
            // It may have been put aside: then the new one goes on.
            match self.look(&file)? {
                Some(new) if new.get_ref().metadata().is_ok_and(|new| new.ino() != own.ino()) => {
                    self.file = Some(new);
                    self.begun.clear();
                }
                _ => return Ok(None),
            }
        }
    }

    fn look(&self, file: &std::path::Path) -> Result<Option<BufReader<File>>, Error> {
        match File::open(file) {
            Ok(opened) => Ok(Some(BufReader::new(opened))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("read", file, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_narrowed() {
        let event: Event = serde_json::from_str(
            r#"{"Time":"2026-11-26T08:00:00Z","Type":"container","Status":"died","ID":"4f","Name":"web",
                "Image":"quay.io/app:1","ContainerExitCode":3,"Attributes":{"role":"front"}}"#,
        )
        .unwrap();
        let holds = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            EventFilter::new(&Filters::parse(&words).unwrap()).unwrap().holds(&event)
        };
        assert!(holds(&[]) && holds(&["container=web", "event=died", "event=start"]));
        assert!(holds(&["image=app", "label=role=front", "type=container"]));
        assert!(!holds(&["container=we"]) && !holds(&["type=image"]) && !holds(&["label=role=x"]));
        assert!(EventFilter::new(&Filters::parse(&["x=y".into()]).unwrap()).is_err());
    }
}
