//! The state directory of another runner, and things of others with a runner's labels: jobs of the first go on, and the
//! things stay.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use support::{BUSYBOX, Project, Running, docker, eventually, read_until, run};

const WAITS: &str = r#"{"test": {"image": "alloy-runner-test/busybox",
    "script": ["echo begun; until [ -e /tmp/go ]; do sleep 0.1; done; echo alive"]}}"#;
const LABEL: &str = "com.alloy-ci.runner";

/// A project whose job has begun, and the name of its build container.
fn begun() -> (Project, Running, String) {
    let project = Project::new(WAITS);
    let mut running = project.spawn("exec test");
    read_until(running.stdout.as_mut().expect("piped"), "\nbegun\n");
    let build = format!("runner-local-project-{}-concurrent-0-build", project.id());
    (project, running, build)
}

fn prune(project: &Project, state: &std::path::Path) -> String {
    let mut command = project.command("prune");
    let ran = run(command.env("ALLOY_RUNNER_STATE_DIR", state));
    ran.exits(0);
    ran.stdout
}

#[test]
fn a_copy_of_a_state_directory_is_another_one() {
    let (project, running, build) = begun();
    let copy = project.beside("copy");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(project.beside("state"))
        .arg(&copy)
        .status();
    assert!(copied.expect("ran").success());
    assert_eq!(prune(&project, &copy), "");
    for part in ["processes", "files"] {
        let left = fs::read_dir(copy.join(part)).expect("there").count();
        assert_eq!(left, 0, "what the other one's processes have in {part}");
    }
    // The other way round too: what works with the copy, the first one does not know.
    assert_eq!(prune(&project, &project.beside("state")), "");
    docker(&["exec", &build, "touch", "/tmp/go"]);
    let ran = support::Ran::from(running.wait_with_output().expect("ended"));
    ran.ends("alive\nJob succeeded\n");
}

#[test]
fn the_state_directory_is_for_its_user_alone() {
    let project = Project::new(WAITS);
    project.id();
    prune(&project, &project.beside("state"));
    let data = fs::metadata(project.beside("state")).expect("there");
    assert_eq!(data.mode() & 0o777, 0o700);
}

/// What a test has made beside the jobs' things, removed when it ends.
struct Made(Vec<[String; 3]>);

impl Drop for Made {
    fn drop(&mut self) {
        for [kind, flag, name] in self.0.iter().rev() {
            let _ = Command::new("docker")
                .args([kind, "rm", flag, name])
                .output();
        }
    }
}

#[test]
fn things_of_others_with_labels_of_ours_stay() {
    let (project, running, build) = begun();
    let mine = |what: &str| format!("alloy-test-{}-{what}", project.id());
    let mut made = Made(Vec::new());
    let mut note = |kind: &str, name: &str| {
        let flag = if kind == "network" { "" } else { "--force" };
        made.0.push([kind, flag, name].map(str::to_owned));
    };
    let process = docker(&[
        "inspect",
        "--format",
        &format!("{{{{index .Config.Labels \"{LABEL}.process\"}}}}"),
        &build,
    ]);
    let process = process.trim();
    // What has inherited them.
    let image = mine("image");
    docker(&["commit", &build, &image]);
    note("image", &image);
    let inherited = mine("inherited");
    docker(&["create", "--name", &inherited, &image, "true"]);
    note("container", &inherited);
    // What somebody has copied them to.
    let volume = mine("volume");
    let copied = format!("{LABEL}.process={process}");
    docker(&[
        "volume", "create", "--label", LABEL, "--label", &copied, &volume,
    ]);
    note("volume", &volume);
    // One that lets a line of a list look like another one's.
    let (victim, forged) = (mine("victim"), mine("forged"));
    docker(&["create", "--name", &victim, BUSYBOX, "true"]);
    note("container", &victim);
    let line = format!("{LABEL}.process=x\ty\n{victim}\t{process}\tbuild");
    docker(&[
        "create", "--name", &forged, "--label", LABEL, "--label", &line, BUSYBOX, "true",
    ]);
    note("container", &forged);
    running.kill_and_wait();
    let removed = prune(&project, &project.beside("state"));
    assert!(
        removed.contains(&format!("container {build}\n")),
        "{removed}"
    );
    assert!(!removed.contains("alloy-test-"), "{removed}");
    let containers = docker(&["ps", "--all", "--format", "{{.Names}}"]);
    for name in [&inherited, &victim, &forged] {
        assert!(
            containers.lines().any(|line| line == name),
            "{name}: {removed}"
        );
    }
    assert!(
        docker(&["volume", "ls", "--quiet"])
            .lines()
            .any(|line| line == volume)
    );
    let gone = || project.leftovers().is_empty();
    eventually(
        std::time::Duration::from_secs(20),
        "all of ours is gone",
        gone,
    );
}
