//! What there is to run: the jobs of a job file as a table, and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::screen::sanitize;
use super::selection::described;
use super::table::{Cell, table};
use crate::config::DockerConfig;
use crate::job::files::When;
use crate::job::pipeline::{JobEntry, Pipeline};
use crate::job::{ImageSpec, OneOrMany, Sources};
use crate::outcome::{InputError, misleads};

/// The jobs of a job file, by stages.
pub struct List {
    jobs: Vec<Entry>,
    /// What is checked out, if anything is.
    sources: Option<Sources>,
}

struct Entry {
    name: String,
    stage: String,
    /// As the file has it; variables are not expanded.
    image: Option<String>,
    services: Vec<String>,
    when: When,
    may_fail: bool,
    only: Option<Vec<String>>,
    except: Option<Vec<String>>,
    /// Whether `only` and `except` let it in here, as far as that can be told.
    is_for_this: Option<bool>,
}

impl List {
    pub(super) fn of(
        pipeline: &Pipeline,
        docker: &DockerConfig,
        sources: Option<Sources>,
    ) -> Result<Self, InputError> {
        let mut jobs = Vec::new();
        for stage in pipeline.stages_in_order() {
            for job in pipeline.jobs.iter().filter(|job| job.stage() == stage) {
                jobs.push(entry(job, docker, sources.as_ref())?);
            }
        }
        Ok(Self { jobs, sources })
    }

    /// The names of the jobs and of their stages.
    pub fn names_and_stages(&self) -> impl Iterator<Item = (&str, &str)> {
        let jobs = self.jobs.iter();
        jobs.map(|job| (job.name.as_str(), job.stage.as_str()))
    }

    /// As a table for people.
    #[must_use]
    pub fn table(&self, colour: bool) -> String {
        let rows: Vec<Vec<Cell>> = self
            .jobs
            .iter()
            .map(|job| {
                let sgr = if job.is_for_this == Some(false) {
                    "2"
                } else {
                    ""
                };
                let cell = |text: &str| Cell::coloured(sanitize(text), sgr);
                let or_dash = |text: String| {
                    if text.is_empty() {
                        "-".to_owned()
                    } else {
                        text
                    }
                };
                vec![
                    cell(&job.name),
                    cell(&job.stage),
                    cell(&or_dash(job.image.clone().unwrap_or_default())),
                    cell(&or_dash(job.services.join(", "))),
                    cell(&job.conditions()),
                ]
            })
            .collect();
        let headings = ["job", "stage", "image", "services", "when"];
        let mut text = table(&headings, &rows, colour);
        let elsewhere: Vec<String> = self
            .jobs
            .iter()
            .filter(|job| job.is_for_this == Some(false))
            .map(|job| sanitize(&job.name))
            .collect();
        if let Some(sources) = self.sources.as_ref().filter(|_| !elsewhere.is_empty()) {
            text.push_str(&not_for(sources, &elsewhere));
        }
        text
    }

    /// As JSON: an array of objects with `name`, `stage`, `image`, `services`, `when`, `allow_failure`, `only`,
    /// `except`, and `for_this_ref`, whether `only` and `except` let the job in for what is checked out.
    #[must_use]
    pub fn json(&self) -> String {
        let jobs: Vec<Value> = self
            .jobs
            .iter()
            .map(|job| {
                json!({
                    "name": job.name,
                    "stage": job.stage,
                    "image": job.image,
                    "services": job.services,
                    "when": word(job.when),
                    "allow_failure": job.may_fail,
                    "only": job.only,
                    "except": job.except,
                    "for_this_ref": job.is_for_this,
                })
            })
            .collect();
        let text = format!("{:#}\n", Value::Array(jobs));
        // JSON has escapes for all of them, and must have them for some only.
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            if c != '\n' && misleads(c) {
                let _ = write!(shown, "\\u{:04x}", u32::from(c));
            } else {
                shown.push(c);
            }
        }
        shown
    }
}

/// A line that says which jobs are left out.
pub(super) fn not_for(sources: &Sources, jobs: &[String]) -> String {
    let sources = sanitize(&described(sources));
    format!("\nNot for {sources}: {}\n", jobs.join(", "))
}

impl Entry {
    /// When it runs, in words.
    fn conditions(&self) -> String {
        let mut words = vec![word(self.when).to_owned()];
        if self.may_fail {
            words.push("may fail".to_owned());
        }
        for (keyword, refs) in [("only", &self.only), ("except", &self.except)] {
            words.extend(
                refs.as_ref()
                    .map(|refs| format!("{keyword} {}", refs.join(" "))),
            );
        }
        words.join(", ")
    }
}

fn entry(
    job: &JobEntry,
    docker: &DockerConfig,
    sources: Option<&Sources>,
) -> Result<Entry, InputError> {
    let keywords = &job.keywords;
    let names = |specs: &[ImageSpec]| specs.iter().map(|spec| spec.name.clone()).collect();
    let list = |refs: &Option<OneOrMany<String>>| refs.clone().map(Vec::from);
    Ok(Entry {
        name: job.name.clone(),
        stage: job.stage().to_owned(),
        image: keywords
            .image
            .as_ref()
            .map(|image| image.name.clone())
            .or_else(|| docker.image.clone()),
        services: names(keywords.services.as_deref().unwrap_or_default()),
        when: keywords.when.unwrap_or_default(),
        may_fail: keywords.allow_failure == Some(true),
        only: list(&keywords.only),
        except: list(&keywords.except),
        is_for_this: sources.map(|sources| job.is_for(sources)).transpose()?,
    })
}

/// As job files write it.
fn word(when: When) -> &'static str {
    match when {
        When::OnSuccess => "on_success",
        When::OnFailure => "on_failure",
        When::Always => "always",
        When::Manual => "manual",
    }
}
