//! Docker's errors in words: said once, short, with what to do.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;
use support::{BUSYBOX, Project, REDIS, Ran, docker, fake_docker, path_with, run};

fn project() -> Project {
    let file = json!({"image": BUSYBOX, "services": [REDIS], "test": {"script": "true"}});
    Project::new(&file.to_string())
}

fn with_fault(project: &Project, fault: &str, arguments: &[&str]) -> Ran {
    let mut command = project.command(&[&["exec"], arguments, &["test"]].concat());
    command
        .env("PATH", path_with(&fake_docker()))
        .env("DOCKER_FAKE", fault);
    run(&mut command)
}

fn last_line(ran: &Ran) -> &str {
    ran.stdout.lines().last().unwrap_or_default()
}

#[test]
fn who_is_not_in_dockers_group_hears_of_the_group() {
    let project = project();
    let user = support::user::User::who_owns(&project);
    // Of no group but the user's own.
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=1000", "--regid=1000", "--clear-groups", "--"])
        .arg(project.root().join("bin/alloy-runner"))
        .args(["exec", "test"])
        .current_dir(&project.directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("set"))
        .env("HOME", user.home())
        .stdin(Stdio::null());
    let ran = run(&mut command);
    assert_eq!(ran.status, Some(3), "{ran}");
    assert_eq!(ran.stdout.matches("docker.sock").count(), 1, "{ran}");
    let group = run(Command::new("stat").args(["-c", "%G", "/var/run/docker.sock"]));
    let told = format!("sudo usermod -aG {} $USER", group.stdout.trim());
    let last = last_line(&ran);
    for part in [
        "no rights on the docker socket /var/run/docker.sock",
        &told,
        "log in again",
    ] {
        assert!(last.contains(part), "{ran}");
    }
    assert!(!ran.stderr.contains("docker.sock"), "{ran}");
}

#[test]
fn no_engine_is_said_once() {
    let ran = project().exec(&[
        "--docker-host",
        "unix:///nowhere.sock",
        "--docker-pull-policy",
        "if-not-present",
        "test",
    ]);
    assert_eq!(ran.status, Some(3), "{ran}");
    let both = ran.stdout.clone() + &ran.stderr;
    assert_eq!(both.matches("Cannot connect").count(), 1, "{ran}");

    // A client that says it for each image that it was asked about.
    let each = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?";
    let fault = format!("image inspect=fail {each}\n{each}\n{each}");
    let ran = with_fault(&project(), &fault, &["--docker-pull-policy", "never"]);
    assert_eq!(ran.status, Some(3), "{ran}");
    assert_eq!(
        last_line(&ran).matches("Cannot connect").count(),
        1,
        "{ran}"
    );
}

#[test]
fn a_full_disk_of_the_engine_is_said_without_the_command() {
    let said = "docker: Error response from daemon: mkdir /var/lib/docker/overlay2/0a1b2c-init: no space left on device.";
    let fault = format!("network create=fail {said}");
    let ran = with_fault(&project(), &fault, &[]);
    assert_eq!(ran.status, Some(3), "{ran}");
    let last = last_line(&ran);
    assert!(
        last.contains("the docker engine's disk is full: mkdir /var/lib/docker/overlay2/0a1b2c-init: no space left on device")
            && last.contains("`docker system df`")
            && !last.contains("network create"),
        "{ran}"
    );
}

#[test]
fn a_registry_that_is_not_there_is_asked_once() {
    for (image, why) in [
        ("nosuch.invalid/tool:1", "no such host"),
        ("127.0.0.1:1/tool:1", "connection refused"),
    ] {
        let file = json!({"image": image, "test": {"script": "true"}});
        let ran = Project::new(&file.to_string()).exec(&["test"]);
        assert_eq!(ran.status, Some(3), "{ran}");
        assert!(!ran.stdout.contains("trying again"), "{ran}");
        let registry = image.split('/').next().expect("a part");
        let last = last_line(&ran);
        assert!(
            last.contains(&format!(
                "cannot pull image {image}: no registry answers at {registry} ("
            )) && last.contains(why)
                && !last.contains("tried:"),
            "{ran}"
        );
    }
}

#[test]
fn why_the_helper_image_cannot_be_built_is_said_and_no_container_of_the_build_stays() {
    // A base with an apt-get that fails as one without a network does.
    let name = format!("alloy-runner-test-apt-{}", std::process::id());
    let directory = tempfile::tempdir().expect("a directory");
    let apt = "#!/bin/sh\necho 'Err:1 http://deb.invalid trixie InRelease'\necho \"E: Unable to locate package git-lfs\"\nexit 100\n";
    fs::write(directory.path().join("apt-get"), apt).expect("written");
    let text = format!(
        "FROM {BUSYBOX}\nCOPY apt-get /bin/apt-get\nRUN chmod 755 /bin/apt-get\nENV MADE_FOR={name}\n"
    );
    fs::write(directory.path().join("Dockerfile"), text).expect("written");
    let context = directory.path().to_str().expect("UTF-8");
    docker(&["build", "--quiet", "--tag", &name, context]);
    let project = Project::empty();
    let ran = project.run(&["helper-image", "build", "--base", &name]);
    let ancestor = format!("ancestor={name}");
    let stayed = docker(&["ps", "--all", "--quiet", "--filter", &ancestor]);
    docker(&["image", "rm", "--force", &name]);
    assert_eq!(ran.status, Some(3), "{ran}");
    assert!(
        ran.stderr
            .contains("Err:1 http://deb.invalid trixie InRelease\n")
            && ran.stderr.contains("E: Unable to locate package git-lfs\n"),
        "{ran}"
    );
    let last = ran.stderr.lines().last().unwrap_or_default();
    assert!(
        last.contains(&format!("cannot make the helper image from `{name}`"))
            && last.contains("--base IMAGE")
            && last.contains("100")
            && last.len() < 400,
        "{ran}"
    );
    assert_eq!(stayed, "", "a container of the build stayed");
}
