//! Where a job's variables may lead a volume.

use std::path::{Component, Path};

use crate::config::normal;
use crate::job::variables::Variables;

/// Where a volume is in the containers. A job sets variables, and the helper has the volumes too: they lead nowhere but
/// below what the operator has written before the first of them, or, where that is nothing, below the directories that
/// every job writes to.
pub(super) fn destination(
    text: &str,
    variables: &Variables,
    open: &[String],
) -> Result<String, String> {
    let Some(at) = text.find('$') else {
        return Ok(normal(Path::new(text)));
    };
    if !variables.shows_no_secret(text) {
        return Err("it refers to a secret, which no path shows".to_owned());
    }
    let expanded = variables.expand(text);
    let below = |target: &str, top: &str| {
        let rest = target.strip_prefix(top);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let shown = expanded.escape_debug();
    if !expanded.starts_with('/')
        || expanded.contains([':', '|', ','])
        || expanded.contains(char::is_control)
    {
        return Err(format!(
            "the path in the container is `{shown}`; it must be an absolute one without colons and commas"
        ));
    }
    let up = Path::new(&expanded)
        .components()
        .any(|part| part == Component::ParentDir);
    let target = normal(Path::new(&expanded));
    let written = normal(Path::new(&text[..text[..at].rfind('/').unwrap_or(0)]));
    let inside = match written.as_str() {
        "" | "/" => open.iter().any(|top| below(&target, top)),
        written => below(&target, written),
    };
    if up || !inside {
        return Err(format!(
            "with the variables of the job it is at `{shown}`, where no job may have it"
        ));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::destination;
    use crate::job::variables::{Variable, Variables};

    #[test]
    fn variables_of_a_job_lead_a_volume_nowhere_else() {
        let variables = Variables::resolve([
            Variable::public("DIR", "/builds/acme/site"),
            Variable::public("NAME", "one"),
            Variable::public("UP", "../usr"),
            Variable::public("USR", "/usr/bin"),
            Variable::secret("TOKEN", "secret"),
        ]);
        let variables = variables.expect("good");
        let open = ["/builds".to_owned(), "/cache".to_owned()];
        for (text, at) in [
            ("/kept/$NAME/x", Some("/kept/one/x")),
            ("/kept/a-${NAME}/", Some("/kept/a-one")),
            ("$DIR/vendor", Some("/builds/acme/site/vendor")),
            ("/kept/$UP", None),
            ("/kept/$NONE", None),
            ("/kept/x$UP", Some("/kept/x../usr")),
            ("$USR", None),
            ("$NAME/x", None),
            ("/$NAME", None),
            ("/kept/$TOKEN", None),
        ] {
            let placed = destination(text, &variables, &open);
            assert_eq!(placed.as_deref().ok(), at, "{text}: {placed:?}");
            assert!(
                placed.is_ok() || !format!("{placed:?}").contains("secret\""),
                "{text}"
            );
        }
    }
}
