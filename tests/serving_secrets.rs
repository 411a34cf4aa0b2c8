//! What a coordinator's job must not tell: not in its log, nor in the runner's, nor in any list of processes.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use support::coordinator::{Coordinator, GIT_PASSWORD, Kind, RUNNER_TOKEN};
use support::{BUSYBOX, REDIS, Ran, Running, run};

const PASSWORD: &str = "hunter2-of-the-database";
const KEY: &str =
    "-----BEGIN KEY-----\nline-one-of-the-key\nshort\nline-two-of-the-key\n-----END KEY-----";
/// What shells and encodings show in another way.
const QUOTED: &str = "it's an \"unusual\" \\ value";
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
            "echo plain: $SHORT $YES",
            "printf %s \"$QUOTED\" | base64",
            "printf 'me:%s' \"$QUOTED\" | base64",
            "set -x; : \"$QUOTED\"; set +x",
            "echo \"$QUOTED\" | sed \"s/u[a-z]*l/$(printf '\\033')[31m&$(printf '\\033')[0m/\"",
        ],
    );
    let token = job["token"].as_str().expect("a token").to_owned();
    let variables = job["variables"].as_array_mut().expect("a list");
    variables.extend([
        json!({"key": "PASSWORD", "value": PASSWORD, "public": false}),
        json!({"key": "KEY", "value": KEY, "public": true, "masked": true}),
        json!({"key": "QUOTED", "value": QUOTED, "public": false}),
        json!({"key": "SHORT", "value": "abc", "public": false}),
        json!({"key": "YES", "value": "true", "public": false}),
        json!({"key": "URL", "value": format!("https://x-access-token:{GIT_PASSWORD}@host/x"), "public": true}),
        json!({"key": "TOKEN", "value": token, "public": true}),
    ]);
    job["credentials"] = json!([{"type": "registry", "url": "registry.tld", "username": "me", "password": REGISTRY}]);
    let id = coordinator.queue(job);
    let mut command = coordinator.single("--log-level trace --output-limit 8000");
    let mut child = Running::start(command.arg("-x").stderr(Stdio::piped()));
    let mut stderr = child.stderr.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut text).expect("UTF-8");
        text
    });
    let arguments = arguments_meanwhile(&mut child);
    let ran = Ran {
        stderr: reader.join().expect("no panic"),
        status: child.wait().expect("ended").code(),
        ..Ran::default()
    };
    ran.exits(0);
    let heard = coordinator.heard(id);
    heard.succeeds();
    assert!(heard.log.len() > 1_048_000);
    assert!(heard.log.contains("\n[MASKED]\n"), "masked, not left out");
    assert!(
        heard.log.contains("\nplain: abc true\n"),
        "too common to be masked: {}",
        &heard.log[heard.log.len() - 2000..]
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
        "unusual",
        &STANDARD.encode(QUOTED)[4..],
        &STANDARD.encode(format!("me:{QUOTED}"))[4..],
    ];
    let patches: String = heard
        .patches
        .iter()
        .map(|(_, bytes, _)| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    assert!(arguments.contains("docker run"), "{arguments}");
    ran.on_stderr("\"${ALLOY_GIT_AUTHORIZATION}\"");
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

/// What others on the host and on the engine can see of a run.
#[derive(Default)]
struct Seen {
    /// Argument lists, and what the engine says of the run's containers, networks and volumes but for the variables of
    /// builds and services.
    public: String,
    /// Files and environments with a secret in them that others can read.
    readable: Vec<PathBuf>,
    /// Files with a secret in them.
    files: usize,
}

/// Looks around again and again until `child` ends.
fn look_around(
    child: &mut std::process::Child,
    directories: &[PathBuf],
    project: u64,
    secrets: &[&str],
) -> Seen {
    let mut seen = Seen::default();
    let holds = |path: &Path| {
        let text = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        secrets.iter().any(|secret| text.contains(secret))
    };
    let others = |path: &Path| {
        let mode = |path: &Path| fs::metadata(path).map_or(0, |data| data.permissions().mode());
        mode(path) & 0o077 != 0
    };
    let mut engine = Instant::now();
    while child.try_wait().expect("asked").is_none() {
        for entry in fs::read_dir("/proc").expect("there").flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if !seen.public.contains(&line) {
                seen.public.push_str(&line);
                seen.public.push('\n');
            }
            let environment = entry.path().join("environ");
            if holds(&environment) && others(&environment) {
                seen.readable.push(environment);
            }
        }
        let mut paths: Vec<(PathBuf, bool)> = directories
            .iter()
            .map(|directory| (directory.clone(), false))
            .collect();
        while let Some((path, closed)) = paths.pop() {
            if path.is_dir() && !path.is_symlink() {
                // What is below a directory that others cannot enter, they cannot read.
                let closed = closed || (!others(&path) && !directories.contains(&path));
                let entries = fs::read_dir(&path).into_iter().flatten().flatten();
                paths.extend(entries.map(|entry| (entry.path(), closed)));
            } else if holds(&path) {
                seen.files += 1;
                if others(&path) && !closed {
                    seen.readable.push(path);
                }
            }
        }
        if engine.elapsed() > Duration::from_millis(300) {
            engine = Instant::now();
            seen.public.push_str(&on_the_engine(project));
        }
    }
    seen
}

/// What the engine says of a project's containers, networks and volumes, the variables of builds and services aside.
fn on_the_engine(project: u64) -> String {
    let docker = |arguments: &[&str]| run(Command::new("docker").args(arguments)).stdout;
    let filter = format!("label=com.alloy-ci.runner.project.id={project}");
    let format = "{{json .Name}} {{json .Config.Labels}} {{json .Config.Cmd}} {{json .Args}} {{json .Mounts}} \
                  {{json .HostConfig}} {{if eq (index .Config.Labels \"com.alloy-ci.runner.type\") \"helper\"}}{{json .Config.Env}}{{end}}";
    let mut text = String::new();
    for (kind, list, format) in [
        ("container", &["ls", "--all"][..], format),
        ("network", &["ls"], "{{json .}}"),
        ("volume", &["ls"], "{{json .}}"),
    ] {
        let names = docker(&[&[kind], list, &["--quiet", "--filter", &filter]].concat());
        for name in names.lines() {
            // One that has gone meanwhile says nothing.
            text.push_str(&docker(&[kind, "inspect", "--format", format, name]));
        }
    }
    text
}

#[test]
fn nobody_else_can_read_secrets_while_a_job_runs_and_none_stands_in_an_error() {
    const WRONG: &str = "wrong-git-password-5";
    const PROXY: &str = "proxy-password-6";
    let coordinator = Coordinator::new(Kind::GitLab);
    let secret = |name: &str, value: &str| json!({"key": name, "value": value, "public": false});
    let with_secrets = |image: &str, script: &[&str]| {
        let mut job = coordinator.job(image, script);
        let variables = job["variables"].as_array_mut().expect("a list");
        variables.extend([
            secret("PASSWORD", PASSWORD),
            secret("DOCKER_PASSWORD", PASSWORD),
            secret("KEY", KEY),
            secret("SERVICE_PROXY", KEY),
        ]);
        job["credentials"] = json!([{"type": "registry", "url": "localhost:1", "username": "me", "password": REGISTRY}]);
        job
    };
    let mut good = with_secrets(BUSYBOX, &["sleep 1"]);
    good["services"] = json!([{"name": REDIS, "alias": "redis"}]);
    let mut refused = with_secrets(BUSYBOX, &["x"]);
    let url = refused["git_info"]["repo_url"].as_str().expect("a URL");
    refused["git_info"]["repo_url"] = json!(url.replace(GIT_PASSWORD, WRONG));
    let mut unserved = with_secrets(BUSYBOX, &["echo $PASSWORD >&2; no-such-program $PASSWORD"]);
    unserved["services"] =
        json!([{"name": BUSYBOX, "alias": "dies", "entrypoint": ["/no/such"], "command": ["x"]}]);
    let pulled = with_secrets("localhost:1/private/image", &["x"]);
    let jobs = [
        (good, &[][..]),
        (refused, &[]),
        (unserved, &[]),
        (pulled, &["--docker-pull-policy", "always"]),
    ];
    for (job, arguments) in jobs {
        let temporary = coordinator.beside("temporary");
        fs::create_dir_all(&temporary).expect("created");
        let is_pulled = job["image"]["name"] == "localhost:1/private/image";
        let token = job["token"].as_str().expect("a token").to_owned();
        let id = coordinator.queue(job);
        let mut child = coordinator
            .single([&["--log-level", "trace"], arguments].concat())
            .arg("-x")
            .env("TMPDIR", &temporary)
            .env("FTP_PROXY", format!("http://me:{PROXY}@127.0.0.1:1"))
            .stderr(fs::File::create(coordinator.beside("stderr")).expect("created"))
            .spawn()
            .expect("started");
        let login = STANDARD.encode(format!("x-access-token:{GIT_PASSWORD}"));
        let of_registry = STANDARD.encode(format!("me:{REGISTRY}"));
        let secrets = [
            "line-one-of-the-key",
            "line-two-of-the-key",
            REGISTRY,
            &of_registry,
            GIT_PASSWORD,
            WRONG,
            &login,
            &token,
            RUNNER_TOKEN,
            PROXY,
            PASSWORD,
        ];
        let directories = [temporary, coordinator.beside("state")];
        let seen = look_around(&mut child, &directories, coordinator.project, &secrets);
        let heard = coordinator.heard(id);
        let stderr = fs::read_to_string(coordinator.beside("stderr")).expect("UTF-8");
        assert_eq!(seen.readable, Vec::<PathBuf>::new());
        assert!(
            seen.files > 0 || !is_pulled,
            "the registry's password is in a file: {stderr}"
        );
        assert!(seen.public.contains("docker "));
        for secret in secrets {
            for (place, text) in [
                ("log", &heard.log),
                ("runner's log", &stderr),
                ("public", &seen.public),
            ] {
                assert!(!text.contains(secret), "{secret} in the {place}: {text}");
            }
        }
        assert!(heard.state.is_some(), "{stderr}");
    }
}

#[test]
fn no_image_and_no_alias_says_a_secret() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let masked = |key: &str, value: &str| json!({"key": key, "value": value, "public": false, "masked": true});
    // A host that was masked by habit is refused too. What is not for everybody is none where the coordinator says that it
    // is not masked; where it says nothing of that, as AlloyCI, it is.
    let variables = json!([
        masked("DB_PASSWORD", "Hunter2-of-the-database"),
        masked("SHORT", "1.2"),
        {"key": "INDIRECT", "value": "r.example/${DB_PASSWORD}", "public": true},
        {"key": "TOOL", "value": BUSYBOX, "public": false, "masked": false},
        {"key": "SETTING", "value": "Hunter2-of-the-database", "public": false},
        {"key": "CI_REGISTRY_IMAGE", "value": "r.example/acme/site", "public": true},
    ]);
    let cases = [
        (
            json!({"image": {"name": "r.example/x:$DB_PASSWORD"}}),
            "test.image: it refers to the secret variable DB_PASSWORD",
        ),
        (
            json!({"image": {"name": "$INDIRECT"}}),
            "test.image: it refers to the secret variable INDIRECT",
        ),
        (
            json!({"services": [{"name": "r.example/a/${DB_PASSWORD}:1"}]}),
            "test.services[0]: it refers to the secret variable DB_PASSWORD",
        ),
        (
            json!({"services": [{"name": REDIS, "alias": "db-$DB_PASSWORD"}]}),
            "test.services[0].alias: it refers to the secret variable DB_PASSWORD",
        ),
        (
            json!({"image": {"name": "r.example/x:$CI_JOB_TOKEN"}}),
            "the secret variable CI_JOB_TOKEN",
        ),
        (
            json!({"image": {"name": "$CI_REGISTRY_IMAGE:$SETTING"}}),
            "test.image: it refers to the secret variable SETTING, and everybody sees names of images and services; if it is \
             no secret, say so: `variables` of the job file are public",
        ),
        (
            json!({"services": [{"name": REDIS, "alias": "db-$SETTING"}]}),
            "test.services[0].alias: it refers to the secret variable SETTING",
        ),
    ];
    let mut ids = Vec::new();
    for (change, _) in &cases {
        let mut job = coordinator.job(BUSYBOX, &["echo never"]);
        job["job_info"]["name"] = json!("test");
        let token = job["token"].clone();
        let own = job["variables"].as_array_mut().expect("a list");
        own.extend(variables.as_array().expect("a list").iter().cloned());
        own.push(json!({"key": "CI_JOB_TOKEN", "value": token, "public": false, "masked": true}));
        for (key, value) in change.as_object().expect("an object") {
            job[key] = value.clone();
        }
        ids.push(coordinator.queue(job));
    }
    let mut fine = coordinator.job("$TOOL", &["echo fine"]);
    let own = fine["variables"].as_array_mut().expect("a list");
    own.extend(variables.as_array().expect("a list").iter().cloned());
    ids.push(coordinator.queue(fine));
    let count = ids.len().to_string();
    let mut command = coordinator.single(["--max-builds", &count]);
    command
        .arg("-x")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Running::start(&mut command);
    let seen = arguments_meanwhile(&mut child);
    let ran = Ran::from(child.wait_with_output().expect("ended"));
    for (id, (_, sentence)) in ids.iter().zip(&cases) {
        let heard = coordinator.heard(*id);
        heard.fails();
        assert!(heard.log.contains(sentence), "{sentence}: {}", heard.log);
    }
    coordinator.heard(ids[cases.len()]).succeeds();
    for place in [&seen, &ran.stderr, &ran.stdout] {
        let place = place.to_lowercase();
        assert!(!place.contains("hunter2-of-the-database"), "{place}");
    }
}
