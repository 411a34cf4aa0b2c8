//! What leaves the process, by the word of a docker that writes it down: arguments, environment, standard input.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::commands::is_variable;
use super::docker_line::{Line, mount, volume};
use super::support::coordinator::{Coordinator, Kind};
use super::support::{Project, Ran, fake_docker, path_with, program, run};
use super::tries::some;
use super::words::{MARKS, payload as hostile_payload, word};

/// Options that a job's containers have where the configuration gives none.
const USUAL: &[&str] = &[
    "--cap-add",
    "--cap-drop",
    "--detach",
    "--entrypoint",
    "--env",
    "--env-file",
    "--interactive",
    "--label",
    "--log-driver",
    "--memory",
    "--mount",
    "--name",
    "--network",
    "--network-alias",
    "--no-healthcheck",
    "--pull",
    "--security-opt",
    "--volume",
    "--workdir",
];

/// A start of docker.
pub struct Start {
    pub argv: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub stdin: String,
}

/// Where a recorder writes.
pub struct Records(TempDir);

impl Records {
    pub fn new() -> Self {
        Self(TempDir::with_prefix("alloy-test-").expect("a directory"))
    }

    /// Has a runner find the recorder in place of docker.
    pub fn with(&self, command: &mut Command) {
        command
            .env("PATH", path_with(&fake_docker().join("recorder")))
            .env("DOCKER_RECORD", self.0.path());
    }

    /// What was started, and forgets it.
    pub fn take(&self) -> Vec<Start> {
        let mut starts = Vec::new();
        for entry in fs::read_dir(self.0.path()).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none() {
                let read = |kind| {
                    String::from_utf8_lossy(
                        &fs::read(path.with_extension(kind)).unwrap_or_default(),
                    )
                    .into_owned()
                };
                let words = |text: String| {
                    text.split_terminator('\0')
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                };
                let environment = words(read("env"));
                let pair = |entry: &String| {
                    let (name, value) = entry.split_once('=').expect("NAME=value");
                    (name.to_owned(), value.to_owned())
                };
                starts.push(Start {
                    argv: words(read("argv")),
                    environment: environment.iter().map(pair).collect(),
                    stdin: read("stdin"),
                });
            }
        }
        for entry in fs::read_dir(self.0.path()).expect("readable") {
            fs::remove_file(entry.expect("an entry").path()).expect("removed");
        }
        starts
    }
}

/// Checks what docker was started with for a job, without any settings of the runner's.
fn check(start: &Start, checkout: Option<&Path>) {
    let mut line = Line::read(&start.argv).unwrap_or_else(|error| panic!("{error}"));
    let ours = |name: &str| name.starts_with("runner-");
    match line.subcommand.as_str() {
        "run" | "create" => {
            line.take_chosen();
            for option in line.options.keys() {
                assert!(
                    USUAL.contains(&option.as_str()),
                    "{option}: {:?}",
                    start.argv
                );
            }
            assert!(line.take("--name").iter().all(|name| ours(name)));
            assert!(line.take("--network").iter().all(|name| ours(name)));
            assert!(
                line.take("--log-driver")
                    .iter()
                    .all(|driver| driver == "none")
            );
            assert_eq!(line.take("--pull"), ["never"]);
            for value in line.take("--volume") {
                let mounted = volume(&value).expect("a volume");
                assert!(
                    ours(&mounted.source)
                        && ["/builds", "/cache", "/alloy/caches"]
                            .contains(&mounted.target.as_str()),
                    "{value}"
                );
            }
            for value in line.take("--mount") {
                let (kind, mounted, _) = mount(&value).expect("a mount");
                match kind.as_str() {
                    "volume" => assert!(
                        ours(&mounted.source)
                            || mounted.source.starts_with("alloy-runner-hold-")
                                && mounted.mode.starts_with("ro"),
                        "{value}"
                    ),
                    // `exec` shows its helper the checkout.
                    _ => assert!(
                        checkout.is_some_and(
                            |checkout| Path::new(&mounted.source).starts_with(checkout)
                        ) && mounted.mode == "ro"
                            && mounted.target.starts_with("/alloy/"),
                        "{value}"
                    ),
                }
            }
            assert_eq!(line.operands.first().map(String::as_str), Some("sha256:0"));
        }
        "exec" | "start" | "rm" | "logs" | "stop" | "pause" | "unpause" | "container inspect"
        | "volume create" | "volume rm" | "network create" | "network rm" => {
            let names = if line.subcommand == "exec" {
                &line.operands[..1]
            } else {
                &line.operands[..]
            };
            assert!(
                !names.is_empty() && names.iter().all(|name| ours(name)),
                "{:?}",
                start.argv
            );
        }
        "pull" | "image inspect" => {
            line.take_chosen();
            // Of a job's images all are looked at in one command.
            let images = &line.operands[..];
            let is_one = line.subcommand == "image inspect" || images.len() == 1;
            assert!(!images.is_empty() && is_one, "{:?}", start.argv);
            let is_name = |image: &String| image.starts_with(|c: char| c.is_ascii_alphanumeric());
            assert!(images.iter().all(is_name), "{images:?}");
        }
        "container ls" | "volume ls" | "network ls" | "version" | "events" => {
            assert!(line.operands.is_empty(), "{:?}", start.argv);
        }
        other => panic!("{other}: {:?}", start.argv),
    }
    check_process(start);
}

/// What the process has beside its arguments.
fn check_process(start: &Start) {
    // A script is read whole before it runs, and nothing in it ends it.
    let is_script = start.argv.first().is_some_and(|word| word == "run")
        || start.argv.last().is_some_and(|word| word == "sh");
    if is_script && !start.stdin.is_empty() {
        let begin = start.stdin.find("{\nexec ").expect("a script");
        let (secrets, script) = start.stdin.split_at(begin);
        let is_assigned = |line: &str| {
            let name = line.split_once("='").map_or("", |(name, _)| name);
            is_variable(name.trim_start_matches("export ")) && line.ends_with('\'')
        };
        assert!(
            secrets.lines().all(is_assigned) && script.ends_with("}\n"),
            "{}",
            start.stdin
        );
    }
    // What leads programs is the host's, and of the job nothing is there under such a name.
    for (name, value) in &start.environment {
        let leads = [
            "PATH",
            "HOME",
            "ENV",
            "BASH_ENV",
            "PS4",
            "SHELLOPTS",
            "IFS",
            "TMPDIR",
        ]
        .contains(&name.as_str())
            || ["LD_", "DOCKER_", "GO", "SSL_", "SSH_", "XDG_", "CONTAINER"]
                .iter()
                .any(|begin| name.starts_with(begin))
            || name.to_lowercase().ends_with("_proxy");
        let of_host = [
            "PATH",
            "DOCKER_RECORD",
            "DOCKER_SAY",
            "DOCKER_CONFIG",
            "DOCKER_PULL_POLICY",
            "PWD",
        ]
        .contains(&name.as_str())
            || (name == "TMPDIR" && value.contains("/state/files/"))
            || std::env::var(name).as_ref() == Ok(value);
        assert!(!leads || of_host, "{name}={value} leads the client");
        if name == "DOCKER_CONFIG" {
            assert!(
                Path::new(value).is_absolute() && !value.contains("evil"),
                "{value}"
            );
        }
    }
}

fn no_marks() {
    assert!(
        !Path::new("/tmp/pwned").exists(),
        "something ran on the host"
    );
}

#[test]
fn a_coordinators_job_leaves_by_checked_commands_only() {
    let coordinator = Coordinator::without_engine(Kind::GitLab);
    let records = Records::new();
    let mut started = 0;
    for payload in some(&hostile_payload(), 25) {
        let mut job = coordinator.job("ruby:2.1", &["true"]);
        for (key, value) in payload.as_object().expect("an object") {
            if !["id", "token"].contains(&key.as_str()) && value != &json!({"name": null}) {
                job[key] = value.clone();
            }
        }
        job["job_info"]["project_id"] = json!(coordinator.project);
        let id = coordinator.queue(job.clone());
        let mut command = coordinator.single([]);
        records.with(&mut command);
        let ran = run(&mut command);
        ran.exits(0);
        let heard = coordinator.heard(id);
        assert!(heard.state.is_some(), "{job:#}\n{ran}");
        ran.not_on_stderr("panicked");
        for start in records.take() {
            started += 1;
            check(&start, None);
        }
    }
    no_marks();
    eprintln!("{started} starts of docker");
    assert!(started > 100, "{started}");
}

/// A job file with hostile values in it.
fn job_file(words: &[String]) -> Value {
    let word = |index: usize| words[index].clone();
    let mut job = json!({
        "image": {"name": "ruby", "entrypoint": [word(0), word(1)]},
        "services": [{"name": "redis:6", "alias": "db", "entrypoint": [word(2)], "command": [word(3), word(4)]}],
        "variables": {"A": word(5), "B": word(6)},
        "script": [word(7)],
        "after_script": word(8),
        "cache": {"key": word(9), "paths": [word(10)]},
        "artifacts": {"name": word(11), "paths": [word(12)]},
    });
    // In some places nearly nothing is good.
    match words[13].len() % 6 {
        0 => job["image"]["name"] = json!(word(14)),
        1 => job["services"][0]["name"] = json!(word(14)),
        2 => job["services"][0]["alias"] = json!(word(14)),
        3 => job["variables"][word(14)] = json!(word(15)),
        _ => {}
    }
    json!({"test": job})
}

#[test]
fn a_checkouts_job_leaves_by_checked_commands_only() {
    let project = checkout(&json!({"test": {"script": "true", "image": "ruby"}}));
    let records = Records::new();
    let mut started = 0;
    for words in some(&proptest::collection::vec(word(), 16), 25) {
        let file = job_file(&words);
        fs::write(project.beside("hostile.json"), file.to_string()).expect("written");
        let place = project.beside("hostile.json").display().to_string();
        let mut command = project.command(["exec", "--file", &place, "test"]);
        records.with(&mut command);
        let ran = run(&mut command);
        assert!(matches!(ran.status, Some(0..=3)), "{file:#}\n{ran}");
        ran.not_on_stderr("panicked");
        for start in records.take() {
            started += 1;
            check(&start, Some(&project.directory));
        }
        // Nothing of it is a path of this host but the place for artifacts.
        let mut names: Vec<_> = fs::read_dir(project.root())
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.retain(|name| name != "state");
        names.sort();
        assert_eq!(names, ["hostile.json", "site"], "{file:#}");
    }
    no_marks();
    eprintln!("{started} starts of docker");
    assert!(started > 5, "{started}");
}

/// The `docker` of a host may be a shell script, as podman's is, and shells run what some variables say.
#[test]
fn a_jobs_variables_lead_no_script_in_dockers_place() {
    let coordinator = Coordinator::without_engine(Kind::GitLab);
    let records = Records::new();
    let scripts = TempDir::with_prefix("alloy-test-").expect("a directory");
    let mark = scripts.path().join("mark");
    let docker = scripts.path().join("docker");
    let recorder = fake_docker().join("recorder/docker");
    let text = format!("#!/bin/bash\nexec {} \"$@\"\n", recorder.display());
    program(&docker, &text);
    let touch = format!("$(touch {})", mark.display());
    let mut job = coordinator.job("ruby:2.1", &["true"]);
    let variables = job["variables"].as_array_mut().expect("a list");
    for (key, value) in [
        ("BASH_ENV", &touch),
        ("ENV", &touch),
        ("PS4", &touch),
        ("SHELLOPTS", &"xtrace".to_owned()),
    ] {
        variables.push(json!({"key": key, "value": value, "public": false, "raw": true}));
    }
    let id = coordinator.queue(job);
    let mut command = coordinator.single([]);
    records.with(&mut command);
    command.env("PATH", path_with(scripts.path()));
    run(&mut command);
    coordinator.heard(id).succeeds();
    assert!(!mark.exists(), "the host ran it");
    // They reach the build all the same.
    let starts = records.take();
    let build = starts.iter().find(|start| {
        start.argv.iter().any(|word| word.ends_with("-build")) && start.argv[0] == "run"
    });
    let file = build
        .expect("a build")
        .argv
        .iter()
        .position(|word| word == "--env-file");
    assert!(file.is_some());
}

/// A checkout with this job file: none of its docker commands reach an engine.
pub fn checkout(job_file: &Value) -> Project {
    let project = Project::without_engine();
    project.write(".alloy-ci.json", &job_file.to_string());
    project.commit();
    project
}

/// Runs the executable on a checkout with this docker, with so much memory as is enough for it.
pub fn with_little_memory(
    project: &Project,
    records: &Records,
    arguments: &[&str],
    say: &str,
) -> Ran {
    let runner: PathBuf = super::support::RUNNER.into();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -d 300000; exec \"$@\"", "sh"])
        .arg(runner)
        .args(arguments)
        .current_dir(&project.directory)
        .env("ALLOY_RUNNER_STATE_DIR", project.beside("state"))
        .env("DOCKER_SAY", say);
    records.with(&mut command);
    run(&mut command)
}

#[test]
fn whatever_docker_prints_the_job_ends_and_says_why() {
    let job = json!({"test": {"script": "true", "image": "ruby", "services": ["redis"]}});
    let project = checkout(&job);
    let records = Records::new();
    let said = project.beside("said");
    let mut texts: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\0\0\0".to_vec(),
        b"[".repeat(100_000),
        b"{\"id\":".repeat(50_000),
        b"{\"id\":\"sha256:0\",\"entrypoint\":{},\"env\":3}".to_vec(),
        b"{\"id\":\"--privileged\",\"entrypoint\":null,\"env\":null}".to_vec(),
        b"exited 99999999999999999999 true x".to_vec(),
        b"dead".to_vec(),
        b"\xff\xfe\x00garbage\x1b[2J".to_vec(),
        b"x".repeat(5_000_000),
        b"0 \n1 x\n99999999999999999999 y\n-1\n\n".repeat(1000),
        "\u{202e}\u{0}\t\t\n\n\t\n".repeat(1000).into_bytes(),
    ];
    texts.extend(MARKS[..4].iter().map(|mark| mark.as_bytes().to_vec()));
    let commands = [
        "image inspect --format",
        "container inspect",
        "version",
        "run --detach",
        "container ls",
        "volume ls",
        "exec --interactive health-check",
        "events",
        "volume create",
    ];
    let mut inputs = 0;
    for words in commands {
        for (index, text) in texts.iter().enumerate() {
            // What is read by its letters is tried with all of them, the rest with a few.
            let read = ["image inspect --format", "container inspect"].contains(&words);
            if index > 3 && !read {
                continue;
            }
            inputs += 1;
            fs::write(&said, text).expect("written");
            let ran = with_little_memory(
                &project,
                &records,
                &["exec", "test"],
                &format!("{words}={}", said.display()),
            );
            assert!(matches!(ran.status, Some(0..=3)), "{words} {index}: {ran}");
            assert!(!ran.stderr.contains("panicked"), "{words} {index}: {ran}");
            assert!(
                ran.stderr.len() < 200_000 && ran.stdout.len() < 200_000,
                "{words} {index}"
            );
            for start in records.take() {
                Line::read(&start.argv).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
    no_marks();
    eprintln!("{inputs} answers of docker");
}

#[test]
fn a_docker_that_never_ends_its_answer_is_ended() {
    // With another attempt in store, the helper is started before its first stage.
    let variables = json!({"GET_SOURCES_ATTEMPTS": "2"});
    let job = json!({"script": "true", "image": "ruby", "variables": variables});
    let project = checkout(&json!({"test": job}));
    let records = Records::new();
    let (exec, prune) = (&["exec", "test"][..], &["prune"][..]);
    for (words, arguments) in [
        ("image inspect", exec),
        ("container ls", prune),
        ("volume ls", prune),
        ("run --detach", exec),
        ("container inspect", exec),
    ] {
        let ran = with_little_memory(&project, &records, arguments, &format!("{words}="));
        assert!(matches!(ran.status, Some(0 | 3)), "{words}: {ran}");
        let told = "docker printed more than 16 MB, which is no answer";
        assert!(
            ran.stdout.contains(told) || ran.stderr.contains(told),
            "{words}: {ran}"
        );
    }
}
