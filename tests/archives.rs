//! Archives: what other programs make of ours, what we make of theirs, and what is refused.

mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Cursor, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use alloy_runner::helper::archive::level::Level;
use alloy_runner::helper::archive::limit::Limit;
use alloy_runner::helper::archive::select::select;
use alloy_runner::helper::archive::tree::Tree;
use alloy_runner::helper::archive::unpack::Target;
use alloy_runner::helper::archive::{frames, unframe, unzip, zipped};
use support::run;
use tempfile::TempDir;

/// A tree with all that is kept.
fn tree() -> TempDir {
    let root = TempDir::with_prefix("alloy-test-").expect("a directory");
    let at = |path: &str| root.path().join(path);
    let long = "d".repeat(60);
    for directory in ["a/b", "empty", &format!("{long}/{long}")] {
        fs::create_dir_all(at(directory)).expect("made");
    }
    fs::write(at("a/file"), "contents\n").expect("written");
    fs::write(at("a/empty"), "").expect("written");
    fs::write(at("a/b/script"), "#!/bin/sh\n").expect("written");
    fs::write(at(&format!("{long}/{long}/file")), "far\n").expect("written");
    fs::write(at("größe"), "x").expect("written");
    // Larger than what is compressed at once, and its end is not zeros.
    let mut large: Vec<u8> = (0..9_000_000_u32)
        .flat_map(|n| (n / 7).to_le_bytes())
        .take(5_500_123)
        .collect();
    large.extend(b"end");
    fs::write(at("large"), large).expect("written");
    let latin = std::ffi::OsString::from_vec(b"caf\xe9".to_vec());
    fs::write(root.path().join(latin), "latin").expect("written");
    symlink("a/file", at("link")).expect("linked");
    symlink("../empty", at("a/b/up")).expect("linked");
    symlink(format!("{long}/{long}/../{long}/file"), at("refused")).expect("linked");
    fs::set_permissions(at("a/b/script"), fs::Permissions::from_mode(0o751)).expect("set");
    fs::set_permissions(at("a/file"), fs::Permissions::from_mode(0o600)).expect("set");
    fs::set_permissions(at("empty"), fs::Permissions::from_mode(0o700)).expect("set");
    for path in ["a/file", "empty", "large"] {
        run(Command::new("touch")
            .args(["-d", "2011-12-13 14:15:16 UTC"])
            .arg(at(path)))
        .exits(0);
    }
    root
}

/// Everything about a tree that is kept, a line for each thing.
fn described(root: &Path) -> Vec<String> {
    let mut open = vec![root.to_owned()];
    let mut lines = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("readable") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("there");
            let what = if metadata.is_dir() {
                open.push(path.clone());
                "directory".to_owned()
            } else if metadata.is_symlink() {
                fs::read_link(&path).expect("a link").display().to_string()
            } else {
                let bytes = fs::read(&path).expect("readable");
                format!("{} bytes, {:08x}", bytes.len(), crc32(&bytes))
            };
            let name = path
                .strip_prefix(root)
                .expect("below")
                .as_os_str()
                .as_bytes()
                .escape_ascii();
            let mode = if metadata.is_symlink() {
                0
            } else {
                metadata.mode() & 0o777
            };
            lines.push(format!("{name} {mode:o} {} {what}", metadata.mtime()));
        }
    }
    lines.sort();
    lines
}

/// A directory to archive or to unpack to.
fn open(path: &Path) -> Tree {
    fs::create_dir_all(path).expect("made");
    Tree::open(path).expect("open")
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes);
    hasher.finalize()
}

type Writer = fn(
    Level,
    &Tree,
    &[alloy_runner::helper::archive::Entry],
    &mut BufWriter<File>,
) -> anyhow::Result<Vec<String>>;

fn archive(root: &Path, to: &Path, write: Writer) {
    let selected = select(&open(root), &[".".to_owned()], false, &[]).expect("readable");
    let mut out = BufWriter::new(File::create(to).expect("created"));
    let warnings =
        write(Level::Default, &open(root), &selected.entries, &mut out).expect("written");
    out.flush().expect("written");
    assert_eq!(warnings, [""; 0]);
}

fn unzipped(archive: &Path, to: &Path, limit: Option<u64>) -> Result<usize, String> {
    let file = File::open(archive).expect("there");
    let length = file.metadata().expect("there").len();
    let done = unzip::read(file, Target::new(open(to), Limit::new(limit, length)));
    done.map(|unpacked| unpacked.files)
        .map_err(|error| format!("{error:#}"))
}

fn unframed(archive: &Path, to: &Path) -> Result<usize, String> {
    let target = Target::new(open(to), Limit::new(None, 0));
    let done = unframe::read(File::open(archive).expect("there"), &target);
    done.and_then(|()| target.finish())
        .map_err(|error| format!("{error:#}"))
}

/// Runs a program in a directory, and it has to succeed.
fn tool(directory: &Path, words: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    let ran = command
        .args(&words[1..])
        .current_dir(directory)
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{words:?}: {said}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// The tree as it has to come out: without the link that is refused.
fn expected(root: &Path) -> Vec<String> {
    let mut lines = described(root);
    lines.retain(|line| !line.starts_with("refused "));
    lines
}

#[test]
fn what_is_archived_comes_out_the_same() {
    let (tree, out) = (
        tree(),
        TempDir::with_prefix("alloy-test-").expect("a directory"),
    );
    let zip = out.path().join("a.zip");
    archive(tree.path(), &zip, zipped::write);
    let to = out.path().join("zip");
    assert_eq!(unzipped(&zip, &to, None), Ok(9));
    assert_eq!(described(&to), expected(tree.path()));
    let cache = out.path().join("a.tar.zst");
    archive(tree.path(), &cache, frames::write);
    let to = out.path().join("cache");
    assert_eq!(unframed(&cache, &to), Ok(9));
    assert_eq!(described(&to), expected(tree.path()));
    // And over what is there already.
    assert_eq!(unframed(&cache, &to), Ok(9));
    assert_eq!(unzipped(&zip, &to, None), Ok(9));
    assert_eq!(described(&to), expected(tree.path()));
}

#[test]
fn other_programs_read_ours() {
    let (tree, out) = (
        tree(),
        TempDir::with_prefix("alloy-test-").expect("a directory"),
    );
    let zip = out.path().join("a.zip");
    archive(tree.path(), &zip, zipped::write);
    let cache = out.path().join("a.tar.zst");
    archive(tree.path(), &cache, frames::write);
    for (name, words) in [
        ("unzip", &["unzip", "-q", "../a.zip"][..]),
        ("bsdtar", &["bsdtar", "-xpf", "../a.zip"]),
        (
            "python",
            &[
                "python3",
                "-c",
                "import zipfile; z = zipfile.ZipFile('../a.zip'); assert z.testzip() is None; print(len(z.namelist()))",
            ],
        ),
        ("bsdtar-zstd", &["bsdtar", "-xpf", "../a.tar.zst"]),
        ("tar", &["tar", "--zstd", "-xpf", "../a.tar.zst"]),
        ("zstd", &["sh", "-c", "zstd -dcq ../a.tar.zst | tar -xp"]),
    ] {
        let to = out.path().join(name);
        fs::create_dir(&to).expect("made");
        tool(&to, words);
        if name == "python" {
            continue;
        }
        let (mut found, mut want) = (described(&to), expected(tree.path()));
        // unzip shows bytes it does not know in its own way, and links get no time from these.
        let comparable = |lines: &mut Vec<String>| {
            lines.retain(|line| !line.starts_with("caf"));
            for line in lines.iter_mut().filter(|line| line.contains(" 0 ")) {
                let mut words: Vec<&str> = line.split(' ').collect();
                words[2] = "-";
                *line = words.join(" ");
            }
        };
        comparable(&mut found);
        comparable(&mut want);
        assert_eq!(found, want, "{name}");
    }
}

#[test]
fn we_read_what_others_write() {
    let (tree, out) = (
        tree(),
        TempDir::with_prefix("alloy-test-").expect("a directory"),
    );
    fs::remove_file(tree.path().join("refused")).expect("removed");
    let at = |name: &str| out.path().join(name).display().to_string();
    tool(tree.path(), &["zip", "-qry", &at("zip.zip"), "."]);
    tool(
        tree.path(),
        &["bsdtar", "--format", "zip", "-cf", &at("bsdtar.zip"), "."],
    );
    tool(tree.path(), &["zip", "-qry0", &at("stored.zip"), "."]);
    tool(
        tree.path(),
        &["sh", "-c", &format!("zip -qry - . >{}", at("streamed.zip"))],
    );
    for name in ["zip", "bsdtar", "stored", "streamed"] {
        let to = out.path().join(name);
        assert_eq!(
            unzipped(&out.path().join(format!("{name}.zip")), &to, None),
            Ok(9),
            "{name}"
        );
        assert_eq!(described(&to), described(tree.path()), "{name}");
    }
    tool(
        tree.path(),
        &["bsdtar", "--zstd", "-cf", &at("bsdtar.tar.zst"), "."],
    );
    tool(
        tree.path(),
        &["tar", "--zstd", "-cf", &at("tar.tar.zst"), "."],
    );
    tool(
        tree.path(),
        &[
            "tar",
            "--format",
            "posix",
            "--zstd",
            "-cf",
            &at("pax.tar.zst"),
            ".",
        ],
    );
    for name in ["bsdtar", "tar", "pax"] {
        let to = out.path().join(format!("{name}-tar"));
        assert_eq!(
            unframed(&out.path().join(format!("{name}.tar.zst")), &to),
            Ok(9),
            "{name}"
        );
        assert_eq!(described(&to), described(tree.path()), "{name}");
    }
}

#[test]
fn files_of_more_than_4_gib_are_kept() {
    const SIZE: u64 = (4 << 30) + 12_345;
    let (tree, out) = (
        TempDir::with_prefix("alloy-test-").expect("a directory"),
        TempDir::with_prefix("alloy-test-").expect("a directory"),
    );
    let mut large = File::create(tree.path().join("large")).expect("created");
    large.write_all(&written_zeros()).expect("written");
    large.set_len(SIZE - 3).expect("set");
    std::io::Seek::seek(&mut large, std::io::SeekFrom::End(0)).expect("sought");
    large.write_all(b"end").expect("written");
    fs::write(tree.path().join("small"), "x").expect("written");
    let zip = out.path().join("a.zip");
    archive(tree.path(), &zip, zipped::write);
    let listed = tool(out.path(), &["unzip", "-Zl", "a.zip"]);
    assert!(listed.contains(&SIZE.to_string()), "{listed}");
    tool(out.path(), &["unzip", "-tq", "a.zip"]);
    // It is unpacked as well, to where nothing is written but its end is looked at.
    let cache = out.path().join("a.tar.zst");
    archive(tree.path(), &cache, frames::write);
    let listed = tool(out.path(), &["sh", "-c", "zstd -dcq a.tar.zst | tar -tv"]);
    assert!(listed.contains(&SIZE.to_string()), "{listed}");
    let error =
        unzipped(&zip, &out.path().join("refused"), Some(4000)).expect_err("over the limit");
    assert!(error.contains("more than 4000 MB"), "{error}");
    let to = out.path().join("unpacked");
    assert_eq!(unzipped(&zip, &to, Some(5000)), Ok(2));
    let mut end = String::new();
    let mut unpacked = File::open(to.join("large")).expect("there");
    std::io::Seek::seek(&mut unpacked, std::io::SeekFrom::Start(SIZE - 3)).expect("sought");
    unpacked.read_to_string(&mut end).expect("readable");
    assert_eq!(end, "end");
}

/// Enough on the disk that a file of 10 GB is not left out as a hole.
fn written_zeros() -> Vec<u8> {
    vec![0; 48_000_000]
}

/// A directory with an empty one in it to unpack to; what is beside that must stay as it is.
struct Hostile {
    root: TempDir,
}

impl Hostile {
    fn new() -> Self {
        let root = TempDir::with_prefix("alloy-test-").expect("a directory");
        fs::create_dir(root.path().join("project")).expect("made");
        fs::write(root.path().join("outside"), "mine").expect("written");
        Self { root }
    }

    fn project(&self) -> PathBuf {
        self.root.path().join("project")
    }

    /// Makes an archive with a text for python, where `out` is its path.
    fn python(&self, text: &str) -> PathBuf {
        let out = self.root.path().join("archive");
        let text = format!(
            "import zipfile, tarfile, io, struct, os\nout = {:?}\n{text}",
            out.display().to_string()
        );
        tool(self.root.path(), &["python3", "-W", "ignore", "-c", &text]);
        out
    }

    /// Nothing was written outside; inside, if `untouched`, nothing either.
    fn assert_untouched(&self, inside: bool) {
        assert_eq!(
            fs::read_to_string(self.root.path().join("outside")).expect("there"),
            "mine"
        );
        let mut names: Vec<String> = fs::read_dir(self.root.path())
            .expect("readable")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .filter(|name| !name.starts_with("archive"))
            .collect();
        names.sort();
        assert_eq!(names, ["outside", "project"]);
        if inside {
            assert_eq!(fs::read_dir(self.project()).expect("readable").count(), 0);
        }
    }
}

#[test]
fn hostile_zip_files_are_refused_whole() {
    let link = |name: &str, target: &str| {
        format!(
            "i = zipfile.ZipInfo({name:?}); i.create_system = 3; i.external_attr = 0o120777 << 16; z.writestr(i, {target:?})"
        )
    };
    let special = |kind: &str| {
        format!(
            "i = zipfile.ZipInfo('special'); i.create_system = 3; i.external_attr = {kind} << 16; z.writestr(i, '')"
        )
    };
    for (inside, reason) in [
        (
            "z.writestr('../outside', 'x')".to_owned(),
            "`../outside` is refused: `..` in its path",
        ),
        (
            "z.writestr('a/../../outside', 'x')".to_owned(),
            "`a/../../outside` is refused: `..` in its path",
        ),
        (
            "z.writestr('/tmp/alloy-outside', 'x')".to_owned(),
            "`/tmp/alloy-outside` is refused: an absolute path",
        ),
        (
            link("out", "/etc"),
            "`out` is refused: a link that leads out of the project, to /etc",
        ),
        (
            link("out", "../outside"),
            "`out` is refused: a link that leads out of the project, to ../outside",
        ),
        (
            link("a/b/out", "../../../outside"),
            "`a/b/out` is refused: a link that leads out",
        ),
        (
            format!("{}; z.writestr('out/outside', 'x')", link("out", "..")),
            "`out` is refused: a link that leads out",
        ),
        (special("0o020666"), "`special` is refused: a device"),
        (special("0o060666"), "`special` is refused: a device"),
        (special("0o010666"), "`special` is refused: a pipe"),
        (special("0o140666"), "`special` is refused: a socket"),
    ] {
        let hostile = Hostile::new();
        let archive = hostile.python(&format!(
            "z = zipfile.ZipFile(out, 'w'); z.writestr('good', 'x'); {inside}; z.close()"
        ));
        let error = unzipped(&archive, &hostile.project(), None).expect_err(reason);
        assert!(error.contains(reason), "{error}");
        hostile.assert_untouched(true);
    }
}

#[test]
fn what_a_zip_file_says_of_itself_is_not_believed() {
    // Its name is one thing in the directory at the end, and another where the file is.
    let hostile = Hostile::new();
    let archive = hostile.python(
        "z = zipfile.ZipFile(out, 'w'); z.writestr('inside_', 'x'); z.close()\n\
         b = open(out, 'rb').read().replace(b'inside_', b'../insi', 1); open(out, 'wb').write(b)",
    );
    // Whatever becomes of it: it stays inside.
    let _ = unzipped(&archive, &hostile.project(), None);
    hostile.assert_untouched(false);
    // A length that is too small.
    let hostile = Hostile::new();
    let archive = hostile.python(
        "z = zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED); z.writestr('zeros', bytes(100000000)); z.close()\n\
         b = open(out, 'rb').read().replace(struct.pack('<I', 100000000), struct.pack('<I', 1000)); open(out, 'wb').write(b)",
    );
    let error = unzipped(&archive, &hostile.project(), None).expect_err("too long");
    assert!(error.contains("zeros"), "{error}");
    assert!(fs::metadata(hostile.project().join("zeros")).map_or(0, |file| file.len()) < 200_000);
    // A link, and a file behind it: links come last.
    let hostile = Hostile::new();
    let archive = hostile.python(
        "z = zipfile.ZipFile(out, 'w'); i = zipfile.ZipInfo('way'); i.create_system = 3; i.external_attr = 0o120777 << 16\n\
         z.writestr(i, 'real'); z.writestr('real/a', 'x'); z.writestr('way/b', 'x'); z.close()",
    );
    let error = unzipped(&archive, &hostile.project(), None).expect_err("a directory is there");
    assert!(error.contains("cannot make the link way"), "{error}");
    hostile.assert_untouched(false);
}

#[test]
fn hostile_caches_are_refused() {
    for (inside, reason) in [
        (
            "i = tarfile.TarInfo('../outside'); add()",
            "`../outside` is refused: `..` in its path",
        ),
        (
            "i = tarfile.TarInfo('/tmp/alloy-outside'); add()",
            "`/tmp/alloy-outside` is refused: an absolute path",
        ),
        (
            "i = tarfile.TarInfo('out'); i.type = tarfile.SYMTYPE; i.linkname = '../outside'; add()",
            "`out` is refused: a link that leads out of the project, to ../outside",
        ),
        (
            "i = tarfile.TarInfo('out'); i.type = tarfile.SYMTYPE; i.linkname = '/etc'; add()",
            "`out` is refused: a link that leads out of the project, to /etc",
        ),
        (
            "i = tarfile.TarInfo('out'); i.type = tarfile.LNKTYPE; i.linkname = '../outside'; add()",
            "`out` is refused: a second name of another file",
        ),
        (
            "i = tarfile.TarInfo('dev'); i.type = tarfile.CHRTYPE; i.devmajor = 1; i.devminor = 3; add()",
            "`dev` is refused: a device",
        ),
        (
            "i = tarfile.TarInfo('dev'); i.type = tarfile.BLKTYPE; add()",
            "`dev` is refused: a device",
        ),
        (
            "i = tarfile.TarInfo('pipe'); i.type = tarfile.FIFOTYPE; add()",
            "`pipe` is refused: a pipe",
        ),
        (
            "i = tarfile.TarInfo('x' * 150 + '/../../../outside'); add()",
            "is refused: `..` in its path",
        ),
    ] {
        let hostile = Hostile::new();
        let plain = hostile.python(&format!(
            "z = tarfile.open(out, 'w', format=tarfile.GNU_FORMAT)\n\
             def add():\n  i.size = 1 if i.type == tarfile.REGTYPE else 0\n  z.addfile(i, io.BytesIO(b'x'))\n\
             {inside}; z.close()"
        ));
        let packed = hostile.root.path().join("archive.zst");
        let tar = fs::read(&plain).expect("there");
        // As somebody else's program writes it, and as ours does.
        fs::write(
            &packed,
            zstd::encode_all(Cursor::new(&tar), 3).expect("packed"),
        )
        .expect("written");
        let error = unframed(&packed, &hostile.project()).expect_err(reason);
        assert!(error.contains(reason), "{error}");
        fs::write(&packed, framed(&tar)).expect("written");
        let error = unframed(&packed, &hostile.project()).expect_err(reason);
        assert!(error.contains(reason), "{error}");
        hostile.assert_untouched(true);
    }
}

/// A tar file in one frame as ours are.
fn framed(tar: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(tar, 3).expect("packed");
    let length = u32::try_from(packed.len()).expect("short");
    let header = [0x184D_2A5C, 8, length, 0].map(u32::to_le_bytes).concat();
    [header, packed].concat()
}

#[test]
fn bombs_are_refused() {
    // 10 GB of zeros.
    let hostile = Hostile::new();
    let zeros = TempDir::with_prefix("alloy-test-").expect("a directory");
    let mut file = File::create(zeros.path().join("zeros")).expect("created");
    file.write_all(&written_zeros()).expect("written");
    file.set_len(10_000_000_000).expect("set");
    let packed = hostile.root.path().join("archive");
    archive(zeros.path(), &packed, zipped::write);
    let size = fs::metadata(&packed).expect("there").len();
    assert!(size < 50_000_000, "{size}");
    let error = unzipped(&packed, &hostile.project(), None).expect_err("a bomb");
    assert!(
        error.contains("it unpacks to more than") && error.contains("RUNNER_UNPACK_LIMIT"),
        "{error}"
    );
    hostile.assert_untouched(true);
    // The same as a cache: it ends at the limit, not at the end.
    let packed = hostile.root.path().join("archive.zst");
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").expect("short");
    header.set_size(10_000_000_000);
    header.set_mode(0o644);
    header.set_cksum();
    let tar =
        Cursor::new(header.as_bytes().to_vec()).chain(std::io::repeat(0).take(10_000_000_000));
    let mut out = File::create(&packed).expect("created");
    zstd::stream::copy_encode(tar, &mut out, 1).expect("packed");
    let target = Target::new(open(&hostile.project()), Limit::new(Some(50), 0));
    let error = unframe::read(File::open(&packed).expect("there"), &target).expect_err("a bomb");
    let error = format!("{error:#}");
    assert!(error.contains("it unpacks to more than 50 MB"), "{error}");
    assert!(
        fs::metadata(hostile.project().join("zeros"))
            .expect("begun")
            .len()
            <= 50_000_000
    );
    hostile.assert_untouched(false);
}
