//! What a coordinator's job must not tell: not in its log, nor in the runner's, nor in any list of processes.

mod support;

use std::fs;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use support::coordinator::{Coordinator, GIT_PASSWORD, Kind, RUNNER_TOKEN};
use support::{BUSYBOX, Ran, Running};

const PASSWORD: &str = "hunter2-of-the-database";
const KEY: &str =
    "-----BEGIN KEY-----\nline-one-of-the-key\nshort\nline-two-of-the-key\n-----END KEY-----";
const REGISTRY: &str = "registry-password-99";

/// The arguments of every process of this machine, again and again until `child` ends.
fn arguments_meanwhile(child: &mut Running) -> String {
    let mut seen = String::new();
    while child.try_wait().expect("asked").is_none() {
        for entry in fs::read_dir("/proc").expect("there").flatten() {
            let Ok(line) = fs::read(entry.path().join("cmdline")) else {
                continue;
            };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if !seen.contains(&line) {
                seen.push_str(&line);
                seen.push('\n');
            }
        }
    }
    seen
}

#[test]
fn a_job_that_prints_its_secrets_shows_none_of_them() {
    let coordinator = Coordinator::new(Kind::GitLab);
    // A byte at a time with pauses, whole, and over the edge of a patch.
    let slowly = "i=0; while [ $i -lt ${#PASSWORD} ]; do printf %s \"$PASSWORD\" | dd bs=1 skip=$i count=1 2>/dev/null; i=$((i + 1)); sleep 0.1; done; echo";
    let at_the_edge =
        "yes x | head -c 1048000 || true; for i in $(seq 40); do printf \"$PASSWORD\"; done; echo";
    let mut job = coordinator.job(
        BUSYBOX,
        &[
            "echo $PASSWORD",
            "echo \"$KEY\"",
            "echo \"$KEY\" | tail -n 2 | head -n 1",
            slowly,
            at_the_edge,
            "env",
            "echo \"$CI_REPOSITORY_URL\" $URL $TOKEN",
            "cat .git/config",
            "echo short: $SHORT $YES",
        ],
    );
    let token = job["token"].as_str().expect("a token").to_owned();
    let variables = job["variables"].as_array_mut().expect("a list");
    variables.extend([
        json!({"key": "PASSWORD", "value": PASSWORD, "public": false}),
        json!({"key": "KEY", "value": KEY, "public": true, "masked": true}),
        json!({"key": "SHORT", "value": "abc", "public": false}),
        json!({"key": "YES", "value": "true", "public": false}),
        json!({"key": "URL", "value": format!("https://x-access-token:{GIT_PASSWORD}@host/x"), "public": true}),
        json!({"key": "TOKEN", "value": token, "public": true}),
    ]);
    job["credentials"] = json!([{"type": "registry", "url": "registry.tld", "username": "me", "password": REGISTRY}]);
    let id = coordinator.queue(job);
    let mut command = coordinator.single(&["--log-level", "trace", "--output-limit", "8000"]);
    let mut child = Running::start(command.arg("-x").stderr(Stdio::piped()));
    let mut stderr = child.stderr.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut text).expect("UTF-8");
        text
    });
    let arguments = arguments_meanwhile(&mut child);
    let ran = Ran {
        stdout: String::new(),
        stderr: reader.join().expect("no panic"),
        status: child.wait().expect("ended").code(),
    };
    assert_eq!(ran.status, Some(0), "{ran}");
    let heard = coordinator.heard(id);
    assert_eq!(heard.state.as_deref(), Some("success"), "{}", heard.log);
    assert!(heard.log.len() > 1_048_000);
    assert!(heard.log.contains("\n[MASKED]\n"), "masked, not left out");
    assert!(
        heard.log.contains("\nshort: abc true\n"),
        "too common to be masked"
    );
    let login = STANDARD.encode(format!("x-access-token:{GIT_PASSWORD}"));
    let secrets = [
        PASSWORD,
        "line-one-of-the-key",
        "line-two-of-the-key",
        REGISTRY,
        GIT_PASSWORD,
        &login,
        &token,
        RUNNER_TOKEN,
    ];
    let patches: String = heard
        .patches
        .iter()
        .map(|(_, bytes, _)| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    assert!(arguments.contains("docker run"), "{arguments}");
    assert!(
        ran.stderr.contains("--env ALLOY_GIT_AUTHORIZATION"),
        "{ran}"
    );
    for secret in secrets {
        for (place, text) in [
            ("log", &heard.log),
            ("patches", &patches),
            ("runner's log", &ran.stderr),
            ("argument lists", &arguments),
        ] {
            assert!(!text.contains(secret), "{secret} in the {place}");
        }
    }
}
