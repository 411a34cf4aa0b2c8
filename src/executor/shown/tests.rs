//! Artifacts and logs are written into a checkout, and nowhere else, whatever checkout and archive hold.

use super::Shown;
use crate::plan::Kept;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A temporary directory with a checkout, `site`, and beside it `outside/file`, which must stay as it is.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        for directory in ["site", "outside"] {
            fs::create_dir(place.at(directory)).expect("made");
        }
        fs::write(place.at("outside/file"), "mine").expect("written");
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn open(&self) -> anyhow::Result<Shown> {
        Shown::open(&Kept {
            checkout: self.at("site"),
            store: PathBuf::new(),
            label: PathBuf::new(),
            job: "build".to_owned(),
            shown: "build".to_owned(),
            from: Vec::new(),
        })
    }

    /// Unpacks the artifacts of the job `build`. Returns the warnings.
    fn unpack(&self, archive: &Path) -> anyhow::Result<Vec<String>> {
        self.open()?.unpack(archive, "build", None)
    }

    /// An archive with what `write` puts into it: also what the runner's own archives never have.
    fn archive(&self, write: impl FnOnce(&mut ZipWriter<File>)) -> PathBuf {
        let path = self.at("a.zip");
        let mut zip = ZipWriter::new(File::create(&path).expect("made"));
        write(&mut zip);
        zip.finish().expect("written");
        path
    }

    /// An archive of one file.
    fn archive_of(&self, name: &str) -> PathBuf {
        self.archive(|zip| file(zip, name, 0o644))
    }

    /// The sorted names in `.alloy-ci/artifacts`, temporary ones too.
    fn shown(&self) -> Vec<String> {
        let mut names = listed(&self.at("site/.alloy-ci/artifacts"));
        names.sort();
        names
    }

    /// Checks that nothing was written beside the checkout.
    fn assert_untouched(&self) {
        assert_eq!(listed(&self.at("outside")), ["file"]);
        let text = fs::read_to_string(self.at("outside/file"));
        assert_eq!(text.expect("there"), "mine");
    }
}

/// Adds a file whose text is its name.
fn file(zip: &mut ZipWriter<File>, name: &str, mode: u32) {
    let options = SimpleFileOptions::default().unix_permissions(mode);
    zip.start_file(name, options).expect("written");
    zip.write_all(name.as_bytes()).expect("written");
}

fn link(zip: &mut ZipWriter<File>, name: &str, target: &str) {
    let options = SimpleFileOptions::default();
    zip.add_symlink(name, target, options).expect("written");
}

/// The names in a directory, in any order.
fn listed(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("readable");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("one").file_name();
    let names = entries.map(name);
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_run_replaces_what_the_one_before_left() {
    let place = Place::new();
    place.unpack(&place.archive_of("old")).expect("unpacked");
    place.unpack(&place.archive_of("d/new")).expect("unpacked");
    let shown = place.open().expect("open");
    for text in ["old\n", "new\n"] {
        let written = shown.write_log(&mut text.as_bytes(), "build.log");
        written.expect("written");
    }
    assert_eq!(place.shown(), ["build", "build.log"]);
    let at = |path: &str| place.at("site/.alloy-ci").join(path);
    assert_eq!(listed(&at("artifacts/build")), ["d"]);
    for (path, text) in [
        ("artifacts/build/d/new", "d/new"),
        ("artifacts/build.log", "new\n"),
        (".gitignore", "*\n"),
    ] {
        assert_eq!(fs::read_to_string(at(path)).expect("there"), text);
    }
}

#[test]
fn no_link_of_the_checkout_is_followed() {
    for way in [".alloy-ci", ".alloy-ci/artifacts"] {
        let place = Place::new();
        let link = place.at("site").join(way);
        fs::create_dir_all(link.parent().expect("a parent")).expect("made");
        symlink(place.at("outside"), &link).expect("linked");
        let error = place.unpack(&place.archive_of("file")).expect_err("a link");
        let message = format!("{way} is no directory");
        assert!(error.to_string().ends_with(&message), "{error:#}");
        place.assert_untouched();
    }
}

#[test]
fn links_where_files_are_to_be_are_replaced_and_not_followed() {
    let place = Place::new();
    let artifacts = place.at("site/.alloy-ci/artifacts");
    // Two that look like temporary files of a dead process: one with a link below it, and a link itself.
    fs::create_dir_all(artifacts.join("dead/in")).expect("made");
    symlink(place.at("outside"), artifacts.join("dead/in/link")).expect("linked");
    fs::rename(artifacts.join("dead"), artifacts.join(".partial-dead")).expect("moved");
    symlink(place.at("outside"), artifacts.join(".partial-link")).expect("linked");
    // And links in the place of what is written.
    symlink(place.at("outside"), artifacts.join("build")).expect("linked");
    symlink(place.at("outside/file"), artifacts.join("build.log")).expect("linked");
    symlink(
        place.at("outside/new"),
        place.at("site/.alloy-ci/.gitignore"),
    )
    .expect("linked");
    place.unpack(&place.archive_of("file")).expect("unpacked");
    let shown = place.open().expect("open");
    shown
        .write_log(&mut &b"log"[..], "build.log")
        .expect("written");
    place.assert_untouched();
    assert_eq!(place.shown(), ["build", "build.log"]);
    for path in ["build", "build.log"] {
        let data = fs::symlink_metadata(artifacts.join(path)).expect("there");
        assert!(!data.is_symlink(), "{path}");
    }
}

/// An archive that can be unpacked, with modes that are not taken over and a link that is left out.
fn odd_but_good(zip: &mut ZipWriter<File>) {
    link(zip, "way", "/etc");
    link(zip, "in", "d/file");
    // The owner may not read it; setuid.
    file(zip, "d/file", 0o4000);
    // All may write it; setuid and setgid.
    file(zip, "d/open", 0o6777);
    // The owner may not enter it; sticky.
    zip.add_directory("d", SimpleFileOptions::default().unix_permissions(0o1000))
        .expect("written");
}

#[test]
fn links_that_lead_out_are_left_out_and_modes_are_as_if_the_user_had_copied_the_files() {
    let place = Place::new();
    assert_eq!(
        place
            .unpack(&place.archive(odd_but_good))
            .expect("unpacked"),
        ["way is left out: a link that leads out of the project, to /etc"]
    );
    let build = place.at("site/.alloy-ci/artifacts/build");
    let mode = |path: &str| {
        fs::symlink_metadata(build.join(path))
            .expect("there")
            .mode()
            & 0o7777
    };
    assert_eq!(mode("d/file"), 0o600, "its owner can read and remove it");
    assert_eq!(
        mode("d"),
        fs::metadata(&build).expect("there").mode() & 0o7777
    );
    assert_eq!(
        mode("d/open") & 0o7002,
        0,
        "no setuid, setgid or sticky bit, and others cannot write"
    );
    assert_eq!(fs::read(build.join("in")).expect("a link"), b"d/file");
}

#[test]
fn nothing_is_written_outside_by_names_with_dots_or_through_links() {
    let place = Place::new();
    let build = place.at("site/.alloy-ci/artifacts/build");
    place
        .unpack(&place.archive(odd_but_good))
        .expect("unpacked");
    let hostile: [fn(&mut ZipWriter<File>); 4] = [
        |zip| file(zip, "../../../evil", 0o644),
        |zip| file(zip, "/tmp/evil", 0o644),
        |zip| {
            link(zip, "way", "../../..");
            file(zip, "way/evil", 0o644);
        },
        // The link stays inside; a name with dots behind it would lead out by way of it.
        |zip| {
            link(zip, "x", "d");
            file(zip, "d/y", 0o644);
            file(zip, "x/../../evil", 0o644);
        },
    ];
    for write in hostile {
        let unpacked = place.unpack(&place.archive(write));
        assert!(!place.at("evil").exists() && !place.at("site/evil").exists());
        if unpacked.is_err() {
            assert!(build.join("in").exists(), "the last run's files are kept");
        } else {
            // The third one: as the link is left out, `way` is an ordinary directory with the file in it.
            assert!(
                fs::symlink_metadata(build.join("way"))
                    .expect("there")
                    .is_dir()
            );
        }
        assert_eq!(place.shown(), ["build"]);
        place.assert_untouched();
        // For the next one, the files of a last run again.
        place
            .unpack(&place.archive(odd_but_good))
            .expect("unpacked");
    }
}

#[test]
fn an_archive_that_unpacks_to_more_than_the_limit_leaves_nothing() {
    let place = Place::new();
    let archive = place.archive(|zip| {
        zip.start_file("zeros", SimpleFileOptions::default())
            .expect("written");
        zip.write_all(&vec![0; 2_000_000]).expect("written");
    });
    let unpacked = place
        .open()
        .expect("open")
        .unpack(&archive, "build", Some(1));
    let error = unpacked.expect_err("2 MB of zeros");
    assert!(error.to_string().contains("more than 1 MB"), "{error:#}");
    assert!(place.shown().is_empty());
}

#[test]
fn temporary_files_of_dead_processes_go_and_those_of_living_ones_stay() {
    let place = Place::new();
    let shown = place.open().expect("open");
    let artifacts = place.at("site/.alloy-ci/artifacts");
    // Deeper than the number of files that a process may have open, which is 1024 by default.
    let mut deep = artifacts.join(".partial-dead");
    fs::create_dir(&deep).expect("made");
    for _ in 0..1100 {
        deep.push("d");
        fs::create_dir(&deep).expect("made");
    }
    fs::write(deep.join("file"), "x").expect("written");
    let make = |name: &str| super::openat(&shown.directory, name, super::NEW, super::FILE);
    let living = shown.partial(make).expect("made");
    assert_eq!(place.shown(), [living.name.as_str()]);
    place.unpack(&place.archive_of("file")).expect("unpacked");
    assert_eq!(place.shown(), [living.name.as_str(), "build"]);
    // It is complete, and takes the place of a name that was free.
    living.put("build.log").expect("put");
    assert_eq!(place.shown(), ["build", "build.log"]);
}
