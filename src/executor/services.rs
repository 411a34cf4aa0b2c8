//! Services: started beside everything else, and waited for.

use std::sync::mpsc::Receiver;

use super::{Run, Stop};
use crate::cancel::Cancel;
use crate::docker::{DockerCommand, DockerError};
use crate::plan::Service;

/// How much of a service's log a warning shows, in lines.
const LOG_LINES: u32 = 30;

impl Run<'_> {
    /// Starts a service. One that does not start costs a warning.
    pub(super) fn start_service(&self, service: &Service) -> Result<bool, Stop> {
        let ports = self.capture(&service.ports)?;
        self.bind(&service.ports_slot, ports.trim().to_owned());
        self.made().containers.push(service.name.clone());
        match self.capture(&service.run) {
            Ok(_) => Ok(true),
            Err(Stop::Docker(error)) => {
                self.trace.warning(&format!(
                    "service {} did not start: {}",
                    service.image,
                    error.reason()
                ))?;
                Ok(false)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Waits until the services answer. Each that does not costs a warning, with the end of its log. They are
    /// asked by the helper; `helpers` says when one runs.
    pub(super) fn ask_services(
        &self,
        started: &[bool],
        helpers: &Receiver<()>,
        cancel: &Cancel,
    ) -> Result<Vec<String>, Stop> {
        let Some(check) = &self.plan.health_check else {
            return Ok(Vec::new());
        };
        if started.iter().all(|started| !started) {
            return Ok(Vec::new());
        }
        let Some(report) = self.ask_by_helper(check, helpers, cancel)? else {
            return Ok(Vec::new());
        };
        let mut warnings = Vec::new();
        for line in report.lines() {
            let (index, problem) = line.split_once(' ').unwrap_or((line, "no answer"));
            let index: Option<usize> = index.parse().ok();
            let Some((service, true)) =
                index.and_then(|i| Some((self.plan.services.get(i)?, *started.get(i)?)))
            else {
                continue;
            };
            warnings.push(self.describe(service, problem));
        }
        Ok(warnings)
    }

    /// What a helper says about the services; nothing where none ever runs. One that sees no sources is replaced,
    /// maybe while it asks, and the next one asks again.
    fn ask_by_helper(
        &self,
        check: &DockerCommand,
        helpers: &Receiver<()>,
        cancel: &Cancel,
    ) -> Result<Option<String>, DockerError> {
        let mut failure = None;
        // Ends when the sources are there or cannot be had: then no other helper follows.
        for () in helpers {
            match self.docker.capture_with(&self.bound(check), None, cancel) {
                Ok(report) => return Ok(Some(report)),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// Why a service does not answer, and the end of its log.
    fn describe(&self, service: &Service, problem: &str) -> String {
        let state = self.docker.capture(&DockerCommand::inspect(
            &service.name,
            "{{.State.Running}} {{.State.ExitCode}}",
        ));
        let problem = match state.as_deref().map(|text| text.split_once(' ')) {
            Ok(Some(("false", status))) => format!("died with status {status}"),
            _ => problem.to_owned(),
        };
        let log = match self
            .docker
            .capture_all(&DockerCommand::logs(&service.name, LOG_LINES))
        {
            Ok(log) if log.is_empty() => "it logged nothing".to_owned(),
            Ok(log) => format!("the end of its log:\n  {}", log.replace('\n', "\n  ")),
            Err(error) => format!("its log cannot be read: {}", error.reason()),
        };
        format!("service {}: {problem}; {log}", service.image)
    }
}
