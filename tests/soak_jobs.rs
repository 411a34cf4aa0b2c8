//! A hundred jobs, four at a time, on a real engine: all end right, and the runner holds afterwards what it held
//! before.

mod support;

use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Kind};
use support::soak::Ground;
use support::{BUSYBOX, REDIS, Running};

const JOBS: u64 = 100;

/// A job of one of four kinds: a plain one, one with a service and an `after_script`, one that fails, and one with
/// a cache and artifacts.
fn job(coordinator: &Coordinator, number: u64) -> Value {
    let script = format!("echo number {number}; seq 1 2000");
    let mut job = coordinator.job(BUSYBOX, &[&script]);
    match number % 4 {
        1 => {
            job["services"] = json!([{"name": REDIS, "alias": "redis"}]);
            let after = json!({"name": "after_script", "script": ["echo after"], "timeout": 3600,
                "when": "always", "allow_failure": true});
            job["steps"].as_array_mut().expect("a list").push(after);
        }
        2 => job["steps"][0]["script"] = json!([script, "exit 7"]),
        3 => {
            job["steps"][0]["script"] =
                json!([script, "mkdir -p kept", "echo $CI_JOB_ID >kept/file"]);
            job["cache"] = json!([{"key": "some", "paths": ["kept"]}]);
        }
        _ => {}
    }
    job
}

#[test]
fn a_hundred_jobs_end_right_and_leave_nothing() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    coordinator.configure("concurrent = 4", &["request_concurrency = 4"]);
    let ground = Ground::new(&coordinator);
    let mut command = coordinator.command("run");
    command.env("TMPDIR", ground.temporary());
    let runner = Running::start(command.stderr(Stdio::piped()));
    // What is made once is there after these.
    let first: Vec<u64> = (0..8)
        .map(|number| coordinator.queue(job(&coordinator, number)))
        .collect();
    coordinator.wait_for_end(&first);
    let before = ground.rested(&runner);
    let begin = Instant::now();
    let ids: Vec<u64> = (0..JOBS)
        .map(|number| coordinator.queue(job(&coordinator, number)))
        .collect();
    for (number, id) in (0..).zip(&ids) {
        let heard = &coordinator.wait_for_end(&[*id])[0];
        let want = if number % 4 == 2 { "failed" } else { "success" };
        assert_eq!(
            heard.state.as_deref(),
            Some(want),
            "job {id}: {}",
            heard.log
        );
        heard
            .says(format!("\nnumber {number}\n"))
            .says("\n1999\n2000\n");
        assert_eq!(heard.finals, 1);
    }
    let took = begin.elapsed();
    assert!(
        coordinator.most_running() <= 4,
        "{}",
        coordinator.most_running()
    );
    let after = ground.rested(&runner);
    println!(
        "{JOBS} jobs, 4 at a time: {:.0} s, all ended right",
        took.as_secs_f64()
    );
    ground.assert_as_before(runner, &before, &after);
}
