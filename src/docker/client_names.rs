//! Names of variables that lead the docker client, or what stands in for it: what it gets of the runner's environment,
//! and what no job may set there.

/// Variables that the docker client, the dynamic loader or libraries read from the environment.
const CLIENT_NAMES: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "TZ",
    "TMPDIR",
    "NO_COLOR",
    "COLUMNS",
    "LINES",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "ALL_PROXY",
    "TMP",
    "TEMP",
];
const CLIENT_PREFIXES: &[&str] = &[
    "DOCKER_",
    "SSL_",
    "SSH_",
    "LD_",
    "LC_",
    "XDG_",
    "GO",
    "BUILDKIT_",
    "BUILDX_",
    "MOBY_",
    "OTEL_",
    "MALLOC_",
    "GLIBC_",
    "NSS_",
];

/// Whether the docker client's behaviour may depend on the environment variable of this name. The client gets these
/// from the runner's environment, and no job can set them there ([`may_lead_client`]).
#[must_use]
pub fn client_reads(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    CLIENT_NAMES.contains(&upper.as_str())
        || upper.ends_with("_PROXY")
        || CLIENT_PREFIXES
            .iter()
            .any(|prefix| upper.starts_with(prefix))
}

/// Variables that podman, shells and interpreters read when they start: the `docker` of a host may be a script, as
/// podman's is. For example, `SHELLOPTS=xtrace` with a command in `PS4` would run this command on the host.
const SCRIPT_NAMES: &[&str] = &[
    "ENV",
    "PS4",
    "IFS",
    "CDPATH",
    "GLOBIGNORE",
    "POSIXLY_CORRECT",
    "SHELLOPTS",
    "BASHOPTS",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "TZDIR",
    "JAVA_TOOL_OPTIONS",
    "REGISTRY_AUTH_FILE",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
];
const SCRIPT_PREFIXES: &[&str] = &[
    "BASH_",
    "PERL",
    "PYTHON",
    "RUBY",
    "NODE_",
    "GRPC_",
    "CONTAINER",
    "BUILDAH_",
    "PODMAN_",
    "STORAGE_",
];

/// Whether a job's variable of this name could change what the docker client, or a script in its place, does. Such
/// variables are kept out of its environment.
#[must_use]
pub fn may_lead_client(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    client_reads(name)
        || SCRIPT_NAMES.contains(&upper.as_str())
        || SCRIPT_PREFIXES
            .iter()
            .any(|prefix| upper.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::{client_reads, may_lead_client};

    #[test]
    fn knows_the_names_that_lead_the_client() {
        for name in [
            "DOCKER_HOST",
            "PATH",
            "http_proxy",
            "LD_PRELOAD",
            "GODEBUG",
            "SSL_CERT_FILE",
            "HOME",
        ] {
            assert!(client_reads(name) && may_lead_client(name), "{name}");
        }
        for name in [
            "BASH_ENV",
            "PS4",
            "SHELLOPTS",
            "CONTAINER_HOST",
            "PYTHONPATH",
        ] {
            assert!(!client_reads(name) && may_lead_client(name), "{name}");
        }
        for name in ["CI", "DB_PASSWORD", "MY_DOCKER_HOST"] {
            assert!(!client_reads(name) && !may_lead_client(name), "{name}");
        }
    }
}
