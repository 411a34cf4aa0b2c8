//! The host's own `config.json`: whether it or the job has the word on a registry. No IO.

use serde_json::{Map, Value};

use super::auth::{Auth, RegistryAuths, key_of, means};

/// Whose word counts for a registry.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The host's own configuration, as it is.
    Host,
    /// `DOCKER_AUTH_CONFIG`.
    Variable(&'a Auth),
    /// The job's `credentials`.
    Credentials(&'a Auth),
    /// The host's configuration if this credential helper knows the registry, else the job's `credentials`.
    HostIfKnown(String, &'a Auth),
}

/// The host's own `config.json`.
#[derive(Clone, Default)]
pub struct HostConfig(Map<String, Value>);

impl HostConfig {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(Value::Object(config)) => Ok(Self(config)),
            Ok(_) => Err("it is no JSON object".to_owned()),
            Err(error) => Err(format!("it is not JSON: {error}")),
        }
    }

    /// Whose word counts: `DOCKER_AUTH_CONFIG`, this configuration, the job's `credentials`, the first that
    /// has something to say about the registry.
    #[must_use]
    pub fn choose<'a>(&self, registry: &str, brought: &'a RegistryAuths) -> Choice<'a> {
        if let Some(auth) = brought.variable.of(registry) {
            return Choice::Variable(auth);
        }
        let Some(auth) = brought.credentials.of(registry) else {
            return Choice::Host;
        };
        // As docker does it: a helper for this registry, else the store for all, else the file.
        let helper = self
            .0
            .get("credHelpers")
            .and_then(|helpers| helpers.get(key_of(registry)))
            .and_then(Value::as_str);
        let store = self.0.get("credsStore").and_then(Value::as_str);
        match (helper, store.filter(|store| !store.is_empty())) {
            (Some(helper), _) if !helper.is_empty() => Choice::Host,
            (None, Some(store)) => Choice::HostIfKnown(store.to_owned(), auth),
            _ if self.has_entry(registry) => Choice::Host,
            _ => Choice::Credentials(auth),
        }
    }

    fn has_entry(&self, registry: &str) -> bool {
        let Some(Value::Object(entries)) = self.0.get("auths") else {
            return false;
        };
        entries.iter().any(|(key, entry)| {
            means(key, registry) && entry.as_object().is_some_and(|entry| !entry.is_empty())
        })
    }

    /// The same configuration (proxies, headers, context and all) with this user in place of all that it
    /// knows about registries.
    #[must_use]
    pub fn with_user(&self, registry: &str, auth: &Auth) -> String {
        let mut config = self.0.clone();
        config.retain(|key, _| !["auths", "credsStore", "credHelpers"].contains(&key.as_str()));
        let mut auths = Map::new();
        auths.insert(key_of(registry).to_owned(), auth.to_json());
        config.insert("auths".to_owned(), Value::Object(auths));
        Value::Object(config).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, HostConfig};
    use crate::docker::auth::{Auths, RegistryAuths};
    use crate::secret::Secret;
    use serde_json::{Value, json};

    fn auths(entries: &[(&str, &str)]) -> Auths {
        let mut auths = Auths::default();
        for (url, password) in entries {
            auths.add(url, "me", &Secret::new(*password));
        }
        auths
    }

    fn host(config: &Value) -> HostConfig {
        HostConfig::read(&config.to_string()).expect("an object")
    }

    #[test]
    fn the_first_source_that_knows_the_registry_wins() {
        let brought = RegistryAuths {
            variable: auths(&[("v.tld", "variable")]),
            credentials: auths(&[("v.tld", "job"), ("r.tld", "job"), ("docker.io", "job")]),
        };
        let variable = brought.variable.of("v.tld").expect("added");
        let job = brought.credentials.of("r.tld").expect("added");
        let entry = json!({"auth": "bWU6eA=="});
        for (config, registry, want) in [
            (
                json!({"auths": {"v.tld": entry}}),
                "v.tld",
                Choice::Variable(variable),
            ),
            (
                json!({"auths": {"https://r.tld/v2/": entry}}),
                "r.tld",
                Choice::Host,
            ),
            (
                json!({"auths": {"https://index.docker.io/v1/": entry}}),
                "docker.io",
                Choice::Host,
            ),
            (
                json!({"auths": {"r.tld": {}}}),
                "r.tld",
                Choice::Credentials(job),
            ),
            (json!({}), "r.tld", Choice::Credentials(job)),
            (json!({}), "docker.io", Choice::Credentials(job)),
            (json!({}), "x.tld", Choice::Host),
            (
                json!({"credHelpers": {"r.tld": "x"}}),
                "r.tld",
                Choice::Host,
            ),
            (
                json!({"credHelpers": {"r.tld": ""}, "credsStore": "x"}),
                "r.tld",
                Choice::Credentials(job),
            ),
            (
                json!({"credHelpers": {"s.tld": "x"}}),
                "r.tld",
                Choice::Credentials(job),
            ),
            (
                json!({"credsStore": "x", "auths": {"r.tld": {}}}),
                "r.tld",
                Choice::HostIfKnown("x".to_owned(), job),
            ),
            (json!({"credsStore": "x"}), "x.tld", Choice::Host),
        ] {
            assert_eq!(
                host(&config).choose(registry, &brought),
                want,
                "{config} {registry}"
            );
        }
    }

    #[test]
    fn everything_but_the_users_is_carried_over() {
        let config = host(
            &json!({"proxies": {"default": {"httpProxy": "http://p"}}, "HttpHeaders": {"A": "b"},
            "currentContext": "far", "auths": {"x.tld": {"auth": "eDp4"}}, "credsStore": "x",
            "credHelpers": {"y.tld": "y"}}),
        );
        let auths = auths(&[("docker.io", "word")]);
        let text = config.with_user("docker.io", auths.of("docker.io").expect("added"));
        let written: Value = serde_json::from_str(&text).expect("JSON");
        let want = json!({"proxies": {"default": {"httpProxy": "http://p"}}, "HttpHeaders": {"A": "b"},
            "currentContext": "far",
            "auths": {"https://index.docker.io/v1/": {"auth": "bWU6d29yZA=="}}});
        assert_eq!(written, want);
    }
}
