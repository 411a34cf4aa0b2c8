//! The volume with this executable that build containers wait by until the sources are there
//! ([`crate::helper::hold`]).
//!
//! It is filled from the helper image by the first helper that has it, and belongs to no job. Where it is still empty, as
//! on an engine that is new to an executable, the build container starts when the sources are there.

use super::containers::Builder;
use super::helper_image::{EXECUTABLE_DIR, SCOPE, image_scope};
use super::names::LABEL;
use crate::docker::{DockerCommand, Slot, Word, mount};

/// Stands for the volume's name, [`hold_volume`](super::names::hold_volume).
pub const HOLD_VOLUME: &str = "hold_volume";
/// Where build containers have it.
const DIRECTORY: &str = "/alloy/hold";
const EXECUTABLE: &str = "/alloy/hold/alloy-runner";

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
        let command = [EXECUTABLE, "hold", "--"].into_iter();
        Some(
            run.clone()
                .option("--mount", self.mount_of(&volume, DIRECTORY, false))
                .operands(image, command.chain(shell)),
        )
    }

    fn mount_of(&self, volume: &Word, target: &str, fills: bool) -> Word {
        let labels = [
            (LABEL.to_owned(), self.host.version.clone()),
            (format!("{LABEL}.type"), "hold".to_owned()),
            (SCOPE.to_owned(), image_scope(&self.host.seal)),
        ];
        mount::read_only_volume(volume, target, fills, &labels)
    }
}
