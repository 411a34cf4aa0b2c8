//! Where the sources come from, and in which state the build finds them.

mod support;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use serde_json::json;
use support::{NONROOT, Project, Ran, git};

/// A job that says what it finds, in an image that has git.
fn project(script: &[&str]) -> Project {
    Project::new(json!({"image": {"name": NONROOT}, "test": {"script": script}}))
}

fn lines(ran: &Ran) -> Vec<&str> {
    ran.succeeds();
    ran.build_output()
        .lines()
        .filter(|line| !line.starts_with("$ ") && *line != "Job succeeded")
        .collect()
}

#[test]
fn the_exact_commit_is_checked_out_and_the_checkout_is_not_written_to() {
    let project = project(&[
        "git rev-parse HEAD",
        "git status --porcelain",
        "cat new.txt",
        "git log --oneline | wc -l",
    ]);
    project.write("new.txt", "committed\n");
    project.commit();
    project.write("new.txt", "changed\n");
    project.write("untracked", "x");
    let before = snapshot(&project);
    let ran = project.exec("test");
    assert_eq!(
        lines(&ran),
        [
            project.git(&["rev-parse", "HEAD"]).as_str(),
            "committed",
            "2"
        ]
    );
    ran.says("WARNING: there are uncommitted changes and untracked files (untracked); the job tests the commit without them\n");
    assert_eq!(snapshot(&project), before);
}

#[test]
fn what_no_commit_has_is_named_before_a_run_without_it() {
    let project = project(&["ls"]);
    project.write("file", "committed");
    project.write(".gitignore", "*.log\n");
    project.commit();
    project.write("debug.log", "ignored");
    let warned = |arguments: &[&str]| {
        let ran = project.exec(arguments);
        ran.succeeds();
        let warnings = ran
            .stdout
            .lines()
            .filter(|line| line.starts_with("WARNING: "));
        warnings.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warned(&["test"]), [""; 0]);
    project.write("directory/new", "new");
    let one =
        "WARNING: there are untracked files (directory/); the job tests the commit without them";
    assert_eq!(warned(&["test"]), [one]);
    // The job file, which is read all the same.
    project.git(&["rm", "-q", "--cached", ".alloy-ci.json"]);
    project.git(&["commit", "-qm", "without a job file"]);
    for name in ["b", "c", "d"] {
        project.write(name, "new");
    }
    let many = "WARNING: there are untracked files (.alloy-ci.json, b, c and 2 more); the job tests the commit without them";
    assert_eq!(warned(&["test"]), [many]);
    assert_eq!(warned(&["--dirty", "test"]), [""; 0]);
}

/// Everything in the checkout, its git directory included, with times and modes.
fn snapshot(project: &Project) -> String {
    let find = ["find", ".", "-printf", "%p %m %U %s %T@ %C@\\n"];
    let ran = support::run(
        std::process::Command::new(find[0])
            .args(&find[1..])
            .current_dir(&project.directory),
    );
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn depth_strategy_and_checkout_do_what_they_say() {
    let project = project(&["git log --oneline | wc -l", "ls"]);
    for name in ["one", "two", "three"] {
        project.write(name, "");
        project.commit();
    }
    assert_eq!(
        lines(&project.exec("--env GIT_DEPTH=2 test")),
        ["2", "one", "three", "two"]
    );
    project
        .exec("--env GIT_CHECKOUT=false test")
        .says("\nSkipping Git checkout\n")
        .says_nothing_of("Checking out");
    project
        .exec("--env GIT_STRATEGY=none --env GET_SOURCES_ATTEMPTS=3 test")
        .fails(1)
        .says("\nSkipping Git repository setup\n")
        .says("\n0\n");
    // A builds directory of a clone lives as long as its job, so a fetch finds nothing and clones.
    let fetched = project.exec("--env GIT_STRATEGY=fetch test");
    assert_eq!(lines(&fetched), ["4", "one", "three", "two"]);
}

#[test]
fn branches_tags_and_detached_heads_have_their_names() {
    let project = project(&[
        "echo \"$CI_COMMIT_REF_NAME ${CI_COMMIT_TAG:-} ${CI_COMMIT_BRANCH:-}\"",
        "git tag",
        "git branch -r",
    ]);
    project.git(&["checkout", "-qb", "feature/x"]);
    let ran = project.exec("test");
    assert_eq!(
        lines(&ran),
        [
            "feature/x  feature/x",
            "  origin/feature/x",
            "  origin/master"
        ]
    );
    ran.says(" as feature/x...\n");
    project.git(&["tag", "-am", "first", "v1"]);
    project.git(&["checkout", "-q", "v1"]);
    assert_eq!(lines(&project.exec("test"))[..2], ["v1 v1 ", "v1"]);
}

#[test]
fn linked_worktrees_shallow_clones_and_borrowed_objects_work() {
    let project = project(&["git log --oneline | wc -l", "ls"]);
    project.write("two", "");
    project.commit();
    let url = format!("file://{}", project.directory.display());
    for (name, arguments) in [
        ("worktree", vec!["worktree", "add", "-q", "--detach"]),
        ("shallow", vec!["clone", "-q", "--depth", "1", &url]),
        ("shared", vec!["clone", "-q", "--shared", "."]),
    ] {
        let other = project.beside(name);
        project.git(&[&arguments[..], &[other.to_str().expect("UTF-8")]].concat());
        let mut command = project.command("exec test");
        let ran = support::run(command.current_dir(&other));
        let count = if name == "shallow" { "1" } else { "2" };
        assert_eq!(lines(&ran), [count, "two"], "{name}");
        remove_caches(&ran);
    }
}

/// A large checkout is as fast as a clone of it: its objects are copied as they are, loose and packed, no pack is made.
#[test]
fn a_job_owns_a_copy_of_the_checkouts_objects_and_no_pack_is_made_for_it() {
    let script = "unset GIT_TRACE; git fsck --full && git status --porcelain && git tag && git rev-list --count --all && \
        { cat .git/objects/info/alternates || ls -d .git/objects.*; } 2>/dev/null || find .git ! -type d ! -perm -444";
    let project = project(&[script]);
    project.write("packed", "packed\n");
    project.commit();
    project.git(&["tag", "packed"]);
    project.git(&["gc", "-q"]);
    project.write("loose", "loose\n");
    project.commit();
    for strategy in [
        "GIT_STRATEGY=clone",
        "GIT_STRATEGY=fetch",
        "GIT_STRATEGY=fetch",
    ] {
        let ran = project.exec(["--env", strategy, "--env", "GIT_TRACE=1", "test"]);
        assert_eq!(lines(&ran), ["packed", "3"], "{strategy}");
        let log = &ran.stdout;
        assert!(log.contains("git checkout"), "{ran}");
        for word in ["index-pack", "unpack-objects", "pack-objects"] {
            assert!(!log.contains(word), "{strategy}: {word}: {ran}");
        }
    }
    // Where git tidies up while objects are copied, what is missing is taken from what is there.
    let objects = project.directory.join(".git/objects");
    std::os::unix::fs::symlink("nowhere", objects.join("pack/pack-gone.idx")).expect("linked");
    let loose = project.git(&["rev-parse", "HEAD:loose"]);
    let (directory, file) = loose.split_at(2);
    let loose = objects.join(directory).join(file);
    let elsewhere = project.directory.join(".git/elsewhere");
    std::fs::rename(&loose, &elsewhere).expect("moved");
    std::os::unix::fs::symlink("../../elsewhere", &loose).expect("linked");
    assert_eq!(lines(&project.exec("test")), ["packed", "3"]);
}

/// Of a checkout that is not the test's first.
fn remove_caches(ran: &Ran) {
    let id = ran
        .stdout
        .split("-project-")
        .nth(1)
        .and_then(|rest| rest.split('-').next())
        .expect("an id");
    let filter = format!("name=-project-{id}-");
    for volume in support::docker(&["volume", "ls", "--quiet", "--filter", &filter]).lines() {
        support::docker(&["volume", "rm", volume]);
    }
}

#[test]
fn submodules_come_from_the_checkouts_own_clones() {
    let inner = Project::new(json!({"x": {"script": "x"}}));
    inner.write("inner.txt", "inner");
    inner.commit();
    let outer = Project::new(json!({"x": {"script": "x"}}));
    outer.git(&[
        "submodule",
        "--quiet",
        "add",
        inner.directory.to_str().expect("UTF-8"),
        "in",
    ]);
    outer.commit();
    let project = project(&[
        "ls sub/in 2>/dev/null || echo nothing",
        "git config remote.origin.url",
    ]);
    project.git(&[
        "remote",
        "add",
        "origin",
        "https://git.example.org/acme/site.git",
    ]);
    project.git(&[
        "submodule",
        "--quiet",
        "add",
        outer.directory.to_str().expect("UTF-8"),
        "sub",
    ]);
    project.git(&["submodule", "--quiet", "update", "--init", "--recursive"]);
    project.commit();
    let origin = "https://git.example.org/acme/site.git";
    assert_eq!(lines(&project.exec("test")), ["nothing", origin]);
    let normal = project.exec("--env GIT_SUBMODULE_STRATEGY=normal test");
    assert_eq!(
        lines(&normal),
        [origin],
        "the directory of the inner one is there, and empty: {normal}"
    );
    let recursive = project.exec("--env GIT_SUBMODULE_STRATEGY=recursive test");
    assert_eq!(lines(&recursive), ["inner.txt", origin], "{recursive}");
    let wrong = project.exec("--env GIT_SUBMODULE_STRATEGY=all test");
    assert_eq!(lines(&wrong), ["nothing", origin]);
    let warning = "WARNING: the variable GIT_SUBMODULE_STRATEGY is `all`; it can be none, normal, recursive: `none` is taken\n";
    wrong.says(warning);
}

#[test]
fn a_user_other_than_root_can_write_to_sources_and_caches_and_git_does_not_mind() {
    let script = [
        "id -un",
        "echo x >>.alloy-ci.json",
        "mkdir new && touch new/file ../beside /cache/$(id -u)",
        "git status --porcelain",
        "git -c user.name=B -c user.email=b@example.org commit -qam two && echo committed",
    ];
    let project = project(&script);
    let of_image = project.exec("test");
    let want = ["builder", " M .alloy-ci.json", "?? new/", "committed"];
    assert_eq!(lines(&of_image), want);
    let of_configuration = project.exec("--docker-user nobody test");
    assert_eq!(lines(&of_configuration)[1..], want[1..]);
}

#[test]
fn an_engine_without_our_files_gets_a_copy_of_the_repository() {
    let project = project(&["git rev-parse HEAD", "git status --porcelain", "ls"]);
    project.write("file", "");
    project.commit();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = format!("tcp://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for client in listener.incoming() {
            forward(client.expect("a client"));
        }
    });
    let ran = project.run(["-x", "exec", "--docker-host", &host, "test"]);
    assert_eq!(
        lines(&ran),
        [project.git(&["rev-parse", "HEAD"]).as_str(), "file"]
    );
    ran.not_on_stderr("type=bind").on_stderr(" cp -- ");
    assert!(
        ran.stderr
            .lines()
            .all(|line| !line.starts_with("docker ") || line.starts_with("docker --host tcp://")),
        "{ran}"
    );
}

/// Stands between a client of ours and the engine's socket, so that the engine has a TCP address.
fn forward(client: TcpStream) {
    let engine = UnixStream::connect("/var/run/docker.sock").expect("an engine");
    let (mut from_client, mut to_engine) = (
        client.try_clone().expect("cloned"),
        engine.try_clone().expect("cloned"),
    );
    thread::spawn(move || {
        drop(io::copy(&mut from_client, &mut to_engine));
        drop(to_engine.shutdown(std::net::Shutdown::Write));
    });
    let (mut client, mut engine) = (client, engine);
    thread::spawn(move || {
        drop(io::copy(&mut engine, &mut client));
        drop(client.shutdown(std::net::Shutdown::Both));
    });
}

#[test]
fn an_engine_that_only_seems_to_share_our_files_gets_a_copy_too() {
    let project = project(&["git rev-parse HEAD"]);
    let sha = project.git(&["rev-parse", "HEAD"]);
    let mut command = project.command("exec test");
    command
        .env("PATH", support::path_with(&support::fake_docker()))
        .env("DOCKER_FAKE", support::NO_BIND_SOURCE);
    assert_eq!(lines(&support::run(&mut command)), [sha.as_str()]);
    // The same path, but another repository: the copy is of one without the commit here.
    let script = project.exec("--dry-run test").stdout;
    let elsewhere = project.beside("elsewhere");
    std::fs::create_dir(&elsewhere).expect("created");
    git(&elsewhere, &["init", "-q", "--bare"]);
    let mounted = format!("source={}/.git", project.directory.display());
    assert!(script.contains(&mounted), "{script}");
    let script = script.replace(&mounted, &format!("source={}", elsewhere.display()));
    let ran = support::run(&mut support::shell("sh", &script));
    assert_eq!(lines(&ran), [sha.as_str()]);
}

#[test]
fn a_checkout_may_be_called_anything() {
    let project = project(&["echo here"]);
    let odd = project.beside("a, \"b\": $c 'd' [e]");
    project.git(&["clone", "-q", ".", odd.to_str().expect("UTF-8")]);
    let mut command = project.command("exec test");
    let ran = support::run(command.current_dir(&odd));
    assert_eq!(lines(&ran), ["here"]);
    let script = support::run(project.command("exec --dry-run test").current_dir(&odd)).stdout;
    assert_eq!(
        lines(&support::run(&mut support::shell("sh", &script))),
        ["here"]
    );
    remove_caches(&ran);
}

#[test]
fn modes_links_and_odd_names_come_through() {
    let project = Project::script([
        "./run.sh",
        "readlink link",
        "cat 'a b\n\"c'",
        "stat -c %a plain run.sh",
    ]);
    project.write("run.sh", "#!/bin/sh\necho ran\n");
    project.write("plain", "");
    project.write("a b\n\"c", "odd\n");
    std::os::unix::fs::symlink("plain", project.directory.join("link")).expect("linked");
    let run = project.directory.join("run.sh");
    std::fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("set");
    project.commit();
    assert_eq!(
        lines(&project.exec("test")),
        ["ran", "plain", "odd", "666", "777"]
    );
    drop(git(&project.directory, &["status"]));
}
