//! A checkout whose files of git's are damaged: `exec` reads them in its own process, on the host.

use std::fs;
use std::path::Path;

use alloy_runner::job::changes::Changes;
use alloy_runner::job::checkout::Checkout;
use alloy_runner::job::uncommitted::Uncommitted;
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
    git(&top, &["commit", "-qm", "a commit"]);
    git(&top, &["tag", "-m", "a tag", "v1"]);
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
