//! Who may read from registries, as a job and its runner's `environment` have it.

use crate::docker::auth::{Auths, RegistryAuths};
use crate::job::Job;
use crate::job::files::Kind;
use crate::job::variables::Variables;
use crate::secret::Secret;

/// A variable with docker's `config.json` in it. It is for the runner; a container gets it where it is a variable of a job
/// of GitLab's.
pub(super) const DOCKER_AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

/// What was found.
pub(super) struct Registries {
    pub auths: RegistryAuths,
    /// What is wrong with it.
    pub warnings: Vec<String>,
    /// What must not be shown.
    pub secrets: Vec<Secret>,
}

/// Reads what is meant for registries: a job's variable, which is taken out unless the job is to have it, and its
/// credentials.
pub(super) fn read(job: &Job, variables: &mut Variables) -> Registries {
    let mut all = RegistryAuths::default();
    let mut warnings = Vec::new();
    let mut secrets = Vec::new();
    // Recipes for GitLab that build images read it. The passwords of the runner's own `environment` are for pulling.
    let mut own = job.variables.iter();
    let keeps = job.kind() == Kind::GitLab && own.any(|own| own.name == DOCKER_AUTH_CONFIG);
    let value = variables.get(DOCKER_AUTH_CONFIG).map(Secret::new);
    if !keeps {
        variables.remove(DOCKER_AUTH_CONFIG);
    }
    if let Some(value) = value {
        let (auths, wrong) = Auths::read(value.expose());
        all.variable = auths;
        let said = |wrong| format!("{DOCKER_AUTH_CONFIG}: {wrong}");
        warnings.extend(wrong.into_iter().map(said));
        secrets.push(value);
    }
    for credential in &job.credentials {
        let (username, password) = (&credential.username, &credential.password);
        all.credentials.add(&credential.url, username, password);
    }
    secrets.extend(all.secrets());
    Registries {
        auths: all,
        warnings,
        secrets,
    }
}

#[cfg(test)]
mod tests {
    use super::{DOCKER_AUTH_CONFIG, read};
    use crate::job::variables::{Variable, Variables};
    use crate::job::{Credential, payload};
    use crate::secret::Secret;

    #[test]
    fn the_variable_is_gitlabs_jobs_alone_and_all_passwords_are_secrets() {
        let [alloyci, gitlab] = [
            include_str!("../../fixtures/payloads/alloyci.json"),
            include_str!("../../fixtures/payloads/gitlab.json"),
        ];
        for (payload, is_jobs, count) in [(alloyci, true, 0), (gitlab, true, 1), (gitlab, false, 0)]
        {
            assert_read(payload, is_jobs, count);
        }
    }

    fn assert_read(payload: &str, is_jobs: bool, count: usize) {
        let payload = payload::read(payload.as_bytes(), "https://c/api/v4").expect("a payload");
        let mut job = payload.job.expect("a job");
        let text = r#"{"auths": {"a.tld": {"username": "me", "password": "word-a"}, "x.tld": 1}}"#;
        let variable = Variable::public(DOCKER_AUTH_CONFIG, text).raw();
        if is_jobs {
            job.variables.push(variable.clone());
        }
        let mut variables = Variables::resolve([variable]).expect("a good name");
        job.credentials = vec![Credential {
            url: "https://b.tld:5000".to_owned(),
            username: "me".to_owned(),
            password: Secret::new("word-b"),
        }];
        let found = read(&job, &mut variables);
        assert_eq!(variables.iter().count(), count);
        assert!(found.auths.variable.of("a.tld").is_some());
        assert!(found.auths.credentials.of("b.tld:5000").is_some());
        let warning = "DOCKER_AUTH_CONFIG: the entry `x.tld` is no object";
        assert_eq!(found.warnings, [warning]);
        let secrets: Vec<&str> = found.secrets.iter().map(Secret::expose).collect();
        let encoded = ["bWU6d29yZC1h", "bWU6d29yZC1i"];
        assert_eq!(secrets, [text, "word-a", encoded[0], "word-b", encoded[1]]);
    }
}
