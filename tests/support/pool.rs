//! Three engines of a test's own, each reached in another way: by TLS, over ssh, and as a context of the docker client.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::coordinator::{Coordinator, Heard};
use super::second_engine::SecondEngine;
use super::ssh::Ssh;
use super::{BUSYBOX, Running, eventually, run, signal};

/// The engines. They go with the test.
pub struct Engines {
    pub tls: SecondEngine,
    pub ssh: SecondEngine,
    pub context: SecondEngine,
    /// As a configuration writes them, in this order.
    pub hosts: [String; 3],
    way: Ssh,
    /// The docker client's configuration.
    config: TempDir,
}

impl Engines {
    pub fn start() -> Self {
        let [tls, ssh, context] = SecondEngine::start_several(&[BUSYBOX]);
        let config = TempDir::with_prefix("alloy-contexts-").expect("a directory");
        let address = format!("host={}", context.socket());
        let made = run(Command::new("docker")
            .arg("--config")
            .arg(config.path())
            .args(["context", "create", "big", "--docker", &address]));
        made.exits(0);
        let way = Ssh::to(&ssh.socket());
        Self {
            hosts: [tls.tls(), Ssh::HOST.to_owned(), "context:big".to_owned()],
            tls,
            ssh,
            context,
            way,
            config,
        }
    }

    pub fn all(&self) -> [&SecondEngine; 3] {
        [&self.tls, &self.ssh, &self.context]
    }

    /// Lets a command of the runner find them.
    pub fn reach(&self, command: &mut Command) {
        command
            .env("PATH", self.way.path())
            .env("DOCKER_CONFIG", self.config.path())
            // What it says does not count beside the pool.
            .env("DOCKER_CONTEXT", "nowhere")
            .env_remove("DOCKER_HOST");
    }

    /// The keys below `[runners.docker]` that make them a pool.
    pub fn keys(&self, jobs_per_host: u32) -> String {
        self.keys_of(&self.hosts, jobs_per_host)
    }

    /// The same for one engine.
    pub fn keys_of(&self, hosts: &[String], jobs_per_host: u32) -> String {
        format!(
            "hosts = {}\njobs_per_host = {jobs_per_host}\ntls_cert_path = \"{}\"\ntls_verify = true\n",
            json!(hosts),
            self.tls.certificates()
        )
    }

    /// On how many of these jobs' logs each engine stands.
    pub fn spread(&self, heard: &[Heard]) -> [usize; 3] {
        self.hosts.each_ref().map(|host| {
            let line = runs_on(host);
            let there = heard.iter().filter(|heard| heard.log.contains(&line));
            there.count()
        })
    }

    /// Waits until nothing is left of jobs on any of them.
    pub fn wait_until_clean(&self) {
        for engine in self.all() {
            eventually(Duration::from_mins(1), "all is removed", || {
                engine.leftovers().is_empty()
            });
        }
    }
}

/// How the log of a job says that it runs on an engine.
pub fn runs_on(host: &str) -> String {
    format!(" on {host}...")
}

/// `run`, which has engines in its reach.
pub struct Served {
    runner: Running,
    /// What it writes to stderr.
    said: PathBuf,
}

impl Served {
    /// Starts it with these keys below `[runners.docker]`.
    pub fn start(coordinator: &Coordinator, engines: &Engines, keys: &str) -> Self {
        let global = "concurrent = 100\nmetrics_server = \"127.0.0.1:0\"";
        coordinator.configure_docker(global, &["request_concurrency = 8"], keys);
        let said = coordinator.beside("stderr");
        let mut command = coordinator.command("run");
        engines.reach(&mut command);
        let file = File::create(&said).expect("made");
        Self {
            runner: Running::start(command.stderr(file)),
            said,
        }
    }

    /// What it has said until now.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).expect("readable")
    }

    /// Waits until it says this.
    pub fn wait_for(&self, text: &str) {
        eventually(Duration::from_mins(3), text, || self.said().contains(text));
    }

    /// It has said this once.
    #[track_caller]
    pub fn said_once(&self, text: &str) {
        let said = self.said();
        assert_eq!(said.matches(text).count(), 1, "{text}: {said}");
    }

    /// Waits until its metrics have this line.
    pub fn wait_for_metric(&self, line: &str) {
        self.wait_for("metrics at http://");
        let said = self.said();
        let (_, rest) = said.split_once("metrics at ").expect("said");
        let page = rest.lines().next().expect("a line");
        eventually(Duration::from_secs(30), line, || {
            let answer = ureq::get(page).call();
            let text = answer.expect("an answer").body_mut().read_to_string();
            text.expect("text").lines().any(|there| there == line)
        });
    }

    /// Ends it in an orderly way.
    pub fn quit(self) {
        signal(&self.runner, "QUIT");
        let ended = self.runner.wait_with_output().expect("ended");
        assert_eq!(ended.status.code(), Some(0));
    }

    pub fn kill(self) {
        self.runner.kill_and_wait();
    }
}

/// A job that needs no sources: these engines have networks of their own, and find no git server.
pub fn job(coordinator: &Coordinator, script: &[&str]) -> Value {
    let mut job = coordinator.job(BUSYBOX, script);
    let strategy = json!({"key": "GIT_STRATEGY", "value": "none", "public": true});
    job["variables"]
        .as_array_mut()
        .expect("a list")
        .push(strategy);
    job
}
