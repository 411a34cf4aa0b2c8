//! What is to be done for a job, as data. Made without any IO: what only the engine knows is a slot.
//!
//! [`crate::executor`] runs a plan, [`crate::printer`] writes it as a shell script. What both have to know has one place
//! here, so that they cannot differ: the phases of a job are fields of a [`Plan`], a [`stage`] has its condition and
//! what its failure means, and [`lines`] are what both say in the log.
//!
//! [`Plan::new`] goes from what a job and a configuration say to docker commands:
//!
//! 1. What is meant: [`variables`], [`settings`] (variables that say how a job is run; [`git_options`]: words of theirs
//!    for git), [`volumes`] (which places of the containers are on which volumes; [`nested`]: those in others),
//!    [`registries`], and what of it is [`allowed`]. Images and services are [`named`] in the job or in the configuration,
//!    which errors say, and a job has [`chosen`] more of them.
//! 2. Commands: [`containers`] has a builder for them, which [`services`] (and [`service_variables`]), [`network`],
//!    [`mounts`], [`options`] (keys of the configuration as options of docker), [`git`], [`job_git`] (what the job's own
//!    git is told), [`labels`] and [`hold`] (a build container that waits for its sources) are parts of. The results are
//!    [`parts`] of the plan.
//! 3. Scripts: [`stages`] puts them in order; [`sources`], [`hooks`], [`caches`] (in a bucket: [`s3`]), [`artifacts`] and [`tools`]
//!    say what the helper is told, [`ending`] how what runs in a container is ended.
//! 4. [`limits`]: whether a process can be given all that.
//!
//! [`names`] has the names and labels of what is made, for those too who look for it later.

mod allowed;
mod artifacts;
mod caches;
mod chosen;
mod containers;
mod ending;
mod git;
mod git_options;
pub mod header;
pub mod helper_image;
mod hold;
mod hooks;
mod host;
mod images;
mod job_git;
mod labels;
mod limits;
pub mod lines;
mod log_form;
mod mounts;
mod named;
pub mod names;
mod nested;
mod network;
mod options;
mod owner;
mod parts;
mod registries;
mod s3;
mod service_variables;
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

use crate::config::RunnerConfig;
use crate::docker::auth::RegistryAuths;
use crate::docker::{DockerCommand, Slot, Word};
use crate::job::Job;
use crate::job::files::Kind;
pub use crate::job::kept::Kept;
use crate::outcome::InputError;
pub use crate::script::ScriptMarkers;
use crate::seal::Seal;
use crate::secret::Secret;
use chosen::BuildImage;
pub use containers::HELPER;
use containers::{Builder, renamed};
pub use ending::{Ending, GRACE};
pub use hold::{HOLD_SEAL, HOLD_VOLUME, hold_seal, is_hold_seal};
pub use host::{CloudKeys, Host};
use images::Images;
pub use images::{Image, ImageSource, Pulling};
pub use log_form::LogForm;
use named::NamedBy;
use names::Names;
use network::Network;
pub use options::key_hint;
pub use parts::{Build, HelperStart, Resource, Service};
use registries::Registries;
use settings::Settings;
pub use stage::{
    Asked, BuildStage, Errand, Exchange, Failure, HelperStage, REFUSED, StageKind, When,
};
pub use stages::JOB_STATUS;
use volumes::Layout;

/// How long services may take to answer (configuration, `wait_for_services_timeout`).
const WAIT_FOR_SERVICES: u64 = 30;

/// A job, ready to be run.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a decision of its own"
)]
pub struct Plan {
    /// What the log has beside its lines.
    pub log_form: LogForm,
    /// The log's first lines.
    pub header: Vec<String>,
    /// Things that look wrong but stop nothing.
    pub warnings: Vec<String>,
    /// The images to resolve, each once: the build's first, the helper's last unless it is one of the others.
    pub images: Vec<Image>,
    /// The job's own network, if it needs one.
    pub network: Option<Resource>,
    /// The job's volumes, those that stay for other jobs among them.
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
    /// The host that it runs on.
    pub hostname: String,
    /// [`Host::engine`].
    pub engine: Option<String>,
    /// The helper container's name.
    pub helper: Word,
    /// How to start the helper with the sources in sight; the next one is for where the one before does not see them.
    pub helper_starts: Vec<HelperStart>,
    /// The build container.
    pub build: Build,
    /// What happens in the helper before the script: each stage after the one before has succeeded. The first is
    /// [`StageKind::GetSources`], unless the job has a hook before it.
    pub fetch: Vec<HelperStage>,
    /// The job's script.
    pub script: BuildStage,
    /// What follows it in the same container where it went well, one after the other: their ends are the job's too.
    pub releases: Vec<BuildStage>,
    /// What follows that, whatever became of it, within the job's time.
    pub after_script: Option<BuildStage>,
    /// Its failure is no more than a warning.
    pub ignores_after_script: bool,
    /// What the `after_script` is told of a script whose time was over.
    pub timed_out: &'static str,
    /// What happens in the helper after that, also when the job's time is over: each stage by its condition.
    pub finish: Vec<HelperStage>,
    /// How long the job may take.
    pub timeout: Option<Duration>,
    /// How long it may take, of that, until the sources are fetched.
    pub prepare_timeout: Option<Duration>,
    /// The unnamed volumes of its containers stay on the engine (`volume_keep`).
    pub keep_volumes: bool,
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
        // Variables say where the sources and files of values are, and what others are follows from that.
        let mut layout = Layout::new(job, config, names)?;
        let resolve = |layout: &Layout| variables::resolve(job, config, names, host, layout);
        let misplaced = layout.take_directory(config, &resolve(&layout)?);
        let variables = resolve(&layout)?;
        layout.place(&variables)?;
        let mut settings = Settings::read(job, config, &variables);
        settings.warnings.extend(misplaced);
        let fetches = settings.git.strategy == "fetch";
        let tells_variables = job.kind() == Kind::GitLab && job.has_later_scripts();
        let has_files = tells_variables || variables.iter().any(|variable| variable.file);
        let has_files = has_files || job_git::lent(job).is_some();
        let mounts = layout.mounts(config, names, fetches, has_files);
        let mut variables = resolve(&layout)?;
        let registries = registries::read(job, &mut variables);
        allowed::user(&config.docker)?;
        let chosen = BuildImage::of(job, config, &variables)?;
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
            mounts,
            renamed: renamed(&variables),
        };
        builder.plan(&chosen, registries)
    }

    /// Removes containers of the job, with what goes with them.
    pub fn removal<'w>(&self, containers: impl IntoIterator<Item = &'w Word>) -> DockerCommand {
        if self.keep_volumes {
            DockerCommand::remove_without_volumes(containers)
        } else {
            DockerCommand::remove(containers)
        }
    }
}

impl Builder<'_> {
    /// The plan of a job that is understood by now.
    fn plan(&self, chosen: &BuildImage, registries: Registries) -> Result<Plan, InputError> {
        let Self {
            job,
            config,
            names,
            host,
            variables,
            ..
        } = self;
        let services = self.services()?;
        let images = images(self, chosen, &services)?;
        let network = (!services.is_empty()).then(|| {
            let create = self.labelled(DockerCommand::network_create(), "network");
            let create = options::network(&config.docker, create);
            self.network.resource(names, create)
        });
        let health_check = self.health_check(&services, wait_for_services(config));
        let build = self.build(chosen, &services);
        let mut caches = self.caches()?;
        let cache_warnings = std::mem::take(&mut caches.warnings);
        let cache_secrets = std::mem::take(&mut caches.secrets);
        let archives = caches.mount.take();
        let mut stages = self.stages(&build, caches)?;
        stages.fetch.extend(self.give_sources(chosen));
        let clear_nested = self.clear_nested(!services.is_empty());
        let only = stages
            .only_in_helper()
            .filter(|_| health_check.is_none() && clear_nested.is_none());
        let helper_starts = self.helper_starts(&services, only, archives.as_ref());
        limits::containers(job, &build, &helper_starts, &services)?;
        let of_variables = variables.iter().filter(|variable| variable.secret);
        Ok(Plan {
            log_form: LogForm::of(job, self.settings),
            header: vec![
                header::running_with(&host.version, &host.revision),
                header::of_runner(&config.name, &names.short_token),
                header::using_executor(&chosen.image),
            ],
            warnings: [
                registries.warnings,
                self.settings.warnings.clone(),
                chosen.warnings.clone(),
                services::warnings(&services),
                self.kept_entrypoints(),
                cache_warnings,
            ]
            .concat(),
            images: images.found,
            network: network.flatten(),
            services_first: self.network.services_first(),
            volumes: self.volumes(archives.as_ref()),
            debug_services: variables.is_true("CI_DEBUG_SERVICES"),
            health_check,
            clear_nested,
            services,
            prefix: names.prefix.clone(),
            process: host.process.clone(),
            seal: host.seal.clone(),
            hostname: host.hostname.clone(),
            engine: host.engine.clone(),
            helper: names.container("helper"),
            helper_starts,
            build,
            fetch: stages.fetch,
            script: stages.script,
            releases: stages.releases,
            after_script: stages.after_script,
            ignores_after_script: self.settings.ignores_after_script,
            timed_out: match job.kind() {
                Kind::GitLab => "timedout",
                Kind::AlloyCi => "failed",
            },
            finish: stages.finish,
            timeout: job.timeout,
            prepare_timeout: config.prepare_timeout,
            keep_volumes: config.docker.volume_keep == Some(true),
            secrets: of_variables
                .map(|variable| variable.value.clone())
                .chain(registries.secrets)
                .chain(variables::secrets(job, host))
                .chain(cache_secrets)
                .collect(),
            registries: registries.auths,
        })
    }
}

/// The images to resolve: the build's first, the helper's last.
fn images(
    builder: &Builder,
    build: &BuildImage,
    services: &[Service],
) -> Result<Images, InputError> {
    let mut images = Images::default();
    images.pull(&build.image, &build.pulling, Slot::new("image_build"));
    for service in services {
        images.pull(&service.image, &service.pulling, service.image_slot.clone());
    }
    let helper = Slot::new(HELPER);
    match &builder.config.docker.helper_image {
        Some(name) => {
            let by = NamedBy::Runner("docker.helper_image".into());
            let own = Pulling {
                policies: allowed::policies(&builder.config.docker)?,
                platform: None,
            };
            images.pull(&by.image(name, builder.variables)?, &own, helper);
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
