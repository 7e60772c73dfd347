//! What a container takes of the launcher's surroundings and of its image, by the flags for it.

use crate::host::Host;
use crate::image::Image;
use crate::registry::Registry;

cases![
    what_is_inherited_of_the_environment,
    labels_come_from_files,
    all_ports_are_published,
    a_container_has_its_time,
    an_image_is_for_a_platform,
];

/// A registry with `app:latest`, whose image sets variables and exposes ports, already pulled.
fn prepare(host: &Host) -> String {
    let registry = Registry::start(host);
    let image = Image::app("v1")
        .with("Env", ["PATH=/bin", "FROM_IMAGE=image", "BOTH=image"].map(String::from).to_vec())
        .with("ExposedPorts", serde_json::json!({"80/tcp": {}, "53/udp": {}}));
    registry.push("app:latest", &image);
    let reference = registry.reference("app:latest");
    host.sh(&format!("updater-launch pull {reference}"));
    reference
}

fn what_is_inherited_of_the_environment(host: &Host) {
    let app = prepare(host);
    let environment = |before: &str, flags: &str| {
        let said = host
            .sh(&format!("{before} updater-launch run --rm --network host {flags} {app} /bin/env"));
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |lines: &[String], line: &str| lines.iter().any(|have| have == line);

    let plain = environment("OF_HOST=1 https_proxy=http://proxy:3128", "");
    assert!(has(&plain, "https_proxy=http://proxy:3128") && has(&plain, "FROM_IMAGE=image"));
    assert!(!has(&plain, "OF_HOST=1"), "{plain:?}");
    let own = environment("https_proxy=a NO_PROXY=b", "--http-proxy=false");
    assert!(!own.iter().any(|line| line.to_lowercase().contains("_proxy=")), "{own:?}");
    let set = environment("https_proxy=a", "--env https_proxy=b");
    assert!(has(&set, "https_proxy=b"), "{set:?}");
    let all = environment("OF_HOST=1 BOTH=host", "--env-host");
    assert!(has(&all, "OF_HOST=1") && has(&all, "BOTH=image"), "{all:?}");
    let merged = environment("", "--env-merge 'BOTH=${BOTH}:more' --unsetenv FROM_IMAGE");
    assert!(has(&merged, "BOTH=image:more"), "{merged:?}");
    assert!(!merged.iter().any(|line| line.starts_with("FROM_IMAGE")), "{merged:?}");
    let bare = environment("", "--unsetenv-all --env A=1");
    assert!(has(&bare, "A=1") && !has(&bare, "BOTH=image"), "{bare:?}");
    let wrong = format!("updater-launch run --rm --network host --env-merge 'A=${{B' {app} true");
    assert!(host.fails(125, &wrong).stderr.contains("A=${B"));

    // What was passed on stays, also where whoever starts it again has something else.
    host.sh(&format!(
        "OF_HOST=1 updater-launch create --name kept --network host --env-host {app} /bin/env"
    ));
    assert!(host.sh("OF_HOST=2 updater-launch start -a kept").contains("OF_HOST=1"));
}

fn labels_come_from_files(host: &Host) {
    let app = prepare(host);
    host.write("/tmp/labels", "# of all\n\n  com.example.a=file \ncom.example.b=file\n");
    host.sh(&format!(
        "updater-launch create --name labelled --network host --label-file /tmp/labels \
         --label com.example.b=flag --annotation com.example.note=x=y {app}"
    ));
    let config = &host.json("updater-launch inspect labelled")[0]["Config"];
    assert_eq!(config["Labels"]["com.example.a"], "file", "{config}");
    assert_eq!(config["Labels"]["com.example.b"], "flag", "{config}");
    assert_eq!(config["Annotations"]["com.example.note"], "x=y", "{config}");
    host.sh("updater-launch start labelled");
    let path = host.sh("updater-launch inspect --format '{{.OCIConfigPath}}' labelled");
    let spec = host.json(&format!("cat {path}"));
    assert_eq!(spec["annotations"]["com.example.note"], "x=y", "{spec}");
    for wrong in ["--label-file /tmp/none", "--annotation x"] {
        let said = host.fails(125, &format!("updater-launch create {wrong} {app}")).stderr;
        assert!(said.contains(wrong.rsplit(' ').next().unwrap()), "{said}");
    }
}

fn all_ports_are_published(host: &Host) {
    let app = prepare(host);
    host.sh(&format!(
        "updater-launch run -d --name web -P --expose 8080-8081 -p 9053:53/udp {app} \
         httpd -f -p 80 -h /app"
    ));
    let lines = host.sh("updater-launch port web");
    let mut ports: Vec<_> = lines.lines().filter_map(|line| line.split(" -> ").next()).collect();
    ports.sort_unstable();
    assert_eq!(ports, ["53/udp", "80/tcp", "8080/tcp", "8081/tcp"], "{lines}");
    assert!(lines.contains("53/udp -> 0.0.0.0:9053"), "{lines}");
    let address = host.sh("updater-launch port web 80");
    let page = format!("busybox timeout 5 busybox wget -q -O - http://{}/version", address.trim());
    host.wait_for(&page, crate::host::seconds(10));
    assert_eq!(host.sh(&page), "v1");
    let inspected = &host.json("updater-launch inspect web")[0];
    assert_eq!(inspected["HostConfig"]["PublishAllPorts"], true);
    host.fails(125, &format!("updater-launch run --expose 80:80 {app}"));
    // There is nothing to publish on the host's network.
    assert_eq!(host.sh(&format!("updater-launch run --rm --network host -P {app} echo x")), "x");
}

fn a_container_has_its_time(host: &Host) {
    let app = prepare(host);
    let run = format!("updater-launch run --rm --network host --timeout 1 {app}");
    host.fails(128 + 9, &format!("{run} sleep 100"));
    assert_eq!(host.sh(&format!("{run} echo in time")), "in time");
}

fn an_image_is_for_a_platform(host: &Host) {
    let app = prepare(host);
    let run = |flags: &str| format!("updater-launch run --rm --network host {flags} {app} echo x");
    host.sh(&run("--platform linux/amd64"));
    let other = "--platform linux/s390x --pull=never";
    assert!(host.fails(125, &run(other)).stderr.contains(&app));
    assert!(host.fails(125, &run("--platform linux")).stderr.contains("linux"));
    let pulled = host.run(&run("--pull=always"));
    assert!(pulled.stderr.contains("Trying to pull"), "{}", pulled.stderr);
    assert_eq!(host.run(&run("--pull=always --quiet")).stderr, "");
}
