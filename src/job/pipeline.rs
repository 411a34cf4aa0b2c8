//! `.alloy-ci.json`: its keywords and its jobs.

mod remarks;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::document::{Document, Problem, typed};
use super::files::{Artifacts, Caches, When, some_flag};
use super::shape::Checker;
use super::variables::{Variable, scalar};
use super::{ImageSpec, OneOrMany, grammar};
use crate::keypath::KeyPath;
use crate::nearest::nearest_hint;
use crate::outcome::InputError;
use remarks::{carriage_returns, lost_variables, without_script};

/// The job file's name.
pub const JSON_NAME: &str = ".alloy-ci.json";
/// The same in YAML.
pub const YAML_NAME: &str = ".alloy-ci.yml";

/// A job file, read. Keywords of a job that stand at the top level too count for every job that has not its
/// own; a job's own replaces the global one whole.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The stages, in their order.
    pub stages: Vec<String>,
    /// The jobs, in the order of the file; no templates.
    pub jobs: Vec<JobEntry>,
    /// What looks wrong in it and stops nothing, a line each, with its place.
    pub doubts: Vec<String>,
    /// Where its values stand.
    pub document: Document,
}

/// A job of the file, global keywords worked in.
#[derive(Clone, Debug)]
pub struct JobEntry {
    /// Its key.
    pub name: String,
    /// What it says.
    pub keywords: Keywords,
}

/// What may stand in a job; the first seven also at the top level.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Keywords {
    /// The image to run in.
    pub image: Option<ImageSpec>,
    /// Images to run beside it.
    pub services: Option<Vec<ImageSpec>>,
    /// Variables, in their order.
    pub variables: Option<Map<String, Value>>,
    /// Commands before the script, in its shell.
    pub before_script: Option<OneOrMany<String>>,
    /// Commands after the script, in another shell.
    pub after_script: Option<OneOrMany<String>>,
    /// What is kept for the next run.
    pub cache: Option<Caches>,
    /// The commands.
    pub script: Option<OneOrMany<String>>,
    /// The stage it belongs to; `test` unless given.
    pub stage: Option<String>,
    /// The refs that it is for.
    pub only: Option<OneOrMany<String>>,
    /// The refs that it is not for.
    pub except: Option<OneOrMany<String>>,
    /// What a runner must have to get it.
    pub tags: Option<OneOrMany<String>>,
    /// Its failure does not count.
    #[serde(deserialize_with = "some_flag")]
    pub allow_failure: Option<bool>,
    /// When it runs.
    pub when: Option<When>,
    /// The jobs whose artifacts it gets.
    pub dependencies: Option<Vec<String>>,
    /// What it leaves for others.
    pub artifacts: Option<Artifacts>,
}

/// The longest job file, in bytes.
const LONGEST: u64 = 4 << 20;
/// How much all jobs of a file may get of the keywords that count for all, in bytes.
const MOST_SHARED: usize = 32 << 20;

const DEFAULT_STAGES: &[&str] = &["build", "test", "deploy"];

/// Finds the job file of a checkout: the JSON one counts where both are there.
///
/// # Errors
/// [`InputError`] where there is none.
pub fn find(directory: &Path) -> Result<(PathBuf, Option<String>), InputError> {
    let (json, yaml) = (directory.join(JSON_NAME), directory.join(YAML_NAME));
    // Where it is a link, only what it is called is from this checkout.
    let there = |file: &Path| match fs::symlink_metadata(file) {
        Ok(data) if data.is_symlink() => Err(InputError::new(format!(
            "{} is a link, which no coordinator follows; put the file there, or name it with --file",
            file.display()
        ))),
        data => Ok(data.is_ok_and(|data| data.is_file())),
    };
    match (there(&json)?, there(&yaml)?) {
        (true, true) => Ok((
            json,
            Some(format!(
                "there are {JSON_NAME} and {YAML_NAME}; {JSON_NAME} counts (name another with --file)"
            )),
        )),
        (true, false) => Ok((json, None)),
        (false, true) => Ok((yaml, None)),
        (false, false) => Err(InputError::new(format!(
            "there is no {JSON_NAME} (or {YAML_NAME}) in {}; write one, or name the job file with --file",
            directory.display()
        ))),
    }
}

impl Pipeline {
    /// Reads a job file: YAML if its name ends in `.yml` or `.yaml`, else JSON.
    ///
    /// # Errors
    /// [`InputError`] with file, line and column where it does not parse, or the path of a keyword that is
    /// of a wrong type.
    pub fn read(file: &Path) -> Result<Self, InputError> {
        let failed = |what: &dyn std::fmt::Display| {
            InputError::new(format!(
                "cannot read the job file {}: {what}",
                file.display()
            ))
        };
        let mut text = String::new();
        File::open(file)
            .and_then(|open| open.take(LONGEST + 1).read_to_string(&mut text))
            .map_err(|error| failed(&error))?;
        if text.len() as u64 > LONGEST {
            return Err(failed(&format_args!(
                "it is longer than {} MB, which no job file is",
                LONGEST >> 20
            )));
        }
        let (document, tree) = Document::parse(file, &text)?;
        Self::from_tree(&document, tree).map_err(|problem| InputError::new(document.said(&problem)))
    }

    fn from_tree(document: &Document, tree: Value) -> Result<Self, Problem> {
        let whole = KeyPath::default();
        let Value::Object(top) = tree else {
            let what =
                "a job file is an object of keywords and jobs, `{\"test\": {\"script\": …}}`";
            return Err(Problem::value(whole, what));
        };
        let mut checker = Checker {
            format: document.format,
            foreign: &grammar::gitlabs,
            doubts: Vec::new(),
        };
        let mut global = Map::new();
        for (key, value) in &top {
            if let Some(shape) = grammar::global(key) {
                checker.check(shape, value, &KeyPath::of(key))?;
                global.insert(key.clone(), value.clone());
            }
        }
        let stages = match top.get("stages") {
            Some(stages) => {
                let path = KeyPath::of("stages");
                checker.check(&grammar::STAGES, stages, &path)?;
                typed::<Option<Vec<String>>>(stages, &path)?
            }
            None => None,
        };
        let default = || DEFAULT_STAGES.iter().map(|stage| (*stage).to_owned());
        let mut pipeline = Self {
            stages: stages.unwrap_or_else(|| default().collect()),
            jobs: Vec::new(),
            doubts: Vec::new(),
            document: document.clone(),
        };
        // Every job has a copy of what counts for all.
        let shared = Value::Object(global.clone()).to_string().len();
        if top.len().saturating_mul(shared) > MOST_SHARED {
            let what = format!(
                "{} jobs with {shared} bytes of keywords that count for all of them are too much",
                top.len()
            );
            return Err(Problem::value(whole, what));
        }
        for (name, entry) in &top {
            if global.contains_key(name) || name == "stages" || name.starts_with('.') {
                continue;
            }
            let entry = job_of(name, entry)?;
            pipeline
                .jobs
                .push(read_job(&mut checker, name, entry, &global)?);
        }
        let mut doubts = checker.doubts;
        for job in &pipeline.jobs {
            pipeline.check_stage(job)?;
            doubts.extend(pipeline.doubtful_dependencies(job)?);
        }
        pipeline.doubts = doubts
            .iter()
            .map(|problem| document.said(problem))
            .collect();
        Ok(pipeline)
    }

    fn check_stage(&self, job: &JobEntry) -> Result<(), Problem> {
        if self.stages.iter().any(|stage| stage == job.stage()) {
            return Ok(());
        }
        let known: Vec<&str> = self.stages.iter().map(String::as_str).collect();
        let stages = if known.is_empty() {
            "`stages` has none".to_owned()
        } else {
            format!("the stages are: {}", known.join(", "))
        };
        let path = KeyPath::of(&job.name);
        if job.keywords.stage.is_none() {
            let what = format!(
                "the job has no `stage`, and the stage `test`, which it then belongs to, is not among `stages`; {stages}"
            );
            return Err(Problem::key(path, what));
        }
        let (stage, hint) = (job.stage(), nearest_hint(job.stage(), &known));
        let what = format!("there is no stage `{stage}`{hint}; {stages}");
        Err(Problem::value(path.key("stage"), what))
    }

    /// Dependencies whose artifacts are not there when the job begins.
    ///
    /// # Errors
    /// For one that no job is.
    fn doubtful_dependencies(&self, job: &JobEntry) -> Result<Vec<Problem>, Problem> {
        let of = |stage: &str| self.stages.iter().position(|known| known == stage);
        let mut doubts = Vec::new();
        let path = KeyPath::of(&job.name).key("dependencies");
        for (index, name) in job.keywords.dependencies.iter().flatten().enumerate() {
            let path = path.index(index);
            let Some(other) = self.jobs.iter().find(|other| other.name == *name) else {
                let names: Vec<&str> = self.jobs.iter().map(|job| job.name.as_str()).collect();
                return Err(Problem::value(path, missing("job", name, &names)));
            };
            if of(other.stage()) >= of(job.stage()) {
                let what = format!(
                    "the job `{name}` does not run before this one, so there may be nothing of it: give it an earlier stage \
                     than `{}`",
                    job.stage()
                );
                doubts.push(Problem::value(path, what));
            }
        }
        Ok(doubts)
    }

    /// A job by its name.
    ///
    /// # Errors
    /// [`InputError`] that names the jobs there are, and the nearest.
    pub fn job(&self, name: &str) -> Result<&JobEntry, InputError> {
        let found = self.jobs.iter().find(|job| job.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.jobs.iter().map(|job| job.name.as_str()).collect();
            InputError::new(missing("job", name, &names))
        })
    }

    /// The stages in their order, and behind them those that only a job names.
    #[must_use]
    pub fn stages_in_order(&self) -> Vec<&str> {
        let of_jobs = self.jobs.iter().map(JobEntry::stage);
        let named = self.stages.iter().map(String::as_str).chain(of_jobs);
        let mut seen = HashSet::new();
        named.filter(|stage| seen.insert(*stage)).collect()
    }

    /// Checks that there is a stage of this name.
    ///
    /// # Errors
    /// [`InputError`] that names the stages there are, and the nearest.
    pub fn stage(&self, name: &str) -> Result<(), InputError> {
        let stages = self.stages_in_order();
        if stages.contains(&name) {
            return Ok(());
        }
        Err(InputError::new(missing("stage", name, &stages)))
    }

    /// The jobs whose artifacts a job gets: those that `dependencies` names, else all of the stages before that
    /// leave any.
    #[must_use]
    pub fn artifacts_for<'a>(&'a self, job: &'a JobEntry) -> Vec<&'a str> {
        if let Some(names) = &job.keywords.dependencies {
            return names.iter().map(String::as_str).collect();
        }
        let order = self.stages_in_order();
        let before = order.iter().take_while(|stage| **stage != job.stage());
        let before: HashSet<&&str> = before.collect();
        let leaves = |other: &&JobEntry| {
            other.keywords.artifacts.is_some() && before.contains(&other.stage())
        };
        let jobs = self.jobs.iter().filter(leaves);
        jobs.map(|other| other.name.as_str()).collect()
    }
}

/// That there is none of this name.
fn missing(kind: &str, name: &str, known: &[&str]) -> String {
    let others = if known.is_empty() {
        "there are none".to_owned()
    } else {
        format!("the {kind}s are: {}", known.join(", "))
    };
    let hint = nearest_hint(name, known);
    format!("there is no {kind} `{name}`{hint}; {others}")
}

impl JobEntry {
    /// Its stage.
    #[must_use]
    pub fn stage(&self) -> &str {
        self.keywords.stage.as_deref().unwrap_or("test")
    }

    /// `before_script` and `script`, in one.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let list = |keyword: &Option<OneOrMany<String>>| {
            keyword.clone().map(Vec::from).unwrap_or_default()
        };
        [
            list(&self.keywords.before_script),
            list(&self.keywords.script),
        ]
        .concat()
    }

    /// Its variables. Numbers and booleans are taken as they are written, `null` is empty.
    #[must_use]
    pub fn variables(&self) -> Vec<Variable> {
        let table = self.keywords.variables.iter().flatten();
        table
            .map(|(name, value)| Variable::public(name, scalar(value).unwrap_or_default()))
            .collect()
    }
}

/// What stands at the top level and is no keyword: a job.
fn job_of<'a>(name: &str, entry: &'a Value) -> Result<&'a Map<String, Value>, Problem> {
    let path = KeyPath::of(name);
    if let Value::Object(members) = entry
        && (members.contains_key("script") || grammar::gitlabs(name).is_none())
    {
        return Ok(members);
    }
    let what = grammar::gitlabs(name).unwrap_or_else(|| {
        let hint = nearest_hint(name, &[grammar::global_names(), vec!["stages"]].concat());
        format!("neither a keyword nor a job: a job is an object with a `script`{hint}")
    });
    Err(Problem::key(path, what))
}

fn read_job(
    checker: &mut Checker,
    name: &str,
    entry: &Map<String, Value>,
    global: &Map<String, Value>,
) -> Result<JobEntry, Problem> {
    let path = KeyPath::of(name);
    if entry.get("script").is_none_or(Value::is_null) {
        return Err(without_script(name, entry));
    }
    let shape = &grammar::JOB;
    checker.check(shape, &Value::Object(entry.clone()), &path)?;
    checker.doubts.extend(lost_variables(&path, entry, global));
    checker.doubts.extend(carriage_returns(&path, entry));
    let mut merged = global.clone();
    merged.extend(
        entry
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    Ok(JobEntry {
        name: name.to_owned(),
        keywords: typed(&Value::Object(merged), &path)?,
    })
}

#[cfg(test)]
mod tests;
