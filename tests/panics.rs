//! A bug of the runner costs the job in which it shows, and no other.

mod support;

use std::io::{self, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};

use alloy_runner::cancel::Cancel;
use alloy_runner::config::{DockerConfig, PullPolicy, RunnerConfig};
use alloy_runner::job::payload;
use alloy_runner::outcome::Outcome;
use alloy_runner::runner::worker::{Run, Worker};
use alloy_runner::state::State;
use serde_json::json;
use support::coordinator::{Coordinator, Kind};
use support::soak::assert_nothing_of_processes;
use support::{BUSYBOX, REDIS, RUNNER, run};

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
    let worker = Worker::open(&config, open, "token", false, false).expect("opens");
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
        let report = worker.run(
            &job,
            &Run {
                log: &|| Box::new(log.clone()),
                output_limit: None,
                beside: &|_| {},
                ended: &|_| {},
                began: &|name| assert_ne!(name, moment, "a bug"),
                cancel: &Cancel::new(),
                terminal: None,
            },
        );
        let report = report.expect("a report");
        let Outcome::SystemFailure(reason) = &report.outcome else {
            panic!("{moment}: {}", report.outcome)
        };
        assert!(
            reason.contains("the runner has a bug"),
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
    drop(worker);
    assert_nothing_of_processes(&state);
}
