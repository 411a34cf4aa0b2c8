//! Which runner requests a job when, and when to end.
//!
//! One thread decides; it sleeps until something is due or an event comes. Each job request is made
//! by a thread of its own, which becomes the job's if there is one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::config_file::{ConfigFile, Settings};
pub use super::roster::GlobalOptions;
use super::roster::{Roster, Runner};
use crate::cancel::{Cancel, Reason};
use crate::config::RunnerConfig;
use crate::coordinator::{ApiError, JobResponse};
use crate::state::{Slot, State};
use crate::worker::host::{REVISION, VERSION};
use crate::worker::signals::{Signal, tell_of_signals};

/// How long the end of this process waits for a job request that is under way. GitLab holds requests open until there
/// is a job, and gives none to a client that has gone.
const REQUEST: Duration = Duration::from_secs(5);
/// How long before the end of `shutdown_timeout` final updates are not tried again any more.
const FINAL_UPDATE: Duration = Duration::from_secs(5);

/// When to end, if no signal does it before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// After so many jobs; `None`: any number.
    pub builds: Option<u32>,
    /// When there was no job for so long; `None`: it waits.
    pub wait: Option<Duration>,
}

impl Until {
    fn is_forever(self) -> bool {
        self.builds.is_none() && self.wait.is_none()
    }
}

/// What the deciding thread is told.
enum Event {
    /// A job request of the runner with this number was answered.
    Answered(u64, Answer),
    /// A job has ended.
    Ended,
    Signal(Signal),
}

enum Answer {
    Job,
    Nothing(Option<String>),
    Failed(ApiError),
}

/// A signal wants it to end at once.
#[derive(Clone, Copy)]
struct Aborted {
    status: u8,
    since: Instant,
}

struct Scheduler {
    roster: Roster,
    until: Until,
    /// The slots of the one runner that this process serves, a job at a time. `None`: slots are taken for each job.
    single: Option<Vec<Slot>>,
    /// Since when there was no job.
    idle_since: Instant,
    builds: u32,
    asking: u32,
    running: u32,
    /// No more jobs are requested.
    draining: bool,
    aborted: Option<Aborted>,
    last_error: Option<ApiError>,
    stop: Cancel,
    hurry: Cancel,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

/// Serves all runners of a configuration, which is read again when it changes, until a signal ends it.
/// Returns the exit status.
///
/// # Errors
/// [`crate::outcome::InputError`] for a configuration that cannot be read.
pub fn serve_all(file: PathBuf, state: State, given: GlobalOptions) -> Result<u8> {
    let (file, contents) = ConfigFile::open(file)?;
    let roster = Roster::new(Settings::without_file(), state, given);
    let mut scheduler = Scheduler::new(roster, Until::default())?;
    log::info!("alloy-runner {VERSION} ({REVISION}) started");
    scheduler.roster.follow(file, contents);
    scheduler.roster.clean_up();
    scheduler.run()
}

/// Serves one runner, a job at a time, and returns the exit status. Where `settings` or the runner's limit allow
/// no more jobs on this host, no job is requested.
///
/// # Errors
/// [`crate::outcome::InputError`] for settings that are wrong, [`ApiError`] where there was no job because the
/// coordinator did not answer, or refused the token.
pub fn serve_one(
    config: RunnerConfig,
    settings: Settings,
    until: Until,
    state: State,
    given: GlobalOptions,
) -> Result<u8> {
    let roster = Roster::new(settings, state, given);
    let mut scheduler = Scheduler::new(roster, until)?;
    scheduler.roster.add(config, Instant::now())?;
    if let Some(status) = scheduler.take_slots()? {
        return Ok(status);
    }
    scheduler.roster.clean_up_if_need_be()?;
    scheduler.run()
}

impl Scheduler {
    fn new(roster: Roster, until: Until) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let told = sender.clone();
        tell_of_signals(move |signal| told.send(Event::Signal(signal)).is_ok())
            .context("cannot watch for signals")?;
        Ok(Self {
            roster,
            until,
            single: None,
            idle_since: Instant::now(),
            builds: 0,
            asking: 0,
            running: 0,
            draining: false,
            aborted: None,
            last_error: None,
            stop: Cancel::new(),
            hurry: Cancel::new(),
            sender,
            events,
        })
    }

    /// Takes the slots of the one runner, for as long as this process lives. Returns the exit status where a limit is
    /// reached.
    fn take_slots(&mut self) -> Result<Option<u8>> {
        while self.single.is_none() {
            let runner = self.roster.runners.first();
            let slots = runner.map_or(Ok(Ok(Vec::new())), |runner| {
                self.roster.slots(&runner.serving)
            });
            let limit = match slots? {
                Ok(slots) => {
                    self.single = Some(slots);
                    break;
                }
                Err(limit) => limit,
            };
            if !self.until.is_forever() {
                log::info!("{limit}");
                return Ok(Some(0));
            }
            log::info!("{limit}; waiting");
            let pause = self.roster.settings.check_interval;
            match self.events.recv_timeout(pause) {
                Ok(Event::Signal(Signal::Abort(status))) => return Ok(Some(status)),
                Ok(Event::Signal(Signal::Drain)) => return Ok(Some(0)),
                _ => {}
            }
        }
        Ok(None)
    }

    fn run(&mut self) -> Result<u8> {
        loop {
            self.dispatch();
            if let Some(status) = self.over() {
                return status;
            }
            let wake = self.next_wake().saturating_duration_since(Instant::now());
            match self.events.recv_timeout(wake) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => {}
                // A sender is in this very struct.
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
            while let Ok(event) = self.events.try_recv() {
                self.handle(event);
            }
            if self.aborted.is_none() {
                self.roster.reload(false);
            }
        }
    }

    /// The exit status, if it is time to end.
    fn over(&mut self) -> Option<Result<u8>> {
        let now = Instant::now();
        let idle = self.running + self.asking == 0;
        if let Some(Aborted { status, since }) = self.aborted {
            let deadline = since + self.roster.settings.shutdown_timeout;
            if now + FINAL_UPDATE >= deadline {
                self.hurry.trigger(Reason::Stopped);
            }
            if now >= deadline && self.running > 0 {
                log::error!(
                    "{} jobs have not ended in time; what is left of them the next start or `alloy-runner prune` removes",
                    self.running
                );
            }
            let silent = self.running == 0 && now >= since + REQUEST;
            return (idle || silent || now >= deadline).then_some(Ok(status));
        }
        let waited = |wait| self.idle_since + wait <= now;
        self.draining |= idle && self.until.wait.is_some_and(waited);
        if !(self.draining && idle) {
            return None;
        }
        let failed = self.last_error.take().filter(|_| self.builds == 0);
        Some(failed.map_or(Ok(0), |error| Err(error.into())))
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        // Also when no request is due, a changed configuration is noticed.
        let mut wakes = vec![now + self.roster.settings.check_interval];
        if !self.draining {
            let asking = self.roster.runners.iter().filter(|it| self.may_ask(it));
            wakes.extend(asking.map(|runner| runner.pace.due));
            wakes.extend(
                self.until
                    .wait
                    .map(|wait| self.idle_since + wait)
                    .filter(|at| *at > now),
            );
        }
        if let Some(Aborted { since, .. }) = self.aborted {
            let deadline = since + self.roster.settings.shutdown_timeout;
            let final_update = deadline.checked_sub(FINAL_UPDATE).unwrap_or(deadline);
            let times = [since + REQUEST, final_update, deadline];
            wakes.extend(times.into_iter().filter(|at| *at > now));
        }
        wakes.into_iter().min().unwrap_or(now)
    }

    /// Whether a runner requests a job as soon as it is due.
    fn may_ask(&self, runner: &Runner) -> bool {
        let at_once = runner.serving.config.request_concurrency.unwrap_or(1);
        let busy = self.single.is_some() && self.running + self.asking > 0;
        runner.pace.asking < at_once.max(1) && !busy
    }

    /// Requests jobs for the runners that are due, the longest due first.
    fn dispatch(&mut self) {
        let now = Instant::now();
        while !self.draining {
            let due = |runner: &&Runner| runner.pace.due <= now && self.may_ask(runner);
            let runners = self.roster.runners.iter().enumerate();
            let next = runners
                .filter(|(_, runner)| due(runner))
                .min_by_key(|(_, runner)| runner.pace.due);
            let Some((index, runner)) = next else { return };
            let slots = match self.single {
                Some(_) => Ok(Ok(Vec::new())),
                None => self.roster.slots(&runner.serving),
            };
            let interval = self.roster.settings.check_interval;
            self.roster.runners[index].pace.due = now + interval;
            match slots {
                Ok(Ok(slots)) => self.ask(index, slots),
                // The end of a job of this process makes it due again; other processes do not tell of theirs.
                Ok(Err(_)) => {}
                Err(error) => log::error!("{error:#}"),
            }
        }
    }

    fn ask(&mut self, index: usize, slots: Vec<Slot>) {
        let runner = &mut self.roster.runners[index];
        let (number, serving) = (runner.number, runner.serving.clone());
        let last_update = runner.pace.last_update.clone();
        let (sender, stop, hurry) = (self.sender.clone(), self.stop.clone(), self.hurry.clone());
        let work = move || {
            // The deciding thread may end this process when it is told. The runner is given back before, so that the process
            // unregisters.
            let _entered = serving.context().enter();
            // The channel lives as long as the deciding thread; without that there is nothing to tell.
            let tell = |event| drop(sender.send(event));
            let (answer, job) = match serving.ask(last_update.as_deref()) {
                Ok(JobResponse::Job(payload)) => (Answer::Job, Some(payload)),
                Ok(JobResponse::Nothing(last_update)) => (Answer::Nothing(last_update), None),
                Ok(JobResponse::Lost(error)) => {
                    log::error!("a job was handed out, and was lost on its way: {error}");
                    (Answer::Failed(error), None)
                }
                Err(error) => (Answer::Failed(error), None),
            };
            let job = job.map(|payload| (serving, payload));
            tell(Event::Answered(number, answer));
            if let Some((serving, payload)) = job {
                let ran = || serving.run(*payload, &stop, &hurry);
                if catch_unwind(AssertUnwindSafe(ran)).is_err() {
                    log::error!(
                        "the runner has a bug, please report it: the job's thread panicked"
                    );
                }
                drop((slots, serving));
                tell(Event::Ended);
            }
        };
        match thread::Builder::new().name("job".to_owned()).spawn(work) {
            Ok(_) => {
                runner.pace.asking += 1;
                self.asking += 1;
            }
            Err(error) => log::error!("cannot start a thread: {error}"),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answered(number, answer) => self.answered(number, answer),
            Event::Ended => {
                self.running -= 1;
                self.idle_since = Instant::now();
                for runner in &mut self.roster.runners {
                    runner.pace.slot_is_free(self.idle_since);
                }
            }
            Event::Signal(Signal::Reload) => self.roster.reload(true),
            Event::Signal(Signal::Drain) => {
                log::info!(
                    "taking no new jobs; {} still run, and then this ends",
                    self.running
                );
                self.draining = true;
            }
            Event::Signal(Signal::Abort(status)) => {
                self.draining = true;
                self.aborted = Some(Aborted {
                    status,
                    since: Instant::now(),
                });
                self.stop.trigger(Reason::Stopped);
            }
        }
    }

    fn answered(&mut self, number: u64, answer: Answer) {
        let now = Instant::now();
        self.asking -= 1;
        if matches!(answer, Answer::Job) {
            self.running += 1;
            self.builds += 1;
            let enough = |most| self.builds >= most;
            self.draining |= self.until.builds.is_some_and(enough);
        }
        let interval = self.roster.settings.check_interval;
        let mut runners = self.roster.runners.iter_mut();
        // A runner that a new configuration does not have any more may still have a request under way.
        let Some(runner) = runners.find(|runner| runner.number == number) else {
            return;
        };
        let _entered = runner.serving.context().enter();
        let pace = &mut runner.pace;
        pace.asking -= 1;
        self.last_error = None;
        match answer {
            Answer::Job => pace.got_a_job(now),
            Answer::Nothing(last_update) => pace.got_nothing(last_update),
            Answer::Failed(error) => {
                pace.failed(&error, now, interval);
                // With its one runner unknown to the coordinator, this process has nothing to serve.
                let one = self.single.is_some() && !self.until.is_forever();
                self.draining |= one && error.is_refused();
                self.last_error = Some(error);
            }
        }
    }
}
