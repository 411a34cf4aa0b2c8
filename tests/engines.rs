//! Engines elsewhere: behind TLS, and behind a socket but with another file system.

mod support;

use serde_json::json;
use support::second_engine::SecondEngine;
use support::{BUSYBOX, Project, REDIS, Ran, run, shell};

/// A job that proves its sources, its service and its second stage.
fn project() -> Project {
    Project::new(
        &json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis"}],
            "test": {"script": ["cat .alloy-ci.json | wc -l", "printf 'PING\\r\\nQUIT\\r\\n' | nc redis 6379"],
                     "after_script": ["echo after $CI_JOB_STATUS"]}})
        .to_string(),
    )
}

fn assert_served(ran: &Ran) {
    ran.assert_success();
    let output = ran.build_output();
    assert!(
        output.contains("\n+PONG\r\n+OK\r\n") && output.contains("\nafter success\n"),
        "{ran}"
    );
    assert!(!ran.stdout.contains("WARNING"), "{ran}");
}

#[test]
fn an_engine_that_sees_none_of_our_directories() {
    let (absent, empty) = (project(), project());
    let git_dir = empty.directory.join(".git");
    let engine = SecondEngine::start(&[absent.root(), &git_dir], &[BUSYBOX, REDIS]);
    behind_tls(&engine, &absent);
    behind_a_socket(&engine, &absent, &empty);
}

fn behind_tls(engine: &SecondEngine, project: &Project) {
    let (host, certificates) = (engine.tls(), engine.certificates());
    let options = ["--docker-host", &host, "--docker-tls-cert-path"];
    let flags = [&options[..], &[&certificates, "--docker-tls-verify"]].concat();
    let exec = |before: &[&'static str]| project.run(&[before, &flags, &["test"]].concat());
    let ran = exec(&["-x", "exec"]);
    assert_served(&ran);
    // Every command goes there, and none tries to mount a path of this host.
    let words = format!("docker --host {host} --tlsverify --tlscacert {certificates}/ca.pem ");
    let commands = ran.stderr.lines().filter(|line| line.contains("docker "));
    for line in commands {
        assert!(
            line.contains(&words) && !line.contains("type=bind"),
            "{line}: {ran}"
        );
    }
    assert_eq!(engine.leftovers(), "");

    let script = exec(&["exec", "--dry-run"]);
    let printed = run(&mut shell("sh", &script.stdout));
    assert_served(&printed);
    assert_eq!(engine.leftovers(), "");

    let ran = run(project
        .command(&["exec", "test"])
        .env("DOCKER_HOST", &host)
        .env("DOCKER_CERT_PATH", &certificates)
        .env("DOCKER_TLS_VERIFY", "1"));
    assert_served(&ran);

    let pruned = project.run(&[&["prune", "--caches"], &flags[..]].concat());
    assert_eq!(pruned.status, Some(0), "{pruned}");
    assert!(
        pruned.stdout.starts_with("volume runner-local-project-"),
        "{pruned}"
    );

    // Certificates that the engine did not sign, and none at all.
    let others = project.beside("none");
    let others = others.to_str().expect("UTF-8");
    let strange = [&["exec"], &options[..], &[others, "test"]].concat();
    let plain = ["exec", "--docker-host", &host, "test"];
    for arguments in [&strange[..], &plain] {
        let ran = project.run(arguments);
        assert_eq!(ran.status, Some(3), "{ran}");
        assert!(
            ran.stdout
                .contains("\nERROR: Build failed (system failure): "),
            "{ran}"
        );
    }
}

fn behind_a_socket(engine: &SecondEngine, absent: &Project, empty: &Project) {
    let socket = engine.socket();
    for project in [absent, empty] {
        let ran = run(project
            .command(&["-x", "exec", "test"])
            .env("DOCKER_HOST", &socket));
        assert_served(&ran);
        assert!(
            ran.stderr.contains("type=bind") && ran.stderr.contains(" cp -- "),
            "{ran}"
        );
        assert_eq!(engine.leftovers(), "");

        let script = project.exec(&["--dry-run", "--docker-host", &socket, "test"]);
        assert_served(&run(&mut shell("sh", &script.stdout)));
        assert_eq!(engine.leftovers(), "");
    }
}
