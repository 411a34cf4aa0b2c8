//! What docker answers, damaged on the way: lines of JSON about images, containers and volumes, states, events.

use std::fs;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::docker_line::Line;
use super::recorded::{Records, checkout, with_little_memory};
use super::tries::tried;
use super::words::{TOKENS, damaged, strokes};

/// A command, what to type so that it runs, what it answers usually, and what another one has to fail with before.
const ANSWERS: &[(&str, &[&str], &str, &str)] = &[
    (
        "image inspect --format",
        &["exec", "test"],
        r#"{"id":"sha256:0","entrypoint":null,"env":["PATH=/bin","ENV=/x"],"volumes":{"/data":{}},"ports":{"6379/tcp":{},"80/udp":{}}}
{"id":"sha256:1","entrypoint":["sh"],"env":null,"volumes":null,"ports":null}
{"id":"sha256:2","entrypoint":null,"env":null,"volumes":null,"ports":null}
"#,
        "",
    ),
    (
        "container inspect",
        &["exec", "test"],
        "exited 0 false 2026-01-01T00:00:00.123456789Z here/5c1f4c5b-6f6e-4b0c-9d55-6b4bd2a55b5a \n",
        "",
    ),
    (
        "events",
        &["exec", "test"],
        "1\tcreate\t<no value>\n1\tstart\t<no value>\n1\toom\t<no value>\n1\tdie\t0\n1\tdestroy\t<no value>\n",
        "container inspect=!Error: No such container: x",
    ),
    // A job would ask for it too, where its helper image is gone, and make it fifty times: the stand-in has none after.
    (
        "version",
        &["helper-image", "build", "--base", "debian"],
        "linux/amd64\n",
        "",
    ),
    (
        "container ls",
        &["prune", "--foreign"],
        r#"["0a1b","runner-x-project-3-concurrent-1-build,runner-x/db","here/dead","build","0123"]
["0a1c","runner-x-project-3-concurrent-1-helper","here/dead","helper","0123"]
"#,
        "",
    ),
    (
        "network ls",
        &["prune", "--foreign"],
        "[\"0a1b\",\"runner-x-project-3-concurrent-1\",\"here/dead\",\"network\",\"0123\"]\n",
        "",
    ),
    (
        "volume ls",
        &["prune", "--foreign", "--caches"],
        r#"["runner-x-project-3-concurrent-1-cache-00","runner-x-project-3-concurrent-1-cache-00","here/dead","cache","0123"]
["runner-x-project-3-cache-archives","runner-x-project-3-cache-archives","here/dead","cache","0123"]
["alloy-runner-hold-0123456789ab","0123"]
"#,
        "",
    ),
    (
        "image ls",
        &["prune", "--foreign"],
        r#"["alloy-runner-helper","0.1.0-0123456789ab","0a061e3f9a38"]
["alloy-runner-helper-tools","0123456789ab","0a061e3f9a39"]
["<none>","<none>","0a061e3f9a40"]
"#,
        "",
    ),
];

/// Whatever comes, the runner ends with a status of its own and says why; and what it removes has a name or an id.
#[test]
fn damaged_answers_of_docker_are_read_or_said_to_be_none() {
    let job = json!({"test": {"script": "true", "image": "ruby", "services": ["redis"]}});
    let project = checkout(&job);
    let records = Records::new();
    let said = project.beside("said");
    tried(40, &(select(ANSWERS), strokes()), |(answer, strokes)| {
        let (words, arguments, sound, before) = answer;
        let text = damaged(sound.as_bytes(), &strokes, TOKENS);
        fs::write(&said, &text).expect("written");
        let say = format!("{before}\n{words}={}", said.display());
        let ran = with_little_memory(&project, &records, arguments, &say);
        prop_assert!(matches!(ran.status, Some(0..=3)), "{words}: {ran}");
        prop_assert!(!ran.stderr.contains("panicked"), "{words}: {ran}");
        prop_assert!(
            ran.stderr.len() + ran.stdout.len() < 200_000,
            "{words}: {ran}"
        );
        for start in records.take() {
            let line = Line::read(&start.argv).map_err(TestCaseError::fail)?;
            let named = line.operands.iter().all(|operand| !operand.is_empty());
            let removes = line.subcommand.ends_with("rm");
            prop_assert!(named || !removes, "{words}: {:?}", start.argv);
        }
        Ok(())
    });
}
