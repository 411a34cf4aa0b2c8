//! `exec` on a terminal: Ctrl-C, colours, a shell where a script fails.

mod support;

use serde_json::json;
use support::tmux::Terminal;
use support::{BUSYBOX, DEBIAN, Project};

#[test]
fn ctrl_c_in_a_parallel_stage_cleans_up_and_the_table_says_what_was_interrupted() {
    let project = Project::new(
        json!({"image": BUSYBOX, "stages": ["build", "test", "deploy"],
            "compile": {"stage": "build", "script": "true"},
            "unit": {"script": ["echo begun", "sleep 600"]}, "lint": {"script": ["echo begun", "sleep 600"]},
            "publish": {"stage": "deploy", "script": "true"}}),
    );
    let terminal = Terminal::run(&project, "$RUNNER exec --concurrent 2");
    terminal.wait_for("unit    | begun");
    terminal.wait_for("[unit: script, ");
    terminal.wait_for("lint    | begun");
    terminal.press("C-c");
    let shown = terminal.wait_for("status=");
    for part in [
        "status=130",
        "\ncompile  build   succeeded    ",
        "\nunit     test    interrupted  ",
        "\nlint     test    interrupted  ",
        "\npublish  deploy  not run\n",
        "\nPipeline interrupted in ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(project.leftovers(), "");
    let coloured = terminal.coloured();
    assert!(
        coloured.contains("\x1b[33mlint    |") || coloured.contains("\x1b[35mlint    |"),
        "{coloured}"
    );
}

#[test]
fn a_dumb_terminal_gets_no_colours_and_no_status_line() {
    let project = Project::new(
        json!({"image": BUSYBOX, "a": {"script": "sleep 3"}, "b": {"script": "sleep 3"}}),
    );
    let terminal = Terminal::run(&project, "TERM=dumb $RUNNER exec");
    terminal.wait_for("status=0");
    let coloured = terminal.coloured();
    assert!(coloured.contains("a | Job succeeded"), "{coloured}");
    assert!(!coloured.contains('\x1b'), "{coloured}");
    assert!(!coloured.contains("[a: "), "{coloured}");
}

#[test]
fn the_status_line_says_how_many_jobs_are_done() {
    let project = Project::new(json!({"image": BUSYBOX, "stages": ["one", "two"],
        "a": {"stage": "one", "script": "true"}, "b": {"stage": "two", "script": "sleep 600"},
        "by_hand": {"stage": "two", "script": "true", "when": "manual"}}));
    let terminal = Terminal::run(&project, "$RUNNER exec --quiet");
    terminal.wait_for("1 of 2 done  [b: script, ");
    terminal.press("C-c");
    terminal.wait_for("status=130");
}

/// A job that fails, with variables of all kinds.
fn failing() -> Project {
    Project::new(json!({"image": DEBIAN, "variables": {"COLOUR": "blue"},
            "unit": {"script": ["cd /", "sleep 1234 & echo kept >/tmp/kept", "exit 7"],
                "after_script": ["echo after $CI_JOB_STATUS $(cat /tmp/typed)"]},
            "good": {"script": "true"}}))
}

/// Waits until the shell has asked so many times what to do: what is typed before may get lost.
/// Waits for a prompt behind what was shown last. One before it may be gone: a docker client tells the engine late how
/// wide its terminal is, and bash writes over the line then.
fn wait_for_prompt(terminal: &Terminal, behind: &str) {
    terminal.wait_until("a prompt", |shown| {
        let last = shown.rsplit_once(behind);
        last.is_some_and(|(_, last)| last.contains("/builds/local/site# "))
    });
}

/// The `echo`s are written so that the line that is typed is not what they print.
const LOOK: &str = "echo \"<$COLOUR $CI_JOB_NAME $CI_JOB_STATUS $DOCKER_TOKEN>\"; pwd; cat /tmp/kept; \
    grep -lz 123[4] /proc/[0-9]*/cmdline | wc -l; echo typed >/tmp/typed; echo end'ed'";

#[test]
fn a_shell_on_failure_has_the_jobs_variables_and_the_job_ends_with_it() {
    let project = failing();
    let terminal = Terminal::run(
        &project,
        "DOCKER_TOKEN=hunter2 $RUNNER exec --env DOCKER_TOKEN --timeout 8 --shell-on-failure unit",
    );
    terminal.wait_for("The script of `unit` failed. This is a shell in its build container");
    wait_for_prompt(&terminal, "ends the job.");
    terminal.type_text(LOOK);
    terminal.press("Enter");
    let shown = terminal.wait_for("\nended\n");
    let want = "\n<blue unit failed hunter2>\n/builds/local/site\nkept\n1\nended\n";
    assert!(shown.contains(want), "{shown}");
    assert!(shown.contains("$ exit 7\n\nThe script"), "{shown}");
    // No time limit ends it, and its keys are its own.
    std::thread::sleep(std::time::Duration::from_secs(8));
    wait_for_prompt(&terminal, "\nended\n");
    terminal.press("C-c");
    wait_for_prompt(&terminal, "^C");
    terminal.type_text("echo still' 'there; exit 4");
    terminal.press("Enter");
    let shown = terminal.wait_for("status=");
    assert!(
        shown.contains("\nafter failed typed\nERROR: Build failed: exit code 7\nstatus=1\n")
            && shown.contains("\nstill there\n"),
        "{shown}"
    );
    assert_eq!(project.leftovers(), "");
}

#[test]
fn a_pipeline_lends_the_terminal_and_goes_on() {
    let project = failing();
    let terminal = Terminal::run(
        &project,
        "$RUNNER exec --quiet --concurrent 1 --shell-on-failure",
    );
    let shown = terminal.wait_for("The script of `unit` failed.");
    assert!(
        shown.contains("unit | $ exit 7\n"),
        "its log comes first: {shown}"
    );
    wait_for_prompt(&terminal, "ends the job.");
    terminal.type_text("exit");
    terminal.press("Enter");
    let shown = terminal.wait_for("status=");
    for part in [
        "\nunit | ERROR: Build failed: exit code 7\n",
        "\ngood  test   succeeded  ",
        "\nstatus=1\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_signal_ends_the_shell_and_leaves_a_usable_terminal() {
    let project = failing();
    let terminal = Terminal::run(
        &project,
        "sh -c 'echo $$ >../pid; exec $RUNNER exec --shell-on-failure unit'; status=$?; stty -a; (exit $status)",
    );
    terminal.wait_for("The script of `unit` failed.");
    let pid = std::fs::read_to_string(project.beside("pid")).expect("written");
    support::run(std::process::Command::new("kill").args(["-TERM", pid.trim()])).exits(0);
    let shown = terminal.wait_for("status=");
    assert!(shown.contains("ERROR: Build failed: canceled"), "{shown}");
    assert!(
        shown.contains("status=143") && shown.contains(" icanon ") && shown.contains(" echo "),
        "{shown}"
    );
    assert_eq!(project.leftovers(), "");
}

#[test]
fn where_there_can_be_no_shell_that_is_said() {
    let project = Project::new(
        json!({"image": {"name": BUSYBOX, "entrypoint": ["sh", "-c", "cat >/dev/null; exit 5"]}, "unit": {"script": "true"},
            "good": {"image": DEBIAN, "script": "true"}}),
    );
    let nobody = project.exec("--shell-on-failure unit");
    nobody.fails(2);
    assert_eq!(
        nobody.stderr,
        "alloy-runner: --shell-on-failure needs a terminal, as stdin and stdout\n"
    );
    let terminal = Terminal::run(&project, "$RUNNER exec --shell-on-failure unit");
    let shown = terminal.wait_for("status=");
    assert!(
        shown.contains("\nWARNING: no shell: ") && shown.contains("exit code 5\nstatus=1\n"),
        "{shown}"
    );
    let terminal = Terminal::run(&project, "$RUNNER exec --shell-on-failure good");
    let shown = terminal.wait_for("status=");
    assert!(shown.contains("\nJob succeeded\nstatus=0\n"), "{shown}");
}

#[test]
fn on_a_terminal_a_page_is_shown_by_the_users_pager_else_by_less() {
    let project = Project::empty();
    // The pager takes the place of the runner.
    for (line, shown) in [
        (
            "PAGER='sed 1s/^/paged:/' $RUNNER help services",
            "paged:# Services",
        ),
        ("PAGER= $RUNNER help exit-statuses", "# Exit statuses"),
        (
            "PAGER='cat >/dev/null; exit 5; :' $RUNNER help services",
            "status=5",
        ),
    ] {
        let terminal = Terminal::run(&project, line);
        let text = terminal.wait_for("status=");
        assert!(text.contains(shown), "{line}: {text}");
    }
    let terminal = Terminal::run(&project, "env -u PAGER $RUNNER help services");
    terminal.wait_for("# Services");
    terminal.press("q");
    terminal.wait_for("status=0");
}
