//! The helper image: git, git-lfs, certificates, a shell, and this executable.
//!
//! A Dockerfile makes all of it but the executable, which is copied into a container of the result and
//! committed with it. So a new build of the runner needs no new packages, and every step can be pasted.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::names::LABEL;
use crate::docker::{DockerCommand, Word};
use crate::seal::Seal;

/// Where the executable is in the image.
pub const EXECUTABLE: &str = "/usr/local/bin/alloy-runner";
/// The directory that it is in.
pub const EXECUTABLE_DIR: &str = "/usr/local/bin";
/// The base image unless another is named.
pub const DEFAULT_BASE: &str = "alpine";

/// The helper image of one executable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelperImage {
    /// `alloy-runner-helper:<version>-<digest of the executable>`: no other build finds it.
    pub name: String,
    /// The executable on this host.
    pub executable: String,
    /// The base image.
    pub base: String,
    /// Names of proxy variables that the build has to have, from the runner's environment.
    pub proxies: Vec<String>,
    /// PEM certificates that downloads have to know.
    pub certificates: String,
    /// The runner's version.
    pub version: String,
    /// The label of the process that builds it; empty in a printed script.
    pub process: String,
    /// What its labels are sealed with.
    pub seal: Seal,
    /// `helper-image build` asked for it, and no job.
    pub by_hand: bool,
    /// The directory where its id is noted once it is made, in the name of a file: what is made of it has its labels, and
    /// another id. Empty: nowhere.
    pub noted_in: PathBuf,
}

/// The label with the name of the image of tools that an image was made of.
pub const TOOLS: &str = "com.alloy-ci.runner.image.tools";
/// The label with the version of an image that was made by hand.
pub const BY_HAND: &str = "com.alloy-ci.runner.image.by-hand";

/// What asks an engine for its [`platform`].
pub const PLATFORM: &str = "{{.Server.Os}}/{{.Server.Arch}}";

/// What this executable runs on, in docker's words: `linux/amd64`.
#[must_use]
pub fn platform() -> String {
    format!("linux/{}", architecture())
}

/// The architecture of this executable, in docker's words.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl HelperImage {
    /// The image with everything but the executable: the same for every build of the runner.
    #[must_use]
    pub fn tools(&self) -> String {
        let digest = hex::encode(Sha256::digest(self.dockerfile()));
        format!("alloy-runner-helper-tools:{}", &digest[..12])
    }

    /// The Dockerfile of the tools, for Alpine and Debian bases.
    #[must_use]
    pub fn dockerfile(&self) -> String {
        let mut text = format!("FROM {}\n", self.base);
        // Two times: package managers may have to know them to install the package that makes the bundle.
        let certificates = self.certificates.trim();
        let trust = if certificates.is_empty() {
            String::new()
        } else {
            let lines: Vec<String> = certificates
                .lines()
                .map(|line| format!("'{}'", line.replace('\'', "")))
                .collect();
            format!(
                "RUN mkdir -p /etc/ssl/certs && printf '%s\\n' {} >>/etc/ssl/certs/ca-certificates.crt\n",
                lines.join(" ")
            )
        };
        text.push_str(&trust);
        text.push_str(
            "RUN if command -v apk >/dev/null; then \
             apk add --no-cache git git-lfs ca-certificates; \
             elif command -v apt-get >/dev/null; then \
             apt-get update && apt-get install -y --no-install-recommends git git-lfs ca-certificates && \
             rm -rf /var/lib/apt/lists/* /var/cache/apt/*; \
             else echo 'the base image has neither apk nor apt-get' >&2; exit 1; fi && \
             git lfs install --system --skip-repo\n",
        );
        text.push_str(&trust);
        text
    }

    /// The labels of the container that becomes the image, and so of the image.
    fn labels(&self, container: &Word) -> Vec<(String, String)> {
        if self.process.is_empty() {
            return Vec::new();
        }
        let mut labels = vec![
            (LABEL.to_owned(), self.version.clone()),
            (format!("{LABEL}.process"), self.process.clone()),
            (
                format!("{LABEL}.seal"),
                self.seal.of(&self.process, &container.plain()),
            ),
            (TOOLS.to_owned(), self.tools()),
        ];
        if self.by_hand {
            labels.push((BY_HAND.to_owned(), self.version.clone()));
        }
        labels
    }

    fn commit(&self, container: &Word) -> DockerCommand {
        if self.process.is_empty() {
            return DockerCommand::commit(container, &self.name, None);
        }
        // The container is a process's, the image is not.
        let no_process = format!("LABEL {LABEL}.process=\"\"");
        DockerCommand::commit(container, &self.name, Some(&no_process))
    }

    /// The steps that make the image, each with its standard input. `container` is the name of a
    /// container that nothing else uses, and that the last step removes.
    #[must_use]
    pub fn steps(&self, container: &Word) -> Vec<(DockerCommand, Option<String>)> {
        let proxies =
            self.proxies
                .iter()
                .fold(DockerCommand::build(self.tools()), |command, name| {
                    // Without a value: docker takes it from its environment.
                    command.option("--build-arg", name)
                });
        vec![
            (
                proxies
                    .option("--label", format!("{LABEL}.type=helper-image"))
                    .context_from_stdin(),
                Some(self.dockerfile()),
            ),
            (
                self.labels(container)
                    .into_iter()
                    .fold(
                        DockerCommand::create(container),
                        |command, (name, value)| {
                            command.option("--label", format!("{name}={value}"))
                        },
                    )
                    .operands(self.tools(), ["true"]),
                None,
            ),
            (
                DockerCommand::copy_into(&self.executable, container, EXECUTABLE),
                None,
            ),
            (self.commit(container), None),
            (DockerCommand::remove([container]), None),
        ]
    }
}
