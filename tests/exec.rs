//! `exec`: the log, the script, the variables, the exit status.

mod support;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{BUSYBOX, DEBIAN, Project, Ran, path_with, program, run};

#[test]
fn the_log_has_its_lines_in_their_order() {
    let project = Project::new(json!({"image": DEBIAN, "test": {
            "before_script": ["echo before"],
            "script": ["echo one", "echo two >&2", "exit 7", "echo never"],
            "after_script": ["echo after $CI_JOB_STATUS"]}}));
    let ran = project.exec("test");
    ran.fails(1);
    let id = run_docker_id(DEBIAN);
    let sha = &project.git(&["rev-parse", "HEAD"])[..8];
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with("Running with alloy-runner 0.1.0 (") && lines[0].ends_with(')'),
        "{ran}"
    );
    assert_eq!(lines[1], "  on exec local");
    assert_eq!(
        lines[2],
        format!("Using Docker executor with image {DEBIAN}:latest ...")
    );
    assert_eq!(
        lines[3],
        format!("Using docker image {id} for {DEBIAN}:latest ...")
    );
    assert!(
        lines[4].starts_with("Running on runner-local-project-") && lines[4].ends_with("..."),
        "{ran}"
    );
    assert_eq!(lines[5], "Cloning repository...");
    assert_eq!(lines[6], format!("Checking out {sha} as master..."));
    let rest = [
        "$ echo before",
        "before",
        "$ echo one",
        "one",
        "$ echo two >&2",
        "two",
        "$ exit 7",
        "$ echo after $CI_JOB_STATUS",
        "after failed",
        "ERROR: Build failed: exit code 7",
    ];
    assert_eq!(lines[7..], rest);
    ran.is_quiet();
}

fn run_docker_id(image: &str) -> String {
    support::docker(&["image", "inspect", "--format", "{{.Id}}", image])
        .trim()
        .to_owned()
}

#[test]
fn any_value_survives_and_references_expand() {
    let strange = "it's \"quoted\"\n\ttabs `ls` \\ $(id) grün";
    let project = Project::new(json!({"image": "$REGISTRY/busybox", "variables": {
                "REGISTRY": "alloy-runner-test", "STRANGE": strange, "NUMBER": 1.5, "YES": true, "NOTHING": null,
                "URL": "db://$USER_NAME:${PASSWORD}@host/$$x", "USER_NAME": "u"},
            "test": {"script": [
                "printf '<%s>\\n' \"$STRANGE\" \"$NUMBER\" \"$YES\" \"$NOTHING\"",
                "printf '%s\\n' \"$URL\" | tr a-z A-Z",
                "echo \"${#PASSWORD} $GIVEN\""]},
            "own": {"variables": {"ONLY": "mine"}, "image": BUSYBOX, "script": "echo \"$ONLY $NUMBER.\""}}));
    let mut command = project.command([
        "exec",
        "--env",
        "PASSWORD",
        "--env",
        "GIVEN=of $USER_NAME",
        "test",
    ]);
    let ran = support::run(command.env("PASSWORD", "pa$$w'rd\n2nd line"));
    ran.succeeds();
    let output = ran.build_output();
    assert!(
        output.contains(&format!("<{strange}>\n<1.5>\n<true>\n<>\n")),
        "{ran}"
    );
    assert!(
        output.contains("DB://U:PA$$W'RD\n2ND LINE@HOST/$X\n"),
        "{ran}"
    );
    assert!(output.contains("17 of u\n"), "{ran}");
    assert!(
        project.exec("own").build_output().contains("mine .\n"),
        "a job's variables replace the global ones"
    );
}

#[test]
fn predefined_variables_describe_the_job() {
    let project = Project::new(
        json!({"image": BUSYBOX, "stages": ["check"], "a job": {"stage": "check", "script":
        "for v in CI ALLOY_CI CI_SERVER CI_DISPOSABLE_ENVIRONMENT CI_JOB_NAME CI_JOB_STAGE CI_COMMIT_REF_NAME \
         CI_PROJECT_DIR CI_PROJECT_NAME CI_PROJECT_PATH CI_COMMIT_SHA; do eval echo $v=\\$$v; done; pwd"}}),
    );
    project.git(&[
        "remote",
        "add",
        "origin",
        "https://user:secret@git.example.org/acme/site.git",
    ]);
    let ran = project.exec(["a job"]);
    let sha = project.git(&["rev-parse", "HEAD"]);
    let want = format!(
        "CI=true\nALLOY_CI=true\nCI_SERVER=yes\nCI_DISPOSABLE_ENVIRONMENT=true\nCI_JOB_NAME=a job\nCI_JOB_STAGE=check\n\
         CI_COMMIT_REF_NAME=master\nCI_PROJECT_DIR=/builds/acme/site\nCI_PROJECT_NAME=site\nCI_PROJECT_PATH=acme/site\n\
         CI_COMMIT_SHA={sha}\n/builds/acme/site\nJob succeeded\n"
    );
    ran.succeeds().ends(&want);
}

#[test]
fn secrets_are_masked_and_reach_the_build_alone() {
    let project = Project::new(
        json!({"image": DEBIAN, "services": [{"name": support::REDIS, "alias": "redis"}], "test": {"script": [
            "echo ${#TOKEN} ${#DOCKER_TOKEN} ${#SSH_KEY}",
            "echo \"$TOKEN\"; printf hunter2-; sleep 0.3; echo hunter2",
            "env | grep -c ALLOY_VARIABLE_ || true"]}}),
    );
    let env_file = project.beside("secrets");
    std::fs::write(
        &env_file,
        "# of the team\nTOKEN=hunter2-hunter2\nDOCKER_TOKEN=docker-secret\n",
    )
    .expect("written");
    let arguments = [
        "-x",
        "exec",
        "--env-file",
        env_file.to_str().expect("UTF-8"),
        "--env",
        "SSH_KEY",
        "test",
    ];
    let ran = support::run(
        project
            .command(arguments)
            .env("SSH_KEY", "line one\nline two"),
    );
    ran.succeeds()
        .ends("[MASKED]\n[MASKED]\n$ env | grep -c ALLOY_VARIABLE_ || true\n0\nJob succeeded\n")
        .says("\n15 13 17\n");
    for secret in ["hunter2-hunter2", "docker-secret", "line one"] {
        ran.says_nothing_of(format!("{secret}\n"))
            .not_on_stderr(secret);
    }
    let helper_and_service = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("docker run") && line.contains(" --detach "));
    assert_eq!(helper_and_service.clone().count(), 2, "{ran}");
    assert!(
        helper_and_service
            .clone()
            .all(|line| !line.contains("--env TOKEN") && !line.contains("SSH_KEY")),
        "{ran}"
    );
}

#[test]
fn standard_input_is_at_its_end_and_nothing_holds_the_job_open() {
    let project = Project::new(
        json!({"test": {"script": ["cat", "sleep 300 &", "(while :; do echo tick; sleep 100; done) & echo started"]}}),
    );
    for image in [DEBIAN, BUSYBOX] {
        let begin = Instant::now();
        project
            .exec(["--docker-image", image, "test"])
            .succeeds()
            .says("\n$ sleep 300 &\n");
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{:?}",
            begin.elapsed()
        );
    }
}

#[test]
fn bash_where_there_is_one_and_the_shell_traces_itself_when_asked() {
    let project = Project::new(
        json!({"test": {"script": ["echo \"bash ${BASH_VERSION:+yes}\"", "if (set -o pipefail) 2>/dev/null; then false | true; fi"]}}),
    );
    project
        .exec([
            "--docker-image",
            DEBIAN,
            "--env",
            "CI_DEBUG_TRACE=true",
            "test",
        ])
        .fails(1)
        .says("\nbash yes\n")
        .says("+ echo 'bash yes'\n");
    project
        .exec(["--docker-image", BUSYBOX, "test"])
        .says("\nbash \n")
        .says_nothing_of("+ ");
}

#[test]
fn after_script_has_a_shell_of_its_own_and_does_not_count() {
    let project = Project::job(json!({
            "script": ["SHELL_VARIABLE=1", "cd /", "echo kept >/tmp/kept"],
            "after_script": ["echo \"<$SHELL_VARIABLE> $PWD $(cat /tmp/kept) $CI_JOB_STATUS\"", "exit 3", "echo never"]}));
    project.exec("test").succeeds().says("\n<> /builds/local/site kept success\n$ exit 3\nWARNING: after_script failed: exit code 3\n");
}

#[test]
fn a_job_that_takes_too_long_is_stopped_and_its_after_script_gets_no_more_time() {
    let project = Project::job(
        json!({"script": ["sleep 600"], "after_script": ["echo after $CI_JOB_STATUS"]}),
    );
    let begin = Instant::now();
    let ran = project.exec("--timeout 3 test");
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    ran.fails(1).ends("\nWARNING: after_script is left out: the job's time is over\nERROR: Build failed: execution took longer than 3 s\n");
}

#[test]
fn large_output_arrives_whole_with_the_status_behind_it() {
    let project = Project::script(["yes 0123456789abcde | head -c 10000000 || true", "exit 3"]);
    project
        .exec("test")
        .fails(1)
        .says_times(625_000, "0123456789abcde\n")
        .ends("$ exit 3\nERROR: Build failed: exit code 3\n");
}

#[test]
fn an_entrypoint_is_kept_and_finds_the_sources_in_place() {
    let project = Project::new(
        json!({"image": {"name": BUSYBOX, "entrypoint": ["sh", "-c", "ls -A; pwd; exit 5"]}, "test": {"script": ["never"]}}),
    );
    project
        .exec("test")
        .fails(1)
        .ends("\n.alloy-ci.json\n.git\n/builds/local/site\nERROR: Build failed: exit code 5\n");
}

#[test]
fn an_image_that_is_not_there_fails_the_build() {
    let project = Project::new(json!({"test": {"image": "localhost:1/no/such", "script": "x"}}));
    project
        .exec("--docker-pull-policy never test")
        .fails(1)
        .ends("\nERROR: Build failed: Error: image localhost:1/no/such:latest not found\n")
        .says_nothing_of("Pulling");
}

#[test]
fn an_after_script_has_a_time_limit_of_its_own() {
    let project = Project::job(json!({"variables": {"RUNNER_AFTER_SCRIPT_TIMEOUT": "2s"},
            "script": ["true"], "after_script": ["sleep 600"]}));
    let begin = Instant::now();
    let ran = project.exec("test");
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
    let end = "\nWARNING: after_script failed: execution took longer than 2 s\nJob succeeded\n";
    ran.succeeds().ends(end);
}

#[test]
fn a_small_job_takes_five_docker_processes_and_its_log_has_no_marks() {
    let project = Project::script(["echo before", "echo hello", "ls", "pwd"]);
    let bin = project.beside("bin");
    fs::create_dir(&bin).expect("created");
    let text = format!(
        "#!/bin/sh\necho \"$1 $2\" >>{}/log\nPATH=${{PATH#*:}} exec docker \"$@\"\n",
        bin.display()
    );
    program(&bin.join("docker"), &text);
    let mut command = project.command("exec test");
    let ran = run(command.env("PATH", path_with(&bin)));
    ran.succeeds();
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:?}");
    let log = fs::read_to_string(bin.join("log")).expect("written");
    let mut commands: Vec<&str> = log.lines().collect();
    commands.sort_unstable();
    let all = [
        "image inspect",
        "rm --force",
        "run --pull",
        "run --pull",
        "volume rm",
    ];
    assert_eq!(commands, all);
}

#[test]
fn a_reader_that_goes_away_ends_exec_quietly_after_it_has_cleaned_up() {
    let project = Project::new(json!({"image": BUSYBOX,
            "test": {"script": ["while :; do echo busy; sleep 0.1; done"]},
            "beside": {"script": ["while :; do echo busy; sleep 0.1; done"]}}));
    for jobs in [&["test"][..], &["test", "beside"]] {
        let mut child = project.spawn([&["exec"], jobs].concat());
        let mut out = child.stdout.take().expect("piped");
        support::read_until(&mut out, "busy\n");
        drop(out);
        let ran = Ran::from(child.wait_with_output().expect("ended"));
        ran.fails(141).is_quiet();
        assert_eq!(project.leftovers(), "");
    }
    for arguments in [
        &["exec", "--list"][..],
        &["exec", "--dry-run", "test"],
        &["helper-image", "name"],
    ] {
        let mut command = project.command(arguments);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        run(command.stdout(writer)).fails(141).is_quiet();
    }
}

#[test]
fn help_is_short_and_dockers_settings_have_their_own() {
    let project = Project::empty();
    let help = project.run("exec --help");
    help.exits(0);
    assert!(help.stdout.lines().count() < 130, "{help}");
    help.says("--docker-image")
        .says("--help-docker")
        .says_nothing_of("--docker-cap-add");
    let docker = project.run("exec --help-docker");
    docker.exits(0);
    for flag in ["--docker-cap-add", "--docker-image", "DOCKER_PULL_POLICY"] {
        docker.says(flag);
    }
}

#[test]
fn both_job_files_the_json_one_counts_and_the_log_says_so() {
    let project = Project::script(["echo from json"]);
    project.write(
        ".alloy-ci.yml",
        "image: alloy-runner-test/busybox\ntest:\n  script: [echo from yaml]\n",
    );
    project.commit();
    project
        .exec("test")
        .succeeds()
        .says("\nfrom json\n")
        .on_stderr(".alloy-ci.json counts")
        .on_stderr("--file");
    project
        .exec("--file .alloy-ci.yml test")
        .succeeds()
        .says("\nfrom yaml\n");
}
