//! Which engine the docker client talks to, and what it shares with this host.

use std::path::PathBuf;

use super::line::Words;

/// Which engine: what `docker --host` and its TLS options say. The default is whatever the client itself
/// would talk to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// `unix:///…`, `tcp://…`, `ssh://…`.
    pub host: Option<String>,
    /// A directory with `ca.pem`, `cert.pem` and `key.pem`.
    pub tls_cert_path: Option<PathBuf>,
    /// Check the engine's certificate.
    pub tls_verify: bool,
}

impl Engine {
    /// Whether a path of this host may mean something to the engine. Only an engine behind a socket can
    /// share our file system; that it does has to be tried.
    #[must_use]
    pub fn may_share_files(&self) -> bool {
        self.host
            .as_ref()
            .is_none_or(|host| host.starts_with("unix://"))
    }

    /// The program and its options that lead to this engine.
    #[must_use]
    pub fn words(&self) -> Words {
        let mut words = vec!["docker".to_owned()];
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
