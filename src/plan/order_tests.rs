use proptest::prelude::*;

use super::*;
use crate::model::{Digest, EngineKind, ImageIdentity, ImageSource, Platform, Policy};
use crate::plan::Step;

fn image(seed: &str) -> ImageIdentity {
    let digest = Digest::of(seed.as_bytes());
    ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
}

/// A rollout of an image called as the first of its units.
fn rollout(units: &[&str]) -> Rollout {
    let step = |unit: &&str| {
        Step::alone(
            format!("{unit}.service").parse().unwrap(),
            vec![(*unit).to_owned()],
            image("old"),
        )
    };
    let reference = format!("quay.io/{}:1", units[0]).parse().unwrap();
    Rollout {
        source: ImageSource { reference, authfile: None },
        engine: EngineKind::Native,
        policy: Policy::Registry,
        new: image("new"),
        moves_tag: true,
        settled: vec![],
        with: vec![],
        steps: units.iter().map(step).collect(),
    }
}

fn names(units: &[&str]) -> Vec<String> {
    let name = |unit: &&str| match unit.contains('.') {
        true => (*unit).to_owned(),
        false => format!("{unit}.service"),
    };
    units.iter().map(name).collect()
}

/// A graph of (unit, those after it, those that need it).
fn graph(edges: &[(&str, &[&str], &[&str])]) -> Graph {
    let mut graph = Graph::default();
    for (unit, later, dependents) in edges {
        let followers = Followers { later: names(later), dependents: names(dependents) };
        graph.learn(names(&[unit]).remove(0), followers);
    }
    graph
}

fn sets(turns: &[Turn]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let sorted = |set: &BTreeSet<usize>| set.iter().copied().collect();
    turns.iter().map(|turn| (sorted(&turn.after), sorted(&turn.needs))).collect()
}

fn turns_of(rollouts: &mut [Rollout], graph: &Graph) -> Vec<(Vec<usize>, Vec<usize>)> {
    sets(&order(rollouts, graph))
}

#[test]
fn strangers_do_not_wait() {
    let mut rollouts = [rollout(&["a"]), rollout(&["b"])];
    // All come before the target that pulls them in, and before the end of the host.
    let all = ["multi-user.target", "shutdown.target"];
    let graph = graph(&[("a", &all, &[]), ("b", &all, &[]), ("shutdown.target", &["b"], &[])]);
    assert_eq!(turns_of(&mut rollouts, &graph), [(vec![], vec![]), (vec![], vec![])]);
}

#[test]
fn a_client_waits_for_its_database_and_needs_it() {
    let mut rollouts = [rollout(&["client"]), rollout(&["db"])];
    let graph = graph(&[("db", &["client"], &["client"])]);
    assert_eq!(turns_of(&mut rollouts, &graph), [(vec![1], vec![1]), (vec![], vec![])]);
}

#[test]
fn the_way_may_lead_over_other_units() {
    let mut rollouts = [rollout(&["app"]), rollout(&["db"])];
    let graph = graph(&[("db", &["stack.target"], &[]), ("stack.target", &["app"], &[])]);
    assert_eq!(turns_of(&mut rollouts, &graph), [(vec![1], vec![]), (vec![], vec![])]);
}

#[test]
fn two_that_one_unit_needs_go_one_after_the_other() {
    let mut rollouts = [rollout(&["cache"]), rollout(&["db"])];
    let graph = graph(&[("cache", &[], &["app"]), ("db", &[], &["app"])]);
    assert_eq!(turns_of(&mut rollouts, &graph), [(vec![], vec![]), (vec![0], vec![])]);
}

#[test]
fn what_two_have_in_common_does_not_turn_their_order_around() {
    let mut rollouts = [rollout(&["client"]), rollout(&["db"])];
    let graph = graph(&[("db", &["client"], &["client"]), ("client", &[], &["web"])]);
    assert_eq!(turns_of(&mut rollouts, &graph), [(vec![1], vec![1]), (vec![], vec![])]);
}

#[test]
fn the_images_of_one_unit_go_one_after_the_other() {
    let mut rollouts = [rollout(&["pod"]), rollout(&["pod"])];
    rollouts[1].source.reference = "quay.io/sidecar:1".parse().unwrap();
    let turns = turns_of(&mut rollouts, &Graph::default());
    assert_eq!(turns, [(vec![], vec![]), (vec![0], vec![])]);
}

#[test]
fn a_circle_is_broken_at_its_first() {
    let mut rollouts = [rollout(&["a", "b"]), rollout(&["c"])];
    let graph = graph(&[("a", &["c"], &[]), ("c", &["b"], &["b"])]);
    assert_eq!(turns_of(&mut rollouts, &graph), [(vec![], vec![]), (vec![0], vec![])]);
}

#[test]
fn who_stands_behind_a_circle_goes_on_waiting() {
    let mut rollouts = [rollout(&["app"]), rollout(&["a", "c"]), rollout(&["b"])];
    let edges: [(&str, &[&str], &[&str]); 3] =
        [("a", &["b"], &[]), ("b", &["c"], &[]), ("c", &["app"], &["app"])];
    let turns = turns_of(&mut rollouts, &graph(&edges));
    assert_eq!(turns, [(vec![1, 2], vec![1]), (vec![], vec![]), (vec![1], vec![])]);
}

#[test]
fn the_units_of_one_rollout_follow_the_graph_too() {
    let mut rollouts = [rollout(&["a", "b", "c"])];
    order(&mut rollouts, &graph(&[("c", &["a"], &["a"])]));
    let units: Vec<_> = rollouts[0].steps.iter().map(|step| step.unit.to_string()).collect();
    assert_eq!(units, ["b.service", "c.service", "a.service"]);
}

#[test]
fn what_stops_with_a_unit_is_found_the_nearest_first() {
    let graph = graph(&[
        ("db", &[], &["app", "stack.target"]),
        ("app", &[], &["web"]),
        ("stack.target", &[], &["web", "db"]),
    ]);
    assert_eq!(graph.dependents("db.service"), names(&["app", "stack.target", "web"]));
}

#[test]
fn a_graph_is_complete_when_all_that_it_names_were_asked_for() {
    let mut graph = Graph::default();
    let asked = |graph: &Graph| graph.unknown(["db.service"].into_iter());
    assert_eq!(asked(&graph), BTreeSet::from(["db.service".to_owned()]));
    let followers = Followers { later: names(&["shutdown.target"]), dependents: names(&["app"]) };
    graph.learn("db.service".into(), followers);
    assert_eq!(asked(&graph), BTreeSet::from(["app.service".to_owned()]));
    graph.learn("app.service".into(), Followers::default());
    assert!(asked(&graph).is_empty());
}

proptest! {
    /// However systemd's graph looks, there is always a rollout whose turn it is.
    #[test]
    fn all_get_their_turn(edges in proptest::collection::vec((0usize..8, 0usize..8, any::<bool>()), 0..30)) {
        let unit = |n: usize| format!("u{n}.service");
        let mut graph = Graph::default();
        let mut followers: BTreeMap<String, Followers> = BTreeMap::new();
        for (from, to, needs) in edges {
            let found = followers.entry(unit(from)).or_default();
            if needs { &mut found.dependents } else { &mut found.later }.push(unit(to));
        }
        for (unit, found) in followers {
            graph.learn(unit, found);
        }
        let mut rollouts: Vec<Rollout> = (0..4).map(|n| {
            let [a, b] = [2 * n, 2 * n + 1].map(|n| format!("u{n}"));
            rollout(&[&a, &b])
        }).collect();
        let turns = order(&mut rollouts, &graph);
        let mut ended = BTreeSet::new();
        while let Some(at) = (0..turns.len()).find(|at| !ended.contains(at) && turns[*at].after.is_subset(&ended)) {
            prop_assert!(turns[at].needs.is_subset(&turns[at].after));
            ended.insert(at);
        }
        prop_assert_eq!(ended.len(), turns.len());
        prop_assert!(rollouts.iter().all(|rollout| rollout.steps.len() == 2));
    }
}

/// A rollout of units that go together.
fn group(units: &[&str]) -> Rollout {
    let mut rollout = rollout(units);
    rollout.steps.iter_mut().for_each(|step| step.group = "web".parse().ok());
    rollout
}

/// Each step: its unit, what it waits for, whose restart restarts it.
fn steps(rollout: &Rollout) -> Vec<(&str, Vec<usize>, Vec<usize>)> {
    let name = |step: &'_ Step| step.unit.as_str().len() - ".service".len();
    let steps = rollout.steps.iter();
    steps
        .map(|step| {
            (&step.unit.as_str()[..name(step)], step.after.clone(), step.carried_by.clone())
        })
        .collect()
}

#[test]
fn those_that_go_together_do_not_wait_and_are_restarted_by_those_they_need() {
    let mut rollouts = [group(&["app", "db", "web"])];
    order(&mut rollouts, &graph(&[("db", &["app", "web"], &["app"]), ("app", &["web"], &["web"])]));
    assert_eq!(
        steps(&rollouts[0]),
        [("db", vec![], vec![]), ("app", vec![], vec![0]), ("web", vec![], vec![0, 1])]
    );
}

/// One that comes between two of a group would wait for the group, and the group for it.
#[test]
fn who_comes_between_two_that_go_together_comes_after_them() {
    let mut rollouts = [group(&["a", "c"])];
    rollouts[0].steps.push(rollout(&["b"]).steps.remove(0));
    order(&mut rollouts, &graph(&[("a", &["b"], &["b"]), ("b", &["c"], &["c"])]));
    assert_eq!(
        steps(&rollouts[0]),
        [("a", vec![], vec![]), ("c", vec![], vec![0]), ("b", vec![0, 1], vec![])]
    );
}

#[test]
fn those_that_need_each_other_are_restarted_by_the_first() {
    let mut rollouts = [group(&["a", "b"])];
    order(&mut rollouts, &graph(&[("a", &["b"], &["b"]), ("b", &["a"], &["a"])]));
    assert_eq!(steps(&rollouts[0]), [("a", vec![], vec![]), ("b", vec![], vec![0])]);
}
