//! Which runner requests a job when, and when the process ends.
//!
//! One thread decides; it sleeps until something is due or an event comes. Each job request is made by a thread of its
//! own. If the answer is a job, that thread runs it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::config_file::{ConfigFile, Settings};
use super::event::{Answer, Event};
use super::request::{Request, Taken};
pub use super::roster::GlobalOptions;
use super::roster::{Roster, Runner};
use super::serving::Serving;
use crate::cancel::{Cancel, Reason};
use crate::config::RunnerConfig;
use crate::coordinator::ApiError;
use crate::state::{Slot, State};
use crate::worker::host::{REVISION, VERSION};
use crate::worker::signals::{Signal, tell_of_signals};

/// How long an aborted process without jobs waits for open job requests, as an answer may bring a job. That is enough:
/// GitLab holds a request open until there is a job, and gives none to a client that has gone.
const OPEN_REQUESTS: Duration = Duration::from_secs(5);
/// How long before the end of `shutdown_timeout` a job's end is no longer reported again after a failure.
const LAST_TRIES: Duration = Duration::from_secs(5);

/// When to end, if no signal does it before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// After this many jobs have been handed out, when they have ended; `None`: any number.
    pub builds: Option<u32>,
    /// When there has been no job for this long; `None`: it goes on waiting.
    pub wait: Option<Duration>,
}

impl Until {
    fn is_forever(self) -> bool {
        self.builds.is_none() && self.wait.is_none()
    }
}

/// A signal told this process to stop its jobs and end with a status.
#[derive(Clone, Copy)]
struct Aborted {
    status: u8,
    since: Instant,
}

struct Scheduler {
    roster: Roster,
    until: Until,
    /// Set by [`Scheduler::take_slots`] if this process serves one runner, one job at a time: the slots of its jobs,
    /// held as long as this lives. `None`: each job request takes slots of its own.
    single: Option<Vec<Slot>>,
    /// When the last job ended, or this process began.
    idle_since: Instant,
    /// How many jobs were handed out to this process.
    builds: u32,
    /// How many job requests are open, over all runners.
    asking: u32,
    running: u32,
    /// No more jobs are requested, and this process ends with its last job.
    draining: bool,
    aborted: Option<Aborted>,
    /// Why the last job request failed, if it did.
    last_error: Option<ApiError>,
    /// Stops all jobs.
    stop: Cancel,
    /// Makes jobs give up on a coordinator that does not take their end.
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
    let settings = Settings::without_file();
    let mut scheduler = Scheduler::new(settings, state, given, Until::default())?;
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
    let mut scheduler = Scheduler::new(settings, state, given, until)?;
    scheduler.roster.add(config, Instant::now())?;
    if let Some(status) = scheduler.take_slots()? {
        return Ok(status);
    }
    scheduler.roster.clean_up_if_need_be()?;
    scheduler.run()
}

impl Scheduler {
    fn new(settings: Settings, state: State, given: GlobalOptions, until: Until) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let signals = sender.clone();
        let engines = sender.clone();
        // It fails only if the deciding thread has ended, and then there is nothing left to decide.
        let wake = Arc::new(move || drop(engines.send(Event::EngineAnswers)));
        let roster = Roster::new(settings, state, given, wake);
        tell_of_signals(move |signal| signals.send(Event::Signal(signal)).is_ok())
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

    /// Takes the slots of the one runner, for as long as this process lives. If a limit is reached, a process that
    /// serves for ever waits for them, and another one is to end: then the exit status is returned.
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
            if let Some(status) = self.end() {
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

    /// The exit status, if it is time to end. It is an error if there was no job and the last request failed.
    fn end(&mut self) -> Option<Result<u8>> {
        let idle = self.running + self.asking == 0;
        if let Some(aborted) = self.aborted {
            return self.end_of_aborted(aborted, idle).map(Ok);
        }
        let looking = idle && self.roster.is_looking();
        let waited = |wait| self.idle_since + wait <= Instant::now();
        self.draining |= idle && !looking && self.until.wait.is_some_and(waited);
        if !(self.draining && idle) {
            return None;
        }
        if self.builds > 0 {
            return Some(Ok(0));
        }
        if let Some(error) = self.last_error.take() {
            return Some(Err(error.into()));
        }
        let single = self.single.as_ref().and(self.roster.runners.first());
        let out_of_order = single.and_then(|runner| runner.serving.pool.out_of_order());
        Some(out_of_order.map_or(Ok(0), |why| Err(anyhow!(why))))
    }

    /// The exit status of an aborted process, if it is time to end: without jobs, or at the end of `shutdown_timeout`.
    fn end_of_aborted(&mut self, aborted: Aborted, idle: bool) -> Option<u8> {
        let now = Instant::now();
        let Aborted { status, since } = aborted;
        let deadline = since + self.roster.settings.shutdown_timeout;
        if now + LAST_TRIES >= deadline {
            self.hurry.trigger(Reason::Stopped);
        }
        if now >= deadline && self.running > 0 {
            log::error!(
                "{} jobs have not ended in time; what is left of them the next start or `alloy-runner prune` removes",
                self.running
            );
        }
        let only_requests = self.running == 0 && now >= since + OPEN_REQUESTS;
        (idle || only_requests || now >= deadline).then_some(status)
    }

    /// When something is due next, if no event comes before.
    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        // A changed configuration is noticed within this time, also when no request is due.
        let mut wakes = vec![now + self.roster.settings.check_interval];
        if !self.draining {
            let asking = self.roster.runners.iter().filter(|it| self.may_ask(it));
            wakes.extend(asking.map(|runner| runner.pace.due));
            // A time that is past needs no waking: the event that ends a job or a request does it.
            let waited = self.until.wait.map(|wait| self.idle_since + wait);
            wakes.extend(waited.filter(|at| *at > now));
        }
        if let Some(Aborted { since, .. }) = self.aborted {
            let deadline = since + self.roster.settings.shutdown_timeout;
            let last_tries = deadline.checked_sub(LAST_TRIES).unwrap_or(deadline);
            let times = [since + OPEN_REQUESTS, last_tries, deadline];
            wakes.extend(times.into_iter().filter(|at| *at > now));
        }
        wakes.into_iter().min().unwrap_or(now)
    }

    /// Whether a runner may request a job as soon as it is due. With `single`, there is one request or job at a time.
    fn may_ask(&self, runner: &Runner) -> bool {
        let at_once = runner.serving.config.request_concurrency.unwrap_or(1);
        let busy = self.single.is_some() && self.running + self.asking > 0;
        runner.pace.asking < at_once.max(1) && !busy && !runner.renewal.is_under_way()
    }

    /// Requests jobs for the runners that are due, the last to ask last: a coordinator may hold its request open, and its
    /// slot with it, until it is the longest due again. One without a free slot is due again later.
    fn dispatch(&mut self) {
        let now = Instant::now();
        while !self.draining {
            let due = |runner: &&Runner| runner.pace.due <= now && self.may_ask(runner);
            let next = self.roster.runners.iter().enumerate();
            let next = next
                .filter(|(_, runner)| due(runner))
                .min_by_key(|(_, runner)| (runner.pace.asked, runner.pace.due));
            let Some((index, runner)) = next else { return };
            let taken = self.take(&runner.serving);
            let interval = self.roster.settings.check_interval;
            self.roster.runners[index].pace.due = now + interval;
            match taken {
                Ok(Some(taken)) => self.ask(index, taken),
                // At a limit, or no engine is free. What ends in this process makes it due at once, and so does an engine
                // that answers; others are noticed at the next try.
                Ok(None) => self.roster.runners[index].pace.needs_slot = true,
                Err(error) => log::error!("{error:#}"),
            }
        }
    }

    /// What a job of this runner needs, if it is free.
    fn take(&self, serving: &Serving) -> Result<Option<Taken>> {
        let slots = match self.single {
            Some(_) => Some(Vec::new()),
            None => self.roster.slots(serving)?.ok(),
        };
        let Some(slots) = slots else { return Ok(None) };
        let engine = serving.pool.take()?;
        Ok(engine.map(|engine| Taken { slots, engine }))
    }

    /// Requests a job in a new thread, which runs it if there is one. What it needs is taken before it is accepted.
    fn ask(&mut self, index: usize, taken: Taken) {
        let runner = &mut self.roster.runners[index];
        let request = Request {
            number: runner.number,
            serving: runner.serving.clone(),
            last_update: runner.pace.last_update.clone(),
            taken,
            stop: self.stop.clone(),
            hurry: self.hurry.clone(),
            sender: self.sender.clone(),
        };
        match request.begin() {
            Ok(()) => {
                runner.pace.asked = Some(Instant::now());
                runner.pace.needs_slot = false;
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
                self.slot_is_free();
            }
            Event::EngineAnswers => self.slot_is_free(),
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

    /// Lets those ask who could not for want of a slot or an engine.
    fn slot_is_free(&mut self) {
        let now = Instant::now();
        for runner in &mut self.roster.runners {
            runner.pace.slot_is_free(now);
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
        } else {
            for runner in &mut self.roster.runners {
                runner.pace.request_ended(now);
            }
        }
        let interval = self.roster.settings.check_interval;
        let mut runners = self.roster.runners.iter_mut();
        // The request may be of a runner that a new configuration has no longer.
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
                let may_end = self.single.is_some() && !self.until.is_forever();
                self.draining |= may_end && error.is_refused();
                self.last_error = Some(error);
            }
        }
    }
}
