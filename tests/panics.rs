//! A bug of the runner costs the job in which it shows, and no other.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use alloy_runner::cancel::Cancel;
use alloy_runner::config::{DockerConfig, PullPolicy, RunnerConfig};
use alloy_runner::job::payload;
use alloy_runner::outcome::Outcome;
use alloy_runner::state::State;
use alloy_runner::trace::secrets::JobSecrets;
use alloy_runner::worker::Run;
use alloy_runner::worker::pool::Pool;
use alloy_runner::worker::recovery::Recovery;
use serde_json::json;
use support::coordinator::{Coordinator, Kind};
use support::soak::assert_nothing_of_processes;
use support::{BUSYBOX, DEBUG_RUNNER, REDIS, RUNNER, Ran, Running, docker, run, signal};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_at_any_moment_is_a_system_failure_and_leaves_nothing() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let state = coordinator.beside("state");
    let image = run(Command::new(RUNNER).args(["helper-image", "name"])).stdout;
    let config = RunnerConfig {
        url: coordinator.url(),
        token: "token".to_owned(),
        docker: DockerConfig {
            pull_policy: Some(vec![PullPolicy::Never]),
            // This very executable, which is the test, has none.
            helper_image: Some(image.trim().to_owned()),
            ..DockerConfig::default()
        },
        ..RunnerConfig::default()
    };
    let open = State::open(state.clone()).expect("opens");
    let recovery = Recovery {
        state: open,
        print_commands: false,
        report: |_| true,
    };
    let pool = Pool::new(&config, recovery, "token", false, Box::new(|_, _| {})).expect("a pool");
    let mut job = coordinator.job(BUSYBOX, &["echo hello"]);
    job["services"] = json!([{"name": REDIS, "alias": "redis"}]);
    let read = || payload::read(job.to_string().as_bytes(), "http://unused").expect("a job");
    for moment in [
        "prepare",
        "pull",
        "service",
        "helper",
        "get_sources",
        "build",
    ] {
        let log = Log::default();
        let job = read().job.expect("readable");
        let mut engine = pool.take().expect("files").expect("the only one");
        let report = engine.run(
            &job,
            &Run {
                secrets: &JobSecrets::default(),
                log: &|| Box::new(log.clone()),
                output_limit: None,
                in_background: &|_| {},
                ended: &|_| {},
                began: &|activity| assert_ne!(activity.key(), moment, "a bug"),
                cancel: &Cancel::new(),
                canceling: &Cancel::new(),
                terminal: None,
            },
        );
        let report = report.expect("a report");
        let Outcome::SystemFailure(reason) = &report.outcome else {
            panic!("{moment}: {}", report.outcome)
        };
        assert!(
            reason.text.contains("the runner has a bug"),
            "{moment}: {reason}"
        );
        assert!(report.clean);
        let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("UTF-8");
        assert!(
            log.contains("(system failure): the runner has a bug"),
            "{moment}: {log}"
        );
        assert_eq!(coordinator.leftovers(), "", "{moment}");
    }
    drop(pool);
    assert_nothing_of_processes(&state);
}

#[test]
fn a_panic_in_one_served_job_leaves_three_others_alone() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    coordinator.configure("concurrent = 4", &["request_concurrency = 4"]);
    let config = coordinator.beside("config.toml");
    // The debug build, which alone has bugs on command, has no helper image of its own.
    let image = run(Command::new(RUNNER).args(["helper-image", "name"])).stdout;
    let mut text = fs::read_to_string(&config).expect("readable");
    let _ = writeln!(text, "helper_image = \"{}\"", image.trim());
    fs::write(&config, text).expect("written");

    // Each runs until all four are there, and for as long as the broken one takes to be told of.
    let until = "until [ -e /flag ]; do sleep 0.1; done";
    let mut ids = Vec::new();
    for name in ["first", "second", "third"] {
        let mut job = coordinator.job(BUSYBOX, &["echo ready", until, "echo unharmed"]);
        job["job_info"]["name"] = json!(name);
        ids.push(coordinator.queue(job));
    }
    let state = coordinator.beside("state");
    let mut command = Command::new(DEBUG_RUNNER);
    command
        .args(["--config", config.to_str().expect("UTF-8"), "run"])
        .env("ALLOY_RUNNER_STATE_DIR", &state)
        .env("ALLOY_RUNNER_TEST_PANIC", "broken:build")
        .env("RUST_BACKTRACE", "1")
        .stderr(Stdio::piped());
    let child = Running::start(&mut command);
    for id in &ids {
        coordinator.wait_for_text(*id, "ready");
    }
    let mut job = coordinator.job(BUSYBOX, &["echo never"]);
    job["job_info"]["name"] = json!("broken");
    let broken = coordinator.queue(job);
    let heard = &coordinator.wait_for_end(&[broken])[0];
    heard.fails();
    assert_eq!(
        heard.failure_reason.as_deref(),
        Some("runner_system_failure")
    );
    heard
        .says("(system failure): the runner has a bug, please report it: a bug in broken at build");
    let names = docker(&["ps", "--format", "{{.Names}}"]);
    let project = format!("-project-{}-", coordinator.project);
    let builds = names
        .lines()
        .filter(|name| name.contains(&project) && name.ends_with("-build"));
    for build in builds {
        docker(&["exec", build, "touch", "/flag"]);
    }
    for heard in coordinator.wait_for_end(&ids) {
        heard.succeeds().says("\nunharmed\n");
    }
    // It serves on.
    let next = coordinator.queue_script(BUSYBOX, &["echo next"]);
    let heard = &coordinator.wait_for_end(&[next])[0];
    heard.succeeds();
    signal(&child, "QUIT");
    let ran = Ran::from(child.wait_with_output().expect("ended"));
    ran.exits(0);
    assert_nothing_of_processes(&state);
}
