//! An engine of a test's own beside the first one; see `scripts/second-engine`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{RUNNER, Ran, eventually, run};

/// A running engine. It ends with this value, and also with this thread.
pub struct SecondEngine {
    /// The script removes it when it ends.
    directory: PathBuf,
    /// The port of its TLS.
    port: String,
    script: Child,
}

impl SecondEngine {
    /// Starts one that has these images and the tests' helper image, and finds the directories `hidden` empty.
    pub fn start(hidden: &[&Path], images: &[&str]) -> Self {
        Self::start_with(&[], hidden, images)
    }

    /// As [`SecondEngine::start`], with variables for the script: `ENGINE_DISK`, `ENGINE_OPTIONS`.
    pub fn start_with(variables: &[(&str, &str)], hidden: &[&Path], images: &[&str]) -> Self {
        Self::begin(variables, hidden, images).ready()
    }

    /// Starts several side by side.
    pub fn start_several<const N: usize>(images: &[&str]) -> [Self; N] {
        let begun = [(); N].map(|()| Self::begin(&[], &[], images));
        begun.map(Self::ready)
    }

    /// Begins to start one.
    fn begin(variables: &[(&str, &str)], hidden: &[&Path], images: &[&str]) -> Self {
        let directory = TempDir::with_prefix("alloy-engine-")
            .expect("a directory")
            .keep();
        let helper = run(Command::new(RUNNER).args(["helper-image", "name"])).stdout;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/second-engine");
        // A test that is killed must not leave it running.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(script);
        command.envs(variables.iter().copied());
        command.arg(&directory).args(hidden).arg("--");
        let script = command
            .args(images)
            .arg(helper.trim())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        Self {
            port: String::new(),
            directory,
            script,
        }
    }

    /// Waits until it answers.
    fn ready(mut self) -> Self {
        let mut said = String::new();
        let mut stdout = BufReader::new(self.script.stdout.take().expect("piped"));
        stdout.read_line(&mut said).expect("readable");
        let port = said.trim().strip_prefix("ready ");
        port.unwrap_or_else(|| panic!("no second engine: {said}"))
            .clone_into(&mut self.port);
        self
    }

    /// Its socket, for `--docker-host`.
    pub fn socket(&self) -> String {
        format!("unix://{}", self.directory.join("docker.sock").display())
    }

    /// Its port on the loopback, where it speaks TLS only.
    pub fn tls(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// The certificates for its port.
    pub fn certificates(&self) -> String {
        self.directory.join("client").display().to_string()
    }

    /// Sends a signal to the engine itself, by its name. What it has started lives on.
    pub fn signal(&self, name: &str) {
        let ran = run(Command::new("kill").args([&format!("-{name}"), &self.process()]));
        assert_eq!(ran.status, Some(0), "{ran}");
    }

    /// Ends the engine by a signal. It stays away until [`SecondEngine::come_back`].
    pub fn go_away(&self, name: &str) {
        let process = format!("/proc/{}", self.process());
        fs::write(self.directory.join("down"), "").expect("written");
        self.signal(name);
        eventually(Duration::from_mins(1), "the engine ends", || {
            !Path::new(&process).exists()
        });
    }

    /// What an operator's cron does.
    pub fn prune(&self) {
        self.docker(&["system", "prune", "--all", "--force", "--volumes"]);
    }

    pub fn come_back(&self) {
        fs::remove_file(self.directory.join("down")).expect("removed");
        let end = Instant::now() + Duration::from_mins(3);
        while self.docker(&["version"]).status != Some(0) {
            if Instant::now() > end {
                let log = fs::read_to_string(self.directory.join("log")).expect("readable");
                let lines: Vec<_> = log.lines().collect();
                let last = &lines[lines.len().saturating_sub(40)..];
                panic!("the engine does not come back:\n{}", last.join("\n"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The process id of the engine itself, in whose network its registry would be.
    pub fn process(&self) -> String {
        let root = format!("dockerd --data-root {}/data ", self.directory.display());
        let ran = run(Command::new("pgrep").args(["--full", &root]));
        let mut lines = ran.stdout.lines();
        let (Some(process), None) = (lines.next(), lines.next()) else {
            panic!("one engine: {ran}");
        };
        process.to_owned()
    }

    pub fn docker(&self, arguments: &[&str]) -> Ran {
        run(Command::new("docker")
            .args(["--host", &self.socket()])
            .args(arguments))
    }

    /// What is on it of jobs, aside from cache volumes and those with the executable.
    pub fn leftovers(&self) -> String {
        let lists = [
            &["ps", "--all", "--format", "{{.Names}}"][..],
            &["network", "ls", "--format", "{{.Name}}"],
            &["volume", "ls", "--format", "{{.Name}}"],
        ];
        let names = lists
            .map(|arguments| self.docker(arguments).stdout)
            .concat();
        let mut left = names
            .lines()
            .filter(|name| {
                !["bridge", "host", "none"].contains(name)
                    && !name.contains("-cache-")
                    && !name.starts_with("alloy-runner-hold-")
            })
            .collect::<Vec<_>>();
        left.sort_unstable();
        left.join("\n")
    }
}

impl Drop for SecondEngine {
    fn drop(&mut self) {
        let told = Command::new("kill")
            .arg(self.script.id().to_string())
            .status();
        let ended = self.script.wait();
        if !std::thread::panicking() {
            assert!(told.expect("told").success());
            assert_eq!(ended.expect("ended").code(), Some(143));
        }
    }
}
