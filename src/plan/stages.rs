//! The stages of a job: which script goes where, when, and for how long.

use super::caches::Caches;
use super::containers::Builder;
use super::parts::Build;
use super::stage::{Failure, Place, Stage, When};
use crate::docker::{DockerCommand, Slot};
use crate::outcome::InputError;
use crate::script::{BuildScript, GetSources, ScriptMarkers};

/// The word that stands for the job's status, `success` or `failed`, once it is known.
pub const JOB_STATUS: &str = "job_status";

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
        enter: (host.marks == ScriptMarkers::Failure)
            .then(|| DockerCommand::exec_on_terminal().operands(&build.name, script.shell())),
        ..Stage::new("build", Place::Build, build.run.clone(), script.text())
    });
    if !job.after_script.is_empty() {
        let script = BuildScript {
            commands: &job.after_script,
            job_status: Some(Slot::new(JOB_STATUS)),
            // No shell is opened after it.
            marks: match host.marks {
                ScriptMarkers::Failure => ScriptMarkers::Success,
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
