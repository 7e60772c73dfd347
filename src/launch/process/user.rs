//! `--user`: names and numbers, looked up in the image's own passwd(5) and group(5). Pure.

/// Whom the container's process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, sorted.
    pub(crate) groups: Vec<u32>,
    /// The home directory, where passwd(5) has one.
    pub(crate) home: Option<String>,
}

/// Why a user cannot be found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidUser {
    #[error("no user {0:?} in the image's /etc/passwd")]
    NoUser(String),
    #[error("no group {0:?} in the image's /etc/group")]
    NoGroup(String),
    #[error("--group-add keep-groups are the launcher's groups: leave the others out")]
    KeepGroups,
    #[error("user {0:?} is neither NAME[:GROUP] nor UID[:GID]")]
    Form(String),
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(Account { name, uid, gid, home })
    })
}

/// Name, number and members of each group.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

/// Resolves `text` (empty is root) against the image's `passwd` and `group`. Names win over
/// numbers, as in podman-run(1). Supplementary groups are those that list the user, unless
/// `text` names a group.
pub(crate) fn resolve(text: &str, passwd: &str, group: &str) -> Result<User, InvalidUser> {
    let (user, wanted_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    if wanted_group.is_some_and(str::is_empty) || text.contains('\0') {
        return Err(InvalidUser::Form(text.to_owned()));
    }
    let number = number(user);
    let account = accounts(passwd)
        .find(|account| account.name == user)
        .or_else(|| accounts(passwd).find(|account| Some(account.uid) == number));
    let (uid, primary) = match (&account, number) {
        (Some(account), _) => (account.uid, account.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => return Err(InvalidUser::NoUser(user.to_owned())),
    };
    let home = account.as_ref().map(|account| account.home).filter(|home| home.starts_with('/'));
    let (gid, supplementary) = match wanted_group {
        Some(wanted) => (group_number(wanted, group)?, Vec::new()),
        None => {
            let name = account.as_ref().map(|account| account.name);
            let mut listed: Vec<u32> = groups(group)
                .filter(|(_, _, members)| members.split(',').any(|member| Some(member) == name))
                .map(|(_, gid, _)| gid)
                .collect();
            listed.sort_unstable();
            listed.dedup();
            (primary, listed)
        }
    };
    Ok(User { uid, gid, groups: supplementary, home: home.map(str::to_owned) })
}

/// The word that stands for the groups of whoever starts the container.
const KEEP: &str = "keep-groups";

/// Whether the container has the launcher's groups.
pub(crate) fn keeps_groups(words: &[String]) -> bool {
    words.iter().any(|word| word == KEEP)
}

/// What can be said of `--group-add` without the image.
pub(crate) fn check_groups(words: &[String]) -> Result<(), InvalidUser> {
    match words.iter().find(|word| word.is_empty() || word.contains([':', '\0'])) {
        Some(word) => Err(InvalidUser::NoGroup(word.clone())),
        None if keeps_groups(words) && words.len() > 1 => Err(InvalidUser::KeepGroups),
        None => Ok(()),
    }
}

impl User {
    /// With the groups of `--group-add`, by name or number.
    pub(crate) fn with_groups(
        mut self,
        words: &[String],
        group: &str,
    ) -> Result<Self, InvalidUser> {
        if keeps_groups(words) {
            // The runtime sets no others where there are none.
            self.groups.clear();
            return Ok(self);
        }
        for word in words {
            self.groups.push(group_number(word, group)?);
        }
        self.groups.sort_unstable();
        self.groups.dedup();
        Ok(self)
    }
}

impl User {
    /// In this group, too.
    pub(crate) fn beside(mut self, group: Option<u32>) -> Self {
        if let Some(group) = group.filter(|group| *group != self.gid)
            && !self.groups.contains(&group)
        {
            self.groups.push(group);
            self.groups.sort_unstable();
        }
        self
    }
}

fn group_number(wanted: &str, group: &str) -> Result<u32, InvalidUser> {
    groups(group)
        .find(|(name, _, _)| *name == wanted)
        .map(|(_, gid, _)| gid)
        .or_else(|| number(wanted))
        .ok_or_else(|| InvalidUser::NoGroup(wanted.to_owned()))
}

/// A user or group number. The highest is no number: setuid(2) takes it for "leave as it is".
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/home/app:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\napp:x:1001:\nadm:x:4:app\n";

    #[test]
    fn resolves_names_and_numbers() {
        let app =
            User { uid: 1000, gid: 1001, groups: vec![4, 10], home: Some("/home/app".to_owned()) };
        assert_eq!(resolve("app", PASSWD, GROUP).unwrap(), app);
        assert_eq!(resolve("1000", PASSWD, GROUP).unwrap(), app);
        let in_wheel = resolve("app:wheel", PASSWD, GROUP).unwrap();
        assert_eq!((in_wheel.gid, in_wheel.groups), (10, vec![]));
        let stranger = User { uid: 7, gid: 8, groups: vec![], home: None };
        assert_eq!(resolve("7:8", PASSWD, GROUP).unwrap(), stranger);
        assert_eq!(resolve("7", "", "").unwrap().gid, 0);
        assert_eq!(resolve("", PASSWD, GROUP).unwrap().home.unwrap(), "/root");
    }

    #[test]
    fn groups_are_added() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let app = |added: &[&str]| {
            resolve("app", PASSWD, GROUP).unwrap().with_groups(&words(added), GROUP)
        };
        assert_eq!(app(&["adm", "77", "wheel"]).unwrap().groups, [4, 10, 77]);
        assert!(app(&["keep-groups"]).unwrap().groups.is_empty());
        assert_eq!(app(&["none"]), Err(InvalidUser::NoGroup("none".into())));
        assert!(check_groups(&words(&["keep-groups"])).is_ok());
        assert!(check_groups(&words(&["keep-groups", "adm"])).is_err());
        assert!(check_groups(&words(&[""])).is_err());
    }

    #[test]
    fn refuses_strangers() {
        assert_eq!(resolve("nobody", PASSWD, GROUP), Err(InvalidUser::NoUser("nobody".into())));
        assert_eq!(resolve("app:x", PASSWD, GROUP), Err(InvalidUser::NoGroup("x".into())));
        assert!(resolve("app:", PASSWD, GROUP).is_err());
        assert!(resolve("4294967295", PASSWD, GROUP).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,20}", passwd in "(?s).{0,100}", group in "[a:0-9,\n]{0,60}") {
            let _ = resolve(&text, &passwd, &group);
        }
    }
}
