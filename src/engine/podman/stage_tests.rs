use super::*;
use crate::model::Digest;

fn wanted(name: &str, authfile: Option<&str>) -> Wanted {
    let digest = Digest::of(name.as_bytes());
    let source =
        ImageSource { reference: name.parse().unwrap(), authfile: authfile.map(Into::into) };
    let platform = Platform::host();
    let image = ImageIdentity { target: digest.clone(), manifest: digest, platform };
    Wanted { source, image, outcome: oneshot::channel().0 }
}

fn facts(wanted: &Wanted) -> Facts {
    Facts {
        id: wanted.source.reference.to_string(),
        identity: wanted.image.clone(),
        digests: vec![wanted.image.manifest.clone()],
        labels: BTreeMap::new(),
        layers: vec![],
    }
}

fn said(success: bool) -> Said {
    Said { success, output: vec![], error: String::new() }
}

fn failure() -> Failure {
    Failure::new(FailureKind::Local, "boom")
}

#[test]
fn a_call_is_for_one_registry_with_one_kind_of_credentials() {
    let names = |calls: Vec<Vec<Wanted>>| -> Vec<Vec<String>> {
        let name = |wanted: &Wanted| wanted.source.reference.to_string();
        calls.iter().map(|call| call.iter().map(name).collect()).collect()
    };
    let mut all = vec![wanted("quay.io/a:1", None), wanted("ghcr.io/b:1", None)];
    all.push(wanted("quay.io/c:1", Some("/etc/c.json")));
    all.extend((0..5).map(|number| wanted(&format!("quay.io/{number}:1"), None)));
    assert_eq!(
        names(calls(all)),
        [
            vec!["ghcr.io/b:1"],
            vec!["quay.io/a:1", "quay.io/0:1"],
            vec!["quay.io/1:1", "quay.io/2:1"],
            vec!["quay.io/3:1", "quay.io/4:1"],
            vec!["quay.io/c:1"],
        ]
    );
    let many = (0..100).map(|number| wanted(&format!("quay.io/{number}:1"), None)).collect();
    assert!(calls(many).iter().all(|call| call.len() <= IN_ONE_CALL));
    assert!(calls(vec![]).is_empty());
}

#[test]
fn each_image_is_held_against_what_came_for_it() {
    let (one, two) = (wanted("quay.io/one:1", None), wanted("quay.io/two:1", None));
    let came = [facts(&one), facts(&two)];
    let ids = |order: [&Wanted; 2]| order.map(|wanted| wanted.source.reference.to_string());
    let judged = |order| judge(&[&one, &two], &said(true), &ids(order), &came, failure);
    assert_eq!(judged([&one, &two]), [Some(Ok(())), Some(Ok(()))]);
    let swapped = judged([&two, &one]);
    assert!(swapped.iter().all(|outcome| matches!(outcome, Some(Err(_)))), "{swapped:?}");
    let too_few = judge(&[&one, &two], &said(true), &ids([&one, &two])[..1], &came, failure);
    assert_eq!(too_few, [None, None]);
}

#[test]
fn a_failure_is_that_of_the_one_that_is_missing() {
    let (one, two) = (wanted("quay.io/one:1", None), wanted("quay.io/two:1", None));
    let came = [facts(&two)];
    let judged = judge(&[&one, &two], &said(false), &[], &came, failure);
    assert_eq!(judged, [Some(Err(failure())), Some(Ok(()))]);
    let both = judge(&[&one, &two], &said(false), &[], &[], failure);
    assert_eq!(both, [None, None], "each is asked for alone");
}
