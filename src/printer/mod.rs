//! A plan as a shell script of docker commands that runs by itself.
//!
//! It runs what the interpreter runs, one after the other, asks the engine what the interpreter asks, and
//! prints the log's lines where that prints them.

mod stages;

use std::fmt::Write as _;

use crate::config::PullPolicy;
use crate::docker::Words;
use crate::docker::{DockerCommand, Slot, Word};
use crate::outcome::misleads;
use crate::plan::helper_image::architecture;
use crate::plan::names::{PREFIX, own_name};
use crate::plan::{Image, ImageSource, Plan};

/// Sends away what a command says that has nothing to say in the log.
const QUIET: &str = " >/dev/null";

struct Script<'a> {
    pub plan: &'a Plan,
    docker: &'a Words,
    pub text: String,
}

/// The script. `prefix` is how its containers, network and volumes are called, before the process id.
#[must_use]
pub fn script(plan: &Plan, docker: &Words, job: &str, prefix: &str) -> String {
    let mut script = Script {
        plan,
        docker,
        text: String::new(),
    };
    script.head(job, prefix);
    plan.images.iter().for_each(|image| script.image(image));
    script.resources();
    script.services();
    script.sources();
    script.waiting();
    script.build();
    script.text
}

impl Script<'_> {
    pub fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub fn say(&mut self, text: impl Into<Word>) {
        let text = text.into();
        self.line(&format!("printf '%s\\n' {text}"));
    }

    pub fn command(&self, command: &DockerCommand, stdin: Option<&Word>, end: &str) -> String {
        command.pasted_line(self.docker, stdin, end)
    }

    pub fn run(&mut self, command: &DockerCommand, end: &str) {
        let line = self.command(command, None, end);
        self.line(&line);
    }

    fn head(&mut self, job: &str, prefix: &str) {
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
        let _ = writeln!(self.text, "{PREFIX}={}-$$", Word::from(prefix));
        self.line("");
        let containers = self.plan.services.iter().map(|service| &service.name);
        let containers: Vec<&Word> = containers
            .chain([&self.plan.helper, &self.plan.build.name])
            .collect();
        self.line("cleanup() {");
        self.line("  trap - EXIT INT TERM HUP");
        let gone = " >/dev/null 2>&1 || :";
        self.run(&DockerCommand::remove(containers), gone);
        if let Some(network) = &self.plan.network {
            self.run(&DockerCommand::network_remove([&network.name]), gone);
        }
        self.run(
            &DockerCommand::volume_remove(self.plan.volumes.iter().map(|volume| &volume.name)),
            gone,
        );
        self.line("}");
        self.line("trap cleanup EXIT");
        self.line("trap 'cleanup; exit 129' HUP\ntrap 'cleanup; exit 130' INT\ntrap 'cleanup; exit 143' TERM");
        self.line("system_failure() { printf 'ERROR: Build failed (system failure): %s\\n' \"$1\"; exit 3; }");
        self.line("");
        for line in self
            .plan
            .header
            .iter()
            .cloned()
            .chain(self.plan.warnings.iter().map(|w| format!("WARNING: {w}")))
        {
            self.say(line);
        }
    }

    fn image(&mut self, image: &Image) {
        self.line("");
        let (slot, others) = match &image.slots[..] {
            [slot, others @ ..] => (slot.name(), others),
            [] => return,
        };
        let inspect = self.command(
            &DockerCommand::image_inspect([&image.name], "{{.Id}}"),
            None,
            " 2>/dev/null",
        );
        let not_found = Word::from(format!(
            "ERROR: Build failed: Error: image {} not found",
            image.name
        ));
        match &image.source {
            ImageSource::Pull { policies, .. } => {
                let _ = writeln!(self.text, "{slot}=");
                for policy in policies {
                    let found = format!("{slot}=$({inspect})");
                    let pull = self.command(&DockerCommand::pull(&image.name), None, QUIET);
                    let pulling = Word::from(format!("Pulling docker image {} ...", image.name));
                    let pulled = format!("{{ printf '%s\\n' {pulling}; {pull} && {found}; }}");
                    let attempt = match policy {
                        PullPolicy::Never => found,
                        PullPolicy::Always => pulled,
                        PullPolicy::IfNotPresent => format!("{found} || {pulled}"),
                    };
                    let _ = writeln!(self.text, "[ -n \"${slot}\" ] || {attempt} || :");
                }
                let _ = writeln!(
                    self.text,
                    "[ -n \"${slot}\" ] || {{ printf '%s\\n' {not_found}; exit 1; }}"
                );
                let _ = writeln!(
                    self.text,
                    "printf '%s\\n' \"Using docker image ${slot} for \"{}",
                    Word::from(format!("{} ...", image.name))
                );
                for other in others {
                    let _ = writeln!(self.text, "{}=${slot}", other.name());
                }
            }
            ImageSource::Build(helper) => {
                let _ = writeln!(self.text, "if ! {slot}=$({inspect}); then");
                let arch = self.command(&DockerCommand::version("{{.Server.Arch}}"), None, "");
                let own = architecture();
                let _ = writeln!(
                    self.text,
                    "[ \"$({arch})\" = {own} ] || system_failure 'the engine is of another architecture than the {own} executable'"
                );
                self.line("printf '%s\\n' 'Building the helper image ...'");
                let container = Word::from(Slot::new(PREFIX)).then("-tools");
                for (command, stdin) in helper.steps(&container) {
                    let line = self.command(&command, stdin.map(Word::from).as_ref(), QUIET);
                    self.line(&line);
                }
                let _ = writeln!(self.text, "{slot}=$({inspect})\nfi");
            }
        }
    }

    fn resources(&mut self) {
        self.line("");
        for resource in self.plan.network.iter().chain(&self.plan.volumes) {
            if let Some(create) = &resource.create {
                self.run(create, QUIET);
            }
        }
    }

    fn services(&mut self) {
        for service in &self.plan.services {
            let _ = writeln!(
                self.text,
                "{}=$({})",
                service.ports_slot.name(),
                service.ports.shell_line(self.docker, None, "")
            );
            self.say(format!("Starting service {} ...", service.image));
            let warning = Word::from(format!("WARNING: service {} did not start", service.title));
            self.run(
                &service.run,
                &format!(" >/dev/null || printf '%s\\n' {warning}"),
            );
        }
    }

    fn waiting(&mut self) {
        if let Some(check) = &self.plan.health_check {
            self.line("printf '%s\\n' 'Waiting for services to be up and running...'");
            self.line("problems=$(");
            self.run(check, "");
            self.line(")");
            self.line("if [ -n \"$problems\" ]; then");
            self.line("printf '%s\\n' \"$problems\" | while read -r index problem; do");
            self.line("case $index in");
            for (index, service) in self.plan.services.iter().enumerate() {
                let _ = writeln!(
                    self.text,
                    "{index}) service={} ;;",
                    Word::from(service.title.as_str())
                );
            }
            self.line("esac\nprintf '%s\\n' \"WARNING: service $service: $problem\"\ndone\nfi");
        }
    }
}
