use super::{Kind, Tree, select};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for path in [
        "a.o",
        "src/a.c",
        "src/b.c",
        "src/deep/c.c",
        "dist/x/y",
        "odd[1].txt",
        ".git/HEAD",
        "z/.git/HEAD",
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, "x").expect("written");
    }
    fs::create_dir(root.path().join("dist/empty")).expect("created");
    symlink("x", root.path().join("dist/link")).expect("linked");
    symlink("/etc", root.path().join("dist/out")).expect("linked");
    symlink("src", root.path().join("alias")).expect("linked");
    symlink("/etc", root.path().join("etc")).expect("linked");
    root
}

fn open(root: &Path) -> Tree {
    Tree::open(root).expect("open")
}

fn names(root: &Path, patterns: &[&str]) -> (Vec<String>, Vec<String>) {
    let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
    let selected = select(&open(root), &patterns, false, &[]).expect("readable");
    let files = selected
        .entries
        .iter()
        .filter(|entry| entry.kind != Kind::Directory);
    let files = files.map(|entry| entry.path.display().to_string());
    (files.collect(), selected.warnings)
}

#[test]
fn patterns_select_files_and_whole_directories() {
    let root = tree();
    let absolute = root.path().join("src/*.c").display().to_string();
    for (pattern, want) in [
        ("*.o", &["a.o"][..]),
        ("src/*.c", &["src/a.c", "src/b.c"]),
        (absolute.as_str(), &["src/a.c", "src/b.c"]),
        ("**/*.c", &["src/a.c", "src/b.c", "src/deep/c.c"]),
        ("src/**", &["src/a.c", "src/b.c", "src/deep/c.c"]),
        ("./src/", &["src/a.c", "src/b.c", "src/deep/c.c"]),
        ("sr?", &["src/a.c", "src/b.c", "src/deep/c.c"]),
        ("src/{a,deep/c}.c", &["src/a.c", "src/deep/c.c"]),
        ("src/../a.o", &["a.o"]),
        ("[a-b].o", &["a.o"]),
        ("odd\\[1\\].txt", &["odd[1].txt"]),
        ("dist/x", &["dist/x/y"]),
        ("alias", &["alias"]),
        (".git", &[".git/HEAD"]),
    ] {
        assert_eq!(
            names(root.path(), &[pattern]),
            (want.iter().map(ToString::to_string).collect(), vec![]),
            "{pattern}"
        );
    }
    let all = names(root.path(), &["."]).0;
    assert!(
        all.contains(&"z/.git/HEAD".to_owned()) && !all.contains(&".git/HEAD".to_owned()),
        "{all:?}"
    );
}

#[test]
fn directories_come_before_what_is_in_them_and_empty_ones_too() {
    let root = tree();
    let selected = select(
        &open(root.path()),
        &["dist".to_owned(), "src/deep/c.c".to_owned()],
        false,
        &[],
    )
    .expect("readable");
    let paths: Vec<String> = selected
        .entries
        .iter()
        .map(|entry| entry.path.display().to_string())
        .collect();
    assert_eq!(
        paths,
        [
            "dist",
            "dist/empty",
            "dist/link",
            "dist/x",
            "dist/x/y",
            "src",
            "src/deep",
            "src/deep/c.c"
        ]
    );
    assert_eq!((selected.files(), selected.bytes()), (3, 2));
}

#[test]
fn what_is_outside_or_behind_a_link_is_not_reached() {
    let root = tree();
    for (pattern, warning) in [
        ("../*", "`../*` is refused: it lies outside the project"),
        (
            "/etc/passwd",
            "`/etc/passwd` is refused: it lies outside the project",
        ),
        (
            "src/../../x",
            "`src/../../x` is refused: it lies outside the project",
        ),
        ("etc/passwd", "etc is left out: a link is not followed"),
        ("etc/*", "etc is left out: a link is not followed"),
        ("alias/a.c", "alias is left out: a link is not followed"),
        (
            "etc",
            "etc is left out: a link that leads out of the project, to /etc",
        ),
        ("no/*", "nothing matches `no/*`"),
        ("no", "nothing matches `no`"),
    ] {
        assert_eq!(
            names(root.path(), &[pattern]),
            (vec![], vec![warning.to_owned()]),
            "{pattern}"
        );
    }
    let (files, warnings) = names(root.path(), &["**"]);
    assert!(
        !files
            .iter()
            .any(|file| file.starts_with("etc") || file.starts_with("alias/")),
        "{files:?}"
    );
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
#[ignore = "needs git"]
fn untracked_is_what_git_does_not_have() {
    let root = tree();
    fs::remove_dir_all(root.path().join(".git")).expect("removed");
    fs::remove_dir_all(root.path().join("z")).expect("removed");
    let git = |arguments: &[&str]| {
        let status = Command::new("git")
            .args(arguments)
            .current_dir(root.path())
            .status();
        assert!(status.expect("git").success());
    };
    fs::write(root.path().join(".gitignore"), "*.o\n").expect("written");
    git(&["init", "-q"]);
    git(&["add", "src", ".gitignore", "odd[1].txt"]);
    fs::write(root.path().join("src/new"), "x").expect("written");
    let selected = select(&open(root.path()), &[], true, &[]).expect("readable");
    let files = selected
        .entries
        .iter()
        .filter(|entry| entry.kind != Kind::Directory);
    let files: Vec<String> = files
        .map(|entry| entry.path.display().to_string())
        .collect();
    assert_eq!(files, ["a.o", "alias", "dist/link", "dist/x/y", "src/new"]);
}

#[test]
fn files_that_are_holes_are_left_out_and_others_with_holes_are_not() {
    let root = tempfile::tempdir().expect("a directory");
    let make = |name: &str, length: u64| {
        let file = fs::File::create(root.path().join(name)).expect("made");
        file.set_len(length).expect("set");
    };
    for name in ["a", "b", "c", "d"] {
        make(name, 8 << 40);
    }
    make("e", 1 << 20);
    fs::write(root.path().join("f"), vec![1; 1 << 20]).expect("written");
    let (files, warnings) = names(root.path(), &["*"]);
    assert_eq!(files, ["e", "f"]);
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(
        warnings[0].starts_with("a is left out: it is sparse"),
        "{warnings:?}"
    );
    // Many of them are what one is.
    for number in 0..2000 {
        make(&format!("g{number:04}"), 1 << 20);
    }
    let selected = select(&open(root.path()), &["*".to_owned()], false, &[]).expect("readable");
    assert!(selected.bytes() < 2 << 30, "{}", selected.bytes());
}

#[test]
#[ignore = "needs git"]
fn an_index_in_two_files_is_read_and_one_that_is_no_file_is_not_waited_for() {
    let root = tree();
    let git = |words: &[&str]| {
        let ran = Command::new("git")
            .arg("-C")
            .arg(root.path())
            .args(["-c", "user.name=x", "-c", "user.email=x@x"])
            .args(words)
            .output()
            .expect("git");
        assert!(ran.status.success(), "{ran:?}");
    };
    fs::remove_dir_all(root.path().join(".git")).expect("removed");
    git(&["init", "--quiet"]);
    git(&["add", "src"]);
    git(&["update-index", "--split-index"]);
    git(&["add", "a.o"]);
    let untracked = || {
        let selected = select(&open(root.path()), &[], true, &[]).expect("readable");
        let paths = selected.entries.into_iter().map(|entry| entry.path);
        paths.collect::<Vec<_>>()
    };
    let paths = untracked();
    let has = |name: &str| paths.contains(&Path::new(name).to_owned());
    assert!(has("odd[1].txt") && !has("src") && !has("a.o"), "{paths:?}");
    let index = root.path().join(".git/index");
    fs::remove_file(&index).expect("removed");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &index,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .expect("made");
    assert!(untracked().contains(&Path::new("a.o").to_owned()));
}

#[test]
fn what_is_excluded_is_excluded_by_its_own_path() {
    let root = tree();
    for (excluded, want, count) in [
        (&["src/*.c"][..], &["a.o", "src/deep/c.c"][..], 2),
        (&["src"], &["a.o", "src/a.c", "src/b.c", "src/deep/c.c"], 1),
        (&["src/**"], &["a.o"], 4),
        (&["**/*.c", "a.o"], &[], 4),
        (
            &["./src/deep/../a.c"],
            &["a.o", "src/b.c", "src/deep/c.c"],
            1,
        ),
        (
            &["dist/**"],
            &["a.o", "src/a.c", "src/b.c", "src/deep/c.c"],
            0,
        ),
    ] {
        let text = |list: &[&str]| {
            list.iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let patterns = text(&["a.o", "src/"]);
        let selected = select(&open(root.path()), &patterns, false, &text(excluded));
        let selected = selected.expect("readable");
        let files = selected.entries.iter();
        let files = files.filter(|entry| entry.kind != Kind::Directory);
        let files: Vec<_> = files
            .map(|entry| entry.path.display().to_string())
            .collect();
        assert_eq!(
            (files, selected.excluded),
            (text(want), count),
            "{excluded:?}"
        );
    }
    let outside = ["../x".to_owned()];
    let selected = select(&open(root.path()), &["a.o".to_owned()], false, &outside);
    assert_eq!(
        selected.expect("readable").warnings,
        ["`../x` is refused: it lies outside the project"]
    );
}
