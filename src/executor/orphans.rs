//! Removes what processes left on the engine that no longer live.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::docker::clients::Client;
use crate::docker::{Docker, DockerCommand};
use crate::plan::names::LABEL;

/// How long docker clients of a dead process may take to end what they have begun.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a removal is tried: what goes by itself meanwhile makes it fail, and so does what still goes.
const TRIES: u32 = 5;

/// What is to be removed.
#[derive(Clone, Default)]
pub struct Selection<'a> {
    /// Things of the processes with these labels.
    pub processes: Vec<String>,
    /// Things of others too that do not live.
    pub strays: Option<Strays<'a>>,
    /// Of those only what is of one job: has this name, or one that goes on with a dash. Empty: of all jobs.
    pub prefix: String,
    /// Cache volumes too, whoever made them.
    pub caches: bool,
}

/// Processes that nobody knows, and that left something all the same.
#[derive(Clone)]
pub struct Strays<'a> {
    /// What their labels begin with.
    pub scope: String,
    /// The labels of those that live. It is asked after each look at the engine: whoever made what was seen there
    /// had been registered before.
    pub living: &'a dyn Fn() -> Result<Vec<String>>,
}

impl Selection<'_> {
    fn wants(&self, name: &str, process: &str, kind: &str, living: &[String]) -> bool {
        let rest = name.strip_prefix(&self.prefix);
        let of_job = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        if !self.prefix.is_empty() && !of_job {
            return false;
        }
        if kind == "cache" {
            return self.caches;
        }
        let is = |label: &String| label == process;
        let stray = |strays: &Strays| process.starts_with(&strays.scope) && !living.iter().any(is);
        self.processes.iter().any(is) || self.strays.as_ref().is_some_and(stray)
    }
}

/// Removes what the selection wants and returns what that was, as `container NAME` and the like.
///
/// # Errors
/// [`crate::docker::DockerError`] of the first list or removal that failed, or that of whoever knows who lives.
pub fn remove(docker: &Docker, selection: &Selection) -> Result<Vec<String>> {
    type Remove = fn(&[String]) -> DockerCommand;
    let kinds: [(&str, &str, Remove); 3] = [
        ("container", "{{.Names}}", |names| {
            DockerCommand::remove(names)
        }),
        ("network", "{{.Name}}", |names| {
            DockerCommand::network_remove(names)
        }),
        ("volume", "{{.Name}}", |names| {
            DockerCommand::volume_remove(names)
        }),
    ];
    let mut removed = Vec::new();
    for (kind, name, command) in kinds {
        let format =
            format!("{name}\t{{{{.Label \"{LABEL}.process\"}}}}\t{{{{.Label \"{LABEL}.type\"}}}}");
        let list = docker.capture_patiently(&DockerCommand::list(kind, LABEL, &format))?;
        let living = match &selection.strays {
            Some(strays) if !list.is_empty() => (strays.living)()?,
            _ => Vec::new(),
        };
        let names: Vec<String> = list
            .lines()
            .filter_map(|line| {
                let mut fields = line.split('\t');
                let (name, process, kind) = (fields.next()?, fields.next()?, fields.next()?);
                selection
                    .wants(name, process, kind, &living)
                    .then(|| name.to_owned())
            })
            .collect();
        if !names.is_empty() {
            docker.capture_patiently(&command(&names))?;
            removed.extend(names.into_iter().map(|name| format!("{kind} {name}")));
        }
    }
    Ok(removed)
}

/// As [`remove`], for processes that were killed: their docker clients, known by the directories of the processes'
/// files, may still be at work. What those make is removed too, and none of them is left.
///
/// # Errors
/// As [`remove`].
pub fn remove_all(
    docker: &Docker,
    selection: &Selection,
    files: &[PathBuf],
) -> Result<Vec<String>> {
    let end = Instant::now() + PATIENCE;
    let mut removed = Vec::new();
    let mut failures = 0;
    loop {
        let clients = || {
            files
                .iter()
                .flat_map(|files| Client::of(files, docker.engine()))
        };
        // Before the look at the engine: what they make until then is seen there.
        let (changing, idle): (Vec<_>, Vec<_>) = clients().partition(|client| client.changes);
        idle.into_iter().for_each(Client::kill);
        let patient = Instant::now() < end;
        match remove(docker, selection) {
            Ok(more) => {
                removed.extend(more);
                if changing.is_empty() {
                    return Ok(removed);
                }
                if !patient {
                    changing.into_iter().for_each(Client::kill);
                }
            }
            Err(error) => {
                failures += 1;
                if failures >= TRIES && (changing.is_empty() || !patient) {
                    return Err(error);
                }
            }
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::{Selection, Strays};

    #[test]
    fn what_lives_and_what_is_kept_is_not_wanted() {
        let living = || Ok(Vec::new());
        let strays = |scope: &str| {
            Some(Strays {
                scope: scope.to_owned(),
                living: &living,
            })
        };
        let selection = |strays| Selection {
            processes: vec!["here/dead".to_owned()],
            strays,
            ..Selection::default()
        };
        let lives = ["here/living".to_owned(), "here/dead".to_owned()];
        for (process, kind, plain, ours, all) in [
            ("here/dead", "build", true, true, true),
            ("here/living", "build", false, false, false),
            ("here/forgotten", "build", false, true, true),
            ("there/any", "build", false, false, true),
            ("here/dead", "cache", false, false, false),
        ] {
            let wants = |strays| selection(strays).wants("name", process, kind, &lives);
            let wanted = (wants(None), wants(strays("here/")), wants(strays("")));
            assert_eq!(wanted, (plain, ours, all), "{process} {kind}");
        }
    }

    #[test]
    fn a_job_owns_what_has_its_name_and_not_what_has_a_longer_number() {
        let selection = Selection {
            processes: vec!["ours".to_owned()],
            prefix: "runner-x-project-3-concurrent-1".to_owned(),
            ..Selection::default()
        };
        for (name, process, wanted) in [
            ("runner-x-project-3-concurrent-1", "ours", true),
            ("runner-x-project-3-concurrent-1-build", "ours", true),
            ("runner-x-project-3-concurrent-10-build", "ours", false),
            ("runner-x-project-3-concurrent-1-build", "theirs", false),
        ] {
            assert_eq!(
                selection.wants(name, process, "build", &[]),
                wanted,
                "{name}"
            );
        }
    }
}
