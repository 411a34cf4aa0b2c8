//! A job as a coordinator hands it out: AlloyCI, or GitLab, which sends more.

mod image;
mod inputs;
mod key;
mod sources;
mod steps;
mod unsupported;
mod value;

use serde::Deserialize;

use super::checkout::project_path;
use super::files::{Artifacts, Cache, Coordinator, Dependency, Kind};
use super::remote::Remote;
use super::variables::Variable;
use super::{Credential, Job, Project};
use crate::outcome::InputError;
use crate::secret::Secret;
use image::{PayloadImage, services};
use inputs::{Input, Inputs};
use key::Found;
pub use key::JobKey;
use steps::{Hook, Scripts, Step};

/// Obeying it would switch off TLS checks for every clone: AlloyCI predefines it for another runner's sake.
const GIT_SSL_NO_VERIFY: &str = "GIT_SSL_NO_VERIFY";

/// How much all secrets of a job may be, in bytes.
const MOST_SECRETS: usize = 1 << 20;

/// A job that a coordinator has given to this runner. It counts as running from then on, so a job that cannot be run
/// has to be reported all the same.
#[derive(Debug)]
pub struct JobPayload {
    /// What it is reported by.
    pub key: JobKey,
    /// The job, or why it cannot be read.
    pub job: Result<Box<Job>, InputError>,
}

/// Reads the body of a job payload, also one that was torn on its way. `None` where not even the job's id and
/// token came through. `api` is the address that it came from, without `/jobs/…`.
#[must_use]
pub fn read(body: &[u8], api: &str) -> Option<JobPayload> {
    let mut found = Found::default();
    let whole = found.read(body);
    let key = found.key()?;
    let job = match whole {
        Err(error) => Err(InputError::new(format!(
            "what the coordinator sent of the job cannot be read: {error}"
        ))),
        // The end of such a job can be told all the same: there the token stands in the body.
        Ok(())
            if !key
                .token
                .expose()
                .bytes()
                .all(|byte| byte.is_ascii_graphic()) =>
        {
            Err(InputError::new(
                "the job's token holds characters that no request can carry; only letters, digits and signs of ASCII can be \
                 in it",
            ))
        }
        Ok(()) => parse(body, api, &key).and_then(maskable).map(Box::new),
    };
    Some(JobPayload { key, job })
}

#[derive(Deserialize)]
struct Payload {
    id: u64,
    token: String,
    #[serde(default)]
    allow_git_fetch: Option<bool>,
    #[serde(default)]
    job_info: JobInfo,
    git_info: sources::GitInfo,
    runner_info: Option<RunnerInfo>,
    #[serde(default, deserialize_with = "value::list")]
    variables: Option<Vec<PayloadVariable>>,
    #[serde(default, deserialize_with = "value::list")]
    steps: Option<Vec<Step>>,
    #[serde(default = "value::empty", deserialize_with = "value::text")]
    run: Option<String>,
    #[serde(default, deserialize_with = "value::names")]
    secrets: Vec<String>,
    #[serde(default, deserialize_with = "value::list")]
    hooks: Option<Vec<Hook>>,
    #[serde(default, deserialize_with = "value::list")]
    inputs: Option<Vec<Input>>,
    image: Option<PayloadImage>,
    #[serde(default, deserialize_with = "value::list")]
    services: Option<Vec<PayloadImage>>,
    #[serde(default, deserialize_with = "value::list")]
    artifacts: Option<Vec<Artifacts>>,
    #[serde(default, deserialize_with = "value::list")]
    cache: Option<Vec<Cache>>,
    #[serde(default, deserialize_with = "value::list")]
    dependencies: Option<Vec<PayloadDependency>>,
    #[serde(default, deserialize_with = "value::list")]
    credentials: Option<Vec<PayloadCredential>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobInfo {
    name: Option<String>,
    stage: Option<String>,
    project_id: Option<u64>,
}

#[derive(Deserialize)]
struct RunnerInfo {
    timeout: Option<u64>,
}

#[derive(Deserialize)]
struct PayloadVariable {
    key: String,
    #[serde(default = "value::empty", deserialize_with = "value::text")]
    value: Option<String>,
    public: Option<bool>,
    masked: Option<bool>,
    file: Option<bool>,
    raw: Option<bool>,
}

#[derive(Deserialize)]
struct PayloadDependency {
    id: u64,
    name: Option<String>,
    #[serde(default)]
    token: String,
    artifacts_file: Option<ArtifactsFile>,
}

#[derive(Deserialize)]
struct ArtifactsFile {
    filename: Option<String>,
}

#[derive(Deserialize)]
struct PayloadCredential {
    r#type: Option<String>,
    url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// Makes sure that its secrets can be looked for in all that it prints: that takes some times their length in memory. More
/// than this no container can be given anyway.
fn maskable(job: Job) -> Result<Job, InputError> {
    let secrets = job.every_secret();
    let size: usize = secrets.iter().map(|secret| secret.expose().len()).sum();
    if size > MOST_SECRETS {
        return Err(InputError::new(format!(
            "the secrets of the job are {size} bytes, and no more than {MOST_SECRETS} fit: put long ones into files that \
             the job fetches"
        )));
    }
    Ok(job)
}

fn parse(body: &[u8], api: &str, key: &JobKey) -> Result<Job, InputError> {
    let mut input = serde_json::Deserializer::from_slice(body);
    let mut payload: Payload = serde_path_to_error::deserialize(&mut input).map_err(|error| {
        // The message would quote the value, which may be a secret.
        let what = error.inner().to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        let what = what.split_once(": ").map_or(what, |(kind, _)| kind);
        InputError::new(format!(
            "what the coordinator sent of the job has an unexpected value at {}: {what}",
            error.path()
        ))
    })?;
    let inputs = Inputs::new(payload.inputs.take().unwrap_or_default());
    let mut job = payload.into_job(api, key)?;
    inputs.fill(&mut job)?;
    Ok(job)
}

impl Payload {
    fn into_job(self, api: &str, key: &JobKey) -> Result<Job, InputError> {
        self.check_supported()?;
        let remote = Remote::parse(&self.git_info.repo_url)?;
        let mut secrets = vec![Secret::new(&self.token)];
        let (namespace, name) = project_path(&remote.path).unwrap_or_else(|| {
            let name = remote.path.trim_matches('/').trim_end_matches(".git");
            project_path(&format!("project/{name}")).unwrap_or_default()
        });
        let services = services(self.services.unwrap_or_default())?;
        let of_services = services.iter().flat_map(|service| &service.variables);
        let masked = of_services.filter(|variable| variable.secret);
        secrets.extend(masked.map(|variable| variable.value.clone()));
        let dependencies = self.dependencies.unwrap_or_default();
        secrets.extend(dependencies.iter().map(|of| Secret::new(&of.token)));
        let sent = self.variables.unwrap_or_default();
        let protected = is_protected(self.git_info.protected, &sent);
        let scripts = Scripts::read(self.steps.unwrap_or_default(), key.kind)?;
        Ok(Job {
            id: self.id,
            name: self.job_info.name.unwrap_or_else(|| self.id.to_string()),
            stage: self.job_info.stage.unwrap_or_else(|| "test".to_owned()),
            project: Project {
                id: self.job_info.project_id.unwrap_or_default(),
                namespace,
                name,
            },
            sources: self.git_info.read(remote)?,
            image: self.image.and_then(PayloadImage::into_spec),
            services,
            variables: variables(sent, key.kind)?,
            hooks: steps::hooks(self.hooks.unwrap_or_default())?,
            script: scripts.script,
            releases: scripts.releases,
            after_script: scripts.after_script,
            script_timeout: scripts.script_timeout,
            after_script_timeout: scripts.after_script_timeout,
            timeout: value::seconds(self.runner_info.and_then(|info| info.timeout)),
            credentials: self
                .credentials
                .into_iter()
                .flatten()
                .filter_map(PayloadCredential::into_credential)
                .collect(),
            caches: self.cache.unwrap_or_default(),
            artifacts: self.artifacts.unwrap_or_default(),
            dependencies: dependencies
                .into_iter()
                .filter_map(PayloadDependency::into_dependency)
                .collect(),
            kept: None,
            coordinator: Some(Coordinator {
                kind: key.kind,
                features: key.features.clone(),
                api: api.to_owned(),
                token: Secret::new(self.token),
            }),
            fetch: self.allow_git_fetch.unwrap_or_default(),
            protected,
            volumes: Vec::new(),
            secrets,
        })
    }
}

/// Whether the job's ref is protected, in so many words, and no fork's whose branch only has the name of one that is. The
/// first variable of a name is the coordinator's own; a job file may add others.
fn is_protected(said: Option<bool>, sent: &[PayloadVariable]) -> bool {
    let first = |name: &str| {
        let variable = sent.iter().find(|variable| variable.key == name)?;
        variable.value.as_deref()
    };
    let target = first("CI_MERGE_REQUEST_PROJECT_ID");
    let fork = first("CI_MERGE_REQUEST_SOURCE_PROJECT_ID").is_some_and(|id| Some(id) != target);
    !fork && said.unwrap_or_else(|| first("CI_COMMIT_REF_PROTECTED") == Some("true"))
}

fn variables(sent: Vec<PayloadVariable>, kind: Kind) -> Result<Vec<Variable>, InputError> {
    let mut predefined = (kind == Kind::AlloyCi).then_some(GIT_SSL_NO_VERIFY);
    let mut variables = Vec::new();
    for variable in sent {
        let public = variable.public.unwrap_or_default() && !variable.masked.unwrap_or_default();
        // AlloyCI's own comes before the project's and the job's.
        if public && predefined == Some(variable.key.as_str()) {
            predefined = None;
            continue;
        }
        // A coordinator that masks nothing by itself says in this way alone what is a secret.
        let secret = variable.masked.unwrap_or(!public);
        let value = variable.value.ok_or_else(|| {
            InputError::new(format!(
                "the variable {} is neither a string nor a number nor a boolean",
                variable.key.escape_debug()
            ))
        })?;
        variables.push(Variable {
            public,
            secret,
            file: variable.file.unwrap_or_default(),
            raw: variable.raw.unwrap_or_default(),
            ..Variable::public(variable.key, value)
        });
    }
    Ok(variables)
}

impl PayloadDependency {
    /// `None` where the job left no artifacts: GitLab names all jobs of the stages before.
    fn into_dependency(self) -> Option<Dependency> {
        let file = self.artifacts_file.and_then(|file| file.filename);
        file.filter(|name| !name.is_empty()).map(|_| Dependency {
            id: self.id,
            name: self.name.unwrap_or_default(),
            token: Secret::new(self.token),
        })
    }
}

impl PayloadCredential {
    /// Other types than `registry` are not for docker.
    fn into_credential(self) -> Option<Credential> {
        (self.r#type.as_deref().unwrap_or("registry") == "registry").then(|| Credential {
            url: self.url,
            username: self.username,
            password: Secret::new(self.password),
        })
    }
}

#[cfg(test)]
mod tests;
