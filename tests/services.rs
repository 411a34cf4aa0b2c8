//! Services: reachable by their names, waited for, and no harm done by one that does not come up.

mod support;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use support::coordinator::{Coordinator, Kind};
use support::{BUSYBOX, POSTGRES, Project, REDIS, Ran, docker, run};

#[test]
fn a_service_answers_to_all_its_names_and_knows_the_public_variables() {
    let project = Project::new(json!({"image": {"name": POSTGRES, "entrypoint": [""]},
            "services": [{"name": POSTGRES, "alias": "postgres"}],
            "variables": {"POSTGRES_USER": "ci", "POSTGRES_DB": "site", "PGUSER": "ci", "PGDATABASE": "site", "PGPASSWORD": "postgres"},
            "test": {"script": [
                "for host in alloy-runner-test__postgres alloy-runner-test-postgres postgres; do psql -h $host -Atc 'select 42'; done"]}}));
    project
        .exec("test")
        .succeeds()
        .ends("\n42\n42\n42\nJob succeeded\n")
        .says_in_order(&[
            "Using Docker executor",
            "Using docker image",
            "Starting service",
            "Running on",
            "Cloning",
            "Checking out",
            "Waiting for services to be up and running...\n",
            "\n$ for host",
        ]);
}

#[test]
fn a_job_without_services_has_no_network_of_its_own() {
    let project = Project::script(["true"]);
    project
        .run("-x exec test")
        .succeeds()
        .not_on_stderr("network")
        .says_nothing_of("Waiting for services");
}

#[test]
fn a_service_that_does_not_come_up_costs_a_warning_with_the_reason() {
    let listens_elsewhere = ["sh", "-c", "echo up and deaf; sleep 600"];
    let project = Project::new(json!({"image": BUSYBOX, "services": [
                {"name": BUSYBOX, "alias": "quiet", "command": ["sleep", "600"]},
                {"name": REDIS, "alias": "dead", "command": ["sh", "-c", "echo cannot go on; exit 3"]},
                {"name": REDIS, "alias": "deaf", "command": listens_elsewhere},
                {"name": REDIS, "alias": "none", "command": ["/no/such/program"]}],
            "test": {"script": ["echo still here"]}}));
    let begin = Instant::now();
    let ran = project.exec("--docker-wait-for-services-timeout 4 test");
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
    ran.succeeds();
    for warning in [
        format!(
            "WARNING: service {BUSYBOX}:latest: its image exposes no TCP port to wait for; it logged nothing\n"
        ),
        format!(
            "WARNING: service {REDIS}:latest (dead): died with status 3; the end of its log:\n  cannot go on\n"
        ),
        format!(
            "WARNING: service {REDIS}:latest (deaf): no answer on port 6379 in 4 s; the end of its log:\n  up and deaf\n"
        ),
        format!("WARNING: service {REDIS}:latest (none) did not start: "),
    ] {
        ran.says(&warning);
    }
    ran.ends("\n$ echo still here\nstill here\nJob succeeded\n");
}

#[test]
fn a_program_or_network_that_never_was_there_is_said_once() {
    let service = |command: &str| json!({"name": REDIS, "alias": "db", "command": [command]});
    for (command, problem) in [
        ("redis-serverr", "the image has no program `redis-serverr`"),
        (
            "/etc/passwd",
            "`/etc/passwd` in the image is no program that may be run",
        ),
    ] {
        let project = Project::new(
            json!({"image": BUSYBOX, "services": [service(command)], "test": {"script": ["true"]}}),
        );
        let ran = project.exec("test");
        ran.succeeds();
        let warnings: Vec<&str> = ran
            .stdout
            .lines()
            .filter(|line| line.starts_with("WARNING"))
            .collect();
        assert_eq!(
            warnings,
            [format!(
                "WARNING: service {REDIS}:latest did not start: {problem}"
            )],
            "{ran}"
        );
    }
    let project = Project::new(json!({"image": BUSYBOX, "test": {"script": ["true"]},
            "odd": {"image": {"name": BUSYBOX, "entrypoint": ["no-such-shell"]}, "script": ["true"]}}));
    for (arguments, problem) in [
        (
            &["odd"][..],
            "the build container could not be started: the image has no program `no-such-shell`\n",
        ),
        (
            &["--docker-network-mode", "nowhere", "test"],
            "network nowhere not found",
        ),
        (
            &["--docker-volumes-from", "nothing-there", "test"],
            "No such container: nothing-there",
        ),
    ] {
        let ran = project.exec(arguments);
        ran.fails(3).says_nothing_of("trying again");
        let last = ran.stdout.lines().last().unwrap_or_default();
        let end = format!("{last}\n");
        assert!(
            end.starts_with("ERROR: Build failed (system failure): ") && end.contains(problem),
            "{ran}"
        );
    }
}

#[test]
fn services_of_one_image_cost_a_line_each_and_no_warning_where_each_has_an_alias() {
    let services = |count: usize, alias: fn(usize) -> Option<String>| {
        let one =
            |index| json!({"name": BUSYBOX, "alias": alias(index), "command": ["sleep", "600"]});
        (0..count).map(one).collect::<Vec<_>>()
    };
    let project = Project::new(json!({"image": BUSYBOX,
            "told_apart": {"script": "true", "services": services(4, |index| Some(format!("s{index}")))},
            "alike": {"script": "true", "services": services(3, |index| (index == 1).then(|| "one".to_owned()))}}));
    let exec = |job: &str| project.exec(["--docker-wait-for-services-timeout", "-1", job]);
    let ran = exec("told_apart");
    let log = &ran.succeeds().stdout;
    assert!(!log.contains("WARNING"), "{ran}");
    assert_eq!(log.matches("Using docker image ").count(), 1, "{ran}");
    assert_eq!(log.matches("Starting service ").count(), 4, "{ran}");
    let ran = exec("alike");
    let log = &ran.succeeds().stdout;
    assert_eq!(log.matches("WARNING").count(), 1, "{ran}");
    let warning = format!(
        "\nWARNING: 3 services share the hostnames `alloy-runner-test__busybox` and `alloy-runner-test-busybox`: \
         {BUSYBOX}:latest, {BUSYBOX}:latest (one), {BUSYBOX}:latest; give each an `alias` of its own\n"
    );
    assert!(log.contains(&warning), "{ran}");
    project
        .exec("--dry-run told_apart")
        .says_times(1, "Using docker image ");
}

#[test]
fn a_negative_timeout_does_not_wait() {
    let project = Project::new(
        json!({"image": BUSYBOX, "services": [{"name": BUSYBOX, "command": ["sleep", "600"]}], "test": {"script": ["true"]}}),
    );
    project
        .exec("--docker-wait-for-services-timeout -1 test")
        .succeeds()
        .says_nothing_of("WARNING");
}

#[test]
fn services_of_two_jobs_do_not_see_each_other() {
    let serve = "while :; do echo \"I serve $WHO\" | nc -l -p 80; done";
    let job = |who: &str, other: u32| {
        let prefix = "${CI_PROJECT_ID}-concurrent-";
        let theirs = format!("runner-local-project-{prefix}{other}");
        json!({"services": [{"name": BUSYBOX, "alias": "db", "command": ["sh", "-c", serve]}],
        "variables": {"WHO": who},
        "script": [
            "echo begun as $CI_CONCURRENT_ID",
            "sleep 3",
            // A client that ends its side at once may see the other end before the line.
            "for i in 1 2 3 4 5; do until nc -w 5 db 80 </dev/null | grep serve; do sleep 0.1; done; done",
            format!("for name in {theirs}-service-0 {theirs}-alloy-runner-test__busybox-0 {theirs}-build; do if nc -w 1 $name 80 </dev/null; then exit 9; fi; done"),
            "sleep 3"
        ]})
    };
    let project =
        Project::new(json!({"image": BUSYBOX, "one": job("one", 1), "two": job("two", 0)}));
    let exec = ["exec", "--docker-wait-for-services-timeout", "-1"];
    let mut one = project.spawn([&exec[..], &["one"]].concat());
    let mut out = one.stdout.take().expect("piped");
    let seen = support::read_until(&mut out, "\nbegun as 0\n");
    let mut two = project.spawn([&exec[..], &["two"]].concat());
    let mut others = two.stdout.take().expect("piped");
    let others_seen = support::read_until(&mut others, "\nbegun as 1\n");
    // Not by its address either.
    let name = |number: u32| format!("runner-local-project-{}-concurrent-{number}", project.id());
    let service = format!("{}-alloy-runner-test__busybox-0", name(0));
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker(&["inspect", "--format", format, &service]);
    let build = format!("{}-build", name(1));
    let connect = ["exec", &build, "nc", "-w", "1", address.trim(), "80"];
    run(std::process::Command::new("docker").args(connect)).fails(1);
    for (child, mut out, seen, who) in [(one, out, seen, "one"), (two, others, others_seen, "two")]
    {
        let mut stdout = seen;
        std::io::Read::read_to_string(&mut out, &mut stdout).expect("UTF-8");
        let ran = Ran {
            stdout,
            ..Ran::from(child.wait_with_output().expect("ended"))
        };
        ran.succeeds()
            .says_times(5, "I serve ")
            .says_times(5, format!("I serve {who}\n"));
    }
}

/// In a network that jobs share, a name is what each gives it: no other job, and nothing of the runner's, finds its
/// services by theirs.
#[test]
fn no_service_has_a_name_for_others_in_a_network_that_jobs_share() {
    let network = format!("alloy-test-shared-{}", std::process::id());
    docker(&["network", "create", &network]);
    let serve = "while :; do echo \"I serve $WHO\" | nc -l -p 80; done";
    let ask =
        |host: &str| format!("until nc -w 5 {host} 80 </dev/null | grep serve; do sleep 0.1; done");
    let job = |who: &str| {
        let service = |alias: &str| {
            json!({"name": BUSYBOX, "alias": alias, "environment": [format!("WHO={who}-{alias}")],
            "command": ["sh", "-c", serve]})
        };
        json!({"services": [service("git.example"), service("db")], "script": [
            "echo begun",
            ask("git.example"),
            ask("db"),
            "until [ -e stop ]; do sleep 0.1; done"]})
    };
    let project =
        Project::new(json!({"image": BUSYBOX, "one": job("one"), "two": job("two")}).to_string());
    let exec = [
        "exec",
        "--docker-network-mode",
        &network,
        "--docker-wait-for-services-timeout",
        "-1",
    ];
    let mut jobs: Vec<_> = ["one", "two"]
        .iter()
        .map(|who| {
            let mut child = project.spawn([&exec[..], &[who]].concat());
            let mut out = child.stdout.take().expect("piped");
            let seen = support::read_until(&mut out, &format!("\nI serve {who}-db\n"));
            assert!(
                seen.contains(&format!("\nI serve {who}-git.example\n")),
                "{seen}"
            );
            (child, out)
        })
        .collect();
    let name = |number: u32, part: &str| {
        format!(
            "runner-local-project-{}-concurrent-{number}-{part}",
            project.id()
        )
    };
    let asks = |container: &str, host: &str| {
        run(std::process::Command::new("docker")
            .args(["exec", container, "nc", "-w", "5", host, "80"]))
        .stdout
    };
    // A service finds the other ones of its job, and itself.
    let service = name(0, "alloy-runner-test__busybox-0");
    for alias in ["db", "git.example"] {
        assert_eq!(
            asks(&service, alias),
            format!("I serve one-{alias}\n"),
            "{alias}"
        );
    }
    // Others in the network find none of them: a job without services, as the helper of each job is one.
    let asked = run(std::process::Command::new("docker").args([
        "run",
        "--rm",
        "--pull",
        "never",
        "--network",
        &network,
        BUSYBOX,
        "nc",
        "-w",
        "5",
        "git.example",
        "80",
    ]));
    assert!(!asked.stdout.contains("I serve"), "{asked}");
    for helper in [name(0, "helper"), name(1, "helper")] {
        let found = run(std::process::Command::new("docker").args([
            "exec",
            &helper,
            "getent",
            "hosts",
            "git.example",
        ]));
        assert_ne!(found.status, Some(0), "{helper}: {found}");
    }
    for (number, (child, mut out)) in (0..).zip(jobs.drain(..)) {
        docker(&["exec", &name(number, "build"), "touch", "stop"]);
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut out, &mut rest).expect("UTF-8");
        assert!(rest.ends_with("\nJob succeeded\n"), "{rest}");
        assert_eq!(
            child.wait_with_output().expect("ended").status.code(),
            Some(0)
        );
    }
    docker(&["network", "rm", &network]);
}

#[test]
fn no_service_has_the_name_of_a_bucket_of_the_configuration() {
    let settings = |more: &str| {
        format!(
            "[[runners]]\nname = \"shared\"\n[runners.cache]\nType = \"s3\"\n[runners.cache.s3]\n\
             AccessKey = \"a\"\nSecretKey = \"s\"\nBucketName = \"caches\"\n{more}"
        )
    };
    let eu = "BucketLocation = \"eu-west-1\"\n";
    let amazon = "ServerAddress = \"s3.amazonaws.com\"\n";
    let own = "ServerAddress = \"minio:9000\"\nInsecure = true\n";
    let aws = ["caches.s3.us-east-1.amazonaws.com"];
    for (more, hosts) in [
        ("", &aws[..]),
        (amazon, &aws),
        (eu, &["caches.s3.eu-west-1.amazonaws.com"]),
        (own, &["minio", "MINIO"]),
    ] {
        for host in hosts {
            let job = json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": host}], "script": "true"});
            let project = Project::new(json!({ "test": job }));
            let config = project.beside("config.toml");
            fs::write(&config, settings(more)).expect("written");
            let config = config.display().to_string();
            let arguments = [
                "--config",
                &config,
                "exec",
                "--runner",
                "shared",
                "--dry-run",
                "test",
            ];
            let ran = project.run(arguments);
            assert_ne!(ran.status, Some(0), "{host}: {ran}");
            let want = format!("no service can be called {host}: the runner talks to that host");
            ran.on_stderr(&want);
        }
    }
}

#[test]
fn no_service_has_the_name_of_a_host_that_gets_tokens() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let url = coordinator.url();
    let address = url.rsplit('/').next().expect("an address");
    let host = address.split(':').next().expect("a host").to_owned();
    // A resolver looks for a host in its search domains, too.
    for alias in [host.clone(), format!("{host}.corp.invalid")] {
        let mut job = coordinator.job(BUSYBOX, &["true"]);
        job["services"] = json!([{"name": REDIS, "alias": alias}]);
        let id = coordinator.queue(job);
        coordinator.serve([]);
        let heard = coordinator.heard(id);
        heard.fails();
        let want = format!("no service can be called {alias}: the runner talks to that host");
        heard.says(&want);
    }
}
