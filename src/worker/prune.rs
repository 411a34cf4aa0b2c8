//! Removing what runners left behind, on request.

use anyhow::Result;

use super::host::{VERSION, helper_image, proxies};
use super::recovery::{Recovered, Report, Wanted};
use crate::config::DockerConfig;
use crate::executor::old_images;
use crate::plan::helper_image::DEFAULT_BASE;
use crate::state::State;

/// Removes orphans from an engine, with helper images of builds that are gone, and returns what that was.
///
/// # Errors
/// If the engine does not answer, or something cannot be removed.
pub fn prune(
    state: State,
    config: &DockerConfig,
    wanted: Wanted,
    print_commands: bool,
    report: Report,
) -> Result<Vec<String>> {
    let (recovered, mut removed) =
        Recovered::with_wanted(state, config, print_commands, report, wanted)?;
    let (state, docker) = (recovered.state(), recovered.docker());
    let current = helper_image(DEFAULT_BASE, &proxies(), "")?;
    let keep = old_images::Keep {
        made_in: (!wanted.foreign).then(|| state.images_made()),
        version: VERSION,
        current: &current,
        in_use: &|| state.helper_images(),
    };
    removed.extend(old_images::remove(docker, &keep)?);
    let seal = (!wanted.foreign).then_some(&state.seal);
    removed.extend(old_images::remove_holds(docker, seal)?);
    Ok(removed)
}
