use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(text: &str) -> AuthFile {
    AuthFile::parse(Path::new("/auth.json"), text.as_bytes()).unwrap()
}

fn entry(user: &str) -> serde_json::Value {
    json!({ "auth": STANDARD.encode(format!("{user}:pass:word")) })
}

fn entries(entries: &[(&str, &str)]) -> serde_json::Map<String, serde_json::Value> {
    entries.iter().map(|(key, user)| ((*key).to_owned(), entry(user))).collect()
}

fn file(of: &[(&str, &str)]) -> AuthFile {
    parse(&json!({ "auths": entries(of) }).to_string())
}

fn user(file: &AuthFile, name: &str) -> Option<String> {
    match file.look_up(name).unwrap() {
        Found::Login { username, .. } => Some(username),
        Found::Nothing => None,
        Found::Helper(helper) => panic!("{helper:?} is to be asked for {name}"),
    }
}

fn helper(file: &AuthFile, name: &str) -> Option<(String, String, bool)> {
    match file.look_up(name).unwrap() {
        Found::Helper(Helper { name, server, is_for_it }) => Some((name, server, is_for_it)),
        Found::Login { .. } | Found::Nothing => None,
    }
}

fn asked(name: &str, server: &str, is_for_it: bool) -> Option<(String, String, bool)> {
    Some((name.into(), server.into(), is_for_it))
}

#[test]
fn the_longest_namespace_wins() {
    let file = file(&[
        ("quay.io", "host"),
        ("quay.io/team", "team"),
        ("quay.io/team/app", "app"),
        ("quay.io/te", "no"),
    ]);
    for (name, expected) in [
        ("quay.io/other", Some("host")),
        ("quay.io/team/x", Some("team")),
        ("quay.io/team/app", Some("app")),
        ("quay.io/team/app/more", Some("app")),
        ("quay.io.evil/team/app", None),
        ("quay.io:443/team/app", None),
    ] {
        assert_eq!(user(&file, name).as_deref(), expected, "{name}");
    }
}

#[test]
fn keys_may_be_written_as_docker_has_them() {
    for (key, name) in [
        ("https://index.docker.io/v1/", "docker.io/library/nginx"),
        ("docker.io", "docker.io/library/nginx"),
        ("index.docker.io/v1", "docker.io/library/nginx"),
        ("https://registry-1.docker.io", "docker.io/library/nginx"),
        ("HTTPS://Index.Docker.io/v1/", "docker.io/library/nginx"),
        ("Quay.IO", "quay.io/app"),
        ("Quay.IO/Team", "quay.io/Team/app"),
        ("http://quay.io", "quay.io/app"),
        ("Http://Quay.io:8443/v2/", "quay.io:8443/app"),
        ("quay.io/v1/", "quay.io/app"),
        ("quay.io/", "quay.io/app"),
        ("quay.io/v1", "quay.io/v1/app"),
    ] {
        assert_eq!(user(&file(&[(key, "u")]), name).as_deref(), Some("u"), "{key}");
    }
    for (key, name) in [("quay.io/Team", "quay.io/team/app"), ("quay.io/v1", "quay.io/app")] {
        assert_eq!(user(&file(&[(key, "u")]), name), None, "{key}");
    }
}

#[test]
fn what_is_written_as_images_name_it_goes_first() {
    let both = file(&[("https://quay.io/v1/", "url"), ("quay.io", "name")]);
    assert_eq!(user(&both, "quay.io/app").as_deref(), Some("name"));
    // What Docker keeps for itself beside the login.
    let hub = file(&[(HUB, "login"), ("https://index.docker.io/v1/access-token", "token")]);
    assert_eq!(user(&hub, "docker.io/library/app").as_deref(), Some("login"));
}

#[test]
fn the_oldest_form_has_keys_of_registries_alone() {
    let of = entries(&[("https://quay.io/v1/", "quay"), ("ghcr.io/team", "host")]);
    let text = serde_json::Value::from(of).to_string();
    let file = AuthFile::parse(Path::new("/root/.dockercfg"), text.as_bytes()).unwrap();
    assert_eq!(user(&file, "quay.io/app").as_deref(), Some("quay"));
    assert_eq!(user(&file, "ghcr.io/other/app").as_deref(), Some("host"));
    // In any other file, that is something else.
    assert_eq!(user(&parse(&text), "quay.io/app"), None);
}

#[test]
fn a_password_may_have_colons_and_padding() {
    let auth = STANDARD.encode("u:a:b\0\0");
    let file = parse(&json!({"auths": {"r.io": {"auth": auth}}}).to_string());
    let Found::Login { secret, .. } = file.look_up("r.io/a").unwrap() else { panic!("none") };
    assert!(secret == Secret::Password("a:b".into()));
}

#[test]
fn identity_tokens_and_empty_files() {
    let file = parse(r#"{"auths": {"a.io": {"identitytoken": "t", "auth": null}, "b.io": {}}}"#);
    let Found::Login { secret, .. } = file.look_up("a.io/x").unwrap() else { panic!("none") };
    assert!(secret == Secret::IdentityToken("t".into()));
    assert_eq!(user(&file, "b.io/x"), None);
    for empty in ["", " \n", "{}", r#"{"auths": null, "credHelpers": null, "credsStore": null}"#] {
        assert_eq!(user(&parse(empty), "b.io/x"), None);
    }
}

#[test]
fn a_registrys_helper_goes_before_what_the_file_has() {
    let text = json!({
        "auths": {"a.io": entry("host"), "a.io/team": entry("team"), "b.io": entry("b"), "c.io": {}},
        "credHelpers": {"a.io": "own", "B.io": "", "a.io/team": "never"},
        "credsStore": "all",
    });
    let file = parse(&text.to_string());
    assert_eq!(helper(&file, "a.io/team/x"), asked("own", "a.io", true));
    assert_eq!(file.helper_for("a.io/team"), Some("own"));
    // Taken out of the store, what the file has is what there is.
    assert_eq!(user(&file, "b.io/x").as_deref(), Some("b"));
    assert_eq!(file.helper_for("b.io"), None);
    assert_eq!(helper(&file, "c.io/x"), asked("all", "c.io", true));
    assert_eq!(helper(&file, "d.io/x"), asked("all", "d.io", false));
    let names: Vec<String> = file.registries().into_iter().collect();
    assert_eq!(names, ["a.io", "a.io/team", "b.io", "c.io"]);
}

#[test]
fn a_store_is_asked_by_the_key_of_the_login() {
    let with = |auths: &str| parse(&format!("{{\"auths\": {auths}, \"credsStore\": \"s\"}}"));
    let hub = "docker.io/library/app";
    assert_eq!(helper(&with("{}"), hub), asked("s", HUB, false));
    assert_eq!(helper(&with(r#"{"docker.io": {}}"#), hub), asked("s", "docker.io", true));
    let url = with(r#"{"https://Quay.io/v1/": {}}"#);
    assert_eq!(helper(&url, "quay.io/app"), asked("s", "https://Quay.io/v1/", true));
    // Stores know nothing of namespaces.
    assert_eq!(helper(&with(r#"{"q.io/team": {}}"#), "q.io/team/x"), asked("s", "q.io", true));
    let own = parse(&json!({"auths": {"q.io": entry("u")}, "credsStore": "s"}).to_string());
    assert_eq!(user(&own, "q.io/app").as_deref(), Some("u"));
    let out = parse(r#"{"credHelpers": {"q.io": ""}, "credsStore": "s"}"#);
    assert_eq!(user(&out, "q.io/app"), None);
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,200}", key in "[a-zA-Z./:é]{0,20}", auth in "\\PC{0,40}") {
        for path in ["/auth.json", "/.dockercfg"] {
            for text in [
                text.clone(),
                json!({"auths": {key.as_str(): {"auth": auth}}}).to_string(),
                json!({key.as_str(): {"auth": auth}}).to_string(),
            ] {
                if let Ok(file) = AuthFile::parse(Path::new(path), text.as_bytes()) {
                    let _ = file.look_up("r.io/app");
                }
            }
        }
    }
}
