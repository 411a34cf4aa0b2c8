//! `--timeline`: a page that shows what each job's time went into, as bars on one axis. It needs nothing from
//! outside, not even a script.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::results::{Fate, Row, Verdict, time, verdict};
use crate::executor::Activity;
use crate::outcome::InputError;
use crate::plan::StageKind;

const STYLE: &str = include_str!("timeline.css");
/// Which part of the whole time a bar has to have to be seen. The table below the chart has them all.
const VISIBLE: f64 = 0.003;
/// What takes less than this was no pull: the image was there, and a lane that says so only makes the page long.
const PULL: Duration = Duration::from_millis(500);
/// About how many times the axis names.
const TICKS: f64 = 8.0;

/// The file of a page, before there is anything to show.
pub(super) struct Timeline {
    path: PathBuf,
    file: File,
}

/// What a page is about.
pub(super) struct About<'a> {
    /// The project's path.
    pub project: &'a str,
    /// What was checked out, in words.
    pub sources: &'a str,
    /// When the run began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
}

impl Timeline {
    /// Makes the file, so that one that cannot be written is known before anything runs.
    ///
    /// # Errors
    /// [`InputError`] if it cannot be written.
    pub fn create(path: &Path) -> Result<Self, InputError> {
        let file = File::create(path).map_err(|error| {
            InputError::new(format!(
                "--timeline: cannot write {}: {error}",
                path.display()
            ))
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Writes the page.
    ///
    /// # Errors
    /// If the file does not take it.
    pub fn write(mut self, rows: &[Row], about: &About) -> Result<()> {
        self.file
            .write_all(page(rows, about).as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// What a span is to people, and the class of its colour.
fn kind(activity: Activity) -> (&'static str, &'static str) {
    match activity {
        Activity::Prepare => ("network, volumes and images", "prepare"),
        Activity::Pull => ("image", "pull"),
        Activity::Service => ("service", "services"),
        Activity::WaitForServices => ("waiting for services", "services"),
        Activity::Helper => ("helper", "helper"),
        Activity::Stage(StageKind::GetSources) => ("sources", "sources"),
        Activity::Stage(kind @ (StageKind::PreGetSources | StageKind::PostGetSources)) => {
            (kind.key(), "script")
        }
        Activity::Stage(StageKind::Script) => ("script", "script"),
        Activity::Stage(StageKind::Release) => ("release", "script"),
        Activity::Stage(StageKind::AfterScript) => ("after_script", "after_script"),
        Activity::Stage(
            kind @ (StageKind::RestoreCache
            | StageKind::DownloadArtifacts
            | StageKind::GiveSources
            | StageKind::ArchiveCache
            | StageKind::UploadArtifacts),
        ) => (kind.key(), "files"),
        Activity::CleanUp => ("cleanup", "cleanup"),
    }
}

const LEGEND: &[(&str, &str)] = &[
    ("prepare", "network, volumes"),
    ("pull", "images"),
    ("services", "services"),
    ("helper", "helper container"),
    ("sources", "sources"),
    ("files", "cache and artifacts"),
    ("script", "script"),
    ("after_script", "after_script"),
    ("cleanup", "cleanup"),
];

/// A part of a job's time, in seconds from the begin of the run.
struct Bar {
    label: String,
    /// For where there is little room.
    short: String,
    class: &'static str,
    began: f64,
    took: Duration,
}

impl Bar {
    /// Whether the chart has it; `total`: the seconds of the whole run.
    fn is_drawn(&self, total: f64) -> bool {
        let is_pull = self.class != "pull" || self.took >= PULL;
        is_pull && self.took.as_secs_f64() >= total * VISIBLE
    }
}

/// What a service or an image is called where there is little room: its alias, else the last part of its name.
fn short(subject: &str) -> &str {
    let name = subject.rsplit('/').next().unwrap_or_default();
    match name
        .strip_suffix(')')
        .and_then(|name| name.rsplit_once(" ("))
    {
        Some((_, alias)) => alias,
        None => name.strip_suffix(":latest").unwrap_or(name),
    }
}

fn page(rows: &[Row], about: &About) -> String {
    let total = about.took.as_secs_f64().max(0.1);
    let (word, class) = match verdict(rows) {
        Verdict::Success => ("succeeded", "good"),
        Verdict::Failure | Verdict::SystemFailure => ("failed", "bad"),
    };
    let project = escaped(about.project);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{project}: timeline</title>\n<style>\n{STYLE}</style>\n\
         <h1>{project}</h1>\n<p>{}: <strong class=\"{class}\">{word}</strong> in {}</p>\n",
        escaped(about.sources),
        time(about.took)
    );
    let bars: Vec<Vec<Bar>> = rows.iter().map(|row| bars(row, about.began)).collect();
    html.push_str("<ul class=\"legend\">\n");
    let shown = |class: &str| {
        let mut drawn = bars.iter().flatten().filter(|bar| bar.is_drawn(total));
        drawn.any(|bar| bar.class == class)
    };
    for (class, text) in LEGEND.iter().filter(|(class, _)| shown(class)) {
        let _ = writeln!(html, "<li><i class=\"{class}\"></i>{text}</li>");
    }
    html.push_str("</ul>\n");
    let ticks = ticks(total);
    html.push_str("<div class=\"row axis\"><div></div><div class=\"track\">");
    for tick in &ticks {
        let at = tick / total * 100.0;
        let class = if at > 96.0 { " class=\"last\"" } else { "" };
        let _ = write!(html, "<span{class} style=\"left:{at:.3}%\">{tick} s</span>");
    }
    html.push_str("</div></div>\n");
    let mut stage = None;
    for (row, bars) in rows.iter().zip(&bars) {
        if stage != Some(&row.stage) {
            stage = Some(&row.stage);
            let _ = writeln!(html, "<h2>{}</h2>", escaped(&row.stage));
        }
        job(&mut html, row, bars, &ticks, total);
    }
    figures(&mut html, rows, &bars);
    html
}

/// A job's row of the chart.
fn job(html: &mut String, row: &Row, bars: &[Bar], ticks: &[f64], total: f64) {
    let class = match &row.fate {
        Fate::NotRun | Fate::Manual => "faint",
        Fate::Ended(outcome) if outcome.is_success() => "good",
        Fate::Ended(_) if row.failed() => "bad",
        Fate::Ended(_) => "warn",
    };
    let took = row.time.map_or_else(String::new, |(_, took)| time(took));
    let _ = write!(
        html,
        "<div class=\"row job\"><div class=\"who\"><b>{}</b><small><span class=\"{class}\">{}</span> {took}</small></div>\
         <div class=\"track\">",
        escaped(&row.name),
        escaped(&row.result())
    );
    for tick in ticks {
        let _ = write!(html, "<u style=\"left:{:.3}%\"></u>", tick / total * 100.0);
    }
    for lane in lanes(bars.iter().filter(|bar| bar.is_drawn(total))) {
        html.push_str("<div class=\"lane\">");
        for bar in lane {
            let label = escaped(&bar.label);
            let took = seconds(bar.took);
            let _ = write!(
                html,
                "<div class=\"bar {}\" style=\"left:{:.3}%;width:{:.3}%\" title=\"{label}: {took}\"><span>{} {took}</span></div>",
                bar.class,
                bar.began / total * 100.0,
                bar.took.as_secs_f64() / total * 100.0,
                escaped(&bar.short)
            );
        }
        html.push_str("</div>");
    }
    html.push_str("</div></div>\n");
}

/// The same as a table.
fn figures(html: &mut String, rows: &[Row], bars: &[Vec<Bar>]) {
    html.push_str(
        "<details><summary>All figures</summary><table>\n<tr><th>job</th><th>part</th>\
         <th class=\"number\">from</th><th class=\"number\">took</th></tr>\n",
    );
    for (row, bars) in rows.iter().zip(bars) {
        for bar in bars {
            let _ = writeln!(
                html,
                "<tr><td>{}</td><td>{}</td><td class=\"number\">{:.2} s</td><td class=\"number\">{}</td></tr>",
                escaped(&row.name),
                escaped(&bar.label),
                bar.began,
                seconds(bar.took)
            );
        }
    }
    html.push_str("</table></details>\n</html>\n");
}

/// What a job's time went into, in the order of the begins.
fn bars(row: &Row, began: Instant) -> Vec<Bar> {
    let mut bars: Vec<Bar> = row
        .spans
        .iter()
        .map(|span| {
            let (what, class) = kind(span.activity);
            let image = short(&span.subject);
            Bar {
                short: if image.is_empty() { what } else { image }.to_owned(),
                label: format!("{what} {}", span.subject).trim_end().to_owned(),
                class,
                began: span.began.saturating_duration_since(began).as_secs_f64(),
                took: span.took,
            }
        })
        .collect();
    bars.sort_by(|a, b| a.began.total_cmp(&b.began));
    bars
}

/// Bars on as few lanes as they fit on without overlapping. What follows one another has the first lane, what
/// goes beside it the others.
fn lanes<'a>(bars: impl Iterator<Item = &'a Bar>) -> Vec<Vec<&'a Bar>> {
    let is_beside = |bar: &&Bar| ["pull", "services"].contains(&bar.class);
    let (beside, steps): (Vec<&Bar>, Vec<&Bar>) = bars.partition(is_beside);
    let mut lanes = packed(steps);
    lanes.extend(packed(beside));
    lanes
}

fn packed(bars: Vec<&Bar>) -> Vec<Vec<&Bar>> {
    let mut lanes: Vec<Vec<&Bar>> = Vec::new();
    for bar in bars {
        let free = lanes.iter_mut().find(|lane| {
            lane.last()
                .is_none_or(|last| last.began + last.took.as_secs_f64() <= bar.began)
        });
        match free {
            Some(lane) => lane.push(bar),
            None => lanes.push(vec![bar]),
        }
    }
    lanes
}

/// Round times for the axis, in seconds.
fn ticks(total: f64) -> Vec<f64> {
    let rough = total / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let mut ticks = Vec::new();
    let mut count = 0_u32;
    while f64::from(count) * step <= total {
        // Without the noise of the last binary digits.
        ticks.push((f64::from(count) * step * 1000.0).round() / 1000.0);
        count += 1;
    }
    ticks
}

fn seconds(took: Duration) -> String {
    if took.as_secs() >= 60 {
        time(took)
    } else {
        format!("{:.2} s", took.as_secs_f64())
    }
}

/// A text as HTML has it, also in an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests;
