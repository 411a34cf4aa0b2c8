//! `prune` and helper images of builds of the runner that are gone.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::second_engine::SecondEngine;
use support::{BUSYBOX, Project, RUNNER, Running, eventually, run};

/// An image that the helper's Dockerfile takes for Alpine, and that needs no network.
const ALPINE: &str = "mkdir -p /usr/local/bin; for name in apk git; do printf '#!/bin/sh\\n' >/bin/$name; chmod +x /bin/$name; done";

/// An engine of its own, as other people's images are no business of a test's.
struct Builds {
    engine: SecondEngine,
    project: Project,
}

impl Builds {
    fn new() -> Self {
        let engine = SecondEngine::start(&[], &[BUSYBOX]);
        for arguments in [
            &["run", "--name", "alpine", BUSYBOX, "sh", "-c", ALPINE][..],
            &["commit", "alpine", "alpine"],
            &["rm", "alpine"],
        ] {
            let ran = engine.docker(arguments);
            ran.exits(0);
        }
        let project = Project::script(["true"]);
        Self { engine, project }
    }

    /// Another build of the runner.
    fn build(&self, number: usize) -> PathBuf {
        let path = self.project.beside(&format!("build-{number}"));
        let bytes = [fs::read(RUNNER).expect("readable"), vec![0; number]].concat();
        fs::write(&path, bytes).expect("written");
        let mode = fs::metadata(RUNNER).expect("there").permissions();
        fs::set_permissions(&path, mode).expect("set");
        path
    }

    fn command(&self, program: &Path, state: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["--docker-host", &self.engine.socket()])
            .env("ALLOY_RUNNER_STATE_DIR", self.project.beside(state))
            .current_dir(&self.project.directory)
            .stdin(Stdio::null());
        command
    }

    /// The image of a build, which a job has made.
    fn made_by_a_job(&self, number: usize, state: &str, more: &[&str]) -> String {
        let program = self.build(number);
        let ran = run(&mut self.command(&program, state, &[&["exec"], more, &["test"]].concat()));
        // Its git says yes to everything.
        ran.succeeds().says("\nBuilding helper image ");
        let name = run(Command::new(program).args(["helper-image", "name"])).stdout;
        name.trim().to_owned()
    }

    fn images(&self) -> Vec<String> {
        let listed = self
            .engine
            .docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])
            .stdout;
        let ours = listed
            .lines()
            .filter(|line| line.starts_with("alloy-runner-helper"));
        ours.map(str::to_owned).collect()
    }

    fn prune(&self, more: &[&str]) -> Vec<String> {
        let ran = run(&mut self.command(Path::new(RUNNER), "state", &[&["prune"], more].concat()));
        ran.exits(0);
        let mut lines: Vec<_> = ran.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// What others make of things of ours has their labels.
struct Copies {
    /// One without a name, and one with a name like ours.
    images: [String; 2],
    volume: &'static str,
}

impl Copies {
    /// Copies of an image, and of a volume with its executable.
    fn new(builds: &Builds, image: &str) -> Self {
        let docker = |words: &[&str]| {
            let ran = builds.engine.docker(words);
            assert_eq!(ran.status, Some(0), "{words:?}: {ran}");
            ran.stdout.trim().to_owned()
        };
        docker(&["create", "--name", "copied", image]);
        let images = [
            docker(&["commit", "copied"]),
            docker(&["commit", "copied", "alloy-runner-helper:mine"]),
        ];
        docker(&["rm", "copied"]);
        let holds = docker(&[
            "volume",
            "ls",
            "--quiet",
            "--filter",
            "name=alloy-runner-hold-",
        ]);
        let hold = holds.lines().next().expect("a volume");
        let labels = docker(&["volume", "inspect", "--format", "{{json .Labels}}", hold]);
        let labels: BTreeMap<String, String> = serde_json::from_str(&labels).expect("JSON");
        let labels = labels
            .iter()
            .map(|(name, value)| format!("--label={name}={value}"));
        let labels: Vec<String> = labels.collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let volume = "alloy-runner-hold-0123456789ab";
        docker(&[&["volume", "create"], &labels[..], &[volume]].concat());
        Self { images, volume }
    }

    fn assert_there_and_remove(&self, builds: &Builds) {
        let [one, two] = &self.images;
        for (kind, names) in [
            ("image", &[one.as_str(), two][..]),
            ("volume", &[self.volume]),
        ] {
            let there = builds.engine.docker(&[&[kind, "inspect"], names].concat());
            assert_eq!(there.status, Some(0), "{there}");
            builds.engine.docker(&[&[kind, "rm"], names].concat());
        }
    }
}

#[test]
fn those_of_this_host_go_unless_somebody_may_need_them() {
    let builds = Builds::new();
    let certificate = builds.project.beside("certificate.pem");
    fs::write(
        &certificate,
        "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
    )
    .expect("written");
    let with_tools_of_its_own = ["--tls-ca-file", certificate.to_str().expect("UTF-8")];
    let usual = builds.made_by_a_job(1, "state", &[]);
    let tools = builds
        .images()
        .into_iter()
        .filter(|name| name.contains("-tools:"))
        .collect::<Vec<_>>();
    let old = builds.made_by_a_job(2, "state", &with_tools_of_its_own);
    let used = builds.made_by_a_job(3, "state", &[]);
    let works = builds.made_by_a_job(4, "state", &[]);
    let foreign = builds.made_by_a_job(5, "other-state", &[]);
    let program = builds.build(6);
    let ran = run(&mut builds.command(&program, "state", &["helper-image", "build"]));
    ran.exits(0);
    let by_hand = ran.stdout.trim().to_owned();
    let current = run(Command::new(RUNNER).args(["helper-image", "name"]))
        .stdout
        .trim()
        .to_owned();

    builds.engine.docker(&["create", "--name", "user", &used]);
    // A process of that build lives, which is to say that its file is locked.
    let file = builds
        .project
        .beside("state/processes/5c1f4c5b-6f6e-4b0c-9d55-6b4bd2a55b5a");
    fs::write(&file, format!("{}\n{works}\n", builds.engine.socket())).expect("written");
    let mut lock = Command::new("flock");
    let lock = Running::start(lock.arg("--no-fork").arg(&file).args(["sleep", "600"]));
    let locked = || {
        run(Command::new("flock")
            .arg("--nonblock")
            .arg(&file)
            .arg("true"))
        .status
            == Some(1)
    };
    eventually(std::time::Duration::from_secs(20), "it is locked", locked);

    let copies = Copies::new(&builds, &usual);

    let removed = builds.prune(&[]);
    copies.assert_there_and_remove(&builds);
    let own_tools = removed
        .iter()
        .find(|line| line.contains("-tools:"))
        .expect("its tools went too");
    assert!(!tools.iter().any(|name| own_tools.contains(name.as_str())));
    let mut want = vec![
        format!("image {usual}"),
        format!("image {old}"),
        own_tools.clone(),
    ];
    want.sort();
    assert_eq!(removed, want);
    let left = builds.images();
    for name in [&used, &works, &foreign, &by_hand, &current, &tools[0]] {
        assert!(left.contains(name), "{name} of {left:?}");
    }
    assert_eq!(left.len(), 6, "{left:?}");

    builds.engine.docker(&["rm", "user"]);
    drop(lock);
    let mut want = [&used, &works].map(|name| format!("image {name}"));
    want.sort();
    assert_eq!(builds.prune(&[]), want);
    assert_eq!(builds.prune(&["--foreign"]), [format!("image {foreign}")]);
    assert_eq!(builds.images().len(), 3);
}
