//! A log of 50 MB for GitLab, with sections and the time of each line, costs hardly more than one without them, and GitLab
//! accepts its checksum.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::BUSYBOX;
use support::coordinator::{Coordinator, Kind};

/// How much longer the log with all of that may take.
const MOST: f64 = 1.15;
/// Of so many runs of each, by turns, the median counts.
const RUNS: usize = 5;
/// 50 MB, in lines as compilers write them.
const SCRIPT: &str = "(yes 'gcc -O2 -Wall -Wextra -Iinclude -c -o build/objects/module.o src/module.c # 12345678901234567890123' || :) | \
     head -c 50000000";

#[test]
fn sections_and_times_cost_little_in_a_log_of_50_mb() {
    let coordinator = Coordinator::new(Kind::GitLab);
    coordinator.configure("", &["output_limit = 100000"]);
    let run = |with: bool| -> Duration {
        let mut job = coordinator.gitlab_job(BUSYBOX, &[SCRIPT]);
        job["features"]["trace_sections"] = json!(with);
        let times = json!({"key": "FF_TIMESTAMPS", "value": with.to_string(), "public": true});
        job["variables"].as_array_mut().expect("a list").push(times);
        let id = coordinator.queue(job);
        let begin = Instant::now();
        coordinator
            .run(["run-single", "--runner", "docker-0", "--max-builds", "1"])
            .exits(0);
        let took = begin.elapsed();
        let heard = coordinator.heard(id);
        // A final word that does not fit the log that the coordinator has is refused.
        let end = (heard.state.as_deref(), heard.finals, heard.unfit);
        assert_eq!(end, (Some("success"), 1, 0));
        assert!(heard.trace.len() > if with { 60_000_000 } else { 50_000_000 });
        took
    };
    run(true);
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        took[0].push(run(false));
        took[1].push(run(true));
    }
    let [without, with] = took.map(|mut times| {
        times.sort_unstable();
        times[RUNS / 2].as_secs_f64()
    });
    let ratio = with / without;
    println!("50 MB: {without:.2} s, with sections and times {with:.2} s: {ratio:.2}");
    assert!(ratio <= MOST, "{ratio:.2}");
}
