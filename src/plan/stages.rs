//! The stages of a job: which script goes where, when, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use super::Build;
use super::caches::Caches;
use super::containers::Builder;
use crate::docker::{DockerCommand, Slot, Word};
pub use crate::helper::task::REFUSED;
use crate::job::kept::Kept;
use crate::outcome::InputError;
use crate::script::{BuildScript, GetSources, Marks};

/// The word that stands for the job's status, `success` or `failed`, once it is known.
pub const JOB_STATUS: &str = "job_status";

/// Where a stage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the helper container.
    Helper,
    /// In the build container.
    Build,
}

/// When a stage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Only if everything went well so far.
    OnSuccess,
    /// Only if something failed.
    OnFailure,
    /// In any case, except that somebody cancelled the job.
    Always,
}

/// What it means for the job where a stage fails that is not the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The system failed.
    System,
    /// The same, unless it says [`REFUSED`]: the job asks for something that is not to be had.
    Refusable,
    /// It costs a warning.
    Warning,
}

/// Files of this host that go into a stage or come out of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// None.
    None,
    /// The stage runs once for each zip file in a directory, which is its standard input in place of a script. Where
    /// there is none, there are no artifacts of that job.
    In {
        /// Whose artifacts they are.
        job: String,
        /// Where they are.
        directory: PathBuf,
    },
    /// What it prints to stdout becomes the job's archive, in place of those there, and is unpacked for people.
    /// Nothing printed, nothing changed.
    Out {
        /// Where it goes.
        kept: Box<Kept>,
        /// What it is called.
        name: String,
        /// How many megabytes it may unpack to, where the job says it.
        limit: Option<u64>,
    },
}

/// A script and where it belongs.
#[derive(Clone, Debug)]
pub struct Stage {
    /// For people.
    pub name: &'static str,
    /// Where it runs.
    pub place: Place,
    /// The command that takes the script.
    pub command: DockerCommand,
    /// The script, for standard input.
    pub script: Word,
    /// The script writes all to stdout: what comes by stderr is docker's.
    pub one_stream: bool,
    /// Files of this host beside it.
    pub exchange: Exchange,
    /// When it runs.
    pub when: When,
    /// What its failure means.
    pub failure: Failure,
    /// How often it is tried.
    pub attempts: u32,
    /// How long it may take by itself.
    pub timeout: Option<Duration>,
    /// A shell beside it, for somebody at a terminal. Where there is one, the script waits when it has failed.
    pub enter: Option<DockerCommand>,
}

impl Stage {
    /// A stage that is tried once, after success only, and whose failure is the system's.
    pub(super) fn new(
        name: &'static str,
        place: Place,
        command: DockerCommand,
        script: impl Into<Word>,
    ) -> Self {
        Self {
            name,
            place,
            command,
            script: script.into(),
            one_stream: false,
            exchange: Exchange::None,
            when: When::OnSuccess,
            failure: Failure::System,
            attempts: 1,
            timeout: None,
            enter: None,
        }
    }
}

/// The stages, in their order.
pub(super) fn stages(
    builder: &Builder,
    build: &Build,
    caches: Caches,
) -> Result<Vec<Stage>, InputError> {
    let Builder {
        job,
        config,
        host,
        variables,
        layout,
        settings,
        ..
    } = builder;
    let made = builder.mounts.iter().enumerate();
    let made = made.filter(|(_, mount)| mount.made.is_some() && !mount.is_read_only());
    let made = made.filter_map(|(index, mount)| layout.in_helper(index, mount));
    // The outermost first: whether a path is a link is asked when nothing on the way to it is one.
    let mut open: Vec<String> = layout.parents().collect();
    open.reverse();
    open.extend(made);
    let below = format!("{}/", layout.directory);
    let kept = builder
        .mounts
        .iter()
        .filter_map(|mount| mount.target.strip_prefix(&below));
    let kept: Vec<String> = kept.map(str::to_owned).collect();
    let sources = GetSources {
        before: config.pre_clone_script.as_deref().unwrap_or_default(),
        certificates: &host.certificates,
        ..builder.sources(&open, &kept)
    };
    let shell = builder.helper_shell();
    let get_sources = Stage {
        attempts: settings.get_sources_attempts,
        one_stream: true,
        ..Stage::new("get_sources", Place::Helper, shell, sources.text())
    };
    let file_variables = variables.iter().filter(|variable| variable.file);
    let file_variables: Vec<String> = file_variables
        .map(|variable| variable.name.clone())
        .collect();
    let files = layout.files(&builder.mounts);
    let commands: Vec<String> = [&config.pre_build_script]
        .into_iter()
        .flatten()
        .chain(&job.script)
        .chain(&config.post_build_script)
        .cloned()
        .collect();
    let script = BuildScript {
        commands: &commands,
        directory: &layout.directory,
        file_variables: (&file_variables, &files),
        renamed: &builder.renamed,
        trace: settings.trace,
        colour: host.colour,
        marks: host.marks,
        job_status: None,
    };
    let mut stages = vec![get_sources];
    stages.extend(caches.restore);
    stages.extend(builder.downloads()?);
    stages.push(Stage {
        timeout: job.script_timeout,
        enter: (host.marks == Marks::Failure)
            .then(|| DockerCommand::exec_on_terminal().operands(&build.name, script.shell())),
        ..Stage::new("build", Place::Build, build.run.clone(), script.text())
    });
    if !job.after_script.is_empty() {
        let script = BuildScript {
            commands: &job.after_script,
            job_status: Some(Slot::new(JOB_STATUS)),
            // Nobody enters after it.
            marks: match host.marks {
                Marks::Failure => Marks::Success,
                marks => marks,
            },
            ..script
        };
        let command = DockerCommand::start_attached(&build.name);
        stages.push(Stage {
            when: When::Always,
            failure: Failure::Warning,
            timeout: Some(settings.after_script_timeout),
            ..Stage::new("after_script", Place::Build, command, script.text())
        });
    }
    stages.extend(caches.archive);
    stages.extend(builder.uploads()?);
    Ok(stages)
}

/// The stage in the helper, if there is but one, and it is tried once.
pub(super) fn only_in_helper(stages: &[Stage]) -> Option<&Stage> {
    let mut stages = stages.iter().filter(|stage| stage.place == Place::Helper);
    let only = stages.next().filter(|stage| stage.attempts == 1);
    only.filter(|_| stages.next().is_none())
}
