use super::*;
use crate::model::policy::InvalidPolicy;
use crate::model::{Digest, EngineKind, ImageIdentity, ImageSource, Platform};
use crate::update::Report;

fn container(name: &str, policy: &str) -> Container {
    let digest = Digest::of(b"v1");
    let platform = Platform::host();
    Container {
        id: "ab".repeat(32).parse().unwrap(),
        name: name.into(),
        engine: EngineKind::Podman,
        unit: format!("{name}.service").parse().ok(),
        claimed: None,
        guest_of: None,
        group: None,
        policy: Policy::from_label(policy),
        source: ImageSource { reference: "quay.io/a:1".parse().unwrap(), authfile: None },
        image: ImageIdentity { target: digest.clone(), manifest: digest, platform },
        digests: vec![],
        created: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn outcome(unit: &str, result: OutcomeKind, detail: &str) -> Outcome {
    Outcome {
        unit: format!("{unit}.service").parse().unwrap(),
        reference: "quay.io/a:1".parse().unwrap(),
        old: Digest::of(b"v1"),
        new: Digest::of(b"v2"),
        result,
        detail: detail.into(),
        restored: false,
        elapsed_ms: 0,
    }
}

fn done(containers: Vec<Container>, outcomes: Vec<Outcome>) -> (Vec<Value>, Vec<String>) {
    let report = Report { outcomes, ..Report::default() };
    report_of(AutoUpdated { containers, done: Done::Updated(report) })
}

fn report_of(done: AutoUpdated) -> (Vec<Value>, Vec<String>) {
    report(&done)
}

#[test]
fn each_end_has_podmans_word() {
    for (result, word, error) in [
        (OutcomeKind::Updated, "true", None),
        (OutcomeKind::RolledBack, "rolled back", None),
        (OutcomeKind::NotReached, "false", None),
        (
            OutcomeKind::Failed,
            "failed",
            Some(
                "restarting unit a.service during update: error restarting systemd unit \"a.service\" \
                 expected \"done\" but received \"failed\"",
            ),
        ),
    ] {
        let outcomes = vec![outcome("a", result, "the restart job ended with \"failed\"")];
        let (rows, errors) = done(vec![container("a", "image")], outcomes);
        assert_eq!(rows[0]["Updated"], word);
        assert_eq!(rows[0]["Policy"], "registry");
        assert_eq!(rows[0]["Container"], "abababababab (a)");
        assert_eq!(errors.first().map(String::as_str), error);
    }
}

/// Podman knows no cause but the image.
#[test]
fn an_old_image_that_is_back_is_podmans_rolled_back_whatever_the_cause() {
    let back = Outcome { restored: true, ..outcome("a", OutcomeKind::NeedsOperator, "no disk") };
    let (rows, errors) = done(vec![container("a", "image")], vec![back]);
    assert_eq!((rows[0]["Updated"].as_str(), errors.len()), (Some("rolled back"), 0));
}

#[test]
fn what_cannot_be_updated_is_an_error_and_no_row() {
    let id = "ab".repeat(32);
    let mut unowned = container("b", "registry");
    unowned.unit = None;
    let (rows, errors) = done(vec![container("a", "sometimes"), unowned], vec![]);
    assert_eq!(rows, Vec::<Value>::new());
    let invalid = InvalidPolicy("sometimes".into());
    let expected = [
        format!("auto-updating container \"{id}\": no PODMAN_SYSTEMD_UNIT label found"),
        format!("auto-updating container \"{id}\": {invalid}"),
    ];
    assert_eq!(errors, expected);
    assert_eq!(complaint(&errors[..1]), format!("Error: {}\n", expected[0]));
    assert!(complaint(&errors).starts_with("Error: 2 errors occurred:\n\t* auto-updating"));
}

#[test]
fn what_is_disabled_is_not_shown() {
    assert_eq!(
        done(vec![container("a", "disabled"), container("b", "")], vec![]),
        (vec![], vec![])
    );
}
