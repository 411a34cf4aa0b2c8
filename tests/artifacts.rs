//! Artifacts: what a job leaves for others, locally.

mod support;

use std::fs;
use std::process::Command;

use serde_json::json;
use support::{BUSYBOX, Project, run};

fn project() -> Project {
    Project::new(
        &json!({"image": BUSYBOX, "stages": ["build", "test"],
            "make": {"stage": "build", "script": ["mkdir -p dist/empty; echo made >dist/a.txt; echo b >dist/b.o; ln -s a.txt dist/link; chmod 750 dist/a.txt"],
                      "artifacts": {"name": "$CI_JOB_NAME-$CI_COMMIT_REF_NAME", "paths": ["dist/*.txt", "dist/{empty,link}", "/etc/passwd"]}},
            "quiet": {"stage": "build", "script": ["true"], "artifacts": {"paths": ["nothing/"]}},
            "fails": {"stage": "build", "script": ["echo trace >core; exit 3"], "artifacts": {"paths": ["core"], "when": "on_failure"}},
            "always": {"stage": "build", "script": ["echo ${FAIL:-} >log; [ -z \"${FAIL:-}\" ]"], "artifacts": {"untracked": true, "when": "always"}},
            "slow": {"stage": "test", "script": ["echo >log; sleep 60"], "artifacts": {"paths": ["log"], "when": "always"}},
            "all": {"stage": "test", "script": ["cat dist/link; stat -c %a dist/a.txt; ls dist log"]},
            "one": {"stage": "test", "dependencies": ["always"], "script": ["ls -A"]},
            "none": {"stage": "test", "dependencies": [], "script": ["ls -A"]}})
        .to_string(),
    )
}

#[test]
fn later_stages_get_what_earlier_ones_leave() {
    let project = project();
    let made = project.exec(&["make"]);
    made.assert_success();
    assert!(
        made.stdout.contains(
            "\nUploading artifacts make-master.zip...\nWARNING: `/etc/passwd` is refused: it lies outside the project\n  2 files, 1 kB\n"
        ),
        "{made}"
    );
    let archive = project
        .directory
        .join(".alloy-ci/artifacts/make/make-master.zip");
    let listed = run(Command::new("unzip").arg("-Z1").arg(&archive));
    assert_eq!(
        listed.stdout, "dist/\ndist/a.txt\ndist/empty/\ndist/link\n",
        "{listed}"
    );
    project.exec(&["always"]).assert_success();
    let all = project.exec(&["all"]);
    all.assert_success();
    let used = "\nUsing artifacts of make...\n  2 files, 1 kB\nWARNING: there are no artifacts of quiet here\nWARNING: there are no artifacts of fails here\nUsing artifacts of always...\n  1 file, 1 kB\n";
    assert!(all.stdout.contains(used), "{all}");
    assert!(
        all.stdout
            .contains("\nmade\n750\nlog\n\ndist:\na.txt\nempty\nlink\n"),
        "{all}"
    );
    let one = project.exec(&["one"]);
    assert!(
        one.assert_success().stdout.contains("\n.git\nlog\n"),
        "{one}"
    );
    let none = project.exec(&["none"]);
    assert!(
        none.assert_success()
            .stdout
            .ends_with("\n.alloy-ci.json\n.git\nJob succeeded\n"),
        "{none}"
    );
    // What is kept makes no checkout look changed.
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    assert!(!none.stdout.contains("uncommitted"), "{none}");
}

#[test]
fn a_file_of_holes_is_left_out_and_costs_no_time() {
    let script = "truncate -s 15000G sparse; truncate -s 1M small; echo text >file";
    let files = json!({"paths": ["sparse", "small", "file"]});
    let project = Project::new(
        &json!({"image": BUSYBOX, "make": {"script": [script], "artifacts": files,
            "cache": {"paths": ["sparse", "file"]}}})
        .to_string(),
    );
    let made = project.exec(&["make"]);
    made.assert_success();
    let left_out = "WARNING: sparse is left out: it is sparse, and far longer than what of it is";
    assert_eq!(made.stdout.matches(left_out).count(), 2, "{made}");
    assert!(made.stdout.contains("\n  2 files, 1.0 MB\n"), "{made}");
}

#[test]
fn when_decides_after_which_end_they_are_kept() {
    let project = project();
    let kept = |job: &str| {
        project
            .directory
            .join(".alloy-ci/artifacts")
            .join(job)
            .join("artifacts.zip")
    };
    let failed = project.exec(&["fails"]);
    assert_eq!(failed.status, Some(1), "{failed}");
    assert!(failed.stdout.ends_with("\nUploading artifacts artifacts.zip...\n  1 file, 1 kB\nERROR: Build failed: exit code 3\n"), "{failed}");
    assert!(kept("fails").is_file());
    let failed = project.exec(&["--env", "FAIL=yes", "always"]);
    assert_eq!(failed.status, Some(1), "{failed}");
    assert!(kept("always").is_file());
    let quiet = project.exec(&["quiet"]);
    quiet.assert_success();
    assert!(quiet.stdout.contains("\nWARNING: nothing matches `nothing/`\nWARNING: there are no artifacts: nothing was selected\n"), "{quiet}");
    assert!(!kept("quiet").exists());
    let slow = project.exec(&["--timeout", "3", "slow"]);
    assert!(
        slow.stdout.ends_with("execution took longer than 3 s\n"),
        "{slow}"
    );
    assert!(kept("slow").is_file());
}

#[test]
fn artifacts_that_are_damaged_or_lead_out_fail_the_job() {
    let project = project();
    project.exec(&["always"]).assert_success();
    let stores = fs::read_dir(project.beside("state/artifacts")).expect("readable");
    let stores: Vec<_> = stores.map(|store| store.expect("one").path()).collect();
    let [store] = &stores[..] else {
        panic!("{stores:?}")
    };
    let archive = store.join("jobs/always/artifacts.zip");
    assert!(archive.is_file());
    fs::write(archive, "no zip").expect("written");
    let ran = project.exec(&["one"]);
    assert_eq!(ran.status, Some(3), "{ran}");
    assert!(
        ran.stdout
            .contains("\nUsing artifacts of always...\nERROR: it is not a zip file, or damaged"),
        "{ran}"
    );
    assert!(
        ran.stdout.ends_with(
            "\nERROR: Build failed (system failure): download artifacts failed with status 3\n"
        ),
        "{ran}"
    );
}

#[test]
fn a_link_in_place_of_the_directory_is_not_followed() {
    let project = project();
    let outside = project.beside("outside");
    fs::create_dir(&outside).expect("made");
    std::os::unix::fs::symlink(&outside, project.directory.join(".alloy-ci")).expect("linked");
    let ran = project.exec(&["make"]);
    assert_eq!(ran.status, Some(3), "{ran}");
    assert!(ran.stdout.contains(".alloy-ci is no directory"), "{ran}");
    assert_eq!(fs::read_dir(&outside).expect("readable").count(), 0);
}
