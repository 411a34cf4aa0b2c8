//! `run` and `run-single` with a coordinator that behaves: jobs from asking to the last word.

mod support;

use std::fs;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Fault, Heard, Kind, RUNNER_TOKEN};
use support::{BUSYBOX, NONROOT, REDIS, Ran, Running, git, signal};

/// Starts `run`, which ends when it is told to.
fn serve(coordinator: &Coordinator, arguments: &[&str]) -> Running {
    let mut command = coordinator.command([&["run"], arguments].concat());
    Running::start(command.stderr(Stdio::piped()))
}

/// Ends it in an orderly way, and returns what it wrote to stderr.
fn quit(child: Running) -> String {
    signal(&child, "QUIT");
    let ran = Ran::from(child.wait_with_output().expect("ended"));
    ran.exits(0);
    ran.stderr
}

fn assert_success(heard: &Heard) {
    heard.succeeds().ends("Job succeeded\u{1b}[0;m\n");
}

#[test]
fn one_job_from_request_to_final_update() {
    for kind in [Kind::AlloyCi, Kind::GitLab] {
        let coordinator = Coordinator::new(kind);
        let id = coordinator.queue_script(
            BUSYBOX,
            &["echo it\\'s done", "cat README", "echo $CI_CONCURRENT_ID"],
        );
        let ran = coordinator.serve([]);
        ran.exits(0);
        let said = &ran.stderr;
        let job = format!(" single job {id}] job ");
        assert!(
            said.contains(&format!("{job}started: git/acme/site, test (stage test)\n")),
            "{ran}"
        );
        let ended = said
            .split_once(&format!("{job}ended after "))
            .expect("said")
            .1;
        assert!(
            ended.contains(" s: git/acme/site, test (stage test): Job succeeded\n"),
            "{ran}"
        );
        let heard = coordinator.heard(id);
        assert_success(&heard);
        let lines: Vec<&str> = heard.log.lines().collect();
        assert!(
            lines[0].starts_with("Running with alloy-runner 0.1.0 ("),
            "{lines:?}"
        );
        assert_eq!(lines[1], "  on single runner_t");
        heard
            .says("\nCloning repository...\n")
            .says("\nit's done\n")
            .says("\na site\n");
        assert_eq!((heard.finals, heard.failure_reason), (1, None));
    }
}

/// Lines that no two jobs have alike, with characters of every length.
fn lines(job: usize) -> String {
    let line = |number: usize| {
        format!(
            "{job}:{number} grün → \u{1f980} \"quoted\\\" \t{}\n",
            "x".repeat(number % 97)
        )
    };
    (0..400).map(line).collect()
}

#[test]
fn twenty_jobs_four_at_a_time_with_their_logs_complete() {
    for kind in [Kind::AlloyCi, Kind::GitLab] {
        let coordinator = Coordinator::new(kind);
        let work = coordinator.work();
        for job in 0..20 {
            fs::write(work.join(format!("lines-{job}")), lines(job)).expect("written");
        }
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-qm", "lines"]);
        git(&work, &["push", "-q", "origin", "HEAD:refs/heads/master"]);
        let count = if kind == Kind::AlloyCi { 20 } else { 6 };
        let ids: Vec<u64> = (0..count)
            .map(|job| {
                coordinator.queue_script(
                    BUSYBOX,
                    &["echo begin", &format!("cat lines-{job}"), "echo end"],
                )
            })
            .collect();
        coordinator.configure("concurrent = 4", &[""]);
        let runner = serve(&coordinator, &[]);
        for (job, heard) in coordinator.wait_for_end(&ids).iter().enumerate() {
            assert_success(heard);
            let command = format!("\u{1b}[32;1m$ cat lines-{job}\u{1b}[0;m\n");
            let end = "\u{1b}[32;1m$ echo end\u{1b}[0;m\nend\n";
            let printed = format!("begin\n{command}{}{end}", lines(job));
            heard.says(&printed);
        }
        let most = coordinator.most_running();
        assert!((2..=4).contains(&most), "{most} at once");
        quit(runner);
        assert_eq!(coordinator.leftovers(), "");
    }
}

#[test]
fn polls_come_evenly_and_answers_are_remembered() {
    let coordinator = Coordinator::new(Kind::GitLab);
    coordinator.know_runner("second-token-of-two");
    coordinator.configure("", &["", "token = \"second-token-of-two\""]);
    let runner = serve(&coordinator, &[]);
    coordinator.wait_for_requests("POST /api/v4/jobs/request", 7);
    quit(runner);
    let updates = coordinator.last_updates();
    assert_eq!(updates[..2], [None, None]);
    assert!(
        updates[2..]
            .iter()
            .all(|update| update.as_deref() == Some("update-17")),
        "{updates:?}"
    );
    let asked = coordinator.requests("POST /api/v4/jobs/request");
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Two runners, a second apart each: one question every half second.
    let even = pauses
        .iter()
        .filter(|pause| (300..700).contains(&pause.as_millis()))
        .count();
    assert!(even * 2 > pauses.len(), "{pauses:?}");
}

#[test]
fn runners_take_turns_where_the_coordinator_holds_their_requests_open() {
    let coordinator = Coordinator::new(Kind::GitLab);
    coordinator.know_runner("second-token-of-two");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    coordinator.misbehave(move |request| {
        if request.path.ends_with("/jobs/request") {
            let second = request.json()["token"] == "second-token-of-two";
            seen.lock().expect("no panic").push(second);
            // Longer than the interval of one second: the runner that has just asked is due first when this ends.
            std::thread::sleep(Duration::from_millis(2500));
        }
        None
    });
    // The one slot is taken while a request is open.
    coordinator.configure("concurrent = 1", &["", "token = \"second-token-of-two\""]);
    let runner = serve(&coordinator, &[]);
    coordinator.wait_for_requests("POST /api/v4/jobs/request", 5);
    quit(runner);
    let asked = asked.lock().expect("no panic");
    assert_eq!(asked[..4], [false, true, false, true]);
}

#[test]
fn the_log_is_patched_while_it_grows_and_a_silent_job_is_asked_about() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let script = [
        "echo early",
        "sleep 7",
        "printf torn...; sleep 14; echo ' line'",
    ];
    let id = coordinator.queue_script(BUSYBOX, &script);
    coordinator.serve([]).exits(0);
    let heard = coordinator.heard(id);
    assert_success(&heard);
    heard.says("\ntorn... line\n");
    let texts: Vec<String> = heard
        .patches
        .iter()
        .map(|(_, bytes, _)| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    assert!(texts.iter().any(String::is_empty), "{texts:?}");
    let torn = texts
        .iter()
        .filter(|text| !text.is_empty() && !text.ends_with('\n'));
    assert_eq!(torn.collect::<Vec<_>>(), ["torn..."], "{texts:?}");
    let times: Vec<Instant> = heard
        .patches
        .iter()
        .filter_map(|(.., when)| *when)
        .collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest < Some(Duration::from_secs(5)), "{longest:?}");
}

#[test]
fn large_logs_come_in_patches_of_a_mebibyte_and_are_cut_where_the_limit_is() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let print = "yes 0123456789abcde | head -c 6000000 || true";
    let whole = coordinator.queue_script(BUSYBOX, &[print, "echo the end"]);
    coordinator.serve("--output-limit 8000").exits(0);
    let heard = coordinator.heard(whole);
    assert_success(&heard);
    heard.says_times(375_000, "0123456789abcde\n");
    assert!(
        heard
            .patches
            .iter()
            .any(|(_, bytes, _)| bytes.len() > 900_000)
    );

    let cut = coordinator.queue_script(BUSYBOX, &[print, "echo the end", "exit 3"]);
    coordinator.serve("--output-limit 100");
    let heard = coordinator.heard(cut);
    heard.fails();
    assert!(heard.log.len() < 110 * 1024, "{}", heard.log.len());
    let end = "\n[the log is cut here: it has 100 kB, and output_limit allows no more]\n\
               \u{1b}[31;1mERROR: Build failed: exit code 3\u{1b}[0;m\n";
    assert!(
        heard.log.ends_with(end),
        "{}",
        &heard.log[heard.log.len() - 300..]
    );
}

#[test]
fn what_is_no_text_is_replaced() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let id = coordinator.queue_script(BUSYBOX, &["printf 'a\\000b\\377c\\n'"]);
    coordinator.serve([]);
    let heard = coordinator.heard(id);
    assert_success(&heard);
    heard.says("\na\u{fffd}b\u{fffd}c\n");
}

#[test]
fn services_after_scripts_and_failures_are_told() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let step = |name: &str, script: Value, when: &str| json!({"name": name, "script": script, "timeout": 3600, "when": when, "allow_failure": false});
    let mut job = coordinator.job(BUSYBOX, &[]);
    job["services"] = json!([{"name": REDIS, "alias": "redis"}]);
    job["steps"] = json!([
        step(
            "script",
            json!([
                "printf 'PING\\r\\n' | nc -w 5 redis 6379 | grep -q PONG && echo there",
                "exit 7"
            ]),
            "manual"
        ),
        step(
            "after_script",
            json!(["echo after $CI_JOB_STATUS"]),
            "always"
        )
    ]);
    let script = coordinator.queue(job);
    let mut job = coordinator.job("localhost:1/no/such", &["x"]);
    job["image"]["entrypoint"] = Value::Null;
    let image = coordinator.queue(job);
    let invalid = coordinator.queue_script("--privileged", &["x"]);
    coordinator.serve("--max-builds 3").exits(0);
    for (id, text) in [
        (script, "\nthere\n"),
        (script, "\nafter failed\n"),
        (script, "ERROR: Build failed: exit code 7"),
        (
            image,
            "ERROR: Build failed: Error: image localhost:1/no/such:latest not found",
        ),
        (
            invalid,
            "ERROR: Build failed: Error: test.image: `--privileged` is no image name",
        ),
        (invalid, "Running with alloy-runner 0.1.0 ("),
    ] {
        let heard = coordinator.heard(id);
        heard.fails();
        assert_eq!(
            heard.failure_reason.as_deref(),
            Some("script_failure"),
            "{}",
            heard.log
        );
        heard.says(text);
    }
}

#[test]
fn a_commit_is_found_by_branch_tag_id_or_pull_request() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let work = coordinator.work();
    let commit = |text: &str, to: &str| {
        fs::write(work.join("README"), text).expect("written");
        git(&work, &["commit", "-qam", text]);
        git(&work, &["push", "-qf", "origin", &format!("HEAD:{to}")]);
        git(&work, &["rev-parse", "HEAD"])
    };
    let tagged = commit("tagged", "refs/tags/v1");
    let pushed_over = commit("pushed over", "refs/heads/feature/x");
    git(&work, &["reset", "-q", "--hard", "HEAD~1"]);
    let branch = commit("branch", "refs/heads/feature/x");
    git(&work, &["reset", "-q", "--hard", "HEAD~2"]);
    let fork = commit("fork", "refs/pull/7/head");
    let bare = coordinator.beside("acme/site.git");
    for (reference, kind, sha, text) in [
        ("refs/heads/feature/x", "branch", &branch, "branch"),
        (
            "refs/heads/feature/x",
            "branch",
            &pushed_over,
            "pushed over",
        ),
        ("refs/tags/v1", "branch", &tagged, "tagged"),
        ("v1", "tag", &tagged, "tagged"),
        ("octocat:patch-1", "branch", &fork, "fork"),
    ] {
        for any_id in ["true", "false"] {
            if text == "pushed over" && any_id == "false" {
                continue;
            }
            // Servers that hand out no commit by its id have it by a ref, or not at all.
            git(&bare, &["config", "uploadpack.allowAnySHA1InWant", any_id]);
            let mut job = coordinator.job(
                NONROOT,
                &[
                    "cat README",
                    "echo \"<$CI_COMMIT_REF_NAME>\"",
                    "git remote get-url origin",
                ],
            );
            job["git_info"]["ref"] = json!(reference);
            job["git_info"]["ref_type"] = json!(kind);
            job["git_info"]["sha"] = json!(sha);
            let id = coordinator.queue(job);
            coordinator.serve([]);
            let heard = coordinator.heard(id);
            assert_success(&heard);
            assert!(
                heard.log.contains(&format!("\n{text}\n"))
                    || heard.log.contains(&format!("m\n{text}")),
                "{}",
                heard.log
            );
            let name = reference
                .trim_start_matches("refs/heads/")
                .trim_start_matches("refs/tags/");
            heard.says(format!("<{name}>"));
            let url = format!("{}/git/acme/site.git\n", coordinator.url());
            assert!(
                heard.log.contains(&url),
                "no password stays in the sources: {}",
                heard.log
            );
        }
    }
}

#[test]
fn a_job_that_may_fetch_finds_its_sources_again() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let mut logs = Vec::new();
    for _ in 0..2 {
        let mut job = coordinator.job(BUSYBOX, &["cat README"]);
        job["allow_git_fetch"] = json!(true);
        let id = coordinator.queue(job);
        coordinator.serve([]);
        assert_success(&coordinator.heard(id));
        logs.push(coordinator.heard(id).log);
    }
    assert!(logs[0].contains("\nCloning repository...\n"), "{}", logs[0]);
    assert!(logs[1].contains("\nFetching changes...\n"), "{}", logs[1]);
}

#[test]
fn jobs_that_cannot_be_read_or_were_torn_are_reported() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let mut job = coordinator.job(BUSYBOX, &["x"]);
    job["steps"] = json!("SECRET");
    let unreadable = coordinator.queue(job);
    coordinator.serve([]);
    let torn = coordinator.queue_script(BUSYBOX, &["x"]);
    coordinator.misbehave(|request| {
        request
            .path
            .ends_with("/jobs/request")
            .then_some(Fault::Torn(200))
    });
    coordinator.serve([]);
    let lost = coordinator.queue_script(BUSYBOX, &["x"]);
    coordinator.misbehave(|request| {
        request
            .path
            .ends_with("/jobs/request")
            .then_some(Fault::Torn(10))
    });
    coordinator
        .serve([])
        .fails(3)
        .on_stderr("a job was handed out, and was lost on its way");
    assert_eq!(coordinator.heard(lost).state, None);
    for (id, text) in [
        (unreadable, "an unexpected value at steps"),
        (torn, "cannot be read"),
    ] {
        let heard = coordinator.heard(id);
        heard.fails();
        assert_eq!(
            heard.failure_reason.as_deref(),
            Some("runner_system_failure")
        );
        heard.says(text).says_nothing_of("SECRET");
    }
}

#[test]
fn a_token_that_no_request_can_carry_fails_its_job_at_once() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    for token in ["line\nbreak", "nul\0"] {
        let mut job = coordinator.job(BUSYBOX, &["x"]);
        job["token"] = json!(token);
        let id = coordinator.queue(job);
        let began = Instant::now();
        coordinator.serve([]);
        // It was two minutes of tries.
        assert!(began.elapsed() < Duration::from_secs(45), "{token:?}");
        let heard = coordinator.heard(id);
        assert_eq!(heard.state.as_deref(), Some("failed"), "{token:?}");
        assert!(
            heard.log.contains("the job's token holds characters"),
            "{token:?}: {}",
            heard.log
        );
    }
}

#[test]
fn cron_lines_that_overlap_share_a_project_or_end_at_once() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let script = ["echo I am $CI_CONCURRENT_ID", "sleep 6"];
    let ids = [
        coordinator.queue_script(BUSYBOX, &script),
        coordinator.queue_script(BUSYBOX, &script),
    ];
    let mut first = coordinator.single([]);
    let mut first = Running::start(first.stderr(Stdio::null()));
    coordinator.wait_for_requests("POST /api/v4/jobs/request", 1);
    coordinator.serve([]).exits(0);
    assert_eq!(first.wait().expect("ended").code(), Some(0));
    let mut numbers: Vec<String> = coordinator
        .wait_for_end(&ids)
        .iter()
        .map(|heard| {
            assert_success(heard);
            heard
                .log
                .lines()
                .find_map(|line| line.strip_prefix("I am "))
                .expect("a number")
                .to_owned()
        })
        .collect();
    numbers.sort();
    assert_eq!(numbers, ["0", "1"]);

    let asked = coordinator.requests("POST /api/v4/jobs/request").len();
    let id = coordinator.queue_script(BUSYBOX, &script);
    let mut first = coordinator.single("--limit 1");
    let mut first = Running::start(first.stderr(Stdio::null()));
    coordinator.wait_for_requests("POST /api/v4/jobs/request", asked + 1);
    let begin = Instant::now();
    let second = coordinator.serve("--limit 1");
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    second.exits(0);
    // `concurrent` of the configuration counts over all runners and processes.
    coordinator.configure("concurrent = 1", &[""]);
    coordinator.run("run-single --runner docker-0").exits(0);
    assert_success(&coordinator.wait_for_end(&[id])[0]);
    assert_eq!(first.wait().expect("ended").code(), Some(0));
    let third_asked = coordinator.requests("POST /api/v4/jobs/request").len() - asked;
    assert!(third_asked <= 2, "{third_asked}");
}

#[test]
fn run_single_waits_and_counts_as_it_is_told() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let begin = Instant::now();
    coordinator.serve("--wait-timeout 4").exits(0);
    assert!(
        begin.elapsed() >= Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
    assert!(coordinator.requests("POST /api/v4/jobs/request").len() >= 2);
    let ids: Vec<u64> = (0..3)
        .map(|_| coordinator.queue_script(BUSYBOX, &["true"]))
        .collect();
    coordinator
        .serve("--max-builds 2 --wait-timeout 30")
        .exits(0);
    assert!(coordinator.heard(ids[1]).state.is_some());
    assert_eq!(coordinator.heard(ids[2]).state, None);
    let mut forever = coordinator.single("--forever");
    let forever = Running::start(forever.stderr(Stdio::piped()));
    assert_success(&coordinator.wait_for_end(&ids)[2]);
    quit(forever);
}

#[test]
fn a_refused_token_rests_its_runner_and_no_other() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let id = coordinator.queue_script(BUSYBOX, &["true"]);
    coordinator.configure(
        "concurrent = 2",
        &["token = \"nobody-knows-it\"", "", "executor = \"shell\""],
    );
    let runner = serve(&coordinator, &[]);
    assert_success(&coordinator.wait_for_end(&[id])[0]);
    coordinator.wait_for_requests("POST /api/v4/jobs/request", 6);
    // With another configuration, it is asked for again.
    coordinator.know_runner("nobody-knows-it");
    let again = coordinator.last_updates().len();
    coordinator.configure("concurrent = 3", &["token = \"nobody-knows-it\""]);
    support::eventually(Duration::from_secs(20), "a question", || {
        coordinator.last_updates().len() > again + 1
    });
    let log = quit(runner);
    let refused = log
        .lines()
        .filter(|line| line.contains("the token is refused"))
        .count();
    assert_eq!(refused, 1, "{log}");
    assert!(log.contains("ERROR docker-0] "), "{log}");
    assert!(
        log.contains("the runner `docker-2` has the executor `shell`, which is not supported"),
        "{log}"
    );
    assert!(
        !log.contains("nobody-knows-it") && !log.contains(RUNNER_TOKEN),
        "{log}"
    );
}

#[test]
fn lines_for_machines_say_runner_and_job() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let id = coordinator.queue_script(BUSYBOX, &["true"]);
    let ran = coordinator.serve("--log-format json");
    let lines: Vec<Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of_job: Vec<&Value> = lines.iter().filter(|line| line["job"] == id).collect();
    assert!(of_job.len() >= 2, "{ran}");
    for line in &lines {
        assert_eq!(line["runner"], "single");
        assert!(
            line["time"].is_string() && line["level"].is_string() && line["message"].is_string()
        );
    }
}

#[test]
fn metrics_count_jobs_and_requests() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let good = coordinator.queue_script(BUSYBOX, &["true"]);
    let bad = coordinator.queue_script(BUSYBOX, &["false"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound")
        .port();
    coordinator.configure(&format!("listen_address = \"127.0.0.1:{port}\""), &[""]);
    let runner = serve(&coordinator, &[]);
    coordinator.wait_for_end(&[good, bad]);
    let get = |path: &str| {
        let answer = ureq::get(format!("http://127.0.0.1:{port}{path}")).call();
        answer
            .expect("an answer")
            .body_mut()
            .read_to_string()
            .expect("text")
    };
    let done = r#"alloy_runner_failed_jobs_total{runner="docker-0",reason="script_failure"} 1"#;
    support::eventually(Duration::from_secs(10), done, || {
        get("/metrics").contains(done)
    });
    let text = get("/metrics");
    for line in [
        r#"alloy_runner_ended_jobs_total{runner="docker-0",state="success"} 1"#,
        r#"alloy_runner_api_requests_total{runner="docker-0",endpoint="jobs/update",status="200"} 2"#,
        r#"alloy_runner_job_duration_seconds_count{runner="docker-0"} 2"#,
        r#"alloy_runner_job_stage_duration_seconds_count{runner="docker-0",stage="build"} 2"#,
        r#"alloy_runner_jobs{runner="docker-0",state="running",stage="build"} 0"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!(get("/healthz"), "ok\n");
    quit(runner);
}
