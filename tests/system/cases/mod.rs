//! The tests, by what they are about.

/// The tests of a module, by the names of its functions.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[crate::Case] =
            &[$(crate::Case { name: stringify!($name), run: $name }),*];
    };
}

mod answers;
mod asking;
mod auto_update;
mod bad_link;
mod better;
mod busless;
mod by_hand;
mod commands;
mod copying;
mod cost;
mod crash;
mod credentials;
mod failure;
mod gates;
mod groups;
mod health;
mod hooks;
mod hostile;
mod hosts;
mod images;
mod innocent;
mod installation;
mod interruption;
mod isolation;
mod kinds;
mod launcher;
mod launcher_box;
mod lifecycle;
mod networks;
mod next_run;
mod probes;
mod process_model;
mod proxies;
mod notification;
mod pasta;
mod podman;
mod podman_names;
mod podman_policies;
mod podman_rootless;
mod policy;
mod pods;
mod observing;
mod registry;
mod retention;
mod rollback;
mod rootless;
mod rootless_users;
mod rootless_verbs;
mod runtimes;
mod service;
mod short_names;
mod storage;
mod surroundings;
mod systemd_inside;
mod terminal;
mod together;
mod update;
mod users;
mod verdicts;

use crate::Case;
pub(crate) use crash::soak;

/// All tests, each with its full name: `module::function`.
pub(crate) fn all() -> Vec<(String, Case)> {
    let modules = [
        ("answers", answers::CASES),
        ("asking", asking::CASES),
        ("auto_update", auto_update::CASES),
        ("bad_link", bad_link::CASES),
        ("better", better::CASES),
        ("busless", busless::CASES),
        ("by_hand", by_hand::CASES),
        ("commands", commands::CASES),
        ("copying", copying::CASES),
        ("cost", cost::CASES),
        ("crash", crash::CASES),
        ("credentials", credentials::CASES),
        ("failure", failure::CASES),
        ("gates", gates::CASES),
        ("groups", groups::CASES),
        ("health", health::CASES),
        ("hooks", hooks::CASES),
        ("hostile", hostile::CASES),
        ("hosts", hosts::CASES),
        ("images", images::CASES),
        ("innocent", innocent::CASES),
        ("installation", installation::CASES),
        ("interruption", interruption::CASES),
        ("isolation", isolation::CASES),
        ("kinds", kinds::CASES),
        ("launcher", launcher::CASES),
        ("launcher_box", launcher_box::CASES),
        ("lifecycle", lifecycle::CASES),
        ("networks", networks::CASES),
        ("next_run", next_run::CASES),
        ("probes", probes::CASES),
        ("process_model", process_model::CASES),
        ("proxies", proxies::CASES),
        ("notification", notification::CASES),
        ("pasta", pasta::CASES),
        ("podman", podman::CASES),
        ("podman_names", podman_names::CASES),
        ("podman_policies", podman_policies::CASES),
        ("podman_rootless", podman_rootless::CASES),
        ("policy", policy::CASES),
        ("pods", pods::CASES),
        ("observing", observing::CASES),
        ("registry", registry::CASES),
        ("retention", retention::CASES),
        ("rollback", rollback::CASES),
        ("rootless", rootless::CASES),
        ("rootless_users", rootless_users::CASES),
        ("rootless_verbs", rootless_verbs::CASES),
        ("runtimes", runtimes::CASES),
        ("service", service::CASES),
        ("short_names", short_names::CASES),
        ("storage", storage::CASES),
        ("surroundings", surroundings::CASES),
        ("systemd_inside", systemd_inside::CASES),
        ("terminal", terminal::CASES),
        ("together", together::CASES),
        ("update", update::CASES),
        ("users", users::CASES),
        ("verdicts", verdicts::CASES),
    ];
    let named = |(module, cases): (&str, &[Case])| -> Vec<(String, Case)> {
        cases.iter().map(|case| (format!("{module}::{}", case.name), *case)).collect()
    };
    let own: Vec<(String, Case)> = modules.into_iter().flat_map(named).collect();
    let again = |runtime: &str| {
        let taken = own.iter().filter(|(name, _)| runtimes::ALSO.contains(&name.as_str()));
        taken.map(|(name, case)| (format!("{runtime}::{name}"), *case)).collect::<Vec<_>>()
    };
    let others = runtimes::INSTALLED.iter().flat_map(|runtime| again(runtime)).collect();
    [own, others].concat()
}

/// The installed runtime that the containers of a test are run by, where it is another than ours.
pub(crate) fn runtime(name: &str) -> Option<&str> {
    let (first, _) = name.split_once("::")?;
    runtimes::INSTALLED.contains(&first).then_some(first)
}
