use super::*;
use crate::model::Platform;

fn image(seed: &str) -> ImageIdentity {
    let digest = Digest::of(seed.as_bytes());
    ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
}

fn container(unit: &str, reference: &str, runs: &str) -> Container {
    Container {
        id: "0".repeat(64).parse().unwrap(),
        name: format!("{unit}-{reference}"),
        engine: EngineKind::Podman,
        claimed: None,
        digests: vec![],
        unit: unit.parse().ok(),
        guest_of: None,
        group: None,
        policy: Ok(Policy::Registry),
        source: ImageSource { reference: reference.parse().unwrap(), authfile: None },
        image: image(runs),
        created: Timestamp::UNIX_EPOCH,
    }
}

/// An update of `unit` that ended at `at`, which is the second of its pass, too.
fn past(unit: &str, reference: &str, (old, new): (&str, &str), at: i64) -> Past {
    Past {
        unit: unit.parse().unwrap(),
        reference: reference.parse().unwrap(),
        engine: Some(EngineKind::Podman),
        old: image(old).manifest,
        new: image(new).manifest,
        ended: Timestamp::from_second(at).unwrap(),
        pass: Timestamp::from_second(at).ok(),
        reverted: false,
    }
}

struct Case {
    containers: Vec<Container>,
    /// Newest first.
    past: Vec<Past>,
    bystanders: Vec<Bystander>,
    images: Vec<ImageIdentity>,
}

impl Case {
    fn of(containers: Vec<Container>, past: Vec<Past>) -> Self {
        let images = ["a1", "a2", "a3", "b1", "b2"].map(image).into();
        Self { containers, past, bystanders: vec![], images }
    }

    fn back(&self, units: &[&str], to: Option<&str>) -> Result<WayBack, Refusal> {
        let units: Vec<UnitName> = units.iter().map(|unit| unit.parse().unwrap()).collect();
        let stored: Vec<Stored<'_>> = places(&units, &self.containers, &self.past)
            .into_iter()
            .map(|place| Stored {
                engine: place.engine().unwrap(),
                images: self
                    .images
                    .iter()
                    .filter(|image| place.known().contains(&image.manifest))
                    .cloned()
                    .collect(),
                place,
            })
            .collect();
        let bystanders = &self.bystanders;
        let wish = Wish { units: &units, to, containers: &self.containers, bystanders };
        way_back(wish, &stored)
    }
}

fn to(way: &WayBack) -> Vec<(String, Digest)> {
    let of =
        |rollout: &Rollout| (rollout.source.reference.to_string(), rollout.new.manifest.clone());
    way.rollouts.iter().map(of).collect()
}

const A: &str = "quay.io/a:1";
const B: &str = "quay.io/b:1";

fn pod() -> Vec<Container> {
    vec![container("pod.service", A, "a2"), container("pod.service", B, "b2")]
}

#[test]
fn the_last_update_of_a_pod_is_taken_back_and_not_those_before() {
    let older = past("pod.service", B, ("b1", "b2"), 10);
    let case = Case::of(pod(), vec![past("pod.service", A, ("a1", "a2"), 20), older.clone()]);
    let way = case.back(&["pod.service"], None).unwrap();
    assert_eq!(to(&way), [(A.to_owned(), image("a1").manifest)]);
    assert_eq!(way.undone, [vec![image("a2").manifest]]);

    // What came in one pass goes in one restart.
    let together = Past { pass: Timestamp::from_second(10).ok(), ..case.past[0].clone() };
    let way = Case::of(pod(), vec![together, older]).back(&["pod.service"], None).unwrap();
    assert_eq!(way.rollouts.len(), 2);
    assert_eq!(way.rollouts[0].steps[0].along[0].new, image("b1"));
    assert!(way.rollouts[1].steps[0].led);
}

#[test]
fn a_digest_finds_its_reference() {
    let case = Case::of(pod(), vec![past("pod.service", B, ("b1", "b2"), 10)]);
    let way = case.back(&["pod.service"], Some(&image("b1").manifest.short())).unwrap();
    assert_eq!(to(&way), [(B.to_owned(), image("b1").manifest)]);
}

#[test]
fn a_member_that_ended_is_the_one_that_goes_back() {
    let dead = vec![container("pod.service", A, "a2")];
    let mut case = Case::of(dead, vec![past("pod.service", B, ("b1", "b2"), 10)]);
    let way = case.back(&["pod.service"], None).unwrap();
    assert_eq!(to(&way), [(B.to_owned(), image("b1").manifest)]);
    assert_eq!(way.rollouts[0].steps[0].old, image("b2"));
    // Started anew since then, the unit may have another image for it.
    case.containers[0].created = Timestamp::from_second(11).unwrap();
    let refusal = case.back(&["pod.service"], None).unwrap_err();
    assert!(matches!(refusal, Refusal::NoUpdate { .. }), "{refusal}");
}

#[test]
fn a_reference_that_the_unit_has_left_is_nothing_to_go_back_to() {
    const NEXT: &str = "quay.io/a:2";
    let moved = Timestamp::from_second(30).unwrap();
    let runs = Container { created: moved, ..container("app.service", NEXT, "b1") };
    let case = Case::of(vec![runs], vec![past("app.service", A, ("a1", "a2"), 10)]);
    let refusal = case.back(&["app.service"], Some(&image("a1").manifest.short())).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::NoSuchImage { stock, .. } if stock.0.is_empty()),
        "{refusal}"
    );
    // It came there by an update, and that one can be taken back.
    let mut case = case;
    case.past.insert(0, past("app.service", NEXT, ("b2", "b1"), 40));
    let way = case.back(&["app.service"], Some(&image("b2").manifest.short())).unwrap();
    assert_eq!(to(&way), [(NEXT.to_owned(), image("b2").manifest)]);
}

#[test]
fn how_a_unit_came_to_what_it_runs_is_what_counts() {
    let past =
        vec![past("app.service", A, ("a2", "a3"), 20), past("app.service", A, ("a1", "a2"), 10)];
    // The newest was undone by somebody.
    let case = Case::of(vec![container("app.service", A, "a2")], past.clone());
    assert_eq!(to(&case.back(&["app.service"], None).unwrap())[0].1, image("a1").manifest);
    // Nobody knows where this comes from.
    let mut case = Case::of(vec![container("app.service", A, "other")], past);
    let refusal = case.back(&["app.service"], None).unwrap_err();
    assert!(matches!(refusal, Refusal::NoUpdate { .. }), "{refusal}");
    let way = case.back(&["app.service"], Some(&image("a3").manifest.to_string())).unwrap();
    assert_eq!(way.undone, [vec![image("other").manifest]]);
    // An image that was removed.
    case.containers[0].image = image("a3");
    case.images.retain(|stored| stored != &image("a2"));
    let refusal = case.back(&["app.service"], None).unwrap_err();
    assert!(matches!(refusal, Refusal::Gone { .. }), "{refusal}");
    assert!(refusal.to_string().contains(&image("a1").manifest.short()), "{refusal}");
}

#[test]
fn all_on_podmans_tag_go_together_and_others_are_told_of() {
    let mut off = container("off.service", A, "a2");
    off.policy = Ok(Policy::Disabled);
    let containers =
        vec![container("one.service", A, "a2"), container("two.service", A, "a2"), off];
    let mut case = Case::of(containers, vec![past("one.service", A, ("a1", "a2"), 10)]);
    case.bystanders.push(Bystander {
        name: "beside".into(),
        engine: EngineKind::Podman,
        reference: A.parse().unwrap(),
    });
    let way = case.back(&["one.service"], None).unwrap();
    let steps: Vec<_> = way.rollouts[0].steps.iter().map(|step| step.unit.as_str()).collect();
    assert_eq!(steps, ["one.service", "two.service"]);
    let [also, off, beside] = &way.warnings[..] else { panic!("{way:?}") };
    assert!(also.starts_with("two.service goes back as well"), "{also}");
    assert!(off.contains("off.service") && beside.contains("container beside"), "{off} {beside}");
    // Two images for one tag cannot be.
    case.past.push(past("two.service", A, ("a3", "a2"), 5));
    let refusal = case.back(&["one.service", "two.service"], None).unwrap_err();
    assert!(matches!(refusal, Refusal::OneTag { .. }), "{refusal}");
}
