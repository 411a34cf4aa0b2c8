//! The steps before the build: what it needs is made, and the sources are fetched.

use std::sync::mpsc::{self, Sender};
use std::thread::{self, Scope};

use super::{Run, Stop, images, joined, system_failure};
use crate::cancel::Reason;
use crate::docker::error::Kind;
use crate::docker::session::Session;
use crate::logging::carried;
use crate::plan::{HelperWay, Place, Resource};
use crate::script::NO_REPOSITORY;

impl Run<'_> {
    /// Network, volumes and images, side by side.
    pub(super) fn prepare(&self) -> Result<Vec<images::Resolved>, Stop> {
        thread::scope(|scope| {
            let network = scope.spawn(|| {
                self.plan
                    .network
                    .iter()
                    .try_for_each(|network| self.make_in_time(network))
            });
            let volumes: Vec<_> = self
                .plan
                .volumes
                .iter()
                .map(|volume| scope.spawn(|| self.make(volume)))
                .collect();
            let images = self.resolve_images();
            for thread in volumes.into_iter().chain([network]) {
                joined(thread)?;
            }
            images
        })
    }

    /// Makes a network or a volume.
    pub(super) fn make(&self, resource: &Resource) -> Result<(), Stop> {
        if !resource.keep {
            let is_network = self
                .plan
                .network
                .as_ref()
                .is_some_and(|network| network.name == resource.name);
            let mut made = self.made();
            if is_network {
                &mut made.networks
            } else {
                &mut made.volumes
            }
            .push(resource.name.clone());
        }
        match &resource.create {
            Some(create) => self.capture(create).map(drop),
            None => Ok(()),
        }
    }

    /// Services and helper are started, the sources fetched, the services waited for. Where that is safe,
    /// the build container is started too: its shell waits for the script.
    pub(super) fn pre_build<'scope>(
        &'scope self,
        images: &[images::Resolved],
        followers: &'scope Scope<'scope, '_>,
    ) -> Result<Option<Session>, Stop> {
        // A job that ends before its services answer need not wait for them.
        let asking = self.cancel.child(None);
        thread::scope(|scope| {
            let services: Vec<_> = self
                .plan
                .services
                .iter()
                .map(|service| {
                    let said = self
                        .trace
                        .line(&format!("Starting service {} ...", service.image));
                    said.map(|()| {
                        scope.spawn(carried(|| {
                            self.timed("service", &service.title, || {
                                self.start_service(service, followers)
                            })
                        }))
                    })
                })
                .collect::<Result<_, _>>()?;
            let mut services = Some(services);
            let mut started: Option<Vec<bool>> = None;
            if self.plan.services_first {
                let threads = services.take().unwrap_or_default();
                started = Some(threads.into_iter().map(joined).collect::<Result<_, _>>()?);
            }
            self.trace.line(&self.plan.running_on.plain())?;

            let waits =
                self.plan.build.may_wait && images.first().is_some_and(|image| !image.runs_at_once);
            let waiting = if waits {
                self.check_canceled()?;
                Some(self.start_build()?)
            } else {
                None
            };
            let (helper_runs, helpers) = mpsc::channel();
            let asking = &asking;
            let health = scope.spawn(move || {
                let started = match started {
                    Some(started) => started,
                    None => services
                        .into_iter()
                        .flatten()
                        .map(joined)
                        .collect::<Result<_, _>>()?,
                };
                self.timed("wait_for_services", "", || {
                    self.ask_services(&started, &helpers, asking)
                })
            });
            let fetched = self.start_helper_and_fetch(&helper_runs, waiting.is_some());
            drop(helper_runs);
            if fetched.is_err() {
                asking.trigger(Reason::Canceled);
            }
            fetched?;
            if self.plan.health_check.is_some() {
                self.trace
                    .line("Waiting for services to be up and running...")?;
            }
            for silent in joined(health)? {
                self.trace.warning(&silent.problem)?;
                for line in silent.log.lines() {
                    self.trace.line(&format!("  {line}"))?;
                }
            }
            Ok(waiting)
        })
    }

    /// Starts the helper the first way that shows it the sources, and runs the stages that come before the
    /// build in it. Each time a helper runs, and takes the place of one that saw no sources, `running` is told.
    fn start_helper_and_fetch(&self, running: &Sender<()>, build_waits: bool) -> Result<(), Stop> {
        let last = self.plan.helper_ways.len().saturating_sub(1);
        for (index, way) in self.plan.helper_ways.iter().enumerate() {
            if index > 0 {
                self.remove_container(&self.plan.helper)?;
            } else {
                self.made().containers.push(self.plan.helper.clone());
            }
            match self.fetch_by(way, running, build_waits) {
                Err(Stop::Docker(error)) if error.kind == Kind::NoBindSource && index < last => {}
                Ok(NO_REPOSITORY) if index < last => {}
                Ok(NO_REPOSITORY) => return Err(system_failure("the helper sees no sources")),
                result => return result.map(drop),
            }
        }
        Err(system_failure(
            "there is no way to start the helper container",
        ))
    }

    /// Starts the helper one way and runs those stages in it. Returns 0, or the status that asks for another way.
    fn fetch_by(
        &self,
        way: &HelperWay,
        running: &Sender<()>,
        build_waits: bool,
    ) -> Result<i32, Stop> {
        if let (Some(only), true) = (&way.once, build_waits) {
            self.trouble.helper_ends();
            return self.restoring(&self.plan.helper, || self.lone_helper_stage(only));
        }
        self.timed("helper", "", || {
            self.restoring(&self.plan.helper, || {
                way.start
                    .iter()
                    .try_for_each(|command| self.capture(command).map(drop))
            })
        })?;
        // Whoever listened may have learned already what it wanted to know.
        let _ = running.send(());
        let stages = self.plan.stages.iter();
        for stage in stages.take_while(|stage| stage.place == Place::Helper) {
            match self.helper_stage(stage, self.cancel)? {
                0 => {}
                status => return Ok(status),
            }
        }
        Ok(0)
    }
}
