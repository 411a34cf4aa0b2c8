//! Two hundred jobs, sixteen at a time, and as many questions as a runner asks in an hour, with a docker that does
//! nothing: the runner holds afterwards what it held before.

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::coordinator::{Coordinator, Kind};
use support::soak::Ground;
use support::{BUSYBOX, Running, path_with};

const JOBS: usize = 200;
/// So many runners ask at once a second, where one would ask every three.
const RUNNERS: usize = 20;
/// What one runner asks in an hour.
const QUESTIONS: usize = 1200;
const ASKED: &str = "POST /api/v4/jobs/request";

#[test]
fn two_hundred_jobs_and_an_hour_of_questions_leave_nothing() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let keys: Vec<String> = (0..RUNNERS)
        .map(|number| format!("token = \"{number}-runner-token\""))
        .collect();
    for number in 0..RUNNERS {
        coordinator.know_runner(&format!("{number}-runner-token"));
    }
    coordinator.configure(
        "concurrent = 16",
        &keys.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let ground = Ground::new(&coordinator);
    let instant = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bin/instant");
    let mut command = coordinator.command("run");
    command
        .env("TMPDIR", ground.temporary())
        .env("PATH", path_with(&instant))
        .env("DOCKER_FAKE_PAUSE", "1");
    let runner = Running::start(command.stderr(Stdio::null()));
    let queue = |count: usize| -> Vec<u64> {
        (0..count)
            .map(|_| coordinator.queue_script(BUSYBOX, &["true"]))
            .collect()
    };
    // Every runner has had a job then, and whatever is made once is there.
    for id in queue(4 * RUNNERS) {
        coordinator.wait_for_end(&[id]);
    }
    let before = ground.rested(&runner);
    let asked = coordinator.requests(ASKED).len();
    let begin = Instant::now();
    for id in queue(JOBS) {
        let heard = &coordinator.wait_for_end(&[id])[0];
        assert_eq!(
            (heard.state.as_deref(), heard.finals),
            (Some("success"), 1),
            "{}",
            heard.log
        );
    }
    let took = begin.elapsed();
    assert_eq!(coordinator.most_running(), 16);
    while coordinator.requests(ASKED).len() < asked + QUESTIONS {
        assert!(begin.elapsed() < Duration::from_mins(10), "they ask");
        std::thread::sleep(Duration::from_secs(1));
    }
    let after = ground.rested(&runner);
    println!(
        "{JOBS} jobs, 16 at a time: {:.0} s, all ended right",
        took.as_secs_f64()
    );
    println!(
        "{} questions in {:.0} s",
        coordinator.requests(ASKED).len() - asked,
        begin.elapsed().as_secs_f64()
    );
    ground.assert_as_before(runner, &before, &after);
}
