//! A checkout that others made: nothing in it leads `exec` to files of the host that are none of its own.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::{BUSYBOX, Project, Ran, run};

const SECRET: &str = "what is private";

/// Beside the checkout, a directory of the user's with something private in it, also as an archive.
fn project() -> Project {
    let project = Project::new(
        &json!({"image": BUSYBOX, "stages": ["build", "test"],
            "build": {"stage": "build", "script": ["echo made >made"], "artifacts": {"paths": ["made"]}},
            "test": {"stage": "test", "script": ["cat * || true"]}})
        .to_string(),
    );
    let private = project.beside("private");
    fs::create_dir(&private).expect("made");
    fs::write(private.join("letter"), SECRET).expect("written");
    let zipped = run(Command::new("zip")
        .args(["-q", "letter.zip", "letter"])
        .current_dir(&private));
    assert_eq!(zipped.status, Some(0), "{zipped}");
    project
}

fn assert_private(ran: &Ran) {
    assert!(!ran.stdout.contains(SECRET), "{ran}");
    assert!(!ran.stderr.contains(SECRET), "{ran}");
}

/// Commits what is there, also what git takes no notice of.
fn commit_all(project: &Project) {
    project.git(&["add", "-Af"]);
    project.git(&["commit", "-qm", "planted"]);
}

#[test]
fn artifacts_are_what_jobs_left_and_not_what_lies_there() {
    for plant in [
        |project: &Project, kept: &Path| {
            symlink(project.beside("private/letter.zip"), kept.join("a.zip"))
        },
        |project: &Project, kept: &Path| {
            fs::copy(project.beside("private/letter.zip"), kept.join("a.zip")).map(|_| ())
        },
        |project: &Project, kept: &Path| {
            fs::remove_dir(kept).and_then(|()| symlink(project.beside("private"), kept))
        },
    ] {
        let project = project();
        let kept = project.directory.join(".alloy-ci/artifacts/build");
        fs::create_dir_all(&kept).expect("made");
        plant(&project, &kept).expect("planted");
        commit_all(&project);
        let ran = project.exec(&["test"]);
        ran.assert_success();
        assert_private(&ran);
        assert!(
            ran.stdout
                .contains("\nWARNING: there are no artifacts of build here\n"),
            "{ran}"
        );
    }
}

#[test]
fn artifacts_go_with_the_checkout_that_they_are_of() {
    let project = project();
    project.exec(&["build"]).assert_success();
    let ran = project.exec(&["test"]);
    ran.assert_success();
    assert!(ran.stdout.contains("\nmade\n"), "{ran}");
    let stores = || {
        let all = fs::read_dir(project.beside("state/artifacts")).expect("readable");
        all.count()
    };
    assert_eq!(stores(), 1);
    // Another checkout in the same place.
    fs::rename(&project.directory, project.beside("before")).expect("moved");
    fs::create_dir(&project.directory).expect("made");
    for file in [".git", ".alloy-ci.json"] {
        let from = project.beside("before").join(file);
        fs::rename(from, project.directory.join(file)).expect("moved");
    }
    let ran = project.exec(&["test"]);
    ran.assert_success();
    assert!(
        ran.stdout
            .contains("\nWARNING: there are no artifacts of build here\n"),
        "{ran}"
    );
    assert_eq!(stores(), 0, "what nothing leads to any more is removed");
}
