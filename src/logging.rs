//! The runner's own log on stderr, as text or as JSON. Each line names the runner and the job that it is about.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Arc;

use env_logger::fmt::Formatter;
use log::{LevelFilter, Record};
use serde_json::{Map, Value, json};

use crate::outcome::shown;

/// The format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text, for people.
    #[default]
    Text,
    /// An object on each line, with `time`, `level`, `runner`, `job` and `message`, for programs.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!(
                "`{text}` is no log format; there are text and json"
            )),
        }
    }
}

/// The runner and the job that the lines of a thread are about.
#[derive(Clone, Default)]
pub struct Context {
    /// The runner's name; empty if there is none.
    pub runner: String,
    /// The job's id at the coordinator.
    pub job: Option<u64>,
    /// Masks the secrets of the job in a line.
    pub mask: Option<Arc<Mask>>,
}

/// Returns a text with its secrets masked.
pub type Mask = dyn Fn(&str) -> String + Send + Sync;

thread_local! {
    static CONTEXT: RefCell<Context> = RefCell::default();
}

impl Context {
    /// Makes this the thread's context until the guard is dropped.
    #[must_use]
    pub fn enter(self) -> Entered {
        Entered(CONTEXT.with_borrow_mut(|current| std::mem::replace(current, self)))
    }
}

/// Restores the previous context when it is dropped.
pub struct Entered(Context);

impl Drop for Entered {
    fn drop(&mut self) {
        CONTEXT.set(std::mem::take(&mut self.0));
    }
}

/// Wraps work for another thread, so that it runs with this thread's context.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let context = CONTEXT.with_borrow(Clone::clone);
    move || {
        let _entered = context.enter();
        work()
    }
}

/// Starts the log. Messages of libraries are not logged: they may contain requests with tokens.
pub fn start(level: LevelFilter, format: Format) {
    env_logger::Builder::new()
        .filter_module(env!("CARGO_CRATE_NAME"), LevelFilter::Trace)
        .format(move |to, record| {
            CONTEXT.with_borrow(|context| match format {
                Format::Text => text(to, record, context),
                Format::Json => json_line(to, record, context),
            })
        })
        .init();
    log::set_max_level(level);
}

fn message(record: &Record, context: &Context) -> String {
    let message = record.args().to_string();
    context
        .mask
        .as_ref()
        .map_or(message.clone(), |mask| mask(&message))
}

fn text(to: &mut Formatter, record: &Record, context: &Context) -> io::Result<()> {
    let style = to.default_level_style(record.level());
    write!(to, "[{} ", to.timestamp())?;
    write!(to, "{style}{:<5}{style:#}", record.level())?;
    if !context.runner.is_empty() {
        write!(to, " {}", context.runner)?;
    }
    if let Some(job) = context.job {
        write!(to, " job {job}")?;
    }
    writeln!(to, "] {}", shown(&message(record, context)))
}

fn json_line(to: &mut Formatter, record: &Record, context: &Context) -> io::Result<()> {
    let mut line = Map::new();
    line.insert("time".to_owned(), json!(to.timestamp_millis().to_string()));
    let level = record.level().as_str().to_lowercase();
    line.insert("level".to_owned(), json!(level));
    if !context.runner.is_empty() {
        line.insert("runner".to_owned(), json!(context.runner));
    }
    if let Some(job) = context.job {
        line.insert("job".to_owned(), json!(job));
    }
    line.insert("message".to_owned(), json!(message(record, context)));
    writeln!(to, "{}", Value::Object(line))
}

#[cfg(test)]
mod tests {
    use super::{CONTEXT, Context, carried};

    #[test]
    fn a_context_is_a_threads_own_and_can_be_carried_to_another() {
        let runner = || CONTEXT.with_borrow(|context| context.runner.clone());
        let context = |name: &str| Context {
            runner: name.to_owned(),
            ..Context::default()
        };
        let entered = context("a").enter();
        let inner = context("b").enter();
        assert_eq!(runner(), "b");
        drop(inner);
        assert_eq!(runner(), "a");
        assert_eq!(std::thread::spawn(runner).join().expect("no panic"), "");
        let work = carried(runner);
        assert_eq!(std::thread::spawn(work).join().expect("no panic"), "a");
        drop(entered);
        assert_eq!(runner(), "");
    }
}
