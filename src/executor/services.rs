//! Services: started beside everything else, and waited for.

use std::sync::mpsc::Receiver;
use std::thread::Scope;

use super::{Run, Stop};

use crate::cancel::Cancel;
use crate::docker::error::Kind;
use crate::docker::{DockerCommand, DockerError};
use crate::logging::carried;
use crate::plan::{Service, key_hint};

/// How much of a service's log a warning shows, in lines.
const LOG_LINES: u32 = 30;
/// The longest line of a service's log that is shown in one, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// A service that does not answer.
pub(super) struct Silent {
    /// What is wrong, and what is said of its log.
    pub problem: String,
    /// The end of its log.
    pub log: String,
}

impl Run<'_> {
    /// Starts a service. One that does not start costs a warning.
    pub(super) fn start_service<'scope>(
        &'scope self,
        service: &'scope Service,
        followers: &'scope Scope<'scope, '_>,
    ) -> Result<bool, Stop> {
        self.made().containers.push(service.name.clone());
        match self.restoring(&service.name, || self.capture(&service.run)) {
            Ok(_) => {
                if self.plan.debug_services {
                    followers.spawn(carried(|| self.follow_service(service)));
                }
                Ok(true)
            }
            Err(Stop::Docker(error)) if error.kind != Kind::Conflict && !error.is_final() => {
                self.trace.warning(&format!(
                    "service {} did not start: {}{}",
                    service.title,
                    error.reason(),
                    key_hint(error.reason(), true)
                ))?;
                Ok(false)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Copies a service's log into the job's, each line behind the service's name, until the job has ended.
    pub(super) fn follow_service(&self, service: &Service) {
        let name = service.aliases.last().map_or("", String::as_str);
        let mut rest = Vec::new();
        let mut show = |bytes: &[u8]| {
            rest.extend_from_slice(bytes);
            // One that never ends its line fills no memory.
            let full = if rest.len() > LONGEST_LINE {
                rest.len()
            } else {
                0
            };
            let whole = rest
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(full, |at| at + 1);
            let lines = rest.drain(..whole).collect::<Vec<_>>();
            let lines = String::from_utf8_lossy(&lines).into_owned();
            lines
                .lines()
                .try_for_each(|line| self.trace.line(&format!("[service:{name}] {line}")))
        };
        let followed = self.docker.follow(
            &DockerCommand::follow_logs(&service.name),
            &mut show,
            &self.ended,
        );
        match followed {
            Err(error) if error.kind != Kind::Canceled => {
                log::warn!(
                    "cannot follow the log of service {}: {error}",
                    service.title
                );
            }
            _ => {}
        }
    }

    /// Waits until the services answer. Each that does not costs a warning, with the end of its log. They are
    /// asked by the helper; `helpers` says when one runs.
    pub(super) fn ask_services(
        &self,
        started: &[bool],
        helpers: &Receiver<()>,
        cancel: &Cancel,
    ) -> Result<Vec<Silent>, Stop> {
        let Some(check) = &self.plan.health_check else {
            return Ok(Vec::new());
        };
        if started.iter().all(|started| !started) {
            return Ok(Vec::new());
        }
        let Some(report) = self.ask_by_helper(check, helpers, cancel)? else {
            return Ok(Vec::new());
        };
        let mut silent = Vec::new();
        for line in report.lines() {
            let (index, problem) = line.split_once(' ').unwrap_or((line, "no answer"));
            let index: Option<usize> = index.parse().ok();
            let Some((service, true)) =
                index.and_then(|i| Some((self.plan.services.get(i)?, *started.get(i)?)))
            else {
                continue;
            };
            silent.push(self.describe(service, problem));
        }
        Ok(silent)
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
    fn describe(&self, service: &Service, problem: &str) -> Silent {
        let state = self.ask(&DockerCommand::inspect(
            &service.name,
            "{{.State.Running}} {{.State.ExitCode}}",
        ));
        let problem = match state.as_deref().map(|text| text.split_once(' ')) {
            Ok(Some(("false", status))) => format!("died with status {status}"),
            _ => problem.to_owned(),
        };
        let (said, log) = match self
            .docker
            .capture_end(&DockerCommand::logs(&service.name, LOG_LINES))
        {
            Ok(log) if log.is_empty() => ("it logged nothing".to_owned(), log),
            Ok(log) => ("the end of its log:".to_owned(), log),
            Err(error) => {
                let said = format!("its log cannot be read: {}", error.reason());
                (said, String::new())
            }
        };
        Silent {
            problem: format!("service {}: {problem}; {said}", service.title),
            log,
        }
    }
}
