//! `.alloy-ci.json`: its keywords and its jobs.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::files::{Artifacts, Caches, When};
use super::tree::{Problem, join, json, typed, yaml};
use super::variables::{Variable, scalar};
use super::{ImageSpec, OneOrMany};
use crate::outcome::InputError;

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
    /// Keys that mean nothing here, by their path.
    pub unknown: Vec<String>,
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
    pub allow_failure: Option<bool>,
    /// When it runs.
    pub when: Option<When>,
    /// The jobs whose artifacts it gets.
    pub dependencies: Option<Vec<String>>,
    /// What it leaves for others.
    pub artifacts: Option<Artifacts>,
}

const GLOBAL: &[&str] = &[
    "image",
    "services",
    "variables",
    "before_script",
    "after_script",
    "cache",
];
const OF_A_JOB: &[&str] = &[
    "script",
    "stage",
    "only",
    "except",
    "tags",
    "allow_failure",
    "when",
    "dependencies",
    "artifacts",
];
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
        let is_yaml = file
            .extension()
            .is_some_and(|ending| ending == "yml" || ending == "yaml");
        let tree = if is_yaml { yaml(&text) } else { json(&text) };
        tree.and_then(Self::from_tree)
            .map_err(|Problem { place, what }| {
                InputError::new(format!("{}{place}: {what}", file.display()))
            })
    }

    fn from_tree(tree: Value) -> Result<Self, Problem> {
        let Value::Object(top) = tree else {
            return Err(Problem::at(
                "",
                "the job file must be an object of keywords and jobs",
            ));
        };
        let global: Map<String, Value> = top
            .iter()
            .filter(|(key, _)| GLOBAL.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        // Read by themselves first, so that a wrong one is named where it stands.
        typed::<Keywords>(&Value::Object(global.clone()), "")?;
        let stages = match top.get("stages") {
            Some(stages) => typed::<Vec<String>>(stages, "stages")?,
            None => DEFAULT_STAGES
                .iter()
                .map(|stage| (*stage).to_owned())
                .collect(),
        };
        let mut pipeline = Self {
            stages,
            jobs: Vec::new(),
            unknown: Vec::new(),
        };
        // Every job has a copy of what counts for all.
        let shared = Value::Object(global.clone()).to_string().len();
        if top.len().saturating_mul(shared) > MOST_SHARED {
            let what = format!(
                "{} jobs with {shared} bytes of keywords that count for all of them are too much",
                top.len()
            );
            return Err(Problem::at("", &what));
        }
        let known: HashSet<&str> = pipeline.stages.iter().map(String::as_str).collect();
        for (name, entry) in &top {
            if GLOBAL.contains(&name.as_str()) || name == "stages" || name.starts_with('.') {
                continue;
            }
            let Value::Object(entry) = entry else {
                let what = "neither a keyword nor a job: a job is an object with a `script`";
                return Err(Problem::at(
                    name,
                    &format!("{what}{}", nearest_hint(name, GLOBAL)),
                ));
            };
            let (job, unknown) = read_job(name, entry, &global)?;
            let stage = job.keywords.stage.as_deref();
            if let Some(stage) = stage.filter(|stage| !known.contains(stage)) {
                let what = format!(
                    "there is no stage `{stage}`; the stages are: {}",
                    pipeline.stages.join(", ")
                );
                return Err(Problem::at(&format!("{name}.stage"), &what));
            }
            pipeline.jobs.push(job);
            pipeline.unknown.extend(unknown);
        }
        Ok(pipeline)
    }

    /// A job by its name.
    ///
    /// # Errors
    /// [`InputError`] that names the jobs there are, and the nearest.
    pub fn job(&self, name: &str) -> Result<&JobEntry, InputError> {
        let found = self.jobs.iter().find(|job| job.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.jobs.iter().map(|job| job.name.as_str()).collect();
            missing("job", name, &names)
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
        Err(missing("stage", name, &stages))
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
fn missing(kind: &str, name: &str, known: &[&str]) -> InputError {
    let others = if known.is_empty() {
        "there are none".to_owned()
    } else {
        format!("the {kind}s are: {}", known.join(", "))
    };
    InputError::new(format!(
        "there is no {kind} `{name}`{}; {others}",
        nearest_hint(name, known)
    ))
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

fn read_job(
    name: &str,
    entry: &Map<String, Value>,
    global: &Map<String, Value>,
) -> Result<(JobEntry, Vec<String>), Problem> {
    let unknown = entry
        .keys()
        .filter(|key| !GLOBAL.contains(&key.as_str()) && !OF_A_JOB.contains(&key.as_str()))
        .map(|key| {
            format!(
                "{name}.{key}{}",
                nearest_hint(key, &[GLOBAL, OF_A_JOB].concat())
            )
        })
        .collect();
    let own = typed::<Keywords>(&Value::Object(entry.clone()), name)?;
    check_variables(own.variables.as_ref(), name)?;
    if own.script.is_none() {
        return Err(Problem::at(
            name,
            "the job has no `script` (the name of a template begins with a dot)",
        ));
    }
    let mut merged = global.clone();
    merged.extend(
        entry
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    let keywords = typed::<Keywords>(&Value::Object(merged), name)?;
    check_variables(keywords.variables.as_ref(), "")?;
    Ok((
        JobEntry {
            name: name.to_owned(),
            keywords,
        },
        unknown,
    ))
}

fn check_variables(variables: Option<&Map<String, Value>>, job: &str) -> Result<(), Problem> {
    for (key, value) in variables.into_iter().flatten() {
        if scalar(value).is_none() {
            return Err(Problem::at(
                &join(job, &format!("variables.{key}")),
                "expected a string, a number or a boolean",
            ));
        }
    }
    Ok(())
}

/// The most similar of the known names, as the end of a sentence.
fn nearest_hint(name: &str, known: &[&str]) -> String {
    let likely = known
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    likely
        .map(|(_, other)| format!(" (did you mean `{other}`?)"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Pipeline;
    use std::io::Write;

    fn read(ending: &str, text: &str) -> Result<Pipeline, String> {
        let mut file = tempfile::Builder::new()
            .suffix(ending)
            .tempfile()
            .expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let place = file.path().display().to_string();
        Pipeline::read(file.path()).map_err(|error| error.to_string().replace(&place, "FILE"))
    }

    #[test]
    fn a_jobs_own_keyword_replaces_the_global_one_whole() {
        let text = r#"{"image": "a", "variables": {"A": "1", "B": 2}, "before_script": ["x"],
            ".template": {"image": 3}, "one": {"script": "y"},
            "two": {"script": ["z"], "variables": {"C": true}, "before_script": [], "image": {"name": "b"}}}"#;
        let pipeline = read(".json", text).expect("good");
        assert_eq!(
            pipeline
                .jobs
                .iter()
                .map(|job| job.name.as_str())
                .collect::<Vec<_>>(),
            ["one", "two"]
        );
        let (one, two) = (&pipeline.jobs[0], &pipeline.jobs[1]);
        assert_eq!(one.commands(), ["x", "y"]);
        assert_eq!(two.commands(), ["z"]);
        assert_eq!(one.variables().len(), 2);
        assert_eq!(two.variables()[0].value.expose(), "true");
        assert_eq!(
            two.keywords.image.as_ref().map(|image| image.name.as_str()),
            Some("b")
        );
    }

    #[test]
    fn yaml_says_the_same() {
        let text = "image: a\n.t: &t\n  before_script: [x]\none:\n  <<: *t\n  script:\n    - y\n    - |\n      a\n      b\n";
        let pipeline = read(".yml", text).expect("good");
        assert_eq!(pipeline.jobs[0].commands(), ["x", "y", "a\nb\n"]);
    }

    #[test]
    fn errors_say_where() {
        for (ending, text, want) in [
            (
                ".json",
                "{\n  \"a\": {,\n}",
                "FILE:2:9: not JSON: key must be a string",
            ),
            (
                ".json",
                "[]",
                "FILE: the job file must be an object of keywords and jobs",
            ),
            (
                ".json",
                r#"{"services": "x", "a": {"script": "x"}}"#,
                "FILE: services: invalid type: string \"x\", expected a sequence",
            ),
            (
                ".json",
                r#"{"a": {"script": ["x", 3]}}"#,
                "FILE: a.script: expected a string or a list of strings",
            ),
            (
                ".json",
                r#"{"a": {"script": "x", "services": ["a", 3]}}"#,
                "FILE: a.services[1]: expected a string or an object with `name`, `alias`, `entrypoint`, `command`",
            ),
            (
                ".json",
                r#"{"a": {"script": "x", "variables": {"B": []}}}"#,
                "FILE: a.variables.B: expected a string, a number or a boolean",
            ),
            (
                ".json",
                r#"{"a": {"script": "x", "stage": "tset"}}"#,
                "FILE: a.stage: there is no stage `tset`; the stages are: build, test, deploy",
            ),
            (
                ".json",
                r#"{"imag": "x"}"#,
                "FILE: imag: neither a keyword nor a job: a job is an object with a `script` (did you mean `image`?)",
            ),
            (
                ".json",
                r#"{"a": {"image": "x"}}"#,
                "FILE: a: the job has no `script` (the name of a template begins with a dot)",
            ),
        ] {
            assert_eq!(read(ending, text).expect_err(text), want);
        }
        let error = read(".yml", "a:\n  script: [x\nb: 1\n").expect_err("no YAML");
        assert!(
            error.starts_with("FILE:") && error.contains("not YAML"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_job_is_answered_with_the_known_ones() {
        let pipeline = read(
            ".json",
            r#"{"build": {"script": "x"}, "test": {"script": "x"}}"#,
        )
        .expect("good");
        assert_eq!(
            pipeline.job("tests").expect_err("unknown").to_string(),
            "there is no job `tests` (did you mean `test`?); the jobs are: build, test"
        );
    }

    #[test]
    fn unknown_keywords_are_collected() {
        let pipeline = read(
            ".json",
            r#"{"a": {"script": "x", "before_scripts": [], "zzz": 1}}"#,
        )
        .expect("good");
        assert_eq!(
            pipeline.unknown,
            ["a.before_scripts (did you mean `before_script`?)", "a.zzz"]
        );
    }
}
