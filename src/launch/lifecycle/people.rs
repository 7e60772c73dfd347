//! Whom a container's programs may run as: its image's passwd(5) and group(5), and the calling user
//! where the container keeps them (`--userns=keep-id`).

use std::fs;
use std::path::Path;

use crate::launch::Error;
use crate::launch::lifecycle::start::Prepared;
use crate::launch::process::entries::{self, Person};
use crate::launch::storage::mounts::Bound;
use crate::launch::storage::rootfs::Rootfs;
use crate::launch::storage::volume::Volume;
use crate::launch::userns::asked::Kept;

/// The texts of both files, and who the program runs as.
#[derive(Debug)]
pub(crate) struct People {
    /// As for `--user`.
    pub(crate) user: String,
    pub(crate) passwd: String,
    pub(crate) group: String,
    has_more_users: bool,
    has_more_groups: bool,
}

impl People {
    /// `directory` is the program's: the home of whom the image does not know.
    pub(crate) fn find(prepared: &Prepared<'_>, rootfs: &Rootfs, directory: &str) -> Self {
        let Prepared { create, config, around, .. } = prepared;
        let of_image = config.user().clone().filter(|user| !user.is_empty());
        let said = create.program.user.clone().or(of_image);
        let is_kept = said.is_none();
        let kept = around.kept.as_ref();
        let user = said.or_else(|| kept.map(|kept| format!("{}:{}", kept.uid, kept.gid)));
        let mut people = Self {
            user: user.unwrap_or_default(),
            passwd: rootfs.read("/etc/passwd"),
            group: rootfs.read("/etc/group"),
            has_more_users: false,
            has_more_groups: false,
        };
        if let Some(person) = kept.and_then(|kept| {
            // Somebody with numbers of their own is known by those, and only who is used.
            match kept.caller {
                Some(caller) => caller_of(caller, kept, prepared.volumes, directory),
                None => is_kept.then(|| numbered(kept, directory)),
            }
        }) {
            people.add(&person);
        }
        people
    }

    fn add(&mut self, person: &Person) {
        if let Some(text) = entries::passwd(&self.passwd, person) {
            (self.passwd, self.has_more_users) = (text, true);
        }
        if let Some(text) = entries::group(&self.group, person) {
            (self.group, self.has_more_groups) = (text, true);
        }
    }

    /// Writes what is not the image's below `bundle`, to be bound.
    pub(crate) fn write(&self, bundle: &Path) -> Result<Vec<Bound>, Error> {
        let files = [
            ("passwd", "/etc/passwd", &self.passwd, self.has_more_users),
            ("group", "/etc/group", &self.group, self.has_more_groups),
        ];
        let mut bound = Vec::new();
        for (name, target, text, _) in files.into_iter().filter(|(.., is_more)| *is_more) {
            let source = bundle.join(name);
            fs::write(&source, text).map_err(|error| Error::file("write", &source, error))?;
            bound.push(Bound { source, target: target.into() });
        }
        Ok(bound)
    }
}

/// The caller, as the host knows them. At home where their home is mounted, too.
fn caller_of(caller: u32, kept: &Kept, volumes: &[Volume], directory: &str) -> Option<Person> {
    let user = nix::unistd::User::from_uid(caller.into()).ok().flatten()?;
    let group = nix::unistd::Group::from_gid(user.gid).ok().flatten();
    let at_home = volumes.iter().any(|volume| user.dir.starts_with(&volume.target));
    let home = if at_home { user.dir.to_string_lossy().into_owned() } else { directory.to_owned() };
    Some(Person {
        about: user.gecos.to_string_lossy().into_owned(),
        uid: kept.uid,
        gid: kept.gid,
        group: group.map_or_else(|| user.name.clone(), |group| group.name),
        name: user.name,
        home,
    })
}

fn numbered(kept: &Kept, directory: &str) -> Person {
    Person {
        name: kept.uid.to_string(),
        about: "container user".to_owned(),
        uid: kept.uid,
        gid: kept.gid,
        group: kept.gid.to_string(),
        home: directory.to_owned(),
    }
}
