//! Engines in trouble at any moment, and for long: minutes of it.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Kind};
use support::second_engine::SecondEngine;
use support::{BUSYBOX, Project, REDIS, RUNNER, Ran, eventually, read_until, run};
use tempfile::TempDir;

fn engine(options: &str) -> SecondEngine {
    let variables = [("ENGINE_OPTIONS", options), ("ENGINE_DISK", "1g")];
    SecondEngine::start_with(&variables, &[], &[BUSYBOX, REDIS])
}

/// A job with everything: a service, a cache, artifacts, an `after_script`. It takes about four seconds.
fn project() -> Project {
    Project::new(
        json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis"}],
            "test": {"script": ["ls -A", "printf 'PING\\r\\nQUIT\\r\\n' | nc redis 6379", "mkdir -p kept", "echo kept >kept/text",
                        "sleep 1", "echo the end of the script"],
                "after_script": ["echo after $CI_JOB_STATUS"],
                "cache": {"key": "one", "paths": ["kept"]}, "artifacts": {"paths": ["kept"]}}}),
    )
}

/// What a run may say of itself, whatever happened to the engine: that it succeeded, where it did, or that the system
/// failed, and why.
fn judged(ran: &Ran) -> &'static str {
    let last = ran.stdout.lines().last().unwrap_or_default();
    match ran.status {
        Some(0) => {
            ran.ends("\nJob succeeded\n");
            let whole = "\n+PONG\r\n+OK\r\n";
            ran.says(whole).says("\nthe end of the script\n");
            let again = ran.stdout.contains(", the job begins again...");
            if again {
                "succeeded, begun again"
            } else {
                "succeeded"
            }
        }
        Some(3) => {
            let begin = "ERROR: Build failed (system failure): ";
            assert!(last.starts_with(begin), "{ran}");
            "system failure"
        }
        _ => panic!("{ran}"),
    }
}

#[test]
fn an_engine_that_is_started_again_at_any_moment() {
    for options in ["", "--live-restore"] {
        let engine = engine(options);
        let project = project();
        let mut ends: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let mut longest = Duration::ZERO;
        for signal in ["KILL", "TERM"] {
            for step in 0..5 {
                let began = Instant::now();
                let child = project.spawn([
                    "exec",
                    "--timeout",
                    "120",
                    "--docker-host",
                    &engine.socket(),
                    "test",
                ]);
                thread::sleep(Duration::from_millis(step * 900));
                engine.go_away(signal);
                engine.come_back();
                let ran = Ran::from(child.wait_with_output().expect("ended"));
                longest = longest.max(began.elapsed());
                *ends.entry((signal, judged(&ran))).or_default() += 1;
                // What the dead engine's containers hold, the next run of the same process's host removes.
                assert_eq!(engine.leftovers(), "", "{ran}");
            }
        }
        println!(
            "engine {options:?}, killed or stopped and started again every 0.9 s of a job: {ends:?}, the longest took \
             {longest:.1?}"
        );
    }
}

#[test]
fn an_engine_that_hangs_for_half_a_minute_at_any_moment() {
    let engine = engine("");
    let project = project();
    for step in [0, 3, 6, 12] {
        let child = project.spawn(["exec", "--docker-host", &engine.socket(), "test"]);
        thread::sleep(Duration::from_millis(step * 300));
        engine.signal("STOP");
        thread::sleep(Duration::from_secs(30));
        engine.signal("CONT");
        let ran = Ran::from(child.wait_with_output().expect("ended"));
        assert_eq!(judged(&ran), "succeeded", "{ran}");
        ran.says("\nafter success\n");
        assert_eq!(engine.leftovers(), "", "{ran}");
    }
    println!("an engine that hung for 30 s: 4 of 4 jobs succeeded");
}

#[test]
fn an_engine_that_hangs_past_the_time_of_the_job() {
    let engine = engine("");
    let project = project();
    let [mut longest, mut whole] = [Duration::ZERO; 2];
    for moment in [
        "Running with",
        "\nStarting service ",
        "\n$ sleep 1\n",
        "\nthe end of the script\n",
        "\nafter success\n",
    ] {
        let began = Instant::now();
        let mut child = project.spawn([
            "exec",
            "--timeout",
            "8",
            "--docker-host",
            &engine.socket(),
            "test",
        ]);
        let stdout = child.stdout.as_mut().expect("piped");
        read_until(stdout, moment);
        engine.signal("STOP");
        let last = "\nERROR: Build failed: execution took longer than 8 s\n";
        let stdout = read_until(stdout, last);
        longest = longest.max(began.elapsed());
        let ran = Ran::from(child.wait_with_output().expect("ended"));
        whole = whole.max(began.elapsed());
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (Some(1), ""),
            "{stdout}\n{ran}"
        );
        ran.on_stderr("cannot clean up: ")
            .on_stderr("it said nothing for");
        engine.signal("CONT");
        // What the engine was told before it hung, it may do now.
        thread::sleep(Duration::from_secs(3));
        let next = project.run(["exec", "--docker-host", &engine.socket(), "test"]);
        assert_eq!(judged(&next), "succeeded", "{moment:?}: {next}");
        assert_eq!(engine.leftovers(), "", "{ran}\n{next}");
    }
    assert!(longest < Duration::from_mins(1), "{longest:?}");
    assert!(whole < Duration::from_mins(3), "{whole:?}");
    println!(
        "an engine that hung for good: jobs of 8 s ended within {longest:.1?}, their processes gave up cleaning after \
         {whole:.1?}"
    );
}

#[test]
fn a_coordinator_hears_in_time_of_a_job_whose_engine_hangs() {
    let engine = SecondEngine::start(&[], &[BUSYBOX]);
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let mut job = coordinator.job(BUSYBOX, &["echo begun", "sleep 600"]);
    job["runner_info"]["timeout"] = json!(5);
    // No sources: the second engine does not see the coordinator.
    job["variables"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"key": "GIT_STRATEGY", "value": "none", "public": true}));
    let id = coordinator.queue(job);
    let mut command = coordinator.single(["--docker-host", &engine.socket()]);
    let began = Instant::now();
    let child = command.stderr(Stdio::piped()).spawn().expect("started");
    coordinator.wait_for_text(id, "\nbegun\n");
    engine.signal("STOP");
    let heard = coordinator.wait_for_end(&[id]).remove(0);
    let took = began.elapsed();
    heard.fails();
    assert!(took < Duration::from_secs(40), "{took:?}");
    let ran = Ran::from(child.wait_with_output().expect("ended"));
    ran.exits(0);
    engine.signal("CONT");
    println!("an engine that hung: the coordinator heard of a job of 5 s after {took:.1?}");
}

/// A registry at port 5000 of the engine's own loopback.
struct Registry {
    server: Child,
    _root: TempDir,
}

impl Registry {
    fn start(engine: &SecondEngine) -> Self {
        let root = TempDir::with_prefix("alloy-registry-").expect("a directory");
        let path = |name: &str| root.path().join(name).display().to_string();
        // JSON is YAML.
        let config = json!({"version": 0.1, "log": {"level": "error"}, "http": {"addr": "127.0.0.1:5000"},
            "storage": {"filesystem": {"rootdirectory": path("images")}}});
        fs::write(root.path().join("config.yml"), config.to_string()).expect("written");
        let server = Command::new("nsenter")
            .args([
                "--target",
                &engine.process(),
                "--net",
                "docker-registry",
                "serve",
                &path("config.yml"),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        Self {
            server,
            _root: root,
        }
    }

    /// Gives it an image of the engine's.
    fn push(engine: &SecondEngine, image: &str, name: &str) -> String {
        let name = format!("127.0.0.1:5000/{name}:1");
        engine.docker(&["tag", image, &name]);
        eventually(
            Duration::from_secs(20),
            "the registry takes an image",
            || engine.docker(&["push", "--quiet", &name]).status == Some(0),
        );
        name
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

#[test]
fn an_operator_who_prunes_all_the_time() {
    let engine = engine("");
    let _registry = Registry::start(&engine);
    let helper = run(Command::new(RUNNER).args(["helper-image", "name"])).stdout;
    let made = engine.docker(&["create", "--name", "entry", BUSYBOX]);
    made.exits(0);
    let entrypoint = r#"ENTRYPOINT ["sh", "-c", "echo the entrypoint; exec \"$@\"", "sh"]"#;
    let made = engine.docker(&["commit", "--change", entrypoint, "entry", "entrypoint"]);
    made.exits(0);
    let [busybox, redis, entrypoint, helper] = [
        (BUSYBOX, "busybox"),
        (REDIS, "redis"),
        ("entrypoint", "entrypoint"),
        (helper.trim(), "helper"),
    ]
    .map(|(image, name)| Registry::push(&engine, image, name));
    let over = AtomicBool::new(false);
    let prunes = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                engine.prune();
                prunes.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(300));
            }
        });
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            for (image, services, policy) in [
                (
                    &busybox,
                    json!([{"name": &redis, "alias": "redis"}]),
                    "if-not-present",
                ),
                (&busybox, json!([]), "if-not-present"),
                (
                    &entrypoint,
                    json!([{"name": &redis, "alias": "redis"}]),
                    "always",
                ),
            ] {
                for _ in 0..2 {
                    pruned_job(&engine, &helper, image, &services, policy);
                }
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(failure) = ended {
            panic::resume_unwind(failure);
        }
    });
    let prunes = prunes.load(Ordering::Relaxed);
    println!("6 of 6 jobs ended right beside {prunes} times `docker system prune -af --volumes`");
}

fn pruned_job(engine: &SecondEngine, helper: &str, image: &str, services: &Value, policy: &str) {
    let script = [
        "ls -A",
        "mkdir -p kept",
        "echo kept >kept/text",
        "sleep 1",
        "echo the end of the script",
    ];
    let later = ["cat kept/text"];
    let cache = json!({"key": "one", "paths": ["kept"]});
    let project = Project::new(
        json!({"image": image, "services": services, "stages": ["one", "two"],
            "test": {"stage": "one", "script": script, "after_script": ["echo after $CI_JOB_STATUS"],
                "cache": cache, "artifacts": {"paths": ["kept"]}},
            "later": {"stage": "two", "script": later, "dependencies": ["test"]}}),
    );
    let began = Instant::now();
    let ran = project.exec([
        "--docker-host",
        &engine.socket(),
        "--docker-pull-policy",
        policy,
        "--docker-helper-image",
        helper,
    ]);
    ran.exits(0);
    for line in [
        "the end of the script\n",
        "after success\n",
        "Pipeline succeeded",
    ] {
        ran.says(line);
    }
    ran.says_nothing_of("cache failed")
        .says_times(2, "Job succeeded");
    assert_eq!(engine.leftovers(), "", "{ran}");
    println!(
        "  {policy}, {} services: {:.1?}, {} times something was removed and made again",
        services.as_array().map_or(0, Vec::len),
        began.elapsed(),
        ran.stdout.matches("; somebody removed it").count()
    );
}

#[test]
fn an_engine_without_networks_ends_the_job_with_the_cause() {
    let options = "--default-address-pool base=10.198.0.0/23,size=24";
    let engine = engine(options);
    engine.docker(&["network", "create", "taken"]);
    let mut child = project().spawn(["exec", "--docker-host", &engine.socket(), "test"]);
    let mut stdout = child.stdout.take().expect("piped");
    read_until(
        &mut stdout,
        "\nERROR: Build failed (system failure): could not find an available, non-overlapping IPv4 address pool",
    );
    assert_eq!(child.wait().expect("ended").code(), Some(3));
}
