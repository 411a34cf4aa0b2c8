use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;
use tempfile::TempDir;

use super::Tree;

/// A directory with a tree in it, and links in that which lead to places inside and outside.
fn place() -> TempDir {
    let place = TempDir::with_prefix("alloy-test-").expect("a directory");
    let at = |path: &str| place.path().join(path);
    fs::create_dir_all(at("tree/a/b")).expect("made");
    fs::create_dir(at("outside")).expect("made");
    for path in ["tree/file", "tree/a/b/file", "outside/file"] {
        fs::write(at(path), path).expect("written");
    }
    for (target, link) in [
        ("a", "tree/inside"),
        ("../outside", "tree/out"),
        ("/proc/self", "tree/a/process"),
        ("../file", "tree/a/file"),
        ("self", "tree/self"),
    ] {
        symlink(target, at(link)).expect("linked");
    }
    mknodat(CWD, at("tree/a/pipe"), FileType::Fifo, Mode::RWXU, 0).expect("made");
    drop(UnixListener::bind(at("tree/a/socket")).expect("bound"));
    place
}

/// Checks something with and without `openat2`.
fn both(place: &TempDir, check: impl Fn(&Tree)) {
    let open = || Tree::open(&place.path().join("tree")).expect("open");
    check(&open());
    check(&open().by_parts());
}

#[test]
fn no_part_of_a_way_is_a_link() {
    both(&place(), |tree| {
        let mut way = tree.way();
        for path in ["file", "a/b/file", "a/./b/file"] {
            let mut file = way.file(Path::new(path)).expect(path).expect(path);
            let mut text = String::new();
            file.read_to_string(&mut text).expect("text");
            assert!(text.ends_with("file"), "{text}");
        }
        for path in [
            "inside/b/file",
            "out/file",
            "a/process/environ",
            "a/process/root/etc/passwd",
            "a/file",
            "self",
            "self/x",
            "file/x",
            "a/pipe",
            "a/socket",
            "a/b",
        ] {
            let opened = way.file(Path::new(path)).expect(path);
            assert!(opened.is_none(), "{path}");
        }
        for path in ["inside/b", "out/file", "a/process/environ", "self/x"] {
            way.stat(Path::new(path)).expect_err(path);
            way.link(Path::new(path)).expect_err(path);
        }
        for path in ["inside", "out", "a/process", "self", "file", "a/pipe"] {
            let error = way.names(Path::new(path)).expect_err(path);
            assert!(
                matches!(error, Errno::NOTDIR | Errno::LOOP),
                "{path}: {error}"
            );
            let error = tree.make_below(Path::new(path)).err().expect(path);
            assert!(
                error
                    .to_string()
                    .contains("no directory, and links are not followed"),
                "{path}: {error}"
            );
            assert!(tree.below(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(way.link(Path::new("out")).expect("a link"), "../outside");
        assert_eq!(
            way.file(Path::new("a/none")).expect_err("none"),
            Errno::NOENT
        );
    });
}

#[test]
fn no_way_leads_up_or_begins_anew() {
    let place = place();
    let outside = place.path().join("outside");
    both(&place, |tree| {
        let mut way = tree.way();
        for path in [
            Path::new("../outside"),
            Path::new("a/../../outside"),
            Path::new("a/../a"),
            &outside,
        ] {
            way.names(path).expect_err("it leads out");
            way.file(&path.join("file")).expect_err("it leads out");
            assert!(tree.make_below(path).is_err(), "{}", path.display());
            assert!(
                tree.make_below(&path.join("new")).is_err(),
                "{}",
                path.display()
            );
        }
    });
    assert_eq!(fs::read_dir(&outside).expect("readable").count(), 1);
}

#[test]
fn a_directory_that_a_link_replaced_is_the_directory_still() {
    let place = place();
    both(&place, |tree| {
        let at = |path: &str| tree.path().join(path);
        let mut way = tree.way();
        way.stat(Path::new("a/b/file")).expect("there");
        fs::rename(at("a/b"), at("a/moved")).expect("moved");
        symlink("../../outside", at("a/b")).expect("linked");
        // It is open, and no link.
        let size = way.stat(Path::new("a/b/file")).expect("there").st_size;
        assert_eq!(size, 13);
        // From now on it is a link.
        way.stat(Path::new("file")).expect("there");
        way.stat(Path::new("a/b/file")).expect_err("behind a link");
        fs::remove_file(at("a/b")).expect("removed");
        fs::rename(at("a/moved"), at("a/b")).expect("moved");
    });
}

#[test]
fn what_is_missing_is_made_and_counted() {
    both(&place(), |tree| {
        let mut counted = 0;
        let mut way = tree.way();
        let mut make = |path: &str, most: usize| {
            way.make(Path::new(path), || {
                counted += 1;
                anyhow::ensure!(counted <= most, "too many");
                Ok(())
            })
        };
        make("a/b", 0).expect("there");
        make("new/x/y", 3).expect("made");
        make("new/x/y", 3).expect("there");
        assert_eq!(
            make("new/x/z", 3).expect_err("refused").to_string(),
            "too many"
        );
        assert_eq!(counted, 4);
        let mut names = way.names(Path::new("new/x")).expect("there");
        names.sort();
        assert_eq!(names, ["y"]);
        fs::remove_dir_all(tree.path().join("new")).expect("removed");
    });
}
