//! Services: started beside everything else, and waited for.

use super::{Run, Stop};
use crate::cancel::Cancel;
use crate::docker::DockerCommand;
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

    /// Waits until the services answer. Each that does not costs a warning, with the end of its log.
    pub(super) fn ask_services(
        &self,
        started: &[bool],
        cancel: &Cancel,
    ) -> Result<Vec<String>, Stop> {
        let Some(check) = &self.plan.health_check else {
            return Ok(Vec::new());
        };
        if started.iter().all(|started| !started) {
            return Ok(Vec::new());
        }
        let report = self.docker.capture_with(&self.bound(check), None, cancel)?;
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
