//! Processes: which live, which died without cleaning up, and the files that go with each.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use uuid::Uuid;

use super::State;

/// This process, which says by a lock that it lives, until this is dropped. What it makes on an engine carries
/// [`Process::label`].
pub struct Process {
    /// `<machine id>/<state directory's id>/<uuid>`.
    pub label: String,
    /// A directory that only we can enter, for what is not to outlive this process.
    pub files: PathBuf,
    path: PathBuf,
    left: AtomicBool,
    _lock: File,
}

/// A process that ended without cleaning up. No other process cleans up after it while this exists.
pub struct DeadProcess {
    /// What its things on the engine are labelled with.
    pub label: String,
    /// The engine that it worked with.
    pub engine: String,
    /// Its directory of files, which may be gone.
    pub files: PathBuf,
    path: PathBuf,
    _lock: File,
}

/// A process's file, which is locked while it lives.
struct Entry {
    label: String,
    path: PathBuf,
    files: PathBuf,
    file: File,
}

impl Entry {
    fn lives(&self) -> bool {
        matches!(self.file.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// The first line is the engine, the second the helper image, the third what its label begins with: the directory
    /// may have had another id then.
    fn line(&self, number: usize) -> Option<String> {
        let text = fs::read_to_string(&self.path).ok()?;
        Some(text.lines().nth(number).unwrap_or_default().to_owned())
    }
}

impl State {
    /// Registers this process as living. `engine` says where it makes things, for the recovery
    /// after it, and `helper_image` which one it cannot do without.
    ///
    /// # Errors
    /// If the lock's file or the directory cannot be written.
    pub fn register(&self, engine: &str, helper_image: &str) -> Result<Process> {
        loop {
            let uuid = Uuid::new_v4();
            let path = self.directory.join("processes").join(uuid.to_string());
            // Under another name first: it must not be seen unlocked.
            let hidden = self.directory.join("locks").join(uuid.to_string());
            let register = || -> std::io::Result<File> {
                let mut file = File::create_new(&hidden)?;
                file.lock()?;
                file.write_all(format!("{engine}\n{helper_image}\n{}\n", self.scope).as_bytes())?;
                fs::rename(&hidden, &path)?;
                Ok(file)
            };
            let lock = match register() {
                // Another process took it for what a killed one left, before it was locked.
                Err(error)
                    if error.kind() == ErrorKind::NotFound
                        && hidden.parent().is_some_and(Path::is_dir) =>
                {
                    continue;
                }
                result => result.with_context(|| format!("cannot lock {}", path.display()))?,
            };
            let process = Process {
                label: format!("{}/{uuid}", self.scope),
                files: self.directory.join("files").join(uuid.to_string()),
                path,
                left: AtomicBool::new(false),
                _lock: lock,
            };
            DirBuilder::new()
                .mode(0o700)
                .create(&process.files)
                .with_context(|| format!("cannot make {}", process.files.display()))?;
            return Ok(process);
        }
    }

    /// What the labels of all processes of this state directory begin with, without the slash behind it.
    #[must_use]
    pub fn scope(&self) -> String {
        self.scope.clone()
    }

    /// The processes that ended without cleaning up, whichever engine they worked with.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn dead_processes(&self) -> Result<Vec<DeadProcess>> {
        let mut dead = Vec::new();
        for entry in self.processes()? {
            let free = matches!(entry.file.try_lock(), Ok(()));
            if free && let Some(engine) = entry.line(0) {
                dead.push(DeadProcess {
                    label: entry.label,
                    engine,
                    files: entry.files,
                    path: entry.path,
                    _lock: entry.file,
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
        let living = self.processes()?.into_iter().filter(Entry::lives);
        Ok(living.map(|entry| entry.label).collect())
    }

    /// The helper images that living processes work with.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn helper_images(&self) -> Result<Vec<String>> {
        let living = self.processes()?.into_iter().filter(Entry::lives);
        Ok(living.filter_map(|entry| entry.line(1)).collect())
    }

    /// Removes files of processes that were killed while they registered or ended, what they had locked, and the
    /// artifacts of checkouts that are gone.
    ///
    /// # Errors
    /// If a directory cannot be read, or a file in it cannot be removed.
    pub fn remove_orphans(&self) -> Result<()> {
        let processes = self.directory.join("processes");
        for path in uuids(&self.directory.join("locks"))? {
            // What is locked, or gone, is about to be registered.
            let file = File::open(&path);
            if file.is_ok_and(|file| {
                file.try_lock()
                    .is_ok_and(|()| fs::remove_file(&path).is_ok())
            }) {
                log::debug!("removed {}", path.display());
            }
        }
        for part in ["concurrent", "slots"] {
            let entries = fs::read_dir(self.directory.join(part));
            for entry in entries.into_iter().flatten().flatten() {
                // One that lives has it, otherwise.
                drop(super::try_lock(&entry.path()));
            }
        }
        for path in uuids(&self.directory.join("files"))? {
            let process = path.file_name().map(|name| processes.join(name));
            // A process is registered before it has a directory, and has none any more when it ends.
            if process.is_some_and(|process| !process.exists()) {
                remove_all(&path)?;
            }
        }
        self.remove_stores_of_nothing()
    }

    /// The processes that are registered, living or not.
    fn processes(&self) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        for path in uuids(&self.directory.join("processes"))? {
            // A file that goes away while we look belongs to a process that has just ended well.
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let uuid = path.file_name().unwrap_or_default().to_string_lossy();
            let mut entry = Entry {
                label: String::new(),
                files: self.directory.join("files").join(uuid.as_ref()),
                file,
                path: path.clone(),
            };
            let scope = entry.line(2).filter(|scope| !scope.is_empty());
            let scope = scope.as_ref().unwrap_or(&self.scope);
            entry.label = format!("{scope}/{uuid}");
            found.push(entry);
        }
        Ok(found)
    }
}

/// What is in a directory by the name of a process.
fn uuids(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_uuid = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| Uuid::parse_str(&name).is_ok())
    };
    Ok(paths.filter(is_uuid).collect())
}

pub(super) fn remove_all(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

impl Process {
    /// Lets it end without unregistering, where something of it is left on the engine: the next process removes that.
    pub fn leave_to_others(&self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After a panic it is not known whether something is left on the engine.
        if self.left.load(Ordering::Relaxed) || std::thread::panicking() {
            return;
        }
        let removed = remove_all(&self.files).and_then(|()| {
            fs::remove_file(&self.path)
                .with_context(|| format!("cannot remove {}", self.path.display()))
        });
        if let Err(error) = removed {
            log::warn!("{error:#}");
        }
    }
}

impl DeadProcess {
    /// Removes its files, but for those in the directory `kept` among them.
    ///
    /// # Errors
    /// If one of them cannot be removed.
    pub fn remove_files_but(&self, kept: &str) -> Result<()> {
        for entry in fs::read_dir(&self.files).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            match (is_directory, entry.file_name() == kept) {
                (_, true) => {}
                (true, _) => remove_all(&path)?,
                (false, _) => fs::remove_file(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?,
            }
        }
        Ok(())
    }

    /// Forgets it, with its files: all that it left on the engine is gone.
    ///
    /// # Errors
    /// If its files cannot be removed.
    pub fn forget(self) -> Result<()> {
        remove_all(&self.files)?;
        fs::remove_file(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use crate::cancel::Cancel;
    use std::fs;

    #[test]
    fn only_the_dead_are_found_and_only_by_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path().to_owned()).expect("opens");
        let living = state.register("engine", "image:2").expect("registers");
        let dies = state.register("engine", "image:1").expect("registers");
        let (label, files) = (dies.label.clone(), dies.files.clone());
        fs::write(files.join("secret"), "word").expect("written");
        dies.leave_to_others();
        drop(dies);
        let dead = state.dead_processes().expect("reads");
        let found: Vec<_> = dead
            .iter()
            .map(|dead| (&dead.label, &*dead.engine))
            .collect();
        assert_eq!(found, [(&label, "engine")]);
        assert!(
            state.dead_processes().expect("reads").is_empty(),
            "it is held already"
        );
        assert_eq!(
            state.living_processes().expect("reads").len(),
            2,
            "it is held like a living one"
        );
        for process in dead {
            process.forget().expect("removes");
        }
        assert!(!files.exists());
        assert_eq!(
            state.living_processes().expect("reads"),
            std::slice::from_ref(&living.label)
        );
        assert_eq!(state.helper_images().expect("reads"), ["image:2"]);
        let files = living.files.clone();
        assert!(files.is_dir());
        drop(living);
        assert!(!files.exists());
        assert!(state.dead_processes().expect("reads").is_empty());
    }

    #[test]
    fn what_was_killed_while_it_registered_or_ended_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path().to_owned()).expect("opens");
        let living = state.register("engine", "").expect("registers");
        let uuid = uuid::Uuid::new_v4().to_string();
        let lock = directory.path().join("locks").join(&uuid);
        let files = directory.path().join("files").join(&uuid);
        fs::write(&lock, "").expect("written");
        let place = directory.path().join("concurrent/local-1-7");
        fs::write(&place, "").expect("written");
        let taken = state.concurrent_id("local", 1, 8).expect("an id");
        fs::create_dir(&files).expect("made");
        let held = state
            .exclusive("helper-image", &Cancel::new())
            .expect("locks");
        state.remove_orphans().expect("removes");
        assert!(!lock.exists() && !files.exists() && living.files.is_dir());
        assert!(!place.exists() && directory.path().join("concurrent/local-1-8").exists());
        drop(taken);
        assert!(directory.path().join("locks/helper-image").exists());
        drop(held);
    }
}
