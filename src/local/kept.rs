//! Which directories a local job keeps for its next run, where the configuration says nothing of volumes: the one for caches, if the job names it.

use crate::config::RunnerConfig;
use crate::job::{ImageSpec, Job};

/// The directory for caches, where the job's own words or the settings' name it: a job that has nothing to do with it
/// leaves no volume. Archives of `cache` are elsewhere.
pub(super) fn directories(config: &RunnerConfig, job: &Job) -> Vec<String> {
    let directory = config.cache_dir.as_deref().unwrap_or("/cache");
    let images = job.image.iter().chain(&job.services);
    let of_images = images.flat_map(
        |ImageSpec {
             entrypoint,
             command,
             ..
         }| { entrypoint.iter().chain(command).flatten() },
    );
    let of_settings = [&config.pre_build_script, &config.post_build_script];
    let mut words = (job.script.iter())
        .chain(&job.after_script)
        .chain(of_images)
        .chain(of_settings.into_iter().flatten())
        .chain(&config.environment)
        .map(String::as_str)
        .chain(job.variables.iter().map(|variable| variable.value.expose()));
    let named = words.any(|text| names(text, directory));
    named.then(|| directory.to_owned()).into_iter().collect()
}

/// Whether a text has this absolute path in it, or one below it, and not only one that ends with it.
fn names(text: &str, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    text.match_indices(path).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + path.len()..]);
        let begins = before
            .chars()
            .next_back()
            .is_none_or(|c| c.is_whitespace() || "\"'`=:,;|&<>([{@".contains(c));
        let ends = after
            .chars()
            .next()
            .is_none_or(|c| !c.is_alphanumeric() && !"_-.".contains(c));
        begins && ends
    })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_path_is_told_from_one_that_ends_like_it() {
        for text in [
            "/cache",
            "ls /cache/x",
            "--dir=/cache;",
            "PATH=/a:/cache:/b",
            "cp x \"/cache\"",
            "echo >/cache/y",
        ] {
            assert!(names(text, "/cache"), "{text}");
        }
        for text in [
            "vendor/cache",
            "./cache",
            "$HOME/cache",
            "/cached",
            "/cache-2",
            "/a/cache",
            "cache",
            "",
        ] {
            assert!(!names(text, "/cache"), "{text}");
        }
    }
}
