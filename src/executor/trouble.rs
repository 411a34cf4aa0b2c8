//! What trouble with the engine means for a job: what can be done again is done again, everything else ends the job
//! with the cause, and nothing waits for ever.
//!
//! Until the job's script has begun, all can begin again. From then on a lost engine is a system failure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use super::{Run, Stop, outcome_of_reason, system_failure};
use crate::cancel::{Cancel, FinishOnDrop};
use crate::docker::error::Kind;
use crate::docker::session::Session;
use crate::docker::{DockerCommand, DockerError, Word};
use crate::logging::carried;
use crate::outcome::Outcome;
use crate::plan::Resource;

/// How long a command that should be short may go on when the job is to end. What the engine makes after that,
/// nobody knows of.
const GRACE: Duration = Duration::from_secs(10);
/// How often a job may begin again because the engine went away.
const BEGINNINGS: u32 = 3;
/// How long an engine that went away may take to come back.
pub(super) const COMEBACK: Duration = Duration::from_mins(1);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(250);
/// How often something is done again because somebody removed what it needs.
pub(super) const RESTORATIONS: u32 = 50;
/// How long to wait for an address pool that another job gives back.
const POOL_PAUSES: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
];
/// What engines say when all address pools are in use.
const NO_POOL: [&str; 2] = [
    "could not find an available, non-overlapping",
    "all predefined address pools have been fully subnetted",
];

/// What is known of the engine's trouble.
#[derive(Default)]
pub(super) struct Trouble {
    /// It has answered since the job began.
    seen: AtomicBool,
    /// A command was given up that it may still carry out.
    abandoned: AtomicBool,
    /// The job's script has been sent.
    begun: AtomicBool,
    /// The helper has ended with its only stage: the sources hang on the build container.
    alone: AtomicBool,
    /// What ended last ended by saying that there is no room.
    no_room: AtomicBool,
    /// Held by whoever makes again what somebody has removed.
    restoring: Mutex<()>,
}

impl Trouble {
    /// Reads the end of what a script printed.
    pub fn note_end(&self, text: &[u8]) {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        let no_room = ["no space left on device", "out of diskspace"]
            .iter()
            .any(|words| text.contains(words));
        self.no_room.store(no_room, Ordering::Relaxed);
    }

    /// Why it failed, as far as its last words tell.
    pub fn cause(&self) -> &'static str {
        if self.no_room.load(Ordering::Relaxed) {
            "; the engine's disk is full"
        } else {
            ""
        }
    }

    /// Notes that the helper ends with its only stage.
    pub fn helper_ends(&self) {
        self.alone.store(true, Ordering::Relaxed);
    }

    /// Whether nothing but the build container holds the sources.
    pub fn is_build_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }
}

/// Whether what an engine does not find is something of a job, and not a network, a container or a plugin that the
/// configuration names and that never was there. What the job has made has a name with its prefix or, as images have,
/// an id.
fn is_of_job(message: &str, prefix: &str) -> bool {
    let is_id = |word: &str| word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    message.contains("No such image")
        || message.contains("is marked for removal")
        || message.contains(prefix)
        || message
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(is_id)
}

impl Run<'_> {
    /// Runs a short command to its end. Where the job is to end, it has a little time left.
    pub(super) fn ask(&self, command: &DockerCommand) -> Result<String, DockerError> {
        let began = Instant::now();
        let limit = self.cancel.late(GRACE);
        let result = self.docker.capture_with(&self.bound(command), None, &limit);
        match &result {
            Err(error) if error.kind == Kind::Canceled => {
                self.trouble.abandoned.store(true, Ordering::Relaxed);
                // The job's end is due, and its log is the place to say why nothing came of it.
                drop(self.trace.warning(&format!(
                    "the docker engine did not answer within {} s; tried: {}",
                    began.elapsed().as_secs(),
                    error.command
                )));
            }
            Err(error)
                if matches!(error.kind, Kind::NoEngine | Kind::NoRights | Kind::NoClient) => {}
            _ => self.trouble.seen.store(true, Ordering::Relaxed),
        }
        result
    }

    /// Whether a command was given up that the engine may still carry out.
    pub(super) fn has_abandoned(&self) -> bool {
        self.trouble.abandoned.load(Ordering::Relaxed)
    }

    /// Whether the engine was there at any time.
    pub(super) fn has_seen_engine(&self) -> bool {
        self.trouble.seen.load(Ordering::Relaxed)
    }

    /// Notes that from now on nothing begins again.
    pub(super) fn begin_script(&self) {
        self.trouble.begun.store(true, Ordering::Relaxed);
    }

    /// Whether the job can begin again after this.
    pub(super) fn begins_again_after(&self, stop: &Stop) -> bool {
        let loss = matches!(stop, Stop::Docker(error) if error.is_loss());
        loss && self.has_seen_engine() && !self.trouble.begun.load(Ordering::Relaxed)
    }

    /// Everything before the job's script; again from the begin where the engine went away meanwhile.
    pub(super) fn ready<'scope>(
        &'scope self,
        followers: &'scope Scope<'scope, '_>,
    ) -> Result<Option<Session>, Stop> {
        for _ in 1..BEGINNINGS {
            match self.get_ready(followers) {
                Err(stop) if self.begins_again_after(&stop) && self.cancel.reason().is_none() => {
                    self.begin_again(stop)?;
                }
                result => return result,
            }
        }
        self.get_ready(followers)
    }

    fn get_ready<'scope>(
        &'scope self,
        followers: &'scope Scope<'scope, '_>,
    ) -> Result<Option<Session>, Stop> {
        let images = self.timed("prepare", "", || self.prepare())?;
        self.pre_build(&images, followers)
    }

    fn begin_again(&self, stop: Stop) -> Result<(), Stop> {
        if let Stop::Docker(error) = &stop {
            self.trace
                .warning(&format!("the docker engine went away: {}", error.reason()))?;
        }
        if !self.engine_comes_back(self.cancel) {
            return Err(stop);
        }
        self.trace
            .line("The docker engine is there again, the job begins again...")?;
        self.clean_up();
        Ok(())
    }

    /// Waits for an engine that went away. Returns whether it is there.
    pub(super) fn engine_comes_back(&self, cancel: &Cancel) -> bool {
        let end = Instant::now() + COMEBACK;
        loop {
            if self.docker.answers(cancel).is_ok() {
                return true;
            }
            if Instant::now() >= end || cancel.wait(LOOK).is_some() {
                return false;
            }
        }
    }

    /// Does something, and where it fails since somebody removed what it needs, makes that again and does it again:
    /// `docker system prune` takes whatever nothing runs on. `container` is what it starts.
    pub(super) fn restoring<T>(
        &self,
        container: &Word,
        work: impl Fn() -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        for _ in 0..RESTORATIONS {
            match work() {
                Err(Stop::Docker(error)) if self.was_removed(&error) => {
                    self.restore(container, &error)?;
                }
                result => return result,
            }
        }
        work()
    }

    /// Whether a command failed for something of this job that was there and is gone.
    pub(super) fn was_removed(&self, error: &DockerError) -> bool {
        error.kind == Kind::NotFound && is_of_job(error.reason(), &self.plan.prefix.plain())
    }

    /// Makes what a container needs again, as far as it is gone.
    pub(super) fn restore(&self, container: &Word, error: &DockerError) -> Result<(), Stop> {
        self.check_canceled()?;
        let reason = error.reason();
        let last = reason.lines().last().unwrap_or(reason);
        let cause = if error.kind == Kind::NotFound {
            "; somebody removed it"
        } else {
            ""
        };
        self.trace
            .warning(&format!("{last}{cause}, trying again"))?;
        let one_at_a_time = &self.trouble.restoring;
        let _held = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let image = reason.contains("No such image");
        if image {
            self.restore_images(reason)?;
        } else {
            // It may have been made, and not started.
            self.remove_container(container)?;
        }
        match &self.plan.network {
            // While an image is pulled, a network that nothing runs in may go, too.
            Some(network) if image || reason.contains("network") => match self.make(network) {
                Err(Stop::Docker(error)) if error.kind == Kind::Conflict => Ok(()),
                result => result,
            },
            _ => Ok(()),
        }
    }

    /// Removes a container that may be there.
    pub(super) fn remove_container(&self, container: &Word) -> Result<(), DockerError> {
        match self.ask(&DockerCommand::remove([container])) {
            Err(error) if error.kind != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn restore_images(&self, reason: &str) -> Result<(), Stop> {
        for image in &self.plan.images {
            // They all stand for the same.
            let id = image.slots.first().map(|slot| {
                let bindings = self.bindings.lock();
                Word::from(slot.clone()).bind(&bindings.unwrap_or_else(PoisonError::into_inner))
            });
            if !id.is_some_and(|id| id.is_ok_and(|id| reason.contains(&id))) {
                continue;
            }
            let inspected = self.resolve(image).map_err(|stop| match stop {
                Stop::Outcome(Outcome::BuildError(error)) => system_failure(format!(
                    "somebody removed the image {} from the engine while the job ran, and it cannot be had again: \
                     {error}",
                    image.name
                )),
                stop => stop,
            })?;
            self.bind_image(image, &inspected.id);
        }
        Ok(())
    }

    /// Makes a network or a volume. Where all address pools are in use, other jobs may give one back.
    pub(super) fn make_in_time(&self, resource: &Resource) -> Result<(), Stop> {
        for pause in POOL_PAUSES {
            match self.make(resource) {
                Err(Stop::Docker(error))
                    if NO_POOL.iter().any(|text| error.message.contains(text)) =>
                {
                    self.trace.warning(&format!(
                        "{}; trying again in {} s",
                        error.reason(),
                        pause.as_secs()
                    ))?;
                    if let Some(reason) = self.cancel.wait(pause) {
                        return Err(Stop::Outcome(outcome_of_reason(reason)));
                    }
                }
                result => return result,
            }
        }
        self.make(resource)
    }

    /// Whether what failed in the helper failed since there is no helper any more. `alone`: the helper ends with its
    /// stage, with this status.
    pub(super) fn helper_is_gone(&self, status: i32, alone: bool) -> Option<DockerError> {
        const STATE: &str = "{{.State.Running}} {{.State.ExitCode}}";
        let command = DockerCommand::inspect(&self.plan.helper, STATE);
        let gone = |message: String| DockerError {
            kind: Kind::Gone,
            command: command.to_string(),
            message,
            printed: String::new(),
        };
        match self.ask(&command) {
            Err(error) if error.is_loss() => Some(error),
            Err(error) if error.kind == Kind::NotFound && !alone => {
                Some(gone("somebody removed the helper container".to_owned()))
            }
            Ok(state) if !alone && !state.starts_with("true ") => {
                Some(gone("the helper container was ended".to_owned()))
            }
            Ok(state) if alone && state != format!("false {status}") => Some(gone(format!(
                "the connection to the helper container was lost ({status}; {state})"
            ))),
            _ => None,
        }
    }

    /// Whether a stage after a failure, or after the job's time, is worth trying: an engine that hangs or is gone would
    /// only cost its time.
    pub(super) fn can_go_on(&self, outcome: &Outcome) -> bool {
        let failed = matches!(outcome, Outcome::SystemFailure(_) | Outcome::TimedOut(_));
        let doubtful = failed || self.cancel.reason().is_some();
        !doubtful || self.docker.answers(self.canceled).is_ok()
    }

    /// Does what may go on when the job's time is over: then only for as long as the engine answers. `limit` stops it.
    pub(super) fn in_overtime<T>(&self, limit: &Cancel, work: impl FnOnce() -> T) -> T {
        let over = self.cancel.child(None);
        thread::scope(|scope| {
            scope.spawn(carried(|| {
                if over.wait_for_it().is_some() {
                    self.docker.watch(limit);
                }
            }));
            let _finished = FinishOnDrop([&over, limit]);
            work()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_job;

    #[test]
    fn what_the_job_has_made_is_told_from_what_never_was_there() {
        let prefix = "runner-local-project-3-concurrent-0";
        for message in [
            "No such image: sha256:0a061e3f9a38",
            "conflict: image is marked for removal",
            "network runner-local-project-3-concurrent-0 not found",
            "No such container: runner-local-project-3-concurrent-0-build",
            "No such container: 0a061e3f9a380a061e3f9a38",
        ] {
            assert!(is_of_job(message, prefix), "{message}");
        }
        for message in [
            "network intranet not found",
            "No such container: somebodys",
            "error looking up volume plugin nope: plugin \"nope\" not found",
        ] {
            assert!(!is_of_job(message, prefix), "{message}");
        }
    }
}
