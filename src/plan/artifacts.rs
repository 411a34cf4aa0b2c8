//! Artifacts: those of other jobs are fetched before a build, the job's own handed on after it.

use super::containers::Builder;
use super::stage::{Exchange, Failure, HelperStage, StageKind, When};
use crate::helper::task;
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
        let stages = used.map(|artifacts| self.upload(artifacts));
        Ok(stages
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    fn upload(&self, artifacts: &Artifacts) -> Result<Option<HelperStage>, InputError> {
        let name = self.archive_name(artifacts);
        let (to, exchange) = match (&self.job.coordinator, &self.job.kept) {
            (Some(coordinator), _) => {
                let receiver = task::Receiver {
                    url: format!("{}/jobs/{}/artifacts", coordinator.api, self.job.id),
                    token: coordinator.token.expose().to_owned(),
                    expire_in: artifacts.expire_in.clone().filter(|time| !time.is_empty()),
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
            files: self.files(&artifacts.paths, artifacts.untracked),
            name,
            certificates: self.host.certificates.clone(),
            proxies: self.proxies(to.is_some()),
            to,
        };
        let texts = task
            .files
            .paths
            .iter()
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

    /// What the archive is called: `artifacts.zip` unless the job says something else.
    fn archive_name(&self, artifacts: &Artifacts) -> String {
        let name = artifacts.name.as_deref().unwrap_or_default();
        let name = file_name(&self.variables.expand(name));
        match name.strip_suffix(".zip").unwrap_or(&name) {
            "" => "artifacts.zip".to_owned(),
            name => format!("{name}.zip"),
        }
    }
}
