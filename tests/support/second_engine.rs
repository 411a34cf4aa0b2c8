//! An engine of a test's own beside the first one; see `scripts/second-engine`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{RUNNER, Ran, run};

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
        let directory = TempDir::with_prefix("alloy-engine-")
            .expect("a directory")
            .keep();
        let helper = run(Command::new(RUNNER).args(["helper-image", "name"])).stdout;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/second-engine");
        // A test that is killed must not leave it running.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(script);
        command.arg(&directory).args(hidden).arg("--");
        let mut script = command
            .args(images)
            .arg(helper.trim())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut said = String::new();
        let mut stdout = BufReader::new(script.stdout.take().expect("piped"));
        stdout.read_line(&mut said).expect("readable");
        let engine = Self {
            port: said.trim().trim_start_matches("ready ").to_owned(),
            directory,
            script,
        };
        assert!(said.starts_with("ready "), "no second engine: {said}");
        engine
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

    pub fn docker(&self, arguments: &[&str]) -> Ran {
        run(Command::new("docker")
            .args(["--host", &self.socket()])
            .args(arguments))
    }

    /// What is on it of jobs, cache volumes aside.
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
            .filter(|name| !["bridge", "host", "none"].contains(name) && !name.contains("-cache-"))
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
