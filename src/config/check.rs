//! Checks values that have the right types and still cannot work: words, addresses, paths, sizes. Runners whose
//! executor is not supported are not checked, since they are not served.

use super::typed::no_such_word;
use super::volume::{Volume, absolute};
use super::{CacheConfig, Config, DockerConfig, RunnerConfig, hosts};
use crate::http::base_url;
use crate::job::variables::assignment;
use crate::keypath::KeyPath;

/// The first wrong value: its key, and what to write.
pub(super) fn first_problem(config: &Config) -> Option<(KeyPath, String)> {
    let format = config.log_format.as_deref();
    let format = format.map(|format| word(format, &["text", "json", "runner"]));
    let global = [("log_format", format)];
    let mut problems = global.into_iter().filter_map(|(key, result)| {
        let what = result?.err()?;
        Some((KeyPath::of(key), what))
    });
    problems.next().or_else(|| {
        let runners = config.runners.iter().enumerate();
        let docker = runners.filter(|(_, runner)| runner.check_executor().is_ok());
        docker.into_iter().find_map(|(index, runner)| {
            let path = KeyPath::of("runners").index(index);
            of_runner(runner, &path).err()
        })
    })
}

/// Checks a value. The error says what to write.
type Check = fn(&str) -> Result<(), String>;
const AUTHENTICATIONS: &[&str] = &["access-key", "iam"];
const ENCRYPTIONS: &[&str] = &["S3", "KMS", "DSSE-KMS"];
type Checked = Result<(), (KeyPath, String)>;

fn of_runner(runner: &RunnerConfig, path: &KeyPath) -> Checked {
    for (index, entry) in runner.environment.iter().enumerate() {
        let at = || path.key("environment").index(index);
        assignment(entry).map_err(|what| (at(), what))?;
    }
    let url = Some(runner.url.as_str()).filter(|url| !url.is_empty());
    let texts: [(&str, Option<&str>, Check); 5] = [
        ("url", url, address),
        ("clone_url", runner.clone_url.as_deref(), address),
        ("shell", runner.shell.as_deref(), |shell| {
            word(shell, &["bash", "sh"])
        }),
        ("builds_dir", runner.builds_dir.as_deref(), directory),
        ("cache_dir", runner.cache_dir.as_deref(), directory),
    ];
    for (key, text, check) in texts {
        if let Some(text) = text {
            check(text).map_err(|what| (path.key(key), what))?;
        }
    }
    for name in runner.feature_flags.keys() {
        let at = || path.key("feature_flags").key(name);
        assignment(&format!("{name}=")).map_err(|what| (at(), what))?;
    }
    if let Some(cache) = &runner.cache {
        of_bucket(cache, &path.key("cache"))?;
    }
    of_docker(&runner.docker, &path.key("docker"))
}

/// The words that a bucket's keys can have. Whether they are enough is seen where a job has caches.
fn of_bucket(cache: &CacheConfig, path: &KeyPath) -> Checked {
    let s3 = cache.s3.clone().unwrap_or_default();
    for (key, own, outer, words) in [
        (
            "AuthenticationType",
            s3.authentication_type,
            &cache.authentication_type,
            AUTHENTICATIONS,
        ),
        (
            "ServerSideEncryption",
            s3.server_side_encryption,
            &cache.server_side_encryption,
            ENCRYPTIONS,
        ),
    ] {
        for (text, path) in [(&own, path.key("s3")), (outer, path.clone())] {
            let known = |text: &str| words.iter().any(|word| word.eq_ignore_ascii_case(text));
            if let Some(text) = text.as_deref().filter(|text| !known(text)) {
                return Err((path.key(key), no_such_word(text, words)));
            }
        }
    }
    Ok(())
}

fn of_docker(docker: &DockerConfig, path: &KeyPath) -> Checked {
    docker
        .check_hosts()
        .map_err(|hosts::Wrong { key, entry, what }| {
            let path = path.key(key);
            (entry.map_or(path.clone(), |entry| path.index(entry)), what)
        })?;
    for (index, volume) in docker.volumes.iter().flatten().enumerate() {
        let at = || path.key("volumes").index(index);
        Volume::parse(volume).map_err(|what| (at(), what))?;
    }
    for (index, service) in docker.services.iter().flatten().enumerate() {
        for (entry, text) in service.environment.iter().enumerate() {
            let at = || {
                path.key("services")
                    .index(index)
                    .key("environment")
                    .index(entry)
            };
            assignment(text).map_err(|what| (at(), what))?;
        }
    }
    // Others say where docker keeps its log, and how much of it.
    let options = docker.log_options.iter().flatten();
    for (option, _) in options {
        if !["env", "labels"].contains(&option.as_str()) {
            let what = no_such_word(option, &["env", "labels"]);
            return Err((path.key("log_options").key(option), what));
        }
    }
    sizes(docker, path)
}

/// Each key of an amount of memory is called so: none is left out when one is added.
fn sizes(docker: &DockerConfig, path: &KeyPath) -> Checked {
    let keys = serde_json::to_value(docker).unwrap_or_default();
    for (key, value) in keys.as_object().into_iter().flatten() {
        if let (true, Some(text)) = (key.contains("memory"), value.as_str()) {
            size(text).map_err(|what| (path.key(key), what))?;
        }
    }
    Ok(())
}

fn word(text: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&text) {
        return Ok(());
    }
    Err(no_such_word(text, known))
}

fn address(url: &str) -> Result<(), String> {
    if base_url(url).is_some() {
        return Ok(());
    }
    let meant = if !url.contains("://") && base_url(&format!("https://{url}")).is_some() {
        format!("write \"https://{url}\"")
    } else {
        "write one like \"https://alloy-ci.example.org\"".to_owned()
    };
    // The part before an @ is a login, which may contain a password: it is not shown.
    if url.contains('@') {
        return Err(format!("it is no address without a login; {meant}"));
    }
    Err(format!("`{url}` is no address; {meant}"))
}

fn directory(path: &str) -> Result<(), String> {
    absolute(path).map(drop)
}

/// An amount of memory as docker reads it: `512m`, `1.5g`, `-1`.
fn size(text: &str) -> Result<(), String> {
    let is_number = |number: &str| number.parse::<f64>().is_ok_and(f64::is_finite);
    let lower = text.trim().to_ascii_lowercase();
    let bare = lower.strip_suffix('b').unwrap_or(&lower);
    let bare = bare.strip_suffix('i').unwrap_or(bare);
    let number = bare.strip_suffix(['k', 'm', 'g', 't', 'p']).unwrap_or(bare);
    if is_number(number.trim()) {
        return Ok(());
    }
    let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = lower[digits.len()..].trim_start().chars().next();
    let meant = match unit.filter(|unit| "kmgtp".contains(*unit)) {
        Some(unit) if is_number(digits) => format!("{digits}{unit}"),
        _ => "512m".to_owned(),
    };
    Err(format!(
        "`{text}` is no amount of memory: expected a number with b, k, m or g; write \"{meant}\""
    ))
}

#[cfg(test)]
mod tests {
    use super::{size, sizes};
    use crate::config::DockerConfig;
    use crate::keypath::KeyPath;

    #[test]
    fn each_key_of_an_amount_of_memory_is_checked() {
        let text = || Some("lots".to_owned());
        for docker in [
            DockerConfig {
                helper_memory: text(),
                ..DockerConfig::default()
            },
            DockerConfig {
                memory_swap: text(),
                ..DockerConfig::default()
            },
            DockerConfig {
                service_memory_reservation: text(),
                ..DockerConfig::default()
            },
        ] {
            let (_, what) = sizes(&docker, &KeyPath::of("docker")).expect_err("no amount");
            assert!(what.starts_with("`lots` is no amount of memory"), "{what}");
        }
        assert!(sizes(&DockerConfig::default(), &KeyPath::of("docker")).is_ok());
    }

    #[test]
    fn amounts_of_memory_are_read_as_docker_reads_them() {
        for good in ["512m", "1.5g", "1g", "64 MB", "1GiB", "-1", "1024", "4kb"] {
            assert_eq!(size(good), Ok(()), "{good}");
        }
        for (bad, meant) in [
            ("lots", "512m"),
            ("2 gigs", "2g"),
            ("", "512m"),
            ("4x", "512m"),
        ] {
            let what = size(bad).expect_err(bad);
            assert!(what.ends_with(&format!("write \"{meant}\"")), "{what}");
        }
    }
}
