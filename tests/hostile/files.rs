//! Job files and configurations that are broken or made to break their reader: none ends the process, none takes much
//! memory or time, and what is wrong is named with its place.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use alloy_runner::config;
use alloy_runner::job::payload;
use alloy_runner::job::pipeline::Pipeline;
use alloy_runner::plan::Plan;
use proptest::prelude::*;

use super::memory::{bounded, taken};
use super::settings::{API, SETTINGS, host};
use super::tries::{assert_told, tried};
use super::words::{TOKENS, damaged, good, strokes};

const JOB_FILE: &str = r#"{
  "image": "ruby:2.1", "services": ["postgres", {"name": "redis", "alias": "a,b"}],
  "variables": {"A": 1, "B": true, "C": null, "D": "$A"}, "before_script": ["a"], "after_script": "b",
  "cache": {"key": "k", "paths": ["vendor"], "untracked": true}, "stages": ["build", "test"],
  "compile": {"stage": "build", "script": ["make"], "artifacts": {"name": "n", "paths": ["x"], "expire_in": "1 week"}},
  "test": {"script": ["a", "b"], "only": ["master", "/^v/"], "except": "tags", "dependencies": ["compile"],
           "allow_failure": true, "when": "always", "tags": ["docker"], "image": {"name": "x", "entrypoint": [""]}},
  ".template": {"anything": 1}
}"#;
const JOB_FILE_IN_YAML: &str = "image: ruby:2.1\nvariables: &v\n  A: 1\n  B: 'x'\ncache:\n  - key: a\n    paths: [x, y]\n\
    test:\n  script:\n    - make\n    - |\n      two\n      lines\n  variables:\n    <<: *v\n    C: \"d\"\n\
    build: {stage: build, script: >-\n    folded\n    text\n  }\n";

/// Reads a job file of this text.
fn job_file(name: &str, text: &[u8]) -> Result<Pipeline, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(name);
    std::fs::write(&file, text).expect("written");
    Pipeline::read(&file).map_err(|error| error.to_string())
}

#[test]
fn a_damaged_job_file_is_read_or_says_where() {
    tried(2000, &(any::<bool>(), strokes()), |(yaml, strokes)| {
        let (name, text) = if yaml {
            (".alloy-ci.yml", JOB_FILE_IN_YAML)
        } else {
            (".alloy-ci.json", JOB_FILE)
        };
        let text = damaged(text.as_bytes(), &strokes, TOKENS);
        if let Err(error) = bounded(text.len(), 400, || job_file(name, &text)) {
            let place = format!("{name}:");
            // Behind the colon a line, or the path of a keyword; UTF-8 that is none has no place.
            assert_told(&error, &[&place, "stream did not contain valid UTF-8"]);
        }
        Ok(())
    });
}

#[test]
fn a_job_file_that_grows_in_memory_is_refused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{},", level - 1).repeat(10);
        let _ = writeln!(laughs, "a{level}: &a{level} [{before}]");
    }
    let long = "x".repeat(300_000);
    let strings = format!("a: &a {long}\nb: [{}]\n", "*a,".repeat(20_000));
    let merged = {
        let mut text = "m0: &m0 {a: 1}\n".to_owned();
        for level in 1..2000 {
            let _ = writeln!(
                text,
                "m{level}: &m{level}\n  <<: *m{}\n  k{level}: 1",
                level - 1
            );
        }
        text
    };
    let shared = format!("variables: {{A: {}}}\n", "x".repeat(500_000))
        + &(0..30_000).fold(String::new(), |mut jobs, number| {
            let _ = writeln!(jobs, "j{number}: {{script: x}}");
            jobs
        });
    for (what, name, text, fails) in [
        ("a billion laughs", ".alloy-ci.yml", laughs, true),
        (
            "one text twenty thousand times",
            ".alloy-ci.yml",
            strings,
            true,
        ),
        ("merged again and again", ".alloy-ci.yml", merged, false),
        ("keywords for very many jobs", ".alloy-ci.yml", shared, true),
        ("deep JSON", ".alloy-ci.json", "[".repeat(1_000_000), true),
        ("deep YAML", ".alloy-ci.yml", "[".repeat(1_000_000), true),
        (
            "deep YAML in lines",
            ".alloy-ci.yml",
            "- ".repeat(500_000),
            true,
        ),
        (
            "deeper and deeper YAML",
            ".alloy-ci.yml",
            (0..2000).fold(String::new(), |mut text, depth| {
                let _ = writeln!(text, "{}a:", " ".repeat(depth));
                text
            }),
            true,
        ),
        (
            "anchors",
            ".alloy-ci.yml",
            (0..150_000).fold(String::new(), |mut text, number| {
                let _ = writeln!(text, "a{number}: &b{number} x");
                text
            }),
            true,
        ),
        (
            "a list",
            ".alloy-ci.json",
            format!("[{}0]", "0,".repeat(2_000_000)),
            true,
        ),
        (
            "too long",
            ".alloy-ci.json",
            format!("{{}}{}", " ".repeat(5_000_000)),
            true,
        ),
    ] {
        let began = Instant::now();
        let length = text.len();
        let (read, taken) = taken(|| job_file(name, text.as_bytes()));
        eprintln!(
            "{what}: {} MB for {} kB, {:?}: {:?}",
            taken >> 20,
            length >> 10,
            began.elapsed(),
            read.as_ref().err()
        );
        assert!(taken < 300 << 20, "{what}: {taken} bytes of memory");
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        if fails {
            assert_told(&read.expect_err(what), &[name]);
        }
    }
}

#[test]
fn a_damaged_configuration_is_read_or_says_where() {
    let sample = include_str!("../../config.toml.sample");
    tried(
        1000,
        &(strokes(), 0..SETTINGS.len(), any::<bool>()),
        |(strokes, setting, whole)| {
            let text = if whole {
                sample.to_owned()
            } else {
                format!(
                    "concurrent = 2\n[[runners]]\nname = \"r\"\nurl = \"u\"\n{}",
                    SETTINGS[setting].text
                )
            };
            let text = damaged(text.as_bytes(), &strokes, TOKENS);
            let directory = tempfile::tempdir().expect("a directory");
            let file = directory.path().join("config.toml");
            std::fs::write(&file, &text).expect("written");
            match bounded(text.len(), 400, || config::load(&file)) {
                Ok(loaded) => {
                    // Whatever it says, planning by it ends no process.
                    if let Some(config) = loaded.config.runners.first() {
                        let out = payload::read(good().to_string().as_bytes(), API).expect("a job");
                        let names =
                            alloy_runner::plan::names::Names::new(&config.short_token(), 3, 0);
                        if let Err(error) =
                            Plan::new(&out.job.expect("good"), config, &names, &host())
                        {
                            assert_told(&error.to_string(), &[]);
                        }
                    }
                }
                Err(error) => assert_told(&error.to_string(), &["config.toml:", "config.toml: "]),
            }
            Ok(())
        },
    );
    for deep in [
        "a = ".to_owned() + &"[".repeat(500_000),
        "a = ".to_owned() + &"{a=".repeat(200_000),
        "a.".repeat(300_000) + "b = 1",
        "[".to_owned() + &"a.".repeat(300_000) + "b]",
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.toml");
        std::fs::write(&file, &deep).expect("written");
        let loaded = bounded(deep.len(), 400, || config::load(&file));
        assert!(
            loaded.is_ok() || loaded.is_err_and(|error| error.to_string().contains("config.toml"))
        );
    }
}
