//! Executables that run beside a test, and that end with it however it ends.

use std::fs;
use std::io;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Output};

/// A child that is killed when this is dropped, by a test that fails for example.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().expect("started")))
    }

    /// Waits for its end, and for all that it prints.
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        self.0.take().expect("a child").wait_with_output()
    }

    /// Kills it as `kill -9` does, and waits for that.
    pub fn kill_and_wait(mut self) {
        self.kill().expect("killed");
        self.wait().expect("ended");
    }

    /// What it holds of this machine.
    pub fn held(&self) -> Held {
        let directory = format!("/proc/{}", self.id());
        let count = |name: &str| {
            let entries = fs::read_dir(format!("{directory}/{name}")).expect("it lives");
            entries.count()
        };
        let status = fs::read_to_string(format!("{directory}/status")).expect("it lives");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.expect("a line").trim().trim_end_matches(" kB");
        Held {
            kilobytes: resident.parse().expect("a number"),
            threads: count("task"),
            descriptors: count("fd"),
        }
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().expect("a child")
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().expect("a child")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended long ago.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a process holds: memory, threads and open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub kilobytes: u64,
    pub threads: usize,
    pub descriptors: usize,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kB, {} threads, {} descriptors",
            self.kilobytes, self.threads, self.descriptors
        )
    }
}
