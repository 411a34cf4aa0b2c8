//! What a job chooses of its containers: their images, when those are pulled and for which platform, whom they run as and
//! what. All of it becomes words of docker's, and is checked here.

use super::allowed;
use super::images::Pulling;
use super::named::NamedBy;
use crate::config::{DockerConfig, PullPolicy, RunnerConfig};
use crate::docker::{DockerCommand, Reference, Slot, Word};
use crate::job::variables::Variables;
use crate::job::{ImageSpec, Job};
use crate::keypath::KeyPath;
use crate::outcome::InputError;

/// The image of the build, with what its container is to have.
pub(super) struct BuildImage {
    pub image: Reference,
    pub spec: ImageSpec,
    pub pulling: Pulling,
    /// Whom it runs as, where the configuration does not say it.
    pub user: Option<String>,
    pub warnings: Vec<String>,
}

impl BuildImage {
    /// The job's image, or that of the configuration.
    ///
    /// # Errors
    /// [`InputError`] where there is none, or the job says something of it that is not allowed.
    pub fn of(job: &Job, config: &RunnerConfig, variables: &Variables) -> Result<Self, InputError> {
        let default = || {
            config.docker.image.clone().map(|name| ImageSpec {
                name,
                ..ImageSpec::default()
            })
        };
        let spec = job.image.clone().or_else(default).ok_or_else(|| {
            let what = format!(
                "the job `{}` has no image: give it one with the keyword `image`, or name a default with --docker-image",
                job.name
            );
            InputError::new(what)
        })?;
        let by = NamedBy::Job(KeyPath::of(&job.name).key("image"));
        let image = by.image(&spec.name, variables)?;
        allowed::image(&by, &image, &config.docker, variables)?;
        let configured = config.docker.user.as_deref().unwrap_or_default();
        let mut warnings = Vec::new();
        let user = if configured.is_empty() {
            user(&by, &spec, &config.docker, variables)?
        } else {
            if spec.docker.user.is_some() {
                warnings.push(format!(
                    "the job does not run as the user that it names: docker.user is {configured}"
                ));
            }
            None
        };
        Ok(Self {
            pulling: pulling(&by, &spec, job, &config.docker, variables)?,
            image,
            spec,
            user,
            warnings,
        })
    }
}

/// How the image of a container is to be had.
///
/// # Errors
/// [`InputError`] for a policy that is none or not allowed, and for what is no platform.
pub(super) fn pulling(
    by: &NamedBy,
    spec: &ImageSpec,
    job: &Job,
    config: &DockerConfig,
    variables: &Variables,
) -> Result<Pulling, InputError> {
    let runners = allowed::policies(config)?;
    let policies = if spec.pull_policy.is_empty() {
        runners
    } else {
        let is_local = job.coordinator.is_none() || matches!(by, NamedBy::Runner(_));
        own_policies(&by.key("pull_policy"), spec, config, &runners, is_local)?
    };
    let platform = docker_word(by, "platform", spec.docker.platform.as_deref(), variables)?;
    if let Some(platform) = &platform {
        let parts = || platform.split('/');
        if parts().count() > 3 || !parts().all(is_word) {
            return Err(by.key("docker").key("platform").error(format_args!(
                "`{}` is no platform; write one like linux/arm64 or linux/arm/v7",
                platform.escape_debug()
            )));
        }
    }
    Ok(Pulling { policies, platform })
}

/// Those of the job's policies that are allowed. Where the configuration has no list of those, a coordinator's jobs may
/// have the runner's, as with GitLab's runner: one that pulls always does so for the sake of private images.
fn own_policies(
    by: &NamedBy,
    spec: &ImageSpec,
    config: &DockerConfig,
    runners: &[PullPolicy],
    is_local: bool,
) -> Result<Vec<PullPolicy>, InputError> {
    const ALL: [PullPolicy; 3] = [
        PullPolicy::Always,
        PullPolicy::IfNotPresent,
        PullPolicy::Never,
    ];
    let said = spec.pull_policy.iter().map(|word| {
        let policy = ALL.into_iter().find(|policy| policy.to_string() == *word);
        policy.ok_or_else(|| {
            by.error(format_args!(
                "there is no pull policy `{}`; there are always, if-not-present, never",
                word.escape_debug()
            ))
        })
    });
    let said = said.collect::<Result<Vec<_>, _>>()?;
    let (key, allowed) = match config.allowed_pull_policies.as_deref() {
        None | Some([]) if is_local => return Ok(said),
        None | Some([]) => ("pull_policy", runners),
        Some(listed) => ("allowed_pull_policies", listed),
    };
    let kept: Vec<_> = said.iter().filter(|it| allowed.contains(it)).collect();
    match (&kept[..], said.first()) {
        ([], Some(first)) => {
            let allowed: Vec<_> = allowed.iter().map(PullPolicy::to_string).collect();
            Err(allowed::not_allowed(by, first, key, &allowed))
        }
        _ => Ok(kept.into_iter().copied().collect()),
    }
}

/// Whom a container is to run as.
///
/// # Errors
/// [`InputError`] for what is no user, and for one that is not allowed.
pub(super) fn user(
    by: &NamedBy,
    spec: &ImageSpec,
    config: &DockerConfig,
    variables: &Variables,
) -> Result<Option<String>, InputError> {
    let user = docker_word(by, "user", spec.docker.user.as_deref(), variables)?;
    if let Some(user) = &user {
        let by = by.key("docker").key("user");
        let (name, group) = user.split_once(':').unwrap_or((user, "x"));
        if !is_word(name) || !is_word(group) {
            return Err(by.error(format_args!(
                "`{}` is no user; write a name or a number, with a group behind a colon if it is to have one",
                user.escape_debug()
            )));
        }
        allowed::user_of_job(&by, user, config)?;
    }
    Ok(user)
}

/// A value of `docker` in a job's image. `None` where it comes to nothing.
fn docker_word(
    by: &NamedBy,
    key: &str,
    text: Option<&str>,
    variables: &Variables,
) -> Result<Option<String>, InputError> {
    let by = by.key("docker").key(key);
    let word = text.map(|text| by.expand(text, variables)).transpose()?;
    let word = word.map(|word| word.trim().to_owned());
    Ok(word.filter(|word| !word.is_empty()))
}

/// Whether docker can take it for nothing but a part of a name.
fn is_word(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(good) && !text.starts_with('-')
}

/// A container with the platform and the user that its job has chosen.
pub(super) fn with_choice(
    run: DockerCommand,
    pulling: &Pulling,
    user: Option<&str>,
) -> DockerCommand {
    let platform = pulling.platform.as_deref();
    let options = [("--platform", platform), ("--user", user)];
    let options = options
        .into_iter()
        .filter_map(|(option, value)| Some((option, value?)));
    options.fold(run, |run, (option, value)| run.option(option, value))
}

/// The end of a command that runs an image. docker takes one word as the entrypoint; what else the list
/// has goes before the command.
pub(super) fn overriding_entrypoint(
    run: DockerCommand,
    entrypoint: Option<&[String]>,
    image: Slot,
    command: impl IntoIterator<Item = impl Into<Word>>,
) -> DockerCommand {
    let command = command.into_iter().map(Into::into);
    match entrypoint {
        None => run.operands(image, command),
        Some(words) => {
            let (first, rest) = words
                .split_first()
                .map_or(("", &[][..]), |(first, rest)| (first, rest));
            run.option("--entrypoint", first)
                .operands(image, rest.iter().map(Word::from).chain(command))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BuildImage;
    use crate::config::{PullPolicy, RunnerConfig};
    use crate::job::payload;
    use crate::job::variables::{Variable, Variables};

    fn chosen(config: &RunnerConfig, sent: &str) -> Result<BuildImage, String> {
        let payload = include_str!("../../fixtures/payloads/gitlab.json");
        let mut payload: serde_json::Value = serde_json::from_str(payload).expect("JSON");
        payload["image"] = serde_json::from_str(sent).expect("JSON");
        let read = payload::read(payload.to_string().as_bytes(), "https://c/api/v4");
        let job = read.expect("a payload").job.expect("a job");
        let arch = Variable::public("ARCH", "arm64");
        let variables = Variables::resolve([arch]).expect("resolved");
        BuildImage::of(&job, config, &variables).map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_has_those_of_its_policies_that_are_allowed() {
        use PullPolicy::{Always, IfNotPresent, Never};
        let policies = |runners: &[PullPolicy], allowed: &[PullPolicy], sent: &str| {
            let mut config = RunnerConfig::default();
            config.docker.pull_policy = Some(runners.to_vec());
            config.docker.allowed_pull_policies = Some(allowed.to_vec());
            let sent = format!(r#"{{"name": "ruby", "pull_policy": {sent}}}"#);
            chosen(&config, &sent).map(|chosen| chosen.pulling.policies)
        };
        assert_eq!(policies(&[Always], &[], "null"), Ok(vec![Always]));
        assert_eq!(policies(&[Always], &[], "[]"), Ok(vec![Always]));
        assert_eq!(
            policies(&[Always, Never], &[], r#"["never", "if-not-present"]"#),
            Ok(vec![Never])
        );
        assert_eq!(
            policies(
                &[Always],
                &[Always, IfNotPresent],
                r#"["never", "if-not-present"]"#
            ),
            Ok(vec![IfNotPresent])
        );
        for (allowed, sent, said) in [
            (
                &[][..],
                r#"["if-not-present"]"#,
                "test.image.pull_policy: `if-not-present` is not allowed; docker.pull_policy has: always",
            ),
            (
                &[Always, Never],
                r#""if-not-present""#,
                "test.image.pull_policy: `if-not-present` is not allowed; docker.allowed_pull_policies has: always, never",
            ),
            (
                &[],
                r#"["sometimes"]"#,
                "test.image.pull_policy: there is no pull policy `sometimes`; there are always, if-not-present, never",
            ),
        ] {
            assert_eq!(policies(&[Always], allowed, sent), Err(said.to_owned()));
        }
    }

    #[test]
    fn platform_and_user_are_words_that_docker_cannot_take_for_others() {
        let with = |users: &[&str], configured: Option<&str>, sent: &str| {
            let mut config = RunnerConfig::default();
            config.docker.user = configured.map(str::to_owned);
            let users = users.iter().map(|user| (*user).to_owned());
            config.docker.allowed_users = Some(users.collect());
            let sent = format!(r#"{{"name": "ruby", "executor_opts": {{"docker": {sent}}}}}"#);
            chosen(&config, &sent).map(|chosen| (chosen.pulling.platform, chosen.user))
        };
        let some = |text: &str| Some(text.to_owned());
        for (sent, platform, user) in [
            ("null", None, None),
            (r#"{"platform": "", "user": null}"#, None, None),
            (
                r#"{"platform": "linux/$ARCH/v8", "user": 1000}"#,
                some("linux/arm64/v8"),
                some("1000"),
            ),
            (r#"{"user": "www-data:33"}"#, None, some("www-data:33")),
        ] {
            assert_eq!(with(&[], None, sent), Ok((platform, user)), "{sent}");
        }
        for (sent, begin) in [
            (
                r#"{"platform": "--privileged"}"#,
                "test.image.docker.platform: `--privileged` is no platform",
            ),
            (
                r#"{"platform": "linux/a b"}"#,
                "test.image.docker.platform: ",
            ),
            (r#"{"platform": "a/b/c/d"}"#, "test.image.docker.platform: "),
            (
                r#"{"user": "-1"}"#,
                "test.image.docker.user: `-1` is no user",
            ),
            (r#"{"user": "a:b:c"}"#, "test.image.docker.user: "),
            (r#"{"user": "a\nb"}"#, "test.image.docker.user: "),
            (
                r#"{"user": "root"}"#,
                "test.image.docker.user: `root` is not allowed; docker.allowed_users has: www-data",
            ),
        ] {
            let error = with(&["www-data"], None, sent).expect_err(sent);
            assert!(error.starts_with(begin), "{error}");
        }
        // The configuration's own is the operator's word.
        let kept = with(&["www-data", "5"], Some("5"), r#"{"user": "www-data"}"#);
        assert_eq!(kept, Ok((None, None)));
    }
}
