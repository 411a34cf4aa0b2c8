//! The source tree keeps to its map: which module may use which, and no file grows past a screenful or ten.

use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// The modules of `src`, and what each may use beside `LEAVES`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "local",
            "service",
            "worker",
            "executor",
            "coordinator",
            "config",
            "docker",
            "helper",
            "job",
            "plan",
            "state",
            "logging",
            "manual",
        ],
    ),
    (
        "local",
        &[
            "worker", "executor", "config", "job", "plan", "printer", "state", "trace",
        ],
    ),
    (
        "service",
        &[
            "worker",
            "executor",
            "coordinator",
            "config",
            "job",
            "plan",
            "state",
            "trace",
            "http",
            "logging",
        ],
    ),
    (
        "worker",
        &[
            "executor", "config", "docker", "job", "plan", "state", "trace",
        ],
    ),
    ("coordinator", &["job", "http"]),
    (
        "executor",
        &[
            "config", "docker", "plan", "script", "helper", "trace", "logging",
        ],
    ),
    ("printer", &["config", "docker", "plan", "script"]),
    (
        "plan",
        &["config", "docker", "job", "script", "helper", "glob"],
    ),
    ("script", &["docker"]),
    ("config", &["docker", "job", "http"]),
    ("docker", &[]),
    ("job", &[]),
    ("trace", &[]),
    ("helper", &["http", "glob"]),
    ("state", &[]),
    ("glob", &[]),
    ("http", &[]),
    ("logging", &[]),
    ("manual", &[]),
    ("secret", &[]),
    ("outcome", &[]),
    ("cancel", &[]),
    ("partial", &[]),
    ("seal", &[]),
    ("keypath", &[]),
    ("nearest", &[]),
];
const LEAVES: &[&str] = &[
    "secret", "outcome", "cancel", "partial", "seal", "keypath", "nearest",
];
/// A longer file has a second subject, or stands here with the reason why not.
const MAX_LINES: usize = 400;
const LONGER: &[(&str, &str)] = &[
    (
        "config/docker.rs",
        "one field for each key of [runners.docker], with its flag",
    ),
    (
        "docker/command.rs",
        "one constructor for each docker command, and one way to print them",
    ),
    ("job/pipeline.rs", "keywords, jobs, and a third of it tests"),
];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open: Vec<PathBuf> = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .expect("readable")
                    .map(|entry| entry.expect("an entry").path()),
            );
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path
                .strip_prefix(&root)
                .expect("below src")
                .display()
                .to_string();
            files.push((name, fs::read_to_string(&path).expect("UTF-8")));
        }
    }
    files
}

#[test]
fn arrows_go_down_only() {
    let uses = Regex::new(r"(?m)\b(?:crate|alloy_runner)::(\w+)").expect("a pattern");
    let files = sources();
    assert!(files.len() > 20);
    let mut wrong = Vec::new();
    for (name, text) in files.iter().filter(|(name, _)| name != "lib.rs") {
        let module = name.split(['/', '.']).next().expect("a name");
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(known, _)| *known == module)
            .unwrap_or_else(|| panic!("src/{name}: no place in the map for `{module}`"));
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .expect("some")
            .lines();
        let code: Vec<&str> = code
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for (_, [used]) in uses
            .captures_iter(&code.join("\n"))
            .map(|found| found.extract())
        {
            if used != module && !allowed.contains(&used) && !LEAVES.contains(&used) {
                wrong.push(format!("src/{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_map_has_no_circles() {
    let position = |module: &str| MAY_USE.iter().position(|(known, _)| *known == module);
    for (module, allowed) in MAY_USE {
        for used in *allowed {
            assert!(
                position(used) > position(module),
                "{module} is below {used}"
            );
        }
    }
}

#[test]
fn files_have_one_subject_and_names_that_say_it() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        let reason = LONGER.iter().any(|(known, _)| *known == name);
        assert!(lines <= MAX_LINES || reason, "src/{name} has {lines} lines");
        assert!(
            lines > MAX_LINES || !reason,
            "src/{name} has {lines} lines and needs no reason for more"
        );
        for vague in ["utils", "common", "helpers", "util", "misc"] {
            assert!(
                !name.split(['/', '.']).any(|part| part == vague),
                "src/{name}"
            );
        }
    }
}
