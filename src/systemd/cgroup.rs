//! Which unit a process belongs to, by its control group (systemd.service(5), cgroups(7)).

use std::fs;

use crate::model::UnitName;

/// The innermost service of a process; `None` where it is in none, or gone.
pub fn unit_of_process(pid: i32) -> Option<UnitName> {
    unit_of_cgroup(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// The innermost service in the text of `/proc/PID/cgroup`. The unified hierarchy counts; where a
/// host has none, systemd's own named one.
///
/// A user's services lie below `user@UID.service`, which is itself one only for its own processes.
/// Names that cgroups had to escape begin with `_`.
pub fn unit_of_cgroup(text: &str) -> Option<UnitName> {
    let path =
        |prefix: &str| text.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(prefix));
    let path = path(":").or_else(|| path("name=systemd:"))?;
    let service = path.rsplit('/').find(|component| component.ends_with(".service"))?;
    service.strip_prefix('_').unwrap_or(service).parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(text: &str) -> Option<String> {
        unit_of_cgroup(text).map(|unit| unit.to_string())
    }

    #[test]
    fn finds_the_innermost_service() {
        for (text, expected) in [
            ("0::/system.slice/app.service\n", "app.service"),
            ("0::/system.slice/app.service/supervisor\n", "app.service"),
            ("0::/system.slice/system-app.slice/app@1.service/payload-abc", "app@1.service"),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
                "web.service",
            ),
            (
                "12:pids:/x\n1:name=systemd:/system.slice/app.service\n0::/system.slice/new.service",
                "new.service",
            ),
            ("1:name=systemd:/system.slice/app.service\n", "app.service"),
        ] {
            assert_eq!(unit(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn says_none_where_there_is_none() {
        for text in ["", "0::/\n", "0::/user.slice/user-0.slice/session-1.scope", "garbage"] {
            assert_eq!(unit(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = unit_of_cgroup(&text);
        }
    }
}
