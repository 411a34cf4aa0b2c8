//! Signals: everything is cleaned up, the exit status says what happened.

mod support;

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{BUSYBOX, DEBIAN, Project, REDIS, Running, docker, read_until, signal};

fn sleeper() -> Project {
    Project::new(
        json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis"}],
            "test": {"script": ["echo begun", "sleep 600"], "after_script": ["echo never"]}}),
    )
}

#[test]
fn ctrl_c_ends_a_sleeping_job_within_three_seconds() {
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        let project = sleeper();
        let mut child = project.spawn("exec test");
        let mut stdout = child.stdout.take().expect("piped");
        read_until(&mut stdout, "\nbegun\n");
        let begin = Instant::now();
        signal(&child, name);
        let ended = child.wait().expect("ended");
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(ended.code(), Some(status));
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("readable");
        // Between the two, shells say what has ended their command.
        assert!(rest.starts_with("$ sleep 600\n"), "{rest}");
        assert!(
            rest.ends_with("\nERROR: Build failed: canceled\n"),
            "{rest}"
        );
        assert!(rest.lines().count() <= 3, "{rest}");
        assert_eq!(project.leftovers(), "");
    }
}

#[test]
fn a_script_that_is_stopped_can_clean_up_by_a_trap_of_its_own_shell() {
    for image in [BUSYBOX, DEBIAN] {
        let script = [
            "trap 'echo cleaned up; exit 1' TERM",
            "echo begun",
            "sleep 600",
        ];
        let project = Project::new(json!({"image": image, "test": {"script": script}}));
        let mut child = project.spawn("exec test");
        let mut stdout = child.stdout.take().expect("piped");
        read_until(&mut stdout, "\nbegun\n");
        signal(&child, "INT");
        assert_eq!(child.wait().expect("ended").code(), Some(130));
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("readable");
        assert_eq!(rest.matches("\ncleaned up\n").count(), 1, "{image}: {rest}");
    }
}

#[test]
fn processes_that_the_build_only_sees_go_on() {
    let other = format!("alloy-test-processes-{}", std::process::id());
    let waits = "sleep 600 & wait";
    docker(&[
        "run", "--detach", "--name", &other, BUSYBOX, "sh", "-c", waits,
    ]);
    let project = sleeper();
    let mode = format!("--docker-pid-mode=container:{other}");
    let mut child = project.spawn(["exec", &mode, "test"]);
    read_until(child.stdout.as_mut().expect("piped"), "\nbegun\n");
    signal(&child, "INT");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    let runs = docker(&["inspect", "--format", "{{.State.Running}}", &other]);
    docker(&["rm", "--force", &other]);
    assert_eq!(runs.trim(), "true");
    assert_eq!(project.leftovers(), "");
}

#[test]
fn a_signal_at_any_moment_leaves_nothing() {
    for delay in [0, 30, 80, 150, 300, 500, 800, 1200] {
        let project = sleeper();
        let mut child = project.spawn("exec test");
        std::thread::sleep(Duration::from_millis(delay));
        signal(&child, "INT");
        let begin = Instant::now();
        let status = child.wait().expect("ended");
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "after {delay} ms: {:?}",
            begin.elapsed()
        );
        // Before the handlers are there, the signal itself ends the program.
        assert!(
            status.code().is_none_or(|code| code == 130),
            "after {delay} ms: {status:?}"
        );
        assert_eq!(project.leftovers(), "", "after {delay} ms");
    }
}

#[test]
fn what_a_killed_runner_leaves_the_next_one_removes_but_not_what_a_living_one_has() {
    let project = sleeper();
    let mut living = project.spawn("exec test");
    read_until(living.stdout.as_mut().expect("piped"), "\nbegun\n");
    let mut killed = project.spawn("exec test");
    read_until(killed.stdout.as_mut().expect("piped"), "\nbegun\n");
    killed.kill().expect("killed");
    killed.wait().expect("ended");
    let both = project.leftovers();
    assert!(
        both.contains("-concurrent-0-build\n") && both.contains("-concurrent-1-build\n"),
        "{both}"
    );
    project
        .run("prune")
        .exits(0)
        .says("concurrent-1-build")
        .says_nothing_of("concurrent-0");
    let left = project.leftovers();
    assert!(
        left.contains("-concurrent-0-build\n") && !left.contains("-concurrent-1"),
        "{left}"
    );
    living.kill().expect("killed");
    living.wait().expect("ended");
    let mut next = project.spawn("exec test");
    read_until(next.stdout.as_mut().expect("piped"), "\nbegun\n");
    let left = project.leftovers();
    assert_eq!(
        left.matches("-build\n").count(),
        1,
        "the next one removes what the other left: {left}"
    );
    signal(&next, "INT");
    assert_eq!(next.wait().expect("ended").code(), Some(130));
    assert_eq!(project.leftovers(), "");
}

#[test]
fn two_runs_at_once_in_one_checkout_do_not_disturb_each_other() {
    let project = Project::new(
        json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis"}],
            "test": {"script": ["test ! -e mark", "echo $CI_CONCURRENT_ID >mark", "sleep 2",
                "test \"$(cat mark)\" = $CI_CONCURRENT_ID", "echo I am $CI_CONCURRENT_ID"]}}),
    );
    let runs: Vec<_> = (0..3).map(|_| project.spawn("exec test")).collect();
    let mut ids: Vec<String> = runs
        .into_iter()
        .map(|run| {
            let ran = support::Ran::from(run.wait_with_output().expect("ended"));
            ran.succeeds();
            ran.stdout
                .lines()
                .find_map(|line| line.strip_prefix("I am "))
                .expect("an id")
                .to_owned()
        })
        .collect();
    ids.sort();
    assert_eq!(ids, ["0", "1", "2"]);
}

#[test]
fn names_that_another_host_has_taken_on_the_engine_are_left_to_it() {
    for services in [json!([]), json!([{"name": REDIS, "alias": "redis"}])] {
        let project = Project::new(json!({"image": BUSYBOX, "services": services,
                "test": {"script": ["echo I am $CI_CONCURRENT_ID", "echo begun", "cat /builds/mark 2>/dev/null || touch /builds/mark; sleep ${SECONDS_TO_SLEEP:-0}", "ls /builds/mark"]}}));
        let mut other = project.command("exec --env SECONDS_TO_SLEEP=5 test");
        // Another host has another state directory, and sees no locks of ours.
        other.env("ALLOY_RUNNER_STATE_DIR", project.beside("other-state"));
        let mut other = Running::start(other.stdout(std::process::Stdio::piped()));
        read_until(other.stdout.as_mut().expect("piped"), "\nbegun\n");
        project
            .exec("test")
            .succeeds()
            .says("\nI am 1\n")
            .says_times(1, "Running with");
        let mut rest = String::new();
        other
            .stdout
            .take()
            .expect("piped")
            .read_to_string(&mut rest)
            .expect("readable");
        assert_eq!(other.wait().expect("ended").code(), Some(0), "{rest}");
        assert!(rest.ends_with("\n/builds/mark\nJob succeeded\n"), "{rest}");
    }
}
