//! The source tree keeps to its map: which rooms there are, which may use which, no circles, and no file grows past a
//! screenful or ten.

mod uses;

use std::collections::BTreeSet;
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
            "worker", "executor", "config", "job", "plan", "printer", "state", "trace", "logging",
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
            "executor", "config", "docker", "http", "job", "plan", "state", "trace", "logging",
        ],
    ),
    ("coordinator", &["job", "http"]),
    (
        "executor",
        &[
            "config", "docker", "plan", "script", "helper", "trace", "logging",
        ],
    ),
    ("printer", &["config", "docker", "plan", "script", "trace"]),
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
    ("retry", &[]),
    ("seal", &[]),
    ("keypath", &[]),
    ("nearest", &[]),
];
/// What every room may use: these use nothing but each other.
const LEAVES: &[&str] = &[
    "secret", "outcome", "cancel", "partial", "retry", "seal", "keypath", "nearest",
];
/// A longer file has a second subject, or stands here with the reason why not.
const MAX_LINES: usize = 400;
const LONGER: &[(&str, &str)] = &[(
    "config/docker.rs",
    "one field for each key of [runners.docker], with its flag",
)];

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

/// The room that a file is in, or the one that it is.
fn room(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or_default()
}

#[test]
fn the_map_names_each_room_and_no_other() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/README.md"));
    let map = map.expect("src/README.md");
    let rows = map.lines().filter(|line| line.starts_with("| `src/"));
    let name = Regex::new(r"`src/(\w+)(?:\.rs)?`").expect("a pattern");
    let mut in_readme = BTreeSet::new();
    for row in rows {
        let (names, _) = row[2..].split_once(" | ").expect("two columns");
        in_readme.extend(name.captures_iter(names).map(|found| found[1].to_owned()));
    }
    let files = sources();
    assert!(files.len() > 20);
    let there: BTreeSet<String> = files
        .iter()
        .map(|(file, _)| room(file).to_owned())
        .collect();
    let known: BTreeSet<String> = MAY_USE.iter().map(|(room, _)| (*room).to_owned()).collect();
    let there = &there - &BTreeSet::from(["lib".to_owned()]);
    assert_eq!(
        there, known,
        "left: the tree, right: MAY_USE in tests/architecture"
    );
    assert_eq!(
        there, in_readme,
        "left: the tree, right: the tables of src/README.md"
    );
}

#[test]
fn arrows_go_down_only() {
    let path = Regex::new(r"\b(?:crate|alloy_runner)::(\w+)").expect("a pattern");
    let mut wrong = Vec::new();
    let sources = sources();
    let sources = sources
        .iter()
        .filter(|(file, _)| file != "lib.rs" && !uses::is_test(file));
    for (file, text) in sources {
        let room = room(file);
        let Some((_, allowed)) = MAY_USE.iter().find(|(known, _)| *known == room) else {
            wrong.push(format!("src/{file}: no place on the map for `{room}`"));
            continue;
        };
        for found in path.captures_iter(&uses::code(text)) {
            let used = &found[1];
            if used != room && !allowed.contains(&used) && !LEAVES.contains(&used) {
                wrong.push(format!("src/{file} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_uses_one_that_uses_it() {
    let circle = uses::circle(&uses::uses(&sources()));
    let circle = circle.map(|way| way.join("\n  uses src/"));
    assert!(circle.is_none(), "src/{}", circle.unwrap_or_default());
}

#[test]
fn the_map_itself_points_down() {
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

#[test]
fn what_cargo_test_runs_needs_no_engine_and_no_other_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("UTF-8");
    let left_out = Regex::new("name = \"(\\w+)\"\ntest = false").expect("a pattern");
    let left_out: Vec<&str> = left_out
        .captures_iter(&manifest)
        .map(|found| found.extract::<1>().1[0])
        .collect();
    let needs = Regex::new(
        r"Project::(new|job|script|empty)\(|\bdocker\(|Coordinator::|SecondEngine::|Terminal::|\bgit\(|Command::new\(",
    )
    .expect("a pattern");
    for entry in fs::read_dir(root.join("tests")).expect("readable") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let main = path.join("main.rs");
        let file = if main.exists() { main } else { path };
        let is_test = file.extension().is_some_and(|extension| extension == "rs");
        if !is_test || left_out.contains(&name.as_str()) || name == "architecture" {
            continue;
        }
        let text = fs::read_to_string(&file).expect("UTF-8");
        let found = needs.find(&text).map(|found| found.as_str());
        assert_eq!(
            found, None,
            "tests/{name} needs `test = false` in Cargo.toml"
        );
    }
}
