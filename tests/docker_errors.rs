//! Docker's errors in words: said once, short, with what to do.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;
use support::{BUSYBOX, Project, REDIS, Ran, docker, fake_docker, path_with, run};

fn project() -> Project {
    let file = json!({"image": BUSYBOX, "services": [REDIS], "test": {"script": "true"}});
    Project::new(&file)
}

fn with_fault(project: &Project, fault: &str, arguments: &[&str]) -> Ran {
    let mut command = project.command([&["exec"], arguments, &["test"]].concat());
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
    ran.fails(3).says_times(1, "docker.sock");
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
    ran.not_on_stderr("docker.sock");
}

#[test]
fn no_engine_is_said_once() {
    let ran = project()
        .exec("--docker-host unix:///nowhere.sock --docker-pull-policy if-not-present test");
    ran.fails(3);
    let both = ran.stdout.clone() + &ran.stderr;
    assert_eq!(both.matches("Cannot connect").count(), 1, "{ran}");

    // A client that says it for each image that it was asked about.
    let each = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?";
    let fault = format!("image inspect=fail {each}\n{each}\n{each}");
    let ran = with_fault(&project(), &fault, &["--docker-pull-policy", "never"]);
    ran.fails(3);
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
    ran.fails(3);
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
        let ran = Project::new(&file).exec("test");
        ran.fails(3).says_nothing_of("trying again");
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
    let ran = project.run(["helper-image", "build", "--base", &name]);
    let ancestor = format!("ancestor={name}");
    let stayed = docker(&["ps", "--all", "--quiet", "--filter", &ancestor]);
    docker(&["image", "rm", "--force", &name]);
    ran.fails(3)
        .on_stderr("Err:1 http://deb.invalid trixie InRelease\n")
        .on_stderr("E: Unable to locate package git-lfs\n");
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

#[test]
fn no_client_and_no_engine_are_system_failures() {
    let project = Project::script(["true"]);
    run(project.command("exec test").env("PATH", "/nowhere"))
        .fails(3)
        .says("cannot start the docker command line")
        .says("install it");
    run(project
        .command("exec test")
        .env("DOCKER_HOST", "unix:///nowhere.sock"))
    .fails(3)
    .says("ERROR: Build failed (system failure): no docker engine answers")
    .says_times(1, "ERROR");
    for arguments in ["prune", "helper-image build"] {
        let mut command = project.command(arguments);
        run(command.env("DOCKER_HOST", "unix:///nowhere.sock"))
            .fails_in_one_line(3, &["no docker engine answers", "--docker-host"]);
    }
}

#[test]
fn a_client_that_dies_is_never_a_success() {
    let project = Project::script(["echo begun", "sleep 60"]);
    let mut command = project.command("exec test");
    run(command.env("PATH", path_with(&fake_docker())).env(
        "DOCKER_FAKE",
        "run --pull never --interactive --log-driver=detach",
    ))
    .fails(3)
    .says("system failure")
    .says("lost");
    assert_eq!(project.leftovers(), "");
}

#[test]
fn an_engine_of_another_architecture_is_noticed_before_the_image_is_built() {
    let project = Project::script(["true"]);
    let mut command = project.command("helper-image build");
    let said = [
        "the docker engine is linux/riscv64",
        "this executable is linux/",
    ];
    run(command
        .env("PATH", path_with(&fake_docker()))
        .env("DOCKER_FAKE", "version=print linux/riscv64"))
    .fails_in_one_line(3, &said);
}
