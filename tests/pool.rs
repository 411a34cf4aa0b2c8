//! Pools of engines: the jobs of one runner spread over several engines, which may fail and come back.

mod support;

use std::process::Stdio;

use serde_json::json;
use support::coordinator::{Coordinator, Kind};
use support::pool::{Engines, Served, job, runs_on};
use support::{BUSYBOX, Project, Ran, fake_docker, path_with, read_until, run, signal};

/// An engine that is not there.
const NOWHERE: &str = "tcp://127.0.0.1:1";

/// The engine that all other tests work with.
fn first_engine() -> String {
    std::env::var("DOCKER_HOST").unwrap_or("unix:///var/run/docker.sock".to_owned())
}

/// A project with as many jobs in one stage, `job-0` and so on.
fn project(jobs: usize, script: &[&str]) -> Project {
    let mut file = json!({"image": BUSYBOX});
    for number in 0..jobs {
        file[format!("job-{number}")] = json!({"script": script});
    }
    Project::new(file)
}

#[test]
fn the_jobs_of_a_stage_spread_over_engines_by_tls_ssh_and_a_context() {
    let engines = Engines::start();
    let project = project(6, &["sleep 2", "cat .alloy-ci.json | wc -l"]);
    let config = format!(
        "[[runners]]\nname = \"ci\"\n[runners.docker]\nvolumes = [\"/kept\"]\n{}",
        engines.keys(2)
    );
    project.write("../config.toml", &config);
    let run_with_config = |command: &str| {
        let mut command = project.command(format!("--config ../config.toml {command}").as_str());
        engines.reach(&mut command);
        run(&mut command)
    };
    // One lacks the helper image, and gets it from another one.
    let helper = project.run("helper-image name").stdout;
    let removed = engines.context.docker(&["image", "rm", helper.trim()]);
    removed.exits(0);
    let ran = run_with_config("-x exec --runner ci");
    ran.exits(0)
        .says_times(1, "Bringing helper image ")
        .says_nothing_of("Building helper image ");
    for host in &engines.hosts {
        ran.says_times(2, runs_on(host));
    }
    // Each command goes to its engine alone.
    for words in [
        "docker --context big run ",
        "docker --host ssh://root@engine run ",
        " | docker --context big load --quiet >/dev/null",
    ] {
        ran.on_stderr(words);
    }
    engines.wait_until_clean();
    let pruned = run_with_config("prune --caches --runner ci");
    pruned.exits(0);
    for host in &engines.hosts {
        pruned.says(format!(" on {host}\n"));
    }
}

#[test]
fn an_engine_that_goes_away_fails_its_jobs_by_name_and_gets_jobs_again_when_it_is_back() {
    let engines = Engines::start();
    let coordinator = Coordinator::new(Kind::GitLab);
    let queue = |script: &[&str]| coordinator.queue(job(&coordinator, script));
    let waits = "echo begun; until [ -e /tmp/go ]; do sleep 0.1; done";
    let ids = [(); 3].map(|()| queue(&[waits]));
    let runner = Served::start(&coordinator, &engines, &engines.keys(1));
    for id in &ids {
        coordinator.wait_for_text(*id, "\nbegun\n");
    }
    let on_each = engines.hosts.each_ref().map(|host| {
        let runs_there = |id: &&u64| {
            let trace = coordinator.heard(**id).trace;
            String::from_utf8_lossy(&trace).contains(&runs_on(host))
        };
        let found = ids.iter().find(runs_there);
        *found.unwrap_or_else(|| panic!("a job on {host}"))
    });
    let lost = &engines.hosts[2];
    let metric = |name: &str, value: u32| {
        let labels = format!("runner=\"docker-0\",engine=\"{lost}\"");
        runner.wait_for_metric(&format!("alloy_runner_engine_{name}{{{labels}}} {value}"));
    };
    metric("jobs", 1);
    metric("resting", 0);

    let more = [(); 3].map(|()| queue(&["true"]));
    // Its socket refuses connections then. The port of the one with TLS is held by another process: they would hang.
    engines.context.go_away("KILL");
    let end = format!("; engine: {lost}\u{1b}[0;m\n");
    coordinator.wait_for_end(&on_each[2..])[0]
        .fails_by("runner_system_failure")
        .ends(end);
    metric("resting", 1);
    for (engine, id) in [(&engines.tls, on_each[0]), (&engines.ssh, on_each[1])] {
        let build = engine.docker(&["ps", "--quiet", "--filter", "name=-build"]);
        let name = build.stdout.trim();
        engine.docker(&["exec", name, "touch", "/tmp/go"]).exits(0);
        coordinator.wait_for_end(&[id])[0].succeeds();
    }
    let heard = coordinator.wait_for_end(&more);
    assert_eq!(engines.spread(&heard)[2], 0, "it rests");
    for heard in heard {
        heard.succeeds();
    }

    engines.context.come_back();
    runner.wait_for(&format!("the engine {lost} answers again"));
    metric("resting", 0);
    engines.wait_until_clean();
    // It comes first: it has been without a job for the longest time.
    let heard = coordinator.wait_for_end(&[(); 3].map(|()| queue(&["true"])));
    assert_ne!(engines.spread(&heard)[2], 0, "it gets jobs again");
    // No job was asked for that could not run at once.
    assert_eq!(coordinator.most_running(), 3);
    runner.said_once(&format!(
        "the engine {lost} does not answer and gets no jobs"
    ));
    runner.said_once(&format!("the engine {lost} answers again"));
    runner.quit();
    engines.wait_until_clean();
}

#[test]
fn after_a_kill_the_next_start_cleans_up_all_engines_one_of_them_when_it_is_back() {
    let engines = Engines::start();
    let coordinator = Coordinator::new(Kind::GitLab);
    let ids = [(); 3].map(|()| coordinator.queue(job(&coordinator, &["echo begun; sleep 600"])));
    let runner = Served::start(&coordinator, &engines, &engines.keys(1));
    for id in &ids {
        coordinator.wait_for_text(*id, "\nbegun\n");
    }
    runner.kill();
    engines.ssh.go_away("KILL");
    let runner = Served::start(&coordinator, &engines, &engines.keys(1));
    for heard in coordinator.wait_for_end(&ids) {
        heard.says("the runner was killed");
    }
    let gone = &engines.hosts[1];
    runner.wait_for(&format!(
        "cannot clean up after runners that were killed on {gone}: "
    ));
    for host in [&engines.hosts[0], &engines.hosts[2]] {
        runner.wait_for(&format!(
            "-build on {host}, left by a runner that was killed"
        ));
    }
    engines.ssh.come_back();
    assert_ne!(engines.ssh.leftovers(), "");
    engines.wait_until_clean();
    runner.wait_for(&format!(
        "-build on {gone}, left by a runner that was killed"
    ));
    runner.quit();
}

/// `exec` with a pool of the first engine and one that is not there.
fn exec(project: &Project, fault: &str, job: &str) -> Ran {
    let hosts = format!("{NOWHERE},{}", first_engine());
    let mut command = project.command(["exec", "--docker-hosts", &hosts]);
    command
        .args(job.split_whitespace())
        .env("PATH", path_with(&fake_docker()))
        .env("DOCKER_FAKE", fault)
        .env_remove("DOCKER_HOST");
    run(&mut command)
}

#[test]
fn a_job_whose_engine_cannot_be_reached_when_it_begins_goes_to_another_one() {
    // It answers looks, and nothing else.
    let fault = format!("--host {NOWHERE} version=print 28.0");
    let ran = exec(&project(2, &["sleep 1"]), &fault, "");
    let warning = format!(
        "WARNING: the docker engine {NOWHERE} cannot be reached, the job goes to another one: "
    );
    // A job that waits for the other one may try it again, as it seems to be back.
    ran.exits(0)
        .says(warning)
        .says_times(2, runs_on(&first_engine()))
        .on_stderr(format!(
            "the engine {NOWHERE} does not answer and gets no jobs"
        ));
}

#[test]
fn an_engine_that_rests_from_the_beginning_gets_no_job() {
    exec(&project(1, &["true"]), "no-such-word=hang", "job-0")
        .succeeds()
        .says_nothing_of("cannot be reached")
        .on_stderr(format!(
            "the engine {NOWHERE} does not answer and gets no jobs"
        ));
}

#[test]
fn engines_that_do_not_answer_are_named() {
    let project = project(1, &["true"]);
    let with_hosts = |command: &str| {
        let mut command = project.command(command);
        command.args(["--docker-hosts", &format!("{NOWHERE},context:nowhere")]);
        run(command.env_remove("DOCKER_HOST"))
    };
    with_hosts("exec job-0")
        .fails(3)
        .says(format!("no engine of the pool answers: {NOWHERE}: "))
        .says("; context:nowhere: ");
    with_hosts("prune")
        .fails(3)
        .on_stderr(format!("{NOWHERE}: "))
        .on_stderr("context:nowhere: ");
}

#[test]
fn a_job_that_waits_for_an_engine_does_not_run_once_the_run_is_stopped() {
    let project = project(2, &["echo begun; sleep 600"]);
    let hosts = first_engine();
    let mut command = project.command(["exec", "--docker-hosts", &hosts, "--concurrent", "2"]);
    let mut child = support::spawn(command.env_remove("DOCKER_HOST"));
    let mut stdout = child.stdout.take().expect("piped");
    read_until(&mut stdout, "begun\n");
    signal(&child, "INT");
    let said = read_until(&mut stdout, "not run");
    assert!(!said.contains("begun"), "{said}");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
}

#[test]
fn what_is_no_pool_is_refused_before_anything_runs() {
    let project = project(1, &["true"]);
    for (arguments, said) in [
        (
            "--docker-hosts build-2",
            "`build-2` is no engine: expected unix:///SOCKET, ",
        ),
        (
            "--docker-hosts tcp://a,tcp://a",
            "`tcp://a` is there twice; ",
        ),
        (
            "--docker-hosts tcp://a --docker-host tcp://b",
            "`host` (--docker-host, DOCKER_HOST) and `hosts` (",
        ),
        ("--docker-jobs-per-host 0", "0 is not in 1.."),
    ] {
        let mut command = project.command(["exec", "job-0"]);
        command.args(arguments.split_whitespace());
        run(command.env_remove("DOCKER_HOST").stdin(Stdio::null()))
            .fails(2)
            .on_stderr(said);
    }
}
