//! Thirty jobs on three engines, two at a time on each: their spread, their time against one engine with as many slots,
//! and what becomes of them when an engine is killed in the middle.

mod support;

use std::time::{Duration, Instant};

use support::coordinator::{Coordinator, Heard, Kind};
use support::eventually;
use support::pool::{Engines, Served, job, runs_on};

const JOBS: usize = 30;
/// A third of the jobs each, within a fifth of that.
const SHARE: std::ops::RangeInclusive<usize> = 8..=12;

fn queue(coordinator: &Coordinator, count: usize, script: &[&str]) -> Vec<u64> {
    (0..count)
        .map(|_| coordinator.queue(job(coordinator, script)))
        .collect()
}

/// Runs the jobs to their end, six at once, with the time that took.
fn all(engines: &Engines, keys: &str) -> (Vec<Heard>, Duration) {
    let coordinator = Coordinator::new(Kind::GitLab);
    let ids = queue(&coordinator, JOBS, &["sleep 5", "seq 1000 | wc -l"]);
    let runner = Served::start(&coordinator, engines, keys);
    let begin = Instant::now();
    let heard = coordinator.wait_for_end(&ids);
    let took = begin.elapsed();
    runner.quit();
    for heard in &heard {
        heard.succeeds();
    }
    assert_eq!(coordinator.most_running(), 6);
    engines.wait_until_clean();
    (heard, took)
}

#[test]
fn thirty_jobs_spread_over_three_engines() {
    let engines = Engines::start();
    let (heard, pool) = all(&engines, &engines.keys(2));
    let spread = engines.spread(&heard);
    let (_, single) = all(&engines, &engines.keys_of(&engines.hosts[2..], 6));
    println!(
        "{JOBS} jobs on three engines, two at a time on each: {:.1} s, spread {spread:?}; six at a time on one: {:.1} s",
        pool.as_secs_f64(),
        single.as_secs_f64()
    );
    assert!(
        spread.iter().all(|share| SHARE.contains(share)),
        "{spread:?}"
    );
}

#[test]
fn thirty_jobs_of_whose_engines_one_is_killed_in_the_middle() {
    let engines = Engines::start();
    let coordinator = Coordinator::new(Kind::GitLab);
    let ids = queue(&coordinator, JOBS, &["echo begun", "sleep 5"]);
    let runner = Served::start(&coordinator, &engines, &engines.keys(2));
    let lost = &engines.hosts[2];
    let runs_there = |id: &&u64| {
        let heard = coordinator.heard(**id);
        let log = String::from_utf8_lossy(&heard.trace);
        heard.state.is_none() && log.contains(&runs_on(lost)) && log.contains("\nbegun\n")
    };
    let has_ended = |id: &&u64| coordinator.heard(**id).state.is_some();
    eventually(
        Duration::from_mins(2),
        "it has two jobs in the middle",
        || {
            let ended = ids.iter().filter(has_ended);
            ended.count() >= JOBS / 3 && ids.iter().filter(runs_there).count() == 2
        },
    );
    engines.context.go_away("KILL");
    runner.wait_for(&format!(
        "the engine {lost} does not answer and gets no jobs"
    ));
    engines.context.come_back();
    runner.wait_for(&format!("the engine {lost} answers again"));
    let heard = coordinator.wait_for_end(&ids);
    let failed: Vec<&Heard> = heard
        .iter()
        .filter(|heard| heard.state.as_deref() != Some("success"))
        .collect();
    for heard in &failed {
        let end = format!("; engine: {lost}\u{1b}[0;m\n");
        heard.fails_by("runner_system_failure").ends(end);
    }
    // Between the look at the logs and the kill, one may have ended.
    assert!((1..=2).contains(&failed.len()), "{}", failed.len());
    // It gets jobs again.
    let after = coordinator.wait_for_end(&queue(&coordinator, 6, &["sleep 5"]));
    for heard in &after {
        heard.succeeds();
    }
    println!(
        "one killed in the middle, back at once: {} of {JOBS} jobs failed, all of them there; spread {:?}, and of six \
         more {:?}",
        failed.len(),
        engines.spread(&heard),
        engines.spread(&after)
    );
    assert_eq!(engines.spread(&after), [2, 2, 2]);
    runner.said_once(&format!(
        "the engine {lost} does not answer and gets no jobs"
    ));
    runner.said_once(&format!("the engine {lost} answers again"));
    engines.wait_until_clean();
    runner.quit();
}
