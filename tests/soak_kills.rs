//! `kill -9` of a runner with several jobs, at forty moments that nobody chose: the next command removes what is left,
//! what a living runner has stays, and the coordinator hears of every job.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Kind};
use support::soak::{assert_nothing_of_processes, clients, names};
use support::{BUSYBOX, REDIS, Running, docker, run, signal};

const KILLS: u64 = 40;
const AT_ONCE: usize = 4;
/// A job takes about two seconds; the kill comes within so many milliseconds.
const MOMENTS: u64 = 6000;

fn job(coordinator: &Coordinator, random: &mut fastrand::Rng) -> Value {
    let pause = random.u64(0..3);
    let mut job = coordinator.job(
        BUSYBOX,
        &[
            "seq 1 500",
            &format!("sleep {pause}"),
            "mkdir kept",
            "seq 1 100000 >kept/file",
        ],
    );
    let secret = json!({"key": "DOCKER_TOKEN", "value": "secret-in-a-file", "public": false});
    job["variables"]
        .as_array_mut()
        .expect("a list")
        .push(secret);
    if random.bool() {
        job["services"] = json!([{"name": REDIS, "alias": "redis"}]);
    }
    if random.bool() {
        job["cache"] = json!([{"key": "some", "paths": ["kept"]}]);
    }
    if random.bool() {
        let after = json!({"name": "after_script", "script": ["sleep 1"], "timeout": 3600, "when": "always",
            "allow_failure": true});
        job["steps"].as_array_mut().expect("a list").push(after);
    }
    job
}

/// What there is of others than the runner that lives all the time.
fn left(coordinator: &Coordinator, living: &BTreeSet<String>, temporary: &Path) -> Vec<String> {
    let on_engine = coordinator.leftovers();
    let mut left: Vec<String> = on_engine
        .lines()
        .filter(|line| !line.contains("-concurrent-0-"))
        .map(str::to_owned)
        .collect();
    let state = coordinator.beside("state");
    for part in ["processes", "files"] {
        left.extend(
            names(&state.join(part))
                .difference(living)
                .map(|name| format!("{part} {name}")),
        );
    }
    left.extend(
        names(&state.join("locks"))
            .into_iter()
            .filter(|name| name != "helper-image"),
    );
    left.extend(
        names(&state)
            .into_iter()
            .filter(|name| name.starts_with('.')),
    );
    left.extend(names(temporary));
    left.extend(
        clients(&state)
            .into_iter()
            .filter(|(_, uuid)| !living.contains(uuid))
            .map(|(id, _)| format!("client {id}")),
    );
    left
}

#[test]
fn forty_kills_leave_nothing_and_every_job_is_reported() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let coordinator = Coordinator::new(Kind::AlloyCi);
    coordinator.configure(
        &format!("concurrent = {}", AT_ONCE + 1),
        &[&format!("request_concurrency = {AT_ONCE}")],
    );
    let temporary = coordinator.beside("temporary");
    fs::create_dir(&temporary).expect("made");
    let goes_on = coordinator.queue_script(
        BUSYBOX,
        &["echo begun; until [ -e /tmp/go ]; do sleep 1; done; echo alive"],
    );
    let mut living = Running::start(coordinator.single([]).stderr(Stdio::null()));
    coordinator.wait_for_text(goes_on, "\nbegun\n");
    let state = coordinator.beside("state");
    let alive = names(&state.join("processes"));
    assert_eq!(alive.len(), 1);

    let begin = Instant::now();
    let mut ids = Vec::new();
    let (mut found, mut dirty) = (0, 0);
    for round in 0..KILLS {
        ids.extend((0..=AT_ONCE).map(|_| coordinator.queue(job(&coordinator, &mut random))));
        let mut command = coordinator.command("run");
        let victim = Running::start(command.env("TMPDIR", &temporary).stderr(Stdio::null()));
        std::thread::sleep(Duration::from_millis(random.u64(0..MOMENTS)));
        victim.kill_and_wait();
        let before = left(&coordinator, &alive, &temporary);
        found += before.len();
        dirty += u32::from(!before.is_empty());
        // A service manager kills clients too. What the engine still makes for them comes too late for one look.
        let clients_too = round % 4 == 3;
        if clients_too {
            for (id, _) in clients(&state)
                .into_iter()
                .filter(|(_, uuid)| !alive.contains(uuid))
            {
                run(std::process::Command::new("kill").args(["-KILL", &id]));
            }
        }
        let next: &[&str] = if round % 2 == 0 || clients_too {
            &["prune"]
        } else {
            &["run-single", "--runner", "docker-0"]
        };
        let ran = run(&mut coordinator.command(next));
        assert_eq!(ran.status, Some(0), "round {round}: {ran}");
        if clients_too {
            std::thread::sleep(Duration::from_secs(3));
            run(&mut coordinator.command("prune"));
        }
        let after = left(&coordinator, &alive, &temporary);
        assert!(after.is_empty(), "round {round}: {after:#?} {ran}");
    }
    let took = begin.elapsed();

    finish(&coordinator, &ids);
    let build = format!(
        "runner-runner_t-project-{}-concurrent-0-build",
        coordinator.project
    );
    docker(&["exec", &build, "touch", "/tmp/go"]);
    let heard = &coordinator.wait_for_end(&[goes_on])[0];
    heard.succeeds().says("\nalive\n");
    assert_eq!(living.wait().expect("ended").code(), Some(0));
    assert_eq!(coordinator.leftovers(), "");
    assert_nothing_of_processes(&state);

    let heard: Vec<_> = ids.iter().map(|id| coordinator.heard(*id)).collect();
    let count = |state: Option<&str>| {
        heard
            .iter()
            .filter(|heard| heard.state.as_deref() == state)
            .count()
    };
    println!(
        "{KILLS} kills in {:.0} s, {dirty} of them left something: {found} things; afterwards none",
        took.as_secs_f64()
    );
    println!(
        "{} jobs: {} succeeded, {} reported as failed by the next start, {} never reported",
        ids.len(),
        count(Some("success")),
        count(Some("failed")),
        count(None)
    );
    for heard in heard
        .iter()
        .filter(|heard| heard.state.as_deref() == Some("failed"))
    {
        heard.says("the runner was killed");
    }
    // A job whose hand-out was on its way when the runner was killed is known to nobody.
    assert!(count(None) <= 4, "never reported: {}", count(None));
}

/// Those that nobody has got yet go through.
fn finish(coordinator: &Coordinator, ids: &[u64]) {
    let runner = Running::start(coordinator.command("run").stderr(Stdio::null()));
    let waiting = ids.iter().filter(|id| !coordinator.is_handed_out(**id));
    for id in waiting.copied().collect::<Vec<u64>>() {
        let heard = &coordinator.wait_for_end(&[id])[0];
        heard.succeeds();
    }
    signal(&runner, "QUIT");
    let ended = runner.wait_with_output().expect("ended");
    assert_eq!(ended.status.code(), Some(0));
}
