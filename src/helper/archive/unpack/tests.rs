use super::{Target, Tree};
use crate::helper::archive::Stat;
use crate::helper::archive::limit::Limit;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

const STAT: Stat = Stat {
    mode: 0o640,
    mtime: 1_000_000_000,
    uid: 0,
    gid: 0,
};

fn open(root: &Path) -> Tree {
    Tree::open(root).expect("open")
}

#[test]
fn things_are_put_in_place_of_what_is_there() {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("old"), "old").expect("written");
    fs::hard_link(root.path().join("old"), root.path().join("other")).expect("linked");
    let target = Target::new(open(root.path()), Limit::new(None, 0));
    let mut unpacker = target.unpacker();
    unpacker
        .file(Path::new("old"), &STAT, &mut &b"new"[..])
        .expect("written");
    unpacker
        .file(Path::new("a/b/c"), &STAT, &mut &b"x"[..])
        .expect("written");
    unpacker
        .directory(
            Path::new("a/b"),
            &Stat {
                mode: 0o750,
                ..STAT
            },
        )
        .expect("made");
    unpacker
        .link(Path::new("a/l"), "b/c".into(), &STAT)
        .expect("noted");
    assert_eq!(target.finish().expect("finished"), 3);
    assert_eq!(
        fs::read_to_string(root.path().join("other")).expect("there"),
        "old"
    );
    assert_eq!(
        fs::read_to_string(root.path().join("a/l")).expect("there"),
        "x"
    );
    let stat = |path: &str| fs::symlink_metadata(root.path().join(path)).expect("there");
    assert_eq!(
        (stat("old").mode() & 0o777, stat("old").mtime()),
        (0o640, STAT.mtime)
    );
    assert_eq!(
        (stat("a/b").mode() & 0o777, stat("a/b").mtime()),
        (0o750, STAT.mtime)
    );
    assert_eq!(stat("a/l").mtime(), STAT.mtime);
}

#[test]
fn nothing_is_written_behind_a_link() {
    let root = tempfile::tempdir().expect("a directory");
    let (project, outside) = (root.path().join("project"), root.path().join("outside"));
    fs::create_dir_all(&project).expect("made");
    fs::create_dir_all(&outside).expect("made");
    fs::write(outside.join("file"), "mine").expect("written");
    symlink(&outside, project.join("way")).expect("linked");
    symlink(outside.join("file"), project.join("end")).expect("linked");
    let target = Target::new(open(&project), Limit::new(None, 0));
    let mut unpacker = target.unpacker();
    let error = unpacker
        .file(Path::new("way/x"), &STAT, &mut &b"x"[..])
        .expect_err("behind a link");
    assert!(
        format!("{error:#}").contains("`way` is there and no directory"),
        "{error:#}"
    );
    assert!(unpacker.directory(Path::new("way"), &STAT).is_err());
    // The last part of a path is replaced.
    unpacker
        .file(Path::new("end"), &STAT, &mut &b"x"[..])
        .expect("written");
    assert!(
        unpacker
            .link(Path::new("l"), "../outside".into(), &STAT)
            .is_err()
    );
    target.finish().expect("finished");
    assert_eq!(
        fs::read_to_string(outside.join("file")).expect("there"),
        "mine"
    );
    assert_eq!(fs::read_dir(&outside).expect("readable").count(), 1);
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let root = tempfile::tempdir().expect("a directory");
    let target = Target::new(open(root.path()), Limit::new(Some(1), 0));
    let error = target
        .unpacker()
        .file(Path::new("zeros"), &STAT, &mut std::io::repeat(0));
    let error = format!("{:#}", error.expect_err("endless"));
    assert!(
        error.contains("more than 1 MB") && error.contains("RUNNER_UNPACK_LIMIT"),
        "{error}"
    );
    assert!(
        fs::metadata(root.path().join("zeros"))
            .expect("there")
            .len()
            <= 1_000_000
    );
}
