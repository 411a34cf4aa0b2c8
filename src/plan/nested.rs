//! Volumes that are mounted in other volumes.
//!
//! Where something is mounted, the kernel follows the links on the way to it, and of a volume that jobs write to that way
//! is theirs: a link that an earlier job has left in place of `/builds/acme/site/vendor` would have the volume mounted in
//! the next job's helper at `/usr/bin`, with programs of that job's choice in it. So before anything mounts them, a
//! container that has each outer volume alone, elsewhere, removes what is no directory on the ways to the inner ones.

use std::path::Path;

use super::containers::{Builder, HELPER};
use super::options;
use super::stage::Errand;
use super::volumes::{Mount, OWN_DIR};
use crate::docker::{DockerCommand, Slot};

/// Removes what is no directory. docker makes what is missing then.
const CLEAR: &str =
    r#"for path; do if [ -L "$path" ] || [ ! -d "$path" ]; then rm -rf -- "$path"; fi; done"#;

impl Builder<'_> {
    /// Clears the ways to volumes in volumes. None where no other job and no service can have been there.
    pub fn clear_nested(&self, has_services: bool) -> Option<Errand> {
        let is_shared = |outer: &Mount| {
            let ours = !outer.bound || self.layout.leads_to_builds(&outer.target);
            ours && !outer.is_read_only() && (outer.stays() || has_services)
        };
        let outer = self.mounts.iter().enumerate();
        let outer: Vec<_> = outer.filter(|(_, outer)| is_shared(outer)).collect();
        let place = |index: usize| format!("{OWN_DIR}/volumes/{index}");
        let mut used = Vec::new();
        let mut paths = Vec::new();
        for inner in &self.mounts {
            let innermost = around(&self.mounts, inner);
            let Some((index, outer)) = outer.iter().find(|(index, _)| Some(*index) == innermost)
            else {
                continue;
            };
            let way = Path::new(&inner.target).strip_prefix(&outer.target);
            // The outermost first: what is behind a link is none of the volume's.
            let mut ways: Vec<_> = way.iter().flat_map(|way| way.ancestors()).collect();
            ways.pop();
            ways.reverse();
            paths.extend(
                ways.iter()
                    .map(|way| format!("{}/{}", place(*index), way.display())),
            );
            used.push(*index);
        }
        used.sort_unstable();
        used.dedup();
        if used.is_empty() {
            return None;
        }
        let name = self.names.container("ways");
        let run = DockerCommand::run(&name)
            .flag("--rm")
            .option("--log-driver", "none")
            .option("--entrypoint", "");
        let run = options::helper(&self.config.docker, self.labelled(run, "helper"));
        let run = used.iter().fold(run, |run, index| {
            let outer = Mount {
                target: place(*index),
                ..self.mounts[*index].clone()
            };
            self.mount(run, &outer)
        });
        let command = ["sh", "-c", CLEAR, "sh"].map(str::to_owned);
        let run = run.operands(Slot::new(HELPER), command.into_iter().chain(paths));
        Some(Errand { name, run })
    }
}

/// The innermost of the mounts that another one is in.
fn around(mounts: &[Mount], inner: &Mount) -> Option<usize> {
    let is_in = |outer: &Mount| {
        let way = Path::new(&inner.target).strip_prefix(&outer.target);
        way.is_ok_and(|way| !way.as_os_str().is_empty())
    };
    let outer = mounts.iter().enumerate().filter(|(_, outer)| is_in(outer));
    let innermost = outer.max_by_key(|(_, outer)| outer.target.len());
    innermost.map(|(index, _)| index)
}
