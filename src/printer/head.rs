//! The begin of the script: what it needs, and its functions.

use std::fmt::Write as _;

use super::limits::STOP_TIMER;
use super::writer::Script;
use crate::docker::{DockerCommand, Word};
use crate::outcome::{Outcome, misleads};
use crate::plan::names::own_name;

impl Script<'_> {
    pub fn head(&mut self, job: &str) {
        let job: String = job
            .chars()
            .filter(|c| !misleads(*c) && *c != '\t')
            .collect();
        self.line("#!/bin/sh");
        let _ = writeln!(
            self.text,
            "# The job `{job}`, written by alloy-runner exec --dry-run."
        );
        self.line("# What it prints is not masked: secrets that the job prints show.");
        if !self.plan.registries.is_empty() {
            self.line("# Images are pulled with the registry credentials of whoever runs it, not with the job's own.");
        }
        self.line("set -eu");
    }

    /// Asks for the secrets, which the script gets by its environment.
    pub fn secrets(&mut self) {
        let run = &self.plan.build.run;
        for (name, value) in run.secrets().iter().chain(run.file_secrets()) {
            // The name that its owner knows; another one is only for the way.
            let known = own_name(name);
            let colon = if value.expose().is_empty() { "" } else { ":" };
            let _ = writeln!(self.text, ": \"${{{known}{colon}?}}\"");
            let renamed = if known == name {
                String::new()
            } else {
                format!("=${known}")
            };
            let _ = writeln!(self.text, "export {name}{renamed}");
        }
    }

    pub fn functions(&mut self) {
        let plan = self.plan;
        self.line("");
        let containers = plan.services.iter().map(|service| &service.name);
        let containers: Vec<&Word> = containers.chain([&plan.helper, &plan.build.name]).collect();
        self.line("cleanup() {");
        self.line("  trap - EXIT INT TERM HUP");
        if self.has_limits() {
            self.line(STOP_TIMER);
        }
        let gone = " >/dev/null 2>&1 || :";
        self.run(&plan.removal(containers), gone);
        if let Some(network) = &plan.network {
            self.run(&DockerCommand::network_remove([&network.name]), gone);
        }
        let volumes = plan.volumes.iter().map(|volume| &volume.name);
        self.run(&DockerCommand::volume_remove(volumes), gone);
        self.line("}");
        self.line("trap cleanup EXIT");
        self.line("trap 'cleanup; exit 129' HUP\ntrap 'cleanup; exit 130' INT\ntrap 'cleanup; exit 143' TERM");
        self.line("");
        let success = Word::from(Outcome::Success.to_string());
        let _ = writeln!(self.text, "status=0 end={success}");
        self.line("# The first failure is the job's.");
        self.line("fail() { if [ $status = 0 ]; then status=$1 end=$2; fi; }");
        self.line("end_job() { printf '%s\\n' \"$end\"; exit $status; }");
        self.limits();
        self.line("");
    }
}
