//! What a configuration leaves to the environment of this process: address and token of a runner may stand in its
//! variables (`url = "$GITLAB_URL"`, `token = "${RUNNER_TOKEN}"`), and `docker.cache_dir` may begin at its directory.

use super::Config;
use crate::keypath::KeyPath;

/// Puts in the values of the environment's variables, which `value_of` knows, and this process's directory. Runners that
/// are not served stay as they are.
///
/// # Errors
/// A key that refers to a variable which is not set, and what to do.
pub(super) fn expand(
    config: &mut Config,
    value_of: impl Fn(&str) -> Option<String>,
) -> Result<(), (KeyPath, String)> {
    let served = |executor: Option<&str>| super::RunnerConfig::supports(executor);
    let runners = config.runners.iter_mut().enumerate();
    for (index, runner) in runners.filter(|(_, runner)| served(runner.executor.as_deref())) {
        if let Some(directory) = &mut runner.docker.cache_dir
            && let Ok(absolute) = std::path::absolute(&*directory)
        {
            *directory = absolute.display().to_string();
        }
        for (key, text) in [("url", &mut runner.url), ("token", &mut runner.token)] {
            *text = expanded(text, &value_of).map_err(|name| {
                let what = format!(
                    "it refers to the variable {name}, which is not set in the environment of this process"
                );
                (KeyPath::of("runners").index(index).key(key), what)
            })?;
        }
    }
    Ok(())
}

/// A text with the values of the variables that it refers to, as `$NAME` or `${NAME}`.
///
/// # Errors
/// The name of a variable that is not set, or empty.
pub(super) fn expanded(
    text: &str,
    value_of: impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        let braced = after.strip_prefix('{').and_then(|it| it.split_once('}'));
        let (name, after) = braced.unwrap_or_else(|| {
            let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
            after.split_at(end)
        });
        if name.is_empty() || !name.chars().all(is_part) {
            whole.push('$');
            rest = &rest[before.len() + 1..];
            continue;
        }
        let value = value_of(name).filter(|value| !value.is_empty());
        whole.push_str(&value.ok_or(name)?);
        rest = after;
    }
    Ok(whole + rest)
}

#[cfg(test)]
mod tests {
    use super::expanded;

    #[test]
    fn variables_of_the_environment_are_put_in() {
        let value_of = |name: &str| match name {
            "URL" => Some("https://gitlab.example.org".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, want) in [
            ("https://c", Ok("https://c")),
            ("$URL", Ok("https://gitlab.example.org")),
            ("${URL}/", Ok("https://gitlab.example.org/")),
            ("$URL/ci", Ok("https://gitlab.example.org/ci")),
            ("$NONE", Err("NONE")),
            ("${NONE}", Err("NONE")),
            ("$EMPTY", Err("EMPTY")),
            // A token may have it.
            ("a$", Ok("a$")),
            ("a$-b", Ok("a$-b")),
            ("a${b", Ok("a${b")),
        ] {
            let found = expanded(text, value_of);
            assert_eq!(found.as_deref().map_err(String::as_str), want, "{text}");
        }
    }
}
