//! `kill -9` of the runner in every phase of a job: what it leaves goes with the next start or with `prune`, what the
//! living have stays, and the coordinator hears of the job.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Fault, Heard, Kind, gateway};
use support::deaf::Deaf;
use support::http::Response;
use support::soak::{assert_nothing_of_processes, clients, names};
use support::{
    BUSYBOX, Project, REDIS, Running, docker, eventually, fake_docker, path_with, read_until, run,
};

const ERROR: &str = "ERROR: Build failed (system failure): the runner was killed";

/// Two runners with one state directory: one whose job goes on, and one that is killed.
struct Scene {
    coordinator: Coordinator,
    living: Running,
    living_job: u64,
    victim_job: u64,
    temporary: PathBuf,
}

/// Who cleans up.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Job,
    NoJob,
    Prune,
}

impl Scene {
    /// The living one's job runs; the other's is ready.
    fn new(change: impl FnOnce(&Coordinator, &mut Value)) -> Self {
        let coordinator = Coordinator::new(Kind::AlloyCi);
        let goes_on = "echo begun; until [ -e /tmp/go ]; do sleep 0.1; done; echo alive";
        let living_job = coordinator.queue_script(BUSYBOX, &[goes_on]);
        let living = Running::start(coordinator.single([]).stderr(Stdio::null()));
        coordinator.wait_for_text(living_job, "\nbegun\n");
        let mut job = coordinator.job(BUSYBOX, &["echo first", "true"]);
        // Its value goes through a file, as the docker client itself reads a variable of this name.
        let secret = json!({"key": "DOCKER_TOKEN", "value": "secret-in-a-file", "public": false});
        job["variables"]
            .as_array_mut()
            .expect("a list")
            .push(secret);
        change(&coordinator, &mut job);
        let victim_job = coordinator.queue(job);
        let temporary = coordinator.beside("temporary");
        fs::create_dir(&temporary).expect("made");
        Self {
            coordinator,
            living,
            living_job,
            victim_job,
            temporary,
        }
    }

    fn state(&self) -> PathBuf {
        self.coordinator.beside("state")
    }

    /// Starts the runner that is to be killed.
    fn victim(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut command = self.coordinator.single(arguments);
        command.env("TMPDIR", &self.temporary);
        command
            .envs(environment.iter().copied())
            .stderr(Stdio::null());
        Running::start(&mut command)
    }

    fn kill(&self, victim: Running) {
        victim.kill_and_wait();
        // A test in which nothing is left would show nothing.
        assert_eq!(names(&self.state().join("processes")).len(), 2);
    }

    /// The next command runs; of the dead one nothing is left then, the living one goes on and ends well. Returns
    /// what the coordinator has heard of the dead one's job.
    fn clean_up(mut self, next: Next) -> Heard {
        match next {
            Next::Job => {
                let id = self.coordinator.queue_script(BUSYBOX, &["echo next"]);
                self.coordinator.serve([]);
                self.coordinator.heard(id).succeeds();
            }
            Next::NoJob => {
                self.coordinator.serve([]).exits(0);
            }
            Next::Prune => {
                run(&mut self.coordinator.command("prune"))
                    .exits(0)
                    .says_nothing_of("-concurrent-0-");
            }
        }
        self.assert_only_the_living();
        let build = format!(
            "runner-runner_t-project-{}-concurrent-0-build",
            self.coordinator.project
        );
        docker(&["exec", &build, "touch", "/tmp/go"]);
        let heard = &self.coordinator.wait_for_end(&[self.living_job])[0];
        heard.succeeds().says("\nalive\n");
        assert_eq!(self.living.wait().expect("ended").code(), Some(0));
        assert_nothing_of_processes(&self.state());
        self.coordinator.heard(self.victim_job)
    }

    fn assert_only_the_living(&self) {
        let left = self.coordinator.leftovers();
        let others: Vec<_> = left
            .lines()
            .filter(|line| !line.contains("-concurrent-0-"))
            .collect();
        assert!(others.is_empty(), "{others:?}");
        assert!(left.contains("-concurrent-0-build"), "{left}");
        let state = self.state();
        let living = names(&state.join("processes"));
        assert_eq!(living.len(), 1, "{living:?}");
        assert_eq!(names(&state.join("files")), living);
        let locks = names(&state.join("locks"));
        assert!(locks.iter().all(|name| name == "helper-image"), "{locks:?}");
        assert_eq!(names(&self.temporary), [].into());
        let clients = clients(&state);
        assert!(
            clients.iter().all(|(_, uuid)| living.contains(uuid)),
            "a client of the dead lives: {clients:?}"
        );
    }
}

/// Whether there is a file with this text below a directory.
fn holds(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let path = entry.path();
            holds(&path, text) || fs::read_to_string(path).is_ok_and(|file| file.contains(text))
        })
}

fn assert_reported(heard: &Heard, said: &str) {
    heard.fails();
    assert_eq!(
        heard.failure_reason.as_deref(),
        Some("runner_system_failure")
    );
    assert_eq!(heard.finals, 1);
    heard
        .says(said)
        .says(format!("\n\u{1b}[31;1m{ERROR}\u{1b}[0m\n"));
}

#[test]
fn in_a_pull() {
    let registry = Deaf::start("127.0.0.1");
    let image = format!("{}/some/image", registry.address);
    let scene = Scene::new(|_, job| {
        job["image"] = json!({"name": image});
        job["credentials"] = json!([{"type": "registry", "url": registry.address.to_string(),
            "username": "me", "password": "registry-password"}]);
    });
    let victim = scene.victim(&[], &[("DOCKER_PULL_POLICY", "always")]);
    registry.wait_for_a_call();
    let login = "bWU6cmVnaXN0cnktcGFzc3dvcmQ=";
    assert!(
        holds(&scene.state(), login),
        "the client's configuration is among the process's files"
    );
    scene.kill(victim);
    assert_reported(&scene.clean_up(Next::Job), "Pulling docker image");
}

#[test]
fn while_services_come_up() {
    let scene = Scene::new(|_, job| {
        job["services"] = json!([{"name": REDIS, "alias": "redis", "command": ["sleep", "600"]}]);
    });
    let victim = scene.victim(&[], &[]);
    scene
        .coordinator
        .wait_for_text(scene.victim_job, "Waiting for services");
    scene.kill(victim);
    assert_reported(&scene.clean_up(Next::Job), "Starting service");
}

#[test]
fn in_a_clone() {
    let server = Deaf::start(&gateway());
    let scene = Scene::new(|_, job| {
        job["git_info"]["repo_url"] = json!(format!("http://{}/acme/site.git", server.address));
    });
    let victim = scene.victim(&[], &[]);
    server.wait_for_a_call();
    scene.kill(victim);
    assert_reported(&scene.clean_up(Next::Job), "Running on");
}

#[test]
fn in_a_build() {
    for next in [Next::Prune, Next::NoJob] {
        let scene =
            Scene::new(|_, job| job["steps"][0]["script"] = json!(["echo building", "sleep 600"]));
        let victim = scene.victim(&[], &[]);
        scene
            .coordinator
            .wait_for_text(scene.victim_job, "\nbuilding\n");
        assert!(
            holds(&scene.state(), "secret-in-a-file"),
            "it is among the process's files"
        );
        scene.kill(victim);
        assert_reported(&scene.clean_up(next), "\nbuilding\n");
    }
}

#[test]
fn in_an_after_script() {
    let scene = Scene::new(|_, job| {
        let after = json!({"name": "after_script", "script": ["echo cleaning", "sleep 600"], "timeout": 3600,
            "when": "always", "allow_failure": true});
        job["steps"].as_array_mut().expect("a list").push(after);
    });
    let victim = scene.victim(&[], &[]);
    scene
        .coordinator
        .wait_for_text(scene.victim_job, "\ncleaning\n");
    scene.kill(victim);
    assert_reported(&scene.clean_up(Next::Job), "\ncleaning\n");
}

#[test]
fn in_an_upload() {
    let scene = Scene::new(|_, job| {
        job["steps"][0]["script"] = json!(["echo made >file"]);
        job["artifacts"] = json!([{"paths": ["file"]}]);
    });
    let called = Arc::new(AtomicBool::new(false));
    let seen = called.clone();
    scene.coordinator.misbehave(move |request| {
        request.path.ends_with("/artifacts").then(|| {
            seen.store(true, Ordering::SeqCst);
            Fault::Before(Response::silence(Duration::from_secs(20)))
        })
    });
    let victim = scene.victim(&[], &[]);
    eventually(Duration::from_mins(1), "an upload begins", || {
        called.load(Ordering::SeqCst)
    });
    scene.kill(victim);
    assert_reported(&scene.clean_up(Next::Job), "Uploading artifacts");
}

#[test]
fn in_the_final_update_which_the_next_runner_sends() {
    let scene = Scene::new(|_, _| {});
    let refused = Arc::new(AtomicBool::new(true));
    let (busy, id) = (refused.clone(), scene.victim_job);
    scene.coordinator.misbehave(move |request| {
        let final_update = request.method == "PUT" && request.path.ends_with(&format!("/{id}"));
        (final_update && busy.load(Ordering::SeqCst)).then(|| Fault::Before(Response::status(503)))
    });
    let victim = scene.victim(&[], &[]);
    let request = format!("PUT /api/v4/jobs/{id}");
    scene.coordinator.wait_for_requests(&request, 1);
    victim.kill_and_wait();
    // Nobody hears of it this time either, and it is not forgotten.
    run(&mut scene.coordinator.single([])).on_stderr("is reported the next time");
    let ran = run(&mut scene.coordinator.single([]));
    assert!(
        !ran.stderr.contains(&format!("job {id}, ")),
        "said once: {ran}"
    );
    refused.store(false, Ordering::SeqCst);
    let heard = scene.clean_up(Next::Job);
    heard.succeeds();
    assert_eq!(heard.finals, 1);
    heard.says("\nfirst\n").says("Job succeeded");
}

#[test]
fn in_the_cleanup() {
    let scene = Scene::new(|_, _| {});
    let path = path_with(&fake_docker());
    let victim = scene.victim(&[], &[("PATH", &path), ("DOCKER_FAKE", "rm --force=hang")]);
    scene.coordinator.wait_for_end(&[scene.victim_job]);
    let arguments = |id: &String| fs::read_to_string(format!("/proc/{id}/cmdline"));
    let removes = |text: String| text.contains("rm\0--force") || text.contains("sleep");
    eventually(Duration::from_mins(1), "it cleans up", || {
        let clients = clients(&scene.state());
        clients
            .iter()
            .any(|(id, _)| arguments(id).is_ok_and(removes))
    });
    scene.kill(victim);
    let heard = scene.clean_up(Next::Job);
    heard.succeeds();
}

#[test]
fn a_job_of_gitlab_is_reported_with_the_rest_of_its_log() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let id = coordinator.queue_script(BUSYBOX, &["echo building", "sleep 600"]);
    let victim = Running::start(coordinator.single([]).stderr(Stdio::null()));
    coordinator.wait_for_text(id, "\nbuilding\n");
    victim.kill_and_wait();
    coordinator.configure("", &[""]);
    let served = Running::start(coordinator.command("run").stderr(Stdio::null()));
    let heard = &coordinator.wait_for_end(&[id])[0];
    assert_reported(heard, "\nbuilding\n");
    heard.says_times(1, "\nbuilding\n");
    support::signal(&served, "QUIT");
    let ended = served.wait_with_output().expect("ended");
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(coordinator.leftovers(), "");
    assert_nothing_of_processes(&coordinator.beside("state"));
}

#[test]
fn a_copy_of_the_working_tree_goes_too_and_so_do_files_of_processes_with_another_engine() {
    let project = Project::script(["echo begun", "sleep $PAUSE"]);
    project.write("new", "not committed\n");
    let temporary = project.beside("temporary");
    fs::create_dir(&temporary).expect("made");
    let mut command = project.command("exec --dirty --env PAUSE=600 test");
    command.env("TMPDIR", &temporary).stdout(Stdio::piped());
    let mut victim = Running::start(&mut command);
    read_until(victim.stdout.as_mut().expect("piped"), "\nbegun\n");
    let state = project.beside("state");
    assert!(holds(&state, "not committed"));
    victim.kill_and_wait();
    // One of another engine, which this one cannot clean; its files it can.
    let elsewhere = "6b4bd2a5-6f6e-4b0c-9d55-1c5f4c5b5b5a";
    fs::write(state.join("processes").join(elsewhere), "tcp://nowhere:1\n").expect("written");
    fs::create_dir(state.join("files").join(elsewhere)).expect("made");
    fs::write(state.join("files").join(elsewhere).join("secret"), "word").expect("written");
    project.exec("--env PAUSE=0 test").succeeds();
    assert!(!holds(&state, "not committed") && !holds(&state.join("files"), "word"));
    assert_eq!(names(&temporary), [].into());
    assert_eq!(
        names(&state.join("processes")),
        [elsewhere.to_owned()].into()
    );
    assert_eq!(project.leftovers(), "");
}

#[test]
fn a_client_that_never_ends_holds_up_the_next_start_for_a_while_only() {
    let project = Project::script(["echo begun", "sleep $PAUSE"]);
    let mut victim = project.spawn("exec --env PAUSE=600 test");
    read_until(victim.stdout.as_mut().expect("piped"), "\nbegun\n");
    // As far as can be seen, a `docker run` of the one that is killed then.
    let files = project.beside("state/files");
    let of_victim = names(&files).into_iter().next().expect("a directory");
    let run = project.beside("run");
    fs::write(&run, "trap '' INT TERM HUP; while :; do sleep 1; done").expect("written");
    let mut client = Running::start(
        Command::new("sh")
            .arg("run")
            .current_dir(run.parent().expect("one"))
            .env("TMPDIR", files.join(of_victim)),
    );
    victim.kill_and_wait();
    let begin = Instant::now();
    project.exec("--env PAUSE=0 test").succeeds();
    // Twenty seconds for the client, and the job's own.
    let took = begin.elapsed();
    let bounds = Duration::from_secs(19)..Duration::from_mins(1);
    assert!(bounds.contains(&took), "{took:?}");
    assert!(
        client.wait().expect("ended").code().is_none(),
        "it was killed"
    );
    assert_eq!(project.leftovers(), "");
}
