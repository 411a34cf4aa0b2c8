//! The manual, as `alloy-runner help` shows it.

mod support;

use support::tmux::Terminal;
use support::{Project, run};

#[test]
fn a_page_goes_into_a_pipe_as_it_is() {
    let project = Project::empty();
    let mut command = project.command(&["help", "services"]);
    // What a pager would do shows.
    let page = run(command.env("PAGER", "echo paged"));
    assert_eq!(page.status, Some(0), "{page}");
    assert!(page.stdout.starts_with("# Services\n"), "{page}");
    assert_eq!(page.stderr, "");
}

#[test]
fn help_lists_the_topics_beside_the_commands_and_shows_the_help_of_a_command() {
    let project = Project::empty();
    let all = project.run(&["help"]);
    assert_eq!(all.status, Some(0), "{all}");
    for part in ["\n  exec ", "\n  job-file ", "\n  security "] {
        assert!(all.stdout.contains(part), "{part}: {all}");
    }
    for (help, asked) in [
        (&["help", "exec"][..], &["exec", "--help"][..]),
        (
            &["help", "helper-image", "build"],
            &["helper-image", "build", "--help"],
        ),
    ] {
        let (help, asked) = (project.run(help), project.run(asked));
        assert_eq!(help.status, Some(0), "{help}");
        assert_eq!(help.stdout, asked.stdout);
    }
}

#[test]
fn a_topic_that_does_not_exist_is_told_with_the_nearest() {
    let project = Project::empty();
    let unknown = project.run(&["help", "servces"]);
    assert_eq!(unknown.status, Some(2), "{unknown}");
    assert!(
        unknown.stderr.contains("(did you mean `services`?)"),
        "{unknown}"
    );
    let two = project.run(&["help", "services", "exec"]);
    assert_eq!(two.status, Some(2), "{two}");
    assert!(two.stderr.contains("a topic stands alone"), "{two}");
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
