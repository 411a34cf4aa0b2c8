//! Building the helper image on request, before the first job needs it.

use anyhow::{Context, Result};

use super::host;
use super::recovery::Recovered;
use super::signals::stop_on_signals;
use crate::cancel::Cancel;
use crate::executor::build_helper_image;

/// How a build ended.
pub enum Built {
    /// There is an image by this name.
    Image(String),
    /// A signal ended it, with this exit status.
    Interrupted(u8),
}

/// Builds the helper image of this executable on a base image. Its downloads trust the `certificates` (PEM) too.
///
/// # Errors
/// If the engine cannot build it, or the state directory cannot be written.
pub fn build(recovered: Recovered, base: &str, certificates: &str) -> Result<Built> {
    let mut image = host::helper_image(base, &host::proxies(), certificates)?;
    let cancel = Cancel::new();
    let signals = stop_on_signals(cancel.clone()).context("cannot watch for signals")?;
    let (process, docker, state) = recovered.register(&image.name)?;
    image.process.clone_from(&process.label);
    image.seal = state.seal.clone();
    image.noted_in = state.images_made();
    image.by_hand = true;
    let _lock = state.exclusive("helper-image", &cancel)?;
    let built = build_helper_image(&docker, &image, &cancel, &|line| log::error!("{line}"));
    if let Some(status) = signals.status() {
        return Ok(Built::Interrupted(status));
    }
    built?;
    Ok(Built::Image(image.name))
}
