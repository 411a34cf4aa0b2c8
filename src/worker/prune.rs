//! Removing what runners left behind, when somebody asks for it.

use anyhow::Result;

use super::host::{VERSION, helper_image, proxies};
use super::recovery;
pub use super::recovery::Wanted;
use crate::config::DockerConfig;
use crate::docker::Docker;
use crate::executor::old_images;
use crate::plan::helper_image::{DEFAULT_BASE, image_scope};
use crate::state::{self, State};

/// Removes what is left on an engine and returns what that was.
///
/// # Errors
/// If the engine does not answer, or something cannot be removed.
pub fn prune(config: &DockerConfig, wanted: Wanted, print_commands: bool) -> Result<Vec<String>> {
    let docker = Docker::new(config.engine(), print_commands);
    let state = State::open(state::directory()?)?;
    let engine = config.host.as_deref().unwrap_or_default();
    let mut removed = recovery::remove_wanted(&state, &docker, engine, wanted)?;
    let current = helper_image(DEFAULT_BASE, &proxies(), "")?;
    let keep = old_images::Keep {
        scope: (!wanted.foreign).then(|| image_scope(&state.seal)),
        version: VERSION,
        current: &current,
        in_use: &|| state.helper_images(),
    };
    removed.extend(old_images::remove(&docker, &keep)?);
    removed.extend(old_images::remove_holds(&docker, keep.scope.as_deref())?);
    Ok(removed)
}
