//! The variables of a job: those of the configuration, predefined ones and the job's own, in their order; and what of
//! them must not be shown.

use super::host::Host;
use super::names::Names;
use super::registries::DOCKER_AUTH_CONFIG;
use super::volumes::Layout;
use crate::config::RunnerConfig;
use crate::job::files::Kind;
use crate::job::remote::passwords_in;
use crate::job::variables::{LONGEST_ARGUMENT, Variable, Variables, assignment};
use crate::job::{Job, Origin, slug};
use crate::outcome::InputError;
use crate::secret::{Secret, is_maskable};

/// The variable with the path of the certificates of GitLab's host.
pub(super) const AUTHORITIES: &str = "CI_SERVER_TLS_CA_FILE";

/// All variables of a job. Later ones win: the runner's `environment`, predefined, the job's in their order
/// (manual, "variables").
pub(super) fn resolve(
    job: &Job,
    config: &RunnerConfig,
    names: &Names,
    host: &Host,
    layout: &Layout,
) -> Result<Variables, InputError> {
    let mut all = Vec::new();
    for entry in &config.environment {
        let (name, value) =
            assignment(entry).map_err(|what| InputError::new(format!("environment: {what}")))?;
        all.push(Variable::public(name, value));
    }
    all.extend(predefined(job, config, names, host, layout));
    if job.kind() == Kind::GitLab {
        all.extend(of_gitlab(job, config, names, host, layout));
    }
    all.extend(job.variables.iter().cloned());
    // The operator's say, as with GitLab's runner.
    let flags = config.feature_flags.iter();
    all.extend(flags.map(|(name, on)| Variable::public(name, on.to_string())));
    let secrets = secrets(job, host);
    let tells = |value: &str| {
        let of = |secret: &&Secret| is_maskable(secret.expose());
        secrets
            .iter()
            .filter(of)
            .any(|secret| value.contains(secret.expose()))
    };
    for variable in &mut all {
        // A variable that refers to it refers to passwords.
        let secret = variable.name == DOCKER_AUTH_CONFIG || tells(variable.value.expose());
        variable.public &= !secret;
        variable.secret |= secret;
    }
    Variables::with_files(all, &layout.files)
}

/// What must not be shown though no variable says so: the job's tokens, and passwords of addresses.
pub(super) fn secrets(job: &Job, host: &Host) -> Vec<Secret> {
    let mut secrets = job.own_secrets();
    let proxies = host.proxies.iter();
    secrets.extend(proxies.flat_map(|(_, address)| passwords_in(address)));
    secrets
}

fn predefined(
    job: &Job,
    config: &RunnerConfig,
    names: &Names,
    host: &Host,
    layout: &Layout,
) -> Vec<Variable> {
    let sources = &job.sources;
    let path = format!("{}/{}", job.project.namespace, job.project.name);
    let mut all: Vec<(&str, String)> = vec![
        ("CI", "true".into()),
        ("ALLOY_CI", "true".into()),
        ("CI_SERVER", "yes".into()),
        ("CI_SERVER_NAME", "AlloyCI".into()),
        ("CI_DISPOSABLE_ENVIRONMENT", "true".into()),
        ("CI_BUILDS_DIR", layout.builds.clone()),
        (
            "CI_COMMIT_BEFORE_SHA",
            sources.before_sha.clone().unwrap_or_else(|| "0".repeat(40)),
        ),
        ("CI_COMMIT_REF_NAME", sources.ref_name.clone()),
        ("CI_COMMIT_REF_SLUG", slug(&sources.ref_name)),
        ("CI_COMMIT_SHA", sources.sha.clone()),
        ("CI_COMMIT_SHORT_SHA", sources.sha.chars().take(8).collect()),
        ("CI_CONCURRENT_ID", names.concurrent_id.to_string()),
        ("CI_JOB_ID", job.id.to_string()),
        ("CI_JOB_NAME", job.name.clone()),
        ("CI_JOB_STAGE", job.stage.clone()),
        ("CI_PROJECT_DIR", layout.directory.clone()),
        ("CI_PROJECT_ID", job.project.id.to_string()),
        ("CI_PROJECT_NAME", job.project.name.clone()),
        ("CI_PROJECT_NAMESPACE", job.project.namespace.clone()),
        ("CI_PROJECT_PATH", path.clone()),
        ("CI_PROJECT_PATH_SLUG", slug(&path)),
        ("CI_RUNNER_DESCRIPTION", config.name.clone()),
        (
            "CI_RUNNER_EXECUTABLE_ARCH",
            format!(
                "{}/{}",
                std::env::consts::OS,
                super::helper_image::architecture()
            ),
        ),
        ("CI_RUNNER_REVISION", host.revision.clone()),
        ("CI_RUNNER_SHORT_TOKEN", names.short_token.clone()),
        ("CI_RUNNER_VERSION", host.version.clone()),
    ];
    match (job.kind(), sources.tag) {
        // Jobs of merge requests are of neither: GitLab says which there is.
        (Kind::GitLab, _) => {}
        (Kind::AlloyCi, true) => all.push(("CI_COMMIT_TAG", sources.ref_name.clone())),
        (Kind::AlloyCi, false) => all.push(("CI_COMMIT_BRANCH", sources.ref_name.clone())),
    }
    if let Origin::Remote { remote, .. } = &sources.origin {
        all.push(("CI_REPOSITORY_URL", remote.with_login()));
    }
    // A branch called `$x` is called that.
    all.into_iter()
        .map(|(name, value)| Variable::public(name, value).raw())
        .collect()
}

/// What GitLab's runner sets too.
fn of_gitlab(
    job: &Job,
    config: &RunnerConfig,
    names: &Names,
    host: &Host,
    layout: &Layout,
) -> Vec<Variable> {
    let mut all = vec![
        ("CI_CONCURRENT_PROJECT_ID", names.concurrent_id.to_string()),
        ("CI_JOB_STATUS", "running".to_owned()),
        ("RUNNER_TEMP_PROJECT_DIR", layout.temporary()),
    ];
    if let Some(timeout) = job.timeout {
        all.push(("CI_JOB_TIMEOUT", timeout.as_secs().to_string()));
    }
    let raw = all
        .into_iter()
        .map(|(name, value)| Variable::public(name, value).raw());
    let mut all: Vec<Variable> = raw.collect();
    let own = job.image.as_ref().map(|image| &image.name);
    if let Some(image) = own.or(config.docker.image.as_ref()) {
        // Its variables are expanded.
        all.push(Variable::public("CI_JOB_IMAGE", image));
    }
    // More than a variable can hold is a list of all authorities there are, which images have themselves.
    let fits = host.certificates.len() < LONGEST_ARGUMENT - AUTHORITIES.len();
    if !host.certificates.is_empty() && fits {
        all.push(Variable {
            file: true,
            ..Variable::public(AUTHORITIES, &host.certificates).raw()
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{AUTHORITIES, resolve};
    use crate::config::RunnerConfig;
    use crate::job::payload;
    use crate::plan::Host;
    use crate::plan::names::Names;
    use crate::plan::volumes::Layout;

    #[test]
    fn gitlabs_jobs_get_the_authorities_of_its_host_as_a_file() {
        let certificate = "-----BEGIN CERTIFICATE-----";
        let host = |certificates: String| Host {
            certificates,
            ..Host::default()
        };
        let [host, longer] = [certificate.to_owned(), certificate.repeat(10_000)].map(host);
        let config = RunnerConfig::default();
        let names = Names::of_script("token");
        for (text, has_it) in [
            (include_str!("../../fixtures/payloads/alloyci.json"), false),
            (include_str!("../../fixtures/payloads/gitlab.json"), true),
        ] {
            let payload = payload::read(text.as_bytes(), "https://c/api/v4").expect("a payload");
            let job = payload.job.expect("a job");
            let layout = Layout::new(&job, &config, &names).expect("good");
            let variables = resolve(&job, &config, &names, &host, &layout).expect("resolved");
            let own = variables
                .iter()
                .find(|variable| variable.name == AUTHORITIES);
            assert_eq!(own.is_some_and(|own| own.file && own.public), has_it);
            let variables = resolve(&job, &config, &names, &longer, &layout).expect("resolved");
            assert_eq!(variables.get(AUTHORITIES), None);
            // GitLab says itself of which branch or tag a job is.
            assert_eq!(variables.get("CI_COMMIT_BRANCH").is_none(), has_it);
        }
    }
}
