//! The labels of what is made for a job.

use super::host::Host;
use super::names::{LABEL, Names};
use crate::docker::Word;
use crate::job::Job;

/// The labels of what is made for a job, or for all jobs of a project: the seal is on what their names begin with.
pub(super) fn labels(
    kind: &str,
    prefix: &Word,
    job: &Job,
    names: &Names,
    host: &Host,
) -> Vec<(String, String)> {
    let seal = match host.process.as_str() {
        "" => String::new(),
        process => host.seal.of(process, &prefix.plain()),
    };
    let of_job = [
        (".job.id", job.id.to_string()),
        (".job.ref", job.sources.ref_name.clone()),
        (".job.sha", job.sources.sha.clone()),
        (".project.id", job.project.id.to_string()),
        (".runner.id", names.short_token.clone()),
        (".type", kind.to_owned()),
        (".process", host.process.clone()),
        (".seal", seal),
    ];
    let known = of_job.into_iter().filter(|(_, value)| !value.is_empty());
    [("", host.version.clone())]
        .into_iter()
        .chain(known)
        .map(|(name, value)| (format!("{LABEL}{name}"), value))
        .collect()
}
