//! Where artifacts of local jobs are: archives that later jobs get, in a store of the runner's own, and what people
//! find in the checkout, which is never read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Where a local job's artifacts are kept, on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The top of the checkout.
    pub checkout: PathBuf,
    /// Archives of all jobs of the checkout. It is no part of that: what lies there may be from others.
    pub store: PathBuf,
    /// The file that says which checkout the store is of: it holds nothing but the path of that.
    pub label: PathBuf,
    /// The job whose artifacts these are.
    pub job: String,
    /// What the job is called where people find its files: one of [`shown_names`].
    pub shown: String,
    /// Jobs whose artifacts it gets.
    pub from: Vec<String>,
}

impl Kept {
    /// The directories in the checkout where people find what jobs leave: one in the other.
    pub const SHOWN_IN: [&str; 2] = [".alloy-ci", "artifacts"];

    /// Where the archives of a job are.
    #[must_use]
    pub fn archives_of(&self, job: &str) -> PathBuf {
        self.store.join("jobs").join(directory_name(job))
    }

    /// Where people find the job's files, below the top of the checkout.
    #[must_use]
    pub fn shown_in(&self) -> String {
        format!("{}/{}", Self::SHOWN_IN.join("/"), self.shown)
    }

    /// What the job's log is called beside them.
    #[must_use]
    pub fn log(&self) -> String {
        log_of(&self.shown)
    }
}

fn log_of(name: &str) -> String {
    format!("{name}.log")
}

/// What a directory's name has none of.
const NOT_IN_NAMES: &AsciiSet = &CONTROLS.add(b'/').add(b'%').add(b'.').add(b':').add(b'*');

/// A job's name, which may have slashes in it, and dots.
fn directory_name(job: &str) -> String {
    utf8_percent_encode(job, NOT_IN_NAMES).to_string()
}

/// What the jobs of a job file are called in the checkout: as they are, where that can be the name of a file. No two
/// have the same, nor one that is called like the log of another.
#[must_use]
pub fn shown_names<'a>(jobs: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut jobs: Vec<(&str, String)> = jobs.map(|job| (job, file_name(job))).collect();
    // Who can keep the name keeps it.
    jobs.sort_by_key(|(job, name)| job != name);
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    for (job, name) in jobs {
        let plain = if name.is_empty() { "_" } else { &name };
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let mut names_for_it = [plain.to_owned()].into_iter().chain(numbered);
        let free = |name: &String| !taken.contains(name) && !taken.contains(&log_of(name));
        if let Some(name) = names_for_it.find(free) {
            taken.extend([name.clone(), log_of(&name)]);
            names.insert(job.to_owned(), name);
        }
    }
    names
}

/// A name of a job's choice as the name of one file: what would make it a path, or hide it, is replaced.
#[must_use]
pub fn file_name(text: &str) -> String {
    let sanitize = |c: char| if c == '/' || c.is_control() { '_' } else { c };
    let mut name: String = text.trim().chars().map(sanitize).collect();
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    // Names end at 255 bytes, and something may have to be added to them.
    while name.len() > 200 {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{Kept, file_name, shown_names};
    use std::path::{Path, PathBuf};

    #[test]
    fn no_job_is_kept_outside() {
        for (job, name) in [
            ("build", "build"),
            ("build: linux x64", "build%3A linux x64"),
            ("../x", "%2E%2E%2Fx"),
            ("..", "%2E%2E"),
            ("a%2Fb", "a%252Fb"),
        ] {
            let kept = Kept {
                checkout: PathBuf::from("/top"),
                store: PathBuf::from("/store"),
                label: PathBuf::from("/store/checkout"),
                job: job.to_owned(),
                shown: String::new(),
                from: Vec::new(),
            };
            assert_eq!(kept.archives_of(job), Path::new("/store/jobs").join(name));
        }
    }

    #[test]
    fn people_find_each_job_by_its_name_and_none_outside() {
        let jobs = [
            ("build", "build"),
            ("build: linux x64", "build: linux x64"),
            ("test 1/2", "test 1_2"),
            ("größe", "größe"),
            ("../x", "_._x"),
            ("..", "_."),
            (".", "_"),
            (".gitignore", "_gitignore"),
            ("a/b", "a_b-2"),
            ("a_b", "a_b"),
            ("a\\b", "a\\b"),
            (" a", "a"),
            (" ", "_-2"),
            ("log", "log"),
            ("log.log", "log.log-2"),
            ("x\ny", "x_y"),
        ];
        let names = shown_names(jobs.iter().map(|(job, _)| *job));
        for (job, name) in jobs {
            assert_eq!(names[job], name, "{job}");
        }
    }

    #[test]
    fn a_file_has_a_name_and_no_path() {
        for (text, want) in [
            ("dist", "dist"),
            ("../x", "_._x"),
            ("a/b\n", "a_b"),
            (".hidden", "_hidden"),
            ("..", "_."),
        ] {
            assert_eq!(file_name(text), want);
        }
        assert!(file_name(&"ä".repeat(200)).len() <= 200);
    }
}
