//! `--volume [SOURCE:]TARGET[:OPTIONS]` (podman-run(1)).

use crate::launch::lifecycle::name;
use crate::launch::storage::flags::idmap::{Idmap, InvalidMapping};
use crate::launch::storage::volume::{
    InvalidVolume, Options, Propagation, Relabel, Source, Volume, target,
};

const FORM: &str = "[SOURCE:]TARGET[:OPTIONS]";

/// Reads one. A volume is `rprivate`, `nosuid` and `nodev` unless its options say otherwise, and
/// `ro` holds for what is mounted below it too.
pub(crate) fn parse(text: &str) -> Result<Volume, InvalidVolume> {
    let form = || InvalidVolume::Form(text.to_owned(), FORM);
    let mut parts = text.splitn(3, ':');
    let (source, at, words) = match (parts.next(), parts.next(), parts.next()) {
        (Some(only), None, _) if only.starts_with('/') => (None, only, ""),
        // `/data:ro` is a directory of the host with a target that is none.
        (Some(source), Some(at), words) => (Some(source), at, words.unwrap_or("")),
        _ => return Err(form()),
    };
    let source = match source {
        Some("") => return Err(form()),
        Some(path) if path.starts_with(['/', '.']) => Source::Bind { path: path.into() },
        Some(name) if !name::is_valid(name) => return Err(InvalidVolume::Name(text.to_owned())),
        name => Source::Volume {
            name: name.unwrap_or_default().to_owned(),
            anonymous: name.is_none(),
            subpath: None,
        },
    };
    let mut options = Options::new(&["rbind", "nosuid", "nodev"]);
    for word in words.split(',').filter(|word| !word.is_empty()) {
        if !apply(&mut options, word)
            .map_err(|error| InvalidVolume::Mapping(text.to_owned(), error))?
        {
            return Err(refused(text, word, "is not known"));
        }
    }
    check(text, &source, &options)?;
    Ok(Volume { source, target: target(at)?, options })
}

/// Whether `word` is an option of a bound directory; it is set then.
pub(super) fn apply(options: &mut Options, word: &str) -> Result<bool, InvalidMapping> {
    match word {
        "ro" => options.set("rro"),
        "rw" | "bind" | "rbind" | "suid" | "nosuid" | "dev" | "nodev" | "exec" | "noexec" => {
            options.set(word);
        }
        "z" => options.relabel = Some(Relabel::Shared),
        "Z" => options.relabel = Some(Relabel::Private),
        "U" => options.chown = true,
        "O" => {
            options.overlay.get_or_insert_default();
        }
        "copy" | "nocopy" => options.copy = word == "copy",
        "idmap" => options.idmap = Some(Idmap::default()),
        _ => match word.split_once('=') {
            Some(("idmap", mapping)) => options.idmap = Some(mapping.parse()?),
            Some(("upperdir", path)) if path.starts_with('/') => {
                options.overlay.get_or_insert_default().upper = Some(path.into());
            }
            Some(("workdir", path)) if path.starts_with('/') => {
                options.overlay.get_or_insert_default().work = Some(path.into());
            }
            _ => match Propagation::from_word(word) {
                Some(propagation) => options.propagation = propagation,
                None => return Ok(false),
            },
        },
    }
    Ok(true)
}

/// Refuses what cannot be had together.
pub(super) fn check(text: &str, source: &Source, options: &Options) -> Result<(), InvalidVolume> {
    if !options.copy && !matches!(source, Source::Volume { .. }) {
        return Err(refused(text, "nocopy", "is for named and anonymous volumes"));
    }
    if let Some(upper) = &options.overlay {
        if upper.upper.is_some() != upper.work.is_some() {
            return Err(refused(text, "O", "takes upperdir and workdir together, or neither"));
        }
        if options.idmap.is_some() {
            return Err(refused(text, "O", "cannot be had together with idmap"));
        }
        if !options.propagation.is_private() {
            let word = options.propagation.word();
            return Err(refused(text, word, "cannot be had together with O"));
        }
    }
    if options.idmap.is_some() && !options.propagation.is_private() {
        let word = options.propagation.word();
        return Err(refused(text, word, "cannot be had together with idmap"));
    }
    Ok(())
}

pub(super) fn refused(volume: &str, option: &str, reason: &'static str) -> InvalidVolume {
    InvalidVolume::Option { volume: volume.to_owned(), option: option.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> String {
        parse(text).unwrap().options.words.join(",")
    }

    #[test]
    fn volumes_are_private_without_devices_unless_said_otherwise() {
        assert_eq!(words("/a:/b"), "rbind,nosuid,nodev");
        assert_eq!(words("/a:/b:ro,z"), "rbind,nosuid,nodev,rro");
        assert_eq!(words("/a:/b:dev,suid,bind,private"), "dev,suid,bind");
        assert_eq!(words("./a:/b:rw,noexec"), "rbind,nosuid,nodev,rw,noexec");
        let volume = parse("/a:/b//./c/").unwrap();
        assert_eq!(volume.target, Path::new("/b/c"));
        assert_eq!(volume.options.propagation, Propagation::Rprivate);
        assert_eq!(parse("/a:/b:rslave").unwrap().options.propagation, Propagation::Rslave);
    }

    #[test]
    fn sources() {
        let named = parse("data:/b:U,nocopy,Z").unwrap();
        assert!(
            matches!(&named.source, Source::Volume { name, anonymous: false, .. } if name == "data")
        );
        assert!(named.options.chown && !named.options.copy);
        assert_eq!(named.options.relabel, Some(Relabel::Private));
        let anonymous = parse("/b").unwrap();
        assert!(matches!(anonymous.source, Source::Volume { anonymous: true, .. }));
        let overlay = parse("/a:/b:O,upperdir=/u,workdir=/w").unwrap().options.overlay.unwrap();
        assert_eq!(overlay.upper.as_deref(), Some(Path::new("/u")));
        let mapping = parse("/a:/b:idmap=uids=0-1000-1").unwrap().options.idmap.unwrap();
        assert_eq!(mapping.to_string(), "uids=0-1000-1;gids=0-1000-1");
        assert_eq!(parse("/a:/b:idmap").unwrap().options.idmap, Some(Idmap::default()));
    }

    #[test]
    fn refuses_what_is_none() {
        for (text, part) in [
            ("", FORM),
            (":/b", FORM),
            ("da/ta:/b", "name"),
            ("/a:b", "absolute"),
            ("/data:ro", "absolute"),
            ("/a:/", "below /"),
            ("/a:/b/../..", "without"),
            ("/dev:/dev", "own"),
            ("/a:/b:wild", "not known"),
            ("/a:/b:nocopy", "named"),
            ("/a:/b:O,upperdir=/x", "together"),
            ("/a:/b:O,shared", "together"),
            ("/a:/b:idmap=uids=x", "idmap"),
        ] {
            let error = parse(text).unwrap_err();
            let message = crate::model::failure::chain(&error);
            assert!(
                message.contains(part) || matches!(error, InvalidVolume::Mapping(..)),
                "{text}: {message}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,60}", more in "[/a.:,=rozUO]{0,30}") {
            for text in [text, more] {
                let _ = parse(&text);
            }
        }

        #[test]
        fn targets_stay_below_the_root(text in "[/a.:]{0,20}") {
            if let Ok(volume) = parse(&text) {
                prop_assert!(volume.target.is_absolute());
                prop_assert!(volume.target.components().count() > 1);
                prop_assert!(!volume.target.components().any(|c| c == Component::ParentDir));
            }
        }
    }
}
