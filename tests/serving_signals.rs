//! How jobs of a coordinator end before their time, what it hears of that, and that nothing is left.

mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use support::coordinator::{Coordinator, Kind, RUNNER_TOKEN};
use support::{BUSYBOX, DEBIAN, REDIS, Ran, Running, eventually, signal};

fn serve(coordinator: &Coordinator) -> Running {
    let mut command = coordinator.command("run");
    Running::start(command.stderr(Stdio::piped()))
}

/// A job that goes on for long, and has begun.
fn running_job(coordinator: &Coordinator, image: &str, script: &[&str]) -> u64 {
    let mut job = coordinator.job(image, &[&["echo begun"], script].concat());
    job["services"] = json!([{"name": REDIS, "alias": "redis"}]);
    let steps = job["steps"].as_array_mut().expect("a list");
    steps.push(json!({"name": "after_script", "script": ["echo after"], "timeout": 3600, "when": "always", "allow_failure": true}));
    coordinator.queue(job)
}

#[test]
fn a_cancel_reaches_a_silent_job_and_lets_it_clean_up() {
    for kind in [Kind::AlloyCi, Kind::GitLab] {
        let coordinator = Coordinator::new(kind);
        coordinator.configure("", &[""]);
        let trap = "bash -c 'trap \"echo cleaned up; exit 1\" TERM; sleep 600 & wait'";
        let id = running_job(&coordinator, DEBIAN, &[trap]);
        let runner = serve(&coordinator);
        coordinator.wait_for_text(id, "\nbegun\n");
        coordinator.cancel(id);
        let begin = Instant::now();
        let heard = &coordinator.wait_for_end(&[id])[0];
        assert!(
            begin.elapsed() < Duration::from_secs(9),
            "{:?}",
            begin.elapsed()
        );
        heard
            .fails()
            .says("\ncleaned up\n")
            .ends("ERROR: Build failed: canceled\u{1b}[0;m\n")
            .says_nothing_of("\nafter\n");
        eventually(Duration::from_secs(10), "a clean engine", || {
            coordinator.leftovers().is_empty()
        });
        signal(&runner, "QUIT");
        assert_eq!(
            runner.wait_with_output().expect("ended").status.code(),
            Some(0)
        );
    }
}

#[test]
fn a_trap_of_the_script_itself_is_heard_on_cancel() {
    let coordinator = Coordinator::new(Kind::GitLab);
    // Waiting for a command in the foreground and for one in the background; with busybox and with bash.
    for (image, wait) in [
        (BUSYBOX, "sleep 600"),
        (BUSYBOX, "sleep 600 & wait"),
        (DEBIAN, "sleep 600"),
        (DEBIAN, "sleep 600 & wait"),
    ] {
        let trap = "trap 'echo cleaned up; exit 1' TERM";
        let id = running_job(&coordinator, image, &[trap, "echo set", wait]);
        let mut runner = coordinator.single([]);
        let runner = Running::start(runner.stderr(Stdio::piped()));
        coordinator.wait_for_text(id, "\nset\n");
        coordinator.cancel(id);
        let begin = Instant::now();
        let heard = &coordinator.wait_for_end(&[id])[0];
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(9), "{image} {wait}: {took:?}");
        let times = heard.log.matches("\ncleaned up\n").count();
        assert_eq!(times, 1, "{image} {wait}: {}", heard.log);
        let ran = Ran::from(runner.wait_with_output().expect("ended"));
        ran.exits(0);
    }
    assert_eq!(coordinator.leftovers(), "");
}

#[test]
fn who_does_not_hear_term_is_killed() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let id = running_job(
        &coordinator,
        DEBIAN,
        &["trap '' TERM; while :; do sleep 1; done"],
    );
    let mut runner = coordinator.single([]);
    let runner = Running::start(runner.stderr(Stdio::piped()));
    coordinator.wait_for_text(id, "\nbegun\n");
    coordinator.cancel(id);
    let begin = Instant::now();
    coordinator.wait_for_end(&[id]);
    let took = begin.elapsed();
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(25)).contains(&took),
        "{took:?}"
    );
    assert_eq!(
        runner.wait_with_output().expect("ended").status.code(),
        Some(0)
    );
    assert_eq!(coordinator.leftovers(), "");
}

#[test]
fn a_job_that_the_coordinator_has_forgotten_is_stopped() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let id = running_job(&coordinator, BUSYBOX, &["sleep 600"]);
    let mut runner = coordinator.single([]);
    let runner = Running::start(runner.stderr(Stdio::piped()));
    coordinator.wait_for_text(id, "\nbegun\n");
    coordinator.forget(id);
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    ran.exits(0)
        .on_stderr("the coordinator knows nothing of it");
    assert_eq!(coordinator.heard(id).state, None);
    assert_eq!(coordinator.leftovers(), "");
}

#[test]
fn time_limits_of_the_job_and_of_a_step_are_kept() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let begin = Instant::now();
    let mut ids = Vec::new();
    for (job_limit, step_limit) in [(3, 3600), (3600, 4)] {
        let mut job = coordinator.job(BUSYBOX, &["sleep 600"]);
        job["runner_info"]["timeout"] = json!(job_limit);
        job["steps"][0]["timeout"] = json!(step_limit);
        ids.push(coordinator.queue(job));
    }
    coordinator.serve("--max-builds 2").exits(0);
    assert!(
        begin.elapsed() < Duration::from_secs(40),
        "{:?}",
        begin.elapsed()
    );
    for (heard, seconds) in coordinator.wait_for_end(&ids).iter().zip([3, 4]) {
        heard.fails();
        assert_eq!(heard.failure_reason.as_deref(), Some("script_failure"));
        let end =
            format!("ERROR: Build failed: execution took longer than {seconds} s\u{1b}[0;m\n");
        heard.ends(&end);
    }
    assert_eq!(coordinator.leftovers(), "");
}

#[test]
fn sigterm_and_sigint_stop_the_jobs_and_report_them() {
    for (name, status) in [("TERM", 143), ("INT", 130)] {
        let coordinator = Coordinator::new(Kind::AlloyCi);
        coordinator.configure("concurrent = 2", &[""]);
        let ids = [
            running_job(&coordinator, BUSYBOX, &["sleep 600"]),
            running_job(&coordinator, BUSYBOX, &["sleep 600"]),
        ];
        let runner = serve(&coordinator);
        for id in ids {
            coordinator.wait_for_text(id, "\nbegun\n");
        }
        let begin = Instant::now();
        signal(&runner, name);
        let ran = Ran::from(runner.wait_with_output().expect("ended"));
        assert!(
            begin.elapsed() < Duration::from_secs(15),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(ran.status, Some(status), "{ran}");
        for id in ids {
            let heard = coordinator.heard(id);
            heard.fails();
            assert_eq!(
                heard.failure_reason.as_deref(),
                Some("runner_system_failure")
            );
            let end = "ERROR: Build failed (system failure): the runner was stopped\u{1b}[0;m\n";
            heard.ends(end);
        }
        assert_eq!(coordinator.leftovers(), "");
    }
}

#[test]
fn sigquit_waits_for_the_jobs_and_takes_no_others() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    coordinator.configure("", &[""]);
    let running = running_job(&coordinator, BUSYBOX, &["sleep 4", "echo all of it"]);
    let runner = serve(&coordinator);
    coordinator.wait_for_text(running, "\nbegun\n");
    signal(&runner, "QUIT");
    let waiting = coordinator.queue_script(BUSYBOX, &["true"]);
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    ran.exits(0);
    let heard = coordinator.heard(running);
    heard.succeeds().says("\nall of it\n").says("\nafter\n");
    assert_eq!(coordinator.heard(waiting).state, None);
    assert_eq!(coordinator.leftovers(), "");
}

#[test]
fn sighup_and_a_changed_file_reload_and_drop_no_job() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    coordinator.configure("", &["environment = [\"WHO=first\"]"]);
    let running = running_job(&coordinator, BUSYBOX, &["sleep 5", "echo \"<$WHO>\""]);
    let mut runner = serve(&coordinator);
    coordinator.wait_for_text(running, "\nbegun\n");
    // A configuration that is none leaves everything as it was.
    std::fs::write(coordinator.beside("config.toml"), "concurrent = [").expect("written");
    signal(&runner, "HUP");
    std::thread::sleep(Duration::from_millis(300));
    coordinator.configure("concurrent = 2", &["environment = [\"WHO=second\"]"]);
    signal(&runner, "HUP");
    let second = coordinator.queue_script(BUSYBOX, &["echo \"<$WHO>\""]);
    let heard = coordinator.wait_for_end(&[running, second]);
    assert!(heard[0].log.contains("\n<first>\n"), "{}", heard[0].log);
    assert!(heard[1].log.contains("\n<second>\n"), "{}", heard[1].log);
    // Without any signal, too.
    coordinator.configure("concurrent = 2", &["environment = [\"WHO=third\"]"]);
    std::thread::sleep(Duration::from_millis(1500));
    let third = coordinator.queue_script(BUSYBOX, &["echo \"<$WHO>\""]);
    let heard = &coordinator.wait_for_end(&[third])[0];
    heard.says("\n<third>\n");
    assert!(runner.try_wait().expect("asked").is_none());
    signal(&runner, "QUIT");
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    ran.on_stderr("goes on with the configuration of before");
    assert_eq!(coordinator.leftovers(), "");
}

#[test]
fn a_second_signal_ends_at_once_and_the_next_start_cleans_up() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    coordinator.configure("", &[""]);
    let id = running_job(
        &coordinator,
        DEBIAN,
        &["trap '' TERM; while :; do sleep 1; done"],
    );
    let runner = serve(&coordinator);
    coordinator.wait_for_text(id, "\nbegun\n");
    signal(&runner, "TERM");
    std::thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    signal(&runner, "TERM");
    let ended = runner.wait_with_output().expect("ended");
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(ended.status.code(), Some(143));
    assert!(
        !coordinator.leftovers().is_empty(),
        "there was no time to clean up"
    );
    let next = serve(&coordinator);
    eventually(Duration::from_secs(20), "a clean engine", || {
        coordinator.leftovers().is_empty()
    });
    signal(&next, "TERM");
    assert_eq!(
        next.wait_with_output().expect("ended").status.code(),
        Some(143)
    );
}

#[test]
fn a_runner_says_at_its_start_whom_it_serves() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    coordinator.configure("concurrent = 3", &["", "token = \"another-token\""]);
    let mut runner = serve(&coordinator);
    let stderr = runner.stderr.as_mut().expect("piped");
    let said = support::read_until(stderr, " at a time\n");
    let url = coordinator.url();
    let config = coordinator.beside("config.toml");
    let want = format!(
        " serving of {}: docker-0 ({url}), docker-1 ({url}); up to 3 jobs at a time\n",
        config.display()
    );
    assert!(said.contains("] alloy-runner 0.1.0 ("), "{said}");
    assert!(said.contains(&want), "{want}: {said}");
    signal(&runner, "TERM");
    assert_eq!(runner.wait().expect("ended").code(), Some(143));
}

#[test]
fn files_that_registering_tools_wrote_over_the_years_are_served_without_a_warning() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config/registered");
    let files = fs::read_dir(directory).expect("there");
    let files = files.map(|entry| entry.expect("readable").path());
    let mut asked = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let keys = [
            ("url", coordinator.url()),
            ("token", RUNNER_TOKEN.to_owned()),
        ];
        let lines = text.lines().map(|line| {
            let key = line.split(" = ").next().unwrap_or_default().trim();
            let ours = keys.iter().find(|(name, _)| *name == key);
            ours.map_or(line.to_owned(), |(key, value)| {
                format!("{key} = \"{value}\"")
            })
        });
        let lines: Vec<String> = lines.collect();
        fs::write(coordinator.beside("config.toml"), lines.join("\n")).expect("written");
        let runner = serve(&coordinator);
        asked += 1;
        coordinator.wait_for_requests("POST /api/v4/jobs/request", asked);
        signal(&runner, "QUIT");
        let ran = Ran::from(runner.wait_with_output().expect("ended"));
        assert_eq!(ran.status, Some(0), "{}: {ran}", file.display());
        let said = |level: &str| ran.stderr.matches(level).count();
        let counts = [" WARN ", " ERROR ", " serving of "].map(said);
        assert_eq!(counts, [0, 0, 1], "{}: {ran}", file.display());
        asked = coordinator.requests("POST /api/v4/jobs/request").len();
    }
    assert!(asked >= 10, "{asked}");
}

#[test]
fn keys_without_effect_are_named_once_in_one_line() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let keys = "custom_build_dir = { enabled = true }\n[runners.cache]\nPaths = \"x\"\n[runners.machine]\nIdleCount = 3";
    coordinator.configure("concurent = 2", &[keys]);
    let runner = serve(&coordinator);
    coordinator.wait_for_requests("POST /api/v4/jobs/request", 1);
    coordinator.configure("concurent = 3", &[keys]);
    signal(&runner, "HUP");
    coordinator.wait_for_requests("POST /api/v4/jobs/request", 3);
    signal(&runner, "QUIT");
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    let warnings: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.contains(" WARN "))
        .collect();
    let want = "config.toml:2:1: concurent (did you mean `concurrent`?), 9:1: runners.cache.Paths, 10:10: \
                runners.machine (of the executor docker+machine): no effect here";
    assert!(
        matches!(&warnings[..], [one] if one.ends_with(want)),
        "{ran}"
    );
}

#[test]
fn passwords_and_metrics_in_the_clear_are_warned_of_once() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let login = |site: &str| format!("http://me:secret-of-git@{site}/acme/site.git");
    let addresses = [
        login("git.invalid"),
        login("git.invalid"),
        "http://open.invalid/acme/site.git".to_owned(),
        login("127.0.0.1:1"),
    ];
    let ids: Vec<u64> = addresses
        .iter()
        .map(|address| {
            let mut job = coordinator.job(BUSYBOX, &["true"]);
            job["git_info"]["repo_url"] = json!(address);
            coordinator.queue(job)
        })
        .collect();
    coordinator.configure("metrics_server = \":0\"\n", &[""]);
    let runner = serve(&coordinator);
    coordinator.wait_for_end(&ids);
    signal(&runner, "QUIT");
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    let said = "sources are fetched from http://git.invalid without TLS";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{ran}");
    assert_eq!(
        ran.stderr.matches("sources are fetched").count(),
        1,
        "{ran}"
    );
    assert!(!ran.stderr.contains("secret-of-git"), "{ran}");
    let said = "metrics_server: `:0` is on all networks of this host";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{ran}");
}

#[test]
fn a_coordinator_without_tls_is_warned_of_once() {
    let coordinator = Coordinator::new(Kind::GitLab);
    coordinator.know_runner("token-of-here");
    // The first is this host's own, and nobody sits between.
    let elsewhere = |url: &str, name: &str| {
        format!("[[runners]]\nname = \"{name}\"\nurl = \"{url}\"\ntoken = \"token-of-{name}\"\n")
    };
    let [here, one, two, safe] = [
        (coordinator.url(), "here"),
        ("http://ci.invalid/".to_owned(), "one"),
        ("http://ci.invalid/".to_owned(), "two"),
        ("https://ci.invalid/".to_owned(), "safe"),
    ]
    .map(|(url, name)| elsewhere(&url, name));
    let all = [&here, &one, &two, &safe].map(String::as_str).concat();
    fs::write(coordinator.beside("config.toml"), &all).expect("written");
    let runner = serve(&coordinator);
    coordinator.wait_for_requests("POST /api/v4/jobs/request", 1);
    fs::write(
        coordinator.beside("config.toml"),
        all.replace("token-of-two", "token-of-three"),
    )
    .expect("written");
    signal(&runner, "HUP");
    coordinator.wait_for_requests("POST /api/v4/jobs/request", 3);
    signal(&runner, "QUIT");
    let ran = Ran::from(runner.wait_with_output().expect("ended"));
    let said = "the coordinator http://ci.invalid/ is talked to without TLS";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{ran}");
    assert_eq!(ran.stderr.matches("without TLS").count(), 1, "{ran}");

    coordinator
        .run("register --non-interactive --url http://127.0.0.1:1/ --registration-token x")
        .not_on_stderr("without TLS");
    let ran = coordinator.run(
        "register --non-interactive --name new --url http://ci.invalid/ --registration-token x",
    );
    ran.fails(3);
    assert_eq!(ran.stderr.matches(said).count(), 1, "{ran}");
}
