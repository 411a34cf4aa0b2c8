//! A project and a configuration.

use std::fs;
use std::io::Read;
use std::process::Command;

use serde_json::{Value, json};

use super::{Project, Ran, Running, Words, docker, run, signal, spawn};

/// A project with a runner `r` in a configuration, whose job stops after it has said `begun`.
pub struct Configured {
    pub project: Project,
    pub file: String,
}

impl Configured {
    pub fn new(job: &Value, docker: &str) -> Self {
        Self::with_runner(job, "", docker)
    }

    pub fn with_runner(job: &Value, runner: &str, docker: &str) -> Self {
        let project = Project::new(json!({"test": job}));
        let file = project.beside("config.toml");
        fs::write(
            &file,
            format!("[[runners]]\nname = \"r\"\n{runner}\n[runners.docker]\n{docker}\n"),
        )
        .expect("written");
        let file = file.display().to_string();
        Self { project, file }
    }

    pub fn command(&self, more: impl Words) -> Command {
        let exec = ["--config", &self.file, "exec", "--runner", "r"];
        let mut command = self.project.command(exec);
        command.args(more.words()).arg("test");
        command
    }

    pub fn exec(&self, more: impl Words) -> Ran {
        run(&mut self.command(more))
    }

    /// Starts the job, up to where it has said `begun`.
    pub fn begin(&self) -> Running {
        let mut child = spawn(&mut self.command([]));
        let mut said = Vec::new();
        let stdout = child.stdout.as_mut().expect("piped");
        let mut byte = [0];
        while !said.ends_with(b"\nbegun\n") {
            if stdout.read(&mut byte).expect("readable") == 0 {
                let mut errors = String::new();
                child
                    .stderr
                    .take()
                    .expect("piped")
                    .read_to_string(&mut errors)
                    .expect("readable");
                panic!("{}{errors}", String::from_utf8_lossy(&said));
            }
            said.push(byte[0]);
        }
        child
    }

    pub fn inspect(&self, part: &str, template: &str) -> String {
        let names = docker(&[
            "ps",
            "--all",
            "--format",
            "{{.Names}}",
            "--filter",
            &format!("name=-project-{}-", self.project.id()),
        ]);
        let name = names
            .lines()
            .find(|name| name.ends_with(part))
            .unwrap_or_else(|| panic!("{part} in {names}"));
        docker(&["inspect", "--format", template, name])
            .trim_end_matches('\n')
            .to_owned()
    }
}

/// Ends a job that has [begun](Configured::begin).
pub fn end(mut child: Running) {
    signal(&child, "INT");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
}
