//! Removes what processes left on the engine that no longer live.

use crate::docker::{Docker, DockerCommand, DockerError};
use crate::plan::names::LABEL;

/// What is to be removed.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Things of the processes with these labels.
    pub processes: Vec<String>,
    /// Things of all processes but those with these labels, instead.
    pub all_but: Option<Vec<String>>,
    /// Of those only what has a name that begins like this.
    pub prefix: String,
    /// Cache volumes too, whoever made them.
    pub caches: bool,
}

impl Selection {
    fn wants(&self, name: &str, process: &str, kind: &str) -> bool {
        if !name.starts_with(&self.prefix) {
            return false;
        }
        if kind == "cache" {
            return self.caches;
        }
        match &self.all_but {
            Some(living) => !living.iter().any(|label| label == process),
            None => self.processes.iter().any(|label| label == process),
        }
    }
}

/// Removes what the selection wants and returns what that was, as `container NAME` and the like.
///
/// # Errors
/// [`DockerError`] of the first list or removal that failed.
pub fn remove(docker: &Docker, selection: &Selection) -> Result<Vec<String>, DockerError> {
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
        let list = docker.capture(&DockerCommand::list(kind, LABEL, &format))?;
        let names: Vec<String> = list
            .lines()
            .filter_map(|line| {
                let mut fields = line.split('\t');
                let (name, process, kind) = (fields.next()?, fields.next()?, fields.next()?);
                selection
                    .wants(name, process, kind)
                    .then(|| name.to_owned())
            })
            .collect();
        if !names.is_empty() {
            docker.capture(&command(&names))?;
            removed.extend(names.into_iter().map(|name| format!("{kind} {name}")));
        }
    }
    Ok(removed)
}
