//! Stores for the artifacts of checkouts: what jobs left, as the runner itself has put it there, whatever lies in a
//! checkout.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::State;

/// The directory in the state directory that holds all of them.
const STORES: &str = "artifacts";
/// The name of [`Store::label`].
const LABEL: &str = "checkout";

/// Where the artifacts of a checkout are, there or not.
pub struct Store {
    /// Holds all that is in it.
    pub directory: PathBuf,
    /// The file in it that says which checkout it is of: nothing but the path of that.
    pub label: PathBuf,
}

impl Store {
    /// The one of a checkout, below a state directory. Another checkout at the same path has another one.
    ///
    /// # Errors
    /// If the checkout cannot be looked at.
    pub fn of(checkout: &Path, state: &Path) -> Result<Self> {
        let name = name(checkout).with_context(|| format!("cannot read {}", checkout.display()))?;
        let state = std::path::absolute(state).context("which directory is the state's?")?;
        let directory = state.join(STORES).join(name);
        Ok(Self {
            label: directory.join(LABEL),
            directory,
        })
    }
}

fn name(checkout: &Path) -> io::Result<String> {
    let data = fs::symlink_metadata(checkout)?;
    // Where the file system does not know it, path and number have to do.
    let made = data.created().ok();
    let made = made.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let digest = Sha256::new()
        .chain_update(data.ino().to_be_bytes())
        .chain_update(made.unwrap_or_default().as_nanos().to_be_bytes())
        .chain_update(checkout.as_os_str().as_bytes())
        .finalize();
    Ok(hex::encode(&digest[..16]))
}

impl State {
    /// Removes the stores of checkouts that are there no more.
    ///
    /// # Errors
    /// If a directory cannot be read or removed.
    pub(super) fn remove_stores_of_nothing(&self) -> Result<()> {
        let stores = match fs::read_dir(self.directory.join(STORES)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            stores => stores.context("cannot read the stores of artifacts")?,
        };
        for store in stores.flatten() {
            // One that does not say whose it is yet is being made.
            let checkout = fs::read(store.path().join(LABEL)).unwrap_or_default();
            if checkout.is_empty() {
                continue;
            }
            let there = match name(Path::new(OsStr::from_bytes(&checkout))) {
                Ok(name) => store.file_name() == *name,
                Err(error) => error.kind() != ErrorKind::NotFound,
            };
            if !there {
                super::process::remove_all(&store.path())?;
            }
        }
        Ok(())
    }
}
