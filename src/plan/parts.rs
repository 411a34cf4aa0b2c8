//! Parts of a plan that take docker commands of their own: networks and volumes, services, the helper, the build
//! container.

use super::ending::Ending;
use super::images::Pulling;
use super::stage::HelperStage;
use crate::docker::{DockerCommand, Reference, Slot, Word};

/// A network or a volume.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its name.
    pub name: Word,
    /// Makes it. Without it, the containers that use it do, whichever comes first.
    pub create: Option<DockerCommand>,
    /// It stays for the next job.
    pub keep: bool,
}

/// A service to run.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its image.
    pub image: Reference,
    /// What people call it: its image, with an alias behind it where other services are of the same image.
    pub title: String,
    /// How its image is to be had.
    pub(super) pulling: Pulling,
    /// Stands for the image's id.
    pub image_slot: Slot,
    /// Stands for what the image says about its ports, as [`Service::ports`] prints it.
    pub ports_slot: Slot,
    /// Asks the engine for the ports that the image exposes.
    pub ports: DockerCommand,
    /// The container's name.
    pub name: Word,
    /// The hostnames it answers to in the job's network.
    pub aliases: Vec<String>,
    /// How many of the aliases come from the image's name; the job gave the others.
    pub(super) from_image: usize,
    /// A hostname that it has for itself, whatever aliases it shares.
    pub probe_alias: Word,
    /// The ports that it is asked on: those of its image, unless it is told of another.
    pub(super) asked_on: Word,
    /// Makes and starts it.
    pub run: DockerCommand,
}

/// One way to start the helper.
#[derive(Clone, Debug)]
pub struct HelperStart {
    /// Starts it, and it stays for all of its stages.
    pub commands: Vec<DockerCommand>,
    /// Where it is for one stage only: that stage, with a command that starts the helper as its shell. It ends with
    /// that, and something else has to hold the volumes by then, or a `docker system prune` may take them: the build
    /// container, if that [waits](Build::held).
    pub once: Option<HelperStage>,
}

/// The build container.
#[derive(Clone, Debug)]
pub struct Build {
    /// Its name.
    pub name: Word,
    /// Makes and starts it, with the first of its stages over standard input.
    pub run: DockerCommand,
    /// All processes that it sees are its own (`pid_mode`).
    pub has_own_processes: bool,
    /// Ends what runs in it.
    pub ending: Ending,
    /// The same before the sources are there, unless the image has an entrypoint or a variable that a shell reads at
    /// once: nothing of the image runs until its standard input comes.
    pub held: Option<DockerCommand>,
}
