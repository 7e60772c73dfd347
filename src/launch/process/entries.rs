//! The calling user in a container's passwd(5) and group(5): with `--userns=keep-id` programs ask
//! there for the name of whom they run as. Pure.

/// Somebody who is to be found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) name: String,
    /// GECOS.
    pub(crate) about: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The name of the group.
    pub(crate) group: String,
    pub(crate) home: String,
}

/// The text of passwd(5) with the person, unless it has somebody of that name or number.
pub(crate) fn passwd(text: &str, person: &Person) -> Option<String> {
    let Person { name, about, uid, gid, home, .. } = person;
    let line = format!("{name}:*:{uid}:{gid}:{about}:{home}:/bin/sh\n");
    added(text, name, *uid, &line)
}

/// The text of group(5) with the person's group, unless it has one of that name or number.
pub(crate) fn group(text: &str, person: &Person) -> Option<String> {
    let Person { group, gid, name, .. } = person;
    added(text, group, *gid, &format!("{group}:x:{gid}:{name}\n"))
}

/// Both have the name first, and the number third.
fn added(text: &str, name: &str, number: u32, line: &str) -> Option<String> {
    let number = number.to_string();
    let is_there = |line: &str| {
        let mut fields = line.split(':');
        fields.next() == Some(name) || fields.nth(1) == Some(&*number)
    };
    // What could not be a field is no line.
    if text.lines().any(is_there) || line.trim_end().contains(['\n', '\0']) {
        return None;
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Some(format!("{text}{end}{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_added_once() {
        let person = Person {
            name: "someone".into(),
            about: "Some One".into(),
            uid: 4000,
            gid: 4001,
            group: "people".into(),
            home: "/srv".into(),
        };
        let text = passwd("root:x:0:0::/root:/bin/sh", &person).unwrap();
        let expected = "root:x:0:0::/root:/bin/sh\nsomeone:*:4000:4001:Some One:/srv:/bin/sh\n";
        assert_eq!(text, expected);
        assert_eq!(passwd(&text, &person), None);
        assert_eq!(passwd("other:x:4000:1::/:/bin/sh\n", &person), None);
        assert_eq!(passwd("someone:x:1:1::/:/bin/sh\n", &person), None);
        assert_eq!(group("", &person).unwrap(), "people:x:4001:someone\n");
        assert_eq!(group("x:x:4001:\n", &person), None);
        let odd = Person { home: "/a\nroot::0:0::/:".into(), ..person };
        assert_eq!(passwd("", &odd), None);
    }
}
