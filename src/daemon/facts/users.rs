//! Whether a user's manager stays when the user goes.

use std::path::Path;

use crate::config::Scope;

/// Where systemd-logind writes down whose managers stay (loginctl(1), `enable-linger`).
const LINGER: &str = "/var/lib/systemd/linger";

/// The calling user, where it is theirs that goes.
pub(super) fn lingerless(scope: Scope) -> Option<String> {
    if scope == Scope::System {
        return None;
    }
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    // Who is in no file, as a user of a directory service, is who the session says.
    let name = name_of(uid, &passwd).or_else(|| std::env::var("LOGNAME").ok())?;
    (!Path::new(LINGER).join(&name).exists()).then_some(name)
}

/// passwd(5)
fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let uid = uid.to_string();
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut own = fields.filter(|fields| fields.get(2) == Some(&uid.as_str()));
    own.find_map(|fields| fields.first().map(|name| (*name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1007:7::/home/ann:/bin/sh\n:\n";
        assert_eq!(name_of(1007, passwd).as_deref(), Some("ann"));
        assert_eq!(name_of(7, passwd), None);
    }
}
