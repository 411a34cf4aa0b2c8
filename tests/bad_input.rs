//! What is wrong is said on one line, with what to do, and nothing is left behind. No engine is needed for that.

mod support;

use std::fs;

use support::{BUSYBOX, Project};

/// A job file, what `exec` is told, and the parts of the line that it answers with.
type Case<'a> = (&'a str, &'a str, &'a [&'a str]);

/// Runs `exec` in a checkout with each job file and with these files.
#[track_caller]
fn assert_refused(cases: &[Case], files: &[(&str, &str)]) {
    for (job_file, arguments, parts) in cases {
        let project = Project::without_engine();
        project.commit_without_git();
        project.write(".alloy-ci.json", job_file);
        for (name, text) in files {
            project.write(name, text);
        }
        project.exec(arguments).fails_in_one_line(2, parts);
        // Nothing was made that would have to be removed.
        let made = fs::read_dir(project.beside("state/processes"));
        assert_eq!(made.map_or(0, Iterator::count), 0, "{arguments}");
    }
}

#[test]
fn what_the_user_wrote_is_named_with_its_place() {
    let good = &format!(
        r#"{{"image": "{BUSYBOX}", "test": {{"script": "true"}}, "build": {{"script": "true"}}}}"#
    );
    let cases: &[Case] = &[
        (
            good,
            "tset",
            &["there is no job `tset` (did you mean `test`?); the jobs are: test, build"],
        ),
        (
            "{\n \"test\": }",
            "test",
            &[".alloy-ci.json:2:10: not JSON: expected value"],
        ),
        (
            r#"{"test": {"script": [1]}}"#,
            "test",
            &[
                ".alloy-ci.json:1:22: test.script[0]: expected a string, not the number 1; write \"1\"",
            ],
        ),
        (
            r#"{"test": {"script": "x"}}"#,
            "test",
            &["the job `test` has no image", "`image`", "--docker-image"],
        ),
        (
            r#"{"test": {"script": "x", "image": "--privileged"}}"#,
            "test",
            &["test.image: `--privileged` is no image name"],
        ),
        (
            r#"{"test": {"script": "x", "image": "a", "services": [{"name": "b", "alias": "-x"}]}}"#,
            "test",
            &["test.services[0].alias: `-x` is no hostname"],
        ),
        (
            r#"{"test": {"script": "x", "image": "a", "variables": {"A-B": 1}}}"#,
            "test",
            &["`A-B` is no name for a variable"],
        ),
        (
            good,
            "--env NOT_SET_ANYWHERE test",
            &["--env NOT_SET_ANYWHERE", "export it"],
        ),
        (
            good,
            "--env-file no-such-file test",
            &["cannot read the env file no-such-file"],
        ),
        (
            good,
            "--file no-such-file test",
            &["cannot read the job file no-such-file"],
        ),
        (
            good,
            "--docker-volumes ./relative:/path test",
            &[
                "docker.volumes: `./relative:/path`: `./relative` is neither an absolute path of the host nor a volume's name",
            ],
        ),
        (
            good,
            "--docker-allowed-images=a:* --docker-allowed-images=b/*:* test",
            &[
                "test.image: `alloy-runner-test/busybox:latest` is not allowed; docker.allowed_images has: a:*, b/*:*",
            ],
        ),
        (
            r#"{"test": {"script": "x", "image": "a", "services": ["$S"], "variables": {"S": "evil:1"}}}"#,
            "--docker-allowed-services redis:* test",
            &["test.services[0]: `evil:1` is not allowed; docker.allowed_services has: redis:*"],
        ),
        (
            good,
            "--docker-allowed-images a[b test",
            &["docker.allowed_images: `a[b` is no pattern"],
        ),
        (
            good,
            "--docker-allowed-pull-policies always --docker-pull-policy always,never test",
            &[
                "docker.pull_policy: `never` is not allowed; docker.allowed_pull_policies has: always",
            ],
        ),
        (
            good,
            "--tls-ca-file .alloy-ci.json test",
            &["tls-ca-file: .alloy-ci.json holds no certificate in PEM"],
        ),
    ];
    assert_refused(cases, &[]);
}

#[test]
fn names_of_variables_and_secrets_in_the_wrong_place_are_named() {
    let good = r#"{"test": {"script": "true", "image": "a"}}"#;
    let cases: &[Case] = &[
        (
            good,
            "--env A-B=1 test",
            &["--env: `A-B` is no name for a variable", "write `A_B`"],
        ),
        (
            good,
            "--env 1 test",
            &["--env: `1` is no name for a variable"],
        ),
        (
            good,
            "--env-file name.env test",
            &[
                "name.env:3:3: `MY KEY` is no name for a variable",
                "write `MY_KEY`",
            ],
        ),
        (
            good,
            "--env-file colon.env test",
            &["colon.env:1:1: expected KEY=value, and there is no `=`; write `KEY=…`"],
        ),
        (
            r#"{"test": {"script": "x", "image": "r.example/x:$KEY"}}"#,
            "--env-file good.env test",
            &[
                "test.image: it refers to the secret variable KEY",
                "--env KEY=VALUE",
            ],
        ),
        (
            r#"{"test": {"script": "x", "image": "a", "services": [{"name": "b", "alias": "x$KEY"}]}}"#,
            "--env-file good.env test",
            &["test.services[0].alias: it refers to the secret variable KEY"],
        ),
    ];
    let files = [
        ("name.env", "# a comment\n\n  MY KEY=secret\n"),
        ("good.env", "KEY=hunter2-hunter2\n"),
        ("colon.env", "KEY: secret\n"),
    ];
    assert_refused(cases, &files);
}

#[test]
fn no_checkout_no_commit_no_job_file() {
    let project = Project::without_engine();
    let refused = |parts: &[&str]| {
        project.exec("test").fails_in_one_line(2, parts);
    };
    refused(&["is not in a git checkout", "git init"]);
    project.init_without_git();
    refused(&["has no commit yet", "commit what is to be tested"]);
    project.commit_without_git();
    refused(&["there is no .alloy-ci.json (or .alloy-ci.yml)", "--file"]);
}

#[test]
fn wrong_usage_is_status_two() {
    let project = Project::without_engine();
    for arguments in [
        "exec --no-such-flag test",
        "no-such-command",
        "exec --json",
        "exec --stage a job",
        "exec --docker-pull-policy often x",
    ] {
        let ran = project.run(arguments);
        ran.fails(2);
        assert!(
            ran.stderr.contains("--help") || ran.stderr.contains("Usage"),
            "{ran}"
        );
    }
}
