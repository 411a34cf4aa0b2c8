//! Payloads, names of images, credentials and docker's complaints that are broken or made to break their reader:
//! none ends the process, none takes much memory or time, and what is wrong is named with its place.

use std::time::{Duration, Instant};

use alloy_runner::docker::Reference;
use alloy_runner::docker::auth::Auths;
use alloy_runner::docker::error::DockerError;
use alloy_runner::job::payload;
use alloy_runner::job::remote::Remote;
use alloy_runner::plan::Plan;
use alloy_runner::printer;
use alloy_runner::trace::mask::Masker;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::memory::{bounded, taken};
use super::settings::{API, SETTINGS, host, plan};
use super::tries::{assert_told, tried};
use super::words::{TOKENS, damaged, good, payload as hostile_payload, strokes, word};

#[test]
fn a_damaged_payload_is_reported_or_run() {
    let payloads = [
        include_bytes!("../../fixtures/payloads/alloyci.json").as_slice(),
        include_bytes!("../../fixtures/payloads/gitlab.json").as_slice(),
    ];
    tried(
        10_000,
        &(0..payloads.len(), strokes()),
        |(which, strokes)| {
            let body = damaged(payloads[which], &strokes, TOKENS);
            let Some(out) = bounded(body.len(), 100, || payload::read(&body, API)) else {
                return Ok(());
            };
            match out.job {
                Err(error) => assert_told(
                    &error.to_string(),
                    &[
                        "what the coordinator sent of the job",
                        "the repository's address",
                        "the job's token holds characters",
                        "the variable ",
                        "commit id",
                        "the ref ",
                        "the job cannot be run: ",
                    ],
                ),
                Ok(job) => {
                    let names = alloy_runner::plan::names::Names::new("abcdefgh", 3, 0);
                    if let Err(error) = Plan::new(&job, &SETTINGS[1].config(), &names, &host()) {
                        assert_told(&error.to_string(), &[]);
                    }
                }
            }
            Ok(())
        },
    );
}

/// Somewhere in a payload another value.
fn swapped() -> BoxedStrategy<Value> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|on| json!(on)),
        any::<u64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        word().prop_map(|text| json!(text)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[], {}, null, 1, "x"])),
        Just(json!({"name": {"name": []}, "key": 1, "paths": {"a": 1}})),
    ];
    (any::<proptest::sample::Index>(), value, hostile_payload())
        .prop_map(|(place, value, payload)| {
            let mut places = Vec::new();
            collect(&payload, String::new(), &mut places);
            let mut payload = payload;
            let place = places[place.index(places.len())].clone();
            if let Some(there) = payload.pointer_mut(&place) {
                *there = value;
            }
            payload
        })
        .boxed()
}

fn collect(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                collect(
                    value,
                    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1")),
                    places,
                );
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                collect(value, format!("{place}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(place);
}

#[test]
fn a_value_of_another_type_is_named_by_its_path() {
    tried(10000, &swapped(), |payload| {
        let length = payload.to_string().len();
        let planned = bounded(length, 200, || plan(&payload, &SETTINGS[1]));
        if let Err(error) = planned {
            assert_told(&error, &[]);
        }
        Ok(())
    });
}

#[test]
fn the_place_in_a_payload_is_told_and_no_value() {
    for (place, value, told) in [
        ("/steps/0/script", json!([1]), "at steps[0].script"),
        (
            "/git_info/depth",
            json!("secret-value"),
            "at git_info.depth",
        ),
        ("/job_info/project_id", json!(-1), "at job_info.project_id"),
        ("/image", json!(["secret-value"]), "at image"),
        (
            "/variables/0/public",
            json!("secret-value"),
            "at variables[0].public",
        ),
    ] {
        let mut payload = good();
        let (parent, key) = place.rsplit_once('/').expect("a path");
        payload.pointer_mut(parent).expect("there")[key] = value;
        let error = plan(&payload, &SETTINGS[0]).expect_err(place);
        assert!(
            error.contains(told) && !error.contains("secret-value"),
            "{error}"
        );
    }
}

/// Large or deep ones. What a hand-out may be long, the client limits; this is what one of that length takes.
#[test]
fn a_large_payload_takes_a_bounded_multiple_of_itself() {
    const LENGTH: usize = 8 << 20;
    let head = r#"{"id": 1, "token": "x", "git_info": {"repo_url": "https://h/a/b.git", "ref": "x", "sha": "a2fe6e72e0b0d3c7b1a4f1b8f3a2d5c6e7f80910"}, "steps": [], "#;
    let body = |name: &str, open: &str, item: &str, close: &str| {
        let mut body = format!("{head}\"{name}\": {open}");
        let times = (LENGTH - body.len() - close.len() - 2) / item.len();
        body.push_str(&item.repeat(times));
        body.truncate(body.trim_end_matches(',').len());
        body + close + "}"
    };
    for (what, body) in [
        ("a list for an image", body("image", "[", "0,", "]")),
        (
            "an entrypoint",
            body(
                "image",
                "{\"name\": \"a\", \"entrypoint\": [",
                "\"\",",
                "]}",
            ),
        ),
        ("services", body("services", "[", "\"a\",", "]")),
        ("services that are none", body("services", "[", "{},", "]")),
        ("caches", body("cache", "[", "{},", "]")),
        ("nothings", body("artifacts", "[", "null,", "]")),
        (
            "a list for a value",
            body("variables", "[{\"key\": \"A\", \"value\": [", "0,", "]}]"),
        ),
        (
            "an object for a value",
            body(
                "variables",
                "[{\"key\": \"A\", \"value\": {\"a\": [",
                "[],",
                "]}}]",
            ),
        ),
        ("variables", body("variables", "[", "{\"key\":\"A\"},", "]")),
        ("unknown", body("unknown", "[", "{\"a\":[[]]},", "]")),
        ("refspecs", body("unknown", "[", "\"refs/a\",", "]")),
        ("deep", body("image", "", "[", "")),
        (
            "deep in what is passed over",
            body("unknown", "", "{\"a\":", ""),
        ),
        (
            "dependencies",
            body("dependencies", "[", "{\"id\":1,\"token\":\"\"},", "]"),
        ),
        (
            "credentials",
            body("credentials", "[", "{\"url\":\"\"},", "]"),
        ),
    ] {
        let began = Instant::now();
        let (out, taken) = taken(|| payload::read(body.as_bytes(), API));
        let out = out.expect("id and token");
        eprintln!(
            "{what}: {} MB for {} MB, {:?}",
            taken >> 20,
            body.len() >> 20,
            began.elapsed()
        );
        assert!(taken < 40 * LENGTH, "{what}: {taken}");
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        if let Err(error) = out.job {
            assert_told(&error.to_string(), &[]);
        }
    }
}

#[test]
fn times_that_no_clock_can_add_end_nothing() {
    let mut payload = good();
    payload["image"] = json!({"name": "ruby"});
    let step = json!({"name": "script", "script": ["true"], "timeout": u64::MAX});
    payload["steps"] = json!([step, step, step]);
    payload["runner_info"]["timeout"] = json!(u64::MAX);
    let plan = plan(&payload, &SETTINGS[0]).expect("planned");
    let cancel = alloy_runner::cancel::Cancel::new();
    let limited = cancel.child(plan.timeout);
    assert_eq!(limited.wait(Duration::from_millis(50)), None);
    let limited = cancel.child(plan.script.timeout);
    assert_eq!(limited.wait(Duration::from_millis(50)), None);
}

#[test]
fn names_of_images_are_what_docker_takes_for_names() {
    tried(20_000, &word(), |text| {
        match bounded(text.len(), 20, || Reference::parse(&text)) {
            Err(_) => {}
            Ok(reference) => {
                let shown = reference.to_string();
                prop_assert!(shown.starts_with(text.as_str()));
                prop_assert!(shown.is_ascii() && !shown.starts_with('-') && shown.len() < 1000);
                let means = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
                prop_assert!(shown.chars().all(means), "{}", shown);
                prop_assert!(!shown.split('/').any(|part| ["", ".", ".."].contains(&part)));
                for alias in reference.aliases() {
                    prop_assert!(
                        alias
                            .chars()
                            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
                        "{alias}"
                    );
                }
                let again = Reference::parse(&shown).map(|reference| reference.to_string());
                prop_assert_eq!(again, Ok(shown));
            }
        }
        Ok(())
    });
}

#[test]
fn an_address_becomes_no_option_and_no_other_host() {
    tried(20_000, &(word(), word(), 0..4), |(text, path, kind)| {
        let text = match kind {
            0 => text,
            1 => format!("https://{text}/a/{path}"),
            2 => format!("https://u:p@host/{text}/{path}"),
            _ => format!("ssh://{text}@host/{path}"),
        };
        let Ok(remote) = bounded(text.len(), 60, || Remote::parse(&text)) else {
            return Ok(());
        };
        for address in [remote.address.clone(), remote.with_login()] {
            let (scheme, rest) = address.split_once("://").expect("a scheme");
            prop_assert!(
                ["http", "https", "ssh", "git"].contains(&scheme),
                "{address}"
            );
            prop_assert!(
                !rest.starts_with('-') && !address.contains(char::is_control),
                "{address:?}"
            );
        }
        let (scheme, site) = remote.site.split_once("://").expect("a scheme");
        prop_assert!(remote.address.starts_with(scheme));
        let means = |c: char| c.is_control() || c.is_whitespace() || "/\\@'\"$`*?=#".contains(c);
        prop_assert!(!site.contains(means), "{}", site);
        Ok(())
    });
}

#[test]
fn damaged_credentials_are_read_or_said_to_be_wrong() {
    let config = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6cGFzcw=="}, "r.tld:5000": {"username": "me", "password": "secret"},
        "t.tld": {"identitytoken": "token"}}, "credsStore": "x", "credHelpers": {"a": "b"}, "HttpHeaders": {"X": "y"}}"#;
    tried(
        6000,
        &(strokes(), proptest::option::weighted(0.2, word())),
        |(strokes, instead)| {
            let text = match instead {
                Some(text) => text,
                None => String::from_utf8_lossy(&damaged(config.as_bytes(), &strokes, TOKENS))
                    .into_owned(),
            };
            let (auths, wrong) = bounded(text.len(), 200, || Auths::read(&text));
            for error in &wrong {
                assert_told(
                    error,
                    &[
                        "it is ",
                        "it has ",
                        "`auths` is",
                        "`credsStore` is",
                        "`credHelpers` is",
                        "the entry `",
                    ],
                );
                prop_assert!(
                    !error.contains("bWU6cGFzcw") && !error.contains("secret"),
                    "{error}"
                );
            }
            let _ = auths.of("docker.io");
            Ok(())
        },
    );
    let deep = "{\"auths\":".repeat(200_000);
    let (_, wrong) = bounded(deep.len(), 20, || Auths::read(&deep));
    assert_told(&wrong.concat(), &["line 1 column"]);
}

/// As a variable of a job it costs a warning in the log, of one line.
#[test]
fn credentials_of_a_job_are_warned_of_on_one_line() {
    tried(300, &word(), |text| {
        let mut payload = good();
        payload["image"] = json!({"name": "ruby"});
        payload["variables"] = json!([{"key": "DOCKER_AUTH_CONFIG", "value": text, "raw": true}]);
        if let Ok(plan) = plan(&payload, &SETTINGS[0]) {
            for warning in &plan.warnings {
                assert_told(warning, &[]);
            }
        }
        Ok(())
    });
}

#[test]
fn what_docker_complains_of_has_a_kind_and_a_reason() {
    const SAID: &str = "DEPRECATED: The legacy builder is deprecated\n\nUnable to find image 'x' locally\ndocker: Error response from daemon: \
        pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied.\n\
        See 'docker run --help'.\nRun 'docker run --help' for more information\n";
    tried(
        6000,
        &(strokes(), proptest::option::of(any::<i32>())),
        |(strokes, status)| {
            let said = damaged(
                SAID.as_bytes(),
                &strokes,
                &[
                    "docker: ",
                    "Error: ",
                    "\nSee 'docker ",
                    "\n\n",
                    "No such",
                    "unauthorized",
                    "\u{1b}",
                    "\0",
                ],
            );
            let error = bounded(said.len(), 20, || {
                DockerError::from_stderr("docker x".to_owned(), status, &said)
            });
            prop_assert!(error.reason().len() <= said.len() * 3 + 100);
            prop_assert!(!error.to_string().is_empty());
            Ok(())
        },
    );
}

/// As many and as long secrets as a hand-out can have.
#[test]
fn masking_takes_a_bounded_multiple_of_its_secrets() {
    for (count, length) in [(10, 100_000), (50_000, 20)] {
        let secrets: Vec<_> = (0..count)
            .map(|number| {
                alloy_runner::secret::Secret::new(format!(
                    "{number:08}{}",
                    "ab\n".repeat(length / 3)
                ))
            })
            .collect();
        let all: usize = count * length;
        let began = Instant::now();
        let (_, taken) = taken(|| Masker::new(&secrets));
        eprintln!(
            "{count} of {length}: {} MB for {} MB, {:?}",
            taken >> 20,
            all >> 20,
            began.elapsed()
        );
        assert!(taken < 200 * all, "{count} of {length}: {taken}");
        assert!(began.elapsed() < Duration::from_secs(15));
    }
}

/// A printed script is a text that a shell reads, whatever the job is called.
#[test]
fn a_plan_prints_in_bounded_memory() {
    tried(300, &(hostile_payload(), word()), |(payload, job)| {
        let mut payload = payload;
        payload["image"] = json!({"name": "ruby"});
        if let Ok(plan) = plan(&payload, &SETTINGS[1]) {
            let words = alloy_runner::docker::Words(vec!["docker".to_owned()]);
            let length = payload.to_string().len() + job.len();
            let script = bounded(length, 400, || printer::script(&plan, &words, &job, "x"));
            prop_assert!(
                !script.contains('\0') || payload["steps"].to_string().contains("\\u0000")
            );
        }
        Ok(())
    });
}
