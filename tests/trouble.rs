//! A coordinator in trouble: nothing is lost, and nothing is done twice.

mod support;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::coordinator::{Coordinator, Fault, Kind};
use support::http::Response;
use support::{BUSYBOX, Ran, Running, run, signal};

const RESET: Duration = Duration::ZERO;
/// Longer than the runner waits.
const TIME_OUT: Duration = Duration::from_secs(17);

#[test]
fn through_a_minute_of_trouble_jobs_of_alloyci_end_right_with_their_logs_whole() {
    go_through_trouble(Kind::AlloyCi);
}

#[test]
fn through_a_minute_of_trouble_jobs_of_gitlab_end_right_with_their_logs_whole() {
    go_through_trouble(Kind::GitLab);
}

fn go_through_trouble(kind: Kind) {
    let coordinator = Coordinator::new(kind);
    let script = "for i in $(seq 1 40); do echo \"line $i of $CI_JOB_ID\"; sleep 0.5; done";
    let ids: Vec<u64> = (0..8)
        .map(|_| coordinator.queue_script(BUSYBOX, &[script]))
        .collect();
    coordinator.configure("concurrent = 4", &[""]);
    let end = Instant::now() + Duration::from_mins(1);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    coordinator.misbehave(move |request| {
        if Instant::now() > end {
            return None;
        }
        let number = counted.fetch_add(1, Ordering::SeqCst);
        let asks = request.path.ends_with("/jobs/request");
        match number % 8 {
            // Of a hand-out that nobody hears of, nobody can make anything.
            1 if asks => Some(Fault::Before(Response::status(500))),
            1 => Some(Fault::After(Response::status(500))),
            3 => Some(Fault::Before(Response::silence(RESET))),
            5 if asks => Some(Fault::Before(Response::status(502))),
            5 => Some(Fault::After(Response::silence(RESET))),
            7 if number % 16 == 7 => Some(Fault::Before(Response::silence(TIME_OUT))),
            7 => Some(Fault::Before(Response::status(429).with("Retry-After", 1))),
            _ => None,
        }
    });
    let mut runner = coordinator.command("run");
    let runner = Running::start(runner.stderr(Stdio::piped()));
    for (heard, id) in coordinator.wait_for_end(&ids).iter().zip(&ids) {
        heard.succeeds();
        let lines: Vec<String> = (1..=40).map(|i| format!("line {i} of {id}\n")).collect();
        heard.says(lines.concat());
    }
    assert!(
        count.load(Ordering::SeqCst) >= 16,
        "every kind of fault came"
    );
    signal(&runner, "QUIT");
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    ran.exits(0);
    assert_eq!(coordinator.leftovers(), "");
}

#[test]
fn a_coordinator_that_lost_its_log_gets_it_again() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let id = coordinator.queue_script(
        BUSYBOX,
        &["echo one", "sleep 5", "echo two", "sleep 5", "echo three"],
    );
    let mut first = true;
    coordinator.misbehave(move |request| {
        let later =
            request.method == "PATCH" && request.header("content-range").starts_with(|c| c != '0');
        (later && std::mem::take(&mut first)).then_some(Fault::Rewind(17))
    });
    coordinator.serve([]);
    let heard = coordinator.heard(id);
    heard.succeeds();
    assert!(
        heard.patches.iter().any(|(first, ..)| *first == 17),
        "{:?}",
        heard.patches
    );
    for text in ["\none\n", "\ntwo\n", "\nthree\n"] {
        heard.says_times(1, text);
    }
}

#[test]
fn a_final_update_that_is_too_large_is_the_end_of_the_log() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let id = coordinator.queue_script(
        BUSYBOX,
        &["yes 0123456789 | head -c 400000 || true", "echo the end"],
    );
    coordinator.misbehave(|request| {
        let large = request.method == "PUT" && request.body.len() > 100_000;
        large.then(|| Fault::Before(Response::status(413)))
    });
    coordinator.serve([]);
    let heard = coordinator.heard(id);
    heard.succeeds();
    assert!(
        heard.log.starts_with("[the log's first "),
        "{}",
        &heard.log[..100]
    );
    heard.says("\nthe end\n");
}

#[test]
fn no_job_runs_twice_and_a_lost_answer_to_the_final_update_does_no_harm() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let id = coordinator.queue_script(BUSYBOX, &["echo once"]);
    let mut answers = 0;
    coordinator.misbehave(move |request| {
        let final_update = request.method == "PUT";
        answers += u32::from(final_update);
        (final_update && answers <= 2).then(|| Fault::After(Response::silence(RESET)))
    });
    coordinator.serve([]).exits(0);
    let heard = coordinator.heard(id);
    assert_eq!((heard.state.as_deref(), heard.finals), (Some("success"), 3));
    heard.says_times(1, "\nonce\n");
}

#[test]
fn a_coordinator_hears_of_the_end_even_if_docker_fails() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let dead = coordinator.queue_script(BUSYBOX, &["true"]);
    run(coordinator
        .single("--docker-host tcp://127.0.0.1:1")
        .env_remove("DOCKER_TLS_VERIFY"));
    let missing = coordinator.queue_script(BUSYBOX, &["true"]);
    run(coordinator.single([]).env("PATH", "/nowhere"));
    for (id, text) in [
        (dead, "no docker engine answers"),
        (missing, "cannot start the docker command line"),
    ] {
        let heard = coordinator.heard(id);
        heard.fails();
        assert_eq!(
            heard.failure_reason.as_deref(),
            Some("runner_system_failure")
        );
        heard.says(text);
    }
}

#[test]
fn pauses_grow_while_nobody_answers() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    coordinator.misbehave(|_| Some(Fault::Before(Response::status(503))));
    coordinator.configure("", &[""]);
    let mut runner = coordinator.command("run");
    let runner = Running::start(runner.stderr(Stdio::piped()));
    coordinator.wait_for_requests("POST /api/v4/jobs/request", 5);
    let asked = coordinator.requests("POST /api/v4/jobs/request");
    let (early, late) = (asked[1] - asked[0], asked[4] - asked[3]);
    assert!(late > early * 2, "{early:?} {late:?}");
    signal(&runner, "TERM");
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    ran.fails(143).on_stderr("status 503");
}
