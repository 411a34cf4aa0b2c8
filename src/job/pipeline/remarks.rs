//! What is said of a job whose keys or values look wrong: that it is no job, or that it will do something that its author
//! hardly means.

use serde_json::{Map, Value};

use crate::job::document::Problem;
use crate::job::grammar;
use crate::keypath::KeyPath;
use crate::nearest::nearest;

/// Why there is no job, as far as its keys tell.
pub(super) fn without_script(name: &str, entry: &Map<String, Value>) -> Problem {
    let path = KeyPath::of(name);
    let unknown = || entry.keys().filter(|key| !grammar::is_of_a_job(key));
    if let Some(key) = unknown().find(|key| nearest(key, &["script"]).is_some()) {
        let what = format!("the job has no `script`; did you mean that by `{key}`?");
        return Problem::key(path.key(key), what);
    }
    let gitlabs = unknown().find_map(|key| Some((key, grammar::gitlabs(key)?)));
    if let Some((key, what)) = gitlabs {
        return Problem::key(path.key(key), format!("the job has no `script`; {what}"));
    }
    let of_no_job = !entry.keys().any(|key| grammar::is_of_a_job(key));
    let keyword = nearest(name, &grammar::global_names()).filter(|_| of_no_job);
    let what = match keyword {
        Some(keyword) => {
            format!("neither a keyword (did you mean `{keyword}`?) nor a job with a `script`")
        }
        None => "the job has no `script` (the name of a template begins with a dot)".to_owned(),
    };
    Problem::key(path, what)
}

/// A job's own `variables` take the place of those for all jobs, which few expect.
pub(super) fn lost_variables(
    path: &KeyPath,
    entry: &Map<String, Value>,
    global: &Map<String, Value>,
) -> Option<Problem> {
    let own = entry.get("variables")?.as_object()?;
    let of_all = global.get("variables")?.as_object()?;
    let lost = of_all.keys().filter(|name| !own.contains_key(*name));
    let lost: Vec<&str> = lost.map(String::as_str).collect();
    // Without any of its own, a job does not want the others.
    if lost.is_empty() || own.is_empty() {
        return None;
    }
    let what = format!(
        "these replace the variables for all jobs, and the job is without {}: write them here too if it needs them",
        lost.join(", ")
    );
    Some(Problem::key(path.key("variables"), what))
}

/// Line ends of Windows in a command, which a shell takes for a part of the last word.
pub(super) fn carriage_returns(path: &KeyPath, entry: &Map<String, Value>) -> Vec<Problem> {
    let mut found = Vec::new();
    for key in ["before_script", "script", "after_script"] {
        let path = path.key(key);
        let commands = match entry.get(key) {
            Some(Value::Array(list)) => list
                .iter()
                .enumerate()
                .map(|(at, one)| (path.index(at), one))
                .collect(),
            Some(one) => vec![(path, one)],
            None => continue,
        };
        let bad = |command: &Value| {
            command
                .as_str()
                .is_some_and(|text| text.contains("\r\n") || text.ends_with('\r'))
        };
        let bad = commands.into_iter().filter(|(_, command)| bad(command));
        found.extend(bad.map(|(path, _)| {
            Problem::value(path, "the command has line ends of Windows (CRLF), and a shell takes the CR for a part of its words: write \\n in place of \\r\\n")
        }));
    }
    found
}
