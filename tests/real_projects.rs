//! Real input: the source of GNU hello is configured, built and checked, `pgbench` runs against a PostgreSQL service, and
//! the client library of redis goes through a whole pipeline.

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::{GCC, POSTGRES, Project, REDIS, leftovers};

/// A project of a program's source, as Debian has it.
fn project(package: &str, job_file: &serde_json::Value) -> Project {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(package);
    assert!(
        source.is_dir(),
        "run the tests by scripts/test, which gets the source of {package}"
    );
    let project = Project::empty();
    support::run(
        Command::new("cp")
            .arg("-a")
            .arg(source.join("."))
            .arg(&project.directory),
    )
    .exits(0);
    project.write(".alloy-ci.json", &job_file.to_string());
    project.commit();
    project
}

#[test]
fn gnu_hello_builds_and_pgbench_runs() {
    let project = project(
        "hello",
        &json!({
            "check": {"image": GCC, "script": ["./configure && make check"]},
            "bench": {
                "image": {"name": POSTGRES, "entrypoint": [""]},
                "services": [{"name": POSTGRES, "alias": "postgres"}],
                "variables": {"PGHOST": "postgres", "PGUSER": "postgres", "PGPASSWORD": "postgres"},
                "script": ["pgbench --initialize --quiet postgres", "pgbench --time 5 postgres"]}
        }),
    );
    project.exec("check").succeeds().says("# FAIL:  0\n");
    project
        .exec("bench")
        .succeeds()
        .says("number of transactions actually processed: ");
}

#[test]
fn hiredis_is_built_once_and_tested_with_what_that_left() {
    let cache = json!({"key": "objects", "paths": ["*.o"], "policy": "pull"});
    // It lets the server sleep.
    let server = "redis-server --bind 0.0.0.0 --protected-mode no --enable-debug-command yes";
    let server: Vec<&str> = server.split(' ').collect();
    let project = project(
        "hiredis",
        &json!({
            "image": GCC,
            "stages": ["build", "test"],
            "build": {"stage": "build", "script": ["make static hiredis-test"],
                "cache": {"key": "objects", "paths": ["*.o"]}, "artifacts": {"paths": ["hiredis-test", "*.a"]}},
            "client": {"image": REDIS, "services": [{"name": REDIS, "alias": "redis", "command": server}], "script": [
                "redis-server --daemonize yes --port 0 --unixsocket /tmp/redis.sock --enable-debug-command yes",
                "until [ -S /tmp/redis.sock ]; do sleep 0.1; done",
                "./hiredis-test -h redis -p 6379"]},
            "shared": {"cache": cache, "script": ["ls *.a", "touch *.o", "make dynamic"]},
            "install": {"cache": cache, "script": ["touch *.o", "make install PREFIX=$PWD/out", "find out | sort"]}
        }),
    );
    let ran = project.exec("--concurrent 3");
    ran.exits(0);
    for said in [
        "client  | ALL TESTS PASSED\n",
        "shared  | libhiredis.a\n",
        "install | out/lib/libhiredis.so.0.14\n",
    ] {
        ran.says(said);
    }
    // The objects of the first stage are all that the others need.
    for name in ["shared ", "install"] {
        let of_job = |text: &&str| text.starts_with(name);
        let lines: Vec<&str> = ran.stdout.lines().filter(of_job).collect();
        let counted = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!((counted(" -shared "), counted(" -c ")), (1, 0), "{ran}");
    }
    let kept = format!(
        "volume runner-local-project-{id}-cache-archives\n",
        id = project.id()
    );
    assert_eq!(leftovers(&project.id(), true), kept);
}
