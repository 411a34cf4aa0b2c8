//! What a runner takes of its machine, before and after hard times.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::coordinator::Coordinator;
use super::running::{Held, Running};
use super::{Ran, eventually, signal};

/// How much more memory a runner may hold afterwards: what an allocator keeps for the next time.
const KILOBYTES: u64 = 4096;

/// The directories of a runner, and what of its things is on the engine.
pub struct Ground<'a> {
    coordinator: &'a Coordinator,
    state: PathBuf,
    temporary: PathBuf,
}

/// What a runner takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    held: Held,
    /// In its state directory and in that for temporary files.
    files: BTreeSet<String>,
    bytes: u64,
    on_engine: String,
}

impl<'a> Ground<'a> {
    pub fn new(coordinator: &'a Coordinator) -> Self {
        let temporary = coordinator.beside("temporary");
        fs::create_dir(&temporary).expect("made");
        Self {
            coordinator,
            state: coordinator.beside("state"),
            temporary,
        }
    }

    /// For the runner's `TMPDIR`.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// What it takes when all is quiet.
    pub fn rested(&self, runner: &Running) -> Taken {
        let threads = || runner.held().threads;
        let mut last = threads();
        // Two looks in a row that find the same, a while after the last job was reported.
        eventually(Duration::from_mins(1), "the runner rests", || {
            std::thread::sleep(Duration::from_secs(3));
            let now = threads();
            std::mem::replace(&mut last, now) == now && self.coordinator.leftovers().is_empty()
        });
        let mut taken = Taken {
            held: runner.held(),
            files: BTreeSet::new(),
            bytes: 0,
            on_engine: self.coordinator.leftovers(),
        };
        for directory in [&self.state, &self.temporary] {
            list(directory, &mut taken);
        }
        taken
    }

    /// The runner takes no more after it than before, ends well when it is told to, and leaves nothing.
    pub fn assert_as_before(&self, runner: Running, before: &Taken, after: &Taken) {
        println!("before: {before}\nafter:  {after}");
        after.assert_no_more_than(before);
        signal(&runner, "QUIT");
        let ran = Ran::from(runner.wait_with_output().expect("ended"));
        assert_eq!(ran.status, Some(0), "{ran}");
        self.assert_clean();
    }

    /// After the runner has ended well: no file is left but those that stay for the next one, which are locks that
    /// nobody holds, and the state directory's id.
    pub fn assert_clean(&self) {
        assert_nothing_of_processes(&self.state);
        assert_eq!(names(&self.temporary), BTreeSet::new());
        assert_eq!(self.coordinator.leftovers(), "");
    }
}

/// Nothing of any process is left in a state directory, living or dead.
pub fn assert_nothing_of_processes(state: &Path) {
    for part in ["processes", "files"] {
        assert_eq!(names(&state.join(part)), BTreeSet::new(), "{part}");
    }
    let places = |name: &String| name != "helper-image";
    let locks: Vec<_> = names(&state.join("locks"))
        .into_iter()
        .filter(places)
        .collect();
    assert!(locks.is_empty(), "{locks:?}");
    let known = [
        "id",
        "processes",
        "files",
        "concurrent",
        "slots",
        "locks",
        // What it has made stays on the engine for the next process.
        "images",
    ];
    let others: Vec<_> = names(state)
        .into_iter()
        .filter(|name| !known.contains(&name.as_str()))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

/// The names of what is in a directory.
pub fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("readable");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect()
}

/// The docker clients of all runners with this state directory, and whose they are.
pub fn clients(state: &Path) -> Vec<(String, String)> {
    let mark = format!("TMPDIR={}/", state.join("files").display());
    let processes = fs::read_dir("/proc").expect("there").flatten();
    let client = |entry: fs::DirEntry| {
        let environment = fs::read(entry.path().join("environ")).ok()?;
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let uuid = environment
            .split('\0')
            .find_map(|variable| variable.strip_prefix(&mark))?;
        Some((
            entry.file_name().to_string_lossy().into_owned(),
            uuid.to_owned(),
        ))
    };
    processes.filter_map(client).collect()
}

fn list(path: &Path, taken: &mut Taken) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    if metadata.is_dir() {
        // A question for a job that is on its way has a place.
        for name in names(path).into_iter().filter(|_| !path.ends_with("slots")) {
            list(&path.join(name), taken);
        }
    } else {
        taken.files.insert(path.display().to_string());
        taken.bytes += metadata.len();
    }
}

impl Taken {
    /// Fails if this is more than what was taken before.
    pub fn assert_no_more_than(&self, before: &Self) {
        assert!(
            self.held.threads <= before.held.threads,
            "threads: {before} {self}"
        );
        assert!(
            self.held.descriptors <= before.held.descriptors,
            "descriptors: {before} {self}"
        );
        assert!(
            self.held.kilobytes <= before.held.kilobytes + KILOBYTES,
            "memory: {before} {self}"
        );
        assert_eq!(self.files, before.files, "files");
        assert_eq!(self.bytes, before.bytes, "bytes in files");
        assert_eq!(self.on_engine, before.on_engine, "on the engine");
    }
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let engine = match self.on_engine.lines().count() {
            0 => "nothing".to_owned(),
            count => format!("{count} things"),
        };
        write!(
            f,
            "{}; {} files with {} bytes; {engine} on the engine",
            self.held,
            self.files.len(),
            self.bytes
        )
    }
}
