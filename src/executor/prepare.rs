//! The steps before the build: what it needs is made, and the sources are fetched.

use std::thread::{self, Scope};

use super::{Run, Stop, images, joined, system_failure};
use crate::docker::error::Kind;
use crate::docker::session::Session;
use crate::logging::carried;
use crate::plan::{HelperStart, Place, Resource};
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

    /// Services and helper are started, the sources fetched, the services waited for. Where that is safe, the build
    /// container is started too: its shell waits for the script.
    ///
    /// While the helper works on the job's volumes, nothing of the job's runs that has them too: the services are
    /// paused, and the build container is held.
    pub(super) fn pre_build<'scope>(
        &'scope self,
        images: &[images::Resolved],
        followers: &'scope Scope<'scope, '_>,
    ) -> Result<Option<Session>, Stop> {
        thread::scope(|scope| {
            let mut services = None;
            if !self.plan.services.is_empty() {
                for service in &self.plan.services {
                    self.trace
                        .line(&format!("Starting service {} ...", service.image))?;
                }
                let start = || -> Result<_, Stop> {
                    let started = self.start_services(followers)?;
                    self.pause_services(started)
                };
                services = Some(scope.spawn(carried(start)));
            }
            let mut paused = None;
            let mut pause = || -> Result<(), Stop> {
                if let Some(services) = services.take() {
                    paused = Some(joined(services)?);
                }
                Ok(())
            };
            if self.plan.services_first {
                pause()?;
            }
            self.trace.line(&self.plan.running_on.plain())?;

            let shell_runs = images.first().is_none_or(|image| image.runs_at_once);
            let waiting = match &self.plan.build.held {
                Some(held) if !shell_runs => {
                    self.check_canceled()?;
                    Some(self.start_build(held)?)
                }
                _ => None,
            };
            let check = self.start_helper_and_fetch(waiting.is_some(), &mut pause)?;
            if let Some(paused) = paused {
                self.resume_services(paused, check, followers)?;
            }
            Ok(waiting)
        })
    }

    /// Starts the helper the first way that shows it the sources, and runs the stages that come before the build in
    /// it, when `pause` has returned. Returns who asks the services, for when they run.
    fn start_helper_and_fetch(
        &self,
        build_waits: bool,
        pause: &mut dyn FnMut() -> Result<(), Stop>,
    ) -> Result<Option<Session>, Stop> {
        let last = self.plan.helper_starts.len().saturating_sub(1);
        for (index, way) in self.plan.helper_starts.iter().enumerate() {
            if index > 0 {
                self.remove_container(&self.plan.helper)?;
            } else {
                self.made().containers.push(self.plan.helper.clone());
            }
            match self.fetch_by(way, build_waits, pause) {
                Err(Stop::Docker(error)) if error.kind == Kind::NoBindSource && index < last => {}
                Ok((NO_REPOSITORY, _)) if index < last => {}
                Ok((NO_REPOSITORY, _)) => return Err(system_failure("the helper sees no sources")),
                result => return result.map(|(_, check)| check),
            }
        }
        Err(system_failure(
            "there is no way to start the helper container",
        ))
    }

    /// Starts the helper one way and runs those stages in it. Returns 0, or the status that asks for another way.
    fn fetch_by(
        &self,
        way: &HelperStart,
        build_waits: bool,
        pause: &mut dyn FnMut() -> Result<(), Stop>,
    ) -> Result<(i32, Option<Session>), Stop> {
        if let (Some(only), true) = (&way.once, build_waits) {
            pause()?;
            self.trouble.helper_ends();
            let status = self.restoring(&self.plan.helper, || self.lone_helper_stage(only))?;
            return Ok((status, None));
        }
        self.timed("helper", "", || {
            self.restoring(&self.plan.helper, || {
                way.start
                    .iter()
                    .try_for_each(|command| self.capture(command).map(drop))
            })
        })?;
        // It waits for its standard input until the services run.
        let check = self.plan.health_check.as_ref();
        let check = check.map(|check| self.docker.start_apart(&self.bound(check)));
        let check = check.transpose()?;
        pause()?;
        let stages = self.plan.stages.iter();
        for stage in stages.take_while(|stage| stage.place == Place::Helper) {
            match self.helper_stage(stage, self.cancel)? {
                0 => {}
                status => return Ok((status, None)),
            }
        }
        Ok((0, check))
    }
}
