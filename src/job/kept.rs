//! Where artifacts of local jobs are: archives that later jobs get, in a store of the runner's own, and what people
//! find in the checkout, which is never read.

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
    /// Jobs whose artifacts it gets.
    pub from: Vec<String>,
}

impl Kept {
    /// Where the archives of a job are.
    #[must_use]
    pub fn archives_of(&self, job: &str) -> PathBuf {
        self.store.join("jobs").join(directory_name(job))
    }

    /// What everything in the checkout is below that is there for people. Git takes no notice of what is in there.
    #[must_use]
    pub fn shown_below(&self) -> PathBuf {
        self.checkout.join(".alloy-ci")
    }

    /// Where people find the job's artifacts.
    #[must_use]
    pub fn shown(&self) -> PathBuf {
        let artifacts = self.shown_below().join("artifacts");
        artifacts.join(directory_name(&self.job))
    }
}

/// What a directory's name has none of.
const NOT_IN_NAMES: &AsciiSet = &CONTROLS.add(b'/').add(b'%').add(b'.').add(b':').add(b'*');

/// A job's name, which may have slashes in it, and dots.
fn directory_name(job: &str) -> String {
    utf8_percent_encode(job, NOT_IN_NAMES).to_string()
}

#[cfg(test)]
mod tests {
    use super::Kept;
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
                from: Vec::new(),
            };
            let shown = Path::new("/top/.alloy-ci/artifacts").join(name);
            assert_eq!(kept.shown(), shown);
            assert_eq!(kept.archives_of(job), Path::new("/store/jobs").join(name));
        }
    }
}
