//! What all tests share: a checkout of a test's own, the real executable, and the real engine.
#![allow(dead_code, reason = "every test file uses its part")]

pub mod api;
pub mod artifact_store;
pub mod configured;
pub mod coordinator;
pub mod deaf;
pub mod git_server;
pub mod gitlab_log;
pub mod golden;
pub mod http;
pub mod pool;
mod ran;
pub mod running;
pub mod second_engine;
pub mod soak;
pub mod ssh;
pub mod tmux;
pub mod user;

use std::fmt::{Display, Write as _};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alloy_runner::job::pipeline::{self, Pipeline};
pub use ran::{Ran, Words, run, spawn};
pub use running::Running;
use serde::Serialize;
use serde_json::json;
use tempfile::TempDir;

pub const BUSYBOX: &str = "alloy-runner-test/busybox";
pub const DEBIAN: &str = "alloy-runner-test/debian";
pub const DIND: &str = "alloy-runner-test/dind";
pub const DOCKER: &str = "alloy-runner-test/docker";
pub const DOCKER_BUILD: &str = "alloy-runner-test/docker-build";
pub const GCC: &str = "alloy-runner-test/gcc";
pub const MARIADB: &str = "alloy-runner-test/mariadb";
pub const NONROOT: &str = "alloy-runner-test/nonroot";
pub const POSTGRES: &str = "alloy-runner-test/postgres";
pub const REDIS: &str = "alloy-runner-test/redis";
pub const WORDPRESS: &str = "alloy-runner-test/wordpress";

/// The executable under test: the release build if `scripts/test` has made it, else the debug build.
pub const RUNNER: &str = match option_env!("ALLOY_RUNNER_SHIPPED") {
    Some(path) if !path.is_empty() => path,
    _ => DEBUG_RUNNER,
};
/// The debug build, for tests of what only it can do.
pub const DEBUG_RUNNER: &str = env!("CARGO_BIN_EXE_alloy-runner");

/// A git checkout with a job file, and a state directory beside it.
pub struct Project {
    root: TempDir,
    /// The checkout.
    pub directory: PathBuf,
    /// Its jobs may run.
    has_engine: bool,
}

impl Project {
    /// A checkout with one commit, which contains this job file.
    pub fn new(job_file: impl Display) -> Self {
        let project = Self::empty();
        project.write(".alloy-ci.json", &job_file.to_string());
        project.commit();
        project
    }

    /// The same with one job, `test`, in busybox.
    pub fn job(job: impl Serialize) -> Self {
        Self::new(json!({"image": BUSYBOX, "test": job}))
    }

    /// The same, of which only the commands matter.
    pub fn script<const N: usize>(commands: [&str; N]) -> Self {
        Self::new(json!({"image": BUSYBOX, "test": {"script": commands.as_slice()}}))
    }

    /// A directory that is no checkout yet.
    pub fn empty() -> Self {
        require_helper_image();
        let mut project = Self::without_engine();
        project.has_engine = true;
        project
    }

    /// The same for commands that need neither an engine nor any other program: none is in their reach.
    pub fn without_engine() -> Self {
        let root = TempDir::with_prefix("alloy-test-").expect("a directory");
        let directory = root.path().join("site");
        fs::create_dir(&directory).expect("created");
        Self {
            root,
            directory,
            has_engine: false,
        }
    }

    /// Makes it a repository without a commit, where there may be no git.
    pub fn init_without_git(&self) {
        gix::init(&self.directory).expect("made");
        fs::write(self.directory.join(".git/HEAD"), "ref: refs/heads/master\n").expect("written");
    }

    /// Makes it a checkout of a commit in which nothing is, where there may be no git.
    pub fn commit_without_git(&self) {
        if !self.directory.join(".git").exists() {
            self.init_without_git();
        }
        let repository = gix::open(&self.directory).expect("a repository");
        let who = gix::actor::SignatureRef::from_bytes(b"Test <test@example.org> 1700000000 +0000");
        let who = who.expect("a signature");
        let tree = repository.empty_tree().id;
        let none: [gix::ObjectId; 0] = [];
        let commit = repository.commit_as(who, who, "HEAD", "a commit", tree, none);
        commit.expect("committed");
    }

    /// The directory that holds all of this test's files.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path beside the checkout.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, text).expect("written");
    }

    /// Commits everything, in a repository that is made if need be.
    pub fn commit(&self) {
        if !self.directory.join(".git").exists() {
            self.git(&["init", "-q", "-b", "master"]);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "a commit"]);
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.directory, arguments)
    }

    /// The executable in the checkout, with a state directory of this test's own.
    pub fn command(&self, arguments: impl Words) -> Command {
        let mut command = runner_command(self.root.path());
        command.args(arguments.words()).current_dir(&self.directory);
        if !self.has_engine {
            command.env("PATH", "/nowhere");
        }
        command
    }

    pub fn run(&self, arguments: impl Words) -> Ran {
        run(&mut self.command(arguments))
    }

    /// Runs `exec`.
    pub fn exec(&self, arguments: impl Words) -> Ran {
        run(self.command("exec").args(arguments.words()))
    }

    /// [Starts](spawn) the executable.
    pub fn spawn(&self, arguments: impl Words) -> Running {
        spawn(&mut self.command(arguments))
    }

    /// The number in the names of this checkout's containers.
    pub fn id(&self) -> String {
        let script = self
            .exec(["--dry-run", "--docker-image", "none", &self.any_job()])
            .stdout;
        let line = script
            .lines()
            .find(|line| line.starts_with("prefix="))
            .expect("a prefix");
        line.split("-project-")
            .nth(1)
            .and_then(|rest| rest.split('-').next())
            .expect("an id")
            .to_owned()
    }

    fn any_job(&self) -> String {
        let (file, _) = pipeline::find(&self.directory).expect("a job file");
        let file = Pipeline::read(&file).expect("a good one");
        file.jobs.first().expect("a job").name.clone()
    }

    /// What this checkout's jobs left on the engine, except cache volumes: a line for each.
    pub fn leftovers(&self) -> String {
        leftovers(&self.id(), false)
    }
}

/// The executable, with a state directory below `root`, and without variables of this machine that would change what it
/// does.
pub fn runner_command(root: &Path) -> Command {
    let mut command = Command::new(RUNNER);
    command.env("ALLOY_RUNNER_STATE_DIR", root.join("state"));
    // Many developers have it set; it must not change the error messages.
    command.env("RUST_BACKTRACE", "1");
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "NO_COLOR",
        "LOG_LEVEL",
    ] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.stdin(Stdio::null());
    command
}

impl Drop for Project {
    fn drop(&mut self) {
        let ran_jobs = self.has_engine && pipeline::find(&self.directory).is_ok();
        if ran_jobs && !std::thread::panicking() {
            assert_nothing_left(&self.id());
        }
    }
}

/// Removes the cache volumes of a project, and fails if its jobs left anything else.
pub fn assert_nothing_left(id: &str) {
    let left = leftovers(id, false);
    for volume in leftovers(id, true)
        .lines()
        .filter_map(|line| line.strip_prefix("volume "))
    {
        docker(&["volume", "rm", "--force", volume]);
    }
    assert_eq!(left, "", "left on the engine");
}

/// What a project's jobs left on the engine: a line for each. `caches`: cache volumes too.
pub fn leftovers(id: &str, caches: bool) -> String {
    let mut found = String::new();
    let name = format!("-project-{id}-");
    for (kind, arguments) in [
        ("container", &["ps", "--all", "--format", "{{.Names}}"][..]),
        ("network", &["network", "ls", "--format", "{{.Name}}"]),
        ("volume", &["volume", "ls", "--format", "{{.Name}}"]),
    ] {
        for line in docker(arguments).lines() {
            if format!("{line}-").contains(&name) && (caches || !line.contains("-cache-")) {
                let _ = writeln!(found, "{kind} {line}");
            }
        }
    }
    found
}

pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let identity = [
        "-c",
        "user.name=Test",
        "-c",
        "user.email=test@example.org",
        "-c",
        "protocol.file.allow=always",
    ];
    let ran = run(Command::new("git")
        .args(identity)
        .args(arguments)
        .current_dir(directory));
    assert_eq!(ran.status, Some(0), "git {arguments:?}: {ran}");
    ran.stdout.trim_end().to_owned()
}

pub fn docker(arguments: &[&str]) -> String {
    let ran = run(Command::new("docker").args(arguments));
    assert_eq!(ran.status, Some(0), "docker {arguments:?}: {ran}");
    ran.stdout
}

/// A shell that runs a script, outside of any checkout.
pub fn shell(program: &str, text: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-c", text]).current_dir("/");
    command
}

/// Reads until a text appears, and returns all that was read.
pub fn read_until(source: &mut impl Read, text: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert_eq!(
            source.read(&mut byte).expect("readable"),
            1,
            "ended: {}",
            String::from_utf8_lossy(&seen)
        );
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// Sends a signal by its name.
pub fn signal(child: &Child, name: &str) {
    let ran = run(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]));
    assert_eq!(ran.status, Some(0), "{ran}");
}

/// Waits for a condition, for at most this long.
pub fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Fails if the helper image of this executable, which `scripts/test` makes, does not exist.
fn require_helper_image() {
    let name = run(Command::new(RUNNER).args(["helper-image", "name"])).stdout;
    let there =
        run(Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", name.trim()]));
    assert_eq!(
        there.status,
        Some(0),
        "run the tests by scripts/test, which makes the images: {there}"
    );
}

/// For [`fake_docker`]: an engine that does not see the files of this host.
pub const NO_BIND_SOURCE: &str = "run*type=bind=fail docker: Error response from daemon: invalid mount config for type \
    \"bind\": bind source path does not exist: /x.";

/// A directory whose `docker` simulates faults; its comments say how.
pub fn fake_docker() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bin")
}

/// Writes an executable script.
pub fn program(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
}

/// `PATH` with a directory in front.
pub fn path_with(directory: &Path) -> String {
    format!(
        "{}:{}",
        directory.display(),
        std::env::var("PATH").expect("a PATH")
    )
}
