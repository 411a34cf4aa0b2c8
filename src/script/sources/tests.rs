//! The script in this machine's shell, with this machine's git: what it makes of a repository.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::GetSources;
use crate::docker::Bindings;

/// A repository to fetch from, and a directory for the sources.
struct Site {
    root: TempDir,
    address: String,
    directory: String,
}

impl Site {
    /// With some commits on `main`, the tag `v1` on the second, and a merge request whose pipeline is number 9.
    fn new(format: &str) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let origin = root.path().join("origin");
        let site = Self {
            address: format!("file://{}", origin.display()),
            directory: root.path().join("builds/site").display().to_string(),
            root,
        };
        fs::create_dir(&origin).expect("made");
        let format = format!("--object-format={format}");
        site.origin(&["init", "-q", "-b", "main", &format]);
        site.origin(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        for name in ["one", "two", "three", "four"] {
            site.commit(name);
        }
        site.origin(&["tag", "-am", "first", "v1", "HEAD~2"]);
        site.origin(&["checkout", "-qb", "feature"]);
        site.commit("five");
        for name in ["refs/merge-requests/7/head", "refs/pipelines/9"] {
            site.origin(&["update-ref", name, "HEAD"]);
        }
        site
    }

    fn origin(&self, arguments: &[&str]) -> String {
        git(self.root.path().join("origin"), arguments)
    }

    fn commit(&self, name: &str) {
        fs::write(self.root.path().join("origin").join(name), name).expect("written");
        self.origin(&["add", "-A"]);
        self.origin(&["commit", "-qm", name]);
    }

    /// In the sources.
    fn here(&self, arguments: &[&str]) -> String {
        git(PathBuf::from(&self.directory), arguments)
    }

    /// Runs the script for the head of `refs/pipelines/9`, with changes, and returns what it says.
    fn fetch(&self, change: impl Fn(&mut GetSources)) -> String {
        let sha = self.origin(&["rev-parse", "refs/pipelines/9"]);
        let refspecs = [
            "+refs/merge-requests/7/head:refs/remotes/origin/merge-requests/7",
            "+refs/pipelines/9:refs/pipelines/9",
        ];
        let refspecs = refspecs.map(str::to_owned);
        let fetch = ["--prune", "--quiet"].map(str::to_owned);
        let clean = ["-ffdx".to_owned()];
        let mut script = GetSources {
            strategy: "fetch",
            directory: &self.directory,
            url: &self.address,
            remote: &self.address,
            refspecs: &refspecs,
            by_refspecs: true,
            sha: &sha,
            ref_name: "feature",
            depth: 20,
            checkout: true,
            fetch_options: &fetch,
            clean_options: Some(&clean),
            submodules: "none",
            ..GetSources::default()
        };
        change(&mut script);
        let text = script.text().expose(&Bindings::new()).expect("no slots");
        let own = self.root.path().join("alloy").display().to_string();
        let output = Command::new("sh")
            .args(["-c", &text.replace("/alloy", &own)])
            .env("GIT_CONFIG_GLOBAL", format!("{own}/gitconfig"))
            .env("GIT_CONFIG_COUNT", "0")
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }
}

fn git(directory: PathBuf, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.current_dir(directory).args(arguments);
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "Test");
        git.env(format!("GIT_{role}_EMAIL"), "test@example.org");
    }
    let output = git.output().expect("git");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
#[ignore = "needs git"]
fn gitlabs_refs_are_there_and_commits_can_be_described_and_compared() {
    for format in ["sha1", "sha256"] {
        let site = Site::new(format);
        for strategy in ["clone", "fetch", "fetch"] {
            let said = site.fetch(|script| script.strategy = strategy);
            assert!(!said.contains("cannot be brought"), "{said}");
            assert_eq!(
                site.here(&["describe", "--tags"]),
                "v1-3-g".to_owned() + &site.here(&["rev-parse", "--short", "HEAD"])
            );
            let refs = site.here(&["for-each-ref", "--format=%(refname)"]);
            assert_eq!(
                refs,
                "refs/pipelines/9\nrefs/remotes/origin/merge-requests/7\nrefs/tags/v1"
            );
            assert_eq!(site.here(&["rev-parse", "--show-object-format"]), format);
            // As a job's own script does it.
            site.here(&["fetch", "-q", "origin", "main"]);
            assert_eq!(
                site.here(&["diff", "--name-only", "origin/main..."]),
                "five"
            );
        }
    }
}

#[test]
#[ignore = "needs git"]
fn a_kept_repository_is_brought_up_to_date_and_has_no_refs_of_others() {
    let site = Site::new("sha1");
    site.fetch(|script| script.depth = 2);
    assert_eq!(site.here(&["rev-list", "--count", "HEAD"]), "2");
    site.here(&["tag", "planted"]);
    site.here(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    site.here(&["pack-refs", "--all"]);
    site.commit("six");
    site.origin(&["update-ref", "refs/pipelines/9", "HEAD"]);
    let said = site.fetch(|script| script.depth = 0);
    assert!(
        said.contains("Fetching changes...") && !said.contains("Cloning"),
        "{said}"
    );
    assert_eq!(site.here(&["rev-list", "--count", "HEAD"]), "6");
    let refs = site.here(&["for-each-ref", "--format=%(refname)"]);
    assert!(
        !refs.contains("planted") && !refs.contains("main") && !refs.contains("hidden"),
        "{refs}"
    );
}

#[test]
#[ignore = "needs git"]
fn a_commit_is_found_where_its_refs_are_gone() {
    let site = Site::new("sha1");
    let sha = site.origin(&["rev-parse", "HEAD"]);
    let mut before = site.fetch(|_| ());
    for name in ["refs/merge-requests/7/head", "refs/pipelines/10"] {
        site.origin(&["update-ref", "-d", name]);
        fs::remove_dir_all(&site.directory).expect("removed");
        before = site.fetch(|_| ());
        assert_eq!(site.here(&["rev-parse", "HEAD"]), sha);
    }
    assert!(before.contains("couldn't find remote ref"), "{before}");
}

#[test]
#[ignore = "needs git"]
fn what_is_left_of_the_last_job_stays_as_the_options_say() {
    let site = Site::new("sha1");
    site.fetch(|_| ());
    let at = |name: &str| PathBuf::from(&site.directory).join(name);
    let there = |change: &dyn Fn(&mut GetSources)| {
        fs::create_dir_all(at("cache")).expect("made");
        for name in ["cache/a", "b"] {
            fs::write(at(name), "").expect("written");
        }
        let said = site.fetch(change);
        assert!(!said.contains("Cloning"), "{said}");
        [at("cache/a").exists(), at("b").exists()]
    };
    assert_eq!(there(&|_| ()), [false, false]);
    // A change is one of a script that lives as long as may be.
    let kept: &'static [String] = vec!["-ffdx".to_owned(), "-ecache/".to_owned()].leak();
    assert_eq!(
        there(&|script| script.clean_options = Some(kept)),
        [true, false]
    );
    assert_eq!(there(&|script| script.clean_options = None), [true, true]);
    site.fetch(|script| script.strategy = "empty");
    assert_eq!(fs::read_dir(&site.directory).expect("there").count(), 0);
}

#[test]
#[ignore = "needs git"]
fn a_directory_for_the_jobs_own_files_is_new_each_time() {
    let site = Site::new("sha1");
    let temporary = format!("{}.tmp", site.directory);
    for _ in 0..2 {
        site.fetch(|script| script.temporary.clone_from(&temporary));
        assert_eq!(fs::read_dir(&temporary).expect("there").count(), 0);
        fs::write(format!("{temporary}/left"), "").expect("written");
    }
}

#[test]
#[ignore = "needs git"]
fn submodules_have_the_jobs_settings_too() {
    let site = Site::new("sha1");
    let library = site.root.path().join("library");
    fs::create_dir(&library).expect("made");
    git(library.clone(), &["init", "-q", "-b", "main"]);
    git(
        library.clone(),
        &["commit", "-q", "--allow-empty", "-m", "first"],
    );
    let host = "ssh://git@git.example.org/library";
    let local = format!("file://{}", site.root.path().display());
    let instead = format!("url.{local}/.insteadOf=ssh://git@git.example.org/");
    site.origin(&[
        "-c",
        &instead,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        host,
        "library",
    ]);
    site.origin(&["commit", "-qm", "a submodule"]);
    site.origin(&["update-ref", "refs/pipelines/9", "HEAD"]);
    let settings = format!(
        "[protocol \"file\"]\n\tallow = always\n[url \"{local}/\"]\n\tinsteadOf = ssh://git@git.example.org/\n"
    );
    for _ in 0..2 {
        site.fetch(|script| {
            script.submodules = "recursive";
            script.submodule_depth = 1;
            script.settings.clone_from(&settings);
            script.job_settings = "[credential \"https://h\"]\n\thelper = \"!f\"\n".to_owned();
        });
        for directory in ["", "library"] {
            let directory = PathBuf::from(&site.directory).join(directory);
            let helper = git(
                directory,
                &["config", "--get-all", "credential.https://h.helper"],
            );
            assert_eq!(helper, "!f");
        }
    }
}
