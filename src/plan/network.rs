//! How a job's containers see each other (manual, "services").

use super::names::Names;
use super::parts::Resource;
use crate::config::DockerConfig;
use crate::docker::{DockerCommand, Word};
use crate::outcome::InputError;

/// How the containers of a job are connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// By a network of the job's own; without services there is none.
    Own,
    /// By a network that the configuration names, and that others may share.
    Named(String),
    /// By the default bridge, where only links give names.
    Bridge,
    /// They share the host's network, so a service is at localhost.
    Host,
    /// Not at all, or with a container that the configuration names.
    Other(String),
}

impl Network {
    /// Reads `network_mode` and `links`.
    ///
    /// # Errors
    /// [`InputError`] where services could not be reached.
    pub fn new(docker: &DockerConfig, services: bool) -> Result<Self, InputError> {
        let links = docker.links.as_ref().is_some_and(|links| !links.is_empty());
        let mode = docker.network_mode.as_deref().unwrap_or_default();
        let network = match mode {
            // What is linked is on the default bridge, and links do not lead out of it.
            "" if links => Self::Bridge,
            "" => Self::Own,
            "bridge" | "default" => Self::Bridge,
            "host" => Self::Host,
            "none" => Self::Other(mode.to_owned()),
            _ if mode.starts_with("container:") => Self::Other(mode.to_owned()),
            _ => Self::Named(mode.to_owned()),
        };
        if services && matches!(network, Self::Other(_)) {
            return Err(InputError::new(format!(
                "docker.network_mode: with `{mode}` no service can be reached; take the services out, or use another mode"
            )));
        }
        if links && !matches!(network, Self::Bridge) {
            return Err(InputError::new(format!(
                "docker.links: links work on the default bridge only, and docker.network_mode is `{mode}`"
            )));
        }
        Ok(network)
    }

    /// The network to make for a job with services.
    pub fn resource(&self, names: &Names, create: DockerCommand) -> Option<Resource> {
        (*self == Self::Own).then(|| {
            let name = names.prefix.clone();
            Resource {
                create: Some(create.operands(&name, [""; 0])),
                name,
                keep: false,
            }
        })
    }

    /// Whether the services have to run before the containers that use them are made.
    pub fn services_first(&self) -> bool {
        *self == Self::Bridge
    }

    /// Connects a container that uses services, each given as its container's name and its hostnames.
    pub fn connect(
        &self,
        run: DockerCommand,
        names: &Names,
        services: &[(Word, Vec<Word>)],
    ) -> DockerCommand {
        match self {
            Self::Own if services.is_empty() => run,
            Self::Own => run.option("--network", &names.prefix),
            Self::Named(network) => linked(run.option("--network", network), services),
            Self::Other(network) => run.option("--network", network),
            // A client of 20.10 that is told of the default bridge links no container there; without a word that is
            // where it is.
            Self::Bridge => linked(run, services),
            Self::Host => {
                let hosts = services.iter().flat_map(|(_, hosts)| hosts);
                hosts.fold(run.option("--network", "host"), |run, host| {
                    run.option("--add-host", host.clone().then(":127.0.0.1"))
                })
            }
        }
    }

    /// Connects a service that has these hostnames. `services` are all of the job's, as in [`Network::connect`].
    ///
    /// In a network of others no name is taken: jobs there would talk to this one's service in place of a git server or
    /// a coordinator of that name. A link gives a name to a single container, and wins over names of the network.
    pub fn connect_service(
        &self,
        run: DockerCommand,
        names: &Names,
        hosts: &[Word],
        services: &[(Word, Vec<Word>)],
    ) -> DockerCommand {
        let network = match self {
            Self::Own => names.prefix.clone(),
            Self::Named(name) | Self::Other(name) => name.into(),
            Self::Bridge => return run,
            Self::Host => "host".into(),
        };
        let run = run.option("--network", network);
        match self {
            Self::Own => hosts
                .iter()
                .fold(run, |run, host| run.option("--network-alias", host)),
            // Of itself too: a broker tells its clients how to reach it, and is one of them.
            Self::Named(_) => linked(run, services),
            _ => run,
        }
    }
}

/// Gives a container hostnames of services, each given as its container's name and its hostnames.
fn linked(run: DockerCommand, services: &[(Word, Vec<Word>)]) -> DockerCommand {
    services.iter().fold(run, |run, (name, hosts)| {
        hosts.iter().fold(run, |run, host| {
            run.option("--link", name.clone().then(":").then(host))
        })
    })
}
