//! Removes what processes left on the engine that no longer live.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use uuid::Uuid;

use crate::docker::clients::Client;
use crate::docker::{Docker, DockerCommand};
use crate::plan::names::{LABEL, prefix_of, prefix_of_cache};
use crate::seal::Seal;

/// What the names of containers begin with that become a helper image.
pub(super) const IMAGE_CONTAINER: &str = "alloy-runner-helper-";
/// How long docker clients of a dead process may take to end what they have begun.
const PATIENCE: Duration = Duration::from_secs(20);
/// What its label says that a cache volume is.
const CACHE: &str = "cache";
/// The pause between two lists of the engine.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a removal is tried: it fails if a thing has been removed since the list, or is being removed.
const TRIES: u32 = 5;

/// What is to be removed.
#[derive(Clone, Default)]
pub struct Selection<'a> {
    /// Removes things of the processes with these labels.
    pub processes: Vec<String>,
    /// Checks that their labels are not copies that others made.
    pub seal: Seal,
    /// Removes things of other processes too, if these do not run any more.
    pub strays: Option<Strays<'a>>,
    /// Limits all this to one job: to names that are this prefix, or continue it with a dash. Empty: all jobs.
    pub prefix: String,
    /// Removes cache volumes too, whether their processes run or not: those of this state directory, or all of them if
    /// [`Strays::scope`] is empty.
    pub caches: bool,
}

/// The processes whose leftovers are removed: those of a scope that do not run any more.
#[derive(Clone)]
pub struct Strays<'a> {
    /// The beginning of their labels.
    pub scope: String,
    /// The labels of the processes that run. This is called after each list of the engine: the process that made a
    /// thing on that list was registered before.
    pub living: &'a dyn Fn() -> Result<Vec<String>>,
}

/// A thing on an engine, with the values of its labels.
#[derive(Debug)]
struct Thing {
    id: String,
    name: String,
    process: String,
    kind: String,
    seal: String,
}

impl Thing {
    /// Reads a line of JSON, in which labels may contain line breaks: all users of the engine can make labels.
    fn read(line: &str) -> Option<Self> {
        let [id, names, process, kind, seal]: [String; 5] = serde_json::from_str(line).ok()?;
        // A container that others are linked to has a name in each of them.
        let name = names.split(',').find(|name| !name.contains('/'))?;
        Some(Self {
            id,
            name: name.to_owned(),
            process,
            kind,
            seal,
        })
    }
}

impl Selection<'_> {
    fn wants(&self, thing: &Thing, living: &[String]) -> bool {
        let rest = thing.name.strip_prefix(&self.prefix);
        let of_job = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        if !self.prefix.is_empty() && !of_job {
            return false;
        }
        if thing.kind == CACHE {
            let foreign = |strays: &Strays| strays.scope.is_empty();
            let ours = |prefix| self.seal.is(&thing.seal, &thing.process, prefix);
            let all = self.strays.as_ref().is_some_and(foreign);
            return self.caches
                && prefix_of_cache(&thing.name).is_some_and(|prefix| all || ours(prefix));
        }
        let Some(sealed) = prefix_of(&thing.name).or_else(|| is_of_image(&thing.name)) else {
            return false;
        };
        let is = |label: &String| *label == thing.process;
        let stray = |strays: &Strays| {
            thing.process.starts_with(&strays.scope)
                && !living.iter().any(is)
                // Of other state directories nothing can be told.
                && (strays.scope.is_empty() || self.seal.is(&thing.seal, &thing.process, sealed))
        };
        let ours =
            self.processes.iter().any(is) && self.seal.is(&thing.seal, &thing.process, sealed);
        ours || self.strays.as_ref().is_some_and(stray)
    }
}

/// The name of a container that becomes a helper image, if it is one.
fn is_of_image(name: &str) -> Option<&str> {
    let id = name.strip_prefix(IMAGE_CONTAINER)?;
    Uuid::parse_str(id).is_ok().then_some(name)
}

/// Removes what is selected. Returns a line for each thing, such as `container NAME`.
///
/// # Errors
/// [`crate::docker::DockerError`] of the first list or removal that failed, or an error of [`Strays::living`].
pub fn remove(docker: &Docker, selection: &Selection) -> Result<Vec<String>> {
    type Remove = fn(&[String]) -> DockerCommand;
    let kinds: [(&str, &str, &str, Remove); 3] = [
        ("container", ".ID", ".Names", |ids| {
            DockerCommand::remove(ids)
        }),
        ("network", ".ID", ".Name", |ids| {
            DockerCommand::network_remove(ids)
        }),
        ("volume", ".Name", ".Name", |names| {
            DockerCommand::volume_remove(names)
        }),
    ];
    let mut removed = Vec::new();
    for (kind, id, name, command) in kinds {
        let labels = ["process", "type", "seal"]
            .map(|label| format!("{{{{json (.Label \"{LABEL}.{label}\")}}}}"))
            .join(",");
        let format = format!("[{{{{json {id}}}}},{{{{json {name}}}}},{labels}]");
        let list = docker.capture_patiently(&DockerCommand::list(kind, LABEL, &format))?;
        let living = match &selection.strays {
            Some(strays) if !list.is_empty() => (strays.living)()?,
            _ => Vec::new(),
        };
        let things = list.lines().filter_map(Thing::read);
        let mut wanted: Vec<_> = things
            .filter(|thing| selection.wants(thing, &living))
            .collect();
        if wanted.iter().any(|thing| thing.kind == CACHE) {
            let mounted = mounted(docker)?;
            wanted.retain(|thing| {
                let stays = thing.kind == CACHE && mounted.contains(&thing.name);
                if stays {
                    log::warn!(
                        "the volume {} stays: a container has it mounted",
                        thing.name
                    );
                }
                !stays
            });
        }
        if !wanted.is_empty() {
            let ids: Vec<_> = wanted.iter().map(|thing| thing.id.clone()).collect();
            docker.capture_patiently(&command(&ids))?;
            removed.extend(wanted.iter().map(|thing| format!("{kind} {}", thing.name)));
        }
    }
    Ok(removed)
}

/// The volumes of ours that containers have mounted.
fn mounted(docker: &Docker) -> Result<Vec<String>> {
    let list = DockerCommand::list("volume", LABEL, "{{json .Name}}");
    let list = docker.capture_patiently(&list.option("--filter", "dangling=false"))?;
    let names = list
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    Ok(names.collect())
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
                    if Instant::now() >= end + PATIENCE {
                        log::warn!(
                            "docker clients of a runner that was killed do not end; what they make the next start removes"
                        );
                        return Ok(removed);
                    }
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
    use super::{Selection, Strays, Thing};
    use crate::seal::Seal;

    const NAME: &str = "runner-x-project-3-concurrent-1";

    fn thing(name: &str, process: &str, kind: &str) -> Thing {
        Thing {
            id: "1".to_owned(),
            name: name.to_owned(),
            process: process.to_owned(),
            kind: kind.to_owned(),
            seal: Seal::new(b"key").of(process, NAME),
        }
    }

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
            seal: Seal::new(b"key"),
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
            let thing = thing(&format!("{NAME}-build"), process, kind);
            let wants = |strays| selection(strays).wants(&thing, &lives);
            let wanted = (wants(None), wants(strays("here/")), wants(strays("")));
            assert_eq!(wanted, (plain, ours, all), "{process} {kind}");
        }
    }

    #[test]
    fn labels_that_others_copied_are_not_believed() {
        let living = || Ok(Vec::new());
        let wants = |thing: &Thing, scope: &str| {
            let selection = Selection {
                processes: vec!["here/dead".to_owned()],
                seal: Seal::new(b"key"),
                strays: Some(Strays {
                    scope: scope.to_owned(),
                    living: &living,
                }),
                caches: true,
                ..Selection::default()
            };
            selection.wants(thing, &[])
        };
        let ours = thing(&format!("{NAME}-build"), "here/dead", "build");
        assert!(wants(&ours, "here/") && wants(&ours, ""));
        // A container of an image that has the labels, as `docker commit` gives them.
        for name in [
            "database",
            "runner-x",
            "alloy-runner-helper-x",
            "my-runner-x-project-3-concurrent-1",
        ] {
            let theirs = thing(name, "here/dead", "build");
            assert!(!wants(&theirs, "here/") && !wants(&theirs, ""), "{name}");
            assert!(!wants(&thing(name, "here/dead", "cache"), ""), "{name}");
        }
        // By a name of ours, but one that the seal is not for.
        let theirs = thing("runner-x-project-4-concurrent-1", "here/dead", "build");
        assert!(!wants(&theirs, "here/"));
        let mut unsealed = thing(NAME, "here/dead", "build");
        unsealed.seal = String::new();
        assert!(!wants(&unsealed, "here/") && wants(&unsealed, ""));
        for line in [
            "",
            "x",
            "[]",
            r#"["1","2","3","4"]"#,
            "runner\there/dead\tbuild",
        ] {
            assert!(Thing::read(line).is_none(), "{line}");
        }
        assert_eq!(
            Thing::read(r#"["1","a\nb","c","d","e"]"#)
                .expect("one")
                .name,
            "a\nb"
        );
    }

    #[test]
    fn a_job_owns_what_has_its_name_and_not_what_has_a_longer_number() {
        let selection = Selection {
            processes: vec!["ours".to_owned()],
            seal: Seal::new(b"key"),
            prefix: NAME.to_owned(),
            ..Selection::default()
        };
        for (name, process, wanted) in [
            ("runner-x-project-3-concurrent-1", "ours", true),
            ("runner-x-project-3-concurrent-1-build", "ours", true),
            ("runner-x-project-3-concurrent-10-build", "ours", false),
            ("runner-x-project-3-concurrent-1-build", "theirs", false),
        ] {
            let thing = thing(name, process, "build");
            assert_eq!(selection.wants(&thing, &[]), wanted, "{name}");
        }
    }
}
