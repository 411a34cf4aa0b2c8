//! Artifacts: those of other jobs are fetched before a build, the job's own handed on after it.

use super::containers::Builder;
use super::stage::{Exchange, Failure, HelperStage, StageKind, When};
use crate::helper::task::{self, Format};
use crate::job::files::{Artifacts, Kind, When as Kept};
use crate::job::kept::file_name;
use crate::outcome::InputError;

/// The command that fetches artifacts.
const COMMAND: &str = "artifacts-downloader";

impl Builder<'_> {
    /// The stages that fetch the artifacts of other jobs.
    ///
    /// # Errors
    /// [`InputError`] where there is too much to say of it.
    pub fn downloads(&self) -> Result<Vec<HelperStage>, InputError> {
        let from = self.job.coordinator.iter().flat_map(|coordinator| {
            self.job.dependencies.iter().map(|dependency| task::Source {
                job: format!("{} ({})", dependency.name, dependency.id),
                url: format!(
                    "{}/jobs/{}/artifacts{}",
                    coordinator.api,
                    dependency.id,
                    match coordinator.kind {
                        Kind::AlloyCi => "",
                        // It may send on to where they are stored.
                        Kind::GitLab => "?direct_download=true",
                    }
                ),
                token: dependency.token.expose().to_owned(),
            })
        });
        let from: Vec<_> = from.collect();
        let task = task::Download {
            project: self.layout.project(),
            attempts: self.settings.download_attempts,
            limit: self.settings.unpack_limit,
            certificates: self.host.certificates.clone(),
            proxies: self.proxies(!from.is_empty()),
            from,
        };
        let stage = |(command, script), exchange| HelperStage {
            exchange,
            failure: Failure::Refusable,
            ..HelperStage::new(StageKind::DownloadArtifacts, command, script)
        };
        if !task.from.is_empty() {
            return Ok(vec![stage(
                self.tool(COMMAND, &task, true)?,
                Exchange::None,
            )]);
        }
        let kept = self.job.kept.iter();
        let from = kept.flat_map(|kept| kept.from.iter().map(move |job| (kept, job)));
        from.map(|(kept, job)| {
            let exchange = Exchange::In {
                job: job.clone(),
                directory: kept.archives_of(job),
            };
            let command = self.tool_with_input(COMMAND, &task)?;
            Ok(stage((command, "".into()), exchange))
        })
        .collect()
    }

    /// The stages that hand on what the job leaves.
    ///
    /// # Errors
    /// [`InputError`] where there is too much to say of it.
    pub fn uploads(&self) -> Result<Vec<HelperStage>, InputError> {
        let used = self.job.artifacts.iter();
        let used = used.filter(|artifacts| !artifacts.paths.is_empty() || artifacts.untracked);
        let stages = used.enumerate();
        let stages = stages.map(|(index, artifacts)| self.upload(index, artifacts));
        Ok(stages
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    fn upload(
        &self,
        index: usize,
        artifacts: &Artifacts,
    ) -> Result<Option<HelperStage>, InputError> {
        let format = self.format(index, artifacts)?;
        let name = self.archive_name(artifacts, format);
        let (to, exchange) = match (&self.job.coordinator, &self.job.kept) {
            (Some(coordinator), _) => {
                let receiver = task::Receiver {
                    url: format!("{}/jobs/{}/artifacts", coordinator.api, self.job.id),
                    token: coordinator.token.expose().to_owned(),
                    about: about(artifacts),
                };
                (Some(receiver), Exchange::None)
            }
            (None, Some(kept)) => {
                let out = Exchange::Out {
                    kept: Box::new(kept.clone()),
                    name: name.clone(),
                    limit: self.settings.unpack_limit,
                };
                (None, out)
            }
            (None, None) => return Ok(None),
        };
        let task = task::Upload {
            project: self.layout.project(),
            files: self.files(&artifacts.paths, artifacts.untracked, &artifacts.exclude),
            name,
            format,
            level: self.settings.artifact_level,
            certificates: self.host.certificates.clone(),
            proxies: self.proxies(to.is_some()),
            to,
        };
        let texts = task
            .files
            .paths
            .iter()
            .chain(&task.files.exclude)
            .chain([&task.name])
            .map(String::as_str);
        let secret = task.to.is_some() || self.shows_secret(texts);
        let (command, script) = self.tool("artifacts-uploader", &task, secret)?;
        Ok(Some(HelperStage {
            exchange,
            when: match artifacts.when {
                Kept::OnSuccess | Kept::Manual => When::OnSuccess,
                Kept::OnFailure => When::OnFailure,
                Kept::Always => When::Always,
            },
            failure: Failure::Refusable,
            ..HelperStage::new(StageKind::UploadArtifacts, command, script)
        }))
    }

    fn format(&self, index: usize, artifacts: &Artifacts) -> Result<Format, InputError> {
        let said = artifacts.artifact_format.as_deref().unwrap_or_default();
        if said.is_empty() {
            return Ok(Format::default());
        }
        Format::of(said).ok_or_else(|| {
            InputError::new(format!(
                "{}.artifacts[{index}]: the format `{}` is none that this runner can make: zip, gzip, raw",
                self.job.name.escape_debug(),
                said.escape_debug()
            ))
        })
    }

    /// What the archive is called: `artifacts.zip` unless the job says something else.
    fn archive_name(&self, artifacts: &Artifacts, format: Format) -> String {
        let name = artifacts.name.as_deref().unwrap_or_default();
        let name = self.variables.expand(name);
        let hidden = name.trim_start().starts_with('.');
        let mut name = file_name(&name);
        if hidden && format != Format::Zip {
            // A report that is called `.env`, and is nowhere a file of this host.
            name.replace_range(..1, ".");
        }
        let ending = format.ending();
        match name.strip_suffix(ending).unwrap_or(&name) {
            "" => format!("artifacts{ending}"),
            name => format!("{name}{ending}"),
        }
    }
}

/// What an upload says of artifacts: what the job says, and nothing of what it does not.
fn about(artifacts: &Artifacts) -> Vec<(String, String)> {
    let all = [
        ("artifact_format", &artifacts.artifact_format),
        ("artifact_type", &artifacts.artifact_type),
        ("expire_in", &artifacts.expire_in),
    ];
    let said = all.into_iter().filter_map(|(name, value)| {
        let value = value.as_deref().filter(|value| !value.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    });
    said.collect()
}
