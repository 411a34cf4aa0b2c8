//! The stages of a job: which script goes into which container, and in what order.

use super::caches::Caches;
use super::containers::Builder;
use super::log_form::LogForm;
use super::parts::Build;
use super::stage::{BuildStage, HelperStage, StageKind};
use crate::docker::{DockerCommand, Slot};
use crate::job::files::Kind;
use crate::outcome::InputError;
use crate::script::{BuildScript, EnvFile, GetSources, ScriptMarkers};

/// The word that stands for the job's status, `success`, `failed` or `canceled`, once it is known.
pub const JOB_STATUS: &str = "job_status";

/// What [`Plan`](super::Plan) says of its stages.
pub(super) struct Stages {
    pub fetch: Vec<HelperStage>,
    pub script: BuildStage,
    pub releases: Vec<BuildStage>,
    pub after_script: Option<BuildStage>,
    pub finish: Vec<HelperStage>,
}

/// What runs in the build container.
struct Scripts {
    script: BuildStage,
    releases: Vec<BuildStage>,
    after_script: Option<BuildStage>,
}

impl Stages {
    /// The stage in the helper, if there is but one, and it is tried once.
    pub fn only_in_helper(&self) -> Option<&HelperStage> {
        match (&self.fetch[..], &self.finish[..]) {
            ([only], []) => Some(only).filter(|only| only.attempts == 1),
            _ => None,
        }
    }
}

impl Builder<'_> {
    /// Plans the stages.
    ///
    /// # Errors
    /// [`InputError`] where caches or artifacts cannot be said.
    pub fn stages(&self, build: &Build, caches: Caches) -> Result<Stages, InputError> {
        let [before, after] = self.hooks();
        let mut fetch: Vec<_> = before.into_iter().collect();
        fetch.push(self.get_sources());
        fetch.extend(after);
        fetch.extend(caches.restore);
        fetch.extend(self.downloads()?);
        let Scripts {
            script,
            releases,
            after_script,
        } = self.scripts(build);
        let mut finish = caches.archive;
        finish.extend(self.uploads()?);
        Ok(Stages {
            fetch,
            script,
            releases,
            after_script,
            finish,
        })
    }

    fn get_sources(&self) -> HelperStage {
        let made = self.mounts.iter().enumerate();
        let made = made.filter(|(_, mount)| mount.made.is_some() && !mount.is_read_only());
        let made = made.filter_map(|(index, mount)| self.layout.in_helper(index, mount));
        // The outermost first: whether a path is a link is asked when nothing on the way to it is one.
        let mut open: Vec<String> = self.layout.parents().collect();
        open.reverse();
        open.extend(made);
        let below = format!("{}/", self.layout.directory);
        let mounts = self.mounts.iter();
        let kept = mounts.filter_map(|mount| mount.target.strip_prefix(&below));
        let kept: Vec<String> = kept.map(str::to_owned).collect();
        let script = GetSources {
            before: self.config.pre_clone_script.as_deref().unwrap_or_default(),
            after: self
                .config
                .post_get_sources_script
                .as_deref()
                .unwrap_or_default(),
            certificates: &self.host.certificates,
            ..self.sources(&open, &kept)
        };
        HelperStage {
            attempts: self.settings.get_sources_attempts,
            timeout: self.config.get_sources_timeout,
            one_stream: true,
            ..HelperStage::new(StageKind::GetSources, self.helper_shell(), script.text())
        }
    }

    /// The file by which scripts of a job of GitLab's tell variables to later ones; `files` is a directory for it.
    fn env_file<'f>(&self, files: &'f str) -> EnvFile<'f> {
        match (self.job.kind(), self.job.has_later_scripts()) {
            (Kind::AlloyCi, _) => EnvFile::None,
            (Kind::GitLab, false) => EnvFile::Unread,
            (Kind::GitLab, true) => EnvFile::New(files),
        }
    }

    /// What the sections of a script's commands are called by, where the log is to have them.
    fn command_sections(&self, kind: StageKind) -> Option<&'static str> {
        let wanted = self.settings.script_sections && LogForm::of(self.job, self.settings).sections;
        wanted.then_some(match kind {
            StageKind::Release => "release",
            StageKind::AfterScript => "after_script",
            _ => "script",
        })
    }

    /// The job's `script` and what follows it.
    fn scripts(&self, build: &Build) -> Scripts {
        let file_variables = self.variables.iter().filter(|variable| variable.file);
        let file_variables: Vec<String> = file_variables
            .map(|variable| variable.name.clone())
            .collect();
        let commands: Vec<String> = [&self.config.pre_build_script]
            .into_iter()
            .flatten()
            .chain(&self.job.script)
            .chain(&self.config.post_build_script)
            .cloned()
            .collect();
        let script = BuildScript {
            commands: &commands,
            directory: &self.layout.directory,
            file_variables: (&file_variables, &self.layout.files),
            renamed: &self.renamed,
            trace: self.settings.trace,
            colour: self.host.colour,
            sections: self.command_sections(StageKind::Script),
            markers: self.host.markers,
            job_status: None,
            env_file: self.env_file(&self.layout.files),
            login: self.login(),
        };
        let first = BuildStage {
            kind: StageKind::Script,
            command: build.run.clone(),
            script: script.text(),
            timeout: self.settings.script_timeout,
            enter: (self.host.markers == ScriptMarkers::Failure)
                .then(|| DockerCommand::exec_on_terminal().operands(&build.name, script.shell())),
        };
        let later = |kind, commands, job_status, timeout| BuildStage {
            kind,
            command: DockerCommand::start_attached(&build.name),
            script: BuildScript {
                commands,
                sections: self.command_sections(kind),
                job_status,
                env_file: script.env_file.later(),
                // There is no shell after it.
                markers: match self.host.markers {
                    ScriptMarkers::Failure => ScriptMarkers::Success,
                    markers => markers,
                },
                ..script.clone()
            }
            .text(),
            timeout,
            enter: None,
        };
        let releases = self.job.releases.iter();
        let releases =
            releases.map(|step| later(StageKind::Release, &step.script, None, step.timeout));
        let after_script = (!self.job.after_script.is_empty()).then(|| {
            let status = Some(Slot::new(JOB_STATUS));
            let timeout = Some(self.settings.after_script_timeout);
            later(
                StageKind::AfterScript,
                &self.job.after_script,
                status,
                timeout,
            )
        });
        Scripts {
            script: first,
            releases: releases.collect(),
            after_script,
        }
    }
}
