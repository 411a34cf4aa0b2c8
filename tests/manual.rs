//! The manual, as `alloy-runner help` shows it.

mod support;

use support::{Project, run};

#[test]
fn a_page_goes_into_a_pipe_as_it_is() {
    let project = Project::without_engine();
    let mut command = project.command("help services");
    // What a pager would do shows.
    run(command.env("PAGER", "echo paged"))
        .exits(0)
        .begins("# Services\n")
        .is_quiet();
}

#[test]
fn help_lists_the_topics_beside_the_commands_and_shows_the_help_of_a_command() {
    let project = Project::without_engine();
    let all = project.run("help");
    all.exits(0);
    for part in ["\n  exec ", "\n  job-file ", "\n  security "] {
        all.says(part);
    }
    for (help, asked) in [
        (&["help", "exec"][..], &["exec", "--help"][..]),
        (
            &["help", "helper-image", "build"],
            &["helper-image", "build", "--help"],
        ),
    ] {
        let (help, asked) = (project.run(help), project.run(asked));
        help.exits(0);
        assert_eq!(help.stdout, asked.stdout);
    }
}

#[test]
fn a_topic_that_does_not_exist_is_told_with_the_nearest() {
    let project = Project::without_engine();
    project
        .run("help servces")
        .fails(2)
        .on_stderr("(did you mean `services`?)");
    project
        .run("help services exec")
        .fails(2)
        .on_stderr("a topic stands alone");
}
