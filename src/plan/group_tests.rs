use jiff::Timestamp;

use super::*;
use crate::model::{
    ContainerId, Digest, EngineKind, Failure, FailureKind, ImageSource, Platform, Policy,
};
use crate::plan::PutOffs;
use crate::plan::decide::{Available, Input, Plan, decide};
use crate::plan::quarantine::Quarantined;

fn image(seed: &str) -> ImageIdentity {
    let digest = Digest::of(seed.as_bytes());
    ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
}

fn unit(name: &str) -> UnitName {
    format!("{name}.service").parse().unwrap()
}

/// A host whose units run "old" of the image called as they are, and may have "new NAME".
struct Case {
    containers: Vec<Container>,
    available: BTreeMap<ContainerId, Available>,
    configured: BTreeMap<UnitName, Group>,
    quarantine: Quarantine,
    selection: Vec<UnitName>,
}

impl Case {
    fn of(units: &[&str]) -> Self {
        let mut case = Self {
            containers: vec![],
            available: BTreeMap::new(),
            configured: BTreeMap::new(),
            quarantine: Quarantine::default(),
            selection: vec![],
        };
        units.iter().for_each(|unit| case.add(unit, unit));
        case
    }

    fn add(&mut self, name: &str, image_name: &str) {
        let id: ContainerId = format!("{:064x}", self.containers.len()).parse().unwrap();
        let new = image(&format!("new {image_name}"));
        self.available.insert(id.clone(), Available::Image(new));
        self.containers.push(Container {
            name: format!("{name}-{}", self.containers.len()),
            id,
            engine: EngineKind::Native,
            claimed: None,
            digests: vec![],
            unit: Some(unit(name)),
            guest_of: None,
            policy: Ok(Policy::Registry),
            group: None,
            source: ImageSource {
                reference: format!("quay.io/{image_name}:1").parse().unwrap(),
                authfile: None,
            },
            image: image("old"),
            created: Timestamp::UNIX_EPOCH,
        });
    }

    fn group(mut self, group: &str, units: &[&str]) -> Self {
        let group: Group = group.parse().unwrap();
        self.configured.extend(units.iter().map(|name| (unit(name), group.clone())));
        self
    }

    fn find(&mut self, name: &str, found: Available) {
        let own = self.containers.iter().find(|it| it.unit == Some(unit(name))).unwrap();
        self.available.insert(own.id.clone(), found);
    }

    fn plan(&self) -> Plan {
        let groups = Groups::new(&self.configured, &self.containers);
        decide(&Input {
            containers: &self.containers,
            bystanders: &[],
            available: &self.available,
            quarantine: &self.quarantine,
            groups: &groups,
            put_offs: &PutOffs::default(),
            gates: &crate::plan::Gates::default(),
            probations: &[],
            selection: &groups.complete(&self.selection),
            now: Timestamp::UNIX_EPOCH,
        })
    }

    /// What a rollout of this plan would have written where `name` failed in it.
    fn failed(&mut self, name: &str) {
        let plan = self.plan();
        let found = plan.rollouts.iter().flat_map(|it| it.steps.iter().map(move |step| (it, step)));
        let (rollout, step) = found.into_iter().find(|(_, step)| step.unit == unit(name)).unwrap();
        let aim = rollout.aim(step);
        self.quarantine.add(Quarantined {
            repository: aim.reference().name(),
            manifest: aim.new.manifest.clone(),
            since: Timestamp::UNIX_EPOCH,
            unit: step.unit.clone(),
            cause: "it crashed".to_owned(),
            beside: step.beside.clone(),
        });
    }
}

/// The units of each rollout.
fn units(plan: &Plan) -> Vec<Vec<String>> {
    let names = |rollout: &Rollout| {
        let names = rollout.steps.iter().map(|step| step.unit.as_str());
        names.map(|name| name.trim_end_matches(".service").to_owned()).collect()
    };
    plan.rollouts.iter().map(names).collect()
}

fn reasons(plan: &Plan) -> Vec<(String, &Reason)> {
    let of = |skipped: &super::super::decide::Skipped| skipped.unit.as_ref().unwrap().to_string();
    plan.skipped.iter().map(|skipped| (of(skipped), &skipped.reason)).collect()
}

#[test]
fn the_images_of_a_group_are_one_rollout() {
    let case = Case::of(&["app", "db", "other"]).group("web", &["app", "db"]);
    let plan = case.plan();
    assert_eq!(units(&plan), [vec!["app", "db"], vec!["other"]]);
    let rollout = &plan.rollouts[0];
    let images: Vec<_> = rollout.steps.iter().map(|step| rollout.aim(step).new.clone()).collect();
    assert_eq!(images, [image("new app"), image("new db")]);
    assert_eq!(rollout.companions(&rollout.steps[0]), [&unit("db")]);
    assert!(plan.rollouts[1].with.is_empty());
}

#[test]
fn who_shares_an_image_with_a_group_is_of_its_rollout() {
    let mut case = Case::of(&["app", "db"]).group("web", &["app", "db"]);
    case.add("second", "app");
    case = case.group("rest", &["second", "third"]);
    case.add("third", "third");
    let plan = case.plan();
    assert_eq!(units(&plan), [vec!["app", "second", "db", "third"]]);
    let rollout = &plan.rollouts[0];
    let images = |name: &str| {
        let step = rollout.steps.iter().find(|step| step.unit == unit(name)).unwrap();
        rollout.aim(step).reference().to_string()
    };
    assert_eq!(
        (images("second"), images("third")),
        ("quay.io/app:1".into(), "quay.io/third:1".into())
    );
}

#[test]
fn a_unit_with_several_images_is_restarted_with_its_group_once() {
    let mut case = Case::of(&["pod", "db"]).group("web", &["pod", "db"]);
    case.add("pod", "sidecar");
    let plan = case.plan();
    assert_eq!(plan.rollouts.len(), 1);
    assert_eq!(plan.rollouts[0].steps.len(), 3);
    assert!(plan.rollouts[0].steps.iter().all(|step| step.along.is_empty() && !step.led));
}

#[test]
fn a_label_names_the_group_where_the_configuration_does_not() {
    let mut case = Case::of(&["app", "db", "web"]).group("other", &["web"]);
    case.containers.iter_mut().for_each(|container| container.group = Some("stack".to_owned()));
    assert_eq!(units(&case.plan()), [vec!["app", "db"], vec!["web"]]);
    case.containers[0].group = Some("two words".to_owned());
    let plan = case.plan();
    assert_eq!(units(&plan), [vec!["db"], vec!["web"]]);
    assert!(matches!(reasons(&plan)[..], [(_, Reason::InvalidGroup { .. })]), "{plan:?}");
    assert!(plan.skipped[0].reason.is_error());
    case.containers[0].group = Some("stack".to_owned());
    case.add("app", "sidecar");
    case.containers[3].group = Some("another".to_owned());
    assert!(matches!(reasons(&case.plan())[0], (_, Reason::InvalidGroup { .. })));
}

#[test]
fn who_is_asked_for_brings_its_group() {
    let mut case = Case::of(&["app", "db", "other"]).group("web", &["app", "db"]);
    case.selection = vec![unit("app")];
    let plan = case.plan();
    assert_eq!(units(&plan), [vec!["app", "db"]]);
    assert!(plan.skipped.is_empty());
}

/// Without its image nobody knows whether it would go.
#[test]
fn a_group_waits_for_one_that_could_not_be_checked() {
    let mut case = Case::of(&["app", "db", "other"]).group("web", &["app", "db"]);
    case.find("db", Available::Failed(Failure::new(FailureKind::Unreachable, "no route")));
    let plan = case.plan();
    assert_eq!(units(&plan), [vec!["other"]]);
    let text: Vec<String> = plan.skipped.iter().map(|skipped| skipped.reason.to_string()).collect();
    assert_eq!(
        text,
        ["its group web waits for db.service: check failed: no route", "check failed: no route"]
    );
}

/// They are told to another process.
#[test]
fn what_holds_a_group_up_is_read_as_it_is_written() {
    let mut case = Case::of(&["app", "db"]).group("web", &["app", "db"]);
    case.failed("app");
    let failed = case.plan();
    case.find("db", Available::Failed(Failure::new(FailureKind::Unreachable, "no route")));
    case.add("second", "app");
    case.containers.iter_mut().for_each(|container| container.engine = EngineKind::Podman);
    let mut invalid = Case::of(&["app"]);
    invalid.containers[0].group = Some(String::new());
    for plan in [failed, case.plan(), invalid.plan()] {
        assert!(!plan.skipped.is_empty());
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}

/// Nothing is to be had for these: the others go on.
#[test]
fn a_group_goes_on_without_who_gets_no_image() {
    for policy in [true, false] {
        let mut case = Case::of(&["app", "db"]).group("web", &["app", "db"]);
        match policy {
            true => case.containers[1].policy = Ok(Policy::Disabled),
            false => case.find("db", Available::Image(image("old"))),
        }
        let plan = case.plan();
        assert_eq!(units(&plan), [vec!["app"]]);
        let old =
            Beside { repository: "quay.io/db".into(), manifest: image("old").manifest, new: false };
        assert_eq!(plan.rollouts[0].steps[0].beside, [old]);
    }
}

#[test]
fn what_failed_together_is_not_tried_again_until_one_of_it_changes() {
    let mut case = Case::of(&["app", "db"]).group("web", &["app", "db"]);
    case.failed("app");
    let plan = case.plan();
    assert_eq!(units(&plan), Vec::<Vec<String>>::new());
    let reasons = reasons(&plan);
    assert!(
        reasons.iter().all(|(_, why)| matches!(why, Reason::FailedTogether { .. })),
        "{plan:?}"
    );
    assert!(!reasons[0].1.is_error());
    // Neither is bad elsewhere.
    let mut elsewhere = Case::of(&["x"]);
    elsewhere.add("y", "app");
    elsewhere.add("z", "db");
    elsewhere.quarantine = case.quarantine.clone();
    assert_eq!(elsewhere.plan().rollouts.len(), 3);
    case.find("db", Available::Image(image("newer db")));
    assert_eq!(units(&case.plan()), [vec!["app", "db"]]);
}

#[test]
fn who_fails_alone_is_quarantined_and_has_another_chance_beside_another_image() {
    let mut case = Case::of(&["app", "db"]).group("web", &["app", "db"]);
    case.find("db", Available::Image(image("old")));
    case.failed("app");
    assert_eq!(units(&case.plan()), Vec::<Vec<String>>::new());
    let mut elsewhere = Case::of(&["x"]);
    elsewhere.add("y", "app");
    elsewhere.quarantine = case.quarantine.clone();
    assert_eq!(units(&elsewhere.plan()), [vec!["x"]], "nobody else is to blame");
    case.find("db", Available::Image(image("new db")));
    assert_eq!(units(&case.plan()), [vec!["app", "db"]]);
}

/// Both of its images come with the group's, for it follows their tags: either may be to blame.
#[test]
fn a_unit_without_a_group_that_gets_several_images_at_once_condemns_none_of_them() {
    let mut case = Case::of(&["app", "db", "cache"]).group("web", &["app", "cache", "db"]);
    case.add("pod", "app");
    case.add("pod", "db");
    assert_eq!(units(&case.plan()), [vec!["app", "pod", "cache", "db", "pod"]]);
    case.failed("pod");
    let mut elsewhere = Case::of(&["x"]);
    elsewhere.add("y", "app");
    elsewhere.add("z", "db");
    elsewhere.quarantine = case.quarantine.clone();
    assert_eq!(elsewhere.plan().rollouts.len(), 3);
    let plan = case.plan();
    assert_eq!(units(&plan), [vec!["app", "cache", "db"]], "the group goes on without it");
    let together =
        |(_, why): &(String, &Reason)| matches!(why, Reason::FailedTogether { group: None, .. });
    let reasons = reasons(&plan);
    assert!(reasons.len() == 2 && reasons.iter().all(together), "{plan:?}");
}

#[test]
fn who_fails_beside_one_image_after_another_is_left_out_and_the_others_go_on() {
    let mut case = Case::of(&["app", "db"]).group("web", &["app", "db"]);
    for version in ["1", "2", "3"] {
        case.find("db", Available::Image(image(version)));
        assert_eq!(units(&case.plan()), [vec!["app", "db"]], "{version}");
        case.failed("app");
    }
    case.find("db", Available::Image(image("4")));
    let plan = case.plan();
    assert_eq!(units(&plan), [vec!["db"]]);
    assert!(matches!(reasons(&plan)[..], [(_, Reason::Quarantined { .. })]));
}

#[test]
fn who_has_only_the_tag_of_a_group_that_waits_waits_too() {
    for (engine, expected) in [(EngineKind::Podman, 0), (EngineKind::Native, 1)] {
        let mut case = Case::of(&["app", "db"]).group("web", &["app", "db"]);
        case.add("second", "app");
        case.containers.iter_mut().for_each(|container| container.engine = engine);
        case.find("db", Available::Failed(Failure::new(FailureKind::Unreachable, "no route")));
        let plan = case.plan();
        assert_eq!(plan.rollouts.len(), expected, "{engine}: {plan:?}");
        let waits =
            plan.skipped.iter().filter(|it| matches!(it.reason, Reason::WaitsForUnit { .. }));
        assert_eq!(waits.count(), 1 - expected);
    }
}
