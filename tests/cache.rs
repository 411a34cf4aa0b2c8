//! Caches: what one run of a job keeps for the next one.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Kind};
use support::{BUSYBOX, Project, Running, docker, leftovers, read_until, run, signal};

/// Waits in a directory of the host, which all jobs see, until so many are there.
fn meet(count: u32) -> String {
    format!(
        "touch /meet/$CI_CONCURRENT_ID; until [ $(ls /meet | wc -l) -ge {count} ]; do sleep 0.1; done"
    )
}

/// A job with these caches, whose script says what it finds and leaves something.
fn project(cache: &Value) -> Project {
    Project::job(json!({
            "cache": cache,
            "script": [
                "echo found $(cat deps/number 2>/dev/null || echo nothing)",
                "mkdir -p deps/empty out; echo x$(cat deps/number 2>/dev/null) >deps/number; ln -sf number deps/link; chmod 750 deps/number",
                "echo ${FAIL:-} >out/log; [ -z \"${FAIL:-}\" ]"]}))
}

#[test]
fn a_cache_is_there_for_the_next_run() {
    let project = project(&json!({"key": "$CI_JOB_NAME-deps", "paths": ["deps/"]}));
    project
        .exec("test")
        .succeeds()
        .says("\nRestoring cache test-deps...\n  there is none yet\n$ echo found")
        .ends("\nCreating cache test-deps...\n  2 files, 1 kB\nJob succeeded\n");
    project
        .exec("test")
        .succeeds()
        .says("\nRestoring cache test-deps...\n  2 files, 1 kB\n$ echo found")
        .says("\nfound x\n");
    // A run that fails leaves the cache alone.
    let failed = project.exec("--env FAIL=yes test");
    failed
        .fails(1)
        .says("\nfound xx\n")
        .says_nothing_of("Creating cache");
    assert!(
        project.exec("test").stdout.contains("\nfound xx\n"),
        "{failed}"
    );
}

#[test]
fn jobs_side_by_side_find_and_write_the_same_cache() {
    let find = json!({"script": ["cat deps/filled", meet(3), "head -c 3000000 /dev/urandom >deps/$CI_JOB_NAME"]});
    let project = Project::new(
        json!({"image": BUSYBOX, "cache": {"key": "k", "paths": ["deps"]},
            "fill": {"stage": "build", "script": ["mkdir -p deps; echo filled >deps/filled"]},
            "one": find, "two": find, "three": find,
            "last": {"stage": "deploy", "script": ["cat deps/filled"]}}),
    );
    let meeting = project.beside("meet");
    fs::create_dir(&meeting).expect("made");
    let volume = format!("{}:/meet", meeting.display());
    project
        .exec(["--concurrent", "3", "--docker-volumes", &volume])
        .exits(0)
        .says_times(4, "| filled\n")
        .says_times(1, "there is none yet")
        .says_nothing_of("is not");
    let id = project.id();
    let archives = format!("volume runner-local-project-{id}-cache-archives\n");
    assert_eq!(leftovers(&id, true), archives);
    // Neither a plain prune takes it nor another user's.
    let prune = |state: &str, arguments: &[&str]| {
        let mut command = project.command(arguments);
        let ran = run(command.env("ALLOY_RUNNER_STATE_DIR", project.beside(state)));
        ran.exits(0);
        ran.stdout
    };
    assert_eq!(prune("state", &["prune"]), "");
    assert_eq!(prune("theirs", &["prune", "--caches"]), "");
    assert_eq!(leftovers(&id, true), archives);
    assert_eq!(prune("state", &["prune", "--caches"]), archives);
    assert_eq!(leftovers(&id, true), "");
}

#[test]
fn a_cache_that_a_job_uses_stays_and_the_others_go() {
    let cache = |script: &str| json!({"cache": {"key": "k", "paths": ["f"]}, "script": [script]});
    let job_file = json!({"image": BUSYBOX, "leave": cache("touch f /cache/f"),
        "wait": cache("echo begun; until [ -e /tmp/go ]; do sleep 0.1; done")});
    let project = Project::new(&job_file);
    project.exec("leave").succeeds();
    let mut running = project.spawn("exec wait");
    read_until(running.stdout.as_mut().expect("piped"), "\nbegun\n");
    let id = project.id();
    let archives = format!("runner-local-project-{id}-cache-archives");
    let pruned = project.run("prune --caches");
    pruned.exits(0);
    let stays = format!("the volume {archives} stays: a container has it mounted\n");
    pruned.on_stderr(&stays).says("-concurrent-0-cache-");
    assert!(leftovers(&id, true).contains(&archives));
    let build = format!("runner-local-project-{id}-concurrent-0-build");
    docker(&["exec", &build, "touch", "/tmp/go"]);
    let ran = support::Ran::from(running.wait_with_output().expect("ended"));
    ran.succeeds();
}

#[test]
fn a_job_that_has_nothing_to_do_with_caches_leaves_no_volume() {
    let project = Project::new(
        json!({"image": BUSYBOX, "plain": {"script": ["ls -d /cache || echo none"]},
            "empty": {"cache": {"paths": []}, "script": ["ls vendor/cache || echo none"]},
            "named": {"variables": {"PLACE": "/cache/place"}, "script": ["cat $PLACE || echo none; date >$PLACE"]}}),
    );
    // It looks, and finds nothing.
    project
        .exec("--docker-volumes /elsewhere --docker-disable-cache plain")
        .succeeds()
        .says("\nnone\n");
    let id = project.id();
    project.exec("empty").succeeds().says("\nnone\n");
    assert_eq!(leftovers(&id, true), "");
    project.exec("named").succeeds().says("\nnone\n");
    project.exec("named").succeeds().says_nothing_of("\nnone\n");
    assert_eq!(leftovers(&id, true).lines().count(), 1);
}

#[test]
fn every_slot_of_a_runner_finds_the_archives_of_its_project() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let job = |script: &[&str]| {
        let mut job = coordinator.job(BUSYBOX, script);
        job["cache"] = json!([{"key": "k", "paths": ["deps"]}]);
        coordinator.queue(job)
    };
    coordinator.configure("concurrent = 2", &[""]);
    let fill = job(&[
        "mkdir deps; echo filled >deps/file",
        "ls -R /cache /alloy || echo unseen",
    ]);
    let runner = Running::start(&mut coordinator.command("run"));
    let filled = coordinator.wait_for_end(&[fill]).remove(0);
    let both = [(); 2].map(|()| {
        job(&[
            "cat deps/file",
            "echo begun",
            "until [ -e /tmp/go ]; do sleep 0.1; done",
        ])
    });
    for id in both {
        coordinator.wait_for_text(id, "\nbegun\n");
    }
    let containers = coordinator.leftovers();
    let builds = containers
        .lines()
        .filter(|line| line.ends_with("-build"))
        .filter_map(|line| line.strip_prefix("container "));
    let slots = builds.map(|build| docker(&["exec", build, "touch", "/tmp/go"]));
    assert_eq!(slots.count(), 2, "{containers}");
    let found = coordinator.wait_for_end(&both);
    signal(&runner, "QUIT");
    assert!(runner.wait_with_output().expect("ended").status.success());
    // No container of the job's has them.
    let listed = filled.log.split("ls -R").nth(1).unwrap_or_default();
    assert!(
        listed.contains("unseen") && !listed.contains("zst"),
        "{}",
        filled.log
    );
    for heard in found {
        heard.succeeds().says("\nfilled\n");
    }
}

#[test]
fn a_fork_writes_nothing_that_a_protected_refs_job_finds() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let single = |protected: &[(&str, &str)], script: &str| {
        let mut job = coordinator.job(BUSYBOX, &[script]);
        job["cache"] = json!([{"key": "k", "paths": ["deps"]}]);
        job["allow_git_fetch"] = json!(true);
        let variables = protected
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value, "public": true}));
        job["variables"] = variables.collect();
        let id = coordinator.queue(job);
        coordinator.serve("--docker-volumes /cache");
        let heard = coordinator.heard(id);
        heard.succeeds();
        heard.log
    };
    let said = ("CI_COMMIT_REF_PROTECTED", "true");
    let poison = "mkdir -p deps; touch deps/poison /cache/poison ../poison; ls deps /cache ..";
    let fork = [
        said,
        ("CI_MERGE_REQUEST_PROJECT_ID", "3"),
        ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "4"),
    ];
    single(&fork, poison);
    // The first is the coordinator's, the second the job file's.
    single(&[("CI_COMMIT_REF_PROTECTED", "false"), said], poison);
    let look = "ls -R deps /cache .. | grep -c poison || mkdir deps; echo $? >deps/own";
    let first = single(&[said], look);
    assert!(first.contains("\n0\n"), "{first}");
    assert!(
        first.contains("Restoring cache k...\n  there is none yet\n"),
        "{first}"
    );
    let own = single(&[said], "cat deps/own");
    assert!(own.contains("\n0\n"), "{own}");
    let others = single(&[], "ls deps");
    assert!(others.contains("\npoison\n"), "{others}");
}

#[test]
fn archives_stay_where_the_configuration_binds_their_directory() {
    let project = project(&json!({"key": "k", "paths": ["deps"]}));
    let host = project.beside("host");
    let volume = format!("{}:/cache", host.display());
    let named = format!("alloy-test-{}", project.id());
    for (volume, place) in [
        (&volume, host.display().to_string()),
        (&format!("{named}:/cache"), named.clone()),
    ] {
        project
            .exec(["--docker-volumes", volume, "test"])
            .succeeds();
        project
            .exec(["--docker-volumes", volume, "test"])
            .succeeds()
            .says("\nfound x\n");
        let mount = format!("{place}:/there");
        let listed = docker(&[
            "run",
            "--rm",
            "--volume",
            &mount,
            BUSYBOX,
            "ls",
            "/there/local/site/k",
        ]);
        assert_eq!(listed, "cache.tar.zst\n");
    }
    docker(&["volume", "rm", &named]);
    assert_eq!(leftovers(&project.id(), true), "");
}

#[test]
fn links_modes_and_empty_directories_come_back() {
    let project = Project::new(
        json!({"image": BUSYBOX, "cache": {"key": "k", "paths": ["deps"]},
            "leave": {"script": ["mkdir -p deps/empty deps/a; echo x >deps/a/file; chmod 751 deps/a/file; ln -s a/file deps/link",
                                 "touch -d '2001-02-03 04:05:06' deps/a/file", "printf x >\"deps/$(printf 'b\\351')\""]},
            "find": {"script": ["cat deps/link; stat -c '%a %Y %u' deps/a/file; ls -d deps/empty; ls deps | wc -l; printf %s deps/b* | od -c | head -n 1"]}}),
    );
    project.exec("leave").succeeds();
    project
        .exec("find")
        .succeeds()
        .says("\nx\n751 981173106 0\ndeps/empty\n4\n")
        .says("351");
}

#[test]
fn several_caches_with_policies_and_what_git_does_not_track() {
    let project = Project::new(json!({"image": BUSYBOX,
            "push": {"cache": [{"key": "a", "paths": ["a"], "policy": "push"}, {"key": "b/$CI_COMMIT_REF_SLUG", "untracked": true}],
                     "script": ["mkdir a; echo 1 >a/f; echo 2 >loose"]},
            "pull": {"cache": [{"key": "a", "paths": ["a"], "policy": "pull"}, {"key": "b/master", "untracked": true, "policy": "pull"}],
                     "script": ["cat a/f loose"]}}));
    project
        .exec("push")
        .succeeds()
        .says_nothing_of("Restoring cache a")
        .says("\nRestoring cache b/master...\n");
    project
        .exec("pull")
        .succeeds()
        .says("\n1\n2\n")
        .says_nothing_of("Creating");
}

#[test]
fn a_cache_that_cannot_be_used_costs_a_warning() {
    let project = project(&json!({"key": "k", "paths": ["deps", "/etc/passwd", "../x"]}));
    project.exec("test").succeeds();
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
    let file = "/cache/k/cache.tar.zst";
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
        let ran = project.exec("test");
        ran.succeeds();
        assert!(ran.stdout.contains(warning), "{damage}: {ran}");
        ran.says("\nfound nothing\n");
        inside("rm -rf /cache/k/cache.tar.zst");
        project.exec("test").succeeds();
        assert_eq!(inside("ls -A /cache/k"), "cache.tar.zst\n");
    }
    let ran = project.exec("test");
    for refused in ["/etc/passwd", "../x"] {
        let warning = format!("WARNING: `{refused}` is refused: it lies outside the project\n");
        ran.says(&warning);
    }
}

#[test]
fn a_full_cache_keeps_the_old_archive() {
    let project = Project::job(json!({"cache": {"key": "k", "paths": ["deps"]}, "script": [
            "ls deps 2>/dev/null || true", "mkdir -p deps; head -c ${SIZE}000000 /dev/urandom >deps/$SIZE"]}));
    let small = ["--docker-volume-driver", "local"];
    project
        .exec([&small[..], &["--env", "SIZE=1", "test"]].concat())
        .succeeds();
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
    let full = project.exec("--env SIZE=4 test");
    let after = project.exec("--env SIZE=1 test");
    docker(&["rm", "--force", &copy]);
    docker(&["volume", "rm", &copy]);
    full.succeeds()
        .says("WARNING: cache k is not kept: cannot write the archive: No space left on device");
    after.succeeds();
    let listed = after.build_output();
    assert!(listed.contains("true\n1\n$ mkdir"), "{after}");
}

#[test]
fn keys_stay_below_their_project_and_caches_without_a_place_are_said() {
    for key in ["../../x", "/etc", "a//b", "a/./b", "$NOTHING/.."] {
        let project = project(&json!({"key": key, "paths": ["deps"]}));
        project
            .exec("test")
            .succeeds()
            .says("is left out: a key is a name")
            .says_nothing_of("Creating cache");
    }
    let project = project(&json!({"paths": ["deps"]}));
    project.exec("--docker-disable-cache test").succeeds().says("\nWARNING: caches are not kept: docker.disable_cache is on, and docker.volumes binds /cache to no");
    project
        .exec("test")
        .says("\nCreating cache test/master...\n");
}

#[test]
fn a_user_without_rights_finds_a_cache_that_is_his() {
    let project = Project::new(
        json!({"image": support::NONROOT, "test": {"cache": {"key": "k", "paths": ["deps"]}, "script": [
            "mkdir -p deps/a; echo $(cat deps/a/n 2>/dev/null)x >deps/a/n; cat deps/a/n"]}}),
    );
    project.exec("test").succeeds();
    project.exec("test").succeeds().says("\nxx\n");
}
