//! What the containers need: images, network, volumes, services.

use std::fmt::Write as _;

use super::writer::{FAILURE, QUIET, SYSTEM_FAILURE, Script};
use crate::config::PullPolicy;
use crate::docker::{DockerCommand, Slot, Word};
use crate::plan::helper_image::{HelperImage, PLATFORM, platform};
use crate::plan::lines;
use crate::plan::names::PREFIX;
use crate::plan::{Image, ImageSource, Pulling, Service};

impl Script<'_> {
    pub fn image(&mut self, image: &Image) {
        self.line("");
        let [slot, others @ ..] = &image.slots[..] else {
            return;
        };
        let inspect = DockerCommand::image_inspect([&image.name], "{{.Id}}");
        let inspect = self.command(&inspect, None, " 2>/dev/null");
        let found = format!("{}=$({inspect})", slot.name());
        match &image.source {
            ImageSource::Pull { wanted, .. } => self.pulled(&image.name, slot, wanted, &found),
            ImageSource::Build(helper) => self.built(helper, &found),
        }
        for other in others {
            let _ = writeln!(self.text, "{}=${}", other.name(), slot.name());
        }
    }

    /// An image by the first of its policies that leads to one. `found` is a command that looks for it here.
    fn pulled(&mut self, name: &str, slot: &Slot, wanted: &Pulling, found: &str) {
        let there = format!("[ -n \"${}\" ]", slot.name());
        let _ = writeln!(self.text, "{}=", slot.name());
        let pull = DockerCommand::pull(name, wanted.platform.as_deref());
        let pull = self.command(&pull, None, QUIET);
        let pulling = Self::saying(&lines::pulling(name));
        let pulled = format!("{{ {pulling}; {pull} && {found}; }}");
        for policy in &wanted.policies {
            let attempt = match policy {
                PullPolicy::Never => found.to_owned(),
                PullPolicy::Always => pulled.clone(),
                PullPolicy::IfNotPresent => format!("{found} || {pulled}"),
            };
            let _ = writeln!(self.text, "{there} || {attempt} || :");
        }
        let not_found = lines::build_error(lines::image_not_found(name));
        let fails = Self::failing(FAILURE, &lines::job_failed(not_found));
        let _ = writeln!(self.text, "{there} || {{ {fails}; end_job; }}");
        self.say(&lines::using_image(slot.clone(), name));
    }

    /// The helper image, made where it is not there.
    fn built(&mut self, helper: &HelperImage, found: &str) {
        let _ = writeln!(self.text, "if ! {found}; then");
        self.say(&lines::building_helper_image(helper));
        let engine = Slot::new("engine");
        let version = self.command(&DockerCommand::version(PLATFORM), None, "");
        let _ = writeln!(self.text, "{}=$({version})", engine.name());
        let other = lines::system_failed(lines::other_platform(engine));
        let fails = Self::failing(SYSTEM_FAILURE, &other);
        let own = platform();
        let _ = writeln!(
            self.text,
            "[ \"$engine\" = {own} ] || {{ {fails}; end_job; }}"
        );
        let container = Word::from(Slot::new(PREFIX)).then("-tools");
        for (command, stdin) in helper.steps(&container) {
            let line = self.command(&command, stdin.map(Word::from).as_ref(), QUIET);
            self.line(&line);
        }
        let _ = writeln!(self.text, "{found}\nfi");
    }

    pub fn resources(&mut self) {
        self.line("");
        for resource in self.plan.network.iter().chain(&self.plan.volumes) {
            if let Some(create) = &resource.create {
                self.run(create, QUIET);
            }
        }
        if let Some(errand) = &self.plan.clear_nested {
            self.run(&errand.run, QUIET);
        }
    }

    pub fn services(&mut self) {
        for service in &self.plan.services {
            let _ = writeln!(
                self.text,
                "{}=$({})",
                service.ports_slot.name(),
                service.ports.shell_line(self.docker, None, "")
            );
            self.say(&lines::starting_service(service));
            // docker has said why by then.
            let warning = Self::saying(&lines::service_not_started(service, None));
            self.run(&service.run, &format!(" >/dev/null || {warning}"));
        }
    }

    pub fn waiting(&mut self) {
        let Some(check) = &self.plan.health_check else {
            return;
        };
        self.say(&lines::waiting_for_services());
        self.line("problems=$(");
        self.run(check, "");
        let end = Word::from("status ").then(Slot::new("ended"));
        let failed = lines::system_failed(lines::asking_failed(end));
        let fails = Self::failing(SYSTEM_FAILURE, &failed);
        let _ = writeln!(self.text, ") || {{ ended=$?; {fails}; end_job; }}");
        self.line("if [ -n \"$problems\" ]; then");
        self.line("printf '%s\\n' \"$problems\" | while read -r index problem; do");
        self.line("case $index in");
        for (index, service) in self.plan.services.iter().enumerate() {
            let title = Word::from(service.title.as_str());
            let name = &service.name;
            let _ = writeln!(self.text, "{index}) service={title} container={name} ;;");
        }
        self.line("esac");
        self.describe_service();
        self.line("done\nfi");
    }

    /// Says why `$service`, in `$container`, does not answer, with the end of its log.
    fn describe_service(&mut self) {
        let [service, problem, ended] = ["service", "problem", "ended"].map(Slot::new);
        let container = Slot::new("container");
        let state = self.command(&Service::state(container.clone()), None, "");
        let _ = writeln!(self.text, "state=$({state} || :)");
        let died = lines::service_died(ended);
        let _ = writeln!(
            self.text,
            "case $state in 'false '*) ended=${{state#false }}; problem={died} ;; esac"
        );
        let logs = self.command(&Service::end_of_log(container), None, " 2>&1");
        let _ = writeln!(self.text, "log=$({logs} || :)");
        let with = |log| {
            Self::saying(&lines::service_problem(
                service.clone(),
                problem.clone(),
                log,
            ))
        };
        let (some, none) = (with(Ok(())), with(Err(lines::NO_LOG)));
        let _ = writeln!(
            self.text,
            "if [ -n \"$log\" ]; then {some}; printf '%s\\n' \"$log\" | sed 's/^/  /'; else {none}; fi"
        );
    }
}
