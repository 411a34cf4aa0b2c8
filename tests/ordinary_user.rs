//! What an ordinary user of docker's group finds: a checkout, a home and temporary files of the user's own, in the
//! environment that such a one has.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::user::User;
use support::{BUSYBOX, NONROOT, Project, Ran, run};

/// Removes the caches of a checkout that is not the test's first.
fn remove_caches(ran: &Ran) {
    let id = ran.stdout.split("-project-").nth(1);
    let id = id.and_then(|rest| rest.split('-').next()).expect("an id");
    support::assert_nothing_left(id);
}

/// A checkout with a submodule in a submodule, and a job that lists what it finds.
fn with_submodules() -> Project {
    let job_file = json!({"image": NONROOT, "variables": {"GIT_SUBMODULE_STRATEGY": "recursive"},
        "test": {"script": ["git rev-parse HEAD", "cat file sub/file sub/in/file", "git config remote.origin.url"]}});
    let project = Project::new(&job_file);
    for name in ["in", "sub", "site"] {
        let directory = project.beside(name);
        fs::create_dir_all(&directory).expect("made");
        support::git(&directory, &["init", "-q", "-b", "master"]);
        fs::write(directory.join("file"), format!("{name}\n")).expect("written");
        let inner = match name {
            "sub" => Some("in"),
            "site" => Some("sub"),
            _ => None,
        };
        if let Some(inner) = inner {
            let from = project.beside(inner).display().to_string();
            support::git(&directory, &["submodule", "--quiet", "add", &from, inner]);
        }
        support::git(&directory, &["add", "-A"]);
        support::git(&directory, &["commit", "-qm", "files"]);
    }
    project.git(&["submodule", "--quiet", "update", "--init", "--recursive"]);
    project
}

#[test]
fn checkouts_that_root_does_not_own_are_fetched() {
    let project = with_submodules();
    let top = project.directory.clone();
    let url = format!("file://{}", top.display());
    let [worktree, shallow, shared] =
        ["worktree", "shallow", "shared"].map(|name| project.beside(name));
    let text = |path: &Path| path.display().to_string();
    project.git(&["worktree", "add", "-q", "--detach", &text(&worktree)]);
    for (how, from, to) in [
        ("--depth=1", &url, &shallow),
        ("--shared", &text(&top), &shared),
    ] {
        project.git(&["clone", "-q", "--recursive", how, from, &text(to)]);
    }
    project.git(&[
        "remote",
        "add",
        "origin",
        "https://git.example.org/acme/site.git",
    ]);
    let sha = project.git(&["rev-parse", "HEAD"]);
    let user = User::who_owns(&project);
    let by_root = |directory: &Path| {
        let mut command = project.command("exec test");
        command.current_dir(directory);
        command
    };
    let by_user = |directory: &Path| user.runner(directory, &["exec", "test"]);
    let without_our_files = |mut command: Command| {
        command
            .env("PATH", support::path_with(&support::fake_docker()))
            .env("DOCKER_FAKE", support::NO_BIND_SOURCE);
        command
    };
    for (directory, mut command) in [
        (&top, by_root(&top)),
        (&top, by_user(&top)),
        (&top, without_our_files(by_user(&top))),
        (&worktree, by_root(&worktree)),
        (&shallow, by_user(&shallow)),
        (&shared, without_our_files(by_root(&shared))),
    ] {
        let ran = run(&mut command);
        ran.succeeds()
            .says(format!("\n{sha}\n"))
            .says("\nsite\nsub\nin\n")
            .says_nothing_of("WARNING");
        if directory == &top {
            let origin = "\nhttps://git.example.org/acme/site.git\n";
            ran.says(origin);
        } else {
            remove_caches(&ran);
        }
    }
    assert_eq!(user.temporary_files(), [""; 0]);
}

#[test]
fn a_dirty_checkout_that_root_does_not_own_is_tested_as_it_is() {
    let project = with_submodules();
    project.write("file", "changed\n");
    project.write("sub/in/file", "changed deep\n");
    let user = User::who_owns(&project);
    let by_root = project.command("exec --dirty test");
    let by_user = user.runner(&project.directory, &["exec", "--dirty", "test"]);
    for mut command in [by_root, by_user] {
        run(&mut command)
            .succeeds()
            .says("\nchanged\nsub\nchanged deep\n");
    }
    assert_eq!(user.temporary_files(), [""; 0]);
}

#[test]
fn artifacts_are_the_users_own_files() {
    let script = ["mkdir -m 700 d; echo made >d/file; chmod 0 d/file; chown -R 4242 d"];
    let job = json!({"image": BUSYBOX, "stages": ["build", "test"],
        "build": {"stage": "build", "script": script, "artifacts": {"paths": ["d"]}},
        "test": {"stage": "test", "script": ["stat -c '%u %a' d/file"]}});
    let project = Project::new(&job);
    let user = User::who_owns(&project);
    // The second run removes what the first one left.
    for _ in 0..2 {
        run(&mut user.runner(&project.directory, &["exec"]))
            .exits(0)
            .says("| 4242 0\ntest  | Job");
    }
    let shown = project.directory.join(".alloy-ci");
    let found = run(Command::new("find")
        .arg(&shown)
        .args(["-printf", "%P %U %m\n"]));
    let mut found: Vec<&str> = found.stdout.lines().map(str::trim).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ".gitignore 1000 644",
            "1000 755",
            "artifacts 1000 755",
            "artifacts/build 1000 755",
            "artifacts/build.log 1000 644",
            "artifacts/build/d 1000 755",
            "artifacts/build/d/file 1000 600",
        ]
    );
    assert_eq!(user.git(&project.directory, &["status", "--porcelain"]), "");
    assert_eq!(user.temporary_files(), [""; 0]);
}
