//! What a job needs is made: network, volumes and images, all at the same time.

use std::thread;

use super::context::{Context, joined};
use super::images::{self, Resolved};
use super::resources::{make_network_in_time, make_volume};
use super::stop::Stop;

/// Clears the ways to volumes in volumes. Nothing of the job's runs meanwhile.
pub(super) fn clear_nested(context: &Context) -> Result<(), Stop> {
    let Some(errand) = &context.plan.clear_nested else {
        return Ok(());
    };
    context.made.container(&errand.name);
    context.engine.tell(&errand.run).map(drop)
}

/// Makes all of it. Returns the images, in the plan's order.
pub(super) fn prepare(context: &Context) -> Result<Vec<Resolved>, Stop> {
    let plan = context.plan;
    thread::scope(|scope| {
        let network = scope.spawn(|| {
            let mut network = plan.network.iter();
            network.try_for_each(|network| make_network_in_time(context, network))
        });
        let volumes: Vec<_> = plan
            .volumes
            .iter()
            .map(|volume| scope.spawn(|| make_volume(context, volume)))
            .collect();
        let images = images::resolve_all(context);
        for thread in volumes.into_iter().chain([network]) {
            joined(thread)?;
        }
        images
    })
}
