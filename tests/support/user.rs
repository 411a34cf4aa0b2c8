//! An ordinary user of docker's group, and what such a one has around: a home, an odd directory for temporary files, a
//! proxy, backtraces.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Project, RUNNER, Ran, run};

/// Whoever that is on this host: a user needs no name.
pub const UID: u32 = 1000;

/// The user, who owns all files of a project's test.
pub struct User {
    root: PathBuf,
}

impl User {
    /// Gives all files of a test to the user. `project` is read by nobody else's git from now on.
    pub fn who_owns(project: &Project) -> Self {
        let user = Self {
            root: project.root().to_owned(),
        };
        for made in [user.home(), user.temporary(), user.root.join("bin")] {
            fs::create_dir_all(made).expect("made");
        }
        // Where the executable is built, only root may be able to look.
        let own = user.executable();
        if !own.exists() && fs::hard_link(RUNNER, &own).is_err() {
            fs::copy(RUNNER, &own).expect("copied");
        }
        give(&user.root);
        user
    }

    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Where the user's programs put temporary files.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("temporary files, $odd 'ones'")
    }

    fn executable(&self) -> PathBuf {
        self.root.join("bin/alloy-runner")
    }

    /// A program, run by the user in a directory.
    pub fn command(&self, directory: &Path, program: &str, arguments: &[&str]) -> Command {
        let socket = fs::metadata("/var/run/docker.sock").expect("an engine");
        let mut command = Command::new("setpriv");
        command
            .args([
                format!("--reuid={UID}"),
                format!("--regid={UID}"),
                format!("--groups={}", socket.gid()),
                "--".to_owned(),
                program.to_owned(),
            ])
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("a PATH"))
            .env("HOME", self.home())
            .env("TMPDIR", self.temporary())
            .env("RUST_BACKTRACE", "1")
            .env("http_proxy", "http://127.0.0.1:9");
        command
    }

    /// The executable in a directory.
    pub fn runner(&self, directory: &Path, arguments: &[&str]) -> Command {
        let executable = self.executable();
        self.command(directory, executable.to_str().expect("UTF-8"), arguments)
    }

    /// What the user's git says in a directory.
    pub fn git(&self, directory: &Path, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
        let ran = run(&mut self.command(directory, "git", &[&identity, arguments].concat()));
        assert_eq!(ran.status, Some(0), "git {arguments:?}: {ran}");
        ran.stdout.trim_end().to_owned()
    }

    /// Files of the user that are not in the list.
    pub fn temporary_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.temporary()).expect("readable");
        entries
            .map(|entry| entry.expect("an entry").path().display().to_string())
            .collect()
    }
}

/// Makes the user the owner of a directory and all that is in it.
fn give(directory: &Path) {
    let owner = format!("{UID}:{UID}");
    let ran: Ran = run(Command::new("chown")
        .args(["--recursive", "--no-dereference", &owner])
        .arg(directory));
    assert_eq!(ran.status, Some(0), "{ran}");
}
