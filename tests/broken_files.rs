//! Broken job files and configurations: the whole of what is said of each stands beside it in `fixtures/broken`, as `NAME.txt`.
//!
//! `GOLDEN=write cargo test --test broken_files` writes these texts anew; a diff of them is how one sees what a change says.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use support::golden::difference;
use support::{Project, Ran};

/// What is run with each file, and its status: a file with doubts only is good enough to run.
const JOB_FILES: &[(&str, &[&str], i32)] = &[
    ("artifacts-list.json", &["test"], 2),
    ("cache-policy.yml", &["test"], 2),
    ("cache-text.yml", &["test"], 2),
    ("crlf.json", &["test"], 0),
    ("dependency-later.json", &["test"], 0),
    ("dependency-missing.yml", &["test"], 2),
    ("flag-word.yml", &["test"], 2),
    ("gitlab-default.yml", &["test"], 2),
    ("gitlab-extends.yml", &["test"], 2),
    ("gitlab-include.yml", &["test"], 2),
    ("gitlab-keywords.yml", &["test"], 0),
    ("image-empty-tag.json", &["test"], 2),
    ("image-empty-variable.yml", &["test"], 2),
    ("image-without-name.json", &["test"], 2),
    ("keyword-misspelled.yml", &["test"], 2),
    ("list-item-map.yml", &["test"], 2),
    ("list.json", &["test"], 2),
    ("name-twice.json", &["test"], 2),
    ("name-twice.yml", &["test"], 2),
    ("nested-keys.json", &["test"], 0),
    ("not-json.json", &["test"], 2),
    ("not-yaml.yml", &["test"], 2),
    ("only-pattern.yml", &[], 2),
    ("scirpt.json", &["test"], 2),
    ("script-number.json", &["test"], 2),
    ("service-name.yml", &["test"], 2),
    ("services-text.json", &["test"], 2),
    ("stage-of-none.json", &["test"], 2),
    ("stage-unknown.yml", &["test"], 2),
    ("variable-name.json", &["test"], 2),
    ("variable-object.yml", &["test"], 2),
    ("variables-list.yml", &["test"], 2),
    ("variables-lost.yml", &["test"], 0),
    ("when-word.yml", &["test"], 2),
];

/// The same for configurations.
const CONFIGURATIONS: &[(&str, &[&str], i32)] = &[
    ("bucket.toml", &["list"], 2),
    ("environment-colon.toml", &["list"], 2),
    ("environment-of-a-service.toml", &["list"], 2),
    ("environment.toml", &["list"], 2),
    ("executor.toml", &["run-single", "--runner", "docker-1"], 2),
    ("key-twice.toml", &["list"], 2),
    ("log-level.toml", &["list"], 2),
    ("memory.toml", &["list"], 2),
    ("misspelled.toml", &["list"], 0),
    ("no-token.toml", &["run-single", "--runner", "docker-1"], 2),
    ("no-url.toml", &["run-single", "--runner", "docker-1"], 2),
    ("number-text.toml", &["list"], 2),
    ("pull-policy-list.toml", &["list"], 2),
    ("pull-policy.toml", &["list"], 2),
    ("quote-open.toml", &["list"], 2),
    ("restricting.toml", &["list"], 2),
    ("runner-singular.toml", &["list"], 2),
    ("runners-table.toml", &["list"], 2),
    ("seconds-unit.toml", &["list"], 2),
    ("service-without-name.toml", &["list"], 2),
    ("services-table.toml", &["list"], 2),
    ("shell.toml", &["list"], 2),
    ("switch-text.toml", &["list"], 2),
    ("unquoted.toml", &["list"], 2),
    ("url-without-scheme.toml", &["list"], 2),
    ("volume-relative.toml", &["list"], 2),
    ("volumes-text.toml", &["list"], 2),
    ("wrong-table.toml", &["list"], 0),
];

fn broken() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/broken")
}

/// Compares what was said with the text beside a file.
fn compare(name: &str, ran: &Ran, status: i32, wrong: &mut Vec<String>) {
    let text = broken().join(format!("{name}.txt"));
    // The runner's own log begins its lines with the time.
    let lines = ran.stderr.lines().map(|line| {
        let warning = line
            .split_once(" WARN ] ")
            .filter(|_| line.starts_with('['));
        warning.map_or(line.to_owned(), |(_, rest)| format!("WARN {rest}")) + "\n"
    });
    let said: String = lines.collect();
    wrong.extend(difference(&text, &said));
    if ran.status != Some(status) {
        wrong.push(format!("{name} ({status}): {ran}"));
    }
    let place = Regex::new(r":\d+:\d+: ").expect("a pattern");
    for line in said.lines() {
        let after = line.split_once(name).map_or("", |(_, after)| after);
        if place.find(after).is_none_or(|found| found.start() != 0) {
            wrong.push(format!("{name}: no place in: {line}"));
        }
    }
}

#[test]
fn each_broken_job_file_is_answered_with_place_and_remedy() {
    let project = Project::without_engine();
    for (name, ..) in JOB_FILES {
        let text = fs::read_to_string(broken().join(name)).expect(name);
        project.write(name, &text);
    }
    project.commit_without_git();
    let mut wrong = Vec::new();
    for (name, jobs, status) in JOB_FILES {
        let mut arguments = vec!["--dry-run", "--file", name];
        arguments.extend_from_slice(jobs);
        compare(name, &project.exec(&arguments), *status, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_broken_configuration_is_answered_with_place_and_remedy() {
    let project = Project::without_engine();
    let mut wrong = Vec::new();
    for (name, command, status) in CONFIGURATIONS {
        let text = fs::read_to_string(broken().join(name)).expect(name);
        project.write(name, &text);
        let mut arguments = vec!["--config", name];
        arguments.extend_from_slice(command);
        compare(name, &project.run(&arguments), *status, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_broken_file_is_tried() {
    let tried: BTreeSet<String> = JOB_FILES
        .iter()
        .chain(CONFIGURATIONS)
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    let there = fs::read_dir(broken()).expect("readable").map(|entry| {
        let name = entry.expect("an entry").file_name();
        name.into_string().expect("UTF-8")
    });
    let there: BTreeSet<String> = there
        .map(|name| {
            name.strip_suffix(".txt")
                .map_or(name.clone(), str::to_owned)
        })
        .collect();
    assert_eq!(there, tried);
}
