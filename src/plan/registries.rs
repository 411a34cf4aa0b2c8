//! Who may read from registries, as a job and its runner's `environment` have it.

use crate::docker::auth::{Auths, RegistryAuths};
use crate::job::Credential;
use crate::job::variables::Variables;
use crate::secret::Secret;

/// A variable with docker's `config.json` in it. It is for the runner: no container gets it.
pub(super) const DOCKER_AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

/// What was found.
pub(super) struct Registries {
    pub auths: RegistryAuths,
    /// What is wrong with it.
    pub warnings: Vec<String>,
    /// What must not be shown.
    pub secrets: Vec<Secret>,
}

/// Takes what is meant for registries out of a job's variables, and adds its `credentials`.
pub(super) fn read(credentials: &[Credential], variables: &mut Variables) -> Registries {
    let mut all = RegistryAuths::default();
    let mut warnings = Vec::new();
    let mut secrets = Vec::new();
    if let Some(variable) = variables.remove(DOCKER_AUTH_CONFIG) {
        let (auths, wrong) = Auths::read(variable.value.expose());
        all.variable = auths;
        let said = |wrong| format!("{DOCKER_AUTH_CONFIG}: {wrong}");
        warnings.extend(wrong.into_iter().map(said));
        secrets.push(variable.value);
    }
    for credential in credentials {
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
    use crate::job::Credential;
    use crate::job::variables::{Variable, Variables};
    use crate::secret::Secret;

    #[test]
    fn the_variable_is_taken_out_and_all_passwords_are_secrets() {
        let text = r#"{"auths": {"a.tld": {"username": "me", "password": "word-a"}, "x.tld": 1}}"#;
        let variable = Variable::public(DOCKER_AUTH_CONFIG, text).raw();
        let mut variables = Variables::resolve([variable]).expect("a good name");
        let credentials = [Credential {
            url: "https://b.tld:5000".to_owned(),
            username: "me".to_owned(),
            password: Secret::new("word-b"),
        }];
        let found = read(&credentials, &mut variables);
        assert_eq!(variables.iter().count(), 0);
        assert!(found.auths.variable.of("a.tld").is_some());
        assert!(found.auths.credentials.of("b.tld:5000").is_some());
        let warning = "DOCKER_AUTH_CONFIG: the entry `x.tld` is no object";
        assert_eq!(found.warnings, [warning]);
        let secrets: Vec<&str> = found.secrets.iter().map(Secret::expose).collect();
        let encoded = ["bWU6d29yZC1h", "bWU6d29yZC1i"];
        assert_eq!(secrets, [text, "word-a", encoded[0], "word-b", encoded[1]]);
    }
}
