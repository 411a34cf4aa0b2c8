//! Which engine the docker client talks to, and what it shares with this host.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::line::Words;

/// What a host begins with that is a context of the docker client.
const CONTEXT: &str = "context:";

/// Which engine: what `docker --host` with its TLS options or `docker --context` says. The default is whatever the
/// client itself would talk to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// `unix:///…`, `tcp://…`, `ssh://…`, or `context:NAME`.
    pub host: Option<String>,
    /// A directory with `ca.pem`, `cert.pem` and `key.pem`.
    pub tls_cert_path: Option<PathBuf>,
    /// Check the engine's certificate.
    pub tls_verify: bool,
}

impl Engine {
    /// The name of a context, where that says which engine it is.
    fn context(&self) -> Option<&str> {
        self.host.as_deref()?.strip_prefix(CONTEXT)
    }

    /// How processes call the engine, so that each cleans up only where it can.
    #[must_use]
    pub fn id(&self) -> &str {
        self.host.as_deref().unwrap_or_default()
    }

    /// Tells it from other engines, in names of files: a digest of how it is reached.
    #[must_use]
    pub fn key(&self) -> String {
        let digest = Sha256::digest(self.words().to_string());
        hex::encode(&digest[..8])
    }

    /// Whether a path of this host may mean something to the engine. Only an engine behind a socket can
    /// share our file system, and a context may be one; that it does has to be tried.
    #[must_use]
    pub fn may_share_files(&self) -> bool {
        self.host
            .as_ref()
            .is_none_or(|host| host.starts_with("unix://") || host.starts_with(CONTEXT))
    }

    /// The program and its options that lead to this engine. A context knows its certificates itself.
    #[must_use]
    pub fn words(&self) -> Words {
        let mut words = vec!["docker".to_owned()];
        if let Some(context) = self.context() {
            words.extend(["--context".to_owned(), context.to_owned()]);
            return Words(words);
        }
        words.extend(
            self.host
                .iter()
                .flat_map(|host| ["--host".to_owned(), host.clone()]),
        );
        if let Some(directory) = &self.tls_cert_path {
            words.push(
                if self.tls_verify {
                    "--tlsverify"
                } else {
                    "--tls"
                }
                .to_owned(),
            );
            for (option, file) in [
                ("--tlscacert", "ca.pem"),
                ("--tlscert", "cert.pem"),
                ("--tlskey", "key.pem"),
            ] {
                words.extend([
                    option.to_owned(),
                    directory.join(file).display().to_string(),
                ]);
            }
        } else if self.tls_verify {
            words.push("--tlsverify".to_owned());
        }
        Words(words)
    }
}

#[cfg(test)]
mod tests {
    use super::Engine;

    #[test]
    fn a_context_is_named_and_knows_its_certificates_itself() {
        let engine = |host: &str| Engine {
            host: Some(host.to_owned()),
            tls_cert_path: Some("/c".into()),
            tls_verify: true,
        };
        let words = |host: &str| engine(host).words().to_string();
        assert_eq!(words("context:big"), "docker --context big");
        assert_eq!(
            words("tcp://h:1"),
            "docker --host tcp://h:1 --tlsverify --tlscacert /c/ca.pem --tlscert /c/cert.pem --tlskey /c/key.pem"
        );
        for (host, may) in [("unix:///x", true), ("context:x", true), ("ssh://x", false)] {
            assert_eq!(engine(host).may_share_files(), may, "{host}");
        }
    }
}
