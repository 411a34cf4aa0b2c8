//! What became of the jobs of a run: the table at its end, and its verdict.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::screen::sanitize;
use super::table::{Cell, table};
use crate::executor::Span;
use crate::outcome::{Outcome, on_one_line};
pub(super) use crate::worker::duration::time;

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It ran to this end.
    Ended(Outcome),
    /// It was not begun: something before it failed, or nothing did that it waits for.
    NotRun,
    /// It runs only when it is named.
    Manual,
}

/// A job of a run that is over.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// Its failure does not count.
    pub may_fail: bool,
    /// What became of it.
    pub fate: Fate,
    /// When it began and how long it took, cleanup included.
    pub time: Option<(Instant, Duration)>,
    /// What its time went into.
    pub spans: Vec<Span>,
    /// The end of what its script printed.
    pub last_lines: Vec<String>,
}

/// What became of a run as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing failed that counts.
    Success,
    /// A job failed.
    Failure,
    /// Nothing else failed, but something that is not the jobs' doing.
    SystemFailure,
}

/// How a job counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Succeeded,
    Failed,
    Allowed,
    Interrupted,
    NotRun,
    Manual,
}

impl Row {
    /// Whether it failed in a way that counts. `allow_failure` is about the script, not about failures of the system.
    #[must_use]
    pub fn failed(&self) -> bool {
        match &self.fate {
            Fate::Ended(Outcome::Success) | Fate::NotRun | Fate::Manual => false,
            Fate::Ended(Outcome::Canceled | Outcome::SystemFailure(_)) => true,
            Fate::Ended(_) => !self.may_fail,
        }
    }

    fn count(&self) -> Count {
        match &self.fate {
            Fate::Ended(Outcome::Success) => Count::Succeeded,
            Fate::Ended(Outcome::Canceled) => Count::Interrupted,
            Fate::Ended(_) if self.failed() => Count::Failed,
            Fate::Ended(_) => Count::Allowed,
            Fate::NotRun => Count::NotRun,
            Fate::Manual => Count::Manual,
        }
    }

    /// What became of it, in a few words.
    #[must_use]
    pub fn result(&self) -> String {
        let reason = match &self.fate {
            Fate::Ended(outcome @ (Outcome::ScriptFailure { .. } | Outcome::TimedOut(_))) => {
                format!(": {}", outcome.reason())
            }
            Fate::Ended(Outcome::BuildError(reason)) => format!(": {}", first_line(&reason.text)),
            Fate::Ended(Outcome::SystemFailure(_)) => ": system failure".to_owned(),
            _ => String::new(),
        };
        let word = match self.count() {
            Count::Succeeded => "succeeded",
            Count::Failed => "failed",
            Count::Allowed => "allowed to fail",
            Count::Interrupted => "interrupted",
            Count::NotRun => "not run",
            Count::Manual => "manual",
        };
        format!("{word}{reason}")
    }

    /// Why it failed, and the end of what its script printed, behind an empty line: its log is pages above.
    fn why(&self, colour: bool) -> String {
        let Fate::Ended(outcome) = &self.fate else {
            return String::new();
        };
        let (begin, end) = if colour {
            ("\x1b[31;1m", "\x1b[0m")
        } else {
            ("", "")
        };
        let title = outcome.kind_of_failure(&format!("{} failed", sanitize(&self.name)));
        let mut text = format!(
            "\n{begin}{title}:{end} {}\n",
            on_one_line(&outcome.reason())
        );
        for line in &self.last_lines {
            let _ = writeln!(text, "  {line}");
        }
        text
    }

    fn cells(&self) -> Vec<Cell> {
        let sgr = match self.count() {
            Count::Succeeded => "32",
            Count::Failed => "31;1",
            Count::Allowed | Count::Interrupted => "33",
            Count::NotRun | Count::Manual => "2",
        };
        let time = self.time.map_or_else(String::new, |(_, took)| time(took));
        vec![
            Cell::new(sanitize(&self.name)),
            Cell::new(sanitize(&self.stage)),
            Cell::coloured(sanitize(&self.result()), sgr),
            Cell::new(time),
        ]
    }
}

/// The verdict on a run.
#[must_use]
pub fn verdict(rows: &[Row]) -> Verdict {
    let mut failed = rows.iter().filter(|row| row.failed()).peekable();
    if failed.peek().is_none() {
        return Verdict::Success;
    }
    if failed.all(|row| matches!(row.fate, Fate::Ended(Outcome::SystemFailure(_)))) {
        Verdict::SystemFailure
    } else {
        Verdict::Failure
    }
}

/// The table of a run that took so long, and its summary, behind an empty line.
pub(super) fn summary(rows: &[Row], took: Duration, colour: bool) -> String {
    let cells: Vec<Vec<Cell>> = rows.iter().map(Row::cells).collect();
    let table = table(&["job", "stage", "result", "time"], &cells, colour);
    let mut text = format!("\n{table}");
    for row in rows.iter().filter(|row| row.count() == Count::Failed) {
        text.push_str(&row.why(colour));
    }
    let interrupted = rows.iter().any(|row| row.count() == Count::Interrupted);
    let (word, sgr) = match verdict(rows) {
        _ if interrupted => ("Pipeline interrupted", "33;1"),
        Verdict::Success => ("Pipeline succeeded", "32;1"),
        Verdict::Failure | Verdict::SystemFailure => ("Pipeline failed", "31;1"),
    };
    let counts = [
        (Count::Succeeded, "succeeded"),
        (Count::Failed, "failed"),
        (Count::Allowed, "allowed to fail"),
        (Count::Interrupted, "interrupted"),
        (Count::NotRun, "not run"),
        (Count::Manual, "manual"),
    ];
    let counts = counts.iter().filter_map(|(count, word)| {
        let number = rows.iter().filter(|row| row.count() == *count).count();
        (number > 0).then(|| format!("{number} {word}"))
    });
    let counts = counts.collect::<Vec<_>>().join(", ");
    let took = time(took);
    let _ = if colour {
        writeln!(text, "\n\x1b[{sgr}m{word}\x1b[0m in {took}: {counts}")
    } else {
        writeln!(text, "\n{word} in {took}: {counts}")
    };
    text
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Fate, Row, Verdict, summary, time, verdict};
    use crate::outcome::Outcome;
    use std::time::{Duration, Instant};

    fn row(name: &str, fate: Fate, may_fail: bool) -> Row {
        let ran = matches!(fate, Fate::Ended(_));
        Row {
            name: name.to_owned(),
            stage: "test".to_owned(),
            may_fail,
            fate,
            time: ran.then(|| (Instant::now(), Duration::from_millis(1234))),
            spans: Vec::new(),
            last_lines: vec!["3 of 40 tests failed".to_owned()],
        }
    }

    fn failure() -> Fate {
        Fate::Ended(Outcome::ScriptFailure {
            exit_code: 7,
            out_of_memory: false,
        })
    }

    #[test]
    fn the_verdict_is_the_worst_that_counts() {
        let good = row("good", Fate::Ended(Outcome::Success), false);
        let allowed = row("allowed", failure(), true);
        let system = Fate::Ended(Outcome::SystemFailure("x".into()));
        assert_eq!(verdict(&[good.clone(), allowed.clone()]), Verdict::Success);
        assert_eq!(
            verdict(&[good, row("bad", failure(), false)]),
            Verdict::Failure
        );
        let broken = row("broken", system, true);
        assert_eq!(
            verdict(&[allowed.clone(), broken.clone()]),
            Verdict::SystemFailure
        );
        assert_eq!(
            verdict(&[broken, row("bad", failure(), false)]),
            Verdict::Failure
        );
    }

    #[test]
    fn the_table_says_what_became_of_each() {
        let rows = [
            row("unit", Fate::Ended(Outcome::Success), false),
            row("lint", failure(), true),
            row("deploy", Fate::NotRun, false),
        ];
        assert_eq!(
            summary(&rows, Duration::from_secs(65), false),
            "\njob     stage  result                        time\n\
             unit    test   succeeded                     1.2 s\n\
             lint    test   allowed to fail: exit code 7  1.2 s\n\
             deploy  test   not run\n\n\
             Pipeline succeeded in 1 min 5 s: 1 succeeded, 1 allowed to fail, 1 not run\n"
        );
        assert_eq!(time(Duration::from_mins(123)), "2 h 3 min");
    }

    #[test]
    fn what_failed_is_said_again_at_the_end() {
        let away = Outcome::SystemFailure("the docker engine went away\nfor good".into());
        let rows = [
            row("unit", failure(), false),
            row("lint", failure(), true),
            row("deploy", Fate::Ended(away), true),
        ];
        let text = summary(&rows, Duration::from_secs(1), false);
        let want = "\n\nunit failed: exit code 7\n  3 of 40 tests failed\n\n\
             deploy failed (system failure): the docker engine went away\\nfor good\n  3 of 40 tests failed\n\n\
             Pipeline failed in 1.0 s: 2 failed, 1 allowed to fail\n";
        assert!(text.ends_with(want), "{text}");
    }
}
