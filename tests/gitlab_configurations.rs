//! Configurations of GitLab's runner: those that its `register` wrote over the years, and those that people have made of
//! them, with the shapes that are found in public. What is said of each is compared whole.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::golden::assert_golden;
use support::{Project, Ran, run};

fn directory(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config");
    fixtures.join(name)
}

/// The configurations in a directory: name and text.
fn configurations(name: &str) -> Vec<(String, String)> {
    let files = fs::read_dir(directory(name)).expect("there");
    let files = files.map(|entry| entry.expect("readable").path());
    let mut found: Vec<(String, String)> = files
        .map(|path| {
            let text = fs::read_to_string(&path).expect("readable");
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), text)
        })
        .collect();
    found.sort();
    found
}

/// Reads a configuration with the executable.
fn list(text: &str, environment: &[(&str, &str)]) -> Ran {
    let project = Project::without_engine();
    project.write("config.toml", text);
    let mut command = project.command("--config config.toml list");
    run(command.envs(environment.iter().copied()))
}

/// What was said, without the times in front.
fn said(ran: &Ran) -> String {
    let lines = ran.stderr.lines().map(|line| {
        let message = line.strip_prefix('[').and_then(|rest| rest.split_once(' '));
        message.map_or(line, |(_, message)| message)
    });
    lines.fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn what_register_writes_is_read_without_a_word() {
    let all = configurations("registered");
    assert!(all.len() >= 14, "{}", all.len());
    let mut wrong = Vec::new();
    for (name, text) in all {
        let ran = list(&text, &[]);
        let runners = ran.stdout.lines().count();
        if ran.status != Some(0) || !ran.stderr.is_empty() || runners != 1 {
            wrong.push(format!("{name}: {ran}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_has_no_effect_is_said_of_configurations_that_are_found_in_public() {
    let environment = [
        ("GITLAB_URL", "https://gitlab.example.org"),
        ("RUNNER_TOKEN", "glrt-Yz9Ab1Cd3Ef5Gh7Jk9Lm"),
    ];
    let all = configurations("found");
    assert!(all.len() >= 10, "{}", all.len());
    let text = all.iter().fold(String::new(), |all, (name, text)| {
        let ran = list(text, &environment);
        all + &format!("== {name}\n{}{}", ran.stdout, said(&ran))
    });
    assert_golden(&directory("found.txt"), &text);
}
