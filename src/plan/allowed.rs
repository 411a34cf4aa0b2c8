//! What a job may use: `allowed_images` and the other lists of their kind.

use super::named::NamedBy;
use crate::config::{DockerConfig, PullPolicy};
use crate::docker::Reference;
use crate::glob::Glob;
use crate::job::variables::Variables;
use crate::outcome::InputError;

/// The runner's pull policies.
///
/// # Errors
/// [`InputError`] for one that is not allowed.
pub(super) fn policies(config: &DockerConfig) -> Result<Vec<PullPolicy>, InputError> {
    let policies = match config.pull_policy.as_deref() {
        None | Some([]) => vec![PullPolicy::Always],
        Some(policies) => policies.to_vec(),
    };
    let allowed = config.allowed_pull_policies.as_deref().unwrap_or_default();
    let wrong = |policy: &&PullPolicy| !allowed.is_empty() && !allowed.contains(policy);
    match policies.iter().find(wrong) {
        None => Ok(policies),
        Some(policy) => Err(not_allowed(
            &NamedBy::Runner("docker.pull_policy".into()),
            policy,
            "allowed_pull_policies",
            &allowed
                .iter()
                .map(PullPolicy::to_string)
                .collect::<Vec<_>>(),
        )),
    }
}

/// Checks the image of a job. The runner's own is always allowed.
///
/// # Errors
/// [`InputError`] if it is not allowed, or the configuration has a pattern that is none.
pub(super) fn image(
    by: &NamedBy,
    image: &Reference,
    config: &DockerConfig,
    variables: &Variables,
) -> Result<(), InputError> {
    let own = config.image.iter().cloned();
    if is_own(
        &NamedBy::Runner("docker.image".into()),
        own,
        image,
        variables,
    )? {
        return Ok(());
    }
    check(
        by,
        &image.to_string(),
        "allowed_images",
        config.allowed_images.as_deref(),
    )
}

/// Checks a service of a job. Those that the runner brings are always allowed.
///
/// # Errors
/// As [`image`].
pub(super) fn service(
    by: &NamedBy,
    image: &Reference,
    config: &DockerConfig,
    variables: &Variables,
) -> Result<(), InputError> {
    let own = config.services().map(|spec| spec.name);
    if is_own(
        &NamedBy::Runner("docker.services".into()),
        own,
        image,
        variables,
    )? {
        return Ok(());
    }
    check(
        by,
        &image.to_string(),
        "allowed_services",
        config.allowed_services.as_deref(),
    )
}

/// Checks the user of builds.
///
/// # Errors
/// As [`image`].
pub(super) fn user(config: &DockerConfig) -> Result<(), InputError> {
    match &config.user {
        Some(user) => check(
            &NamedBy::Runner("docker.user".into()),
            user,
            "allowed_users",
            config.allowed_users.as_deref(),
        ),
        None => Ok(()),
    }
}

/// Checks a user that a job names.
///
/// # Errors
/// As [`image`].
pub(super) fn user_of_job(
    by: &NamedBy,
    user: &str,
    config: &DockerConfig,
) -> Result<(), InputError> {
    check(by, user, "allowed_users", config.allowed_users.as_deref())
}

/// Whether a name matches one of the patterns; no patterns allow everything. One that is no pattern matches
/// nothing.
pub(super) fn allows(patterns: Option<&[String]>, name: &str) -> bool {
    let patterns = patterns.unwrap_or_default();
    patterns.is_empty()
        || patterns
            .iter()
            .any(|pattern| Glob::new(pattern).is_ok_and(|glob| matches(&glob, name)))
}

/// Whether a name matches a pattern, with its tag, or without it where that is the one which no tag stands for: GitLab's
/// runner looks at names as they are written.
fn matches(glob: &Glob, name: &str) -> bool {
    let short = name.strip_suffix(":latest");
    glob.matches(name) || short.is_some_and(|name| glob.matches(name))
}

fn is_own(
    by: &NamedBy,
    names: impl Iterator<Item = String>,
    image: &Reference,
    variables: &Variables,
) -> Result<bool, InputError> {
    for name in names {
        if by.image(&name, variables)? == *image {
            return Ok(true);
        }
    }
    Ok(false)
}

fn check(
    by: &NamedBy,
    name: &str,
    key: &str,
    patterns: Option<&[String]>,
) -> Result<(), InputError> {
    let patterns = patterns.unwrap_or_default();
    for pattern in patterns {
        let glob = Glob::new(pattern).map_err(|error| {
            InputError::new(format!("docker.{key}: `{pattern}` is no pattern: {error}"))
        })?;
        if matches(&glob, name) {
            return Ok(());
        }
    }
    if patterns.is_empty() {
        return Ok(());
    }
    Err(not_allowed(by, &name, key, patterns))
}

/// That something is not allowed, and what is.
pub(super) fn not_allowed(
    by: &NamedBy,
    what: &dyn std::fmt::Display,
    key: &str,
    patterns: &[String],
) -> InputError {
    by.error(format_args!(
        "`{what}` is not allowed; docker.{key} has: {}",
        patterns.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::{NamedBy, image, policies, service};
    use crate::config::{DockerConfig, PullPolicy};
    use crate::docker::Reference;
    use crate::job::variables::{Variable, Variables};
    use crate::keypath::KeyPath;

    fn job(key: &str) -> NamedBy {
        NamedBy::Job(KeyPath::of("test").key(key))
    }

    fn config(patterns: &[&str]) -> DockerConfig {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        DockerConfig {
            image: Some("own/image:$VERSION".to_owned()),
            allowed_images: Some(patterns.clone()),
            allowed_services: Some(patterns),
            ..DockerConfig::default()
        }
    }

    #[test]
    fn names_are_matched_with_their_tag() {
        let variables =
            Variables::resolve([Variable::public("VERSION", "3")]).expect("a good name");
        for (patterns, name, allowed) in [
            (&[][..], "anything", true),
            (&["ruby:*"], "ruby", true),
            (&["ruby:*"], "ruby:2.1", true),
            (&["ruby:*"], "ruby-evil:2.1", false),
            (&["ruby:*"], "evil/ruby:2.1", false),
            (&["ruby:latest"], "ruby", true),
            // As it is written, and what that is short for.
            (&["ruby"], "ruby", true),
            (&["ruby"], "ruby:latest", true),
            (&["ruby"], "ruby:2.1", false),
            (&["ruby"], "evil/ruby", false),
            (&["r*"], "ruby", true),
            (&["ruby:2.*"], "ruby", false),
            (&["a:*", "ruby:2.*"], "ruby:2.1", true),
            (
                &["my.registry.tld:5000/*:*"],
                "my.registry.tld:5000/x",
                true,
            ),
            (
                &["my.registry.tld:5000/*:*"],
                "my.registry.tld:5000/x/y",
                false,
            ),
            (
                &["my.registry.tld:5000/**"],
                "my.registry.tld:5000/x/y:1",
                true,
            ),
            (
                &["my.registry.tld:5000/*:*"],
                "myxregistry.tld:5000/x",
                false,
            ),
        ] {
            let reference = Reference::parse(name).expect(name);
            let config = config(patterns);
            let image = image(&job("image"), &reference, &config, &variables);
            assert_eq!(image.is_ok(), allowed, "{patterns:?} {name}");
            let service = service(&job("services[0]"), &reference, &config, &variables);
            assert_eq!(service.is_ok(), allowed, "{patterns:?} {name}");
        }
        let own = Reference::parse("own/image:3").expect("a name");
        assert!(image(&job("image"), &own, &config(&["ruby:*"]), &variables).is_ok());
        let error = image(&job("image"), &own, &config(&["[", "x"]), &variables);
        assert!(error.is_ok(), "the runner's own needs no pattern");
    }

    #[test]
    fn what_is_not_allowed_is_named_with_what_is() {
        let evil = Reference::parse("evil").expect("a name");
        let said = |patterns: &[&str]| {
            let error = service(
                &job("services[0]"),
                &evil,
                &config(patterns),
                &Variables::default(),
            );
            error.expect_err("not allowed").to_string()
        };
        assert_eq!(
            said(&["ruby:*", "x/*:*"]),
            "test.services[0]: `evil:latest` is not allowed; docker.allowed_services has: ruby:*, x/*:*"
        );
        assert!(said(&["a[b"]).starts_with("docker.allowed_services: `a[b` is no pattern: "));
    }

    #[test]
    fn policies_are_the_configured_ones_if_allowed() {
        use PullPolicy::{Always, IfNotPresent, Never};
        let with = |pull: &[PullPolicy], allowed: &[PullPolicy]| {
            policies(&DockerConfig {
                pull_policy: Some(pull.to_vec()),
                allowed_pull_policies: Some(allowed.to_vec()),
                ..DockerConfig::default()
            })
            .map_err(|error| error.to_string())
        };
        assert_eq!(with(&[], &[]), Ok(vec![Always]));
        assert_eq!(with(&[Never], &[Always, Never]), Ok(vec![Never]));
        assert_eq!(
            with(&[Always, IfNotPresent], &[Always, Never]),
            Err(
                "docker.pull_policy: `if-not-present` is not allowed; docker.allowed_pull_policies has: always, never"
                    .to_owned()
            )
        );
    }
}
