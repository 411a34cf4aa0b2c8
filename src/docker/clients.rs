//! Docker clients that a runner started which is gone: they go on without it.
//!
//! The clients of a process have its directory of files for `TMPDIR`, and that tells whose they are.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use super::engine::Engine;

/// The variable that leads clients to the directory of their runner's files.
pub(super) const VARIABLE: &str = "TMPDIR";
/// What clients do that changes what is on the engine, and that the engine ends also without them.
const CHANGES: &[&str] = &["run", "create", "commit", "network", "volume", "rm"];

/// A client that runs.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// It is about to change what is on the engine: who looks must wait for its end.
    pub changes: bool,
    process: Pid,
}

impl Client {
    /// Those that were started by the process with this directory of files, and credential helpers too.
    #[must_use]
    pub fn of(files: &Path, engine: &Engine) -> Vec<Self> {
        let mark = [VARIABLE.as_bytes(), b"=", files.as_os_str().as_bytes()].concat();
        let options = engine.words().0.len();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let client = |entry: fs::DirEntry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            // Other people's processes are not ours, whatever they say of themselves: root can read them too.
            let owner = entry.metadata().ok()?.uid();
            if owner != rustix::process::geteuid().as_raw() {
                return None;
            }
            let environment = fs::read(entry.path().join("environ")).ok()?;
            if !environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark)
            {
                return None;
            }
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = line.split(|byte| *byte == 0).nth(options)?;
            Some(Self {
                changes: CHANGES.iter().any(|known| known.as_bytes() == command),
                process: Pid::from_raw(process)?,
            })
        };
        processes.filter_map(client).collect()
    }

    /// Ends it at once.
    pub fn kill(self) {
        // It may have ended by itself.
        let _ = kill_process(self.process, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, VARIABLE};
    use crate::docker::Engine;
    use std::process::Command;

    #[test]
    fn clients_are_known_by_their_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let start = |files: &std::path::Path| {
            let mut sleeper = Command::new("sleep");
            // Its command line is `docker 60`, as far as anybody can see.
            std::os::unix::process::CommandExt::arg0(&mut sleeper, "docker");
            sleeper.arg("60").env(VARIABLE, files);
            sleeper.spawn().expect("started")
        };
        let mut ours = start(directory.path());
        let mut others = start(&directory.path().join("other"));
        // Another user's, whatever it says of itself.
        let mut forged = Command::new("sleep");
        forged.arg("60").env(VARIABLE, directory.path());
        if rustix::process::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(&mut forged, 65534);
        } else {
            forged.env_remove(VARIABLE);
        }
        let mut forged = forged.spawn().expect("started");
        for child in [&ours, &others, &forged] {
            // The kernel says that a program was started a moment before it can be asked with what.
            while std::fs::read(format!("/proc/{}/environ", child.id()))
                .is_ok_and(|read| read.is_empty())
            {
                std::thread::yield_now();
            }
        }
        let found = Client::of(directory.path(), &Engine::default());
        assert!(
            !found.is_empty() && found.iter().all(|client| !client.changes),
            "{found:?}"
        );
        found.into_iter().for_each(Client::kill);
        assert!(!ours.wait().expect("ended").success());
        assert!(others.try_wait().expect("asked").is_none());
        assert!(forged.try_wait().expect("asked").is_none());
        forged.kill().expect("killed");
        forged.wait().expect("ended");
        others.kill().expect("killed");
        others.wait().expect("ended");
    }
}
