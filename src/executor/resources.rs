//! A job's network and volumes.

use std::time::Duration;

use super::context::Context;
use super::stop::Stop;
use crate::docker::DockerError;
use crate::plan::Resource;
use crate::retry::retry;

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

/// Makes a volume.
pub(super) fn make_volume(context: &Context, volume: &Resource) -> Result<(), Stop> {
    if !volume.keep {
        context.made.volume(&volume.name);
    }
    create(context, volume)
}

/// Makes the network.
pub(super) fn make_network(context: &Context, network: &Resource) -> Result<(), Stop> {
    if !network.keep {
        context.made.network(&network.name);
    }
    create(context, network)
}

fn create(context: &Context, resource: &Resource) -> Result<(), Stop> {
    match &resource.create {
        Some(create) => context.engine.tell(create).map(drop),
        None => Ok(()),
    }
}

/// Makes the network. Where all address pools are in use, other jobs may give one back.
pub(super) fn make_network_in_time(context: &Context, network: &Resource) -> Result<(), Stop> {
    let no_pool = |error: &DockerError| NO_POOL.iter().any(|text| error.message.contains(text));
    retry(
        POOL_PAUSES,
        || make_network(context, network),
        |stop| matches!(stop, Stop::Docker(error) if no_pool(error)),
        |stop, pause| context.pause(stop, pause),
    )
}
