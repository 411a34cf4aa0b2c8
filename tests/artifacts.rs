//! Artifacts: what a job leaves for others, locally.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::{BUSYBOX, Project, run};

fn project() -> Project {
    Project::new(json!({"image": BUSYBOX, "stages": ["build", "test"],
            "make": {"stage": "build", "script": ["mkdir -p dist/empty; echo made >dist/a.txt; echo b >dist/b.o; ln -s a.txt dist/link; chmod 750 dist/a.txt"],
                      "artifacts": {"name": "$CI_JOB_NAME-$CI_COMMIT_REF_NAME", "paths": ["dist/*.txt", "dist/{empty,link}", "/etc/passwd"]}},
            "quiet": {"stage": "build", "script": ["true"], "artifacts": {"paths": ["nothing/"]}},
            "fails": {"stage": "build", "script": ["echo trace >core; exit 3"], "artifacts": {"paths": ["core"], "when": "on_failure"}},
            "always": {"stage": "build", "script": ["echo ${FAIL:-} >log; [ -z \"${FAIL:-}\" ]"], "artifacts": {"untracked": true, "when": "always"}},
            "slow": {"stage": "test", "script": ["echo >log; sleep 60"], "artifacts": {"paths": ["log"], "when": "always"}},
            "all": {"stage": "test", "script": ["cat dist/link; stat -c %a dist/a.txt; ls dist log"]},
            "one": {"stage": "test", "dependencies": ["always"], "script": ["ls -A"]},
            "none": {"stage": "test", "dependencies": [], "script": ["ls -A"]}}))
}

#[test]
fn later_stages_get_what_earlier_ones_leave() {
    let project = project();
    let made = project.exec("make");
    made.succeeds().says("\nUploading artifacts make-master.zip...\nWARNING: `/etc/passwd` is refused: it lies outside the project\n  2 files, 1 kB\nThe artifacts are in .alloy-ci/artifacts/make\n");
    let shown = project.directory.join(".alloy-ci/artifacts/make");
    let listed = run(Command::new("find")
        .args([".", "-printf", "%y %p %l\n"])
        .current_dir(&shown));
    let mut listed: Vec<&str> = listed.stdout.lines().map(str::trim_end).collect();
    listed.sort_unstable();
    let want = [
        "d .",
        "d ./dist",
        "d ./dist/empty",
        "f ./dist/a.txt",
        "l ./dist/link a.txt",
    ];
    assert_eq!(listed, want);
    let log = fs::read_to_string(shown.with_extension("log")).expect("there");
    assert_eq!(log, made.stdout);
    project.exec("always").succeeds();
    let all = project.exec("all");
    all.succeeds();
    let used = "\nUsing artifacts of make...\n  2 files, 1 kB\nWARNING: there are no artifacts of quiet here\nWARNING: there are no artifacts of fails here\nUsing artifacts of always...\n  1 file, 1 kB\n";
    all.says(used)
        .says("\nmade\n750\nlog\n\ndist:\na.txt\nempty\nlink\n");
    project.exec("one").succeeds().says("\n.git\nlog\n");
    let none = project.exec("none");
    none.succeeds()
        .ends("\n.alloy-ci.json\n.git\nJob succeeded\n");
    // What is kept makes no checkout look changed.
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    none.says_nothing_of("uncommitted");
}

#[test]
fn a_file_of_holes_is_left_out_and_costs_no_time() {
    let script = "truncate -s 15000G sparse; truncate -s 1M small; echo text >file";
    let files = json!({"paths": ["sparse", "small", "file"]});
    let project = Project::new(
        json!({"image": BUSYBOX, "make": {"script": [script], "artifacts": files,
            "cache": {"paths": ["sparse", "file"]}}}),
    );
    let made = project.exec("make");
    made.succeeds();
    let left_out = "WARNING: sparse is left out: it is sparse, and far longer than what of it is";
    made.says_times(2, left_out).says("\n  2 files, 1.0 MB\n");
}

#[test]
fn when_decides_after_which_end_they_are_kept() {
    let project = project();
    let kept = |job: &str| project.directory.join(".alloy-ci/artifacts").join(job);
    let failed = project.exec("fails");
    failed.fails(1).ends("\nUploading artifacts artifacts.zip...\n  1 file, 1 kB\nThe artifacts are in .alloy-ci/artifacts/fails\nERROR: Build failed: exit code 3\n");
    assert!(kept("fails/core").is_file());
    let failed = project.exec("--env FAIL=yes always");
    failed.fails(1);
    assert!(kept("always/log").is_file());
    let quiet = project.exec("quiet");
    quiet.succeeds().says("\nWARNING: nothing matches `nothing/`\nWARNING: there are no artifacts: nothing was selected\n");
    assert!(!kept("quiet").exists());
    let slow = project.exec("--timeout 3 slow");
    slow.ends("execution took longer than 3 s\n");
    assert!(kept("slow/log").is_file());
    for (job, ended) in [
        ("fails", "ERROR: Build failed: exit code 3"),
        ("quiet", "Job succeeded"),
        ("slow", "execution took longer than 3 s"),
    ] {
        let log = fs::read_to_string(kept(&format!("{job}.log"))).expect("there");
        assert!(log.trim_end().ends_with(ended), "{log}");
    }
}

#[test]
fn people_find_the_files_of_the_last_run_by_the_jobs_names() {
    let script =
        ["rm -f *.txt; touch $NAME.txt; chmod 4777 $NAME.txt; ln -s $PWD/x away; echo t0p-secret"];
    let job = json!({"script": script, "artifacts": {"paths": ["*.txt", "away"]}});
    let names = ["test: linux 1/2", "x/../../out", "größe", "log"];
    let mut file = json!({"image": BUSYBOX});
    for name in names {
        file[name] = job.clone();
    }
    let project = Project::new(&file);
    let shown = project.directory.join(".alloy-ci/artifacts");
    for run in ["first", "second"] {
        let name = format!("NAME={run}");
        let env = ["--env", &name, "--env-file", "secrets"];
        project.write("secrets", "TOKEN=t0p-secret\n");
        let ran = project.exec(env);
        ran.exits(0);
        let lost = "WARNING: away is left out: a link that leads out of the project, to /builds/";
        ran.says_times(4, lost);
        let want = ["größe", "log", "test: linux 1_2", "x_.._.._out"];
        for name in want {
            let files = names_in(&shown.join(name));
            assert_eq!(files, [format!("{run}.txt")], "{name}");
            let data = fs::metadata(shown.join(name).join(&files[0])).expect("there");
            assert_eq!(data.permissions().mode() & 0o7022, 0, "{name}");
            let log = fs::read_to_string(shown.join(format!("{name}.log"))).expect("there");
            assert!(
                log.contains("\n[MASKED]\n") && !log.contains("t0p-secret"),
                "{log}"
            );
            assert!(log.ends_with("\nJob succeeded\n"), "{log}");
        }
        let logs = want.map(|name| format!("{name}.log"));
        let mut all: Vec<_> = want.iter().map(ToString::to_string).chain(logs).collect();
        all.sort_unstable();
        assert_eq!(names_in(&shown), all);
    }
}

/// What is in a directory, hidden or not.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("readable");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("one").file_name();
    let names = entries.map(|entry| name(entry).to_string_lossy().into_owned());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn artifacts_that_are_damaged_or_lead_out_fail_the_job() {
    let project = project();
    project.exec("always").succeeds();
    let stores = fs::read_dir(project.beside("state/artifacts")).expect("readable");
    let stores: Vec<_> = stores.map(|store| store.expect("one").path()).collect();
    let [store] = &stores[..] else {
        panic!("{stores:?}")
    };
    let archive = store.join("jobs/always/artifacts.zip");
    assert!(archive.is_file());
    fs::write(archive, "no zip").expect("written");
    project
        .exec("one")
        .fails(3)
        .says("\nUsing artifacts of always...\nERROR: it is not a zip file, or damaged")
        .ends("\nERROR: Build failed (system failure): download artifacts failed with status 3\n");
}

#[test]
fn a_link_in_place_of_the_directory_is_not_followed() {
    let project = project();
    let outside = project.beside("outside");
    fs::create_dir(&outside).expect("made");
    std::os::unix::fs::symlink(&outside, project.directory.join(".alloy-ci")).expect("linked");
    project
        .exec("make")
        .fails(3)
        .says(".alloy-ci is no directory");
    assert_eq!(fs::read_dir(&outside).expect("readable").count(), 0);
}
