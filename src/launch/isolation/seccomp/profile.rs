//! Seccomp profiles in the JSON form of Docker and Podman, and in that of the OCI runtime-spec: from
//! text to a policy. Pure.
//!
//! They mean here what runc and libseccomp make of them: a name that no architecture knows is passed
//! over; a rule without arguments wins over those with; of those, the first whose arguments match
//! answers; two conditions on one argument are two rules. What this program cannot carry out is
//! refused, and the rule named.

use std::collections::BTreeMap;

use oci_spec::OciSpecError;
use oci_spec::runtime::LinuxSeccomp;
use serde::Deserialize;

use crate::launch::isolation::capability::Capabilities;
use crate::launch::isolation::seccomp::bpf::{self, Condition, Half, Policy, Rule, Test, TooLong};
use crate::launch::isolation::seccomp::{ALLOW, Filter, KILL_PROCESS, NATIVE, errno, names, rules};

/// The largest profile, in bytes.
pub(crate) const MAX: u64 = 1 << 20;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidProfile {
    #[error("it is not a seccomp profile")]
    Json(#[source] serde_json::Error),
    #[error("{0}")]
    Whole(Problem),
    #[error("rule {number} ({calls}): {problem}")]
    Rule { number: usize, calls: String, problem: Problem },
    #[error(transparent)]
    TooLong(#[from] TooLong),
    #[error("it cannot be put into the runtime's words")]
    Words(#[from] OciSpecError),
}

/// What is wrong, or cannot be carried out here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("action {0:?} is not known")]
    Action(String),
    #[error("SCMP_ACT_NOTIFY asks another program, which updater-launch does not do")]
    Notify,
    #[error("error {0:?} is neither the name of one nor a number up to 4095")]
    Errno(String),
    #[error("operator {0:?} is not known")]
    Operator(String),
    #[error("a call has the arguments 0 to 5, and no argument {0}")]
    Argument(u64),
    #[error("architecture {0:?} is not known")]
    Architecture(String),
    #[error("both \"architectures\" and \"archMap\" are there: leave one out")]
    Architectures,
    #[error("flag {0:?} cannot be set")]
    Flag(String),
    #[error("both \"name\" and \"names\" are there: leave one out")]
    Names,
    #[error("\"minKernel\" {0:?} is not a version, such as 4.8")]
    Kernel(String),
}

/// What a profile's rules depend on besides its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host<'a> {
    pub(crate) capabilities: &'a Capabilities,
    /// `uname -r`.
    pub(crate) kernel: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u64>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<Architecture>>,
    syscalls: Option<Vec<Call>>,
    flags: Option<Vec<String>>,
    #[serde(rename = "comment", alias = "$schema")]
    _comment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Architecture {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Call {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u64>,
    errno: Option<String>,
    args: Option<Vec<Argument>>,
    includes: Option<Only>,
    excludes: Option<Only>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u64,
    value: u64,
    value_two: Option<u64>,
    op: String,
}

/// For whom a rule is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Only {
    arches: Option<Vec<String>>,
    caps: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Compiles a profile for a container.
///
/// # Errors
/// Where its text is no profile, or something in it cannot be carried out.
pub(crate) fn compile(text: &[u8], host: Host<'_>) -> Result<Filter, InvalidProfile> {
    let (policy, flags) = policy(text, host)?;
    Ok(Filter { program: bpf::compile(&policy)?, flags })
}

/// The same in the words of a runtime that makes the filter itself.
pub(crate) fn to_rules(text: &[u8], host: Host<'_>) -> Result<LinuxSeccomp, InvalidProfile> {
    let (policy, flags) = policy(text, host)?;
    Ok(rules::from_policy(&policy, flags)?)
}

/// What a profile says, and the flags of its filter.
fn policy(text: &[u8], host: Host<'_>) -> Result<(Policy, u32), InvalidProfile> {
    let profile: Profile = serde_json::from_slice(text).map_err(InvalidProfile::Json)?;
    let flags = flags(&profile).map_err(InvalidProfile::Whole)?;
    let mut policy = skeleton(&profile).map_err(InvalidProfile::Whole)?;
    for (number, call) in profile.syscalls.iter().flatten().enumerate() {
        add(&mut policy, call, host).map_err(|problem| InvalidProfile::Rule {
            number: number + 1,
            calls: call.label(),
            problem,
        })?;
    }
    Ok((policy, flags))
}

/// The policy without rules: its architectures and what is answered to all else.
fn skeleton(profile: &Profile) -> Result<Policy, Problem> {
    let Profile { default_errno, default_errno_ret, .. } = profile;
    let otherwise = action(&profile.default_action, *default_errno_ret, default_errno.as_deref())?;
    let names: Vec<&String> = match (&profile.architectures, &profile.arch_map) {
        (Some(_), Some(_)) => return Err(Problem::Architectures),
        (Some(names), None) => names.iter().collect(),
        (None, map) => {
            let known = map.iter().flatten();
            known.clone().try_for_each(|entry| architecture(&entry.architecture).map(|_| ()))?;
            let own = known.filter(|entry| architecture(&entry.architecture) == Ok(Some(NATIVE)));
            own.flat_map(|entry| entry.sub_architectures.iter().flatten()).collect()
        }
    };
    let mut halves = vec![Half {
        architecture: NATIVE,
        calls: BTreeMap::new(),
        otherwise,
        foreign: foreign(&names),
    }];
    for name in names {
        if let Some(architecture) = architecture(name)?
            && halves.iter().all(|half| half.architecture != architecture)
        {
            let calls = BTreeMap::new();
            halves.push(Half { architecture, calls, otherwise, foreign: None });
        }
    }
    Ok(Policy { halves, others: KILL_PROCESS })
}

/// x32, the third way to call x86_64 Linux, which next to no kernel has: as on those, where a profile
/// knows of it; else its callers are killed.
fn foreign(names: &[&String]) -> Option<(u32, u32)> {
    let known = names.iter().any(|name| *name == "SCMP_ARCH_X32");
    let answer = if known { errno(libc::ENOSYS) } else { KILL_PROCESS };
    cfg!(target_arch = "x86_64").then_some((0x4000_0000, answer))
}

/// `AUDIT_ARCH_…` of an architecture whose programs run here and are told apart; `None` of others.
fn architecture(name: &str) -> Result<Option<u32>, Problem> {
    const OTHERS: [&str; 22] = [
        "X86_64",
        "X86",
        "X32",
        "AARCH64",
        "ARM",
        "RISCV64",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC",
        "PPC64",
        "PPC64LE",
        "S390",
        "S390X",
        "PARISC",
        "PARISC64",
        "LOONGARCH64",
        "M68K",
        "SH",
    ];
    let short = name.strip_prefix("SCMP_ARCH_").unwrap_or_default();
    let native = match std::env::consts::ARCH {
        "x86_64" => "X86_64",
        "aarch64" => "AARCH64",
        _ => "RISCV64",
    };
    match short {
        "NATIVE" => Ok(Some(NATIVE)),
        short if short == native => Ok(Some(NATIVE)),
        #[cfg(target_arch = "x86_64")]
        "X86" => Ok(Some(super::I386)),
        short if OTHERS.contains(&short) => Ok(None),
        _ => Err(Problem::Architecture(name.to_owned())),
    }
}

fn flags(profile: &Profile) -> Result<u32, Problem> {
    let bit = |flag: &String| match flag.as_str() {
        "SECCOMP_FILTER_FLAG_LOG" => Ok(libc::SECCOMP_FILTER_FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        // The filter is loaded before there is a second thread.
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(0),
        _ => Err(Problem::Flag(flag.clone())),
    };
    let bits = profile.flags.iter().flatten().map(bit).collect::<Result<Vec<_>, _>>()?;
    Ok(bits.into_iter().fold(0, |flags, bit| flags | u32::try_from(bit).unwrap_or_default()))
}

/// The answer to a call. An error without a number is EPERM.
fn action(name: &str, number: Option<u64>, error: Option<&str>) -> Result<u32, Problem> {
    let data = match error.filter(|error| !error.is_empty()) {
        Some(error) => errno_of(error).ok_or_else(|| Problem::Errno(error.to_owned()))?,
        None => number.unwrap_or(libc::EPERM.unsigned_abs().into()),
    };
    let data = u32::try_from(data).ok().filter(|data| *data <= 4095);
    let data = data.ok_or_else(|| Problem::Errno(number.unwrap_or_default().to_string()))?;
    Ok(match name {
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO | data,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_TRACE" => libc::SECCOMP_RET_TRACE | data,
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        "SCMP_ACT_NOTIFY" => return Err(Problem::Notify),
        other => return Err(Problem::Action(other.to_owned())),
    })
}

/// The number of an error by its name, `EPERM`, or written as a number.
fn errno_of(name: &str) -> Option<u64> {
    let named = |number: &i32| format!("{:?}", nix::errno::Errno::from_raw(*number)) == name;
    let number = (1..=133).find(named).map(|number| u64::from(number.unsigned_abs()));
    number.or_else(|| name.parse().ok())
}

impl Call {
    /// Its names, as an error tells them.
    fn label(&self) -> String {
        let names: Vec<&str> = self.all_names().map(String::as_str).collect();
        names.join(", ").chars().take(80).collect()
    }

    fn all_names(&self) -> impl Iterator<Item = &String> {
        self.name.iter().chain(self.names.iter().flatten())
    }

    /// Whether this rule is for a container on this host.
    fn applies(&self, host: Host<'_>) -> Result<bool, Problem> {
        let (includes, excludes) = (self.includes.as_ref(), self.excludes.as_ref());
        let has = |name: &String| host.capabilities.has(name.strip_prefix("CAP_").unwrap_or(name));
        let here = |name: &String| name == go_architecture();
        let in_them = includes.is_none_or(|only| {
            let arches = only.arches.as_deref().unwrap_or_default();
            let caps = only.caps.as_deref().unwrap_or_default();
            (arches.is_empty() || arches.iter().any(here)) && caps.iter().all(has)
        });
        let in_others = excludes.is_some_and(|only| {
            only.arches.iter().flatten().any(here) || only.caps.iter().flatten().any(has)
        });
        let new_enough = |only: Option<&Only>| match only.and_then(|only| only.min_kernel.as_ref())
        {
            None => Ok(None),
            Some(wanted) => {
                let wanted = version(wanted).ok_or_else(|| Problem::Kernel(wanted.clone()))?;
                Ok(Some(version(host.kernel).is_some_and(|here| here >= wanted)))
            }
        };
        Ok(in_them
            && !in_others
            && new_enough(includes)?.unwrap_or(true)
            && !new_enough(excludes)?.unwrap_or(false))
    }
}

/// Major and minor number of a kernel: `6.1` of `6.1.0-13-amd64`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// This machine, in the words of Go, which profiles are written in.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Adds a rule for all its calls. What is wrong with one that is not for us is wrong all the same.
fn add(policy: &mut Policy, call: &Call, host: Host<'_>) -> Result<(), Problem> {
    if call.name.is_some() && call.names.as_ref().is_some_and(|names| !names.is_empty()) {
        return Err(Problem::Names);
    }
    let answer = action(&call.action, call.errno_ret, call.errno.as_deref())?;
    let arguments = call.args.as_deref().unwrap_or_default();
    let conditions = arguments.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let applies = call.applies(host)?;
    let rules = by_conditions(conditions, answer);
    for half in policy.halves.iter_mut().filter(|half| applies && half.otherwise != answer) {
        for name in call.all_names() {
            add_call(half, name, &rules);
        }
    }
    Ok(())
}

/// Two conditions on one argument are two rules; else all must hold.
fn by_conditions(conditions: Vec<Condition>, answer: u32) -> Vec<Rule> {
    let mut arguments: Vec<u8> = conditions.iter().map(|condition| condition.argument).collect();
    arguments.sort_unstable();
    if arguments.windows(2).any(|pair| pair[0] == pair[1]) {
        let rule = |condition| Rule { conditions: vec![condition], answer };
        conditions.into_iter().map(rule).collect()
    } else {
        vec![Rule { conditions, answer }]
    }
}

fn add_call(half: &mut Half, name: &str, rules: &[Rule]) {
    let number = names::number(half.architecture, name);
    number.into_iter().for_each(|number| insert(&mut half.calls, number, rules));
    // i386 has two gates to many calls: behind them the arguments lie in memory.
    #[cfg(target_arch = "x86_64")]
    if half.architecture == super::I386
        && let Some((gate, value)) = names::gate(name)
        && let [Rule { conditions, answer }] = rules
        && conditions.is_empty()
        && let Some(number) = names::number(half.architecture, gate)
    {
        let condition = Condition { argument: 0, test: Test::Equal, value };
        let rule = Rule { conditions: vec![condition], answer: *answer };
        insert(&mut half.calls, number, &[rule]);
    }
}

fn insert(calls: &mut BTreeMap<u32, Vec<Rule>>, number: u32, rules: &[Rule]) {
    let have = calls.entry(number).or_default();
    for rule in rules {
        let is_always = |rule: &Rule| rule.conditions.is_empty();
        match rule.conditions.is_empty() {
            _ if have.iter().any(is_always) => {}
            true => *have = vec![rule.clone()],
            false => have.push(rule.clone()),
        }
    }
}

fn condition(argument: &Argument) -> Result<Condition, Problem> {
    let index = u8::try_from(argument.index).ok().filter(|index| *index < 6);
    let index = index.ok_or(Problem::Argument(argument.index))?;
    let two = argument.value_two.unwrap_or_default();
    let (test, value) = match argument.op.as_str() {
        "SCMP_CMP_NE" => (Test::NotEqual, argument.value),
        "SCMP_CMP_LT" => (Test::Less, argument.value),
        "SCMP_CMP_LE" => (Test::LessOrEqual, argument.value),
        "SCMP_CMP_EQ" => (Test::Equal, argument.value),
        "SCMP_CMP_GE" => (Test::GreaterOrEqual, argument.value),
        "SCMP_CMP_GT" => (Test::Greater, argument.value),
        "SCMP_CMP_MASKED_EQ" => (Test::Masked(argument.value), two),
        other => return Err(Problem::Operator(other.to_owned())),
    };
    Ok(Condition { argument: index, test, value })
}

#[cfg(test)]
mod tests;
