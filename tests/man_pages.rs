//! The man pages, as `man` shows them.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Project, Ran, run};

/// A man page on a terminal of 80 columns. Warnings of the formatter are on stderr.
fn man(page: &Path) -> Ran {
    let mut command = Command::new("man");
    command.args(["--warnings=w", "--local-file"]).arg(page);
    command.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8");
    run(command.env_remove("MANOPT"))
}

#[test]
fn man_pages_are_formatted_without_a_warning() {
    let project = Project::without_engine();
    project.run("help --man share/man").exits(0).is_quiet();
    let directory = project.directory.join("share/man");
    let mut pages: Vec<PathBuf> = Vec::new();
    for section in ["man1", "man7"] {
        let entries = fs::read_dir(directory.join(section)).expect("a section");
        pages.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    assert!(pages.len() > 25, "{pages:?}");
    for page in &pages {
        man(page).exits(0).is_quiet();
    }
    man(&directory.join("man1/alloy-runner-exec.1"))
        .says("- Run jobs of .alloy-ci.json")
        .says("\n       --docker-image <IMAGE>\n")
        .says("DOCKER_IMAGE")
        .says("\nEXIT STATUS\n       0      all jobs that count succeeded\n")
        .says("alloy-runner-job-file(7)");
    man(&directory.join("man7/alloy-runner-services.7")).says("-c 'select 1'");
    man(&directory.join("man7/alloy-runner-docker-settings.7")).says("Capabilities to add");
}
