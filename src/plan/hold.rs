//! The volume with this executable that build containers wait by until the sources are there
//! ([`crate::helper::hold`]).
//!
//! It is filled from the helper image by the first helper that has it, and belongs to no job. Where it is still empty, as
//! on an engine that is new to an executable, the build container starts when the sources are there.

use super::containers::Builder;
use super::helper_image::EXECUTABLE_DIR;
use super::names::LABEL;
use crate::docker::{DockerCommand, Slot, Word, mount};
use crate::seal::Seal;

/// Stands for the volume's name, [`hold_volume`](super::names::hold_volume).
pub const HOLD_VOLUME: &str = "hold_volume";
/// Stands for the seal on that name, by which `prune` knows it.
pub const HOLD_SEAL: &str = "hold_seal";
/// What the seal says in place of a process: it belongs to none.
const SEALED_AS: &str = "hold";
/// Where build containers have it, as far as it can be said without the job's other mounts. What an image has below
/// `/dev` is hidden by a file system of the container's own, so that no link of the image is on the way.
const DIRECTORY: &str = "/dev/alloy-runner";

impl Builder<'_> {
    /// The volume. None where a person runs the plan, who starts one container after the other.
    fn hold(&self) -> Option<Word> {
        let is_script = self.host.process.is_empty();
        (!is_script).then(|| Slot::new(HOLD_VOLUME).into())
    }

    /// A helper with the volume: what the image has there goes into it where it is new.
    pub fn holding(&self, run: DockerCommand) -> DockerCommand {
        match self.hold() {
            Some(volume) => run.option("--mount", self.mount_of(&volume, EXECUTABLE_DIR, true)),
            None => run,
        }
    }

    /// A build container that waits before it runs this shell.
    pub fn held(
        &self,
        run: &DockerCommand,
        image: Slot,
        shell: Vec<&'static str>,
    ) -> Option<DockerCommand> {
        let volume = self.hold()?;
        // docker mounts in the order of depth: nothing is mounted after this, maybe through a link to it.
        let depth = |path: &str| path.matches('/').count();
        let deepest = self.mounts.iter().map(|mount| depth(&mount.target)).max();
        let below = deepest.unwrap_or_default().saturating_sub(depth(DIRECTORY)) + 1;
        let directory = format!("{DIRECTORY}{}", "/hold".repeat(below));
        let command = [
            format!("{directory}/alloy-runner"),
            "hold".to_owned(),
            "--".to_owned(),
        ];
        let shell = shell.into_iter().map(str::to_owned);
        Some(
            run.clone()
                .option("--mount", self.mount_of(&volume, &directory, false))
                .operands(image, command.into_iter().chain(shell)),
        )
    }

    fn mount_of(&self, volume: &Word, target: &str, fills: bool) -> Word {
        let labels = [
            (LABEL.to_owned(), self.host.version.clone()),
            (format!("{LABEL}.type"), "hold".to_owned()),
        ];
        // A seal has nothing that CSV would have quoted.
        mount::read_only_volume(volume, target, fills, &labels)
            .then(format!(",volume-label={LABEL}.seal="))
            .then(Slot::new(HOLD_SEAL))
    }
}

/// The seal on such a volume.
#[must_use]
pub fn hold_seal(seal: &Seal, volume: &str) -> String {
    seal.of(SEALED_AS, volume)
}

/// Whether this is the seal on such a volume.
#[must_use]
pub fn is_hold_seal(seal: &Seal, said: &str, volume: &str) -> bool {
    seal.is(said, SEALED_AS, volume)
}
