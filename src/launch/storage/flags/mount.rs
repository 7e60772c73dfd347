//! `--mount type=TYPE,KEY[=VALUE],…` (podman-run(1)).

use crate::launch::isolation::resources::size::parse_bytes;
use crate::launch::lifecycle::name;
use crate::launch::storage::flags::tmpfs;
use crate::launch::storage::flags::volume::{apply, check, refused};
use crate::launch::storage::volume::{
    InvalidVolume, Options, Propagation, Relabel, Source, Volume, subpath, target,
};

const FORM: &str = "type=bind|tmpfs|volume|image,target=PATH[,KEY=VALUE]";

/// Reads one. Without a type it is a volume.
pub(crate) fn parse(text: &str) -> Result<Volume, InvalidVolume> {
    let form = || InvalidVolume::Form(text.to_owned(), FORM);
    let words = fields(text).ok_or_else(form)?;
    let mut asked = Asked { text, ..Asked::default() };
    let mut rest = Vec::new();
    for word in &words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("type", kind) => asked.kind = Some(kind),
            ("src" | "source", source) => asked.source = Some(source),
            ("dst" | "target" | "destination", at) => asked.target = Some(at),
            _ => rest.push(word.as_str()),
        }
    }
    match asked.kind.unwrap_or("volume") {
        "bind" => asked.bind(&rest),
        "tmpfs" => asked.tmpfs(&rest),
        "volume" => asked.volume(&rest),
        "image" => asked.image(&rest),
        other => {
            Err(refused(text, &format!("type={other}"), "is none of bind, tmpfs, volume, image"))
        }
    }
}

/// The fields of a line of comma-separated values (RFC 4180); `None` where a quote has no end.
fn fields(text: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    (!quoted && fields.iter().all(|field| !field.is_empty())).then_some(fields)
}

#[derive(Default)]
struct Asked<'a> {
    text: &'a str,
    kind: Option<&'a str>,
    source: Option<&'a str>,
    target: Option<&'a str>,
}

impl Asked<'_> {
    fn refused(&self, word: &str, reason: &'static str) -> InvalidVolume {
        refused(self.text, word, reason)
    }

    fn form(&self) -> InvalidVolume {
        InvalidVolume::Form(self.text.to_owned(), FORM)
    }

    fn at(&self) -> Result<&str, InvalidVolume> {
        self.target.ok_or_else(|| self.form())
    }

    fn finish(&self, source: Source, options: Options) -> Result<Volume, InvalidVolume> {
        check(self.text, &source, &options)?;
        Ok(Volume { source, target: target(self.at()?)?, options })
    }

    fn bind(&self, words: &[&str]) -> Result<Volume, InvalidVolume> {
        let path = self.source.filter(|path| path.starts_with('/'));
        let path =
            path.ok_or_else(|| self.refused("source", "must be a path of the host from its root"))?;
        let mut options = Options::new(&["rbind", "nosuid", "nodev"]);
        for word in words {
            match word.split_once('=') {
                Some(("bind-propagation", value)) => {
                    options.propagation = Propagation::from_word(value)
                        .ok_or_else(|| self.refused(word, "is no propagation"))?;
                }
                Some(("relabel", "shared")) => options.relabel = Some(Relabel::Shared),
                Some(("relabel", "private")) => options.relabel = Some(Relabel::Private),
                _ if word.split('=').next() == Some("bind-nonrecursive") => {
                    options.set(if self.yes(word)? { "bind" } else { "rbind" });
                }
                _ => self.apply(&mut options, word)?,
            }
        }
        self.finish(Source::Bind { path: path.into() }, options)
    }

    fn volume(&self, words: &[&str]) -> Result<Volume, InvalidVolume> {
        let name = self.source.unwrap_or_default();
        if !name.is_empty() && !name::is_valid(name) {
            return Err(InvalidVolume::Name(self.text.to_owned()));
        }
        let mut options = Options::new(&["rbind", "nosuid", "nodev"]);
        let mut below = None;
        for word in words {
            match self.subpath(word)? {
                Some(path) => below = Some(path),
                None => self.apply(&mut options, word)?,
            }
        }
        let anonymous = name.is_empty();
        self.finish(Source::Volume { name: name.to_owned(), anonymous, subpath: below }, options)
    }

    fn image(&self, words: &[&str]) -> Result<Volume, InvalidVolume> {
        let reference = self.source.ok_or_else(|| self.refused("source", "must name an image"))?;
        let reference = reference
            .parse()
            .map_err(|error| InvalidVolume::Reference(self.text.to_owned(), error))?;
        let (mut writable, mut below) = (false, None);
        for word in words {
            match word.split('=').next() {
                Some("rw" | "readwrite") => writable = self.yes(word)?,
                _ => match self.subpath(word)? {
                    Some(path) => below = Some(path),
                    None => return Err(self.refused(word, "is not known for an image")),
                },
            }
        }
        let mut options = Options::new(&["bind", "nosuid", "nodev"]);
        if !writable {
            options.set("ro");
        }
        let reference = Box::new(reference);
        self.finish(Source::Image { reference, manifest: None, writable, subpath: below }, options)
    }

    fn tmpfs(&self, words: &[&str]) -> Result<Volume, InvalidVolume> {
        if self.source.is_some() {
            return Err(self.refused("source", "is nothing that a tmpfs has"));
        }
        let mut asked = tmpfs::Asked::new();
        for word in words {
            let known = match word.split_once('=') {
                Some(("tmpfs-size", value)) => {
                    let bytes = parse_bytes(value)
                        .ok_or_else(|| self.refused(word, "is no size, such as 64m"))?;
                    asked.apply(&format!("size={bytes}"))
                }
                Some(("tmpfs-mode", value)) => asked.apply(&format!("mode={value}")),
                _ if matches!(word.split('=').next(), Some("ro" | "readonly")) => {
                    asked.apply(if self.yes(word)? { "ro" } else { "rw" })
                }
                _ if matches!(word.split('=').next(), Some("U" | "chown")) => {
                    asked.options.chown = self.yes(word)?;
                    true
                }
                Some(_) => false,
                None => asked.apply(word),
            };
            if !known {
                return Err(self.refused(word, "is not known for a tmpfs"));
            }
        }
        asked.at(self.at()?)
    }

    /// Options of binds and of volumes.
    fn apply(&self, options: &mut Options, word: &str) -> Result<(), InvalidVolume> {
        match word.split('=').next() {
            Some("ro" | "readonly") => options.set(if self.yes(word)? { "rro" } else { "rw" }),
            Some("rw") => options.set(if self.yes(word)? { "rw" } else { "rro" }),
            Some("U" | "chown") => options.chown = self.yes(word)?,
            Some("idmap") if word == "idmap=true" => self.apply(options, "idmap")?,
            Some("idmap") if word == "idmap=false" => options.idmap = None,
            Some("O" | "upperdir" | "workdir") => {
                return Err(self.refused(word, "is an option of --volume"));
            }
            _ => {
                let known = apply(options, word)
                    .map_err(|error| InvalidVolume::Mapping(self.text.to_owned(), error))?;
                if !known {
                    return Err(self.refused(word, "is not known"));
                }
            }
        }
        Ok(())
    }

    fn subpath(&self, word: &str) -> Result<Option<std::path::PathBuf>, InvalidVolume> {
        match word.split_once('=') {
            Some(("subpath" | "volume-subpath" | "image-subpath", path)) => subpath(path)
                .map(Some)
                .ok_or_else(|| self.refused(word, "must be a path without \"..\"")),
            _ => Ok(None),
        }
    }

    /// `key`, `key=true`, `key=false`.
    fn yes(&self, word: &str) -> Result<bool, InvalidVolume> {
        match word.split_once('=').map(|(_, value)| value) {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(self.refused(word, "is neither true nor false")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn binds() {
        let volume =
            parse("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave,chown=true").unwrap();
        assert_eq!(volume.bound_path(), Some(Path::new("/a")));
        assert!(volume.options.has("rro") && volume.options.chown);
        assert_eq!(volume.options.propagation, Propagation::Rslave);
        let flat = parse("type=bind,source=/a,target=/b,ro=false,bind-nonrecursive").unwrap();
        assert!(!flat.options.has("rro") && !flat.options.is_recursive());
        let quoted = parse("type=bind,\"src=/a,b\",dst=/c").unwrap();
        assert_eq!(quoted.bound_path(), Some(Path::new("/a,b")));
    }

    #[test]
    fn volumes_and_images() {
        let named = parse("source=data,destination=/d,subpath=in/it,nocopy").unwrap();
        let Source::Volume { name, anonymous: false, subpath } = named.source else { panic!() };
        assert_eq!((&*name, subpath.unwrap().to_str().unwrap()), ("data", "in/it"));
        let anonymous = parse("type=volume,dst=/d").unwrap();
        assert!(matches!(anonymous.source, Source::Volume { anonymous: true, .. }));
        let image = parse("type=image,source=quay.io/a/b:1,dst=/i,rw=true").unwrap();
        assert!(matches!(image.source, Source::Image { writable: true, .. }));
        assert!(parse("type=image,source=quay.io/a/b:1,dst=/i").unwrap().options.has("ro"));
    }

    #[test]
    fn a_tmpfs() {
        let volume = parse("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777,ro,U").unwrap();
        let Source::Tmpfs { data, filled: true } = volume.source else { panic!() };
        assert_eq!(data, ["size=1048576", "mode=1777"]);
        assert!(volume.options.chown && volume.options.has("ro"));
    }

    #[test]
    fn refuses_what_is_none() {
        for (text, part) in [
            ("", FORM),
            ("type=bind", "path of the host"),
            ("type=bind,src=a,dst=/b", "path of the host"),
            ("type=bind,src=/a", FORM),
            ("type=bind,src=/a,dst=/b,wild", "not known"),
            ("type=bind,src=/a,dst=/b,ro=maybe", "neither"),
            ("type=bind,src=/a,dst=/b,bind-propagation=odd", "no propagation"),
            ("type=tmpfs,dst=/t,src=/a", "nothing that a tmpfs has"),
            ("type=tmpfs,dst=/t,size=1m", "not known for a tmpfs"),
            ("type=tmpfs,dst=/t,tmpfs-size=big", "no size"),
            ("type=volume,src=da/ta,dst=/d", "name"),
            ("type=volume,src=data,dst=/d,subpath=../x", "without"),
            ("type=image,dst=/d", "name an image"),
            ("type=image,src=quay.io/a/b,dst=/d,dev", "not known for an image"),
            ("type=glob,src=/a*,dst=/d", "none of"),
            ("type=bind,\"src=/a,dst=/b", FORM),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,60}", more in "(type=(bind|tmpfs|volume|image),)?([a-z=/,\"]{0,30})") {
            for text in [text, more] {
                let _ = parse(&text);
            }
        }
    }
}
