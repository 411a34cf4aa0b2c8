//! A coordinator that can be told to misbehave; with it a git server that has the project's sources.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use super::api::{Fault, Heard, Kind};
use super::api::{Shared, State, is_gitlabs};
use super::gitlab_log::without_times;
use super::http::{Request, Server};
use super::{Ran, Words, assert_nothing_left, docker, git, leftovers, run, runner_command};

/// The password of the sources.
pub const GIT_PASSWORD: &str = "git-password-7391";
/// The runner's token.
pub const RUNNER_TOKEN: &str = "runner-token-4711";
/// What allows registering.
pub const REGISTRATION_TOKEN: &str = "registration-token-815";

/// Where containers find this host: its own address on the default bridge, the subnet's first.
pub fn gateway() -> String {
    let format = "{{(index .IPAM.Config 0).Subnet}}";
    let subnet = docker(&["network", "inspect", "--format", format, "bridge"]);
    let (network, _) = subnet.trim().split_once(".0/").expect("a subnet");
    format!("{network}.1")
}

/// A running coordinator with a project of its own.
pub struct Coordinator {
    shared: Arc<Shared>,
    server: Server,
    scheme: &'static str,
    root: TempDir,
    pub project: u64,
    /// Its jobs may have left something on an engine.
    has_engine: bool,
}

impl Coordinator {
    pub fn new(kind: Kind) -> Self {
        Self::start(kind, None, Some(gateway()))
    }

    /// For a test whose docker is none: it needs no engine.
    pub fn without_engine(kind: Kind) -> Self {
        Self::start(kind, None, None)
    }

    pub fn with_tls(config: ServerConfig) -> Self {
        Self::start(Kind::AlloyCi, Some(Arc::new(config)), Some(gateway()))
    }

    /// `address`: where containers find it, if there are any.
    fn start(kind: Kind, tls: Option<Arc<ServerConfig>>, address: Option<String>) -> Self {
        let root = TempDir::with_prefix("alloy-test-").expect("a directory");
        let bare = root.path().join("acme/site.git");
        fs::create_dir_all(&bare).expect("created");
        git(&bare, &["init", "-q", "--bare", "-b", "master"]);
        git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let work = root.path().join("work");
        git(
            root.path(),
            &["clone", "-q", bare.to_str().expect("UTF-8"), "work"],
        );
        fs::write(work.join("README"), "a site\n").expect("written");
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-qm", "a commit"]);
        git(&work, &["push", "-q", "origin", "HEAD:refs/heads/master"]);
        let shared = Arc::new(Shared {
            kind,
            root: root.path().to_owned(),
            state: Mutex::new(State {
                next_id: 1,
                runners: vec![RUNNER_TOKEN.to_owned()],
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let answering = shared.clone();
        let has_engine = address.is_some();
        let address = address.unwrap_or_else(|| "127.0.0.1".to_owned());
        let server = Server::start(&address, tls, move |request| answering.answer(request));
        Self {
            shared,
            server,
            scheme,
            root,
            project: u64::from(std::process::id()) * 1000 + u64::from(next_number()),
            has_engine,
        }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.server.address)
    }

    /// The working tree whose `origin` the jobs' sources come from.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// A place for a test's files.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn sha(&self) -> String {
        git(&self.work(), &["rev-parse", "HEAD"])
    }

    /// A job as AlloyCI would send it, to be changed at will.
    pub fn job(&self, image: &str, script: &[&str]) -> Value {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let token = format!("job-token-{id}-0815");
        state.tokens.insert(id, token.clone());
        let login = format!("x-access-token:{GIT_PASSWORD}");
        json!({
            "id": id, "token": token, "allow_git_fetch": false,
            "job_info": {"name": "test", "stage": "test", "project_id": self.project, "project_name": "site"},
            "git_info": {
                "repo_url": format!("{}://{login}@{}/git/acme/site.git", self.scheme, self.server.address),
                "ref": "refs/heads/master", "before_sha": "0".repeat(40), "sha": self.sha(), "ref_type": "branch"},
            "runner_info": {"timeout": 3600},
            "variables": [{"key": "CI", "value": "true", "public": true},
                          {"key": "GIT_SSL_NO_VERIFY", "value": "true", "public": true},
                          {"key": "CI_COMMIT_PUSHER", "value": null, "public": true}],
            "steps": [{"name": "script", "script": script, "timeout": 3600, "when": "on_success", "allow_failure": false}],
            "image": {"name": image}, "services": [],
            "artifacts": [null], "cache": [null], "dependencies": []
        })
    }

    /// A job as GitLab sends it, to be changed at will.
    pub fn gitlab_job(&self, image: &str, script: &[&str]) -> Value {
        let mut job = self.job(image, script);
        job["job_info"]["project_full_path"] = json!("acme/site");
        job["git_info"]["ref"] = json!("master");
        job["git_info"]["refspecs"] = json!([
            "+refs/pipelines/31:refs/pipelines/31",
            "+refs/heads/master:refs/remotes/origin/master"
        ]);
        job["git_info"]["depth"] = json!(20);
        job["git_info"]["repo_object_format"] = json!("sha1");
        job["variables"] = json!([
            {"key": "CI", "value": "true", "public": true, "masked": false},
            {"key": "GITLAB_CI", "value": "true", "public": true, "masked": false},
            {"key": "CI_SERVER_NAME", "value": "GitLab", "public": true, "masked": false},
            {"key": "CI_COMMIT_BRANCH", "value": "master", "public": true, "masked": false},
            {"key": "ENV", "value": "staging", "public": false, "masked": false}
        ]);
        job["artifacts"] = Value::Null;
        job["cache"] = json!([]);
        job["credentials"] = json!([]);
        job["dependencies"] = json!([{"id": 1, "name": "before", "token": "a-token-0-0815"}]);
        job["features"] = json!({
            "trace_sections": true,
            "token_mask_prefixes": ["glpat-"],
            "failure_reasons": [
                "script_failure", "runner_system_failure", "job_execution_timeout", "image_pull_failure",
                "runner_configuration_error", "runner_external_dependency_failure", "runner_interrupted",
                "unknown_failure"
            ]
        });
        job
    }

    /// Has a job ready that needs features of its runner, and returns its number.
    pub fn queue_needing(&self, job: Value, features: &[&str]) -> u64 {
        let id = job["id"].as_u64().expect("an id");
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        self.lock().needs.insert(id, features);
        self.queue(job)
    }

    /// Has a job ready for the next request, and returns its number. Its payload says whether it is GitLab's.
    pub fn queue(&self, mut job: Value) -> u64 {
        let id = job["id"].as_u64().expect("an id");
        if self.shared.kind == Kind::GitLab && !is_gitlabs(&job) {
            // The times of lines are for `serving_gitlab_log`.
            let own = [("GITLAB_CI", "true"), ("FF_TIMESTAMPS", "false")];
            let own = own.map(|(key, value)| json!({"key": key, "value": value, "public": true}));
            match &mut job["variables"] {
                Value::Array(variables) => variables.extend(own),
                none @ Value::Null => *none = json!(own),
                _ => {}
            }
        }
        let mut state = self.lock();
        if let Some(token) = job["token"].as_str() {
            state.tokens.insert(id, token.to_owned());
        }
        state.queue.push_back(job);
        id
    }

    /// A simple job, ready.
    pub fn queue_script(&self, image: &str, script: &[&str]) -> u64 {
        self.queue(self.job(image, script))
    }

    /// The job is to be stopped, in this kind of coordinator's word.
    pub fn cancel(&self, id: u64) {
        let word = match self.shared.kind {
            Kind::AlloyCi => "cancelled",
            Kind::GitLab => "canceled",
        };
        self.lock().job_status.insert(id, word.to_owned());
    }

    /// The job's script is to end, and its `after_script` to run.
    pub fn cancel_gracefully(&self, id: u64) {
        let mut state = self.lock();
        state.job_status.insert(id, "canceling".to_owned());
    }

    /// A runner is to wait so many seconds between two patches.
    pub fn set_interval(&self, seconds: u64) {
        self.lock().interval = Some(seconds);
    }

    /// The next final words are put off.
    pub fn put_off(&self, times: u32) {
        self.lock().puts_off = times;
    }

    /// When tokens expire that are given or verified from now on.
    pub fn set_expiry(&self, time: &str) {
        self.lock().expires = Some(time.to_owned());
    }

    /// From now on no registration token is good.
    pub fn register_nobody(&self) {
        self.lock().registers_nobody = true;
    }

    /// The `info` of the last job request.
    pub fn info(&self) -> Value {
        self.lock().info.clone()
    }

    /// What the hosts of runners said that they are.
    pub fn systems(&self) -> Vec<String> {
        self.lock().system_ids.iter().cloned().collect()
    }

    /// Nobody knows the job any more.
    pub fn forget(&self, id: u64) {
        self.lock().gone.push(id);
    }

    pub fn forget_runner(&self, token: &str) {
        self.lock().runners.retain(|known| known != token);
    }

    pub fn know_runner(&self, token: &str) {
        self.lock().runners.push(token.to_owned());
    }

    /// From now on, this decides whether an answer goes wrong.
    pub fn misbehave(&self, faults: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.lock().faults = Some(Box::new(faults));
    }

    pub fn heard(&self, id: u64) -> Heard {
        self.lock().heard.get(&id).cloned().unwrap_or_default()
    }

    /// Whether somebody has got the job.
    pub fn is_handed_out(&self, id: u64) -> bool {
        self.lock().heard.contains_key(&id)
    }

    /// Waits until the log by patches holds a text.
    pub fn wait_for_text(&self, id: u64, text: &str) {
        let holds = |state: &State| {
            let heard = state.heard.get(&id);
            heard.is_some_and(|heard| {
                without_times(&String::from_utf8_lossy(&heard.trace)).contains(text)
            })
        };
        self.wait(&format!("`{text}` of job {id}"), holds);
    }

    /// Waits until jobs have ended, and returns what was heard of them.
    pub fn wait_for_end(&self, ids: &[u64]) -> Vec<Heard> {
        let ended = |state: &State| {
            let state_of = |id| {
                state
                    .heard
                    .get(id)
                    .and_then(|heard: &Heard| heard.state.clone())
            };
            ids.iter().all(|id| state_of(id).is_some())
        };
        self.wait(&format!("the end of {ids:?}"), ended);
        ids.iter().map(|id| self.heard(*id)).collect()
    }

    /// Waits until somebody has asked for this path so often.
    pub fn wait_for_requests(&self, request: &str, count: usize) {
        let asked = |state: &State| {
            state
                .requests
                .iter()
                .filter(|(seen, _)| seen == request)
                .count()
                >= count
        };
        self.wait(&format!("{count} times {request}"), asked);
    }

    fn wait(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let limit = Duration::from_secs(150);
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(self.lock(), limit, |state| !condition(state))
            .expect("no panic");
        assert!(
            !waited.timed_out(),
            "not within {limit:?}: {what}; {:#?}",
            state.heard
        );
    }

    /// When requests like `POST /api/v4/jobs/request` came.
    pub fn requests(&self, request: &str) -> Vec<Instant> {
        let state = self.lock();
        let seen = state.requests.iter().filter(|(seen, _)| seen == request);
        seen.map(|(_, when)| *when).collect()
    }

    pub fn registrations(&self) -> Vec<Value> {
        self.lock().registrations.clone()
    }

    pub fn last_updates(&self) -> Vec<Option<String>> {
        self.lock().last_updates.clone()
    }

    pub fn knows_runner(&self, token: &str) -> bool {
        self.lock().runners.iter().any(|known| known == token)
    }

    /// The most jobs that ran at once.
    pub fn most_running(&self) -> u32 {
        self.lock().most_running
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic")
    }

    /// The executable with this test's state directory and configuration.
    pub fn command(&self, arguments: impl Words) -> Command {
        let mut command = runner_command(self.root.path());
        command.arg("--config").arg(self.beside("config.toml"));
        command.args(arguments.words());
        command
    }

    pub fn run(&self, arguments: impl Words) -> Ran {
        run(&mut self.command(arguments))
    }

    /// Writes a configuration: what stands at its top, and a runner for each list of keys.
    pub fn configure(&self, global: &str, runners: &[&str]) {
        self.configure_docker(global, runners, "");
    }

    /// The same with keys below each runner's `[runners.docker]`.
    pub fn configure_docker(&self, global: &str, runners: &[&str], docker: &str) {
        let mut text = format!("check_interval = 1\n{global}\n");
        for (number, keys) in runners.iter().enumerate() {
            let token = if keys.contains("token =") {
                String::new()
            } else {
                format!("token = \"{RUNNER_TOKEN}\"\n")
            };
            let _ = write!(
                text,
                "[[runners]]\nname = \"docker-{number}\"\nurl = \"{}\"\n{token}{keys}\n\
                 [runners.docker]\npull_policy = \"never\"\n{docker}",
                self.url()
            );
        }
        // In one step, as editors do it.
        let new = self.beside("config.toml.new");
        fs::write(&new, text).expect("written");
        fs::rename(&new, self.beside("config.toml")).expect("renamed");
    }

    /// `run-single` for this coordinator, by its flags.
    pub fn single(&self, arguments: impl Words) -> Command {
        let url = self.url();
        let mut command = self.command(["run-single", "--url", &url, "--name", "single"]);
        command
            .args(arguments.words())
            .env("CI_SERVER_TOKEN", RUNNER_TOKEN)
            .env("DOCKER_PULL_POLICY", "never");
        command
    }

    /// Runs [`Coordinator::single`].
    pub fn serve(&self, arguments: impl Words) -> Ran {
        run(&mut self.single(arguments))
    }

    /// What is on the engine of this project's jobs, cache volumes aside.
    pub fn leftovers(&self) -> String {
        leftovers(&self.project.to_string(), false)
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        if self.has_engine && !std::thread::panicking() {
            assert_nothing_left(&self.project.to_string());
        }
    }
}

/// A number that no other test of this process has, should several run in one.
fn next_number() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
