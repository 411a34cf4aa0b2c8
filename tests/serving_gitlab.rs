//! What GitLab sends and expects beyond what `AlloyCI` does: how a job begins and ends, how it is canceled, its log, and
//! tokens.

mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_runner::helper::archive::level::Level;
use alloy_runner::helper::task::{self, Within};
use serde_json::{Value, json};
use support::coordinator::{Coordinator, Fault, Kind, RUNNER_TOKEN};
use support::http::{Request, Response, Server};
use support::{
    BUSYBOX, DEBIAN, Project, RUNNER, Ran, Running, eventually, fake_docker, path_with, program,
    run,
};

/// A coordinator, and no engine: in the place of docker is what takes no time and always succeeds.
fn gitlab() -> Coordinator {
    Coordinator::without_engine(Kind::GitLab)
}

fn instantly(command: &mut Command) -> &mut Command {
    command.env("PATH", path_with(&fake_docker().join("instant")))
}

fn serve(coordinator: &Coordinator) -> Ran {
    run(instantly(&mut coordinator.single([])))
}

/// Whether a request says that a job begins.
fn begins(request: &Request) -> bool {
    request.method == "PUT" && request.json()["state"] == "running"
}

/// Whether a request says how a job ended.
fn ends(request: &Request) -> bool {
    request.method == "PUT" && !begins(request)
}

#[test]
fn a_job_begins_when_gitlab_has_heard_so_and_ends_with_the_sums_of_its_log() {
    let coordinator = gitlab();
    let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
    serve(&coordinator).exits(0);
    let heard = coordinator.heard(id);
    heard.succeeds();
    assert_eq!((heard.begins, heard.finals, heard.unfit), (1, 1, 0));
    assert_eq!((heard.exit_code, heard.debug_trace), (None, false));
    assert_eq!(coordinator.systems().len(), 1);
    let info = coordinator.info();
    assert_eq!(info["features"]["shared"], false);
    assert_eq!(
        (&info["shell"], &info["config"]["gpus"]),
        (&json!("bash"), &json!(""))
    );
}

#[test]
fn a_job_that_gitlab_does_not_want_to_begin_is_not_run() {
    let coordinator = gitlab();
    for status in [400, 403, 404, 409] {
        coordinator.misbehave(move |request| {
            begins(request).then(|| Fault::Before(Response::status(status)))
        });
        let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
        serve(&coordinator)
            .exits(0)
            .on_stderr("the job is not run")
            .not_on_stderr("job started");
        let heard = coordinator.heard(id);
        assert_eq!((heard.patches.len(), heard.finals), (0, 0), "{status}");
    }
}

#[test]
fn a_job_begins_when_gitlab_answers_again() {
    let coordinator = gitlab();
    let mut faults = vec![
        Fault::Before(Response::status(502)),
        Fault::After(Response::silence(Duration::ZERO)),
    ];
    coordinator.misbehave(move |request| begins(request).then(|| faults.pop()).flatten());
    let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
    serve(&coordinator).exits(0);
    coordinator.heard(id).succeeds();
    assert_eq!(
        coordinator.heard(id).begins,
        2,
        "of one the answer was lost"
    );
}

#[test]
fn a_job_that_needs_what_is_not_announced_fails_over_there() {
    let coordinator = gitlab();
    let job = || coordinator.gitlab_job("ruby:2.1", &["true"]);
    let works = [
        "two_phase_job_commit",
        "return_exit_code",
        "trace_checksum",
        "cancel_gracefully",
    ];
    let good = coordinator.queue_needing(job(), &works);
    let bad = coordinator.queue_needing(job(), &["variables", "vault_secrets"]);
    serve(&coordinator).exits(0);
    serve(&coordinator).exits(0);
    coordinator.heard(good).succeeds();
    let reason = coordinator.heard(bad).failure_reason;
    assert_eq!(reason.as_deref(), Some("runner_unsupported"));
}

#[test]
fn the_end_is_told_again_until_gitlab_has_stored_the_log() {
    let coordinator = gitlab();
    coordinator.put_off(2);
    let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
    serve(&coordinator).exits(0).not_on_stderr("WARN");
    let heard = coordinator.heard(id);
    heard.succeeds();
    assert_eq!((heard.unfit, heard.finals), (2, 1));
}

#[test]
fn a_log_that_gitlab_has_another_one_of_is_sent_again() {
    let coordinator = gitlab();
    let mut first = true;
    coordinator.misbehave(move |request| {
        let loses = ends(request) && std::mem::take(&mut first);
        loses.then_some(Fault::Rewind(5))
    });
    let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
    serve(&coordinator)
        .exits(0)
        .on_stderr("status 412, another log is there");
    let heard = coordinator.heard(id);
    heard.succeeds().begins("Running with alloy-runner");
    assert_eq!((heard.unfit, heard.finals), (1, 1));
}

#[test]
fn gitlab_says_how_often_it_wants_to_hear_of_a_silent_job() {
    let coordinator = gitlab();
    coordinator.set_interval(1);
    let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
    run(instantly(&mut coordinator.single([])).env("DOCKER_FAKE_PAUSE", "6")).exits(0);
    let patches = coordinator.heard(id).patches;
    let empty = patches.iter().filter(|(_, bytes, _)| bytes.is_empty());
    let times: Vec<_> = empty.filter_map(|(.., when)| *when).collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.min() < Some(Duration::from_millis(2500)), "{times:?}");
}

#[test]
fn a_log_that_a_debugging_shell_writes_is_said_to_be_one() {
    let coordinator = gitlab();
    for (name, value, debug) in [
        ("CI_DEBUG_TRACE", "true", true),
        ("CI_DEBUG_SERVICES", "1", true),
        ("CI_DEBUG_TRACE", "false", false),
    ] {
        let mut job = coordinator.gitlab_job("ruby:2.1", &["true"]);
        let variables = job["variables"].as_array_mut().expect("a list");
        variables.push(json!({"key": name, "value": value, "public": true}));
        let id = coordinator.queue(job);
        serve(&coordinator).exits(0);
        assert_eq!(coordinator.heard(id).debug_trace, debug, "{name}={value}");
    }
}

#[test]
fn a_request_that_failed_is_found_in_gitlabs_own_log() {
    let coordinator = gitlab();
    let seen = Arc::new(Mutex::new(String::new()));
    let ids = seen.clone();
    coordinator.misbehave(move |request| {
        if !request.path.ends_with("/jobs/request") {
            return None;
        }
        request
            .header("x-request-id")
            .clone_into(&mut ids.lock().expect("no panic"));
        Some(Fault::Before(Response::status(418)))
    });
    let ran = serve(&coordinator);
    let id = seen.lock().expect("no panic").clone();
    assert!(id.len() > 20, "{id}");
    ran.on_stderr(format!("status 418 (request {id})"));
}

#[test]
fn what_is_wrong_with_a_job_is_told_in_the_words_that_gitlab_knows() {
    let coordinator = gitlab();
    for (known, want) in [
        (
            json!(["runner_configuration_error"]),
            "runner_configuration_error",
        ),
        (json!([]), "script_failure"),
        (Value::Null, "script_failure"),
    ] {
        let mut job = coordinator.gitlab_job("--privileged", &["true"]);
        job["features"]["failure_reasons"] = known;
        let id = coordinator.queue(job);
        serve(&coordinator).exits(0);
        let heard = coordinator.heard(id);
        assert_eq!(heard.failure_reason.as_deref(), Some(want), "{heard}");
    }
    // A job that cannot be read begins all the same, so that it can end.
    let mut job = coordinator.gitlab_job("ruby:2.1", &["true"]);
    job["git_info"] = json!(7);
    let id = coordinator.queue(job);
    serve(&coordinator).exits(0);
    let heard = coordinator.heard(id);
    heard.fails().says("an unexpected value at git_info");
    assert_eq!(
        heard.failure_reason.as_deref(),
        Some("runner_system_failure")
    );
    assert_eq!(heard.begins, 1);
}

#[test]
fn the_job_of_a_runner_that_was_killed_is_reported_as_interrupted() {
    let coordinator = gitlab();
    let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
    let mut runner = coordinator.single([]);
    instantly(&mut runner).env("DOCKER_FAKE_PAUSE", "20");
    let mut runner = Running::start(&mut runner);
    coordinator.wait_for_text(id, "Running with alloy-runner");
    runner.kill().expect("killed");
    runner.wait().expect("ended");
    serve(&coordinator)
        .exits(0)
        .on_stderr("was reported, whose runner was killed");
    let heard = coordinator.heard(id);
    heard.fails().says("the runner was killed");
    assert_eq!(heard.failure_reason.as_deref(), Some("runner_interrupted"));
}

#[test]
fn a_script_that_fails_says_its_status_and_an_image_that_is_missing_is_that() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let mut slow = coordinator.gitlab_job(BUSYBOX, &["sleep 600"]);
    slow["runner_info"]["timeout"] = json!(5);
    for (job, reason, exit_code) in [
        (
            coordinator.gitlab_job(BUSYBOX, &["exit 7"]),
            "script_failure",
            Some(7),
        ),
        (
            coordinator.gitlab_job("alloy-runner-test/none", &["true"]),
            "image_pull_failure",
            None,
        ),
        (slow, "job_execution_timeout", None),
    ] {
        let id = coordinator.queue(job);
        coordinator.serve([]).exits(0);
        let heard = coordinator.heard(id);
        assert_eq!(heard.failure_reason.as_deref(), Some(reason), "{heard}");
        assert_eq!(heard.exit_code, exit_code, "{heard}");
    }
    let missing = Coordinator::new(Kind::AlloyCi);
    let id = missing.queue_script("alloy-runner-test/none", &["true"]);
    missing.serve([]).exits(0);
    let heard = missing.heard(id);
    assert_eq!(heard.failure_reason.as_deref(), Some("script_failure"));
}

/// A job that waits in its script, and then in its `after_script`.
fn waiting(coordinator: &Coordinator, after: &[&str]) -> u64 {
    let mut job = coordinator.gitlab_job(DEBIAN, &["echo begun", "sleep 600"]);
    let after = json!({"name": "after_script", "script": after, "timeout": 300, "when": "always", "allow_failure": true});
    job["steps"].as_array_mut().expect("a list").push(after);
    job["artifacts"] = json!([{"paths": ["README"], "when": "always"}]);
    coordinator.set_interval(1);
    coordinator.queue(job)
}

#[test]
fn a_job_that_is_canceling_ends_its_script_and_runs_its_after_script() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let id = waiting(&coordinator, &["echo after: $CI_JOB_STATUS"]);
    let runner = Running::start(coordinator.single([]).stderr(Stdio::piped()));
    coordinator.wait_for_text(id, "\nbegun\n");
    coordinator.cancel_gracefully(id);
    let heard = &coordinator.wait_for_end(&[id])[0];
    heard
        .fails()
        .says("\nafter: canceled\n")
        .says_nothing_of("Uploading artifacts")
        .ends("ERROR: Build failed: canceled\u{1b}[0;m\n");
    Ran::from(runner.wait_with_output().expect("ended")).exits(0);
}

#[test]
fn a_job_that_is_canceled_for_good_ends_its_after_script_too() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let id = waiting(&coordinator, &["echo after", "sleep 600", "echo never"]);
    let runner = Running::start(coordinator.single([]).stderr(Stdio::piped()));
    coordinator.wait_for_text(id, "\nbegun\n");
    coordinator.cancel_gracefully(id);
    coordinator.wait_for_text(id, "\nafter\n");
    coordinator.cancel(id);
    let heard = &coordinator.wait_for_end(&[id])[0];
    heard.fails().says_nothing_of("\nnever\n");
    Ran::from(runner.wait_with_output().expect("ended")).exits(0);
}

/// A docker in which scripts wait, and say which status an `after_script` is given.
const WAITING: &str = r#"#!/bin/sh
case $1 in
image)
  while [ "$1" != -- ]; do shift; done
  shift
  for image; do echo '{"id":"sha256:0","entrypoint":null,"env":null,"ports":null}'; done
  ;;
container) echo 'exited 0 false 2026-01-01T00:00:00Z ' ;;
run | exec | start) case " $* " in *" --interactive "*)
    text=$(cat)
    case $text in
    *after-mark*) printf 'after: %s\n' "$(printf '%s' "$text" | grep -o 'CI_JOB_STATUS=[^ ;]*')" ;;
    *script-mark*) echo begun ;;
    *) exit 0 ;;
    esac
    exec sleep 30
    ;;
  esac ;;
esac
"#;

#[test]
fn canceling_ends_the_script_alone_and_canceled_the_after_script_too() {
    let coordinator = gitlab();
    let docker = coordinator.beside("bin");
    fs::create_dir(&docker).expect("created");
    program(&docker.join("docker"), WAITING);
    let mut job = coordinator.gitlab_job("ruby:2.1", &["script-mark"]);
    let after =
        json!({"name": "after_script", "script": ["after-mark"], "timeout": 300, "when": "always"});
    job["steps"].as_array_mut().expect("a list").push(after);
    coordinator.set_interval(1);
    let id = coordinator.queue(job);
    let mut runner = coordinator.single([]);
    let runner = Running::start(
        runner
            .env("PATH", path_with(&docker))
            .stderr(Stdio::piped()),
    );
    coordinator.wait_for_text(id, "\nbegun\n");
    coordinator.cancel_gracefully(id);
    coordinator.wait_for_text(id, "\nafter: CI_JOB_STATUS=");
    coordinator.cancel(id);
    let heard = &coordinator.wait_for_end(&[id])[0];
    heard
        .fails_by("script_failure")
        .says("canceled\n")
        .says("ERROR: Build failed: canceled");
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    ran.exits(0)
        .on_stderr("the coordinator says that the job is canceling")
        .on_stderr("the coordinator says that the job is canceled");
}

#[test]
fn a_job_that_is_canceling_before_its_script_stops() {
    let coordinator = gitlab();
    coordinator.set_interval(1);
    let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
    coordinator.cancel_gracefully(id);
    let mut runner = coordinator.single([]);
    run(instantly(&mut runner).env("DOCKER_FAKE_PAUSE", "5")).exits(0);
    coordinator
        .heard(id)
        .fails()
        .says("ERROR: Build failed: canceled");
}

/// A token that was made on GitLab's pages.
const MADE_THERE: &str = "glrt-t1_made-over-there";

#[test]
fn a_runner_that_was_made_on_gitlabs_pages_is_verified_and_leaves_this_host_only() {
    let coordinator = gitlab();
    coordinator.know_runner(MADE_THERE);
    coordinator.set_expiry("2099-01-02T03:04:05.678Z");
    let url = coordinator.url();
    let flags = ["register", "--non-interactive", "--url", &url];
    // People take one token for the other.
    for (variable, name) in [("CI_SERVER_TOKEN", "a"), ("REGISTRATION_TOKEN", "b")] {
        let mut register = coordinator.command(flags);
        run(register.args(["--name", name]).env(variable, MADE_THERE)).exits(0);
        let text = fs::read_to_string(coordinator.beside("config.toml")).expect("there");
        assert!(
            text.contains("token_expires_at = 2099-01-02T03:04:05Z\n"),
            "{text}"
        );
        assert!(text.contains("token_obtained_at = 20"), "{text}");
        coordinator.run(["unregister", "--name", name]).exits(0);
    }
    let asked = |request: &str| coordinator.requests(request).len();
    assert_eq!(asked("POST /api/v4/runners"), 0);
    assert_eq!(asked("POST /api/v4/runners/verify"), 2);
    assert_eq!(asked("DELETE /api/v4/runners/managers"), 2);
    assert_eq!(asked("DELETE /api/v4/runners"), 0);
    assert!(coordinator.knows_runner(MADE_THERE));
}

#[test]
fn where_registration_tokens_are_switched_off_the_way_to_another_one_is_said() {
    let coordinator = gitlab();
    coordinator.register_nobody();
    let url = coordinator.url();
    let mut register = coordinator.command(["register", "--non-interactive", "--url", &url]);
    run(register.env("REGISTRATION_TOKEN", "x"))
        .fails(3)
        .on_stderr("registration tokens are switched off there")
        .on_stderr("glrt-");
}

#[test]
fn a_token_is_replaced_in_time_and_the_runner_serves_on() {
    let coordinator = gitlab();
    coordinator.set_expiry("2099-01-01T00:00:00Z");
    let times =
        "token_obtained_at = 2020-01-01T00:00:00Z # mine\ntoken_expires_at = 2020-02-01T00:00:00Z";
    coordinator.configure("concurrent = 1 # one", &[times]);
    let mut runner = coordinator.command("run");
    let runner = Running::start(instantly(&mut runner).stderr(Stdio::piped()));
    let new = format!("token = \"{RUNNER_TOKEN}-again\"\n");
    let config = coordinator.beside("config.toml");
    eventually(Duration::from_secs(20), "a new token", || {
        fs::read_to_string(&config).is_ok_and(|text| text.contains(&new))
    });
    let text = fs::read_to_string(&config).expect("there");
    assert!(
        text.contains("concurrent = 1 # one\n") && text.contains("Z # mine\n"),
        "{text}"
    );
    assert!(
        text.contains("token_expires_at = 2099-01-01T00:00:00Z\n"),
        "{text}"
    );
    let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
    coordinator.wait_for_end(&[id])[0].succeeds();
    support::signal(&runner, "QUIT");
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    ran.exits(0)
        .on_stderr("the runner has a new token")
        .not_on_stderr(RUNNER_TOKEN);
    assert_eq!(
        coordinator
            .requests("POST /api/v4/runners/reset_authentication_token")
            .len(),
        1
    );
}

#[test]
fn a_runner_that_makes_one_request_replaces_its_token_before() {
    let coordinator = gitlab();
    coordinator.set_expiry("2099-01-01T00:00:00Z");
    let times = "token_obtained_at = 2020-01-01T00:00:00Z\ntoken_expires_at = 2020-02-01T00:00:00Z";
    coordinator.configure("", &[times]);
    for _ in 0..2 {
        let id = coordinator.queue(coordinator.gitlab_job("ruby:2.1", &["true"]));
        let mut runner = coordinator.command("run-single --runner docker-0");
        run(instantly(&mut runner)).exits(0);
        coordinator.heard(id).succeeds();
    }
    let reset = "POST /api/v4/runners/reset_authentication_token";
    assert_eq!(coordinator.requests(reset).len(), 1);
}

/// Of each request its path, its token, and how long its body was.
type Got = Arc<Mutex<Vec<(String, String, usize)>>>;

/// A server that answers so, and what it got.
fn storage(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> (Server, Got) {
    let seen = Got::default();
    let got = seen.clone();
    let server = Server::start("127.0.0.1", None, move |request| {
        let token = request.header("job-token").to_owned();
        let entry = (request.path.clone(), token, request.body.len());
        got.lock().expect("no panic").push(entry);
        answer(request)
    });
    (server, seen)
}

#[test]
fn artifacts_go_where_gitlab_keeps_them_without_the_jobs_token() {
    let project = Project::without_engine();
    project.write("a", "made");
    let (store, stored) = storage(|_| Response::status(201));
    let there = format!("http://{}/store", store.address);
    let (gitlab, asked) = storage(move |request| match request.path.as_str() {
        "/first" => Response::status(307).with("Location", "/second"),
        _ => Response::status(302).with("Location", &there),
    });
    let task = task::Upload {
        project: Within {
            volume: project.directory.clone(),
            path: "".into(),
        },
        files: task::Files {
            paths: vec!["a".to_owned()],
            untracked: false,
            exclude: Vec::new(),
        },
        name: "artifacts.zip".to_owned(),
        format: task::Format::default(),
        level: Level::default(),
        to: Some(task::Receiver {
            url: format!("http://{}/first", gitlab.address),
            token: "job-token".to_owned(),
            about: Vec::new(),
        }),
        certificates: String::new(),
        proxies: Vec::new(),
    };
    let task = serde_json::to_string(&task).expect("JSON");
    let mut upload = Command::new(RUNNER);
    run(upload.arg("artifacts-uploader").env(task::VARIABLE, task)).exits(0);
    let asked = asked.lock().expect("no panic").clone();
    let tokens: Vec<_> = asked
        .iter()
        .map(|(path, token, _)| (path.as_str(), token.as_str()))
        .collect();
    assert_eq!(tokens, [("/first", "job-token"), ("/second", "job-token")]);
    let stored = stored.lock().expect("no panic").clone();
    assert_eq!(stored.len(), 1);
    assert_eq!((stored[0].0.as_str(), stored[0].1.as_str()), ("/store", ""));
    assert!(stored[0].2 > 100, "the archive is in it");
}
