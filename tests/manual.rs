//! The manual, as `alloy-runner help` shows it.

mod support;

use std::fs;
use std::path::Path;

use regex_lite::Regex;
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

#[test]
fn man_pages_that_cannot_be_written_are_an_error() {
    let project = Project::without_engine();
    project.write("file", "");
    project
        .run("help --man file")
        .fails(3)
        .on_stderr("file/man1");
}

#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("a README");
    assert!(readme.len() <= 9000, "{}", readme.len());
    let link = Regex::new(r"\]\(([^)]+)\)").expect("a pattern");
    let links = link.captures_iter(&readme).map(|found| found[1].to_owned());
    let (elsewhere, here): (Vec<_>, Vec<_>) = links.partition(|link| link.starts_with("https://"));
    assert!(!elsewhere.is_empty() && here.len() > 15, "{here:?}");
    for path in here {
        assert!(root.join(&path).is_file(), "{path}");
    }
}

/// Messages that the program puts together out of parts, so that they are nowhere in its sources.
const OF_PARTS: &[&str] = &[
    "get sources failed with status 128",
    "… is not allowed; docker.allowed_images has: …",
    "…; somebody removed it, trying again",
];

#[test]
fn the_page_on_messages_quotes_what_the_program_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual/messages.md");
    let page = fs::read_to_string(page).expect("the page");
    let said = sources();
    // What begins a paragraph or a row is quoted; behind it are commands and settings.
    let quoted = Regex::new(r"(?s)(?:\n\n|\n\| |`, )`([^`]+)`").expect("a pattern");
    let varies = Regex::new(r"…|[0-9]+").expect("a pattern");
    let mut checked = 0;
    for found in quoted.captures_iter(&page) {
        let message = found[1].replace('\n', " ");
        if OF_PARTS.contains(&&*message) {
            continue;
        }
        for part in varies
            .split(&message)
            .map(|part| part.trim_matches([' ', ':', ';']))
        {
            assert!(said.contains(part), "{message}: {part}");
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

/// The sources of the program, with texts that go over several lines in one.
fn sources() -> String {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut text = String::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("readable");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|ending| ending != "md") {
            text += &fs::read_to_string(&path).expect("UTF-8");
        }
    }
    let broken = Regex::new(r"\\\n\s*").expect("a pattern");
    broken.replace_all(&text, "").into_owned()
}
