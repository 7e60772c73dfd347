//! Which paths of the kernel's file systems a container does not see, or cannot write. Pure.

/// What the kernel shows there is the host's (as runc and crun mask it).
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What is hidden and what is read-only.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    pub(crate) masked: Vec<String>,
    pub(crate) read_only: Vec<String>,
}

/// What of that is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unmask {
    All,
    Only(Vec<Pattern>),
}

impl Default for Unmask {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

/// A path in which `*` stands for any text without `/`, and `?` for one such character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Paths {
    /// The usual ones but for `unmask`, and those of `mask`.
    pub(crate) fn new(unmask: &Unmask, mask: &[String]) -> Self {
        let stays = |path: &&str| match unmask {
            Unmask::All => false,
            Unmask::Only(patterns) => !patterns.iter().any(|pattern| pattern.matches(path)),
        };
        let list = |paths: &[&str]| {
            paths.iter().copied().filter(stays).map(str::to_owned).collect::<Vec<_>>()
        };
        Self { masked: [list(&MASKED), mask.to_vec()].concat(), read_only: list(&READ_ONLY) }
    }
}

impl Pattern {
    /// `None` where it holds what has a meaning for other programs: a class, or a backslash.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (!text.contains(['[', ']', '\\'])).then(|| Self(text.to_owned()))
    }

    fn matches(&self, path: &str) -> bool {
        let (pattern, path): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), path.chars().collect());
        // Which beginnings of the path the pattern has matched so far.
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for part in pattern {
            let mut next = vec![false; path.len() + 1];
            for at in 0..=path.len() {
                let before = at > 0 && reached[at - 1];
                let slash = at > 0 && path[at - 1] == '/';
                next[at] = match part {
                    '*' => reached[at] || (at > 0 && next[at - 1] && !slash),
                    '?' => before && !slash,
                    other => before && path[at - 1] == other,
                };
            }
            reached = next;
        }
        reached[path.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_in_their_component() {
        for (pattern, path, expected) in [
            ("/proc/acpi", "/proc/acpi", true),
            ("/proc/*", "/proc/acpi", true),
            ("/proc/*", "/proc/sys/net", false),
            ("/proc/a*i", "/proc/acpi", true),
            ("/proc/a*x", "/proc/acpi", false),
            ("/proc/??s", "/proc/bus", true),
            ("/proc/?", "/proc/bus", false),
            ("/*/*", "/proc/bus", true),
            ("*", "/proc", false),
            ("/proc", "/proc/acpi", false),
        ] {
            let matches = Pattern::new(pattern).unwrap().matches(path);
            assert_eq!(matches, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn only_what_is_unmasked_is_open() {
        let usual = Paths::new(&Unmask::default(), &["/etc/shadow".to_owned()]);
        assert_eq!(usual.masked.len(), MASKED.len() + 1);
        let firmware = Unmask::Only(vec![Pattern::new("/sys/*").unwrap()]);
        let opened = Paths::new(&firmware, &[]);
        assert!(!opened.masked.contains(&"/sys/firmware".to_owned()));
        assert!(opened.masked.contains(&"/proc/kcore".to_owned()));
        assert_eq!(opened.read_only.len(), READ_ONLY.len());
        assert_eq!(Paths::new(&Unmask::All, &[]), Paths::default());
    }
}
