//! What a cgroup's path says about the unit that a process belongs to (cgroups(7)).

use super::{Scope, UnitName};

/// The cgroup v2 path in the text of `/proc/PID/cgroup`.
pub fn path_in(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::")).filter(|path| path.starts_with('/'))
}

/// The directory of the unit that a cgroup lies in: of its innermost service or scope, else the
/// path itself. Below it is the unit's own ground, where processes may sit in a child of it.
pub fn unit_directory(path: &str) -> &str {
    innermost(path).map_or(path, |(directory, _)| directory)
}

/// The service that a cgroup belongs to, as the manager of `scope` knows it. A scope, such as a
/// login session, is no service. What lies below a user's manager is that user's: the system's has
/// no unit for it, a user's own knows nothing else.
pub fn service(path: &str, scope: Scope) -> Option<UnitName> {
    let (directory, name) = innermost(path)?;
    let above = directory.strip_suffix(name)?;
    if is_user_manager(name) || above.split('/').any(is_user_manager) != (scope == Scope::User) {
        return None;
    }
    // systemd puts a `_` in front of names that begin with one, or look like the kernel's files.
    name.strip_prefix('_').unwrap_or(name).parse().ok()
}

/// The system's service that is a user's manager; its own processes are no container's.
fn is_user_manager(name: &str) -> bool {
    name.starts_with("user@") && name.ends_with(".service")
}

/// The innermost component that is a service or a scope: the path up to its end, and its name.
fn innermost(path: &str) -> Option<(&str, &str)> {
    let mut left = path;
    while let Some((above, name)) = left.rsplit_once('/') {
        if name.ends_with(".service") || name.ends_with(".scope") {
            return Some((left, name));
        }
        left = above;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USER: &str = "/user.slice/user-1000.slice/user@1000.service";

    fn name(path: &str, scope: Scope) -> Option<String> {
        service(path, scope).map(|unit| unit.to_string())
    }

    #[test]
    fn finds_the_path() {
        let text = "0::/system.slice/app.service\n";
        assert_eq!(path_in(text), Some("/system.slice/app.service"));
        assert_eq!(path_in("12:cpu:/x\n0::/\n"), Some("/"));
        assert_eq!(path_in("1:name=systemd:/x\n"), None);
        assert_eq!(path_in(""), None);
    }

    #[test]
    fn the_innermost_service_owns() {
        for (path, unit) in [
            ("/system.slice/app.service", Some("app.service")),
            ("/system.slice/app.service/payload-0123", Some("app.service")),
            ("/system.slice/app.service/payload-0/b.service", Some("b.service")),
            ("/system.slice/system-a.slice/a@b.service/.control", Some("a@b.service")),
            ("/system.slice/__x.service", Some("_x.service")),
            ("/system.slice/_cpu.service/sub", Some("cpu.service")),
            // A scope decides as well, and is no service.
            ("/user.slice/user-0.slice/session-3.scope", None),
            ("/system.slice/app.service/run-1.scope/x", None),
            (USER, None),
            (&format!("{USER}/app.slice/x"), None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(name(path, Scope::System).as_deref(), unit, "{path}");
        }
    }

    #[test]
    fn each_manager_has_its_own_units() {
        let of_user = format!("{USER}/app.slice/web.service/payload-1");
        assert_eq!(name(&of_user, Scope::User).as_deref(), Some("web.service"));
        assert_eq!(name(&of_user, Scope::System), None);
        for other in ["/system.slice/app.service", USER] {
            assert_eq!(name(other, Scope::User), None, "{other}");
        }
        let scope = format!("{USER}/app.slice/x.scope");
        assert_eq!(name(&scope, Scope::User), None);
        assert_eq!(name(&scope, Scope::System), None);
    }

    #[test]
    fn a_units_directory_is_that_of_the_innermost_service_or_scope() {
        let scope = format!("{USER}/app.slice/x.scope");
        for (path, directory) in [
            ("/s.slice/a.service/sub/x", "/s.slice/a.service"),
            ("/s.slice/a.service", "/s.slice/a.service"),
            ("/user.slice/session-3.scope/sub", "/user.slice/session-3.scope"),
            (&scope, &scope),
            ("/a.slice/sub", "/a.slice/sub"),
            ("/", "/"),
        ] {
            assert_eq!(unit_directory(path), directory, "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,80}") {
            let _ = path_in(&text);
            let _ = unit_directory(&text);
            let _ = service(&text, Scope::System);
        }
    }
}
