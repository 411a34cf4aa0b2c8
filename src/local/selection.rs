//! Which jobs a run is made of, and which of them start.

use crate::job::Sources;
use crate::job::files::When;
use crate::job::pipeline::{JobEntry, Pipeline};
use crate::outcome::InputError;

/// What the command line asks for. Nothing: all jobs that are for what is checked out.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Jobs by their names.
    pub jobs: Vec<String>,
    /// All jobs of a stage.
    pub stage: Option<String>,
}

/// The jobs of a run.
#[derive(Clone, Debug)]
pub struct Selection {
    /// By stages, in their order; no stage is empty.
    pub stages: Vec<Vec<Selected>>,
    /// Jobs that are left out because of their `only` and `except`.
    pub elsewhere: Vec<String>,
}

/// A job of a run.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The job.
    pub entry: JobEntry,
    /// When it starts in this run.
    pub when: When,
    /// The jobs whose artifacts it gets.
    pub artifacts_from: Vec<String>,
}

impl Selection {
    /// Chooses jobs. Those asked for by name are in whatever their `only` and `except` say, and start
    /// whatever their `when` says, except that a failure before them stops them too.
    ///
    /// # Errors
    /// [`InputError`] for a name that does not exist, a wrong `only` or `except`, or where nothing is left.
    pub fn of(pipeline: &Pipeline, wanted: &Wanted, sources: &Sources) -> Result<Self, InputError> {
        for name in &wanted.jobs {
            pipeline.job(name)?;
        }
        if let Some(stage) = &wanted.stage {
            pipeline.stage(stage)?;
        }
        let mut chosen = Vec::new();
        let mut elsewhere = Vec::new();
        for entry in &pipeline.jobs {
            let when = entry.keywords.when.unwrap_or_default();
            if wanted.jobs.contains(&entry.name) {
                let when = match when {
                    When::OnSuccess | When::Manual => When::OnSuccess,
                    When::OnFailure | When::Always => When::Always,
                };
                chosen.push((entry, when));
            } else if wanted.jobs.is_empty()
                && wanted
                    .stage
                    .as_ref()
                    .is_none_or(|stage| stage == entry.stage())
            {
                if entry.is_for(sources)? {
                    chosen.push((entry, when));
                } else {
                    elsewhere.push(entry.name.clone());
                }
            }
        }
        if chosen.is_empty() {
            return Err(nothing(wanted, sources, &elsewhere));
        }
        let stages = pipeline.stages_in_order().into_iter().map(|stage| {
            let jobs = chosen.iter().filter(|(entry, _)| entry.stage() == stage);
            let selected = jobs.map(|(entry, when)| Selected {
                entry: (*entry).clone(),
                when: *when,
                artifacts_from: pipeline
                    .artifacts_for(entry)
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
            });
            selected.collect::<Vec<_>>()
        });
        Ok(Self {
            stages: stages.filter(|jobs| !jobs.is_empty()).collect(),
            elsewhere,
        })
    }

    /// All jobs, in the order of their stages.
    pub fn jobs(&self) -> impl Iterator<Item = &Selected> {
        self.stages.iter().flatten()
    }

    /// The job, where it is one that starts by itself.
    #[must_use]
    pub fn only_one(&self) -> Option<&Selected> {
        match &self.stages[..] {
            [stage] => match &stage[..] {
                [job] if job.starts(false) => Some(job),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Selected {
    /// Whether it starts; `failed`: something failed in an earlier stage, and was not allowed to.
    #[must_use]
    pub fn starts(&self, failed: bool) -> bool {
        match self.when {
            When::OnSuccess => !failed,
            When::OnFailure => failed,
            When::Always => true,
            When::Manual => false,
        }
    }
}

/// What is checked out, in words.
pub(super) fn described(sources: &Sources) -> String {
    let kind = if sources.tag { "tag" } else { "branch" };
    format!("the {kind} {}", sources.ref_name)
}

fn nothing(wanted: &Wanted, sources: &Sources, elsewhere: &[String]) -> InputError {
    let of = wanted
        .stage
        .as_ref()
        .map(|stage| format!(" of the stage `{stage}`"))
        .unwrap_or_default();
    InputError::new(if elsewhere.is_empty() {
        format!("there is no job{of} to run")
    } else {
        format!(
            "no job{of} is for {} (see `only` and `except`); one that is named is run all the same: {}",
            described(sources),
            elsewhere.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{Selection, Wanted};
    use crate::job::Sources;
    use crate::job::pipeline::Pipeline;
    use std::io::Write;

    const FILE: &str = r#"{"stages": ["build", "test", "deploy"],
        "deploy": {"stage": "deploy", "script": "x", "only": "master"},
        "unit": {"script": "x"}, "lint": {"script": "x", "except": ["tags"]},
        "compile": {"stage": "build", "script": "x"},
        "release": {"stage": "deploy", "script": "x", "only": ["tags"], "when": "manual"},
        "report": {"stage": "deploy", "script": "x", "when": "on_failure"},
        "clean": {"stage": "deploy", "script": "x", "when": "always"}}"#;

    fn select(jobs: &[&str], stage: Option<&str>, ref_name: &str) -> Result<Selection, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(FILE.as_bytes()).expect("written");
        let pipeline = Pipeline::read(file.path()).expect("good");
        let wanted = Wanted {
            jobs: jobs.iter().map(|name| (*name).to_owned()).collect(),
            stage: stage.map(str::to_owned),
        };
        let sources = Sources::of_ref(ref_name, ref_name.starts_with('v'));
        Selection::of(&pipeline, &wanted, &sources).map_err(|error| error.to_string())
    }

    fn names(selection: &Selection) -> String {
        let stages = selection.stages.iter().map(|jobs| {
            let names: Vec<&str> = jobs.iter().map(|job| job.entry.name.as_str()).collect();
            names.join(" ")
        });
        stages.collect::<Vec<_>>().join(" | ")
    }

    /// What starts, as a line.
    fn starting(selection: &Selection, failed: bool) -> String {
        let jobs = selection.jobs().filter(|job| job.starts(failed));
        let names: Vec<&str> = jobs.map(|job| job.entry.name.as_str()).collect();
        names.join(" ")
    }

    #[test]
    fn without_names_all_jobs_of_the_ref_by_stages() {
        let master = select(&[], None, "master").expect("some");
        assert_eq!(names(&master), "compile | unit lint | deploy report clean");
        assert_eq!(master.elsewhere, ["release"]);
        assert_eq!(starting(&master, false), "compile unit lint deploy clean");
        assert_eq!(starting(&master, true), "report clean");
        let tag = select(&[], None, "v1").expect("some");
        assert_eq!(names(&tag), "compile | unit | release report clean");
        assert!(
            !starting(&tag, false).contains("release"),
            "a manual job waits for its name"
        );
    }

    #[test]
    fn named_jobs_run_whatever_only_and_when_say_in_the_order_of_their_stages() {
        let named = select(&["report", "release", "lint", "lint"], None, "v1").expect("some");
        assert_eq!(names(&named), "lint | release report");
        assert_eq!(starting(&named, false), "lint release report");
        assert_eq!(starting(&named, true), "report");
        assert!(named.only_one().is_none());
        let one = select(&["release"], None, "master").expect("one");
        assert_eq!(one.only_one().expect("one").entry.name, "release");
    }

    #[test]
    fn a_stage_by_its_name_and_what_is_not_there() {
        assert_eq!(
            names(&select(&[], Some("test"), "v1").expect("some")),
            "unit"
        );
        assert_eq!(
            select(&[], Some("tset"), "v1").expect_err("unknown"),
            "there is no stage `tset` (did you mean `test`?); the stages are: build, test, deploy"
        );
        assert!(
            select(&["unit", "lin"], None, "v1")
                .expect_err("unknown")
                .starts_with("there is no job `lin` (did you mean `lint`?)")
        );
    }
}
