//! `alloy-runner cache-archiver`, `cache-extractor`, `artifacts-uploader` and `artifacts-downloader`, which run in
//! the helper container. A [`task`] tells them what to do.

use anyhow::Result;

use super::globals::SYSTEM_FAILURE;
use crate::helper::transfer::Refused;
use crate::helper::{artifacts, caches, task};

pub(super) fn archive_caches() -> Result<u8> {
    caches::archive(&task::read()?);
    Ok(0)
}

pub(super) fn restore_caches() -> Result<u8> {
    allow_any_mode();
    caches::restore(&task::read()?);
    Ok(0)
}

pub(super) fn upload_artifacts() -> Result<u8> {
    Ok(status(artifacts::upload(&task::read()?)))
}

pub(super) fn download_artifacts() -> Result<u8> {
    allow_any_mode();
    Ok(status(artifacts::download(&task::read()?)))
}

/// Unpacked files get the modes of the archive: the user of the build, which the helper does not know, has to be able
/// to use them.
fn allow_any_mode() {
    rustix::process::umask(rustix::fs::Mode::empty());
}

fn status(result: Result<()>) -> u8 {
    let Err(error) = result else { return 0 };
    eprintln!("ERROR: {error:#}");
    if error.chain().any(<dyn std::error::Error>::is::<Refused>) {
        task::REFUSED
    } else {
        SYSTEM_FAILURE
    }
}
