use super::*;
use crate::model::failure::chain;

/// A directory with the helper `x`, a shell script, and helpers that look there.
struct Bench {
    directory: tempfile::TempDir,
    helpers: Helpers,
}

impl Bench {
    fn new(limit: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths {
            programs: vec!["/nowhere".into(), directory.path().to_owned()],
            home: Some(directory.path().to_owned()),
            ..Paths::default()
        };
        let helpers = Helpers::new(&paths, &Timeouts { helper: limit, ..Timeouts::default() });
        Self { directory, helpers }
    }

    fn is(&self, script: &str) {
        let path = self.directory.path().join("docker-credential-x");
        let aside = self.directory.path().join("aside");
        std::fs::write(&aside, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(aside, path).unwrap();
        self.helpers.forget();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// The fault, as it is told.
    async fn fault(&self) -> String {
        let fault = self.helpers.ask("x", "r.io").await.err().unwrap();
        format!("{} {fault:?}", chain(&fault))
    }
}

fn password(username: &str, secret: &str) -> Login {
    Some((username.to_owned(), Secret::Password(secret.to_owned())))
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn it_is_asked_as_docker_asks() {
    let bench = Bench::new(LONG);
    bench.is("cat > $HOME/in; echo \"$0 $*\" > $HOME/arguments
         echo '{\"ServerURL\": \"r.io\", \"Username\": \"u\", \"Secret\": \"s:t\"}'");
    assert!(bench.helpers.ask("x", "r.io").await.unwrap() == password("u", "s:t"));
    assert_eq!(bench.read("in"), "r.io", "no line's end");
    assert!(bench.read("arguments").ends_with("/docker-credential-x get\n"));
    // One that does not read what it is asked for.
    bench.is("echo '{\"username\": \"u\", \"secret\": \"s\"}'");
    assert!(bench.helpers.ask("x", "r.io").await.unwrap() == password("u", "s"));
    bench.is("echo '{\"Username\": \"<token>\", \"Secret\": \"t\"}'");
    let token = Secret::IdentityToken("t".into());
    assert!(bench.helpers.ask("x", "r.io").await.unwrap() == Some((String::new(), token)));
}

#[tokio::test]
async fn it_may_have_none() {
    let bench = Bench::new(LONG);
    for script in [
        "echo credentials not found in native keychain; exit 1",
        "echo 'Error: Credentials not found for r.io' >&2; exit 1",
        "echo credentials not found in native keychain",
        "echo '{\"Username\": \"\", \"Secret\": \"\"}'",
    ] {
        bench.is(script);
        assert!(bench.helpers.ask("x", "r.io").await.unwrap().is_none(), "{script}");
    }
}

#[tokio::test]
async fn what_it_does_wrong_is_told_without_what_it_answered() {
    let bench = Bench::new(LONG);
    for (script, told) in [
        ("echo hunter2", "something else than JSON"),
        ("echo '{\"Secret\": 5, \"hunter2\": 1}'", "something else than JSON"),
        ("echo '{\"Username\": \"hunter2\"}'", "something else than JSON"),
        ("echo '{\"Username\": \"u\", \"Secret\": \"hunter2\"}'; exit 3", "exit status: 3 "),
        ("echo '{\"Secret\": \"hunter2'; exit 3", "exit status: 3 "),
        ("echo no bus; echo hunter2; exit 3", "exit status: 3: no bus"),
        ("echo no key >&2; exit 3", "exit status: 3: no key"),
        ("kill -9 $$", "signal: 9"),
        ("head -c 70000 /dev/zero; exec sleep 1000", "said more than 65536 bytes"),
    ] {
        bench.is(script);
        let fault = bench.fault().await;
        assert!(fault.contains(told) && !fault.contains("hunter2"), "{script}: {fault}");
        assert!(fault.contains("docker-credential-x"), "{script}: {fault}");
    }
    std::fs::write(bench.directory.path().join("docker-credential-x"), "no program").unwrap();
    bench.helpers.forget();
    assert!(bench.fault().await.contains("cannot be run: "));
    std::fs::remove_file(bench.directory.path().join("docker-credential-x")).unwrap();
    bench.helpers.forget();
    let missing = bench.fault().await;
    let path = format!("no such program in /nowhere:{}", bench.directory.path().display());
    assert!(missing.contains(&path), "{missing}");
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_all_that_it_began() {
    let bench = Bench::new(Duration::from_millis(300));
    bench.is("sleep 1000 & echo $! > $HOME/child; echo hunter2; wait");
    let fault = bench.fault().await;
    assert!(fault.contains("had not answered after 0 s, and was ended"), "{fault}");
    let child = bench.read("child");
    let stat = format!("/proc/{}/stat", child.trim());
    // A zombie, until somebody has waited for it.
    let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    while runs() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It is not waited for again in this pass.
    let start = Instant::now();
    let (one, other) = tokio::join!(bench.helpers.ask("x", "r.io"), bench.helpers.ask("x", "r.io"));
    assert!(one.is_err() && other.is_err() && start.elapsed() < Duration::from_millis(200));
}

#[tokio::test]
async fn it_is_asked_once_in_a_pass_for_each_registry() {
    let bench = Bench::new(LONG);
    bench.is("cat >> $HOME/asked; echo '{\"Username\": \"u\", \"Secret\": \"s\"}'");
    for _ in 0..2 {
        let (one, other) = tokio::join!(bench.helpers.ask("x", "a "), bench.helpers.ask("x", "a "));
        assert!(one.is_ok() && other.is_ok());
        bench.helpers.ask("x", "b ").await.unwrap();
    }
    assert_eq!(bench.read("asked"), "a b ");
    bench.helpers.forget();
    bench.helpers.ask("x", "a ").await.unwrap();
    assert_eq!(bench.read("asked"), "a b a ");
}

#[tokio::test]
async fn an_agent_that_it_leaves_behind_goes_on() {
    let bench = Bench::new(LONG);
    bench.is("sleep 1000 & echo $! > $HOME/child; echo '{\"Username\": \"u\", \"Secret\": \"s\"}'");
    assert!(bench.helpers.ask("x", "r.io").await.unwrap() == password("u", "s"));
    let child = rustix::process::Pid::from_raw(bench.read("child").trim().parse().unwrap());
    rustix::process::kill_process(child.unwrap(), rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_name_leads_nowhere_else() {
    let bench = Bench::new(LONG);
    for name in ["", "../x", "a/b", ".x", "-x", "x y", "x;id", "x\n", "ü", &"x".repeat(65)] {
        let fault = bench.helpers.ask(name, "r.io").await.err().unwrap();
        assert!(matches!(fault, HelperFault::Name), "{name}");
    }
    assert!(is_name("ecr-login") && is_name("gcr") && is_name("acr-env_2.0"));
}
