//! The spec's two examples of privileged jobs, on an engine of the test's own.

mod support;

use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::json;
use support::second_engine::SecondEngine;
use support::{BUSYBOX, DIND, DOCKER, DOCKER_BUILD, Project};

/// A project that is an image: nothing can be pulled where it is built.
fn image_project(job_file: &serde_json::Value) -> Project {
    let project = Project::empty();
    project.write(".alloy-ci.json", &job_file.to_string());
    project.write("greeting", "hello from the image\n");
    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY busybox greeting /\nRUN [\"/busybox\", \"test\", \"-s\", \"/greeting\"]\nCMD [\"/busybox\", \"cat\", \"/greeting\"]\n",
    );
    let program = File::create(project.directory.join("busybox")).expect("created");
    let copied = Command::new("docker")
        .args(["run", "--rm", BUSYBOX, "cat", "/bin/busybox"])
        .stdout(Stdio::from(program))
        .status()
        .expect("started");
    assert!(copied.success());
    let program = project.directory.join("busybox");
    let executable = Command::new("chmod").arg("+x").arg(program).status();
    assert!(executable.expect("started").success());
    project.commit();
    project
}

#[test]
fn the_examples_of_the_spec_build_images() {
    let engine = SecondEngine::start(&[], &[DOCKER, DIND, DOCKER_BUILD]);
    let main = engine.socket();
    let arguments = ["--docker-host", &main, "--docker-privileged", "build"];
    a_service_with_an_engine(&engine, &arguments);
    an_entrypoint_that_ignores_the_script(&engine, &arguments);
}

fn a_service_with_an_engine(engine: &SecondEngine, arguments: &[&str]) {
    let project = image_project(&json!({
        "image": DOCKER,
        "services": [{"name": DIND, "alias": "docker"}],
        "build": {"script": [
            "docker build -t my-image . >/dev/null",
            "docker run --rm my-image",
            "docker ps --quiet | wc -l"]}
    }));
    let ran = project.exec(arguments);
    // The engine inside sees its own containers, not the job's.
    let end = "\n$ docker run --rm my-image\nhello from the image\n$ docker ps --quiet | wc -l\n0\nJob succeeded\n";
    ran.succeeds().ends(end).says_nothing_of("WARNING");
    assert_eq!(engine.leftovers(), "");
}

fn an_entrypoint_that_ignores_the_script(engine: &SecondEngine, arguments: &[&str]) {
    let never_read = "# much more than a pipe holds\n".repeat(20_000);
    let project = image_project(&json!({
        "variables": {"BUILD_IMAGE": "my.image"},
        "build": {"image": DOCKER_BUILD, "script": ["Dummy Script", never_read]}
    }));
    let ran = project.exec(arguments);
    let end = "\nSuccessfully tagged my.image:latest\nJob succeeded\n";
    ran.succeeds().ends(end).says_nothing_of("Dummy");

    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY busybox /\nRUN [\"/busybox\", \"sh\", \"-c\", \"exit 7\"]\n",
    );
    project.commit();
    project
        .exec(arguments)
        .fails(1)
        .ends("\nERROR: Build failed: exit code 7\n");
    assert_eq!(engine.leftovers(), "");
}
