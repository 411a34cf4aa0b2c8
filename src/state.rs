//! What the runner's processes on one host agree on: who lives, and which concurrent ids are taken.
//!
//! All of it is locks on files of the state directory, which the kernel gives back when their holder dies,
//! however it dies.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use uuid::Uuid;

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
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

/// The state directory, opened.
pub struct State {
    directory: PathBuf,
    /// Machine id and state directory's id: processes with the same can see each other's locks.
    scope: String,
}

/// This process, which says by a lock that it lives, until this is dropped. What it makes on an engine carries [`Process::label`].
pub struct Process {
    /// `<machine id>/<state directory's id>/<uuid>`.
    pub label: String,
    path: PathBuf,
    left: AtomicBool,
    _lock: File,
}

/// A concurrent id that this process holds.
pub struct ConcurrentId {
    /// The number, from 0.
    pub number: u32,
    _lock: File,
}

/// A place that this process has, until this is dropped.
pub struct Slot {
    _lock: File,
}

impl State {
    /// Opens the state directory and makes what is missing in it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(directory: PathBuf) -> Result<Self> {
        let failed = || {
            format!(
                "cannot use the state directory {}; set ALLOY_RUNNER_STATE_DIR to one that can be written",
                directory.display()
            )
        };
        for part in ["processes", "concurrent", "slots", "locks"] {
            fs::create_dir_all(directory.join(part)).with_context(failed)?;
        }
        let id = state_id(&directory).with_context(failed)?;
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let machine = if machine.trim().is_empty() {
            "no-machine-id"
        } else {
            machine.trim()
        };
        Ok(Self {
            scope: format!("{machine}/{id}"),
            directory,
        })
    }

    /// Registers this process as living. `engine` says where it makes things, for whoever has to clean up
    /// after it.
    ///
    /// # Errors
    /// If the lock's file cannot be written.
    pub fn register(&self, engine: &str) -> Result<Process> {
        let uuid = Uuid::new_v4();
        let path = self.directory.join("processes").join(uuid.to_string());
        // Under another name first: nobody may see it unlocked.
        let hidden = self.directory.join("locks").join(uuid.to_string());
        let register = || -> std::io::Result<File> {
            let mut file = File::create_new(&hidden)?;
            file.lock()?;
            file.write_all(engine.as_bytes())?;
            fs::rename(&hidden, &path)?;
            Ok(file)
        };
        let lock = register().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Process {
            label: format!("{}/{uuid}", self.scope),
            path,
            left: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// The labels of processes that worked with `engine` and ended without cleaning up.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn dead_processes(&self, engine: &str) -> Result<Vec<DeadProcess>> {
        let mut dead = Vec::new();
        for (label, path, file) in self.processes()? {
            let free = matches!(file.try_lock(), Ok(()));
            if free && fs::read_to_string(&path).is_ok_and(|text| text == engine) {
                dead.push(DeadProcess {
                    label,
                    path,
                    _lock: file,
                });
            }
        }
        Ok(dead)
    }

    /// The labels of processes that live, whichever engine they work with.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn living_processes(&self) -> Result<Vec<String>> {
        let lives = |file: &File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        let processes = self.processes()?.into_iter();
        Ok(processes
            .filter_map(|(label, _, file)| lives(&file).then_some(label))
            .collect())
    }

    /// The processes that are registered, living or not: label, path and file of each.
    fn processes(&self) -> Result<Vec<(String, PathBuf, File)>> {
        let directory = self.directory.join("processes");
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        let mut found = Vec::new();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            // A file that goes away while we look belongs to a process that has just ended well.
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let uuid = path.file_name().unwrap_or_default().to_string_lossy();
            found.push((format!("{}/{uuid}", self.scope), path, file));
        }
        Ok(found)
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

    /// Takes one of the `count` places that processes of this host share by this name. `None`: all are taken.
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

    /// Waits for a lock that one process at a time can hold, until the file is dropped.
    ///
    /// # Errors
    /// If the lock's file cannot be written.
    pub fn exclusive(&self, name: &str) -> Result<File> {
        let path = self.directory.join("locks").join(name);
        let lock = || {
            let file = File::create(&path)?;
            file.lock()?;
            Ok::<_, std::io::Error>(file)
        };
        lock().with_context(|| format!("cannot lock {}", path.display()))
    }
}

/// A lock on a file, if nobody else has it.
fn try_lock(path: &Path) -> Result<Option<File>> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// The id of a state directory, made on first use.
fn state_id(directory: &Path) -> std::io::Result<String> {
    let path = directory.join("id");
    if let Ok(id) = fs::read_to_string(&path) {
        return Ok(id.trim().to_owned());
    }
    // Two processes may both get here: the first one to link its file counts.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    write!(file, "{}", Uuid::new_v4())?;
    match file.persist_noclobber(&path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    fs::read_to_string(&path)
}

impl Process {
    /// Lets it end without unregistering: something of it is left on the engine, for the next process to
    /// remove.
    pub fn leave_to_others(&self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A panic says nothing about what is left.
        if self.left.load(Ordering::Relaxed) || std::thread::panicking() {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// A process that ended without cleaning up. Nobody else cleans up after it while this exists.
pub struct DeadProcess {
    /// What its things on the engine are labelled with.
    pub label: String,
    path: PathBuf,
    _lock: File,
}

impl DeadProcess {
    /// Forgets it: all that it left is gone.
    ///
    /// # Errors
    /// If its file cannot be removed.
    pub fn forget(self) -> Result<()> {
        fs::remove_file(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn concurrent_ids_are_the_smallest_free_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path().to_owned()).expect("opens");
        let take = |project| state.concurrent_id("local", project, 0).expect("an id");
        let (first, second) = (take(1), take(1));
        assert_eq!((first.number, second.number, take(2).number), (0, 1, 0));
        drop(first);
        assert_eq!(take(1).number, 0);
    }

    #[test]
    fn there_are_as_many_slots_as_somebody_says() {
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

    #[test]
    fn only_the_dead_are_found_and_only_by_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path().to_owned()).expect("opens");
        let living = state.register("engine").expect("registers");
        let dies = state.register("engine").expect("registers");
        let label = dies.label.clone();
        let elsewhere = state.register("another engine").expect("registers");
        elsewhere.leave_to_others();
        drop(elsewhere);
        dies.leave_to_others();
        drop(dies);
        let dead = state.dead_processes("engine").expect("reads");
        assert_eq!(
            dead.iter()
                .map(|process| process.label.clone())
                .collect::<Vec<_>>(),
            [label]
        );
        assert!(
            state.dead_processes("engine").expect("reads").is_empty(),
            "somebody is at it"
        );
        for process in dead {
            process.forget().expect("removes");
        }
        drop(living);
        assert!(state.dead_processes("engine").expect("reads").is_empty());
    }
}
