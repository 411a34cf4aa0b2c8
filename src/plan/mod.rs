//! What is to be done for a job, as data. Made without any IO: what only the engine knows is a slot.
//!
//! [`crate::executor`] runs a plan, [`print`] writes it as a shell script.

mod allowed;
mod containers;
mod git;
pub mod helper_image;
pub mod names;
pub mod print;
mod registries;
mod services;
mod stages;
mod variables;

use std::time::Duration;

use crate::config::{PullPolicy, RunnerConfig};
use crate::docker::auth::Brought;
use crate::docker::{DockerCommand, Reference, Slot, Word};
use crate::job::variables::Variables;
use crate::job::{ImageSpec, Job};
use crate::outcome::InputError;
use crate::secret::Secret;
use containers::Builder;
use helper_image::HelperImage;
use names::Names;
pub use services::Service;
pub use stages::{AFTER_SCRIPT_TIMEOUT, JOB_STATUS, Place, Stage, When};

/// How long services may take to answer (configuration, `wait_for_services_timeout`).
const WAIT_FOR_SERVICES: u64 = 30;

/// What a plan has to know of the host that it will run on.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// This program, `0.1.0`.
    pub version: String,
    /// The commit it was built from, short.
    pub revision: String,
    /// The host's name.
    pub hostname: String,
    /// [`crate::state::Process::label`]; empty where nobody holds such a lock.
    pub process: String,
    /// `HTTP_PROXY` and its family, as the runner has them.
    pub proxies: Vec<(String, String)>,
    /// PEM certificates that git has to know.
    pub certificates: String,
    /// The helper image of this executable.
    pub helper_image: HelperImage,
    /// Whether the engine may see this host's files.
    pub shares_files: bool,
    /// Whether whoever reads the log wants colour.
    pub colour: bool,
}

/// A job, ready to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The log's first lines.
    pub header: Vec<String>,
    /// Things that look wrong but stop nothing.
    pub warnings: Vec<String>,
    /// The images to resolve: the build's first, the helper's last.
    pub images: Vec<Image>,
    /// The job's own network, if it needs one.
    pub network: Option<Resource>,
    /// Volumes to make.
    pub volumes: Vec<Resource>,
    /// The services, in the job's order.
    pub services: Vec<Service>,
    /// Asks the services, from the helper, until they answer; prints a line `INDEX PROBLEM` for each that
    /// does not.
    pub health_check: Option<DockerCommand>,
    /// The log's line before the first stage.
    pub running_on: Word,
    /// The helper container's name.
    pub helper: Word,
    /// Ways to start the helper, with the sources in sight; the next one is for where the one before does
    /// not see them.
    pub helper_variants: Vec<Vec<DockerCommand>>,
    /// The build container.
    pub build: Build,
    /// What happens in the helper and the build container, in order.
    pub stages: Vec<Stage>,
    /// How long the job may take.
    pub timeout: Option<Duration>,
    /// Who may read from registries, as far as the job says so.
    pub registries: Brought,
    /// What must not be shown, anywhere.
    pub secrets: Vec<Secret>,
}

/// An image to resolve to its id.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name as the log shows it, with a tag.
    pub name: String,
    /// Stands for its id.
    pub slot: Slot,
    /// How to get it.
    pub source: ImageSource,
}

/// Where an image comes from.
#[derive(Clone, Debug)]
pub enum ImageSource {
    /// Somebody's.
    Pull {
        /// The registry it is in.
        registry: String,
        /// When to pull it, tried in turn.
        policies: Vec<PullPolicy>,
    },
    /// The runner's own: built where it is missing.
    Build(HelperImage),
}

/// A network or a volume.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its name.
    pub name: Word,
    /// Makes it.
    pub create: DockerCommand,
    /// It stays for the next job.
    pub keep: bool,
}

/// The build container.
#[derive(Clone, Debug)]
pub struct Build {
    /// Its name.
    pub name: Word,
    /// Makes and starts it, with the first of its stages over standard input.
    pub run: DockerCommand,
    /// Its shell may be started before the sources are there, unless the image has an entrypoint or a
    /// variable that a shell reads at once.
    pub may_wait: bool,
}

impl Plan {
    /// Plans a job.
    ///
    /// # Errors
    /// [`InputError`] where the job or the configuration says something that cannot be meant.
    pub fn new(
        job: &Job,
        config: &RunnerConfig,
        names: &Names,
        host: &Host,
    ) -> Result<Self, InputError> {
        let directory = project_directory(job, config)?;
        let mut variables = variables::resolve(job, config, names, host, &directory)?;
        let registries = registries::brought(&job.credentials, &mut variables);
        let policies = allowed::policies(&config.docker)?;
        let image = image(job, config, &variables)?;
        let builder = Builder::new(job, config, names, host, &variables, &directory)?;
        let services = builder.services()?;

        let pulled = |name: &Reference, slot: Slot| Image {
            name: name.to_string(),
            slot,
            source: ImageSource::Pull {
                registry: name.registry().to_owned(),
                policies: policies.clone(),
            },
        };
        let mut images = vec![pulled(&image.0, Slot::new("image_build"))];
        let of_services = services.iter();
        images
            .extend(of_services.map(|service| pulled(&service.image, service.image_slot.clone())));
        images.push(match &config.docker.helper_image {
            Some(name) => pulled(
                &reference("docker.helper_image", &variables.expand(name))?,
                Slot::new("image_helper"),
            ),
            None => Image {
                name: host.helper_image.name.clone(),
                slot: Slot::new("image_helper"),
                source: ImageSource::Build(host.helper_image.clone()),
            },
        });

        let network = (!services.is_empty()).then(|| builder.network());
        let health_check =
            builder.health_check(
                &services,
                config.docker.wait_for_services_timeout.map_or(
                    Some(WAIT_FOR_SERVICES),
                    |seconds| match u64::try_from(seconds) {
                        Ok(0) => Some(WAIT_FOR_SERVICES),
                        Ok(seconds) => Some(seconds),
                        Err(_) => None,
                    },
                ),
            );
        let build = builder.build(&image.1);
        let stages = stages::stages(job, host, &variables, &builder, &build)?;
        Ok(Self {
            header: vec![
                format!(
                    "Running with alloy-runner {} ({})",
                    host.version, host.revision
                ),
                format!("  on {} {}", config.name, config.short_token),
                format!("Using Docker executor with image {} ...", image.0),
            ],
            warnings: [registries.warnings, services::warnings(&services)].concat(),
            images,
            network,
            volumes: builder.volumes(),
            health_check,
            services,
            running_on: Word::from("Running on ")
                .then(&names.prefix)
                .then(format!(" via {}...", host.hostname)),
            helper: names.container("helper"),
            helper_variants: builder.helper_variants(),
            build,
            stages,
            timeout: job.timeout,
            secrets: variables
                .iter()
                .filter(|variable| !variable.public)
                .map(|variable| variable.value.clone())
                .chain(registries.secrets)
                .collect(),
            registries: registries.brought,
        })
    }
}

/// Reads an image's name that `place` gave.
fn reference(place: &str, name: &str) -> Result<Reference, InputError> {
    Reference::parse(name).map_err(|error| InputError::new(format!("{place}: {error}")))
}

fn image(
    job: &Job,
    config: &RunnerConfig,
    variables: &Variables,
) -> Result<(Reference, ImageSpec), InputError> {
    let own = job.image.clone();
    let spec = own.or_else(|| {
        config.docker.image.clone().map(|name| ImageSpec {
            name,
            ..ImageSpec::default()
        })
    });
    let spec = spec.ok_or_else(|| {
        InputError::new(format!(
            "the job `{}` has no image: give it one with the keyword `image`, or name a default with --docker-image",
            job.name
        ))
    })?;
    let place = format!("{}.image", job.name);
    let name = reference(&place, &variables.expand(&spec.name))?;
    allowed::image(&place, &name, &config.docker, variables)?;
    Ok((name, spec))
}

/// `/builds/<namespace>/<project>` (configuration, "Directories and volumes").
fn project_directory(job: &Job, config: &RunnerConfig) -> Result<String, InputError> {
    let builds = builds_directory(config)?;
    Ok(format!(
        "{builds}/{}/{}",
        job.project.namespace, job.project.name
    ))
}

fn builds_directory(config: &RunnerConfig) -> Result<String, InputError> {
    let directory = config
        .builds_dir
        .as_deref()
        .unwrap_or("/builds")
        .trim_end_matches('/');
    if directory.len() < 2 || !directory.starts_with('/') {
        return Err(InputError::new(format!(
            "builds_dir: `{directory}` must be an absolute path other than /"
        )));
    }
    Ok(directory.to_owned())
}
