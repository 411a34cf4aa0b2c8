//! Real input: the source of GNU hello is configured, built and checked, and `pgbench` runs against a
//! PostgreSQL service.

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::{GCC, POSTGRES, Project};

#[test]
fn gnu_hello_builds_and_pgbench_runs() {
    let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hello");
    assert!(
        hello.join("configure").exists(),
        "run the tests by scripts/test, which gets the source of GNU hello"
    );
    let project = Project::empty();
    let copied = support::run(
        Command::new("cp")
            .arg("-a")
            .arg(hello.join("."))
            .arg(&project.directory),
    );
    assert_eq!(copied.status, Some(0), "{copied}");
    project.write(
        ".alloy-ci.json",
        &json!({
            "check": {"image": GCC, "script": ["./configure && make check"]},
            "bench": {
                "image": {"name": POSTGRES, "entrypoint": [""]},
                "services": [{"name": POSTGRES, "alias": "postgres"}],
                "variables": {"PGHOST": "postgres", "PGUSER": "postgres", "PGPASSWORD": "postgres"},
                "script": ["pgbench --initialize --quiet postgres", "pgbench --time 5 postgres"]}
        })
        .to_string(),
    );
    project.commit();
    let check = project.exec(&["check"]);
    assert!(
        check.assert_success().stdout.contains("# FAIL:  0\n"),
        "{check}"
    );
    let bench = project.exec(&["bench"]);
    assert!(
        bench
            .assert_success()
            .stdout
            .contains("number of transactions actually processed: "),
        "{bench}"
    );
}
