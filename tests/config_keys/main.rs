//! Every key of `[runners.docker]`, against `docker inspect` of the containers that a job really ran in.

mod rows;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use rows::{ELSEWHERE, ROWS};
use serde_json::json;
use support::configured::{Configured, end};
use support::{BUSYBOX, docker};

#[test]
fn every_key_has_its_row() {
    let config = serde_json::to_value(alloy_runner::config::DockerConfig::default()).expect("JSON");
    let known: BTreeSet<&str> = config
        .as_object()
        .expect("a struct")
        .keys()
        .map(String::as_str)
        .collect();
    let tested: BTreeSet<&str> = ROWS
        .iter()
        .map(|(key, ..)| *key)
        .chain(ELSEWHERE.iter().copied())
        .collect();
    assert_eq!(tested, known);
    assert_eq!(tested.len(), ROWS.len() + ELSEWHERE.len(), "one row each");
}

#[test]
fn keys_are_options_of_the_containers_they_count_for() {
    let job = json!({"image": BUSYBOX, "script": ["echo begun", "sleep 600"]});
    let configured = Configured::new(&job, "");
    let host = configured.project.beside("host");
    std::fs::create_dir(&host).expect("created");
    let named = format!("alloy-test-{}", configured.project.id());
    let text = ROWS.iter().fold(
        String::from("[[runners]]\nname = \"r\"\n[runners.docker]\n"),
        |text, (key, value, _)| {
            let value = value
                .replace("HOST", &host.display().to_string())
                .replace("alloy-test-PROJECT", &named);
            text + &format!("{key} = {value}\n")
        },
    );
    std::fs::write(&configured.file, text).expect("written");
    let child = configured.begin();
    let mut wrong = Vec::new();
    for (key, _, checks) in ROWS {
        for (part, template, want) in *checks {
            let got = configured.inspect(part, template);
            // Mounts come in no order of their own.
            let sorted = |text: &str| {
                let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
                words.sort();
                words
            };
            if sorted(&got) != sorted(want) {
                wrong.push(format!("{key} in {part}: {template} is {got}, not {want}"));
            }
        }
    }
    end(child);
    docker(&["volume", "rm", &named]);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
