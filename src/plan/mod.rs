//! What is to be done for a job, as data. Made without any IO: what only the engine knows is a slot.
//!
//! [`crate::executor`] runs a plan, [`crate::printer`] writes it as a shell script.

mod allowed;
mod artifacts;
mod caches;
mod containers;
mod ending;
mod git;
pub mod helper_image;
mod hold;
mod host;
mod images;
mod labels;
mod limits;
pub mod lines;
mod named;
pub mod names;
mod nested;
mod network;
mod options;
mod parts;
mod registries;
mod s3;
mod services;
mod settings;
mod sources;
mod stage;
mod stages;
mod tools;
mod variables;
mod volume;
mod volumes;

use std::time::Duration;

use crate::config::{PullPolicy, RunnerConfig};
use crate::docker::auth::RegistryAuths;
use crate::docker::{DockerCommand, Reference, Slot, Word};
pub use crate::job::kept::Kept;
use crate::job::variables::Variables;
use crate::job::{ImageSpec, Job};
use crate::keypath::KeyPath;
use crate::outcome::InputError;
pub use crate::script::ScriptMarkers;
use crate::seal::Seal;
use crate::secret::Secret;
pub use containers::HELPER;
use containers::{Builder, renamed};
pub use ending::{Ending, GRACE};
pub use hold::{HOLD_SEAL, HOLD_VOLUME, hold_seal, is_hold_seal};
pub use host::Host;
use images::Images;
pub use images::{Image, ImageSource};
use named::NamedBy;
use names::Names;
use network::Network;
pub use options::key_hint;
pub use parts::{Build, Errand, HelperStart, Resource, Service};
use settings::Settings;
pub use stage::{BuildStage, Exchange, Failure, HelperStage, REFUSED, StageKind, When};
pub use stages::JOB_STATUS;
use volumes::Layout;

/// How long services may take to answer (configuration, `wait_for_services_timeout`).
const WAIT_FOR_SERVICES: u64 = 30;

/// A job, ready to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The log's first lines.
    pub header: Vec<String>,
    /// Things that look wrong but stop nothing.
    pub warnings: Vec<String>,
    /// The images to resolve, each once: the build's first, the helper's last unless it is one of the others.
    pub images: Vec<Image>,
    /// The job's own network, if it needs one.
    pub network: Option<Resource>,
    /// Volumes of ours.
    pub volumes: Vec<Resource>,
    /// The services have to run before anything that uses them is made.
    pub services_first: bool,
    /// Clears the ways to volumes in volumes, before anything mounts them; and before the helper does, where services
    /// have run meanwhile.
    pub clear_nested: Option<Errand>,
    /// The services, the configuration's own first, then in the job's order.
    pub services: Vec<Service>,
    /// The services' logs go into the job's (`CI_DEBUG_SERVICES`).
    pub debug_services: bool,
    /// Asks the services, from the helper, until they answer; prints a line `INDEX PROBLEM` for each that
    /// does not.
    pub health_check: Option<DockerCommand>,
    /// What the names of everything begin with.
    pub prefix: Word,
    /// What everything is labelled with, [`Host::process`].
    pub process: String,
    /// [`Host::seal`].
    pub seal: Seal,
    /// The log's line before the first stage.
    pub running_on: Word,
    /// The helper container's name.
    pub helper: Word,
    /// How to start the helper with the sources in sight; the next one is for where the one before does not see them.
    pub helper_starts: Vec<HelperStart>,
    /// The build container.
    pub build: Build,
    /// What happens in the helper before the script: each stage after the one before has succeeded. The first is always
    /// [`StageKind::GetSources`].
    pub fetch: Vec<HelperStage>,
    /// The job's script.
    pub script: BuildStage,
    /// What follows it, whatever became of it, within the job's time. Its own end is no more than a warning.
    pub after_script: Option<BuildStage>,
    /// What happens in the helper after that, also when the job's time is over: each stage by its condition.
    pub finish: Vec<HelperStage>,
    /// How long the job may take.
    pub timeout: Option<Duration>,
    /// Who may read from registries, as far as the job says so.
    pub registries: RegistryAuths,
    /// What must not be shown, anywhere.
    pub secrets: Vec<Secret>,
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
        limits::words(job)?;
        let mut layout = Layout::new(job, config, names)?;
        let mut variables = variables::resolve(job, config, names, host, &layout)?;
        layout.place(&variables)?;
        let registries = registries::brought(&job.credentials, &mut variables);
        let policies = allowed::policies(&config.docker)?;
        allowed::user(&config.docker)?;
        let image = image(job, config, &variables)?;
        let settings = Settings::read(job, config, &variables);
        let fetches = settings.strategy == "fetch";
        let has_services = !job.services.is_empty() || config.docker.services().next().is_some();
        let builder = Builder {
            job,
            config,
            names,
            host,
            variables: &variables,
            layout: &layout,
            settings: &settings,
            network: Network::new(&config.docker, has_services)?,
            mounts: layout.mounts(
                config,
                names,
                fetches,
                variables.iter().any(|variable| variable.file),
            ),
            renamed: renamed(&variables),
        };
        let services = builder.services()?;

        let images = images(&builder, &image.0, &services, policies)?;
        let network = (!services.is_empty()).then(|| {
            let create = builder.labelled(DockerCommand::network_create(), "network");
            builder.network.resource(names, create)
        });
        let health_check = builder.health_check(&services, wait_for_services(config));
        let build = builder.build(&image.1, &image.0.to_string(), &services);
        let mut caches = builder.caches()?;
        let cache_warnings = std::mem::take(&mut caches.warnings);
        let cache_secrets = std::mem::take(&mut caches.secrets);
        let archives = caches.mount.take();
        let stages = builder.stages(&build, caches)?;
        let clear_nested = builder.clear_nested(!services.is_empty());
        let only = stages
            .only_in_helper()
            .filter(|_| health_check.is_none() && clear_nested.is_none());
        let helper_starts = builder.helper_starts(&services, only, archives.as_ref());
        limits::containers(job, &build, &helper_starts, &services)?;
        Ok(Self {
            header: header(config, names, host, &image.0),
            warnings: [
                registries.warnings,
                settings.warnings.clone(),
                services::warnings(&services),
                builder.kept_entrypoints(),
                cache_warnings,
            ]
            .concat(),
            images: images.found,
            network: network.flatten(),
            services_first: builder.network.services_first(),
            volumes: builder.volumes(archives.as_ref()),
            debug_services: variables.is_true("CI_DEBUG_SERVICES"),
            health_check,
            clear_nested,
            services,
            prefix: names.prefix.clone(),
            process: host.process.clone(),
            seal: host.seal.clone(),
            running_on: Word::from("Running on ")
                .then(&names.prefix)
                .then(format!(" via {}...", host.hostname)),
            helper: names.container("helper"),
            helper_starts,
            build,
            fetch: stages.fetch,
            script: stages.script,
            after_script: stages.after_script,
            finish: stages.finish,
            timeout: job.timeout,
            secrets: variables
                .iter()
                .filter(|variable| !variable.public)
                .map(|variable| variable.value.clone())
                .chain(registries.secrets)
                .chain(variables::secrets(job, host))
                .chain(cache_secrets)
                .collect(),
            registries: registries.brought,
        })
    }
}

/// The log's first lines.
fn header(config: &RunnerConfig, names: &Names, host: &Host, image: &Reference) -> Vec<String> {
    vec![
        format!(
            "Running with alloy-runner {} ({})",
            host.version, host.revision
        ),
        format!("  on {} {}", config.name, names.short_token),
        format!("Using Docker executor with image {image} ..."),
    ]
}

/// The images to resolve: the build's first, the helper's last.
fn images(
    builder: &Builder,
    build: &Reference,
    services: &[Service],
    policies: Vec<PullPolicy>,
) -> Result<Images, InputError> {
    let mut images = Images::new(policies);
    images.pull(build, Slot::new("image_build"));
    for service in services {
        images.pull(&service.image, service.image_slot.clone());
    }
    let helper = Slot::new(HELPER);
    match &builder.config.docker.helper_image {
        Some(name) => {
            let by = NamedBy::Runner("docker.helper_image".into());
            images.pull(&by.image(name, builder.variables)?, helper);
        }
        None => images.build(&builder.host.helper_image, helper),
    }
    Ok(images)
}

/// How long to wait for services, if at all.
fn wait_for_services(config: &RunnerConfig) -> Option<u64> {
    match config.docker.wait_for_services_timeout {
        None | Some(0) => Some(WAIT_FOR_SERVICES),
        Some(seconds) => u64::try_from(seconds).ok(),
    }
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
        let what = format!(
            "the job `{}` has no image: give it one with the keyword `image`, or name a default with --docker-image",
            job.name
        );
        InputError::new(what)
    })?;
    let by = NamedBy::Job(KeyPath::of(&job.name).key("image"));
    let name = by.image(&spec.name, variables)?;
    allowed::image(&by, &name, &config.docker, variables)?;
    Ok((name, spec))
}
