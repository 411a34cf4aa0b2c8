use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::script;
use super::writer::Script;
use crate::config::RunnerConfig;
use crate::docker::Words;
use crate::docker::{Slot, Word};
use crate::job::payload;
use crate::outcome::Outcome;
use crate::plan::helper_image::HelperImage;
use crate::plan::lines::{self, Line};
use crate::plan::names::Names;
use crate::plan::{BuildStage, Failure, Host, Plan, REFUSED, StageKind};
use crate::trace::WARNING;

/// The plan of a job with a service, a script and an `after_script`, whose scripts are these.
fn plan(script: &str, after_script: &str) -> Plan {
    let text = include_str!("../../fixtures/payloads/gitlab.json");
    let payload = payload::read(text.as_bytes(), "https://c/api/v4").expect("a payload");
    let mut job = payload.job.expect("a job");
    job.artifacts.clear();
    job.caches.clear();
    job.dependencies.clear();
    job.timeout = None;
    job.script_timeout = None;
    job.after_script = vec!["true".to_owned()];
    let host = Host {
        helper_image: HelperImage {
            name: "alloy-runner-helper:1".to_owned(),
            base: "alpine".to_owned(),
            ..HelperImage::default()
        },
        ..Host::default()
    };
    let names = Names::of_script("local");
    let mut plan = Plan::new(&job, &RunnerConfig::default(), &names, &host).expect("a plan");
    plan.script.script = Word::from(format!("{script}\n"));
    // Its own needs a password that is not printed.
    plan.fetch[0].script = Word::from("true\n");
    let after = plan.after_script.as_mut().expect("there");
    after.script = Word::from(format!("{after_script}\n"));
    plan
}

fn after_script(plan: &mut Plan) -> &mut BuildStage {
    plan.after_script.as_mut().expect("there")
}

/// What runs printed scripts.
const SHELLS: [&str; 2] = ["sh", "bash"];

/// A stand-in: images are there, the helper's commands end with `$helper`, and the build container is a shell.
const DOCKER: &str = r#"#!/bin/sh
case $1 in
image) echo sha256:1 ;;
run) case "$*" in *" --detach "*) ;; *) echo $$ >"$directory/build"; exec sh ;; esac ;;
start) echo $$ >"$directory/build"; exec sh ;;
exec) case "$*" in *kill*) ;; *) exit "$helper" ;; esac ;;
kill) kill -TERM "$(cat "$directory/build")" ;;
stop) kill -KILL "$(cat "$directory/build")" ;;
esac
"#;

/// Runs the printed script of a plan by a shell, on a host without an engine.
fn run(shell: &str, plan: &Plan, helper: u8) -> (String, Option<i32>) {
    let directory = tempfile::tempdir().expect("a directory");
    let docker = directory.path().join("docker");
    fs::write(&docker, DOCKER).expect("written");
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).expect("set");
    let words = Words(vec![docker.display().to_string()]);
    let mut text = script(plan, &words, "test", "runner");
    for (name, _) in plan.build.run.secrets() {
        text.insert_str(0, &format!("export {name}=x\n"));
    }
    let output = Command::new(shell)
        .args(["-c", &text])
        .env("directory", directory.path())
        .env("helper", helper.to_string())
        .output();
    let Output { status, stdout, .. } = output.expect("a shell");
    (String::from_utf8(stdout).expect("UTF-8"), status.code())
}

#[track_caller]
fn assert_ends(plan: &Plan, helper: u8, lines: &[&str], status: i32) {
    let end = format!("\n{}\n", lines.join("\n"));
    for shell in SHELLS {
        let (log, ended) = run(shell, plan, helper);
        let is_end = log.ends_with(&end) && ended == Some(status);
        assert!(is_end, "{shell} {ended:?} {log}");
    }
}

#[test]
fn a_script_ends_as_its_job_does() {
    assert_ends(&plan("true", "echo $0"), 0, &["sh", "Job succeeded"], 0);
    let failed = "ERROR: Build failed: exit code 7";
    assert_ends(&plan("exit 7", "true"), 0, &[failed], 1);
    let after = "WARNING: after_script failed: exit code 3";
    assert_ends(&plan("exit 7", "exit 3"), 0, &[after, failed], 1);
}

#[test]
fn a_release_follows_a_script_that_succeeds_and_its_end_is_the_jobs() {
    let with = |script: &str, release: &str| {
        let mut plan = plan(script, "echo after");
        let stage = BuildStage {
            kind: StageKind::Release,
            script: Word::from(format!("{release}\n")),
            timeout: None,
            ..after_script(&mut plan).clone()
        };
        plan.releases = vec![stage];
        plan
    };
    let released = ["released", "after", "Job succeeded"];
    assert_ends(&with("true", "echo released"), 0, &released, 0);
    let failed = "ERROR: Build failed: exit code 7";
    let (log, _) = run("sh", &with("exit 7", "echo released"), 0);
    assert!(log.ends_with(&format!("\nafter\n{failed}\n")), "{log}");
    assert!(!log.contains("released"), "{log}");
    assert_ends(&with("true", "exit 7"), 0, &["after", failed], 1);
}

#[test]
fn a_script_has_its_time_and_the_after_script_another() {
    let mut slow = plan("exec sleep 60", "echo after");
    slow.script.timeout = Some(Duration::from_secs(1));
    let failed = "ERROR: Build failed: execution took longer than 1 s";
    assert_ends(&slow, 0, &["after", failed], 1);
    let mut slow = plan("true", "exec sleep 60");
    after_script(&mut slow).timeout = Some(Duration::from_secs(1));
    let after = "WARNING: after_script failed: execution took longer than 1 s";
    assert_ends(&slow, 0, &[after, "Job succeeded"], 0);
}

#[test]
fn a_job_has_its_time_up_to_the_end_of_its_scripts() {
    let mut slow = plan("exec sleep 60", "echo after");
    slow.timeout = Some(Duration::from_secs(1));
    slow.script.timeout = Some(Duration::from_mins(1));
    let left_out = "WARNING: after_script is left out: the job's time is over";
    let failed = "ERROR: Build failed: execution took longer than 1 s";
    assert_ends(&slow, 0, &[left_out, failed], 1);
    let mut quick = plan("true", "true");
    quick.timeout = Some(Duration::from_secs(u64::MAX));
    assert_ends(&quick, 0, &["Job succeeded"], 0);
}

#[test]
fn what_fails_in_the_helper_fails_as_the_stage_has_it() {
    let with = |failure, attempts| {
        let mut plan = plan("true", "true");
        let stage = &mut plan.fetch[0];
        (stage.failure, stage.attempts) = (failure, attempts);
        plan
    };
    let again = "WARNING: get sources failed with status 5, attempt 2 of 2 follows";
    let failed = "ERROR: Build failed (system failure): get sources failed with status 5";
    assert_ends(&with(Failure::System, 2), 5, &[again, failed], 3);
    let refused = "ERROR: Build failed: Error: get sources was refused";
    assert_ends(&with(Failure::Refusable, 1), REFUSED, &[refused], 1);
    assert_ends(&with(Failure::Refusable, 1), 5, &[failed], 3);
    let own = "ERROR: Build failed: Error: get sources failed with status 5";
    assert_ends(&with(Failure::Job, 1), 5, &[own], 1);
    let (log, status) = run("sh", &with(Failure::Warning, 1), 5);
    let warning = "\nWARNING: get sources failed with status 5\n";
    assert!(log.contains(warning), "{log}");
    // The services are asked by the same helper.
    let failed = ": asking for the services failed in the helper: status 5\n";
    assert!(
        log.ends_with(failed) && status == Some(3),
        "{status:?} {log}"
    );
}

/// Every line, with what is known only while a job runs from `known`, which gets the name of a shell variable and an
/// example of its value.
fn all_lines(plan: &Plan, known: &dyn Fn(&'static str, &'static str) -> Word) -> Vec<Line> {
    let service = &plan.services[0];
    let (fetch, script) = (&plan.fetch[0], StageKind::AfterScript);
    let image = HelperImage::default();
    let kind = fetch.kind;
    let mut all: Vec<Line> = lines::opening(plan).collect();
    let died = lines::service_died(known("ended", "1"));
    let asked = Word::from("status ").then(known("ended", "1"));
    let title = || known("service", "postgres:17 (it's)");
    all.extend([
        lines::pulling("host:5000/a:b"),
        lines::using_image(known("id", "sha256:1"), "a:b"),
        lines::building_helper_image(&image),
        lines::starting_service(service),
        lines::service_not_started(service, None),
        lines::running_on(plan),
        lines::waiting_for_services(),
        lines::service_problem(title(), died, Ok(())),
        lines::service_problem(title(), known("problem", "no  answer"), Err(lines::NO_LOG)),
        lines::using_artifacts("it's \u{1b}[31m `job`"),
        lines::no_artifacts("a\nb $x"),
        lines::another_attempt(fetch, known("ended", "1"), known("attempt", "2")),
        lines::failed_with_warning(kind, known("ended", "1")),
        lines::after_script_failed(lines::exit_code(known("ended", "1"))),
        lines::after_script_left_out(),
        lines::job_failed(lines::exit_code(known("ended", "1"))),
        lines::job_failed(lines::took_longer(known("allowed", "60"))),
        lines::job_failed(lines::build_error(lines::image_not_found("a:b"))),
        lines::job_failed(lines::build_error(lines::refused(kind))),
        lines::system_failed(lines::failed(kind, known("ended", "1"))),
        lines::system_failed(lines::other_platform(known("engine", "linux/arm64"))),
        lines::system_failed(lines::NO_SOURCES),
        lines::system_failed(lines::NO_USER),
        lines::system_failed(lines::asking_failed(asked)),
        lines::needs_secrets(script),
    ]);
    all
}

#[test]
fn a_run_and_a_printed_script_say_the_same() {
    let mut plan = plan("true", "true");
    plan.warnings = vec!["it's a \"$warning\" \\n".to_owned()];
    let variables = RefCell::new(BTreeSet::new());
    let run = all_lines(&plan, &|name, value| {
        variables
            .borrow_mut()
            .insert(format!("{name}={}", Word::from(value)));
        Word::from(value)
    });
    let printed = all_lines(&plan, &|name, _| Slot::new(name).into());
    // What the runner is called where a plan is run is a slot where it is printed.
    let prefix = "prefix=runner".to_owned();
    let variables: Vec<String> = variables.into_inner().into_iter().chain([prefix]).collect();
    let bindings = [(Slot::new("prefix"), "runner".to_owned())].into();
    for (run, printed) in run.iter().zip(printed) {
        let text = run.text.bind(&bindings).expect("known");
        let warning = if run.is_warning { WARNING } else { "" };
        let script = format!("{}\n{}", variables.join("\n"), Script::saying(&printed));
        let output = Command::new("sh").args(["-c", &script]).output();
        let said = String::from_utf8(output.expect("a shell").stdout).expect("UTF-8");
        assert_eq!(said, format!("{warning}{text}\n"), "{script}");
    }
}

#[test]
fn last_lines_are_those_of_the_outcome() {
    let image = || lines::image_not_found("a:b");
    for (line, outcome) in [
        (
            lines::job_failed(lines::exit_code("7")),
            Outcome::ScriptFailure {
                exit_code: 7,
                out_of_memory: false,
            },
        ),
        (
            lines::job_failed(lines::took_longer("60")),
            Outcome::TimedOut(Duration::from_mins(1)),
        ),
        (
            lines::job_failed(lines::build_error(image())),
            Outcome::BuildError(image().into()),
        ),
        (
            lines::system_failed("x"),
            Outcome::SystemFailure("x".into()),
        ),
    ] {
        assert_eq!(line.text.plain(), outcome.to_string());
    }
}

#[test]
fn each_line_is_tested_and_used_on_both_sides() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = |path: &str| {
        let mut all = String::new();
        for entry in fs::read_dir(source.join(path)).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_file() && !path.ends_with("tests.rs") {
                all += &fs::read_to_string(path).expect("UTF-8");
            }
        }
        all
    };
    let (run, printed) = (text("executor"), text("printer"));
    let table = include_str!("tests.rs");
    let names = include_str!("../plan/lines.rs").split("\npub ").skip(1);
    let names = names.filter_map(|item| item.strip_prefix("fn ").or(item.strip_prefix("const ")));
    let names: Vec<&str> = names
        .filter_map(|item| item.split(['(', ':']).next())
        .collect();
    assert!(names.len() > 20);
    // What an outcome says by itself, and what no run says.
    let of_outcomes = ["job_failed", "system_failed", "build_error", "took_longer"];
    for name in names {
        let path = format!("lines::{name}");
        assert!(table.contains(&path) && printed.contains(&path), "{name}");
        let is_run = run.contains(&path) || of_outcomes.contains(&name) || name == "needs_secrets";
        assert!(is_run, "{name}");
    }
}
