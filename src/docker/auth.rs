//! Who may read from a registry, as a job brings it, in the form of docker's `config.json`. No IO.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde_json::{Map, Value, json};

use super::reference::DOCKER_HUB;
use crate::secret::Secret;

/// What docker's own configuration calls Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The user of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    username: String,
    password: Secret,
    /// `identitytoken` and `registrytoken`, if there are any.
    tokens: BTreeMap<&'static str, Secret>,
}

/// Users by their registries, from one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auths(Vec<(String, Auth)>);

/// What a job brings for its registries. The host's own configuration has its place between the two.
#[derive(Clone, Debug, Default)]
pub struct RegistryAuths {
    /// From the variable `DOCKER_AUTH_CONFIG`.
    pub variable: Auths,
    /// From the job's `credentials`.
    pub credentials: Auths,
}

/// What a registry is called in `auths` and by a credential helper.
#[must_use]
pub fn key_of(registry: &str) -> &str {
    if registry == DOCKER_HUB {
        DOCKER_HUB_KEY
    } else {
        registry
    }
}

/// Whether a key of `auths` means this registry: scheme and path do not count, as docker has it.
pub(super) fn means(key: &str, registry: &str) -> bool {
    let host = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host);
    match host {
        "index.docker.io" | "registry-1.docker.io" => registry == DOCKER_HUB,
        host => host == registry,
    }
}

impl Auth {
    /// Reads an entry of `auths`. No error shows a value.
    fn read(entry: &Value) -> Result<Self, &'static str> {
        let entry = entry.as_object().ok_or("is no object")?;
        let text = |name| match entry.get(name) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err("has a value that is no string"),
        };
        let mut tokens = BTreeMap::new();
        for name in ["identitytoken", "registrytoken"] {
            if !text(name)?.is_empty() {
                tokens.insert(name, Secret::new(text(name)?));
            }
        }
        let (username, password) = match text("auth")? {
            "" => (text("username")?.to_owned(), text("password")?.to_owned()),
            auth => decode(auth).ok_or("has an `auth` that is not the base64 of USER:PASSWORD")?,
        };
        if username.is_empty() && tokens.is_empty() {
            return Err("has neither `auth` nor `username` and `password`");
        }
        Ok(Self {
            username,
            password: Secret::new(password),
            tokens,
        })
    }

    /// `auth` as docker writes it.
    fn encoded(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.username, self.password.expose()))
    }

    /// The entry of `auths`.
    pub(super) fn to_json(&self) -> Value {
        let mut entry = Map::new();
        if !self.username.is_empty() {
            entry.insert("auth".to_owned(), json!(self.encoded()));
        }
        for (name, token) in &self.tokens {
            entry.insert((*name).to_owned(), json!(token.expose()));
        }
        Value::Object(entry)
    }
}

/// User and password. Padding is often lost where values are copied.
fn decode(auth: &str) -> Option<(String, String)> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let text = String::from_utf8(engine.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    (!username.is_empty()).then(|| {
        let password = password.trim_end_matches('\0');
        (username.to_owned(), password.to_owned())
    })
}

impl Auths {
    /// Reads the `auths` of a `config.json` that came with a job, and nothing else: programs that it names are not run.
    /// Returns them with a sentence about each thing that is wrong with the text, without any of its values.
    #[must_use]
    pub fn read(text: &str) -> (Self, Vec<String>) {
        let config = match serde_json::from_str(text) {
            Ok(Value::Object(config)) => config,
            Ok(_) => return (Self::default(), vec!["it is no JSON object".to_owned()]),
            // A syntax error tells the place and no content.
            Err(error) => return (Self::default(), vec![format!("it is not JSON: {error}")]),
        };
        let mut wrong: Vec<String> = ["credsStore", "credHelpers"]
            .iter()
            .filter(|key| config.contains_key(**key))
            .map(|key| format!("`{key}` is not used: a job may bring `auths` only"))
            .collect();
        let mut auths = Vec::new();
        match config.get("auths") {
            Some(Value::Object(entries)) => {
                for (key, entry) in entries {
                    match Auth::read(entry) {
                        Ok(auth) => auths.push((key.clone(), auth)),
                        Err(error) => {
                            wrong.push(format!("the entry `{}` {error}", key.escape_debug()));
                        }
                    }
                }
            }
            Some(_) => wrong.push("`auths` is no object".to_owned()),
            None => wrong.push("it has no `auths`".to_owned()),
        }
        (Self(auths), wrong)
    }

    /// Adds a user of the registry at `url`.
    pub fn add(&mut self, url: &str, username: &str, password: &Secret) {
        let auth = Auth {
            username: username.to_owned(),
            password: password.clone(),
            tokens: BTreeMap::new(),
        };
        self.0.push((url.to_owned(), auth));
    }

    /// The user of a registry; a key that is its very name goes before others that mean it.
    #[must_use]
    pub fn of(&self, registry: &str) -> Option<&Auth> {
        let exact = self.0.iter().find(|(key, _)| key == key_of(registry));
        let entry = exact.or_else(|| self.0.iter().find(|(key, _)| means(key, registry)));
        entry.map(|(_, auth)| auth)
    }

    fn secrets(&self) -> impl Iterator<Item = Secret> {
        self.0.iter().flat_map(|(_, auth)| {
            let encoded = Secret::new(auth.encoded());
            let tokens = auth.tokens.values().cloned();
            [auth.password.clone(), encoded].into_iter().chain(tokens)
        })
    }
}

impl RegistryAuths {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.variable.0.is_empty() && self.credentials.0.is_empty()
    }

    /// What of it must not be shown: passwords, tokens, and what docker's `auth` makes of them.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let all = self.variable.secrets().chain(self.credentials.secrets());
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Auths, RegistryAuths, STANDARD};
    use crate::secret::Secret;
    use base64::Engine as _;
    use serde_json::json;

    #[test]
    fn reads_every_form_of_an_entry() {
        let text = json!({"auths": {
            "a.tld": {"auth": STANDARD.encode("me:pass:word")},
            "https://b.tld:5000/v2/": {"auth": STANDARD.encode("me:pass:word").trim_end_matches('=')},
            "c.tld": {"username": "me", "password": "pass:word"},
            "d.tld": {"identitytoken": "a-token"},
            "https://index.docker.io/v1/": {"username": "me", "password": "pass:word"}}});
        let (auths, wrong) = Auths::read(&text.to_string());
        assert_eq!(wrong, [""; 0]);
        for registry in ["a.tld", "b.tld:5000", "c.tld", "docker.io"] {
            let auth = auths.of(registry).expect(registry);
            assert_eq!(auth.username, "me");
            assert_eq!(auth.password.expose(), "pass:word");
        }
        assert!(auths.of("d.tld").is_some());
        assert!(auths.of("b.tld").is_none(), "the port counts");
        let brought = RegistryAuths {
            variable: auths,
            ..RegistryAuths::default()
        };
        let secrets = brought.secrets();
        for secret in ["pass:word", "a-token", &STANDARD.encode("me:pass:word")] {
            assert!(secrets.contains(&Secret::new(secret)), "{secret}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for (text, want) in [
            (
                r#"{"auths": {"a": {"auth": "hunter2"#,
                "not JSON: EOF while parsing a string at line 1 column 33",
            ),
            (r#""hunter2""#, "no JSON object"),
            (r#"{"hunter2": 1}"#, "it has no `auths`"),
            (r#"{"auths": ["hunter2"]}"#, "`auths` is no object"),
            (
                r#"{"auths": {"a.tld": {"auth": "hunter2!"}}}"#,
                "the entry `a.tld` has an `auth` that is not the base64 of USER:PASSWORD",
            ),
            (
                r#"{"auths": {"a.tld": "hunter2"}}"#,
                "the entry `a.tld` is no object",
            ),
            (
                r#"{"auths": {"a.tld": {"username": 1, "password": "hunter2"}}}"#,
                "the entry `a.tld` has a value that is no string",
            ),
            (
                r#"{"auths": {"a.tld": {"password": "hunter2"}}}"#,
                "the entry `a.tld` has neither `auth` nor",
            ),
        ] {
            let (auths, wrong) = Auths::read(text);
            assert_eq!(auths, Auths::default());
            assert!(wrong.join(" ").contains(want), "{wrong:?}");
            assert!(!format!("{wrong:?}").contains("hunter"), "{wrong:?}");
        }
    }

    #[test]
    fn one_bad_entry_leaves_the_others() {
        let text = json!({"auths": {"a.tld": {}, "b.tld": {"username": "me", "password": "x"}}});
        let (auths, wrong) = Auths::read(&text.to_string());
        assert_eq!(wrong.len(), 1);
        assert!(auths.of("b.tld").is_some());
    }

    #[test]
    fn a_job_brings_no_programs() {
        let text = json!({"credsStore": "evil", "credHelpers": {"r.tld": "evil"}, "auths": {}});
        let (variable, wrong) = Auths::read(&text.to_string());
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        let brought = RegistryAuths {
            variable,
            ..RegistryAuths::default()
        };
        assert!(brought.is_empty());
    }
}
