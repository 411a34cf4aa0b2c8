//! A checkout whose files of git's are damaged: `exec` reads them in its own process, on the host.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use alloy_runner::job::changes::Changes;
use alloy_runner::job::checkout::Checkout;
use alloy_runner::job::uncommitted::Uncommitted;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::memory::taken;
use super::support::git;
use super::tries::tried;
use super::words::{damaged, strokes};

/// What is damaged.
const FILES: &[&str] = &[
    "HEAD",
    "config",
    "index",
    "info/exclude",
    "objects/info/alternates",
    "objects/pack/pack-0123456789012345678901234567890123456789.idx",
    "objects/pack/pack-0123456789012345678901234567890123456789.pack",
    "packed-refs",
    "refs/heads/master",
    "../.gitattributes",
    "../.gitignore",
    "../.gitmodules",
];

const TOKENS: &[&str] = &[
    "ref: ",
    "refs/",
    "../",
    "/",
    "\n",
    "\0",
    "\r\n",
    "=",
    "[",
    "]",
    "[core]\n",
    "\tworktree = /\n",
    "\tbare = true\n",
    "[include]\n\tpath = /dev/zero\n",
    "[extensions]\n\tobjectFormat = sha256\n",
    "99999999999999999999",
    "-1",
    "peeled",
    "^",
    "# pack-refs with: peeled fully-peeled sorted \n",
    "0000000000000000000000000000000000000000",
    "DIRC",
    "TREE",
    "link",
    "\u{ff}",
    "\"",
    "\\",
    "**",
    "!",
    "filter=x",
    "[submodule \"x\"]\n\tpath = ..\n",
];

/// Makes an object that is the same each time: a seed would not damage the same otherwise.
fn dated_git(directory: &Path, arguments: &[&str]) {
    let date = "2026-01-01T00:00:00Z";
    let status = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .args(arguments)
        .envs([("GIT_AUTHOR_DATE", date), ("GIT_COMMITTER_DATE", date)])
        .current_dir(directory)
        .status();
    assert!(status.expect("started").success(), "git {arguments:?}");
}

/// A checkout with a bit of everything, packed; its `.git` is remembered by the files that are damaged.
fn checkout() -> TempDir {
    let place = TempDir::with_prefix("alloy-test-").expect("a directory");
    let top = place.path().join("site");
    fs::create_dir_all(top.join("sub")).expect("made");
    for (file, text) in [
        ("a", "a\n"),
        ("sub/b", "b\n"),
        (".gitignore", "*.o\n!keep.o\n/build/\n"),
        (".gitattributes", "*.txt text eol=lf\nsub/* -diff\n"),
        (
            ".gitmodules",
            "[submodule \"x\"]\n\tpath = x\n\turl = ../x\n",
        ),
    ] {
        fs::write(top.join(file), text).expect("written");
    }
    git(&top, &["init", "-q", "-b", "master"]);
    git(&top, &["add", "-A"]);
    dated_git(&top, &["commit", "-qm", "a commit"]);
    dated_git(&top, &["tag", "-m", "a tag", "v1"]);
    git(&top, &["repack", "-qad"]);
    git(&top, &["pack-refs"]);
    let head = git(&top, &["rev-parse", "HEAD"]);
    let git_dir = top.join(".git");
    fs::write(git_dir.join("refs/heads/master"), format!("{head}\n")).expect("written");
    fs::write(git_dir.join("objects/info/alternates"), "").expect("written");
    for entry in fs::read_dir(git_dir.join("objects/pack")).expect("readable") {
        let path = entry.expect("an entry").path();
        // By these names, whichever commit it is.
        let ending = path.extension().expect("one").to_owned();
        if ending == "rev" {
            fs::remove_file(&path).expect("removed");
        } else {
            let name = path
                .with_file_name("pack-0123456789012345678901234567890123456789")
                .with_extension(ending);
            fs::rename(&path, name).expect("renamed");
        }
    }
    fs::write(top.join("sub/b"), "changed\n").expect("written");
    fs::write(top.join("new"), "new\n").expect("written");
    place
}

/// What `exec --dirty` reads of it.
fn read(top: &Path, place: &Path) {
    if let Err(error) = Checkout::discover(top) {
        let said = error.to_string();
        assert!(!said.contains(['\n', '\u{1b}']), "{said:?}");
        return;
    }
    drop(Uncommitted::of(top));
    if let Ok(Some(changes)) = Changes::of(top, place) {
        let below = |path: &Path| path.starts_with(place);
        assert!(
            below(changes.directory()),
            "{}",
            changes.directory().display()
        );
    }
}

#[test]
fn a_damaged_repository_is_read_or_said_to_be_wrong() {
    let place = checkout();
    let top = place.path().join("site");
    let copies = place.path().join("copies");
    fs::create_dir(&copies).expect("made");
    tried(300, &(select(FILES), strokes()), |(file, strokes)| {
        let path = top.join(".git").join(file);
        let sound = fs::read(&path).expect(file);
        let bytes = damaged(&sound, &strokes, TOKENS);
        // git makes files of packs that only their owner may read.
        fs::remove_file(&path).expect("removed");
        fs::write(&path, &bytes).expect("written");
        let ((), taken) = taken(|| read(&top, &copies));
        fs::write(&path, &sound).expect("written");
        prop_assert!(taken < 256 << 20, "{file}: {taken} bytes of memory");
        prop_assert!(top.join("a").exists(), "{file}");
        Ok(())
    });
}

/// A size that no object of these has, in bytes.
const FORGED: u64 = 3_000_000_000;

/// Makes the commit of [`checkout`] a loose object that says it has so many bytes.
fn forge_loose(git_dir: &Path) {
    let directory = git_dir.join("objects/11");
    fs::create_dir(&directory).expect("made");
    let file = File::create(directory.join("1".repeat(38))).expect("made");
    let mut object = ZlibEncoder::new(file, Compression::fast());
    write!(object, "commit {FORGED}\0").expect("written");
    // What fits into a reader's first buffer is compared with the size before memory is taken.
    object.write_all(&[b'x'; 10_000]).expect("written");
    object.finish().expect("written");
    let head = git_dir.join("refs/heads/master");
    fs::write(head, format!("{}\n", "1".repeat(40))).expect("written");
}

/// Makes the pack of [`checkout`] say so of its first object, the commit.
fn forge_packed(git_dir: &Path) {
    const COMMIT: u8 = 1;
    let path = git_dir.join(FILES[6]);
    let sound = fs::read(&path).expect("readable");
    // A header of 12 bytes; then an object's type and size, seven bits a byte but for the four beside the type.
    assert_eq!((sound[12] >> 4) & 7, COMMIT);
    let length = 1 + sound[12..]
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .expect("an end");
    let mut forged = sound[..12].to_vec();
    forged.push(0x80 | (COMMIT << 4) | (FORGED & 0xf) as u8);
    let mut rest = FORGED >> 4;
    while rest > 0x7f {
        forged.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    forged.push((rest & 0x7f) as u8);
    forged.extend(&sound[12 + length..]);
    fs::remove_file(&path).expect("removed");
    fs::write(&path, forged).expect("written");
}

#[test]
fn an_object_that_says_it_is_larger_than_memory_is_not_believed() {
    for forge in [forge_loose, forge_packed] {
        let place = checkout();
        let top = place.path().join("site");
        forge(&top.join(".git"));
        let ((), taken) = taken(|| read(&top, place.path()));
        assert!(taken < 64 << 20, "{taken} bytes of memory");
    }
}
