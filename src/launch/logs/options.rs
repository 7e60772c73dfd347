//! `--log-opt`: what a log driver is told besides. Pure.

use std::path::PathBuf;

use serde_json::json;

use crate::launch::args::LogDriver;
use crate::launch::isolation::resources::size::parse_bytes;
use crate::launch::place::Place;
use crate::store::containers::{LogOptions, Record};
use crate::terminal::template::{InvalidTemplate, Template};

/// An option that is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidLogOption {
    #[error("--log-opt {0:?} is not NAME=VALUE")]
    Form(String),
    #[error("--log-opt {0:?}: there is no such option; there are path, max-size, tag")]
    Name(String),
    #[error("--log-opt {option:?} is one of --log-driver={driver} only")]
    Driver { option: String, driver: &'static str },
    #[error("--log-opt {0:?}: a size is a number of bytes, or one with k, m or g behind it")]
    Size(String),
    #[error("--log-opt {0:?}: a path begins with /")]
    Path(String),
    #[error("--log-opt tag")]
    Tag(#[source] InvalidTemplate),
}

/// Checks the options against the driver.
pub(crate) fn parse(
    words: &[String],
    driver: Option<LogDriver>,
) -> Result<LogOptions, InvalidLogOption> {
    let mut options = LogOptions::default();
    for word in words {
        let (name, value) =
            word.split_once('=').ok_or_else(|| InvalidLogOption::Form(word.clone()))?;
        let needs = |wanted: LogDriver, name: &'static str| {
            let option = word.clone();
            let fits = driver == Some(wanted);
            if fits { Ok(()) } else { Err(InvalidLogOption::Driver { option, driver: name }) }
        };
        match name {
            "path" => {
                needs(LogDriver::K8sFile, "k8s-file")?;
                if !value.starts_with('/') {
                    return Err(InvalidLogOption::Path(word.clone()));
                }
                options.path = Some(PathBuf::from(value));
            }
            "max-size" => {
                needs(LogDriver::K8sFile, "k8s-file")?;
                let size = parse_bytes(value).filter(|size| *size > 0);
                options.max_size = Some(size.ok_or_else(|| InvalidLogOption::Size(word.clone()))?);
            }
            "tag" => {
                // Without a driver, output goes to the journal in a unit.
                if driver.is_some() {
                    needs(LogDriver::Journald, "journald")?;
                }
                Template::parse(value).map_err(InvalidLogOption::Tag)?;
                options.tag = Some(value.to_owned());
            }
            _ => return Err(InvalidLogOption::Name(word.clone())),
        }
    }
    Ok(options)
}

/// Puts in what depends on the container: where its log lies, and its tag.
///
/// # Errors
/// Where the tag asks for what there is not.
pub(crate) fn settle(record: &mut Record, place: &Place) -> Result<(), InvalidLogOption> {
    if record.log_driver == "k8s-file" && record.log.path.is_none() {
        record.log.path = Some(place.writable(&record.id).join("ctr.log"));
    }
    if let Some(template) = record.log.tag.take() {
        record.log.tag = Some(tag(&template, record)?);
    }
    Ok(())
}

fn tag(template: &str, record: &Record) -> Result<String, InvalidLogOption> {
    let data = json!({
        "ID": record.id.short(),
        "FullID": record.id,
        "Name": record.name,
        "ImageName": record.reference,
        "ImageID": record.image.manifest.short(),
        "ImageFullID": record.image.manifest,
        "Command": record.command.join(" "),
        "DaemonName": "updaterd",
    });
    let filled = Template::parse(template).and_then(|template| template.fill(&data));
    filled.map_err(InvalidLogOption::Tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &str, driver: Option<LogDriver>) -> Result<LogOptions, InvalidLogOption> {
        parse(&[word.to_owned()], driver)
    }

    #[test]
    fn options_belong_to_drivers() {
        let file = Some(LogDriver::K8sFile);
        assert_eq!(read("path=/x/y", file).unwrap().path, Some("/x/y".into()));
        assert_eq!(read("max-size=10mb", file).unwrap().max_size, Some(10 << 20));
        assert_eq!(read("tag={{.Name}}", None).unwrap().tag.as_deref(), Some("{{.Name}}"));
        for (word, driver) in [
            ("path=/x", None),
            ("path=x", file),
            ("max-size=0", file),
            ("max-size=1x", file),
            ("max-size=99999999999999g", file),
            ("tag=a", file),
            ("tag={{", Some(LogDriver::Journald)),
            ("labels=x", file),
            ("path", file),
        ] {
            assert!(read(word, driver).is_err(), "{word}");
        }
    }
}
