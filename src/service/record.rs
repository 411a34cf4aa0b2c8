//! What of a coordinator's job is on disk while it runs, so that recovery after a kill can report how the job ended.
//!
//! It holds the job's token and its log as the coordinator has it: mode 0600, in the directory of the process. It
//! goes when the coordinator has been told.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::client::client;
use super::job_log::JobLog;
use super::upload::{Delivered, Upload};
use crate::cancel::{Cancel, Reason};
use crate::config::RunnerConfig;
use crate::coordinator::End;
use crate::job::files::{Features, Kind};
use crate::job::payload::JobKey;
use crate::outcome::{Cause, Fault, Outcome};
use crate::partial;
use crate::secret::Secret;

/// What is there of a job.
const ENTRY: &str = "json";
const LOG: &str = "log";
/// Beside them, empty: the log has already said that the coordinator does not answer.
const SAID: &str = "said";
/// How long it is tried to tell a coordinator that does not answer.
const KEPT: Duration = Duration::from_hours(24);

/// What is known of a job beside its log.
#[derive(Serialize, Deserialize)]
struct Entry {
    url: String,
    tls_ca_file: Option<PathBuf>,
    tls_cert_file: Option<PathBuf>,
    tls_key_file: Option<PathBuf>,
    id: u64,
    token: String,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    features: Features,
    /// As [`Upload::debug`].
    #[serde(default)]
    debug: bool,
    /// How it ended, if it has.
    end: Option<End>,
}

impl Entry {
    /// What the job is reported by.
    fn key(&self) -> JobKey {
        JobKey {
            id: self.id,
            token: Secret::new(&self.token),
            kind: self.kind,
            features: self.features.clone(),
        }
    }
}

/// The record of a job that runs. It is removed when this is dropped.
pub(super) struct Record {
    path: PathBuf,
    entry: Mutex<Entry>,
    job: JobKey,
    kept: bool,
}

impl Record {
    /// Begins a record in the directory of this process's records. With it comes the file for the log.
    pub fn begin(
        directory: &Path,
        config: &RunnerConfig,
        job: &JobKey,
        debug: bool,
    ) -> Result<(Self, File)> {
        let path = directory.join(job.id.to_string());
        let entry = Entry {
            url: config.url.clone(),
            tls_ca_file: config.tls_ca_file.clone(),
            tls_cert_file: config.tls_cert_file.clone(),
            tls_key_file: config.tls_key_file.clone(),
            id: job.id,
            token: job.token.expose().to_owned(),
            kind: job.kind,
            features: job.features.clone(),
            debug,
            end: None,
        };
        let log = || -> io::Result<File> {
            fs::create_dir_all(directory)?;
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(0o600);
            let log = options.open(path.with_extension(LOG))?;
            write(&path, &entry)?;
            Ok(log)
        };
        let log = log().with_context(|| format!("cannot write {}", path.display()))?;
        let record = Self {
            path,
            entry: Mutex::new(entry),
            job: job.clone(),
            kept: false,
        };
        Ok((record, log))
    }

    /// Writes down how the job ended. Only the first call counts.
    pub fn end(&self, outcome: &Outcome) {
        let mut entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.end.is_some() {
            return;
        }
        entry.end = Some(End::of(outcome, &self.job));
        if let Err(error) = write(&self.path, &entry) {
            log::warn!("cannot write {}: {error}", self.path.display());
        }
    }

    /// Leaves it to the next process to tell the coordinator.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.kept {
            forget(&self.path);
        }
    }
}

fn write(path: &Path, entry: &Entry) -> io::Result<()> {
    partial::write(&path.with_extension(ENTRY), &serde_json::to_vec(entry)?)
}

fn forget(path: &Path) {
    for name in [ENTRY, LOG, SAID] {
        let file = path.with_extension(name);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("cannot remove {}: {error}", file.display());
            }
            _ => {}
        }
    }
}

/// Tells the coordinators how the jobs of a dead process ended, whose records are in this directory (a
/// [`crate::worker::recovery::Report`]). Each coordinator is asked once per job. Returns whether nothing remains to be
/// told.
#[must_use]
pub fn report(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == ENTRY))
        .collect();
    thread::scope(|scope| {
        let told = paths.iter().map(|path| scope.spawn(|| report_one(path)));
        let told: Vec<_> = told.collect();
        told.into_iter().all(|thread| thread.join().unwrap_or(true))
    })
}

fn report_one(path: &Path) -> bool {
    let told = tell(path).unwrap_or_else(|error| {
        log::error!("cannot report a job of a runner that was killed: {error:#}");
        true
    });
    let age = fs::metadata(path).and_then(|data| data.modified());
    let old = age.is_ok_and(|age| age.elapsed().is_ok_and(|age| age > KEPT));
    if told || old {
        forget(path);
    }
    told || old
}

/// Returns whether the coordinator has been told, or wants to hear nothing.
fn tell(path: &Path) -> Result<bool> {
    let failed = || format!("cannot read {}", path.display());
    let text = fs::read_to_string(path).with_context(failed)?;
    let entry: Entry = serde_json::from_str(&text).with_context(failed)?;
    let mut log = fs::read(path.with_extension(LOG)).with_context(failed)?;
    let job = entry.key();
    let killed = Fault::new(Cause::Interrupted, "the runner was killed");
    let killed = Outcome::SystemFailure(killed);
    let end = entry.end.unwrap_or_else(|| {
        say_last(&mut log, &killed);
        End::of(&killed, &job)
    });
    let config = RunnerConfig {
        url: entry.url,
        tls_ca_file: entry.tls_ca_file,
        tls_cert_file: entry.tls_cert_file,
        tls_key_file: entry.tls_key_file,
        ..RunnerConfig::default()
    };
    let client = client(&config, Arc::new(|_, _| {}))?;
    let hurry = Cancel::new();
    hurry.trigger(Reason::Stopped);
    let log = JobLog::of(&log);
    let upload = Upload {
        client: &client,
        job: &job,
        log: &log,
        debug: entry.debug,
        canceling: &Cancel::new(),
        cancel: &Cancel::new(),
        hurry: &hurry,
    };
    let id = job.id;
    match upload.at_once(&end) {
        Delivered::Yes => {
            let how = end.failure.as_deref().unwrap_or("success");
            log::warn!("job {id} was reported, whose runner was killed: {how}");
            Ok(true)
        }
        Delivered::Gone => Ok(true),
        Delivered::No(error) if error.is_temporary() => {
            // Once is enough for the operator: every command meets it again.
            let level = match File::create_new(path.with_extension(SAID)) {
                Ok(_) => log::Level::Warn,
                Err(_) => log::Level::Debug,
            };
            log::log!(
                level,
                "job {id}, whose runner was killed, is reported the next time: {error}"
            );
            Ok(false)
        }
        Delivered::No(error) => Err(error.into()),
    }
}

/// Writes to a job's log how it ended.
fn say_last(log: &mut Vec<u8>, outcome: &Outcome) {
    if log.last().is_some_and(|byte| *byte != b'\n') {
        log.push(b'\n');
    }
    log.extend_from_slice(format!("\x1b[31;1m{outcome}\x1b[0m\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{Record, report};
    use crate::config::RunnerConfig;
    use crate::job::files::{Features, Kind};
    use crate::job::payload::JobKey;
    use crate::outcome::Outcome;
    use crate::secret::Secret;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_record_is_for_us_only_and_goes_with_its_job() {
        let files = tempfile::tempdir().expect("a directory");
        // No coordinator listens there.
        let config = RunnerConfig {
            url: "http://127.0.0.1:9".to_owned(),
            ..RunnerConfig::default()
        };
        let job = JobKey {
            id: 7,
            token: Secret::new("word"),
            kind: Kind::GitLab,
            features: Features::default(),
        };
        let (record, _log) = Record::begin(files.path(), &config, &job, false).expect("begins");
        record.end(&Outcome::Success);
        let names = || fs::read_dir(files.path()).expect("there");
        for entry in names() {
            let mode = entry.expect("one").metadata().expect("there").permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
        }
        assert_eq!(names().count(), 2);
        assert!(!report(files.path()), "it is for the next one");
        assert!(!report(files.path()), "and for the one after that");
        assert_eq!(names().count(), 3, "that people know is written down too");
        drop(record);
        assert_eq!(names().count(), 0);
        assert!(report(files.path()));
    }
}
