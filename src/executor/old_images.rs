//! Removes helper images of earlier builds of the runner: each build has its own, and uses no other.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::docker::error::Kind;
use crate::docker::{Docker, DockerCommand, DockerError};
use crate::plan::helper_image::{BY_HAND, HelperImage, TOOLS};
use crate::plan::is_hold_seal;
use crate::plan::names::{LABEL, hold_volume, image_of_hold};
use crate::seal::Seal;

/// The images that are kept.
pub struct Keep<'a> {
    /// If set, only images whose ids are noted in this directory ([`HelperImage::noted_in`]) are removed, and all others
    /// are kept. `None`: those of all state directories are removed.
    pub made_in: Option<PathBuf>,
    /// Images that `alloy-runner helper-image build` made for this version are kept.
    pub version: &'a str,
    /// The helper image of this build is kept, and the image with tools that it is made from.
    pub current: &'a HelperImage,
    /// The images that running processes use are kept. This is called after the engine has listed its images.
    pub in_use: &'a dyn Fn() -> Result<Vec<String>>,
}

/// Removes all other helper images that no container uses. Returns a line `image NAME` for each.
///
/// # Errors
/// [`DockerError`] of the first list that failed, or an error of `in_use`.
pub fn remove(docker: &Docker, keep: &Keep) -> Result<Vec<String>> {
    let list = |label: &str| -> Result<Vec<Listed>, DockerError> {
        let command = DockerCommand::list(
            "image",
            label,
            "[{{json .Repository}},{{json .Tag}},{{json .ID}}]",
        );
        let text = docker.capture(&command)?;
        Ok(text.lines().filter_map(Listed::read).collect())
    };
    let all = list(&format!("{LABEL}.type=helper-image"))?;
    let (tools, helpers): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|image| image.name.starts_with("alloy-runner-helper-tools:"));
    let files = match &keep.made_in {
        Some(directory) => files_in(directory)?,
        None => Vec::new(),
    };
    let engine = docker.engine().key();
    let by_hand = list(&format!("{BY_HAND}={}", keep.version))?;
    let mut of_tools = Vec::new();
    for image in &tools {
        of_tools.push((image, list(&format!("{TOOLS}={}", image.name))?));
    }
    let in_use = (keep.in_use)()?;
    let mut removed: Vec<Listed> = Vec::new();
    for image in helpers {
        let notes: Vec<&PathBuf> = files.iter().filter(|file| is_of(file, &image)).collect();
        if keep.made_in.is_some() && notes.is_empty() {
            continue;
        }
        let kept = image.name == keep.current.name
            || in_use.contains(&image.name)
            || (!image.is_nameless() && by_hand.contains(&image));
        if !kept && remove_image(docker, &image)? {
            // If a job has used the image, there is also a volume with its executable.
            remove_hold(docker, &hold_volume(&image.id))?;
            let here = notes.iter().filter(|note| is_for(note, &engine));
            here.copied().try_for_each(remove_note)?;
            removed.push(image);
        }
    }
    for (image, users) in of_tools {
        let unused = !users.is_empty() && users.iter().all(|user| removed.contains(user));
        if unused && image.name != keep.current.tools() && remove_image(docker, image)? {
            removed.push(image.clone());
        }
    }
    Ok(removed
        .iter()
        .map(|image| format!("image {}", image.word()))
        .collect())
}

/// Removes volumes with the executable of a helper image that does not exist any more, unless a container uses them.
/// Returns a line `volume NAME` for each. `seal`: only those that are sealed with it.
///
/// # Errors
/// [`DockerError`] of the list, or of the first removal that failed.
pub fn remove_holds(docker: &Docker, seal: Option<&Seal>) -> Result<Vec<String>, DockerError> {
    let format = format!("[{{{{json .Name}}}},{{{{json (.Label \"{LABEL}.seal\")}}}}]");
    let list = DockerCommand::list("volume", &format!("{LABEL}.type=hold"), &format);
    let listed = docker.capture(&list)?;
    let volumes = listed
        .lines()
        .filter_map(|line| serde_json::from_str::<[String; 2]>(line).ok());
    let mut removed = Vec::new();
    for [name, said] in volumes {
        let Some(image) = image_of_hold(&name) else {
            continue;
        };
        if seal.is_some_and(|seal| !is_hold_seal(seal, &said, &name)) {
            continue;
        }
        let there = docker.capture(&DockerCommand::image_inspect([image], "{{.Id}}"));
        let gone = there.is_err_and(|error| error.kind == Kind::NotFound);
        if gone && remove_hold(docker, &name)? {
            removed.push(format!("volume {name}"));
        }
    }
    Ok(removed)
}

/// The files in a directory.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("cannot read {}", directory.display()))
}

/// The name of the file that notes an image on an engine with this [key](crate::docker::Engine::key): other engines may
/// have it too, and lose it at another time.
pub(super) fn note_name(id: &str, engine: &str) -> String {
    format!("{id}-{engine}")
}

/// Whether a file notes the id of an image, of which docker lists the begin.
fn is_of(note: &Path, image: &Listed) -> bool {
    name_of(note).starts_with(&image.id)
}

/// Whether a file notes an image on this engine. Earlier versions did not say on which.
fn is_for(note: &Path, engine: &str) -> bool {
    let noted = name_of(note).split_once('-');
    noted.is_none_or(|(_, noted)| noted == engine)
}

fn name_of(note: &Path) -> &str {
    let name = note.file_name().and_then(OsStr::to_str);
    name.unwrap_or_default()
}

/// Removes a note, which another process may have removed.
fn remove_note(note: &PathBuf) -> Result<()> {
    match fs::remove_file(note) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", note.display()))
        }
        _ => Ok(()),
    }
}

/// An image in the output of `docker image ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    id: String,
}

impl Listed {
    fn read(line: &str) -> Option<Self> {
        let [repository, tag, id]: [String; 3] = serde_json::from_str(line).ok()?;
        let name = format!("{repository}:{tag}");
        // What is made of ours has their labels too.
        let ours = ["alloy-runner-helper", "alloy-runner-helper-tools", "<none>"];
        ours.contains(&repository.as_str())
            .then_some(Self { name, id })
    }

    /// Another one has taken its name.
    fn is_nameless(&self) -> bool {
        self.name.contains("<none>")
    }

    fn word(&self) -> &str {
        if self.is_nameless() {
            &self.id
        } else {
            &self.name
        }
    }
}

/// Removes an image. Returns whether it went: one stays that a container has, or that others are made of.
fn remove_image(docker: &Docker, image: &Listed) -> Result<bool, DockerError> {
    let remove = DockerCommand::image_remove([image.word()]);
    remove_unless_in_use(docker, image.word(), &remove, "conflict: unable to")
}

/// Removes the volume of an executable. Returns whether it went: one stays that a container has.
fn remove_hold(docker: &Docker, name: &str) -> Result<bool, DockerError> {
    let remove = DockerCommand::volume_remove([name]);
    remove_unless_in_use(docker, name, &remove, "volume is in use")
}

/// `in_use`: what docker says of such a thing that is in use.
fn remove_unless_in_use(
    docker: &Docker,
    name: &str,
    remove: &DockerCommand,
    in_use: &str,
) -> Result<bool, DockerError> {
    match docker.capture(remove) {
        Ok(_) => Ok(true),
        Err(error) if error.message.contains(in_use) => {
            log::info!("{name} stays: {}", error.reason());
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Listed, is_for, is_of, note_name};
    use std::path::Path;

    #[test]
    fn an_image_is_noted_for_each_engine() {
        let id = "0123456789ab".repeat(5);
        let image = |id: &str| Listed {
            name: "alloy-runner-helper:1".to_owned(),
            id: id.to_owned(),
        };
        let here = note_name(&id, "key");
        for (note, this, for_it, for_another) in [
            (here.as_str(), true, true, false),
            (&id, true, true, true),
            ("ab", false, true, true),
        ] {
            let note = Path::new("images").join(note);
            assert_eq!(is_of(&note, &image("0123456789ab")), this, "{note:?}");
            assert_eq!(is_for(&note, "key"), for_it, "{note:?}");
            assert_eq!(is_for(&note, "other"), for_another, "{note:?}");
        }
    }

    #[test]
    fn images_that_were_made_of_ours_are_not_ours() {
        let read = |repository: &str, tag: &str| {
            let line = serde_json::json!([repository, tag, "sha256:1"]).to_string();
            Listed::read(&line).map(|image| image.name)
        };
        for ours in ["alloy-runner-helper", "alloy-runner-helper-tools"] {
            assert_eq!(read(ours, "0.1.0-1"), Some(format!("{ours}:0.1.0-1")));
        }
        for theirs in [
            "ruby",
            "me/alloy-runner-helper",
            "alloy-runner-helper2",
            "x\ny",
        ] {
            assert_eq!(read(theirs, "latest"), None, "{theirs}");
        }
        for line in [
            "",
            "alloy-runner-helper:1\tsha256:1",
            r#"["alloy-runner-helper"]"#,
        ] {
            assert_eq!(Listed::read(line), None, "{line}");
        }
    }
}
