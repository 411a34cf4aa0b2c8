//! Completions: they load in bash, zsh and fish, and complete what is in the job file.

mod support;

use serde_json::json;
use support::tmux::Terminal;
use support::{Project, run};

fn project() -> Project {
    let script = json!({"script": "x"});
    Project::new(
        json!({"unit-tests": script, "lint:all": script, "a job": script, "deploy": {"stage": "deploy", "script": "x"}}),
    )
}

/// An interactive shell, without anybody's start-up files, with the completions loaded.
fn shell(project: &Project, command: &[&str], load: &str) -> Terminal {
    let terminal = Terminal::start(project, command);
    terminal.type_text(load);
    terminal.press("Enter");
    terminal.type_text("echo loaded=$?'.'");
    terminal.press("Enter");
    let shown = terminal.wait_for("loaded=0.");
    let complaint = ["command not found", "error", "parse", "nknown"];
    for part in complaint {
        assert!(!shown.contains(part), "{shown}");
    }
    terminal
}

/// Types the begin of a line and the key that completes it, and waits for what becomes of it.
fn assert_completes(terminal: &Terminal, typed: &str, want: &str) {
    terminal.type_text(typed);
    terminal.press("Tab");
    terminal.wait_until(&format!("{typed} -> {want}"), |shown| {
        let last = shown.trim_end().lines().last().unwrap_or_default();
        last.trim_end().ends_with(want)
    });
    // In their order with what follows, as an interrupt would not be.
    terminal.press("C-u");
    terminal.press("C-l");
}

fn assert_completes_all(terminal: &Terminal) {
    for (typed, want) in [
        ("alloy-runner comp", "alloy-runner completions"),
        (
            "alloy-runner exec --shell-on",
            "alloy-runner exec --shell-on-failure",
        ),
        ("alloy-runner exec un", "alloy-runner exec unit-tests"),
        (
            "alloy-runner exec deploy lint:",
            "alloy-runner exec deploy lint:all",
        ),
        (
            "alloy-runner exec --stage dep",
            "alloy-runner exec --stage deploy",
        ),
        ("alloy-runner exec a", "alloy-runner exec a\\ job"),
        ("alloy-runner help debu", "alloy-runner help debugging"),
        ("alloy-runner help unreg", "alloy-runner help unregister"),
    ] {
        assert_completes(terminal, typed, want);
    }
}

#[test]
fn bash_completes_jobs() {
    let project = project();
    let command = ["bash", "--norc", "--noprofile", "-i"];
    let terminal = shell(
        &project,
        &command,
        "source <(alloy-runner completions bash)",
    );
    assert_completes_all(&terminal);
    assert_completes(
        &terminal,
        "alloy-runner exec a\\ j",
        "alloy-runner exec a\\ job",
    );
}

#[test]
fn zsh_completes_jobs() {
    let project = project();
    let load = "autoload -U compinit && compinit -u -D && source <(alloy-runner completions zsh)";
    let terminal = shell(&project, &["zsh", "-f", "-i"], load);
    assert_completes_all(&terminal);
}

#[test]
fn fish_completes_jobs() {
    let project = project();
    let load = "alloy-runner completions fish | source; set -g fish_autosuggestion_enabled 0; true";
    let terminal = Terminal::start(&project, &["fish", "--no-config", "--interactive"]);
    terminal.type_text(load);
    terminal.press("Enter");
    terminal.type_text("echo loaded=$status'.'");
    terminal.press("Enter");
    terminal.wait_for("loaded=0.");
    terminal.press("C-l");
    assert_completes_all(&terminal);
}

#[test]
fn the_scripts_are_for_known_shells_and_without_a_job_file_there_are_no_jobs() {
    let project = Project::empty();
    project
        .run("completions tcsh")
        .fails(2)
        .on_stderr("[possible values: bash, elvish, fish, zsh]");
    let mut command = project.command(["--", "alloy-runner", "exec", ""]);
    let asked = run(command
        .env("ALLOY_RUNNER_COMPLETE", "fish")
        .env_remove("DOCKER_HOST"));
    asked.exits(0).is_quiet();
    assert!(asked.stdout.starts_with("--"), "options only: {asked}");
}

#[test]
fn jobs_are_not_hidden_among_options_which_come_after_a_dash() {
    let project = project();
    let candidates = |words: &[&str], shell: &str| {
        let mut command = project.command([&["--", "alloy-runner"], words].concat());
        let index = words.len().to_string();
        let asked = run(command
            .env("ALLOY_RUNNER_COMPLETE", shell)
            .env("_CLAP_COMPLETE_INDEX", index));
        asked.exits(0);
        let names = asked.stdout.lines().map(|line| {
            line.split(['\t', ':'])
                .next()
                .unwrap_or_default()
                .to_owned()
        });
        names.collect::<Vec<_>>()
    };
    for shell in ["fish", "zsh", "bash"] {
        let jobs = candidates(&["exec", ""], shell);
        assert_eq!(jobs.len(), 4, "{shell}: {jobs:?}");
        let options = candidates(&["exec", "--st"], shell);
        assert_eq!(options, ["--stage"], "{shell}");
        let all = candidates(&["exec", "--"], shell);
        assert!(
            all.contains(&"--docker-image".to_owned()),
            "{shell}: {all:?}"
        );
    }
}
