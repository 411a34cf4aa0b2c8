//! What the runner's processes on one host agree on: who lives, and which concurrent ids are taken.
//!
//! All of it is locks on files of the state directory, which the kernel gives back when their holder dies,
//! however it dies.

mod artifacts;
mod identity;
mod process;
mod system;

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cancel::Cancel;
use crate::partial;
use crate::seal::Seal;
pub use artifacts::Store;
use identity::Identity;
pub use process::{DeadProcess, Process};
pub use system::system_id;

/// How long to wait until a lock that another process has is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// The directory of the locks: `ALLOY_RUNNER_STATE_DIR`, else `/var/lib/alloy-runner` for root, else
/// `alloy-runner` below `XDG_STATE_HOME` or `~/.local/state`.
///
/// # Errors
/// If there is no home directory to put it in.
pub fn directory() -> Result<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(directory) = variable("ALLOY_RUNNER_STATE_DIR") {
        return Ok(directory);
    }
    if is_root() {
        return Ok(PathBuf::from("/var/lib/alloy-runner"));
    }
    variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .map(|directory| directory.join("alloy-runner"))
        .context("no directory for locks: set HOME, XDG_STATE_HOME or ALLOY_RUNNER_STATE_DIR")
}

/// Whether this process runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The state directory, opened.
#[derive(Clone)]
pub struct State {
    directory: PathBuf,
    /// Machine id and state directory's id: processes with the same can see each other's locks.
    scope: String,
    /// What the labels of this directory's processes are sealed with.
    pub seal: Seal,
}

/// A concurrent id that this process holds.
pub struct ConcurrentId {
    /// The number, from 0.
    pub number: u32,
    _lock: Lock,
}

/// A slot for a job, which this process has until this is dropped.
pub struct Slot {
    _lock: Lock,
}

/// A locked file, which goes with its holder.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl State {
    /// Opens the state directory and makes what is missing in it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(directory: PathBuf) -> Result<Self> {
        let directory =
            std::path::absolute(directory).context("which directory is the state's?")?;
        make(&directory)?;
        let identity = Identity::of(&directory)
            .with_context(|| format!("cannot use the state directory {}", directory.display()))?;
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let machine = if machine.trim().is_empty() {
            "no-machine-id"
        } else {
            machine.trim()
        };
        Ok(Self {
            scope: format!("{machine}/{}", identity.id),
            seal: Seal::new(&identity.key),
            directory,
        })
    }

    /// Takes the smallest free concurrent id of a runner for a project, from `from` on.
    ///
    /// # Errors
    /// If the locks' files cannot be written.
    pub fn concurrent_id(
        &self,
        short_token: &str,
        project: u64,
        from: u32,
    ) -> Result<ConcurrentId> {
        let path = |number| {
            self.directory
                .join("concurrent")
                .join(format!("{short_token}-{project}-{number}"))
        };
        for number in from.. {
            let path: PathBuf = path(number);
            if let Some(lock) = try_lock(&path)? {
                return Ok(ConcurrentId {
                    number,
                    _lock: lock,
                });
            }
        }
        anyhow::bail!("all concurrent ids of this project are taken")
    }

    /// Takes one of the `count` slots that processes of this host share by this name. `None`: all are taken.
    ///
    /// # Errors
    /// If the locks' files cannot be written.
    pub fn slot(&self, name: &str, count: u32) -> Result<Option<Slot>> {
        for number in 0..count {
            let path = self
                .directory
                .join("slots")
                .join(format!("{name}-{number}"));
            if let Some(lock) = try_lock(&path)? {
                return Ok(Some(Slot { _lock: lock }));
            }
        }
        Ok(None)
    }

    /// The directory with a file for each image that was made from here: its name begins with the image's id.
    #[must_use]
    pub fn images_made(&self) -> PathBuf {
        self.directory.join("images")
    }

    /// Waits for a lock that one process at a time can hold, until the file is dropped. `None`: `cancel` came first.
    ///
    /// # Errors
    /// If the lock's file cannot be written.
    pub fn exclusive(&self, name: &str, cancel: &Cancel) -> Result<Option<File>> {
        let path = self.directory.join("locks").join(name);
        // The kernel's own wait could not be cut short, and the process that holds the lock may hang.
        loop {
            if let Some(lock) = try_file(&path)? {
                return Ok(Some(lock));
            }
            if cancel.wait(LOCK_PAUSE).is_some() {
                return Ok(None);
            }
        }
    }
}

/// A lock on a file, if it is free; the file goes with it.
fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let lock = |file| Lock {
        path: path.to_owned(),
        _file: file,
    };
    Ok(try_file(path)?.map(lock))
}

/// A file, locked, if it is free.
fn try_file(path: &Path) -> Result<Option<File>> {
    loop {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let locked = match file.try_lock() {
            Ok(()) => partial::is_at(&file, path),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        };
        // If not, the holder before has removed it, and others lock another file by this name.
        if locked.with_context(|| format!("cannot lock {}", path.display()))? {
            return Ok(Some(file));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked.
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Makes the state directory, for us alone: who can open a lock's file can hold it, and what is in the files of processes
/// is secret.
fn make(directory: &Path) -> Result<()> {
    let failed = || {
        format!(
            "cannot use the state directory {}; set ALLOY_RUNNER_STATE_DIR to one that can be written",
            directory.display()
        )
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(failed)?;
    let data = fs::metadata(directory).with_context(failed)?;
    let (owner, own) = (data.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        bail!(
            "the state directory {} belongs to the user {owner}, who could stop the jobs of {own}; give it to that user, or \
             set ALLOY_RUNNER_STATE_DIR to another one",
            directory.display()
        );
    }
    if data.mode() & 0o077 != 0 {
        fs::set_permissions(directory, Permissions::from_mode(0o700)).with_context(failed)?;
    }
    for part in [
        "processes",
        "files",
        "concurrent",
        "slots",
        "locks",
        "images",
    ] {
        fs::create_dir_all(directory.join(part)).with_context(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{State, is_root};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn concurrent_ids_are_the_smallest_free_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path().to_owned()).expect("opens");
        let take = |project| state.concurrent_id("local", project, 0).expect("an id");
        let (first, second) = (take(1), take(1));
        assert_eq!((first.number, second.number, take(2).number), (0, 1, 0));
        drop(first);
        assert_eq!(take(1).number, 0);
        drop(second);
        let left = std::fs::read_dir(directory.path().join("concurrent")).expect("there");
        assert_eq!(
            left.count(),
            0,
            "no file stays for each project there ever was"
        );
    }

    #[test]
    fn a_concurrent_id_is_held_once_however_many_come_and_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let held = std::array::from_fn::<_, 8, _>(|_| AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let state = State::open(directory.path().to_owned()).expect("opens");
                    for _ in 0..500 {
                        let id = state.concurrent_id("local", 1, 0).expect("an id");
                        let place = &held[id.number as usize];
                        assert_eq!(place.fetch_add(1, Ordering::SeqCst), 0);
                        place.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn the_directory_is_for_its_user_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path().join("made/state");
        let mode = || fs::metadata(&state).expect("there").mode() & 0o777;
        State::open(state.clone()).expect("opens");
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&state, Permissions::from_mode(0o755)).expect("set");
        State::open(state.clone()).expect("opens");
        assert_eq!(mode(), 0o700, "one that was made otherwise");
        if is_root() {
            std::os::unix::fs::chown(&state, Some(12345), None).expect("given away");
            let error = State::open(state.clone()).err().expect("refused");
            assert!(
                error.to_string().contains("belongs to the user 12345"),
                "{error}"
            );
        }
    }

    #[test]
    fn there_are_as_many_slots_as_are_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path().to_owned()).expect("opens");
        let take = |count| state.slot("all", count).expect("a file");
        let one = take(2);
        let two = take(2);
        assert!(one.is_some() && two.is_some() && take(2).is_none());
        assert!(take(3).is_some(), "another process has another limit");
        drop(one);
        assert!(take(2).is_some());
    }
}
