//! Archives that are damaged or made to lead out: nothing is written anywhere else, no process ends, and memory and
//! disk that they take are bounded whatever they say of themselves.

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use alloy_runner::helper::archive::level::Level;
use alloy_runner::helper::archive::limit::Limit;
use alloy_runner::helper::archive::select::select;
use alloy_runner::helper::archive::tree::Tree;
use alloy_runner::helper::archive::unpack::Target;
use alloy_runner::helper::archive::{frames, inside, unframe, unzip, zipped};
use proptest::prelude::*;
use tempfile::TempDir;

use super::memory::taken;
use super::tries::tried;
use super::words::{damaged, strokes, word};

/// What an archive may take in memory: two frames for each of a few threads, and its names.
const MEMORY: usize = 200 << 20;
const TOKENS: &[&str] = &[
    "../",
    "/",
    "..",
    "/etc/passwd",
    "\0",
    "\0\0\0\0\0\0\0\0",
    "\u{7f}\u{7f}\u{7f}\u{7f}",
    "ustar\0",
    "ustar  \0",
    "77777777777\0",
    "00000000000\0",
    "PK\u{1}\u{2}",
    "PK\u{3}\u{4}",
    "PK\u{5}\u{6}",
    "PK\u{6}\u{6}",
    "1",
    "2",
    "5",
    "L",
    "K",
    "x",
    "g",
    "S",
    "30 path=../../../evil\n",
    "99999999999999999999 path=a\n",
];

/// A directory to unpack in, with things around it that nobody may touch.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = TempDir::with_prefix("alloy-test-").expect("a directory");
        fs::create_dir_all(root.path().join("project/there")).expect("made");
        fs::create_dir(root.path().join("beside")).expect("made");
        fs::write(root.path().join("beside/file"), "untouched").expect("written");
        symlink("../beside", root.path().join("project/out")).expect("linked");
        Self { root }
    }

    fn project(&self) -> PathBuf {
        self.root.path().join("project")
    }

    /// Nothing is around it but what was, and nothing in it leads out but what did.
    fn assert_untouched(&self) {
        let names = |directory: &Path| {
            let entries = fs::read_dir(directory).expect("readable");
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(self.root.path()), ["beside", "project"]);
        assert_eq!(names(&self.root.path().join("beside")), ["file"]);
        assert_eq!(
            fs::read(self.root.path().join("beside/file")).expect("there"),
            b"untouched"
        );
        let mut open = vec![self.project()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).expect("readable") {
                let path = entry.expect("an entry").path();
                let kind = fs::symlink_metadata(&path).expect("there").file_type();
                if kind.is_dir() {
                    open.push(path);
                } else if kind.is_symlink() && path != self.project().join("out") {
                    let target = fs::read_link(&path).expect("a link");
                    let below = path.strip_prefix(self.project()).expect("below");
                    assert_eq!(
                        inside::link(&self.project(), below, target.as_os_str()),
                        Ok(()),
                        "{}",
                        target.display()
                    );
                    // And by the kernel's word, where it leads to something.
                    if let Ok(real) = fs::canonicalize(&path) {
                        let project = fs::canonicalize(self.project()).expect("there");
                        let known =
                            fs::canonicalize(self.root.path().join("beside")).expect("there");
                        assert!(
                            real.starts_with(project) || real.starts_with(known),
                            "{} -> {}",
                            path.display(),
                            real.display()
                        );
                    }
                } else {
                    assert!(kind.is_file() || kind.is_symlink(), "{}", path.display());
                }
            }
        }
    }

    fn unframe(&self, archive: &[u8], limit: Option<u64>) -> Result<usize, String> {
        let target = Target::new(
            open(&self.project()),
            Limit::new(limit, archive.len() as u64),
        );
        unframe::read(Cursor::new(archive), &target)
            .and_then(|()| target.finish())
            .map_err(|error| format!("{error:#}"))
    }

    fn unzip(&self, archive: &[u8], limit: Option<u64>) -> Result<usize, String> {
        let file = self.root.path().join("project.zip");
        fs::write(&file, archive).expect("written");
        let zip = File::open(&file).expect("there");
        let limit = Limit::new(limit, archive.len() as u64);
        let read = unzip::read(zip, Target::new(open(&self.project()), limit));
        fs::remove_file(&file).expect("removed");
        read.map(|unpacked| unpacked.files)
            .map_err(|error| format!("{error:#}"))
    }
}

fn open(path: &Path) -> Tree {
    Tree::open(path).expect("open")
}

/// A small tree, with a file of this name in it.
fn tree(name: &str) -> TempDir {
    let root = TempDir::with_prefix("alloy-test-").expect("a directory");
    let at = |path: &str| root.path().join(path);
    fs::create_dir_all(at("a/b")).expect("made");
    fs::create_dir_all(at("empty")).expect("made");
    fs::write(at("a/file"), "contents\n".repeat(100)).expect("written");
    fs::write(at("a/b/x"), "").expect("written");
    fs::write(at(name), "x").expect("written");
    symlink("a/file", at("link")).expect("linked");
    symlink("../a/b", at("a/up")).expect("linked");
    root
}

type Writer = fn(
    Level,
    &Tree,
    &[alloy_runner::helper::archive::Entry],
    &mut Vec<u8>,
) -> anyhow::Result<Vec<String>>;

fn archive(root: &Path, write: Writer) -> Vec<u8> {
    let selected = select(&open(root), &["**".to_owned()], false, &[]).expect("selected");
    let mut out = Vec::new();
    write(Level::Default, &open(root), &selected.entries, &mut out).expect("written");
    out
}

fn zip() -> Vec<u8> {
    archive(tree("f").path(), zipped::write)
}

fn framed() -> Vec<u8> {
    archive(tree("f").path(), frames::write)
}

/// What is in a framed archive as one zstd stream, as other programs write it.
fn tar() -> Vec<u8> {
    zstd::decode_all(Cursor::new(framed())).expect("zstd")
}

fn packed(tar: &[u8]) -> Vec<u8> {
    zstd::encode_all(Cursor::new(tar), 1).expect("packed")
}

#[test]
fn damaged_archives_lead_nowhere() {
    let (zip, framed, tar) = (zip(), framed(), tar());
    assert!(Place::new().unzip(&zip, None).is_ok());
    assert!(Place::new().unframe(&framed, None).is_ok());
    assert!(Place::new().unframe(&packed(&tar), None).is_ok());
    let (whole, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    tried(500, &(0..3, strokes()), |(kind, strokes)| {
        let place = Place::new();
        let (result, taken) = match kind {
            0 => {
                let bytes = damaged(&zip, &strokes, TOKENS);
                taken(|| place.unzip(&bytes, Some(10)))
            }
            1 => {
                let bytes = damaged(&framed, &strokes, TOKENS);
                taken(|| place.unframe(&bytes, Some(10)))
            }
            // Damaged inside of sound zstd.
            _ => {
                let bytes = packed(&damaged(&tar, &strokes, TOKENS));
                taken(|| place.unframe(&bytes, Some(10)))
            }
        };
        place.assert_untouched();
        prop_assert!(taken < MEMORY, "{taken}");
        match result {
            Ok(_) => whole.fetch_add(1, Ordering::Relaxed),
            Err(_) => refused.fetch_add(1, Ordering::Relaxed),
        };
        Ok(())
    });
    let (whole, refused) = (whole.into_inner(), refused.into_inner());
    eprintln!("{whole} archives unpacked, {refused} refused");
    // Some come out whole, about 15 of 500.
    assert!(whole > 0 && refused > 100, "{whole} {refused}");
}

/// A tar file with one entry of this kind, name and target, however long they are.
fn entry(kind: u8, name: &[u8], target: &[u8], contents: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut header = |kind: u8, name: &[u8], target: &[u8], contents: &[u8]| {
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        let length = name.len().min(100);
        old.name[..length].copy_from_slice(&name[..length]);
        let length = target.len().min(100);
        old.linkname[..length].copy_from_slice(&target[..length]);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(contents.len() as u64);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(contents);
        tar.resize(tar.len().next_multiple_of(512), 0);
    };
    if name.len() > 100 {
        header(b'L', b"././@LongLink", b"", name);
    }
    if target.len() > 100 {
        header(b'K', b"././@LongLink", b"", target);
    }
    header(kind, name, target, contents);
    tar.resize(tar.len() + 1024, 0);
    tar
}

#[test]
fn names_and_targets_of_any_kind_stay_inside() {
    let kinds = b"0125346789gxS\0L";
    tried(
        400,
        &(word(), word(), 0..kinds.len(), any::<bool>()),
        |(name, target, kind, twice)| {
            let place = Place::new();
            let (name, target) = (name.as_bytes(), target.as_bytes());
            let mut tar = entry(kinds[kind], name, target, b"");
            if twice {
                // First a link, then something behind it.
                tar = entry(b'2', b"l", target, b"");
                tar.truncate(tar.len() - 1024);
                tar.extend(entry(kinds[kind], &[b"l/", name].concat(), target, b"x"));
            }
            let (result, taken) = taken(|| place.unframe(&packed(&tar), Some(10)));
            place.assert_untouched();
            prop_assert!(taken < MEMORY, "{taken}");
            if let Err(error) = result {
                prop_assert!(!error.is_empty());
            }
            Ok(())
        },
    );
    // In a zip file the name is put in place of another one of the same length.
    tried(200, &word(), |name| {
        prop_assume!((1..200).contains(&name.len()));
        let usual = "N".repeat(name.len());
        let zip = archive(tree(&usual).path(), zipped::write);
        let mut changed = Vec::new();
        let mut rest = zip.as_slice();
        while let Some(at) = rest
            .windows(usual.len())
            .position(|part| part == usual.as_bytes())
        {
            changed.extend_from_slice(&rest[..at]);
            changed.extend_from_slice(name.as_bytes());
            rest = &rest[at + usual.len()..];
        }
        changed.extend_from_slice(rest);
        let place = Place::new();
        let (_, taken) = taken(|| place.unzip(&changed, Some(10)));
        place.assert_untouched();
        prop_assert!(taken < MEMORY, "{taken}");
        Ok(())
    });
}

/// A header of a tar file for so many bytes, which follow.
fn header(kind: u8, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("x").expect("a path");
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// A name, a link's target and attributes of a gigabyte each, packed in a few kilobytes.
#[test]
fn what_a_tar_file_says_of_its_files_is_not_read_without_end() {
    const SIZE: u64 = 1 << 30;
    for kind in *b"LKxg" {
        let tar = Cursor::new(header(kind, SIZE)).chain(std::io::repeat(b'a').take(SIZE));
        let mut archive = zstd::Encoder::new(Vec::new(), 1).expect("zstd");
        std::io::copy(&mut tar.take(SIZE), &mut archive).expect("packed");
        let archive = archive.finish().expect("packed");
        assert!(archive.len() < 1 << 20);
        let place = Place::new();
        let (result, taken) = taken(|| place.unframe(&archive, Some(0)));
        let error = result.expect_err("refused");
        assert!(
            error.contains("names and attributes of more than a megabyte"),
            "{error}"
        );
        assert!(taken < 40 << 20, "{}: {taken}", kind as char);
        place.assert_untouched();
    }
}

/// A limit that no number of names gets past: neither by directories that only stand in the names of others, nor by
/// links and directories, which are remembered to the end.
#[test]
fn what_has_no_contents_counts_too() {
    let deep = |number: usize| format!("{number}/{}f", "d/".repeat(1900));
    let mut tar = Vec::new();
    for number in 0..20 {
        let entry = entry(b'0', deep(number).as_bytes(), b"", b"");
        tar.extend_from_slice(&entry[..entry.len() - 1024]);
    }
    tar.resize(tar.len() + 1024, 0);
    let place = Place::new();
    let error = place.unframe(&packed(&tar), Some(20)).expect_err("refused");
    assert!(error.contains("unpacks to more than 20 MB"), "{error}");
    place.assert_untouched();

    let mut archive = zstd::Encoder::new(Vec::new(), 1).expect("zstd");
    let target = "t".repeat(4000);
    for number in 0..80_000 {
        let entry = entry(b'2', format!("{number}").as_bytes(), target.as_bytes(), b"");
        archive
            .write_all(&entry[..entry.len() - 1024])
            .expect("packed");
    }
    let archive = archive.finish().expect("packed");
    let place = Place::new();
    let (result, taken) = taken(|| place.unframe(&archive, Some(0)));
    let error = result.expect_err("refused");
    assert!(
        error.contains("more links and directories than fit"),
        "{error}"
    );
    assert!(taken < 400 << 20, "{taken}");

    for name in ["x/".repeat(3000), "x".repeat(5000)] {
        let error = Place::new().unframe(&packed(&entry(b'5', name.as_bytes(), b"", b"")), None);
        assert!(
            error
                .expect_err("refused")
                .contains("longer than Linux takes")
        );
    }
}

/// What a zip file lists is in memory: how much that is, for how long a file.
#[test]
fn a_zip_file_with_very_many_entries_takes_bounded_memory() {
    let name = [b'N'; 180];
    let zip = archive(tree(&"N".repeat(180)).path(), zipped::write);
    let directory = zip
        .windows(4)
        .position(|part| part == b"PK\x01\x02")
        .expect("a directory");
    let last = zip
        .windows(name.len())
        .rposition(|part| part == name.as_slice())
        .expect("in the directory");
    // A record of the directory begins 46 bytes before its name.
    let record = last - 46;
    let extra = usize::from(u16::from_le_bytes([zip[record + 30], zip[record + 31]]));
    let record = zip[record..last + name.len() + extra].to_vec();
    let count = 400_000_usize;
    let at = directory;
    let mut large = zip[..at].to_vec();
    for number in 0..count {
        let from = large.len();
        large.extend_from_slice(&record);
        large[from + 46..from + 46 + name.len()]
            .copy_from_slice(format!("{number:0180}").as_bytes());
    }
    let size = (large.len() - at) as u64;
    let end = large.len() as u64;
    // The directory's end, as zip64 has it.
    large.extend_from_slice(b"PK\x06\x06");
    large.extend_from_slice(&44_u64.to_le_bytes());
    large.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [count as u64, count as u64, size, at as u64] {
        large.extend_from_slice(&number.to_le_bytes());
    }
    large.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    large.extend_from_slice(&end.to_le_bytes());
    large.extend_from_slice(&1_u32.to_le_bytes());
    large.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    large.extend_from_slice(&[0xff; 12]);
    large.extend_from_slice(&[0, 0]);
    let place = Place::new();
    let (result, taken) = taken(|| place.unzip(&large, Some(100)));
    let error = result.expect_err("refused");
    eprintln!(
        "{} MB for a zip file of {} MB with {count} entries: {error}",
        taken >> 20,
        large.len() >> 20
    );
    assert!(
        error.contains("its directory is longer than 64 MB"),
        "{error}"
    );
    assert!(taken < 600 << 20, "{taken}");
    place.assert_untouched();
}

/// Patterns come from a job, and names in its directory from what it ran.
#[test]
fn patterns_select_nothing_outside() {
    tried(
        400,
        &(
            proptest::collection::vec(word(), 0..4),
            proptest::collection::vec(word(), 0..4),
            any::<bool>(),
        ),
        |(patterns, names, untracked)| {
            let place = Place::new();
            for name in &names {
                // What no file can be called is none.
                drop(fs::write(place.project().join(name.replace('/', "_")), "x"));
            }
            let (selected, taken) =
                taken(|| select(&open(&place.project()), &patterns, untracked, &[]));
            prop_assert!(taken < 64 << 20, "{taken}");
            if let Ok(selected) = selected {
                for entry in &selected.entries {
                    prop_assert!(!entry.path.is_absolute());
                    prop_assert!(
                        !entry
                            .path
                            .components()
                            .any(|part| part == std::path::Component::ParentDir)
                    );
                    prop_assert!(entry.path != Path::new("out"), "a link that leads out");
                    prop_assert!(!entry.path.as_os_str().as_bytes().is_empty());
                }
            }
            Ok(())
        },
    );
}

/// What a job left for git's index: none leads elsewhere, ends the process or takes much memory.
#[test]
fn a_damaged_index_of_git_is_read_or_said_to_be_wrong() {
    let place = Place::new();
    let git = |words: &[&str]| super::support::git(&place.project(), words);
    for number in 0..20 {
        fs::write(place.project().join(format!("f{number}")), "x").expect("written");
    }
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["update-index", "--index-version", "4"]);
    let index = place.project().join(".git/index");
    let sound = fs::read(&index).expect("there");
    tried(500, &strokes(), |strokes| {
        let bytes = damaged(&sound, &strokes, TOKENS);
        fs::write(&index, &bytes).expect("written");
        let tree = open(&place.project());
        let (selected, taken) = taken(|| select(&tree, &[], true, &[]));
        prop_assert!(taken < MEMORY, "{taken} bytes of memory");
        if let Err(error) = selected {
            let error = format!("{error:#}");
            prop_assert!(error.contains("git's index"), "{error}");
        }
        Ok(())
    });
}
