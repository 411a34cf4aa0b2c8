//! Services: started beside everything else, and waited for.

use std::thread::{self, Scope};

use super::{Run, Stop, joined, system_failure};
use crate::docker::error::Kind;
use crate::docker::session::{Session, Status};
use crate::docker::{DockerCommand, DockerError, Word};
use crate::logging::carried;
use crate::plan::{Service, key_hint};

/// How much of a service's log a warning shows, in lines.
const LOG_LINES: u32 = 30;
/// The longest line of a service's log that is shown in one, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// Services that do not run.
pub(super) enum Paused {
    /// They are paused, those of them that had started.
    Services(Vec<bool>),
    /// There are none.
    Removed,
}

/// Whether containers can neither be paused nor unpaused since nothing runs in them any more.
fn have_ended(error: &DockerError) -> bool {
    let ended = ["is not running", "is not paused", "No such container"];
    let mut lines = error.message.lines();
    // A client of 20.10 adds its own status.
    lines.all(|line| {
        line.starts_with("exit status ") || ended.iter().any(|words| line.contains(words))
    })
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
                    key_hint(&error)
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

    /// Starts all services side by side, and says which of them did.
    pub(super) fn start_services<'scope>(
        &'scope self,
        followers: &'scope Scope<'scope, '_>,
    ) -> Result<Vec<bool>, Stop> {
        thread::scope(|scope| {
            let services = self.plan.services.iter();
            let threads: Vec<_> = services
                .map(|service| {
                    scope.spawn(carried(|| {
                        self.timed("service", &service.title, || {
                            self.start_service(service, followers)
                        })
                    }))
                })
                .collect();
            threads.into_iter().map(joined).collect()
        })
    }

    /// Keeps everything in the services from running. Where the engine cannot do that, they go, and come again later.
    pub(super) fn pause_services(&self, started: Vec<bool>) -> Result<Paused, Stop> {
        if self.pause(self.plan.services.iter().map(|service| &service.name))? {
            return Ok(Paused::Services(started));
        }
        if self.plan.services_first {
            return Err(system_failure(
                "the engine cannot pause the services while the sources are fetched, and with links they cannot be \
                 started later; use a network of the job's own (network_mode unset)",
            ));
        }
        self.trace.warning(
            "the engine cannot pause the services while the sources are fetched: they are started afterwards",
        )?;
        self.remove_services()?;
        Ok(Paused::Removed)
    }

    /// Lets the services run, and waits until they answer. `asking` waits in the helper already.
    pub(super) fn resume_services<'scope>(
        &'scope self,
        paused: Paused,
        asking: Option<Session>,
        followers: &'scope Scope<'scope, '_>,
    ) -> Result<(), Stop> {
        let Paused::Services(started) = paused else {
            let started = self.start_services(followers)?;
            return self.wait_for_services(&started, asking);
        };
        let names = self.plan.services.iter().map(|service| &service.name);
        // Before they are asked: what is printed may be pasted, in this order.
        self.check_canceled()?;
        if let Err(error) = self.ask(&DockerCommand::unpause(names))
            && !have_ended(&error)
        {
            return Err(error.into());
        }
        self.wait_for_services(&started, asking)
    }

    /// Keeps everything from running that shares volumes with the helper: it is to work on them alone. `build_may_run`:
    /// nothing is known of the build container's end.
    pub(super) fn quiet(&self, build_may_run: bool) -> Result<(), Stop> {
        let services = self.plan.services.iter().map(|service| &service.name);
        if !self.plan.services.is_empty() && !self.pause(services)? {
            self.remove_services()?;
        }
        if build_may_run && !self.pause([&self.plan.build.name])? {
            self.remove_container(&self.plan.build.name)?;
        }
        Ok(())
    }

    /// Pauses containers, as far as they run. Returns whether the engine can.
    fn pause<'n>(&self, names: impl IntoIterator<Item = &'n Word>) -> Result<bool, Stop> {
        match self.ask(&DockerCommand::pause(names)) {
            Ok(_) => Ok(true),
            Err(error) if have_ended(&error) => Ok(true),
            Err(error) if error.is_final() || error.is_loss() => Err(error.into()),
            Err(error) => {
                log::warn!("{error}");
                Ok(false)
            }
        }
    }

    fn remove_services(&self) -> Result<(), Stop> {
        for service in &self.plan.services {
            self.remove_container(&service.name)?;
        }
        Ok(())
    }

    /// Waits until the services answer. Each that does not costs a warning, with the end of its log.
    fn wait_for_services(&self, started: &[bool], asking: Option<Session>) -> Result<(), Stop> {
        let Some(check) = &self.plan.health_check else {
            return Ok(());
        };
        self.trace
            .line("Waiting for services to be up and running...")?;
        if started.iter().all(|started| !started) {
            return Ok(());
        }
        let report = self.timed("wait_for_services", "", || self.report(check, asking))?;
        for line in report.lines() {
            let (index, problem) = line.split_once(' ').unwrap_or((line, "no answer"));
            let index: Option<usize> = index.parse().ok();
            let Some((service, true)) =
                index.and_then(|i| Some((self.plan.services.get(i)?, *started.get(i)?)))
            else {
                continue;
            };
            self.describe(service, problem)?;
        }
        Ok(())
    }

    /// What the helper says about the services. Should it have been replaced, the other one is asked.
    fn report(&self, check: &DockerCommand, asking: Option<Session>) -> Result<String, Stop> {
        let ask = |session: Session| {
            let mut report = Vec::new();
            let mut output = |bytes: &[u8]| {
                report.extend_from_slice(bytes);
                Ok(())
            };
            let status = session.run(&Word::default(), &mut output, self.cancel)?;
            let text = String::from_utf8_lossy(&report).into_owned();
            Ok::<_, DockerError>((status, text))
        };
        if let Some(session) = asking
            && let Ok((Status(Some(0)), report)) = ask(session)
        {
            return Ok(report);
        }
        self.check_canceled()?;
        match ask(self.docker.start_apart(&self.bound(check))?)? {
            (Status(Some(0)), report) => Ok(report),
            (Status(status), _) => Err(
                match self.helper_is_gone(status.unwrap_or_default(), false) {
                    Some(error) => error.into(),
                    None => system_failure(format!(
                        "asking for the services failed in the helper: {}",
                        status.map_or("the docker client died".to_owned(), |status| format!(
                            "status {status}"
                        ))
                    )),
                },
            ),
        }
    }

    /// Says why a service does not answer, with the end of its log.
    fn describe(&self, service: &Service, problem: &str) -> std::io::Result<()> {
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
        self.trace
            .warning(&format!("service {}: {problem}; {said}", service.title))?;
        log.lines()
            .try_for_each(|line| self.trace.line(&format!("  {line}")))
    }
}
