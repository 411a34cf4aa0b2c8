//! A job's network and volumes.

use std::time::Duration;

use super::context::Context;
use super::stop::Stop;
use crate::plan::Resource;

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
    for pause in POOL_PAUSES {
        match make_network(context, network) {
            Err(Stop::Docker(error)) if NO_POOL.iter().any(|text| error.message.contains(text)) => {
                context.trace.warning(&format!(
                    "{}; trying again in {} s",
                    error.reason(),
                    pause.as_secs()
                ))?;
                if let Some(reason) = context.engine.cancel.wait(pause) {
                    return Err(reason.into());
                }
            }
            result => return result,
        }
    }
    make_network(context, network)
}
