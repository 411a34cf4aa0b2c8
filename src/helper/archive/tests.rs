//! What others change while an archive is made or unpacked: a directory that becomes a link leads nowhere.

use super::level::Level;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use super::limit::Limit;
use super::select::select;
use super::tree::Tree;
use super::unpack::Target;
use super::{frames, unframe, unzip, zipped};

/// How many files are in each of the directories.
const FILES: usize = 300;
const DIRECTORIES: [&str; 3] = ["a", "deep/b", "deep/c/d"];
const SECRET: &str = "the helper's own";

/// A project with many files, and a directory beside it that has files of the same names. In place of some of the
/// project's directories, links to that one come and go.
struct Swapped {
    root: TempDir,
}

impl Swapped {
    fn new() -> Self {
        let root = TempDir::with_prefix("alloy-test-").expect("a directory");
        let outside = root.path().join("outside");
        fs::create_dir(&outside).expect("made");
        for directory in DIRECTORIES {
            let directory = root.path().join("project").join(directory);
            fs::create_dir_all(&directory).expect("made");
            for number in 0..FILES {
                fs::write(directory.join(format!("f{number}")), "own").expect("written");
            }
        }
        for number in 0..FILES {
            fs::write(outside.join(format!("f{number}")), SECRET).expect("written");
        }
        Self { root }
    }

    fn project(&self) -> PathBuf {
        self.root.path().join("project")
    }

    /// Does something while directories and links change places all the time.
    fn while_swapped<T>(&self, work: impl FnOnce() -> T) -> T {
        let pairs = DIRECTORIES.map(|directory| {
            let link = self
                .project()
                .join(format!("{}.link", directory.replace('/', "-")));
            if fs::symlink_metadata(&link).is_err() {
                symlink(self.root.path().join("outside"), &link).expect("linked");
            }
            (self.project().join(directory), link)
        });
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for (directory, link) in &pairs {
                        // One that is not there yet comes.
                        let _ = renameat_with(CWD, directory, CWD, link, RenameFlags::EXCHANGE);
                    }
                }
            });
            let done = work();
            over.store(true, Ordering::Relaxed);
            done
        })
    }
}

/// A tree that is to be read or written, and how it is opened.
fn ways() -> [fn(Tree) -> Tree; 2] {
    [|tree| tree, Tree::by_parts]
}

#[test]
fn what_is_behind_a_link_that_comes_in_place_of_a_directory_is_not_archived() {
    let swapped = Swapped::new();
    let patterns = ["a", "deep", "**/f1*"].map(str::to_owned);
    for round in 0..8 {
        let tree = ways()[round % 2](Tree::open(&swapped.project()).expect("open"));
        let (zip, framed, selected) = swapped.while_swapped(|| {
            let selected = select(&tree, &patterns, round % 4 < 2, &[]).expect("selected");
            let (mut zip, mut framed) = (Vec::new(), Vec::new());
            zipped::write(Level::Default, &tree, &selected.entries, &mut zip).expect("written");
            frames::write(Level::Default, &tree, &selected.entries, &mut framed).expect("written");
            (zip, framed, selected)
        });
        let tar = zstd::decode_all(framed.as_slice()).expect("frames");
        for archive in [zip, tar] {
            // In a zip file, files this short are stored as they are.
            let secret = memchr::memmem::find(&archive, SECRET.as_bytes());
            assert!(secret.is_none(), "round {round}");
        }
        let lengths = selected.entries.iter().map(super::Entry::size);
        assert!(
            lengths.max() <= Some(3),
            "round {round}: a file was measured behind a link"
        );
    }
}

#[test]
fn nothing_is_unpacked_behind_a_link_that_comes_in_place_of_a_directory() {
    let source = Swapped::new();
    let tree = Tree::open(&source.project()).expect("open");
    for directory in DIRECTORIES {
        symlink("f1", source.project().join(directory).join("link")).expect("linked");
    }
    let selected = select(&tree, &[".".to_owned()], false, &[]).expect("selected");
    let mut framed = Vec::new();
    frames::write(Level::Default, &tree, &selected.entries, &mut framed).expect("written");
    let mut zip = tempfile::tempfile().expect("a file");
    zipped::write(Level::Default, &tree, &selected.entries, &mut zip).expect("written");
    for round in 0..8 {
        let swapped = Swapped::new();
        let outside = swapped.root.path().join("outside");
        let before = described(&outside);
        let tree = ways()[round % 2](Tree::open(&swapped.project()).expect("open"));
        let target = Target::new(tree, Limit::new(None, 0));
        let done = swapped.while_swapped(|| {
            if round % 4 < 2 {
                unframe::read(framed.as_slice(), &target)?;
                target.finish().map(drop)
            } else {
                unzip::read(zip.try_clone()?, target).map(drop)
            }
        });
        // It ends at a link that is in the way, or saw none.
        if let Err(error) = done {
            let error = format!("{error:#}");
            let known = ["links are not followed", "Not a directory"];
            assert!(
                known.iter().any(|known| error.contains(known)),
                "round {round}: {error}"
            );
        }
        assert_eq!(described(&outside), before, "round {round}");
    }
}

/// Everything in a directory, with contents, modes, owners and times.
fn described(directory: &Path) -> Vec<String> {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .expect("readable")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.push(directory.to_owned());
    paths.sort();
    let line = |path: &PathBuf| {
        let metadata = fs::symlink_metadata(path).expect("there");
        let contents = metadata
            .is_file()
            .then(|| fs::read_to_string(path).expect("text"));
        let (mode, owner) = (metadata.mode(), (metadata.uid(), metadata.gid()));
        let time = (metadata.mtime(), metadata.mtime_nsec());
        format!(
            "{} {mode:o} {owner:?} {time:?} {contents:?}",
            path.display()
        )
    };
    paths.iter().map(line).collect()
}
