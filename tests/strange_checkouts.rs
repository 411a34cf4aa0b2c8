//! A checkout that others made: nothing in it leads `exec` to files of the host that are none of its own.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use support::{BUSYBOX, Project, RUNNER, Ran, fake_docker, git, path_with, run};

const SECRET: &str = "what is private";

fn job_file() -> serde_json::Value {
    json!({"image": BUSYBOX, "stages": ["build", "test"],
        "build": {"stage": "build", "script": ["echo made >made"], "artifacts": {"paths": ["made"]}},
        "test": {"stage": "test", "script": ["cat * || true"]}})
}

/// Beside the checkout, a directory of the user's with something private in it, also as an archive.
fn project() -> Project {
    let project = Project::new(job_file());
    let private = project.beside("private");
    fs::create_dir(&private).expect("made");
    fs::write(private.join("letter"), SECRET).expect("written");
    run(Command::new("zip")
        .args(["-q", "letter.zip", "letter"])
        .current_dir(&private))
    .exits(0);
    project
}

fn project_without_engine() -> Project {
    let project = Project::without_engine();
    project.write(".alloy-ci.json", &job_file().to_string());
    project.commit();
    project
}

fn assert_private(ran: &Ran) {
    ran.says_nothing_of(SECRET).not_on_stderr(SECRET);
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
        let ran = project.exec("test");
        ran.succeeds();
        assert_private(&ran);
        ran.says("\nWARNING: there are no artifacts of build here\n");
    }
}

#[test]
fn what_people_find_is_written_behind_no_link_of_the_checkout() {
    let project = project();
    let private = project.beside("private");
    let shown = project.directory.join(".alloy-ci/artifacts");
    fs::create_dir_all(shown.join("deep")).expect("made");
    for (link, to) in [
        ("artifacts/build", ""),
        ("artifacts/build.log", "letter"),
        ("artifacts/.partial-0123456789abcdef", ""),
        ("artifacts/deep/link", ""),
        (".gitignore", "new"),
    ] {
        let link = project.directory.join(".alloy-ci").join(link);
        symlink(private.join(to), link).expect("linked");
    }
    commit_all(&project);
    let ran = project.exec("build");
    ran.succeeds();
    assert_private(&ran);
    let mut left = fs::read_dir(&private).expect("readable");
    assert_eq!(left.by_ref().count(), 2, "the letter and its archive");
    let letter = fs::read_to_string(private.join("letter"));
    assert_eq!(letter.expect("there"), SECRET);
    let made = fs::read_to_string(shown.join("build/made"));
    assert_eq!(made.expect("there"), "made\n");
    let log = fs::read_to_string(shown.join("build.log")).expect("there");
    assert_eq!(log, ran.stdout);
    assert!(
        fs::symlink_metadata(shown.join("build.log"))
            .expect("there")
            .is_file()
    );
}

#[test]
fn artifacts_go_with_the_checkout_that_they_are_of() {
    let project = project();
    project.exec("build").succeeds();
    project.exec("test").succeeds().says("\nmade\n");
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
    project
        .exec("test")
        .succeeds()
        .says("\nWARNING: there are no artifacts of build here\n");
    assert_eq!(stores(), 0, "what nothing leads to any more is removed");
}

/// A repository of the user's that the checkout has nothing to do with.
fn private_repository(project: &Project) -> PathBuf {
    let private = project.beside("private");
    git(&private, &["init", "-q", "-b", "master"]);
    fs::copy(
        project.directory.join(".alloy-ci.json"),
        private.join(".alloy-ci.json"),
    )
    .expect("copied");
    git(&private, &["add", "-A"]);
    git(&private, &["commit", "-qm", "private"]);
    private
}

fn assert_refused(project: &Project, arguments: &[&str], message: &str) {
    let ran = project.exec(arguments);
    ran.fails(2).on_stderr(message);
    assert_private(&ran);
}

#[test]
fn a_repository_that_knows_nothing_of_the_checkout_is_not_read() {
    let plants: [fn(&Project, &Path); 4] = [
        |project, private| {
            fs::remove_dir_all(project.directory.join(".git")).expect("removed");
            let text = format!("gitdir: {}\n", private.join(".git").display());
            project.write(".git", &text);
        },
        |project, private| {
            fs::remove_dir_all(project.directory.join(".git")).expect("removed");
            symlink(private.join(".git"), project.directory.join(".git")).expect("linked");
        },
        |project, private| {
            let text = format!("{}\n", private.join(".git").display());
            project.write(".git/commondir", &text);
        },
        |project, private| {
            let private = private.to_str().expect("UTF-8");
            project.git(&["config", "core.worktree", private]);
        },
    ];
    for plant in plants {
        let project = project();
        let private = private_repository(&project);
        plant(&project, &private);
        for arguments in [&["test"][..], &["--dirty", "test"]] {
            assert_refused(&project, arguments, "do not name each other");
        }
        // Nothing ran, and nothing would that asks what is left of it.
        fs::remove_file(project.directory.join(".alloy-ci.json")).expect("removed");
    }
}

#[test]
fn a_repository_elsewhere_that_names_the_checkout_is_its_own() {
    let project = project();
    let elsewhere = project.beside("elsewhere");
    fs::rename(project.directory.join(".git"), &elsewhere).expect("moved");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    project.write(".git", &format!("gitdir: {elsewhere}\n"));
    let top = project.directory.display().to_string();
    let advice = format!("git --git-dir={elsewhere} config alloy-ci.checkout {top}");
    assert_refused(&project, &["test"], &advice);
    git(
        project.root(),
        &["--git-dir", elsewhere, "config", "alloy-ci.checkout", &top],
    );
    project.exec("test").succeeds();
}

#[test]
fn objects_are_borrowed_from_object_directories_only() {
    let project = project();
    for (path, what) in [
        ("../../../private", "is no object directory of git"),
        ("/etc", "is no object directory of git"),
        ("..", "is no object directory of git"),
    ] {
        project.write(".git/objects/info/alternates", &format!("{path}\n"));
        let message = format!("info/alternates: {path} {what}");
        assert_refused(&project, &["test"], &message);
        assert_refused(&project, &["--dry-run", "test"], &message);
    }
    // What is not there any more, git passes over, too.
    project.write(".git/objects/info/alternates", "/nowhere/objects\n");
    project
        .exec("test")
        .succeeds()
        .on_stderr("/nowhere/objects is not there");
}

#[test]
fn no_program_that_its_settings_name_runs_on_the_host() {
    let project = project();
    let mark = project.beside("mark");
    let program = format!("touch {}; cat", mark.display());
    for key in ["clean", "smudge", "process"] {
        project.git(&["config", &format!("filter.planted.{key}"), &program]);
    }
    project.git(&["config", "core.fsmonitor", &program]);
    project.write(".git/info/attributes", "* filter=planted\n");
    // Whether this has changed, only its contents say.
    let text = fs::read_to_string(project.directory.join(".alloy-ci.json")).expect("there");
    project.write(".alloy-ci.json", &text);
    for arguments in [&["test"][..], &["--dirty", "test"], &["--list"]] {
        let ran = project.exec(arguments);
        ran.exits(0);
        assert!(!mark.exists(), "{ran}");
    }
}

/// Runs `exec --dirty` with little memory, and not for long. No docker is needed for what it reads.
fn soon(project: &Project) -> Ran {
    let record = project.beside("record");
    fs::create_dir_all(&record).expect("made");
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -v 4000000; exec timeout 20 \"$@\"",
            "sh",
            RUNNER,
        ])
        .args(["exec", "--dirty", "test"])
        .current_dir(&project.directory)
        .env("ALLOY_RUNNER_STATE_DIR", project.beside("state"))
        .env("PATH", path_with(&fake_docker().join("recorder")))
        .env("DOCKER_RECORD", record);
    run(&mut command)
}

/// git waits at a pipe until there is a writer, and reads a device to its end, which some devices do not have.
#[test]
fn files_of_git_that_are_pipes_or_devices_are_refused_at_once() {
    const READ: &[&str] = &[
        "HEAD",
        "commondir",
        "config",
        "config.worktree",
        "gitdir",
        "index",
        "info/attributes",
        "info/exclude",
        "objects/info/alternates",
        "packed-refs",
        "refs/heads/master",
        "refs/tags/x",
        "shallow",
    ];
    let mut plants: Vec<(String, &str)> = Vec::new();
    for file in READ {
        let way = format!("cd .git; mkdir -p $(dirname {file}); rm -f {file}");
        plants.push((format!("{way}; mkfifo {file}"), "is a pipe"));
        plants.push((format!("{way}; ln -s /dev/zero {file}"), "is a device"));
    }
    for file in ["index", "packed-refs", "config"] {
        plants.push((
            format!("rm -f .git/{file}; truncate -s 1T .git/{file}"),
            "bytes, and of such a file no more than",
        ));
    }
    for plant in [
        "o=.git/objects/$(git rev-parse HEAD | sed 's,^..,&/,'); rm -f $o; mkfifo $o",
        "git gc -q; for i in .git/objects/pack/*.idx; do rm -f $i; mkfifo $i; done",
        "mkdir -p a/objects/pack; mkfifo a/objects/pack/pack-0123456789012345678901234567890123456789.idx
         echo $PWD/a/objects >.git/objects/info/alternates",
        "mkdir -p n; git init -q n; rm n/.git/HEAD; mkfifo n/.git/HEAD",
    ] {
        plants.push((plant.to_owned(), "is a pipe"));
    }
    for (plant, said) in &plants {
        let project = project_without_engine();
        shell_in(&project, plant);
        let dirty = soon(&project);
        assert_eq!(dirty.status, Some(2), "{plant}: {dirty}");
        assert!(dirty.stderr.contains(said), "{plant}: {dirty}");
    }
}

/// The same of files in the working tree by which git reads others, and of what settings name.
#[test]
fn what_says_how_git_reads_a_tree_is_a_plain_file() {
    for plant in [
        "mkfifo .gitignore",
        "mkfifo .gitattributes",
        "mkdir new; touch new/file; mkfifo new/.gitignore",
        "mkdir new; touch new/file; mkfifo new/.gitattributes",
        "truncate -s 1T .gitignore",
    ] {
        let project = project_without_engine();
        shell_in(&project, plant);
        let ran = soon(&project);
        assert_eq!(ran.status, Some(2), "{plant}: {ran}");
        assert!(ran.stderr.contains(".git"), "{plant}: {ran}");
    }
    // What settings name elsewhere is not read; a link that git does not follow is none of these files.
    for (plant, said) in [
        (
            "truncate -s 1T ../large; git config include.path $PWD/../large",
            "are not read",
        ),
        ("git config include.path /dev/zero", "are not read"),
        (
            "git config core.excludesFile /dev/zero",
            "core.excludesFile: /dev/zero is a device",
        ),
        (
            "mkfifo ../pipe; git config core.attributesFile $PWD/../pipe",
            "pipe is a pipe",
        ),
        ("git config core.excludesFile /dev/null", ""),
        ("ln -s /dev/zero .gitignore", ""),
        ("mkdir new; mkfifo new/HEAD", ""),
    ] {
        let project = project_without_engine();
        shell_in(&project, plant);
        let ran = soon(&project);
        assert_eq!(ran.status, Some(0), "{plant}: {ran}");
        assert!(ran.stderr.contains(said), "{plant}: {ran}");
    }
}

fn shell_in(project: &Project, text: &str) {
    let made = run(Command::new("sh")
        .args(["-ec", text])
        .current_dir(&project.directory));
    assert_eq!(made.status, Some(0), "{text}: {made}");
}

#[test]
fn dirty_copies_nothing_from_behind_a_link() {
    let project = project();
    let private = private_repository(&project);
    let head = project.git(&["rev-parse", "HEAD"]);
    for (path, private) in [("sub", &private), ("inner/sub", &private)] {
        let entry = format!("160000,{head},{path}");
        project.git(&["update-index", "--add", "--cacheinfo", &entry]);
        let link = project.directory.join(path);
        fs::create_dir_all(link.parent().expect("a parent")).expect("made");
        symlink(private, link).expect("linked");
    }
    project.write(".git/info/exclude", "sub\n");
    project.git(&["commit", "-qm", "submodules"]);
    fs::create_dir(project.directory.join("tracked")).expect("made");
    project.write("tracked/letter", "mine");
    project.git(&["add", "tracked/letter"]);
    fs::remove_dir_all(project.directory.join("tracked")).expect("removed");
    symlink(&private, project.directory.join("tracked")).expect("linked");
    let script = "find . -type f | grep -v /.git/ | xargs cat; find . -name letter";
    let file = json!({"image": BUSYBOX, "test": {"script": [script]}});
    project.write(".alloy-ci.json", &file.to_string());
    let ran = project.exec("--dirty test");
    ran.succeeds();
    assert_private(&ran);
    assert!(!ran.build_output().contains("letter\n./"), "{ran}");
}

#[test]
fn a_submodule_with_the_repository_of_another_directory_is_refused() {
    let project = project();
    let private = private_repository(&project);
    let head = project.git(&["rev-parse", "HEAD"]);
    let entry = format!("160000,{head},sub");
    project.git(&["update-index", "--add", "--cacheinfo", &entry]);
    project.git(&["commit", "-qm", "a submodule"]);
    let text = format!("gitdir: {}\n", private.join(".git").display());
    project.write("sub/.git", &text);
    assert_refused(&project, &["--dirty", "test"], "do not name each other");
    fs::remove_file(project.directory.join("sub/.git")).expect("removed");
    git(&project.directory.join("sub"), &["init", "-q"]);
    let private = private.to_str().expect("UTF-8");
    git(
        &project.directory.join("sub"),
        &["config", "core.worktree", private],
    );
    assert_refused(&project, &["--dirty", "test"], "do not name each other");
}

#[test]
fn a_job_file_is_a_file() {
    let project = project();
    let file = project.directory.join(".alloy-ci.json");
    fs::remove_file(&file).expect("removed");
    let private = project.beside("private/settings.json");
    fs::write(&private, format!("{{\"{SECRET}\": 1}}")).expect("written");
    symlink(&private, &file).expect("linked");
    for arguments in [&["test"][..], &["--list"]] {
        assert_refused(&project, arguments, ".alloy-ci.json is a link");
    }
    fs::remove_file(&file).expect("removed");
    run(Command::new("mkfifo").arg(&file)).exits(0);
    assert_refused(&project, &["test"], "there is no .alloy-ci.json");
    fs::remove_file(&file).expect("removed");
}

#[test]
fn what_a_job_file_says_makes_no_line_of_its_own_and_leads_no_terminal() {
    let key = "key\n[2026-01-01T00:00:00Z ERROR] forged\u{1b}]52;c;ZXZpbA==\u{7}\u{9b}2J";
    let project = Project::empty();
    let file = json!({"image": BUSYBOX, "test": {"script": "true", key: 1}});
    project.write("job.json", &file.to_string());
    let ran = project.exec("--file job.json --list");
    ran.exits(0).on_stderr("job.json:1:62: test.key\\n[2026");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!ran.stderr.contains(control), "{ran}");
    ran.not_on_stderr("\n[2026-01-01");
}

/// An index that no git makes.
#[test]
fn dirty_copies_and_empties_nothing_that_an_index_names_outside() {
    for case in 0..3 {
        let project = Project::script(["true"]);
        let victim = project.beside("victim");
        fs::write(&victim, "of the user\n").expect("written");
        // Of one length.
        let absolute = victim.display().to_string();
        let (place, leads) = match case {
            0 => ("xx/victim".to_owned(), "../victim".to_owned()),
            1 => ("xxxx/config".to_owned(), ".git/config".to_owned()),
            _ => (absolute.replacen('/', "x", 1), absolute),
        };
        project.write(&place, "text\n");
        project.git(&["add", &place]);
        project.git(&["update-index", "--skip-worktree", &place]);
        let index = project.directory.join(".git/index");
        let mut bytes = fs::read(&index).expect("there");
        let name = place.as_bytes();
        let at = bytes
            .windows(name.len())
            .position(|window| window == name)
            .expect("named");
        bytes[at..at + name.len()].copy_from_slice(leads.as_bytes());
        let length = bytes.len() - 20;
        fs::write(&index, &bytes[..length]).expect("written");
        let sum = run(Command::new("sha1sum").arg(&index)).stdout;
        bytes.truncate(length);
        bytes.extend((0..20).map(|n| u8::from_str_radix(&sum[2 * n..2 * n + 2], 16).expect("hex")));
        fs::write(&index, &bytes).expect("written");
        let config = project.directory.join(".git/config");
        let before = fs::read(&config).expect("there");
        let ran = project.exec("--dirty test");
        ran.fails(2);
        assert!(
            ran.stderr.contains("is no path in it") || ran.stderr.contains("index"),
            "{ran}"
        );
        assert_eq!(fs::read(&victim).expect("there"), b"of the user\n");
        assert_eq!(fs::read(&config).expect("there"), before);
    }
}
