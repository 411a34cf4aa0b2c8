//! The runners that are served: where they come from, and the slots that their jobs take on this host.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use log::LevelFilter;

use super::client::warning_of_plain_http;
use super::config_file::{ConfigFile, Contents, Settings};
use super::metrics::Metrics;
use super::pace::Pace;
use super::page::Page;
use super::record;
use super::renewal::Renewal;
use super::serving::{Serving, Wake};
use crate::config::RunnerConfig;
use crate::outcome::{InputError, on_one_line};
use crate::state::{Slot, State};
use crate::worker::recovery::Recovery;

/// Slots by this name are for the jobs of all runners.
const ALL: &str = "all";

/// As many jobs run on this host as a limit says.
pub(super) struct LimitReached(u32);

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = if self.0 == 1 { "job" } else { "jobs" };
        write!(f, "limit reached ({} {jobs})", self.0)
    }
}

/// A runner, and when it asks again.
pub(super) struct Runner {
    /// Stays the same as long as coordinator and token do.
    pub number: u64,
    pub serving: Arc<Serving>,
    pub pace: Pace,
    pub renewal: Renewal,
}

/// The runners there are.
pub(super) struct Roster {
    pub settings: Settings,
    pub runners: Vec<Runner>,
    state: State,
    file: Option<ConfigFile>,
    last_number: u64,
    metrics: Arc<Metrics>,
    /// Shows the metrics.
    page: Option<Page>,
    given: GlobalOptions,
    wake: Wake,
    /// Coordinators that were warned of.
    warned: HashSet<String>,
}

/// What the command line says of all runners.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlobalOptions {
    /// Print docker commands before they run.
    pub print_commands: bool,
    /// How much the runner says of itself, whatever a configuration says.
    pub log_level: Option<LevelFilter>,
}

impl Roster {
    /// A roster without runners. `wake` is called when an engine can take jobs.
    pub fn new(settings: Settings, state: State, given: GlobalOptions, wake: Wake) -> Self {
        Self {
            settings,
            runners: Vec::new(),
            state,
            file: None,
            last_number: 0,
            metrics: Arc::default(),
            page: None,
            given,
            wake,
            warned: HashSet::new(),
        }
    }

    /// Takes the runners of a configuration, and watches it from now on.
    pub fn follow(&mut self, file: ConfigFile, contents: Contents) {
        self.file = Some(file);
        self.take_over(contents);
    }

    /// Adds a runner.
    ///
    /// # Errors
    /// As [`Serving::new`].
    pub fn add(&mut self, config: RunnerConfig, due: Instant) -> Result<(), InputError> {
        let recovery = Recovery {
            state: self.state.clone(),
            print_commands: self.given.print_commands,
            report: record::report,
        };
        let (metrics, wake) = (self.metrics.clone(), self.wake.clone());
        let serving = Serving::new(config, metrics, recovery, wake)?;
        let url = &serving.config.url;
        if let Some(warning) = warning_of_plain_http(url)
            && self.warned.insert(url.clone())
        {
            log::warn!("{warning}");
        }
        self.last_number += 1;
        self.runners.push(Runner {
            number: self.last_number,
            pace: Pace::new(due, &serving.config),
            serving: Arc::new(serving),
            renewal: Renewal::default(),
        });
        Ok(())
    }

    /// Reads the configuration again if it has changed, or if a signal asks for it. It changes where a token is renewed.
    pub fn reload(&mut self, asked: bool) {
        if let Some(file) = &self.file {
            for runner in &mut self.runners {
                let _entered = runner.serving.context().enter();
                runner.renewal.go_on(file.path(), &runner.serving.config);
            }
        }
        let Some(file) = &mut self.file else { return };
        if !(file.has_changed() || asked) {
            return;
        }
        match file.read() {
            Ok(contents) => {
                log::info!("the configuration was read again");
                self.take_over(contents);
            }
            Err(error) => log::error!("{error}; goes on with the configuration of before"),
        }
    }

    /// Runners that stay keep their pace; jobs that run go on with the settings they have.
    fn take_over(&mut self, contents: Contents) {
        let Contents {
            settings,
            runners,
            lifetimes,
        } = contents;
        let now = Instant::now();
        if self.page.is_none() || settings.metrics_server != self.settings.metrics_server {
            self.show_metrics(settings.metrics_server.as_deref());
        }
        self.settings = settings;
        if let (None, Some(level)) = (self.given.log_level, self.settings.log_level) {
            log::set_max_level(level);
        }
        let mut before = std::mem::take(&mut self.runners);
        let count = u32::try_from(runners.len()).unwrap_or(u32::MAX).max(1);
        for (position, config) in (0..).zip(runners) {
            let same = |runner: &Runner| runner.serving.config.identity() == config.identity();
            let known = before.iter().position(same);
            let known = known.map(|index| before.swap_remove(index));
            if let Some(mut runner) = known {
                if runner.serving.config == config {
                    runner.pace.configuration_changed(now);
                    self.runners.push(runner);
                    continue;
                }
                runner.serving.pool.retire();
                let added = self.add(config, now);
                match (added, self.runners.last_mut()) {
                    (Ok(()), Some(new)) => {
                        // Answers to its requests are still on their way.
                        new.number = runner.number;
                        new.pace.asking = runner.pace.asking;
                    }
                    (Err(error), _) => log::error!("{error}"),
                    (Ok(()), None) => {}
                }
                continue;
            }
            // Spread over the interval, so that the coordinator is asked evenly.
            let due = now + self.settings.check_interval * position / count;
            if let Err(error) = self.add(config, due) {
                log::error!("{error}");
            }
        }
        for gone in before {
            gone.serving.pool.retire();
        }
        for runner in &mut self.runners {
            let identity = runner.serving.config.identity();
            let mut lifetimes = lifetimes.iter().filter(|(of, _)| *of == identity);
            runner
                .renewal
                .follow(lifetimes.next().map(|(_, lifetime)| *lifetime));
        }
        self.tell();
    }

    /// Says which runners are served now, and how many jobs they may run.
    fn tell(&self) {
        let file = self.file.as_ref().map(|file| file.path().display());
        let file = file.map_or_else(String::new, |file| format!(" of {file}"));
        if self.runners.is_empty() {
            log::warn!(
                "the configuration{file} has no runner that can serve; `alloy-runner register` adds one"
            );
            return;
        }
        let runners = self.runners.iter().map(|runner| {
            let config = &runner.serving.config;
            format!("{} ({})", config.name, config.url)
        });
        let runners = on_one_line(&runners.collect::<Vec<_>>().join(", "));
        let jobs = match self.settings.concurrent {
            None => String::new(),
            Some(1) => "; one job at a time".to_owned(),
            Some(count) => format!("; up to {count} jobs at a time"),
        };
        log::info!("serving{file}: {runners}{jobs}");
    }

    fn show_metrics(&mut self, address: Option<&str>) {
        self.page = None;
        if let Some(address) = address {
            match Page::serve(address, self.metrics.clone()) {
                Ok(page) => self.page = Some(page),
                Err(error) => log::error!("{error:#}"),
            }
        }
    }

    /// The slots for one job more of a runner, under `concurrent` and its `limit`, which count over all processes of this
    /// host; or the limit that is reached.
    pub fn slots(&self, runner: &Serving) -> Result<Result<Vec<Slot>, LimitReached>> {
        let config = &runner.config;
        let own = (config.limit > 0).then(|| (config.identity(), config.limit));
        let all = self
            .settings
            .concurrent
            .map(|count| (ALL.to_owned(), count));
        let mut slots = Vec::new();
        for (name, count) in own.into_iter().chain(all) {
            match self.state.slot(&name, count)? {
                Some(slot) => slots.push(slot),
                None => return Ok(Err(LimitReached(count))),
            }
        }
        Ok(Ok(slots))
    }

    /// Whether it is not known yet if a runner's engine can take a job.
    pub fn is_looking(&self) -> bool {
        let mut runners = self.runners.iter();
        runners.any(|runner| runner.serving.pool.is_looking())
    }

    /// As [`Roster::clean_up`], where anything is left: otherwise no engine is needed before there is a job.
    pub fn clean_up_if_need_be(&self) -> Result<()> {
        if !self.state.dead_processes()?.is_empty() {
            self.clean_up();
        }
        Ok(())
    }

    /// Removes what runners that were killed have left on the engines, and reports their jobs.
    pub fn clean_up(&self) {
        for runner in &self.runners {
            let _entered = runner.serving.context().enter();
            if let Err(error) = runner.serving.pool.open() {
                log::error!("cannot run jobs yet: {error:#}");
            }
        }
    }
}
