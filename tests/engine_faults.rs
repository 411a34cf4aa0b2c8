//! Engines in trouble: what can be done again is, and everything else ends as a system failure that names the cause.

mod support;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use support::running::Running;
use support::second_engine::SecondEngine;
use support::{BUSYBOX, Project, REDIS, Ran, docker, eventually, path_with, program, read_until};

/// A `docker` that waits where a command has these words, until a file `go` is beside it. Once only.
fn waits_at(project: &Project, pattern: &str) -> PathBuf {
    held_at(project, pattern, "")
}

/// The same, and each command with these words loses its connection without a word where the engine is gone.
fn waits_and_is_cut_off_at(project: &Project, pattern: &str) -> PathBuf {
    held_at(project, pattern, "docker version >/dev/null 2>&1 || exit 1")
}

fn held_at(project: &Project, pattern: &str, then: &str) -> PathBuf {
    let bin = project.beside("bin");
    fs::create_dir(&bin).expect("created");
    let text = format!(
        "#!/bin/sh\nPATH=${{PATH#*:}}\ncase \" $* \" in\n*'{pattern}'*) if mkdir {0}/reached 2>/dev/null; then\n\
         while [ ! -e {0}/go ]; do sleep 0.02; done; fi\n{then}\n;;\nesac\nexec docker \"$@\"\n",
        bin.display()
    );
    program(&bin.join("docker"), &text);
    bin
}

fn wait_until_reached(bin: &Path) {
    eventually(Duration::from_secs(20), "the command is reached", || {
        bin.join("reached").exists()
    });
}

/// The job `test` on an engine, up to where the `docker` of [`waits_at`] waits.
fn held(project: &Project, engine: &SecondEngine, bin: &Path) -> Running {
    let mut command = project.command(["exec", "--docker-host", &engine.socket(), "test"]);
    command
        .env("PATH", path_with(bin))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = Running::start(&mut command);
    wait_until_reached(bin);
    child
}

/// What was printed behind what was read already, and the status.
fn end(mut child: Running) -> Ran {
    let mut stdout = String::new();
    let mut rest = child.stdout.take().expect("piped");
    rest.read_to_string(&mut stdout).expect("UTF-8");
    let ran = Ran::from(child.wait_with_output().expect("ended"));
    Ran { stdout, ..ran }
}

fn last_line(ran: &Ran) -> &str {
    ran.stdout.lines().last().unwrap_or_default()
}

#[test]
fn an_engine_that_goes_away_and_comes_back() {
    let engine = SecondEngine::start_with(&[("ENGINE_DISK", "1g")], &[], &[BUSYBOX, REDIS]);
    under_a_script_it_is_a_system_failure(&engine);
    before_the_script_it_costs_a_new_beginning(&engine);
    what_an_operator_prunes_is_made_again(&engine);
}

fn what_an_operator_prunes_is_made_again(engine: &SecondEngine) {
    // No registry has these images: the service holds that of the build, too.
    let services = json!([{"name": REDIS, "alias": "redis"}]);
    let after = "after_script runs in a new build container";
    for (pattern, last, again) in [
        (" exec --interactive ", "true", ""),
        (" start --attach ", "true", after),
        // A script that does not say how it ended: the engine is asked.
        (" container inspect ", "exit 0", after),
    ] {
        let job = json!({"image": REDIS, "services": services,
            "test": {"script": ["ls -A", "mkdir kept", last], "after_script": ["ls", "echo after $CI_JOB_STATUS"],
                "artifacts": {"paths": ["kept"]}}});
        let project = Project::new(&job);
        let bin = waits_at(&project, pattern);
        let child = held(&project, engine, &bin);
        engine.prune();
        fs::write(bin.join("go"), "").expect("written");
        let ran = end(child);
        ran.succeeds()
            .says("\nkept\n$ echo after")
            .says("\nafter success\n")
            .says(again);
        assert!(
            project.directory.join(".alloy-ci/artifacts/test").exists(),
            "{ran}"
        );
        assert_eq!(engine.leftovers(), "", "{ran}");
    }
}

fn under_a_script_it_is_a_system_failure(engine: &SecondEngine) {
    for (signal, script) in [
        ("KILL", "trap 'exit 7' TERM; sleep 600 & wait"),
        // It takes the engine's own TERM for its end, and says that all is well.
        ("TERM", "trap 'exit 0' TERM; sleep 600 & wait"),
    ] {
        let job = json!({"image": BUSYBOX, "test": {"script": ["echo begun", script]}});
        let project = Project::new(&job);
        let mut child = project.spawn(["exec", "--docker-host", &engine.socket(), "test"]);
        read_until(child.stdout.as_mut().expect("piped"), "\nbegun\n");
        engine.go_away(signal);
        thread::sleep(Duration::from_secs(1));
        engine.come_back();
        let ran = end(child);
        ran.fails(3);
        let last = last_line(&ran);
        let begin = "ERROR: Build failed (system failure): the docker client ended with status ";
        assert!(
            last.starts_with(begin) && last.contains("Cannot connect to the Docker daemon"),
            "{ran}"
        );
        assert_eq!(engine.leftovers(), "", "{ran}");
    }
}

fn before_the_script_it_costs_a_new_beginning(engine: &SecondEngine) {
    let services = json!([{"name": REDIS, "alias": "redis"}]);
    let waits: fn(&Project, &str) -> PathBuf = waits_at;
    for (waits, pattern, services, before) in [
        // Where the sources are fetched: in a helper that stays, and in one for it alone.
        (waits, "-helper sh ", &services, ""),
        (waits, " --entrypoint  ", &json!([]), ""),
        // Where the services are waited for.
        (
            waits_and_is_cut_off_at,
            " health-check ",
            &services,
            "Waiting for services",
        ),
    ] {
        let job = json!({"image": BUSYBOX, "services": services, "test": {"script": ["ls -A", "echo done"]}});
        let project = Project::new(&job);
        let bin = waits(&project, pattern);
        let mut child = held(&project, engine, &bin);
        let stdout = child.stdout.as_mut().expect("piped");
        let seen = read_until(stdout, before);
        engine.go_away("KILL");
        fs::write(bin.join("go"), "").expect("written");
        let seen = seen + &read_until(stdout, "went away: ");
        engine.come_back();
        let ran = end(child);
        let ran = Ran {
            stdout: seen + &ran.stdout,
            ..ran
        };
        ran.succeeds();
        assert!(ran.build_output().contains("\n.alloy-ci.json\n"), "{ran}");
        ran.says(", the job begins again...\n");
        assert_eq!(engine.leftovers(), "", "{ran}");
    }
}

#[test]
fn a_name_that_somebody_else_has_is_left_to_them() {
    let job = json!({"image": BUSYBOX,
        "test": {"script": ["echo I am $CI_CONCURRENT_ID", "touch x"], "artifacts": {"paths": ["x"]}}});
    let project = Project::new(&job);
    let id = project.id();
    for part in ["build", "helper"] {
        let theirs = format!("runner-local-project-{id}-concurrent-0-{part}");
        docker(&["create", "--name", &theirs, BUSYBOX, "sh", "-c", "exit 0"]);
        docker(&["start", &theirs]);
        let ran = project.exec("test");
        let state = ["inspect", "--format", "{{.State.Status}}", &theirs];
        assert_eq!(docker(&state), "exited\n", "{ran}");
        docker(&["rm", &theirs]);
        ran.succeeds().says("\nI am 1\n");
    }
}

#[test]
fn an_engine_that_lacks_room_or_networks() {
    // A network for the default bridge, and one more.
    let options = "--default-address-pool base=10.199.0.0/23,size=24";
    let variables = [("ENGINE_DISK", "900m"), ("ENGINE_OPTIONS", options)];
    let engine = SecondEngine::start_with(&variables, &[], &[BUSYBOX, REDIS]);
    without_networks_a_job_waits_for_that_of_another(&engine);
    without_room_on_its_disk(&engine);
}

fn without_room_on_its_disk(engine: &SecondEngine) {
    let job = json!({"image": BUSYBOX, "script_fills": {"script": ["dd if=/dev/zero of=full bs=1M"]},
        "clones": {"script": ["echo never"]},
        "caches": {"script": ["mkdir -p kept", "echo new >kept/text", "dd if=/dev/urandom of=kept/large bs=1M count=30"],
            "cache": {"key": "one", "paths": ["kept"]}},
        "restores": {"script": ["cat kept/text"], "cache": {"key": "one", "paths": ["kept"], "policy": "pull"}}});
    let project = Project::new(&job);
    let exec = |arguments: &[&str]| {
        let to = ["exec", "--docker-host", &engine.socket()];
        project.run([&to[..], arguments].concat())
    };
    // The script's own trouble is a failure of the script.
    exec(&["script_fills"])
        .fails(1)
        .says("No space left on device");
    assert_eq!(engine.leftovers(), "");

    exec(&["caches"]).succeeds();
    exec(&["restores"]).succeeds().says("\nnew\n");
    let fill = |but: u32| {
        // In full megabytes, so that the last one may not fit.
        let text = format!(
            "rm -f /v/*; free=$(df -m /v | awk 'END {{print $4}}'); \
             dd if=/dev/zero of=/v/x bs=1M count=$((free - {but})) || [ {but} = 0 ]"
        );
        let ran = engine.docker(&["run", "--rm", "-v", "full:/v", BUSYBOX, "sh", "-c", &text]);
        ran.exits(0);
    };
    // A cache that cannot be written costs a warning, and the one before stays whole.
    fill(45);
    exec(&["caches"]).succeeds().says("\nWARNING: ");
    exec(&["restores"]).succeeds().says("\nnew\n");

    project.write("large", &"0123456789abcdef".repeat(1 << 20));
    project.commit();
    fill(8);
    let ran = exec(&["clones"]);
    ran.fails(3);
    assert!(
        last_line(&ran).ends_with("; the engine's disk is full"),
        "{ran}"
    );
    fill(0);
    let ran = exec(&["clones"]);
    ran.fails(3);
    let last = last_line(&ran);
    assert!(
        last.contains("no space left on device") || last.ends_with("; the engine's disk is full"),
        "{ran}"
    );
    let removed = engine.docker(&["volume", "rm", "full"]);
    removed.exits(0);
    assert_eq!(engine.leftovers(), "");
    exec(&["restores"]).succeeds();
}

fn without_networks_a_job_waits_for_that_of_another(engine: &SecondEngine) {
    let job = json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis"}], "test": {"script": ["echo done"]}});
    let project = Project::new(&job);
    let taken = engine.docker(&["network", "create", "taken"]);
    taken.exits(0);
    let began = Instant::now();
    let mut child = project.spawn(["exec", "--docker-host", &engine.socket(), "test"]);
    read_until(child.stdout.as_mut().expect("piped"), "trying again in 2 s");
    engine.docker(&["network", "rm", "taken"]);
    let ran = end(child);
    ran.succeeds();
    assert!(began.elapsed() < Duration::from_secs(20), "{ran}");
    assert_eq!(engine.leftovers(), "");
}
