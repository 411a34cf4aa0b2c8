//! Who may read from registries, as a job and its runner's `environment` have it.

use crate::docker::auth::{Auths, Brought};
use crate::job::Job;
use crate::job::variables::Variables;
use crate::secret::Secret;

/// A variable with docker's `config.json` in it. It is for the runner: no container gets it.
pub(super) const DOCKER_AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

/// What was found.
pub(super) struct Registries {
    pub brought: Brought,
    /// What is wrong with it.
    pub warnings: Vec<String>,
    /// What must not be shown.
    pub secrets: Vec<Secret>,
}

/// Takes what is meant for registries out of the job's variables and its `credentials`.
pub(super) fn brought(job: &Job, variables: &mut Variables) -> Registries {
    let mut brought = Brought::default();
    let mut warnings = Vec::new();
    let mut secrets = Vec::new();
    if let Some(variable) = variables.remove(DOCKER_AUTH_CONFIG) {
        let (auths, wrong) = Auths::read(variable.value.expose());
        brought.variable = auths;
        let said = |wrong| format!("{DOCKER_AUTH_CONFIG}: {wrong}");
        warnings.extend(wrong.into_iter().map(said));
        secrets.push(variable.value);
    }
    for credential in &job.credentials {
        let (username, password) = (&credential.username, &credential.password);
        brought.credentials.add(&credential.url, username, password);
    }
    secrets.extend(brought.secrets());
    Registries {
        brought,
        warnings,
        secrets,
    }
}
