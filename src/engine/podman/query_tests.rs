use super::super::fake::{Fake, run};
use crate::model::label;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Shows an image for each name, unless one of them is damaged.
const IMAGES: &str = r#"
"image inspect"*damaged*) echo 'Error: layer not known' >&2; exit 125 ;;
"image inspect"*) shift 2; printf '['; comma=
    for name; do
        printf '%s{"Id":"%064d","Architecture":"amd64","Os":"linux","RepoTags":["%s"]}' \
            "$comma" "$name" "$name"
        comma=,
    done; printf ']' ;;
"#;

#[test]
fn an_image_that_is_damaged_is_not_the_others_end() {
    let fake = Fake::new(IMAGES);
    let podman = fake.podman();
    let all = names(&["1", "2", "damaged", "4", "5"]);
    let told = run(podman.facts_or_why(&all)).unwrap();
    let found: Vec<&str> = told.documents.iter().map(|facts| &facts.id[63..]).collect();
    assert_eq!(found, ["1", "2", "4", "5"]);
    let [problem] = &told.problems[..] else { panic!("{told:?}") };
    assert!(problem.message.contains("damaged\" failed: layer not known"), "{problem}");
    // Nothing else was asked for: that is the answer.
    assert!(run(podman.facts(&all[2..3])).is_err());
    assert!(run(podman.facts(&[])).unwrap().is_empty());
}

#[test]
fn a_podman_that_fails_whatever_it_is_asked_is_not_asked_for_ever() {
    let fake = Fake::new("*) echo 'Error: database is locked' >&2; exit 125 ;;");
    let all: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let failure = run(fake.podman().facts(&all)).unwrap_err();
    assert!(failure.message.contains("database is locked"), "{failure}");
    // Two halves give up, each for itself.
    assert!(fake.read("calls").lines().count() < 100);
}

#[test]
fn a_container_that_cannot_be_read_is_a_problem_and_the_others_are_found() {
    let row = |id: &str| {
        let labels = serde_json::json!({label::AUTOUPDATE: "registry"});
        serde_json::json!({"Id": id, "Names": [id], "Labels": labels})
    };
    let container = |name: &str, state: serde_json::Value| {
        serde_json::json!({
            "Id": "a".repeat(64), "Name": name, "Created": "2026-11-26T10:26:04Z", "State": state,
            "Image": format!("{:064}", 1), "ImageName": "quay.io/a/b:1",
            "Config": {"Labels": {label::AUTOUPDATE: "registry"}},
        })
    };
    let fake = Fake::new(
        r#"ps*) cat ps ;;
        "container inspect"*) cat containers ;;
        "image inspect"*) echo '[{"Id":"'"$3"'","Architecture":"amd64","Os":"linux"}]' ;;"#,
    );
    fake.write("ps", &serde_json::json!([row("good"), row("bad")]).to_string());
    let (good, bad) = (serde_json::json!({}), serde_json::json!({"Pid": -1}));
    let containers = [container("good", good), container("bad", bad)];
    fake.write("containers", &serde_json::json!(containers).to_string());
    let podman = fake.podman();
    let inventory = run(async { podman.inventory_and_look().await.unwrap().0 });
    assert_eq!(inventory.containers.len(), 1, "{inventory:?}");
    let [problem] = &inventory.problems[..] else { panic!("{inventory:?}") };
    assert!(problem.message.contains("\"podman container inspect\" says of bad"), "{problem}");
}
