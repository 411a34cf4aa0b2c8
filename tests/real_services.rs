//! Real services, each used by a job with its own client, under every name it is promised.

mod support;

use serde_json::json;
use support::{DEBIAN, MARIADB, POSTGRES, Project, REDIS, WORDPRESS, docker};

/// Runs a job and returns what its last command printed.
fn last_output(job: &serde_json::Value) -> String {
    let project = Project::new(json!({"test": job}));
    let ran = project.exec("test");
    ran.succeeds().says_nothing_of("WARNING");
    let (_, output) = ran.stdout.rsplit_once("\n$ ").expect("a command");
    output
        .split_once('\n')
        .expect("a line")
        .1
        .strip_suffix("Job succeeded\n")
        .expect("the end")
        .to_owned()
}

#[test]
fn mariadb_postgresql_and_redis_are_used_by_their_own_clients_under_both_aliases() {
    let hosts = |image: &str| format!("{} {}", image.replace('/', "__"), image.replace('/', "-"));
    let mariadb = last_output(&json!({
        "image": {"name": MARIADB, "entrypoint": [""]}, "services": [MARIADB],
        "variables": {"MYSQL_DATABASE": "site", "MYSQL_USER": "ci", "MYSQL_PASSWORD": "pa ss"},
        "script": [format!("for host in {}; do mariadb -h $host -u ci \"-p$MYSQL_PASSWORD\" -Ne 'select 6 * 7' site; done", hosts(MARIADB))]}));
    assert_eq!(mariadb, "42\n42\n");
    let postgres = last_output(&json!({
        "image": {"name": POSTGRES, "entrypoint": [""]}, "services": [POSTGRES],
        "variables": {"POSTGRES_USER": "ci", "PGPASSWORD": "postgres"},
        "script": [format!("for host in {}; do psql -h $host -U ci -Atc 'select 6 * 7'; done", hosts(POSTGRES))]}));
    assert_eq!(postgres, "42\n42\n");
    let redis = last_output(&json!({
        "image": REDIS, "services": [REDIS],
        "script": [format!("for host in {}; do redis-cli -h $host incr counter; done", hosts(REDIS))]}));
    assert_eq!(redis, "1\n2\n");
}

#[test]
fn the_four_names_of_the_spec_answer() {
    // Names that somebody may have images under: ours have a tag that nobody else has.
    let tag = format!("alloy-test-{}", std::process::id());
    let images = [
        format!("tutum/wordpress:{tag}"),
        format!("registry.alloy-wp.com:4999/tutum/wordpress:{tag}"),
    ];
    for image in &images {
        docker(&["tag", WORDPRESS, image]);
    }
    let output = last_output(&json!({"image": WORDPRESS, "services": images, "script": [
        "for host in tutum__wordpress tutum-wordpress registry.alloy-wp.com__tutum__wordpress registry.alloy-wp.com-tutum-wordpress; \
         do curl -s http://$host/ | grep -o 'Welcome to nginx!' | head -n 1; done"]}));
    for image in &images {
        docker(&["image", "rm", image]);
    }
    assert_eq!(output, "Welcome to nginx!\n".repeat(4));
}

#[test]
fn two_services_of_one_image_are_told_apart_by_their_aliases() {
    let project = Project::new(json!({"test": {"image": REDIS,
            "services": [{"name": REDIS, "alias": "one"}, {"name": REDIS, "alias": "two"}],
            "script": ["redis-cli -h one set key 1; redis-cli -h two exists key; redis-cli -h one exists key"]}}));
    project
        .exec("test")
        .succeeds()
        .ends("\nOK\n0\n1\nJob succeeded\n");
}

#[test]
fn services_logs_are_streamed_when_asked_for() {
    let project = Project::new(json!({"test": {"image": DEBIAN,
        "services": [{"name": REDIS, "alias": "cache"}, {"name": WORDPRESS, "alias": "web", "entrypoint": ["sh", "-c"], "command": ["echo up; nginx; while sleep 0.2; do echo tick; done"]}],
        "script": ["sleep 1", "printf 'no newline'"]}}));
    let ran = project.exec("--env CI_DEBUG_SERVICES=true test");
    ran.succeeds();
    for line in [
        "\n[service:web] up\n",
        "\n[service:web] tick\n",
        "Ready to accept connections",
    ] {
        ran.says(line);
    }
    assert!(
        ran.stdout
            .lines()
            .any(|line| line.starts_with("[service:cache] ") && line.contains("Redis")),
        "{ran}"
    );
    project.exec("test").succeeds().says_nothing_of("[service:");
}
