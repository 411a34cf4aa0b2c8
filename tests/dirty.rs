//! `exec --dirty`: what is in the working tree is tested, and nothing in the checkout changes.

mod support;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;
use support::{NONROOT, Project, Ran};

/// Says what is there: kind, mode, contents and name of every file, names as bytes.
const SHOW: &str = "find . -path ./.git -prune -o ! -type d ! -name .alloy-ci.json ! -name .git ! -name .gitmodules -print0 | sort -z | \
    while IFS= read -r -d '' path; do if [ -L \"$path\" ]; then printf 'link %s' \"$(readlink \"$path\")\"; \
    else printf '%s %s' \"$(stat -c %a \"$path\")\" \"$(cat \"$path\")\"; fi; printf ' %q\\n' \"$path\"; done";

fn project(script: &[&str]) -> Project {
    Project::new(json!({"image": NONROOT, "test": {"script": script}}))
}

fn shown(ran: &Ran) -> Vec<&str> {
    ran.succeeds();
    let lines = ran.build_output().lines();
    lines
        .filter(|line| !line.starts_with("$ ") && *line != "Job succeeded")
        .collect()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
}

/// What git says of a checkout, and everything that its git directory holds.
fn untouched(project: &Project) -> String {
    let status = project.git(&[
        "--no-optional-locks",
        "status",
        "--porcelain=v2",
        "--branch",
    ]);
    let find = ["find", ".git", "-printf", "%p %m %s %T@ %C@\\n"];
    let mut command = std::process::Command::new(find[0]);
    let ran = support::run(command.args(&find[1..]).current_dir(&project.directory));
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    format!("{status}\n{}", lines.join("\n"))
}

#[test]
fn what_is_in_the_working_tree_is_tested_and_the_checkout_stays_as_it_is() {
    let project = project(&[SHOW]);
    let directory = project.directory.clone();
    for path in [
        "same",
        "modified",
        "staged",
        "deleted",
        "gone/file",
        "executable",
        "plain",
        "dir/file",
        "file",
        "linked",
        "cached",
    ] {
        project.write(path, "committed");
    }
    project.write(".gitignore", "*.log\n");
    chmod(&directory.join("plain"), 0o755);
    project.commit();

    project.write("modified", "modified");
    project.write("staged", "staged");
    project.git(&["add", "staged"]);
    project.write("new", "new");
    project.write("deep/new/file", "new");
    project.write("ignored.log", "never");
    project.write("a b\n\"c'", "odd");
    fs::write(directory.join(OsStr::from_bytes(b"\xff\xfe")), "bytes").expect("written");
    fs::remove_file(directory.join("deleted")).expect("removed");
    fs::remove_dir_all(directory.join("gone")).expect("removed");
    chmod(&directory.join("executable"), 0o755);
    chmod(&directory.join("plain"), 0o644);
    // A directory in place of a file, and the other way round; a link in place of a file.
    fs::remove_dir_all(directory.join("dir")).expect("removed");
    project.write("dir", "file");
    fs::remove_file(directory.join("file")).expect("removed");
    project.write("file/inside", "inside");
    fs::remove_file(directory.join("linked")).expect("removed");
    symlink("modified", directory.join("linked")).expect("linked");
    symlink("nowhere", directory.join("--new link")).expect("linked");
    project.git(&["rm", "-q", "--cached", "cached"]);
    fs::create_dir(directory.join("empty")).expect("created");

    let before = untouched(&project);
    let ran = project.exec("--dirty test");
    let want = [
        "link nowhere ./--new\\ link",
        "666 *.log ./.gitignore",
        "666 odd $'./a b\\n\"c\\''",
        "666 committed ./cached",
        "666 new ./deep/new/file",
        "666 file ./dir",
        "777 committed ./executable",
        "666 inside ./file/inside",
        "link modified ./linked",
        "666 modified ./modified",
        "666 new ./new",
        "666 committed ./plain",
        "666 committed ./same",
        "666 staged ./staged",
        "666 bytes $'./\\377\\376'",
    ];
    assert_eq!(shown(&ran), want, "{ran}");
    ran.says("\nAdding uncommitted changes...\n")
        .says_nothing_of("WARNING");
    assert_eq!(untouched(&project), before);

    // From below, to an engine that does not see our files, over what an earlier run left, without a trace.
    let temporary = project.beside("temporary");
    fs::create_dir(&temporary).expect("created");
    let fetched = || {
        let arguments = ["exec", "--dirty", "--env", "GIT_STRATEGY=fetch", "test"];
        let mut command = project.command(arguments);
        command.current_dir(directory.join("deep"));
        command.env("PATH", support::path_with(&support::fake_docker()));
        command.env("DOCKER_FAKE", support::NO_BIND_SOURCE);
        support::run(command.env("TMPDIR", &temporary))
    };
    let ran = fetched();
    assert_eq!(shown(&ran), want, "{ran}");
    fs::remove_file(directory.join("new")).expect("removed");
    let ran = fetched();
    let without = want.into_iter().filter(|line| !line.ends_with(" ./new"));
    assert_eq!(shown(&ran), without.collect::<Vec<_>>(), "{ran}");
    let left = fs::read_dir(&temporary).expect("readable").count();
    assert_eq!(left, 0, "copies that are left");
}

#[test]
fn a_clean_checkout_is_tested_as_it_is_committed() {
    let project = project(&["git status --porcelain", "ls"]);
    let ran = project.exec("--dirty test");
    assert!(shown(&ran).is_empty(), "{ran}");
    ran.says_nothing_of("uncommitted");
    project.write("new", "");
    project
        .exec("--dirty --env GIT_CHECKOUT=false test")
        .says_nothing_of("Adding uncommitted");
    project.exec("--dirty --dry-run test").fails(2);
}

#[test]
fn submodules_come_as_they_are_where_the_job_wants_them() {
    let other = |name: &str| {
        let other = Project::new(json!({"x": {"script": "x"}}));
        other.write(name, "committed");
        other.write("changed", "committed");
        other.commit();
        other
    };
    let (inner, outer, added) = (other("inner"), other("outer"), other("added"));
    let add = |to: &Project, what: &Project, path: &str| {
        let from = what.directory.to_str().expect("UTF-8");
        to.git(&["submodule", "--quiet", "add", from, path]);
    };
    add(&outer, &inner, "in");
    outer.commit();
    let known = "grep -c path .gitmodules; grep -c gone .gitmodules || :";
    let project = project(&[known, SHOW]);
    for path in ["sub", "moved", "gone"] {
        add(&project, &outer, path);
    }
    project.git(&["submodule", "--quiet", "update", "--init", "--recursive"]);
    project.commit();

    let directory = &project.directory;
    project.write("sub/changed", "changed");
    project.write("sub/new", "new");
    fs::remove_file(directory.join("sub/outer")).expect("removed");
    project.write("sub/in/changed", "deep");
    project.write("moved/changed", "another commit");
    fs::remove_file(directory.join("moved/outer")).expect("removed");
    support::git(&directory.join("moved"), &["commit", "-qam", "another"]);
    project.write("moved/in/new", "new in moved");
    project.git(&["rm", "-q", "gone"]);
    add(&project, &added, "added");

    let before = untouched(&project);
    let nothing = project.exec("--dirty test");
    assert_eq!(
        shown(&nothing),
        ["3", "0"],
        "none of their files: {nothing}"
    );
    let of = |strategy: &str| {
        let ran = project.exec([
            "--dirty",
            "--env",
            &format!("GIT_SUBMODULE_STRATEGY={strategy}"),
            "test",
        ]);
        let lines = shown(&ran).into_iter().skip(2).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let normal = [
        "666 added ./added/added",
        "666 committed ./added/changed",
        "666 another commit ./moved/changed",
        "666 changed ./sub/changed",
        "666 new ./sub/new",
    ]
    .map(|line| line.replace("666 added", "666 committed"));
    assert_eq!(of("normal"), normal);
    let recursive = [
        "666 committed ./added/added",
        "666 committed ./added/changed",
        "666 another commit ./moved/changed",
        "666 committed ./moved/in/changed",
        "666 committed ./moved/in/inner",
        "666 new in moved ./moved/in/new",
        "666 changed ./sub/changed",
        "666 deep ./sub/in/changed",
        "666 committed ./sub/in/inner",
        "666 new ./sub/new",
    ];
    assert_eq!(of("recursive"), recursive);
    assert_eq!(untouched(&project), before);
}

#[test]
fn a_pipeline_tests_one_state_also_while_the_files_change() {
    let project = Project::new(
        json!({"image": NONROOT, "one": {"stage": "build", "script": ["cat file", "sleep 3"]},
            "two": {"script": "cat file"}}),
    );
    project.write("file", "before\n");
    let mut child = project.spawn("exec --dirty");
    let mut stdout = child.stdout.take().expect("piped");
    support::read_until(&mut stdout, "one | before\n");
    project.write("file", "after\n");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).expect("readable");
    assert_eq!(child.wait().expect("ended").code(), Some(0), "{rest}");
    assert!(rest.contains("two | before\n"), "{rest}");
}
