//! Services: reachable by their names, waited for, and no harm done by one that does not come up.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{BUSYBOX, POSTGRES, Project, REDIS};

#[test]
fn a_service_answers_to_all_its_names_and_knows_the_public_variables() {
    let project = Project::new(
        &json!({"image": {"name": POSTGRES, "entrypoint": [""]},
            "services": [{"name": POSTGRES, "alias": "postgres"}],
            "variables": {"POSTGRES_USER": "ci", "POSTGRES_DB": "site", "PGUSER": "ci", "PGDATABASE": "site", "PGPASSWORD": "postgres"},
            "test": {"script": [
                "for host in alloy-runner-test__postgres alloy-runner-test-postgres postgres; do psql -h $host -Atc 'select 42'; done"]}})
        .to_string(),
    );
    let ran = project.exec(&["test"]);
    ran.assert_success();
    assert!(
        ran.stdout.ends_with("\n42\n42\n42\nJob succeeded\n"),
        "{ran}"
    );
    let order: Vec<usize> = [
        "Using Docker executor",
        "Using docker image",
        "Starting service",
        "Running on",
        "Cloning",
        "Checking out",
        "Waiting for services to be up and running...\n",
        "\n$ for host",
    ]
    .iter()
    .map(|line| {
        ran.stdout
            .find(line)
            .unwrap_or_else(|| panic!("{line}: {ran}"))
    })
    .collect();
    assert!(order.is_sorted(), "{ran}");
}

#[test]
fn a_job_without_services_has_no_network_of_its_own() {
    let project =
        Project::new(&json!({"image": BUSYBOX, "test": {"script": ["true"]}}).to_string());
    let ran = project.run(&["-x", "exec", "test"]);
    ran.assert_success();
    assert!(!ran.stderr.contains("network"), "{ran}");
    assert!(!ran.stdout.contains("Waiting for services"), "{ran}");
}

#[test]
fn a_service_that_does_not_come_up_costs_a_warning_with_the_reason() {
    let listens_elsewhere = ["sh", "-c", "echo up and deaf; sleep 600"];
    let project = Project::new(
        &json!({"image": BUSYBOX, "services": [
                {"name": BUSYBOX, "alias": "quiet", "command": ["sleep", "600"]},
                {"name": REDIS, "alias": "dead", "command": ["sh", "-c", "echo cannot go on; exit 3"]},
                {"name": REDIS, "alias": "deaf", "command": listens_elsewhere},
                {"name": REDIS, "alias": "none", "command": ["/no/such/program"]}],
            "test": {"script": ["echo still here"]}})
        .to_string(),
    );
    let begin = Instant::now();
    let ran = project.exec(&["--docker-wait-for-services-timeout", "4", "test"]);
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
    ran.assert_success();
    for warning in [
        format!(
            "WARNING: service {BUSYBOX}:latest: its image exposes no TCP port to wait for; it logged nothing\n"
        ),
        format!(
            "WARNING: service {REDIS}:latest: died with status 3; the end of its log:\n  cannot go on\n"
        ),
        format!(
            "WARNING: service {REDIS}:latest: no answer on port 6379 in 4 s; the end of its log:\n  up and deaf\n"
        ),
        format!("WARNING: service {REDIS}:latest did not start: "),
        format!(
            "WARNING: the services {REDIS}:latest and {REDIS}:latest share the hostname `alloy-runner-test__redis`; give one of them an `alias`\n"
        ),
    ] {
        assert!(ran.stdout.contains(&warning), "{warning}{ran}");
    }
    assert!(
        ran.stdout
            .ends_with("\n$ echo still here\nstill here\nJob succeeded\n"),
        "{ran}"
    );
}

#[test]
fn a_negative_timeout_does_not_wait() {
    let project = Project::new(
        &json!({"image": BUSYBOX, "services": [{"name": BUSYBOX, "command": ["sleep", "600"]}], "test": {"script": ["true"]}}).to_string(),
    );
    let ran = project.exec(&["--docker-wait-for-services-timeout", "-1", "test"]);
    assert!(!ran.assert_success().stdout.contains("WARNING"), "{ran}");
}
