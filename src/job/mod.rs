//! What to run: a job, from a checkout or from a coordinator.

pub mod changes;
pub mod checkout;
pub mod document;
pub mod files;
mod forms;
mod grammar;
pub mod kept;
mod own;
pub mod payload;
pub mod pipeline;
mod plain;
mod refs;
pub mod remote;
mod shape;
pub mod uncommitted;
pub mod variables;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use files::{Artifacts, Cache, Coordinator, Dependency, Kind};
use forms::ImageForm;
pub use forms::{DockerOptions, OneOrMany};
use kept::Kept;
use remote::Remote;
use variables::Variable;

/// A job as the planner wants it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The coordinator's number, 0 for a local one.
    pub id: u64,
    /// The key in the job file.
    pub name: String,
    /// Its stage in the pipeline.
    pub stage: String,
    /// Whose job it is.
    pub project: Project,
    /// What to check out, and where from.
    pub sources: Sources,
    /// The image to run in, unexpanded. `None`: the runner's default.
    pub image: Option<ImageSpec>,
    /// Images to run beside it.
    pub services: Vec<ImageSpec>,
    /// Its variables, in the order of their precedence: later ones win.
    pub variables: Vec<Variable>,
    /// Its commands around its sources.
    pub hooks: Hooks,
    /// `before_script` and `script`, a command each.
    pub script: Vec<String>,
    /// What runs after the script where that went well, in a shell each.
    pub releases: Vec<Release>,
    /// Commands for a shell of their own, whatever became of the script.
    pub after_script: Vec<String>,
    /// How long the script may take by itself, if the job says so.
    pub script_timeout: Option<Duration>,
    /// How long the `after_script` may take, if the job says so.
    pub after_script_timeout: Option<Duration>,
    /// How long the job may take.
    pub timeout: Option<Duration>,
    /// Who may read from registries, as the coordinator has it.
    pub credentials: Vec<Credential>,
    /// Files that are kept for its next run.
    pub caches: Vec<Cache>,
    /// Files that it leaves for others.
    pub artifacts: Vec<Artifacts>,
    /// The jobs whose artifacts it gets.
    pub dependencies: Vec<Dependency>,
    /// Whose job it is, for its artifacts. `None`: a local one's.
    pub coordinator: Option<Coordinator>,
    /// Where its artifacts are kept without a coordinator. `None`: nowhere.
    pub kept: Option<Kept>,
    /// It fetches into the sources of its last run, unless `GIT_STRATEGY` says otherwise.
    pub fetch: bool,
    /// Its ref is protected: what it keeps for the next job, none of an unprotected ref writes or reads.
    pub protected: bool,
    /// Directories that are kept for its next run where the configuration says nothing of `docker.volumes`.
    pub volumes: Vec<String>,
    /// What must not be shown, beside its variables and credentials.
    pub secrets: Vec<Secret>,
}

impl Job {
    /// Whose habits its coordinator has. A job of a job file is handled as one of `AlloyCI`.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let of = |coordinator: &Coordinator| coordinator.kind;
        self.coordinator.as_ref().map(of).unwrap_or_default()
    }

    /// Whether something in the build container follows the script.
    #[must_use]
    pub fn has_later_scripts(&self) -> bool {
        !(self.releases.is_empty() && self.after_script.is_empty())
    }

    /// What must not be shown though no variable says so: its tokens, and the password of its sources' address.
    #[must_use]
    pub fn own_secrets(&self) -> Vec<Secret> {
        let of_sources = match &self.sources.origin {
            Origin::Remote { remote, .. } => remote.secrets(),
            Origin::Checkout { .. } => Vec::new(),
        };
        [&self.secrets[..], &of_sources].concat()
    }

    /// All that is known not to be shown of it before it is planned: variables' values are unexpanded.
    #[must_use]
    pub fn every_secret(&self) -> Vec<Secret> {
        let variables = self.variables.iter().filter(|variable| variable.secret);
        let more = variables
            .map(|variable| &variable.value)
            .chain(self.credentials.iter().map(|of| &of.password));
        let mut secrets = self.own_secrets();
        secrets.extend(more.cloned());
        secrets
    }
}

/// Commands of a job that run where its sources are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before that.
    pub pre_get_sources: Vec<String>,
    /// After that.
    pub post_get_sources: Vec<String>,
}

/// What GitLab makes of the keyword `release`: a script like that of the job, which runs after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Its commands.
    pub script: Vec<String>,
    /// How long it may take by itself.
    pub timeout: Option<Duration>,
}

/// The user of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The registry, `my.registry.tld:5000`.
    pub url: String,
    /// Its user.
    pub username: String,
    /// The user's password.
    pub password: Secret,
}

/// A project, as paths and names show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The coordinator's number, or one made from the checkout's path.
    pub id: u64,
    /// The part of its path before the last slash, `acme` of `acme/site`.
    pub namespace: String,
    /// The last part of its path.
    pub name: String,
}

/// What is checked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Where the commit comes from.
    pub origin: Origin,
    /// The commit's id, in full.
    pub sha: String,
    /// The commit before it, if anybody knows.
    pub before_sha: Option<String>,
    /// Branch or tag, short.
    pub ref_name: String,
    /// Whether `ref_name` is a tag.
    pub tag: bool,
    /// How many commits of history, unless `GIT_DEPTH` says otherwise; 0: all.
    pub depth: u32,
}

/// Where a commit comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A repository on this host, which is only read.
    Checkout {
        /// Its git directory (the common one, if it is a linked worktree).
        git_dir: PathBuf,
        /// Object directories that it borrows from.
        alternates: Vec<Alternate>,
        /// The address of its remote `origin`, without credentials: what relative submodules refer to.
        remote: Option<String>,
        /// A copy of what is not committed ([`changes`]), which comes on top.
        changes: Option<PathBuf>,
    },
    /// A repository somewhere else.
    Remote {
        /// Where.
        remote: Remote,
        /// What to fetch where branches and tags do not lead to the commit.
        refspecs: Vec<String>,
    },
}

/// An object directory that a repository borrows from (`objects/info/alternates`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternate {
    /// Where it is.
    pub directory: PathBuf,
    /// What the repository calls it: an absolute path, or one that begins at its own object directory.
    pub named: PathBuf,
}

/// An image with what a job may say about it: in the job file a string or an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "ImageForm")]
pub struct ImageSpec {
    /// Its name, unexpanded.
    pub name: String,
    /// Hostnames beside those made of the name, for a service.
    pub alias: Vec<String>,
    /// In place of the image's `ENTRYPOINT`.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's `CMD`.
    pub command: Option<Vec<String>>,
    /// Variables of this container alone, `KEY=value` each, for a service of the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// When to pull it, tried in turn, in the words of the configuration. Empty: as that says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull_policy: Vec<String>,
    /// What docker is told of its container.
    #[serde(skip_serializing_if = "DockerOptions::is_empty")]
    pub docker: DockerOptions,
    /// Variables of this container alone, for a service of a coordinator's job.
    #[serde(skip)]
    pub variables: Vec<Variable>,
}

impl From<ImageForm> for ImageSpec {
    fn from(form: ImageForm) -> Self {
        match form {
            ImageForm::Name(name) => Self {
                name,
                ..Self::default()
            },
            ImageForm::Table(table) => Self {
                name: table.name,
                alias: table
                    .alias
                    .map(Vec::from)
                    .unwrap_or_default()
                    .iter()
                    .flat_map(|alias| alias.split([',', ' ']))
                    .filter(|alias| !alias.is_empty())
                    .map(str::to_owned)
                    .collect(),
                // An empty list says nothing.
                entrypoint: table
                    .entrypoint
                    .map(Vec::from)
                    .filter(|words| !words.is_empty()),
                command: table.command.map(Into::into),
                environment: table.environment,
                pull_policy: table.pull_policy.map(Vec::from).unwrap_or_default(),
                docker: table.docker.unwrap_or_default(),
                variables: Vec::new(),
            },
        }
    }
}

/// A name as it can stand in a hostname: `CI_COMMIT_REF_SLUG`. Lower case, at most 63 characters, what is
/// neither letter nor digit a dash, no dash at the ends.
#[must_use]
pub fn slug(name: &str) -> String {
    let dashed: String = name
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    dashed.trim_matches('-').to_owned()
}

#[cfg(test)]
impl Sources {
    /// Of a branch or tag of nothing.
    pub(crate) fn of_ref(ref_name: &str, tag: bool) -> Self {
        Self {
            origin: Origin::Checkout {
                git_dir: PathBuf::from("/x"),
                alternates: Vec::new(),
                remote: None,
                changes: None,
            },
            sha: String::new(),
            before_sha: None,
            ref_name: ref_name.to_owned(),
            tag,
            depth: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ImageSpec, slug};

    #[test]
    fn images_are_strings_or_objects() {
        let name = |text| serde_json::from_str::<ImageSpec>(text);
        assert_eq!(name(r#""ruby""#).expect("a string").name, "ruby");
        let full =
            name(r#"{"name": "redis", "alias": "a, b", "entrypoint": [""], "command": "x y"}"#)
                .expect("an object");
        assert_eq!(full.alias, ["a", "b"]);
        assert_eq!(full.entrypoint, Some(vec![String::new()]));
        assert_eq!(full.command, Some(vec!["x y".to_owned()]));
        let empty = name(r#"{"name": "redis", "entrypoint": []}"#).expect("an object");
        assert_eq!(empty.entrypoint, None);
        let error = name("3").expect_err("a number").to_string();
        assert!(error.contains("expected a string or an object"), "{error}");
    }

    #[test]
    fn slugs_are_hostnames() {
        assert_eq!(slug("feature/Größe_1-"), "feature-gr--e-1");
    }
}
