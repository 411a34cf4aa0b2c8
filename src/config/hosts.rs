//! `hosts` of `[runners.docker]`: the engines of a pool.

/// How an engine can be said, for messages.
const FORMS: &str = "unix:///SOCKET, tcp://HOST:PORT, ssh://USER@HOST or context:NAME";

/// What is wrong with `hosts` and its neighbours: the key, the entry, and what would be right.
pub(super) struct Wrong {
    pub key: &'static str,
    pub entry: Option<usize>,
    pub what: String,
}

/// Says whether this can be an engine of a pool.
pub(super) fn engine(text: &str) -> Result<String, String> {
    let rest = |begin: &str| text.strip_prefix(begin);
    let is_name = |name: &str| {
        let mut characters = name.chars();
        characters.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && characters.all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c))
    };
    let good = if let Some(path) = rest("unix://") {
        path.len() > 1 && path.starts_with('/')
    } else if let Some(name) = rest("context:") {
        is_name(name)
    } else {
        let address = rest("tcp://").or_else(|| rest("ssh://"));
        address.is_some_and(|address| {
            let host = address.rsplit('@').next().unwrap_or_default();
            !host.is_empty()
                && !host.starts_with(['-', ':', '/'])
                && !address.contains(char::is_whitespace)
        })
    };
    if good {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no engine: expected {FORMS}"))
}

/// As [`engine`], of all engines and what else makes a pool.
pub(super) fn check(
    host: Option<&str>,
    hosts: &[String],
    jobs_per_host: Option<u32>,
) -> Result<(), Wrong> {
    let wrong = |key, entry, what: String| Err(Wrong { key, entry, what });
    if jobs_per_host == Some(0) {
        let what = "expected a number from 1: how many jobs each engine may run at once";
        return wrong("jobs_per_host", None, what.to_owned());
    }
    if !hosts.is_empty() && host.is_some() {
        let what = "`host` (--docker-host, DOCKER_HOST) and `hosts` (--docker-hosts, DOCKER_HOSTS) are both there; keep \
                    the one engine or the pool";
        return wrong("hosts", None, what.to_owned());
    }
    for (index, host) in hosts.iter().enumerate() {
        if let Err(what) = engine(host) {
            return wrong("hosts", Some(index), what);
        }
        if hosts[..index].contains(host) {
            let what = format!(
                "`{host}` is there twice; jobs_per_host says how many jobs an engine may run at once"
            );
            return wrong("hosts", Some(index), what);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check, engine};

    #[test]
    fn engines_are_said_as_docker_does_or_by_a_context() {
        for good in [
            "unix:///run/docker.sock",
            "tcp://10.0.0.5:2376",
            "tcp://[::1]:2376",
            "ssh://ci@build-2",
            "ssh://build-2:2222",
            "context:big",
        ] {
            assert_eq!(engine(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "build-2",
            "http://x",
            "unix://",
            "unix:///",
            "tcp://",
            "ssh://a@",
            "ssh://-oProxyCommand=x",
            "ssh://a@-oProxyCommand=x",
            "context:",
            "context:a b",
            "context:--host",
            "tcp://a b",
        ] {
            assert!(engine(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_pool_is_said_with_its_key() {
        for (host, hosts, jobs_per_host, key, entry) in [
            (None, &["tcp://a", "tcp://b"][..], Some(2), "", None),
            (Some("tcp://a"), &[], None, "", None),
            (Some("tcp://a"), &["tcp://b"], None, "hosts", None),
            (None, &["tcp://a", "b"], None, "hosts", Some(1)),
            (None, &["tcp://a", "tcp://a"], None, "hosts", Some(1)),
            (None, &["tcp://a"], Some(0), "jobs_per_host", None),
        ] {
            let list: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            let found = check(host, &list, jobs_per_host).err();
            let found = found.map_or(("", None), |wrong| (wrong.key, wrong.entry));
            assert_eq!(found, (key, entry), "{host:?} {hosts:?}");
        }
    }
}
