//! What a job may use: `allowed_images`, `allowed_services`, `allowed_pull_policies`.

use globset::GlobBuilder;

use super::reference;
use crate::config::{DockerConfig, PullPolicy};
use crate::docker::Reference;
use crate::job::variables::Variables;
use crate::outcome::InputError;

/// The runner's pull policies.
///
/// # Errors
/// [`InputError`] for one that is not allowed.
pub(super) fn policies(config: &DockerConfig) -> Result<Vec<PullPolicy>, InputError> {
    let policies = match config.pull_policy.as_slice() {
        [] => vec![PullPolicy::Always],
        policies => policies.to_vec(),
    };
    let allowed = &config.allowed_pull_policies;
    let wrong = |policy: &&PullPolicy| !allowed.is_empty() && !allowed.contains(policy);
    match policies.iter().find(wrong) {
        None => Ok(policies),
        Some(policy) => Err(not_allowed(
            "docker.pull_policy",
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
    place: &str,
    image: &Reference,
    config: &DockerConfig,
    variables: &Variables,
) -> Result<(), InputError> {
    let own = config.image.as_deref().map(|own| variables.expand(own));
    let own = own.map(|own| reference("docker.image", &own)).transpose()?;
    if own.as_ref().is_some_and(|own| own == image) {
        return Ok(());
    }
    check(place, image, "allowed_images", &config.allowed_images)
}

/// Checks a service that a job names.
///
/// # Errors
/// As [`image`].
pub(super) fn service(
    place: &str,
    image: &Reference,
    config: &DockerConfig,
) -> Result<(), InputError> {
    check(place, image, "allowed_services", &config.allowed_services)
}

fn check(place: &str, image: &Reference, key: &str, patterns: &[String]) -> Result<(), InputError> {
    let name = image.to_string();
    for pattern in patterns {
        // A `*` stays between two slashes, so that it leads into nobody else's folder; `**` does not.
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let glob = glob.map_err(|error| {
            InputError::new(format!(
                "docker.{key}: `{pattern}` is no pattern: {}",
                error.kind()
            ))
        })?;
        if glob.compile_matcher().is_match(&name) {
            return Ok(());
        }
    }
    if patterns.is_empty() {
        return Ok(());
    }
    Err(not_allowed(place, &name, key, patterns))
}

fn not_allowed(
    place: &str,
    what: &dyn std::fmt::Display,
    key: &str,
    patterns: &[String],
) -> InputError {
    InputError::new(format!(
        "{place}: `{what}` is not allowed; docker.{key} has: {}",
        patterns.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::{image, policies, service};
    use crate::config::{DockerConfig, PullPolicy};
    use crate::docker::Reference;
    use crate::job::variables::{Variable, Variables};

    fn config(patterns: &[&str]) -> DockerConfig {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        DockerConfig {
            image: Some("own/image:$VERSION".to_owned()),
            allowed_images: patterns.clone(),
            allowed_services: patterns,
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
            (&["ruby"], "ruby", false),
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
            let image = image("test.image", &reference, &config, &variables);
            assert_eq!(image.is_ok(), allowed, "{patterns:?} {name}");
            let service = service("test.services[0]", &reference, &config);
            assert_eq!(service.is_ok(), allowed, "{patterns:?} {name}");
        }
        let own = Reference::parse("own/image:3").expect("a name");
        assert!(image("", &own, &config(&["ruby:*"]), &variables).is_ok());
        let error = image("test.image", &own, &config(&["[", "x"]), &variables);
        assert!(error.is_ok(), "the runner's own needs no pattern");
    }

    #[test]
    fn what_is_not_allowed_is_named_with_what_is() {
        let evil = Reference::parse("evil").expect("a name");
        let said = |patterns: &[&str]| {
            let error = service("test.services[0]", &evil, &config(patterns));
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
                pull_policy: pull.to_vec(),
                allowed_pull_policies: allowed.to_vec(),
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
