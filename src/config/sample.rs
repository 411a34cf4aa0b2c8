//! `config.toml.sample` is complete and true, and says what `--help` says.

use std::fs;

use clap::{Args as _, Command};

use super::{CacheConfig, Config, DockerConfig, RunnerConfig, load};

const SAMPLE: &str = include_str!("../../config.toml.sample");

/// A key that the sample has commented out: a line without a space behind its `#`.
fn example(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    (!rest.starts_with(' ')).then_some(rest)
}

fn keys_that_are_missing(known: impl serde::Serialize, table: &toml::Table) -> Vec<String> {
    let known = serde_json::to_value(known).expect("JSON");
    let known = known.as_object().expect("a struct").keys().cloned();
    known.filter(|key| !table.contains_key(key)).collect()
}

#[test]
fn the_sample_explains_every_key() {
    let lines = SAMPLE.lines();
    let whole: Vec<&str> = lines.map(|line| example(line).unwrap_or(line)).collect();
    let whole = whole.join("\n");
    let file = tempfile::NamedTempFile::new().expect("a file");
    // One engine or several.
    let single = whole.replace("\nhosts = ", "\n#hosts = ");
    for text in [SAMPLE, &single] {
        fs::write(file.path(), text).expect("written");
        let loaded = load(file.path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.unknown, []);
    }
    let table: toml::Table = whole.parse().expect("TOML");
    let runner = table["runners"][0].as_table().expect("a table");
    let [cache, docker] = ["cache", "docker"].map(|name| runner[name].as_table().expect("a table"));
    assert_eq!(keys_that_are_missing(Config::default(), &table), [""; 0]);
    assert_eq!(
        keys_that_are_missing(RunnerConfig::default(), runner),
        [""; 0]
    );
    // Its keys may be in `[runners.cache]`.
    assert_eq!(keys_that_are_missing(CacheConfig::default(), cache), ["s3"]);
    assert_eq!(
        keys_that_are_missing(DockerConfig::default(), docker),
        [""; 0]
    );
}

#[test]
fn the_sample_explains_settings_of_docker_in_the_words_of_their_flags() {
    let command = DockerConfig::augment_args(Command::new("docker"));
    let mut comment = String::new();
    let mut explained = 0;
    let settings = SAMPLE.split("\n[runners.docker]\n").nth(1);
    for line in settings.expect("settings").lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment += text;
            comment.push(' ');
            continue;
        }
        let key = example(line).unwrap_or(line).split(' ').next();
        let key = key.expect("a key").replace('_', "-");
        let mut arguments = command.get_arguments();
        let flag = arguments.find(|flag| flag.get_long() == Some(&format!("docker-{key}")));
        let help = flag
            .and_then(|flag| flag.get_help())
            .expect("a flag with a help");
        let help = help.to_string();
        // A flag has JSON for what a file has a table for, of which the example shows the form.
        let words = help.split(" as JSON").next().unwrap_or_default();
        let words = words.split(": {").next().unwrap_or_default();
        assert!(comment.starts_with(words), "{key}: {words}: {comment}");
        comment.clear();
        explained += 1;
    }
    assert_eq!(explained, command.get_arguments().count());
}
