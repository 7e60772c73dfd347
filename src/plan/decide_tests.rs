use super::*;
use crate::model::policy::InvalidPolicy;
use crate::model::{Digest, FailureKind, ImageSource, Platform};
use crate::plan::Quarantined;

fn image(seed: &str) -> ImageIdentity {
    let digest = Digest::of(seed.as_bytes());
    ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
}

fn container(number: u8, unit: &str, reference: &str) -> Container {
    Container {
        id: format!("{number:064x}").parse().unwrap(),
        name: format!("c{number}"),
        engine: EngineKind::Native,
        claimed: None,
        digests: vec![],
        unit: unit.parse().ok(),
        guest_of: None,
        group: None,
        policy: Ok(Policy::Registry),
        source: ImageSource { reference: reference.parse().unwrap(), authfile: None },
        image: image("old"),
        created: Timestamp::UNIX_EPOCH,
    }
}

struct Case {
    containers: Vec<Container>,
    bystanders: Vec<Bystander>,
    available: BTreeMap<ContainerId, Available>,
    quarantine: Quarantine,
    groups: Groups,
    put_offs: PutOffs,
    gates: Gates,
    probations: Vec<Probation>,
    selection: Vec<UnitName>,
}

impl Case {
    fn of(containers: Vec<Container>) -> Self {
        let newer = |c: &Container| (c.id.clone(), Available::Image(image("new")));
        let available = containers.iter().map(newer).collect();
        Self {
            containers,
            bystanders: vec![],
            available,
            quarantine: Quarantine::default(),
            groups: Groups::default(),
            put_offs: PutOffs::default(),
            gates: Gates::default(),
            probations: vec![],
            selection: vec![],
        }
    }

    fn plan(&self) -> Plan {
        decide(&Input {
            containers: &self.containers,
            bystanders: &self.bystanders,
            available: &self.available,
            quarantine: &self.quarantine,
            groups: &self.groups,
            put_offs: &self.put_offs,
            gates: &self.gates,
            probations: &self.probations,
            selection: &self.selection,
            now: Timestamp::UNIX_EPOCH,
        })
    }

    fn only_reason(&self) -> Reason {
        let plan = self.plan();
        assert!(plan.rollouts.is_empty(), "{plan:?}");
        assert_eq!(plan.skipped.len(), 1, "{plan:?}");
        plan.skipped[0].reason.clone()
    }
}

#[test]
fn units_on_one_reference_are_one_rollout() {
    let case = Case::of(vec![
        container(1, "b.service", "quay.io/app:1"),
        container(2, "a.service", "quay.io/app:1"),
        container(3, "c.service", "quay.io/other:1"),
    ]);
    let plan = case.plan();
    assert_eq!(plan.rollouts.len(), 2);
    let units: Vec<_> = plan.rollouts[0].steps.iter().map(|step| step.unit.as_str()).collect();
    assert_eq!(units, ["a.service", "b.service"]);
    assert!(plan.rollouts[0].moves_tag);
}

#[test]
fn a_selection_leaves_the_tag_to_its_siblings() {
    let mut case = Case::of(vec![
        container(1, "a.service", "quay.io/app:1"),
        container(2, "b.service", "quay.io/app:1"),
    ]);
    case.selection = vec!["b.service".parse().unwrap()];
    let plan = case.plan();
    assert_eq!(plan.rollouts[0].steps.len(), 1);
    assert!(!plan.rollouts[0].moves_tag);
    assert!(plan.skipped.is_empty());
}

#[test]
fn the_last_of_the_siblings_moves_the_tag() {
    let mut updated = container(1, "a.service", "quay.io/app:1");
    updated.image = image("new");
    let case = Case::of(vec![updated, container(2, "b.service", "quay.io/app:1")]);
    let rollout = &case.plan().rollouts[0];
    assert!(rollout.moves_tag);
    assert_eq!(rollout.settled, ["a.service".parse().unwrap()]);
}

#[test]
fn a_unit_with_two_containers_is_restarted_once() {
    let case = Case::of(vec![
        container(1, "a.service", "quay.io/app:1"),
        container(2, "a.service", "quay.io/app:1"),
    ]);
    let plan = case.plan();
    assert_eq!(plan.rollouts[0].steps.len(), 1);
    assert_eq!(plan.rollouts[0].steps[0].containers, ["c1", "c2"]);
}

#[test]
fn the_same_manifest_behind_another_index_is_up_to_date() {
    let mut case = Case::of(vec![container(1, "a.service", "quay.io/app:1")]);
    let reindexed = ImageIdentity { target: Digest::of(b"index"), ..image("old") };
    case.available.insert(case.containers[0].id.clone(), Available::Image(reindexed));
    assert_eq!(case.only_reason(), Reason::UpToDate);
}

#[test]
fn a_quarantined_digest_is_not_tried_again() {
    let mut case = Case::of(vec![container(1, "a.service", "quay.io/app:1")]);
    case.quarantine.add(Quarantined {
        repository: "quay.io/app".into(),
        manifest: image("new").manifest,
        since: Timestamp::UNIX_EPOCH,
        unit: "a.service".parse().unwrap(),
        cause: "crashed".into(),
        beside: vec![],
    });
    assert!(matches!(case.only_reason(), Reason::Quarantined { .. }));
    case.available.insert(case.containers[0].id.clone(), Available::Image(image("newer")));
    assert_eq!(case.plan().rollouts.len(), 1);
}

#[test]
fn what_is_put_off_waits_and_another_image_does_not() {
    let mut case = Case::of(vec![container(1, "a.service", "quay.io/app:1")]);
    let (app, new) = (case.containers[0].source.reference.clone(), image("new").manifest);
    let hour = std::time::Duration::from_secs(3600);
    case.put_offs.put_off(&app, &new, "no disk".into(), Timestamp::UNIX_EPOCH, hour);
    let reason = case.only_reason();
    assert!(matches!(reason, Reason::PutOff { .. }) && !reason.is_error());
    case.available.insert(case.containers[0].id.clone(), Available::Image(image("newer")));
    assert_eq!(case.plan().rollouts.len(), 1);
}

#[test]
fn each_container_has_its_own_reason() {
    let mut invalid = container(1, "a.service", "quay.io/app:1");
    invalid.policy = Err(InvalidPolicy("always".into()));
    let reason = Case::of(vec![invalid.clone()]).only_reason();
    assert!(matches!(reason, Reason::InvalidPolicy { .. }) && reason.is_error());

    let mut disabled = container(2, "a.service", "quay.io/app:1");
    disabled.policy = Ok(Policy::Disabled);
    assert_eq!(Case::of(vec![disabled]).only_reason(), Reason::Disabled);

    assert_eq!(
        Case::of(vec![container(3, "", "quay.io/app:1")]).only_reason(),
        Reason::NoUnit { claimed: None }
    );

    let mut guest = container(3, "", "quay.io/app:1");
    guest.guest_of = "ci.service".parse().ok();
    let mut case = Case::of(vec![guest]);
    assert!(matches!(case.only_reason(), Reason::Guest { .. }));
    let skipped = serde_json::to_string(&case.plan().skipped).unwrap();
    let read: Vec<Skipped> = serde_json::from_str(&skipped).unwrap();
    assert_eq!(read, case.plan().skipped);
    case.selection = vec!["ci.service".parse().unwrap()];
    assert!(case.plan().skipped.is_empty(), "it is not the unit's");

    let pinned = format!("quay.io/app:1@{}", Digest::of(b"x"));
    assert_eq!(Case::of(vec![container(4, "a.service", &pinned)]).only_reason(), Reason::Pinned);

    let mut case = Case::of(vec![container(5, "a.service", "quay.io/app:1"), invalid]);
    let failure = Failure::new(FailureKind::Unreachable, "no route");
    case.available.insert(case.containers[0].id.clone(), Available::Failed(failure.clone()));
    let plan = case.plan();
    assert!(plan.rollouts.is_empty());
    assert!(
        plan.skipped.iter().any(|s| s.reason == Reason::CheckFailed { failure: failure.clone() })
    );
}

#[test]
fn who_shares_a_tag_unasked_is_warned_of_where_the_tag_is_all_there_is() {
    let mut case = Case::of(vec![
        container(1, "a.service", "quay.io/app:1"),
        container(2, "held.service", "quay.io/app:1"),
        container(3, "held.service", "quay.io/other:1"),
    ]);
    case.containers[1].policy = Ok(Policy::Disabled);
    case.containers[2].policy = Ok(Policy::Disabled);
    for name in ["app:1", "other:1"] {
        case.bystanders.push(Bystander {
            name: format!("beside-{name}"),
            engine: EngineKind::Podman,
            reference: format!("quay.io/{name}").parse().unwrap(),
        });
    }
    assert_eq!(case.plan().warnings, vec![], "units have bindings");
    case.containers.iter_mut().for_each(|container| container.engine = EngineKind::Podman);
    let warnings: Vec<String> = case.plan().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("container c2 is disabled"), "{warnings:?}");
    assert!(warnings[1].contains("container beside-app:1 has no update label"), "{warnings:?}");
}

#[test]
fn a_unit_with_new_images_of_several_references_is_restarted_once() {
    let case = Case::of(vec![
        container(1, "pod.service", "quay.io/a:1"),
        container(2, "pod.service", "quay.io/b:1"),
        container(3, "other.service", "quay.io/b:1"),
    ]);
    let plan = case.plan();
    let [first, second] = &plan.rollouts[..] else { panic!("{plan:?}") };
    assert_eq!(first.steps[0].along[0].source, second.source);
    assert!(!first.steps[0].led);
    let led: Vec<_> = second.steps.iter().map(|step| (step.unit.as_str(), step.led)).collect();
    assert_eq!(led, [("other.service", false), ("pod.service", true)]);
}
