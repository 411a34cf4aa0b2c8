//! Caches: what one run of a job keeps for the next one.

mod support;

use serde_json::{Value, json};
use support::{BUSYBOX, Project, docker};

/// A job with these caches, whose script says what it finds and leaves something.
fn project(cache: &Value) -> Project {
    Project::new(
        &json!({"image": BUSYBOX, "test": {
            "cache": cache,
            "script": [
                "echo found $(cat deps/number 2>/dev/null || echo nothing)",
                "mkdir -p deps/empty out; echo x$(cat deps/number 2>/dev/null) >deps/number; ln -sf number deps/link; chmod 750 deps/number",
                "echo ${FAIL:-} >out/log; [ -z \"${FAIL:-}\" ]"]}})
        .to_string(),
    )
}

#[test]
fn a_cache_is_there_for_the_next_run() {
    let project = project(&json!({"key": "$CI_JOB_NAME-deps", "paths": ["deps/"]}));
    let first = project.exec(&["test"]);
    first.assert_success();
    assert!(
        first
            .stdout
            .contains("\nRestoring cache test-deps...\n  there is none yet\n$ echo found"),
        "{first}"
    );
    assert!(
        first
            .stdout
            .ends_with("\nCreating cache test-deps...\n  2 files, 1 kB\nJob succeeded\n"),
        "{first}"
    );
    let second = project.exec(&["test"]);
    second.assert_success();
    assert!(
        second
            .stdout
            .contains("\nRestoring cache test-deps...\n  2 files, 1 kB\n$ echo found"),
        "{second}"
    );
    assert!(second.stdout.contains("\nfound x\n"), "{second}");
    // A run that fails leaves the cache alone.
    let failed = project.exec(&["--env", "FAIL=yes", "test"]);
    assert_eq!(failed.status, Some(1), "{failed}");
    assert!(failed.stdout.contains("\nfound xx\n"), "{failed}");
    assert!(!failed.stdout.contains("Creating cache"), "{failed}");
    assert!(
        project.exec(&["test"]).stdout.contains("\nfound xx\n"),
        "{failed}"
    );
}

#[test]
fn links_modes_and_empty_directories_come_back() {
    let project = Project::new(
        &json!({"image": BUSYBOX, "cache": {"key": "k", "paths": ["deps"]},
            "leave": {"script": ["mkdir -p deps/empty deps/a; echo x >deps/a/file; chmod 751 deps/a/file; ln -s a/file deps/link",
                                 "touch -d '2001-02-03 04:05:06' deps/a/file", "printf x >\"deps/$(printf 'b\\351')\""]},
            "find": {"script": ["cat deps/link; stat -c '%a %Y %u' deps/a/file; ls -d deps/empty; ls deps | wc -l; printf %s deps/b* | od -c | head -n 1"]}})
        .to_string(),
    );
    project.exec(&["leave"]).assert_success();
    let ran = project.exec(&["find"]);
    ran.assert_success();
    assert!(
        ran.stdout.contains("\nx\n751 981173106 0\ndeps/empty\n4\n"),
        "{ran}"
    );
    assert!(ran.stdout.contains("351"), "{ran}");
}

#[test]
fn several_caches_with_policies_and_what_git_does_not_track() {
    let project = Project::new(
        &json!({"image": BUSYBOX,
            "push": {"cache": [{"key": "a", "paths": ["a"], "policy": "push"}, {"key": "b/$CI_COMMIT_REF_SLUG", "untracked": true}],
                     "script": ["mkdir a; echo 1 >a/f; echo 2 >loose"]},
            "pull": {"cache": [{"key": "a", "paths": ["a"], "policy": "pull"}, {"key": "b/master", "untracked": true, "policy": "pull"}],
                     "script": ["cat a/f loose"]}})
        .to_string(),
    );
    let push = project.exec(&["push"]);
    push.assert_success();
    assert!(!push.stdout.contains("Restoring cache a"), "{push}");
    assert!(
        push.stdout.contains("\nRestoring cache b/master...\n"),
        "{push}"
    );
    let pull = project.exec(&["pull"]);
    pull.assert_success();
    assert!(pull.stdout.contains("\n1\n2\n"), "{pull}");
    assert!(!pull.stdout.contains("Creating"), "{pull}");
}

#[test]
fn a_cache_that_cannot_be_used_costs_a_warning() {
    let project = project(&json!({"key": "k", "paths": ["deps", "/etc/passwd", "../x"]}));
    project.exec(&["test"]).assert_success();
    let id = project.id();
    let volumes = docker(&["volume", "ls", "--format", "{{.Name}}"]);
    let volume = volumes
        .lines()
        .find(|name| name.contains(&format!("-project-{id}-")) && name.contains("-cache-"))
        .expect("a cache");
    let inside = |script: &str| {
        docker(&[
            "run",
            "--rm",
            "--volume",
            &format!("{volume}:/cache"),
            BUSYBOX,
            "sh",
            "-c",
            script,
        ])
    };
    let file = "/cache/local/site/k/cache.tar.zst";
    for (damage, warning) in [
        (
            "head -c 100 $f >$f.x; mv $f.x $f",
            "the archive is damaged: its end is missing",
        ),
        (
            "printf nonsense-that-is-no-archive >$f",
            "WARNING: cache k is not restored: ",
        ),
        (
            "size=$(stat -c %s $f); printf XXXX | dd of=$f bs=1 seek=60 conv=notrunc 2>/dev/null",
            "the archive is damaged",
        ),
        ("rm $f; mkdir $f", "WARNING: cache k is not restored: "),
    ] {
        inside(&format!("f={file}; {damage}"));
        let ran = project.exec(&["test"]);
        ran.assert_success();
        assert!(ran.stdout.contains(warning), "{damage}: {ran}");
        assert!(ran.stdout.contains("\nfound nothing\n"), "{ran}");
        inside("rm -rf /cache/local/site/k/cache.tar.zst");
        project.exec(&["test"]).assert_success();
        assert_eq!(inside("ls -A /cache/local/site/k"), "cache.tar.zst\n");
    }
    let ran = project.exec(&["test"]);
    for refused in ["/etc/passwd", "../x"] {
        let warning = format!("WARNING: `{refused}` is refused: it lies outside the project\n");
        assert!(ran.stdout.contains(&warning), "{ran}");
    }
}

#[test]
fn a_full_cache_keeps_the_old_archive() {
    let project = Project::new(
        &json!({"image": BUSYBOX, "test": {"cache": {"key": "k", "paths": ["deps"]}, "script": [
            "ls deps 2>/dev/null || true", "mkdir -p deps; head -c ${SIZE}000000 /dev/urandom >deps/$SIZE"]}})
        .to_string(),
    );
    let small = [
        "--docker-volumes",
        "/cache",
        "--docker-volume-driver",
        "local",
    ];
    project
        .exec(&[&small[..], &["--env", "SIZE=1", "test"]].concat())
        .assert_success();
    // The cache's volume is made anew, with little room in it and what was there.
    let id = project.id();
    let volumes = docker(&["volume", "ls", "--format", "{{.Name}}"]);
    let volume = volumes
        .lines()
        .find(|name| name.contains(&format!("-project-{id}-")) && name.contains("-cache-"))
        .expect("a cache")
        .to_owned();
    let copy = format!("{volume}-copy");
    let between = |from: &str, to: &str| {
        let mounts = [format!("{from}:/from"), format!("{to}:/to")];
        docker(&[
            "run", "--rm", "-v", &mounts[0], "-v", &mounts[1], BUSYBOX, "cp", "-a", "/from/.",
            "/to",
        ]);
    };
    between(&volume, &copy);
    docker(&["volume", "rm", &volume]);
    docker(&[
        "volume",
        "create",
        "--opt",
        "type=tmpfs",
        "--opt",
        "device=tmpfs",
        "--opt",
        "o=size=3m",
        &volume,
    ]);
    // What is in memory goes with the last container that has it.
    docker(&[
        "run",
        "--detach",
        "--name",
        &copy,
        "-v",
        &format!("{volume}:/cache"),
        BUSYBOX,
        "sleep",
        "600",
    ]);
    between(&copy, &volume);
    let full = project.exec(&["--env", "SIZE=4", "test"]);
    let after = project.exec(&["--env", "SIZE=1", "test"]);
    docker(&["rm", "--force", &copy]);
    docker(&["volume", "rm", &copy]);
    full.assert_success();
    assert!(
        full.stdout.contains(
            "WARNING: cache k is not kept: cannot write the archive: No space left on device"
        ),
        "{full}"
    );
    after.assert_success();
    let listed = after.build_output();
    assert!(listed.contains("true\n1\n$ mkdir"), "{after}");
}

#[test]
fn keys_stay_below_their_project_and_caches_without_a_place_are_said() {
    for key in ["../../x", "/etc", "a//b", "a/./b", "$NOTHING/.."] {
        let project = project(&json!({"key": key, "paths": ["deps"]}));
        let ran = project.exec(&["test"]);
        ran.assert_success();
        assert!(ran.stdout.contains("is left out: a key is a name"), "{ran}");
        assert!(!ran.stdout.contains("Creating cache"), "{ran}");
    }
    let project = project(&json!({"paths": ["deps"]}));
    let ran = project.exec(&["--docker-volumes", "/elsewhere", "test"]);
    ran.assert_success();
    assert!(
        ran.stdout.contains("\nWARNING: caches are not kept: /cache is not on a volume that stays; name it in docker.volumes"),
        "{ran}"
    );
    let ran = project.exec(&["test"]);
    assert!(
        ran.stdout.contains("\nCreating cache test/master...\n"),
        "{ran}"
    );
}

#[test]
fn a_user_without_rights_finds_a_cache_that_is_his() {
    let project = Project::new(
        &json!({"image": support::NONROOT, "test": {"cache": {"key": "k", "paths": ["deps"]}, "script": [
            "mkdir -p deps/a; echo $(cat deps/a/n 2>/dev/null)x >deps/a/n; cat deps/a/n"]}})
        .to_string(),
    );
    project.exec(&["test"]).assert_success();
    let ran = project.exec(&["test"]);
    assert!(ran.assert_success().stdout.contains("\nxx\n"), "{ran}");
}
