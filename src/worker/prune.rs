//! Removing what runners left behind, on request.

use anyhow::Result;

use super::host::{VERSION, helper_image, proxies};
use super::recovery::{Recovery, Wanted, side_by_side};
use crate::config::DockerConfig;
use crate::docker::Docker;
use crate::executor::old_images;
use crate::plan::helper_image::{DEFAULT_BASE, HelperImage};

/// What was removed from an engine.
pub struct Pruned {
    /// The engine, as the configuration writes it; empty: the only one.
    pub engine: String,
    /// What it was, as `container NAME` and the like; or why the engine does not answer, or something cannot be removed.
    pub removed: Result<Vec<String>>,
}

/// Removes orphans from the engines of a configuration, from all at the same time, with helper images of builds that
/// are gone.
///
/// # Errors
/// If the state directory cannot be read or written, or the settings are wrong.
pub fn prune(recovery: &Recovery, config: &DockerConfig, wanted: Wanted) -> Result<Vec<Pruned>> {
    let engines = config.engines()?.into_iter();
    let engines: Vec<Docker> = engines
        .map(|engine| Docker::new(engine, recovery.print_commands))
        .collect();
    let current = helper_image(DEFAULT_BASE, &proxies(), "")?;
    let orphans = recovery.with_wanted(&engines, wanted)?;
    let orphans = engines.iter().zip(orphans).collect();
    Ok(side_by_side(orphans, |(docker, orphans)| {
        let images = || remove_images(recovery, docker, &current, wanted);
        Pruned {
            engine: docker.engine().id().to_owned(),
            removed: orphans.and_then(|orphans| Ok([orphans, images()?].concat())),
        }
    }))
}

fn remove_images(
    recovery: &Recovery,
    docker: &Docker,
    current: &HelperImage,
    wanted: Wanted,
) -> Result<Vec<String>> {
    let state = &recovery.state;
    let keep = old_images::Keep {
        made_in: (!wanted.foreign).then(|| state.images_made()),
        version: VERSION,
        current,
        in_use: &|| state.helper_images(),
    };
    let mut removed = old_images::remove(docker, &keep)?;
    let seal = (!wanted.foreign).then_some(&state.seal);
    removed.extend(old_images::remove_holds(docker, seal)?);
    Ok(removed)
}
