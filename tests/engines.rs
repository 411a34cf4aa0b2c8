//! Engines elsewhere: behind TLS, and behind a socket but with another file system.

mod support;

use std::process::Command;

use serde_json::json;
use support::second_engine::SecondEngine;
use support::{BUSYBOX, Project, REDIS, Ran, run, shell};

/// A job that proves its sources, its service, which takes a while to come up, and its second stage.
fn project(seconds: &str) -> Project {
    let late =
        format!("sleep {seconds}; exec redis-server --bind 0.0.0.0 --protected-mode no --save ''");
    Project::new(
        json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis", "command": ["sh", "-c", late]}],
            "test": {"script": ["ls /cache", "cat .alloy-ci.json | wc -l", "printf 'PING\\r\\nQUIT\\r\\n' | nc redis 6379"],
                     "after_script": ["echo after $CI_JOB_STATUS"]}}),
    )
}

fn assert_served(ran: &Ran) {
    ran.succeeds();
    let output = ran.build_output();
    assert!(
        output.contains("\n+PONG\r\n+OK\r\n") && output.contains("\nafter success\n"),
        "{ran}"
    );
    ran.says_nothing_of("WARNING");
}

#[test]
fn an_engine_that_sees_none_of_our_directories() {
    // In the second one the services are still being asked when the helper turns out to see no sources.
    let (absent, empty) = (project("0"), project("2"));
    let git_dir = empty.directory.join(".git");
    let engine = SecondEngine::start(&[absent.root(), &git_dir], &[BUSYBOX, REDIS]);
    behind_tls(&engine, &absent);
    behind_a_socket(&engine, &absent, &empty);
}

fn behind_tls(engine: &SecondEngine, project: &Project) {
    let (host, certificates) = (engine.tls(), engine.certificates());
    let options = ["--docker-host", &host, "--docker-tls-cert-path"];
    let flags = [&options[..], &[&certificates, "--docker-tls-verify"]].concat();
    let exec = |before: &[&'static str]| project.run([before, &flags, &["test"]].concat());
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
        .command("exec test")
        .env("DOCKER_HOST", &host)
        .env("DOCKER_CERT_PATH", &certificates)
        .env("DOCKER_TLS_VERIFY", "1"));
    assert_served(&ran);

    project
        .run([&["prune", "--caches"], &flags[..]].concat())
        .exits(0)
        .begins("volume runner-local-project-");

    without_the_right_certificates(project, &host, &certificates);
}

fn without_the_right_certificates(project: &Project, host: &str, certificates: &str) {
    let strange = project.beside("strange");
    std::fs::create_dir(&strange).expect("created");
    let [authority, certificate, key] =
        ["ca.pem", "cert.pem", "key.pem"].map(|name| strange.join(name).display().to_string());
    let subject =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=strange";
    run(Command::new("openssl").args(subject.split(' ')).args([
        "-keyout",
        &key,
        "-out",
        &certificate,
    ]))
    .exits(0);
    std::fs::copy(&certificate, &authority).expect("copied");
    let strange = strange.to_str().expect("UTF-8");
    let exec = |arguments: &[&str]| {
        let to = [&["exec", "--docker-host", host], arguments, &["test"]].concat();
        // What the environment says does not count beside the options.
        run(project.command(&to).env("DOCKER_TLS_VERIFY", "1"))
    };
    let path = "--docker-tls-cert-path";
    let verify = "--docker-tls-verify=false";
    let absent = project.beside("absent");
    for arguments in [
        [
            "--docker-tls-verify=",
            path,
            absent.to_str().expect("UTF-8"),
        ],
        ["--docker-tls-verify", path, strange],
    ] {
        let ran = exec(&arguments);
        ran.fails(3);
        let last = ran.stdout.lines().last().expect("a line");
        let begin = "ERROR: Build failed (system failure): the docker engine cannot be talked to: ";
        assert!(
            last.starts_with(begin) && last.contains("; see --docker-tls-cert-path "),
            "{ran}"
        );
    }
    // An engine that refuses us may hang up before it has said why.
    for arguments in [&[verify, path, strange][..], &[verify]] {
        exec(arguments).fails(3);
    }
    // The engine's certificate need not be known where it is not asked for.
    for (from, to) in [("cert.pem", &certificate), ("key.pem", &key)] {
        std::fs::copy(format!("{certificates}/{from}"), to).expect("copied");
    }
    assert_served(&exec(&[verify, path, strange]));
    exec(&["--docker-tls-verify", path, strange]).fails(3);
}

fn behind_a_socket(engine: &SecondEngine, absent: &Project, empty: &Project) {
    let socket = engine.socket();
    for project in [absent, empty] {
        let ran = run(project.command("-x exec test").env("DOCKER_HOST", &socket));
        assert_served(&ran);
        ran.on_stderr("type=bind").on_stderr(" cp -- ");
        assert_eq!(engine.leftovers(), "");

        let script = project.exec(["--dry-run", "--docker-host", &socket, "test"]);
        assert_served(&run(&mut shell("sh", &script.stdout)));
        assert_eq!(engine.leftovers(), "");
    }
}
