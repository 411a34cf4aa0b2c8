//! What is wrong is said on one line, with what to do, and nothing is left behind.

mod support;

use serde_json::json;
use support::{BUSYBOX, Project, Ran, fake_docker, path_with, run};

fn assert_one_line(ran: &Ran, status: i32, parts: &[&str]) {
    assert_eq!(ran.status, Some(status), "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    for part in parts {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
}

#[test]
fn what_the_user_wrote_is_named_with_its_place() {
    let good = json!({"image": BUSYBOX, "test": {"script": "true"}, "build": {"script": "true"}})
        .to_string();
    for (file, arguments, parts) in [
        (
            good.as_str(),
            &["tset"][..],
            &["there is no job `tset` (did you mean `test`?); the jobs are: test, build"][..],
        ),
        (
            "{\n \"test\": }",
            &["test"],
            &[".alloy-ci.json:2:10: not JSON: expected value"],
        ),
        (
            r#"{"test": {"script": [1]}}"#,
            &["test"],
            &[
                ".alloy-ci.json:1:22: test.script[0]: expected a string, not the number 1; write \"1\"",
            ],
        ),
        (
            r#"{"test": {"script": "x"}}"#,
            &["test"],
            &["the job `test` has no image", "`image`", "--docker-image"],
        ),
        (
            r#"{"test": {"script": "x", "image": "--privileged"}}"#,
            &["test"],
            &["test.image: `--privileged` is no image name"],
        ),
        (
            r#"{"test": {"script": "x", "image": "a", "services": [{"name": "b", "alias": "-x"}]}}"#,
            &["test"],
            &["test.services[0].alias: `-x` is no hostname"],
        ),
        (
            r#"{"test": {"script": "x", "image": "a", "variables": {"A-B": 1}}}"#,
            &["test"],
            &["`A-B` is no name for a variable"],
        ),
        (
            &good,
            &["--env", "NOT_SET_ANYWHERE", "test"],
            &["--env NOT_SET_ANYWHERE", "export it"],
        ),
        (
            &good,
            &["--env-file", "no-such-file", "test"],
            &["cannot read the env file no-such-file"],
        ),
        (
            &good,
            &["--file", "no-such-file", "test"],
            &["cannot read the job file no-such-file"],
        ),
        (
            &good,
            &["--docker-volumes", "./relative:/path", "test"],
            &[
                "docker.volumes: `./relative:/path`: `./relative` is neither an absolute path of the host nor a volume's name",
            ],
        ),
        (
            &good,
            &[
                "--docker-allowed-images=a:*",
                "--docker-allowed-images=b/*:*",
                "test",
            ],
            &[
                "test.image: `alloy-runner-test/busybox:latest` is not allowed; docker.allowed_images has: a:*, b/*:*",
            ],
        ),
        (
            r#"{"test": {"script": "x", "image": "a", "services": ["$S"], "variables": {"S": "evil:1"}}}"#,
            &["--docker-allowed-services", "redis:*", "test"],
            &["test.services[0]: `evil:1` is not allowed; docker.allowed_services has: redis:*"],
        ),
        (
            &good,
            &["--docker-allowed-images", "a[b", "test"],
            &["docker.allowed_images: `a[b` is no pattern"],
        ),
        (
            &good,
            &[
                "--docker-allowed-pull-policies",
                "always",
                "--docker-pull-policy",
                "always,never",
                "test",
            ],
            &[
                "docker.pull_policy: `never` is not allowed; docker.allowed_pull_policies has: always",
            ],
        ),
        (
            &good,
            &["--tls-ca-file", ".alloy-ci.json", "test"],
            &["tls-ca-file: .alloy-ci.json holds no certificate in PEM"],
        ),
    ] {
        let project = Project::empty();
        project.write(".alloy-ci.json", file);
        project.commit();
        assert_one_line(&project.exec(arguments), 2, parts);
        // Nothing was made that would have to be removed.
        assert!(
            !project.beside("state/processes").exists()
                || project
                    .beside("state/processes")
                    .read_dir()
                    .expect("readable")
                    .next()
                    .is_none()
        );
        // Without a job file, nothing is looked for on the engine at the end.
        std::fs::remove_file(project.directory.join(".alloy-ci.json")).expect("removed");
    }
}

#[test]
fn names_of_variables_and_secrets_in_the_wrong_place_are_named() {
    let good = r#"{"test": {"script": "true", "image": "a"}}"#;
    for (file, arguments, parts) in [
        (
            good,
            &["--env", "A-B=1", "test"][..],
            &["--env: `A-B` is no name for a variable", "write `A_B`"][..],
        ),
        (
            good,
            &["--env", "1", "test"],
            &["--env: `1` is no name for a variable"],
        ),
        (
            good,
            &["--env-file", "name.env", "test"],
            &[
                "name.env:3:3: `MY KEY` is no name for a variable",
                "write `MY_KEY`",
            ],
        ),
        (
            good,
            &["--env-file", "colon.env", "test"],
            &["colon.env:1:1: expected KEY=value, and there is no `=`; write `KEY=…`"],
        ),
        (
            r#"{"test": {"script": "x", "image": "r.example/x:$KEY"}}"#,
            &["--env-file", "good.env", "test"],
            &[
                "test.image: it refers to the secret variable KEY",
                "--env KEY=VALUE",
            ],
        ),
        (
            r#"{"test": {"script": "x", "image": "a", "services": [{"name": "b", "alias": "x$KEY"}]}}"#,
            &["--env-file", "good.env", "test"],
            &["test.services[0].alias: it refers to the secret variable KEY"],
        ),
    ] {
        let project = Project::empty();
        project.write(".alloy-ci.json", file);
        project.write("name.env", "# a comment\n\n  MY KEY=secret\n");
        project.write("good.env", "KEY=hunter2-hunter2\n");
        project.write("colon.env", "KEY: secret\n");
        project.commit();
        assert_one_line(&project.exec(arguments), 2, parts);
        // Without a job file, nothing is looked for on the engine at the end.
        std::fs::remove_file(project.directory.join(".alloy-ci.json")).expect("removed");
    }
}

#[test]
fn no_checkout_no_commit_no_job_file() {
    let project = Project::empty();
    assert_one_line(
        &project.exec(&["test"]),
        2,
        &["is not in a git checkout", "git init"],
    );
    project.git(&["init", "-q"]);
    assert_one_line(
        &project.exec(&["test"]),
        2,
        &["has no commit yet", "commit what is to be tested"],
    );
    project.write("file", "");
    project.commit();
    assert_one_line(
        &project.exec(&["test"]),
        2,
        &["there is no .alloy-ci.json (or .alloy-ci.yml)", "--file"],
    );
}

#[test]
fn wrong_usage_is_status_two() {
    let project = Project::empty();
    for arguments in [
        &["exec", "--no-such-flag", "test"][..],
        &["no-such-command"],
        &["exec", "--json"],
        &["exec", "--stage", "a", "job"],
        &["exec", "--docker-pull-policy", "often", "x"],
    ] {
        let ran = project.run(arguments);
        assert_eq!(ran.status, Some(2), "{ran}");
        assert!(
            ran.stderr.contains("--help") || ran.stderr.contains("Usage"),
            "{ran}"
        );
    }
}

#[test]
fn both_job_files_the_json_one_counts_and_the_log_says_so() {
    let project =
        Project::new(&json!({"image": BUSYBOX, "test": {"script": "echo from json"}}).to_string());
    project.write(
        ".alloy-ci.yml",
        "image: alloy-runner-test/busybox\ntest:\n  script: [echo from yaml]\n",
    );
    project.commit();
    let ran = project.exec(&["test"]);
    assert!(
        ran.assert_success().stdout.contains("\nfrom json\n"),
        "{ran}"
    );
    assert!(
        ran.stderr.contains(".alloy-ci.json counts") && ran.stderr.contains("--file"),
        "{ran}"
    );
    let ran = project.exec(&["--file", ".alloy-ci.yml", "test"]);
    assert!(
        ran.assert_success().stdout.contains("\nfrom yaml\n"),
        "{ran}"
    );
}

#[test]
fn no_client_and_no_engine_are_system_failures() {
    let project = Project::new(&json!({"image": BUSYBOX, "test": {"script": "true"}}).to_string());
    let no_client = run(project.command(&["exec", "test"]).env("PATH", "/nowhere"));
    assert_eq!(no_client.status, Some(3), "{no_client}");
    assert!(
        no_client
            .stdout
            .contains("cannot start the docker command line")
            && no_client.stdout.contains("install it"),
        "{no_client}"
    );
    let no_engine = run(project
        .command(&["exec", "test"])
        .env("DOCKER_HOST", "unix:///nowhere.sock"));
    assert_eq!(no_engine.status, Some(3), "{no_engine}");
    assert!(
        no_engine
            .stdout
            .contains("ERROR: Build failed (system failure): no docker engine answers"),
        "{no_engine}"
    );
    assert_eq!(no_engine.stdout.matches("ERROR").count(), 1, "{no_engine}");
    for arguments in [&["prune"][..], &["helper-image", "build"]] {
        let ran = run(project
            .command(arguments)
            .env("DOCKER_HOST", "unix:///nowhere.sock"));
        assert_one_line(&ran, 3, &["no docker engine answers", "--docker-host"]);
    }
}

#[test]
fn a_client_that_dies_is_never_a_success() {
    let project = Project::new(
        &json!({"image": BUSYBOX, "test": {"script": ["echo begun", "sleep 60"]}}).to_string(),
    );
    let mut command = project.command(&["exec", "test"]);
    let ran = run(command.env("PATH", path_with(&fake_docker())).env(
        "DOCKER_FAKE",
        "run --pull never --interactive --log-driver=detach",
    ));
    assert_eq!(ran.status, Some(3), "{ran}");
    assert!(
        ran.stdout.contains("system failure") && ran.stdout.contains("lost"),
        "{ran}"
    );
    assert_eq!(project.leftovers(), "");
}

#[test]
fn an_engine_of_another_architecture_is_noticed_before_the_image_is_built() {
    let project = Project::new(&json!({"image": BUSYBOX, "test": {"script": "true"}}).to_string());
    let mut command = project.command(&["helper-image", "build"]);
    let ran = run(command
        .env("PATH", path_with(&fake_docker()))
        .env("DOCKER_FAKE", "version=print linux/riscv64"));
    assert_one_line(
        &ran,
        3,
        &[
            "the docker engine is linux/riscv64",
            "this executable is linux/",
        ],
    );
}
