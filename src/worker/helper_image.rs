//! Building the helper image on request, before the first job needs it.

use anyhow::{Context, Result};

use super::host;
use super::recovery::Recovery;
use super::signals::stop_on_signals;
use crate::cancel::Cancel;
use crate::config::DockerConfig;
use crate::docker::Docker;
use crate::executor::{bring_helper_image, build_helper_image};
use crate::state::Process;

/// The lock under which one process at a time makes the helper image: of a pool's engines, one builds it, and the others
/// find it there.
pub(super) const LOCK: &str = "helper-image";

/// How a build ended.
pub enum Built {
    /// There is an image by this name.
    Image(String),
    /// A signal ended it, with this exit status.
    Interrupted(u8),
}

/// Builds the helper image of this executable on a base image, on the first engine of these settings, and brings it to
/// the others. Its downloads trust the `certificates` (PEM) too.
///
/// # Errors
/// If an engine cannot build or take it, or the state directory cannot be written.
pub fn build(
    recovery: &Recovery,
    config: &DockerConfig,
    base: &str,
    certificates: &str,
) -> Result<Built> {
    let mut image = host::helper_image(base, &host::proxies(), certificates)?;
    image.by_hand = true;
    let engines = config.engines()?.into_iter();
    let engines: Vec<Docker> = engines
        .map(|engine| Docker::new(engine, recovery.print_commands))
        .collect();
    let recovered = recovery.of_all(&engines, engines.len() > 1);
    let cancel = Cancel::new();
    let signals = stop_on_signals(cancel.clone()).context("cannot watch for signals")?;
    // Their files stay until the last has its image.
    let mut made: Vec<(Process, Docker)> = Vec::new();
    for recovered in recovered {
        let (process, docker, state) = recovered.register(&image.name)?;
        image.process.clone_from(&process.label);
        image.seal = state.seal.clone();
        image.noted_in = state.images_made();
        let _lock = state.exclusive(LOCK, &cancel)?;
        let result = match made.first() {
            None => build_helper_image(&docker, &image, &cancel, &|line| log::error!("{line}")),
            Some((_, first)) => bring_helper_image(first, &docker, &image, &cancel),
        };
        if let Some(status) = signals.status() {
            return Ok(Built::Interrupted(status));
        }
        result?;
        made.push((process, docker));
    }
    Ok(Built::Image(image.name))
}
