//! Private images and pull policies, against a real registry with passwords.

mod support;

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Kind};
use support::{BUSYBOX, Project, Ran, Running, docker, eventually, fake_docker, path_with, run};
use tempfile::TempDir;

const USER: &str = "me";
const PASSWORD: &str = "hunter2-of-the-registry";
/// `me:hunter2-of-the-registry`
const AUTH: &str = "bWU6aHVudGVyMi1vZi10aGUtcmVnaXN0cnk=";
/// `me:wrong-word`
const WRONG_AUTH: &str = "bWU6d3Jvbmctd29yZA==";
const LABEL: &str = "alloy-runner-test.registry";

/// A registry on a port of its own that only [`USER`] may read. It ends with the test, and what was made
/// for it on the engine goes with it.
struct Registry {
    address: String,
    root: TempDir,
    server: Child,
}

impl Registry {
    fn start() -> Self {
        let root = TempDir::with_prefix("alloy-registry-").expect("a directory");
        let path = |name: &str| root.path().join(name).display().to_string();
        let address = {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            free.local_addr().expect("an address").to_string()
        };
        let mut htpasswd = Command::new("htpasswd")
            .args(["-ciB", &path("htpasswd"), USER])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("htpasswd of apache2-utils");
        let stdin = htpasswd.stdin.take();
        writeln!(stdin.expect("piped"), "{PASSWORD}").expect("written");
        assert!(htpasswd.wait().expect("ended").success());
        // JSON is YAML.
        let config = json!({"version": 0.1, "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": path("images")}}, "http": {"addr": address},
            "auth": {"htpasswd": {"realm": "test", "path": path("htpasswd")}}});
        fs::write(root.path().join("config.yml"), config.to_string()).expect("written");
        let log = || {
            fs::File::options()
                .create(true)
                .append(true)
                .open(path("log"))
                .expect("a log")
        };
        let server = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("docker-registry");
        let registry = Self {
            address,
            root,
            server,
        };
        eventually(Duration::from_secs(20), "the registry listens", || {
            TcpStream::connect(&registry.address).is_ok()
        });
        registry.write("pusher/config.json", &registry.auths(AUTH).to_string());
        registry
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.root.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(&path, text).expect("written");
        path.parent().expect("a parent").display().to_string()
    }

    /// A `config.json` that knows this registry.
    fn auths(&self, auth: &str) -> Value {
        json!({"auths": {self.address.as_str(): {"auth": auth}}})
    }

    /// A host's configuration directory.
    fn host(&self, name: &str, config: &Value) -> String {
        self.write(&format!("{name}/config.json"), &config.to_string())
    }

    /// A credential helper that knows the password, and notes in `asked-NAME` that it ran. Returns a `PATH`.
    fn helper(&self, name: &str) -> String {
        let script = format!(
            "#!/bin/sh\ncat >>{0}/asked-{name}\n\
             printf '{{\"ServerURL\":\"{1}\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n",
            self.root.path().display(),
            self.address
        );
        let file = format!("bin/docker-credential-{name}");
        let directory = self.write(&file, &script);
        let file = self.root.path().join(file);
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("executable");
        path_with(Path::new(&directory))
    }

    fn asked(&self, helper: &str) -> bool {
        self.root.path().join(format!("asked-{helper}")).exists()
    }

    /// Pushes an image whose `$VERSION` is this, and leaves the engine with the one of that name it had.
    fn push(&self, name: &str, version: &str) -> String {
        let name = format!("{}/{name}:latest", self.address);
        let before =
            run(Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", &name]));
        let dockerfile = format!(
            "FROM {BUSYBOX}\nENV VERSION={version}\nLABEL {LABEL}={}\n",
            self.address
        );
        let directory = self.write("context/Dockerfile", &dockerfile);
        docker(&["build", "--quiet", "--tag", &name, &directory]);
        let pusher = self.root.path().join("pusher").display().to_string();
        docker(&["--config", &pusher, "push", "--quiet", &name]);
        docker(&["image", "rm", &name]);
        if before.status == Some(0) {
            docker(&["image", "tag", before.stdout.trim(), &name]);
        }
        name
    }

    /// How often somebody has asked.
    fn requests(&self) -> usize {
        let log = fs::read_to_string(self.root.path().join("log")).expect("a log");
        log.lines()
            .filter(|line| line.contains("HTTP/1.1\""))
            .count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
        let label = format!("label={LABEL}={}", self.address);
        let mut images: Vec<String> =
            docker(&["images", "--quiet", "--no-trunc", "--filter", &label])
                .lines()
                .map(str::to_owned)
                .collect();
        images.sort();
        images.dedup();
        if !images.is_empty() {
            let images: Vec<&str> = images.iter().map(String::as_str).collect();
            docker(&[&["image", "rm", "--force"], images.as_slice()].concat());
        }
    }
}

/// A project whose job prints which image it runs in.
fn project(image: &str) -> Project {
    Project::new(json!({"image": image, "test": {"script": "echo version $VERSION"}}))
}

/// `exec` with an environment, on a host whose docker configuration is empty unless that says otherwise.
fn exec(project: &Project, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = project.command([&["-x", "exec"], arguments, &["test"]].concat());
    command.env("DOCKER_CONFIG", project.beside("nothing"));
    run(command.envs(environment.iter().copied()))
}

fn forget(image: &str) {
    docker(&["image", "rm", "--force", image]);
}

#[test]
fn every_source_of_credentials_pulls_a_private_image() {
    let registry = Registry::start();
    let image = registry.push("private", "1");
    let project = project(&image);
    let variable = registry.auths(AUTH).to_string();
    let host = registry.host("host", &registry.auths(AUTH));
    let helpers = json!({"credHelpers": {registry.address.as_str(): "one"}});
    let (with_helper, one) = (registry.host("helper", &helpers), registry.helper("one"));
    let with_store = registry.host("store", &json!({"credsStore": "two"}));
    let two = registry.helper("two");
    for (arguments, environment) in [
        (
            &["--env", "DOCKER_AUTH_CONFIG"][..],
            &[("DOCKER_AUTH_CONFIG", variable.as_str())][..],
        ),
        (&[], &[("DOCKER_CONFIG", &host)]),
        (&[], &[("DOCKER_CONFIG", &with_helper), ("PATH", &one)]),
        (&[], &[("DOCKER_CONFIG", &with_store), ("PATH", &two)]),
    ] {
        let ran = exec(&project, arguments, environment);
        ran.succeeds();
        let pulling = format!("\nPulling docker image {image} ...\nUsing docker image sha256:");
        ran.says(&pulling).says("\nversion 1\n");
        forget(&image);
    }
    assert!(registry.asked("one") && registry.asked("two"));
}

#[test]
fn credentials_that_come_with_a_coordinators_job_pull_a_private_image() {
    let registry = Registry::start();
    let image = registry.push("private", "1");
    let nobody = registry.host("nobody", &json!({}));
    let coordinator = Coordinator::new(Kind::GitLab);
    for (password, state) in [("wrong-word", "failed"), (PASSWORD, "success")] {
        let mut job = coordinator.job(&image, &["echo version $VERSION"]);
        job["credentials"] = json!([{"type": "registry", "url": registry.address, "username": USER, "password": password}]);
        let id = coordinator.queue(job);
        let mut command = coordinator.single("--docker-pull-policy always");
        let ran = run(command.env("DOCKER_CONFIG", &nobody));
        let heard = coordinator.heard(id);
        assert_eq!(heard.state.as_deref(), Some(state), "{ran} {}", heard.log);
        if state == "success" {
            heard.says("\nversion 1\n");
        } else {
            heard.says("(asked with the job's credentials)");
        }
    }
    forget(&image);
}

#[test]
fn the_first_source_that_knows_the_registry_counts() {
    let registry = Registry::start();
    let image = registry.push("order", "1");
    let project = project(&image);
    let right = registry.host("right", &registry.auths(AUTH));
    let wrong = registry.host("wrong", &registry.auths(WRONG_AUTH));
    let elsewhere = json!({"auths": {"elsewhere.tld": {"auth": WRONG_AUTH}}}).to_string();
    for (variable, host, success) in [
        (registry.auths(AUTH).to_string(), &wrong, true),
        (registry.auths(WRONG_AUTH).to_string(), &right, false),
        (elsewhere.clone(), &right, true),
        (elsewhere, &wrong, false),
    ] {
        let environment = [
            ("DOCKER_AUTH_CONFIG", variable.as_str()),
            ("DOCKER_CONFIG", host),
        ];
        let arguments = [
            "--docker-pull-policy",
            "always",
            "--env",
            "DOCKER_AUTH_CONFIG",
        ];
        let ran = exec(&project, &arguments, &environment);
        assert_eq!(
            ran.status,
            Some(i32::from(!success)),
            "{variable} {host}: {ran}"
        );
    }
}

#[test]
fn a_refused_user_fails_the_build_at_once_and_says_whose_word_it_was() {
    let registry = Registry::start();
    let image = registry.push("refused", "1");
    let project = project(&image);
    let wrong = registry.auths(WRONG_AUTH).to_string();
    let host = registry.host("wrong", &registry.auths(WRONG_AUTH));
    for (environment, source) in [
        (
            [("DOCKER_AUTH_CONFIG", wrong.as_str())],
            "DOCKER_AUTH_CONFIG",
        ),
        (
            [("DOCKER_CONFIG", &host)],
            "the host's docker configuration",
        ),
    ] {
        let variable = ["--env", "DOCKER_AUTH_CONFIG"];
        let arguments = if source == variable[1] {
            &variable[..]
        } else {
            &[]
        };
        let ran = exec(&project, arguments, &environment);
        ran.fails(1);
        let last = ran.stdout.lines().last().expect("a line");
        let begin = format!("ERROR: Build failed: Error: cannot pull image {image}: ");
        assert!(last.starts_with(&begin), "{ran}");
        assert!(last.contains("unauthorized"), "{ran}");
        assert!(last.ends_with(&format!("(asked with {source})")), "{ran}");
        assert_eq!(ran.stderr.matches("docker pull ").count(), 1, "{ran}");
        assert!(!format!("{ran}").contains("wrong-word"), "{ran}");
        assert!(!format!("{ran}").contains(WRONG_AUTH), "{ran}");
    }
}

/// The command lines of this machine while `work` is done.
fn command_lines<T>(work: impl FnOnce() -> T) -> (T, HashSet<String>) {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = HashSet::new();
            while !ended.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").expect("readable").flatten() {
                    let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                    seen.insert(String::from_utf8_lossy(&line).replace('\0', " "));
                }
                thread::sleep(Duration::from_millis(1));
            }
            seen
        });
        let done = work();
        ended.store(true, Ordering::Relaxed);
        (done, watcher.join().expect("no panic"))
    })
}

#[test]
fn no_password_is_seen_anywhere() {
    let registry = Registry::start();
    let image = registry.push("secret", "1");
    // The worst of jobs: its variable is public, another refers to it, and it prints all that it can.
    let project = Project::new(
        json!({"image": image, "services": [{"name": image, "alias": "it", "command": ["env"]}],
            "variables": {"DOCKER_AUTH_CONFIG": registry.auths(AUTH).to_string(), "COPY": "$DOCKER_AUTH_CONFIG"},
            "test": {"script": ["echo \"[${DOCKER_AUTH_CONFIG-none}]\"", "echo \"$COPY\"",
                "echo \"$COPY\" | sed 's/.*:\"//; s/\".*//' >auth", "cat auth", "base64 -d auth"]}}),
    );
    let arguments = ["--docker-wait-for-services-timeout", "-1"];
    let (ran, lines) = command_lines(|| exec(&project, &arguments, &[]));
    ran.succeeds();
    let printed = ran.build_output();
    assert!(printed.contains("\n[none]\n"), "{ran}");
    assert!(printed.contains("\n[MASKED]\n$ echo"), "{ran}");
    assert!(printed.contains("\n[MASKED]\n$ base64"), "{ran}");
    assert!(printed.contains("\nme:[MASKED]\n"), "{ran}");
    let pull = format!("docker pull --quiet -- {image} ");
    assert!(lines.contains(&pull), "not even the pull was seen");
    for secret in [PASSWORD, AUTH] {
        assert!(!format!("{ran}").contains(secret), "{ran}");
        assert!(!lines.iter().any(|line| line.contains(secret)));
    }
    let script = exec(&project, &["--dry-run"], &[]).stdout;
    let remark = "\n# Images are pulled with the registry credentials of whoever runs it";
    assert!(script.contains(remark), "{script}");
    assert!(!script.contains("${DOCKER_AUTH_CONFIG:"), "{script}");
}

#[test]
fn programs_that_a_job_names_do_not_run() {
    let registry = Registry::start();
    let image = registry.push("programs", "1");
    let project = project(&image);
    let path = registry.helper("evil");
    let mut config = registry.auths(AUTH);
    config["credsStore"] = json!("evil");
    config["credHelpers"] = json!({registry.address.as_str(): "evil"});
    let arguments = ["--env", "DOCKER_AUTH_CONFIG"];
    let ran = exec(
        &project,
        &arguments,
        &[("DOCKER_AUTH_CONFIG", &config.to_string()), ("PATH", &path)],
    );
    ran.succeeds();
    for key in ["credsStore", "credHelpers"] {
        let warning = format!(
            "\nWARNING: DOCKER_AUTH_CONFIG: `{key}` is not used: a job may bring `auths` only\n"
        );
        ran.says(&warning);
    }
    forget(&image);
    config["auths"] = json!({});
    exec(
        &project,
        &arguments,
        &[("DOCKER_AUTH_CONFIG", &config.to_string()), ("PATH", &path)],
    )
    .fails(1);
    assert!(!registry.asked("evil"));
}

#[test]
fn a_variable_that_is_wrong_costs_a_warning_without_the_secret() {
    let project = project(BUSYBOX);
    let text = format!(r#"{{"auths": {{"r.tld": {{"auth": "{PASSWORD}"}}}}}}"#);
    let ran = exec(
        &project,
        &["--env", "DOCKER_AUTH_CONFIG"],
        &[("DOCKER_AUTH_CONFIG", &text)],
    );
    ran.succeeds();
    let warning = "\nWARNING: DOCKER_AUTH_CONFIG: the entry `r.tld` has an `auth` that is not the base64 of \
                   USER:PASSWORD\n";
    ran.says(warning);
    assert!(!format!("{ran}").contains(PASSWORD), "{ran}");
}

#[test]
fn always_takes_what_is_new_in_the_registry_and_if_not_present_does_not() {
    let registry = Registry::start();
    let image = registry.push("renewed", "1");
    let project = project(&image);
    let host = registry.host("host", &registry.auths(AUTH));
    let with = |policy| {
        let ran = exec(
            &project,
            &["--docker-pull-policy", policy],
            &[("DOCKER_CONFIG", &host)],
        );
        ran.succeeds();
        let pulled = ran
            .stdout
            .contains(&format!("\nPulling docker image {image} ...\n"));
        (
            ran.build_output()
                .lines()
                .nth(1)
                .expect("output")
                .to_owned(),
            pulled,
        )
    };
    assert_eq!(with("if-not-present"), ("version 1".to_owned(), true));
    registry.push("renewed", "2");
    assert_eq!(with("if-not-present"), ("version 1".to_owned(), false));
    assert_eq!(with("always"), ("version 2".to_owned(), true));
    assert_eq!(with("never"), ("version 2".to_owned(), false));
}

#[test]
fn never_asks_no_registry_and_what_is_missing_is_not_found() {
    let registry = Registry::start();
    let image = registry.push("never", "1");
    let there = project(&image);
    let host = registry.host("host", &registry.auths(AUTH));
    let host = [("DOCKER_CONFIG", host.as_str())];
    let never = ["--docker-pull-policy", "never"];
    let not_found = |image: &str| format!("ERROR: Build failed: Error: image {image} not found\n");

    let before = registry.requests();
    assert!(before > 0, "the registry's log shows the push");
    let ran = exec(&there, &never, &host);
    ran.fails(1);
    let script = exec(&there, &[&never[..], &["--dry-run"]].concat(), &host);
    script.says_nothing_of("docker pull ");
    let log = format!("...\n{}", not_found(&image));
    ran.ends(&log).says_nothing_of("Pulling");
    assert_eq!(registry.requests(), before);

    let missing = format!("{}/no/such", registry.address);
    let nowhere = project(&missing);
    let ran = exec(&nowhere, &["--docker-pull-policy", "always"], &host);
    ran.fails(1);
    let log = format!(
        "Pulling docker image {missing}:latest ...\n{}",
        not_found(&format!("{missing}:latest"))
    );
    ran.ends(&log);
    assert_eq!(ran.stderr.matches("docker pull ").count(), 1, "{ran}");
    assert!(registry.requests() > before);

    // In turn: what is not there is pulled after all, by the printed script too.
    let in_turn = ["--docker-pull-policy", "never,always"];
    exec(&there, &in_turn, &host)
        .succeeds()
        .says("; trying the pull policy always\nPulling ");
    let before = registry.requests();
    exec(&there, &never, &host).succeeds();
    assert_eq!(registry.requests(), before);
    forget(&image);
    let script = exec(&there, &[&in_turn[..], &["--dry-run"]].concat(), &host);
    run(support::shell("sh", &script.stdout).envs(host))
        .succeeds()
        .says(format!("\nPulling docker image {image} ...\n"));
}

const NO_NETWORK: &str =
    r#"pull --quiet=fail Error response from daemon: Get "https://r/v2/": dial tcp: i/o timeout"#;

#[test]
fn a_registry_that_does_not_answer_is_asked_three_times() {
    let project = project(BUSYBOX);
    let path = path_with(&fake_docker());
    let fake = [("PATH", path.as_str()), ("DOCKER_FAKE", NO_NETWORK)];
    let ran = exec(&project, &["--docker-pull-policy", "always"], &fake);
    ran.fails(3);
    assert_eq!(ran.stderr.matches("docker pull ").count(), 3, "{ran}");
    let reason = "Get \"https://r/v2/\": dial tcp: i/o timeout";
    let log = format!(
        "\nPulling docker image {BUSYBOX}:latest ...\n\
         WARNING: {reason}; trying again in 2 s\n\
         WARNING: {reason}; trying again in 5 s\n\
         ERROR: Build failed (system failure): {reason}; tried: docker pull --quiet -- {BUSYBOX}:latest\n"
    );
    ran.ends(&log);

    let ran = exec(
        &project,
        &[
            "--docker-pull-policy=always",
            "--docker-pull-policy=if-not-present",
        ],
        &fake,
    );
    ran.succeeds();
    assert_eq!(ran.stderr.matches("docker pull ").count(), 3, "{ran}");
    ran.says("; trying the pull policy if-not-present\n");
}

#[test]
fn the_pause_before_another_try_can_be_interrupted() {
    let project = project(BUSYBOX);
    let mut command = project.command("exec --docker-pull-policy always test");
    command
        .env("PATH", path_with(&fake_docker()))
        .env("DOCKER_FAKE", NO_NETWORK);
    let mut child = Running::start(command.stdout(Stdio::piped()));
    support::read_until(child.stdout.as_mut().expect("piped"), "trying again in 5 s");
    let begin = Instant::now();
    support::signal(&child, "INT");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
}
