//! What a job's variables say about how it is run. What cannot be meant costs a warning, and the default counts.

use std::fmt::Display;
use std::time::Duration;

use super::git_options::{CLEAN, FETCH, Options, SUBMODULE};
use crate::config::RunnerConfig;
use crate::config::time::time;
use crate::helper::archive::level::Level;
use crate::helper::archive::limit::LIMIT_VARIABLE;
use crate::job::Job;
use crate::job::files::Kind;
use crate::job::variables::{Variables, switch};

/// How long an `after_script` may take unless a variable says so.
const AFTER_SCRIPT_TIMEOUT: Duration = Duration::from_mins(5);
/// As often as anything may be tried.
const MOST_ATTEMPTS: u32 = 10;

/// The settings of one job.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a variable of its own"
)]
pub(super) struct Settings {
    pub git: GitSettings,
    pub get_sources_attempts: u32,
    pub restore_cache_attempts: u32,
    pub download_attempts: u32,
    /// How much an archive may unpack to, in megabytes.
    pub unpack_limit: Option<u64>,
    pub cache_level: Level,
    pub artifact_level: Level,
    /// How long a cache may take on its way, in minutes.
    pub cache_minutes: Option<u64>,
    /// The longest archive of a cache that is sent, in bytes.
    pub cache_most_sent: Option<u64>,
    /// How long the script may take by itself.
    pub script_timeout: Option<Duration>,
    pub after_script_timeout: Duration,
    /// Each line of the log has its time.
    pub stamps: bool,
    /// The log folds commands of several lines.
    pub script_sections: bool,
    /// A failure of the `after_script` is none of the job's.
    pub ignores_after_script: bool,
    /// The sources are for the user of the build alone.
    pub user_owns_sources: bool,
    /// The shell traces what it does.
    pub trace: bool,
    /// The build container's first process is one that ends what its parents left.
    pub init: bool,
    /// What was not meant.
    pub warnings: Vec<String>,
}

/// How git brings the sources.
pub(super) struct GitSettings {
    /// `clone`, `fetch`, `none` or `empty`.
    pub strategy: &'static str,
    /// 0: all of the history.
    pub depth: u32,
    pub checkout: bool,
    /// Options of `git fetch`.
    pub fetch_options: Vec<String>,
    /// The same where nothing is there yet.
    pub clone_options: Vec<String>,
    /// Options of `git clean`. `None`: what is not in the commit stays.
    pub clean_options: Option<Vec<String>>,
    /// `none`, `normal` or `recursive`.
    pub submodules: &'static str,
    /// Only these; none: all of them.
    pub submodule_paths: Vec<String>,
    /// 0: all of their history.
    pub submodule_depth: u32,
    /// Options of `git submodule update`.
    pub submodule_options: Vec<String>,
    /// Submodules at the coordinator's host come by HTTP, whatever their addresses say.
    pub force_https: bool,
}

impl GitSettings {
    fn read(job: &Job, read: &mut Reader) -> Self {
        let strategies = if job.fetch {
            ["fetch", "clone", "none", "empty"]
        } else {
            ["clone", "fetch", "none", "empty"]
        };
        // GitLab's runner has these, and its jobs' logs show what was removed.
        let (fetch, clean, submodule_depth) = match job.kind() {
            Kind::GitLab => ("--prune --quiet", "-ffdx", job.sources.depth),
            Kind::AlloyCi => ("--quiet", "-q -ffdx", 0),
        };
        let depth = read.number("GIT_DEPTH", job.sources.depth);
        let submodule_depth = if submodule_depth == 0 { 0 } else { depth };
        let paths = read.variables.get("GIT_SUBMODULE_PATHS");
        let paths = paths.unwrap_or_default().split_whitespace();
        Self {
            strategy: read.one_of("GIT_STRATEGY", &strategies),
            depth,
            checkout: read.flag("GIT_CHECKOUT", true),
            fetch_options: read.options("GIT_FETCH_EXTRA_FLAGS", &FETCH, fetch),
            clone_options: read.options("GIT_CLONE_EXTRA_FLAGS", &FETCH, ""),
            clean_options: match read.variables.get("GIT_CLEAN_FLAGS").map(str::trim) {
                Some("none") => None,
                _ => Some(read.options("GIT_CLEAN_FLAGS", &CLEAN, clean)),
            },
            submodules: read.one_of("GIT_SUBMODULE_STRATEGY", &["none", "normal", "recursive"]),
            submodule_paths: paths.map(str::to_owned).collect(),
            submodule_depth: read.number("GIT_SUBMODULE_DEPTH", submodule_depth),
            submodule_options: read.options("GIT_SUBMODULE_UPDATE_FLAGS", &SUBMODULE, ""),
            force_https: read.flag("GIT_SUBMODULE_FORCE_HTTPS", false),
        }
    }
}

impl Settings {
    pub fn read(job: &Job, config: &RunnerConfig, variables: &Variables) -> Self {
        // GitLab sends the job's own limit.
        let sent = job.after_script_timeout.unwrap_or(AFTER_SCRIPT_TIMEOUT);
        let mut read = Reader {
            variables,
            warnings: Vec::new(),
        };
        let mut settings = Self {
            git: GitSettings::read(job, &mut read),
            get_sources_attempts: read.attempts("GET_SOURCES_ATTEMPTS"),
            restore_cache_attempts: read.attempts("RESTORE_CACHE_ATTEMPTS"),
            download_attempts: read.attempts("ARTIFACT_DOWNLOAD_ATTEMPTS"),
            unpack_limit: read.optional_number(LIMIT_VARIABLE),
            cache_level: read.level("CACHE_COMPRESSION_LEVEL"),
            artifact_level: read.level("ARTIFACT_COMPRESSION_LEVEL"),
            cache_minutes: read
                .optional_number("CACHE_REQUEST_TIMEOUT")
                .filter(|minutes| *minutes > 0),
            cache_most_sent: read
                .optional_number("CACHE_MAX_UPLOADED_ARCHIVE_SIZE")
                .filter(|bytes| *bytes > 0),
            script_timeout: read.optional_time("RUNNER_SCRIPT_TIMEOUT", job.script_timeout),
            after_script_timeout: read.time(
                "RUNNER_AFTER_SCRIPT_TIMEOUT",
                sent.min(AFTER_SCRIPT_TIMEOUT),
            ),
            script_sections: read.flag("FF_SCRIPT_SECTIONS", false),
            stamps: read.flag("FF_TIMESTAMPS", job.kind() == Kind::GitLab),
            ignores_after_script: read.flag("AFTER_SCRIPT_IGNORE_ERRORS", true),
            user_owns_sources: read.flag("FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR", false),
            init: read.flag("FF_USE_INIT_WITH_DOCKER_EXECUTOR", false),
            trace: read.flag("CI_DEBUG_TRACE", false),
            warnings: Vec::new(),
        };
        settings.warnings = read.warnings;
        if settings.trace && config.debug_trace_disabled == Some(true) {
            settings.trace = false;
            let warning = "CI_DEBUG_TRACE has no effect: this runner has debug_trace_disabled";
            settings.warnings.push(warning.to_owned());
        }
        settings
    }
}

struct Reader<'a> {
    variables: &'a Variables,
    warnings: Vec<String>,
}

impl Reader<'_> {
    /// What `read` makes of a variable that is set, else the default.
    fn value<T>(
        &mut self,
        name: &str,
        default: T,
        shown: impl Display,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> T {
        let text = self.variables.get(name).map(str::trim);
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return default;
        };
        read(text).unwrap_or_else(|| {
            let text = text.escape_debug();
            self.warnings.push(format!(
                "the variable {name} is `{text}`; it {expected}: {shown} is taken"
            ));
            default
        })
    }

    /// One of a few words; the first one is the default.
    fn one_of(&mut self, name: &str, words: &[&'static str]) -> &'static str {
        let expected = format!("can be {}", words.join(", "));
        let shown = format!("`{}`", words[0]);
        self.value(name, words[0], shown, &expected, |text| {
            words.iter().find(|word| **word == text).copied()
        })
    }

    fn number(&mut self, name: &str, default: u32) -> u32 {
        let expected = "must be a number, 0 or more";
        self.value(name, default, default, expected, |text| text.parse().ok())
    }

    fn optional_number(&mut self, name: &str) -> Option<u64> {
        let expected = "must be a number, 0 or more";
        self.value(name, None, "the default", expected, |text| {
            text.parse().ok().map(Some)
        })
    }

    fn attempts(&mut self, name: &str) -> u32 {
        self.number(name, 1).clamp(1, MOST_ATTEMPTS)
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        self.value(name, default, default, "must be true or false", switch)
    }

    fn time(&mut self, name: &str, default: Duration) -> Duration {
        self.value(name, default, shown(default), TIME, time)
    }

    fn optional_time(&mut self, name: &str, default: Option<Duration>) -> Option<Duration> {
        let shown = default.map_or_else(|| "no limit".to_owned(), shown);
        self.value(name, default, shown, TIME, |text| time(text).map(Some))
    }

    fn level(&mut self, name: &str) -> Level {
        let word = self.one_of(name, &Level::ALL.map(|(word, _)| word));
        let level = Level::ALL.into_iter().find(|(known, _)| *known == word);
        level.map_or(Level::Default, |(_, level)| level)
    }

    /// Options of git; by default those that `default` says.
    fn options(&mut self, name: &str, options: &Options, default: &str) -> Vec<String> {
        let words = default.split_whitespace().map(str::to_owned).collect();
        let shown = if default.is_empty() {
            "nothing".to_owned()
        } else {
            format!("`{default}`")
        };
        let expected = "can hold options alone that a job may give (help variables)";
        self.value(name, words, shown, expected, |text| options.read(text))
    }
}

/// What a time must be.
const TIME: &str = "must be a time like 90, 90s, 10m or 1h30m";

/// A time as messages have it.
fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds.is_multiple_of(60) {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Settings};
    use crate::config::RunnerConfig;
    use crate::job::payload;
    use crate::job::variables::{Variable, Variables};
    use std::time::Duration;

    #[test]
    fn an_after_script_has_five_minutes_where_the_job_has_more() {
        let text = include_str!("../../fixtures/payloads/alloyci.json");
        let payload = payload::read(text.as_bytes(), "https://c/api/v4").expect("a payload");
        let mut job = payload.job.expect("a job");
        assert_eq!(job.after_script_timeout, Some(Duration::from_hours(1)));
        for (sent, variable, minutes) in [
            (Some(60), None, 5),
            (Some(2), None, 2),
            (None, None, 5),
            (Some(60), Some("20m"), 20),
        ] {
            job.after_script_timeout = sent.map(Duration::from_mins);
            let set = variable.map(|time| Variable::public("RUNNER_AFTER_SCRIPT_TIMEOUT", time));
            let variables = Variables::resolve(set).expect("resolved");
            let settings = Settings::read(&job, &RunnerConfig::default(), &variables);
            assert_eq!(settings.after_script_timeout, Duration::from_mins(minutes));
        }
    }

    #[test]
    fn what_gitlab_says_of_git_is_taken_and_its_runners_defaults() {
        let read = |text: &str, set: &[(&str, &str)]| {
            let payload = payload::read(text.as_bytes(), "https://c/api/v4").expect("a payload");
            let job = payload.job.expect("a job");
            let set = set
                .iter()
                .map(|(name, value)| Variable::public(*name, *value));
            let variables = Variables::resolve(set).expect("resolved");
            Settings::read(&job, &RunnerConfig::default(), &variables)
        };
        let [alloyci, gitlab] = [
            include_str!("../../fixtures/payloads/alloyci.json"),
            include_str!("../../fixtures/payloads/gitlab.json"),
        ];
        let own = read(alloyci, &[]).git;
        assert_eq!((own.depth, own.submodule_depth), (0, 0));
        assert_eq!(own.fetch_options, ["--quiet"]);
        let git = read(gitlab, &[]).git;
        assert_eq!((git.depth, git.submodule_depth), (20, 20));
        assert_eq!(git.fetch_options, ["--prune", "--quiet"]);
        assert_eq!(
            git.clean_options.as_deref(),
            Some(&["-ffdx".to_owned()][..])
        );
        let settings = read(
            gitlab,
            &[
                ("GIT_STRATEGY", "empty"),
                ("GIT_DEPTH", "0"),
                ("GIT_SUBMODULE_DEPTH", "3"),
                ("GIT_CLEAN_FLAGS", "none"),
                ("GIT_FETCH_EXTRA_FLAGS", "--upload-pack=sh"),
                ("GIT_SUBMODULE_FORCE_HTTPS", "TRUE"),
                ("AFTER_SCRIPT_IGNORE_ERRORS", "f"),
                ("RUNNER_SCRIPT_TIMEOUT", "1h30m"),
                ("CACHE_COMPRESSION_LEVEL", "slowest"),
                ("CACHE_REQUEST_TIMEOUT", "5"),
                ("CACHE_MAX_UPLOADED_ARCHIVE_SIZE", "0"),
            ],
        );
        let levels = [settings.cache_level, settings.artifact_level];
        assert_eq!(levels, [Level::Slowest, Level::Default]);
        assert_eq!(
            (settings.cache_minutes, settings.cache_most_sent),
            (Some(5), None)
        );
        let git = settings.git;
        assert_eq!(
            (git.strategy, git.depth, git.submodule_depth),
            ("empty", 0, 3)
        );
        assert!(git.clean_options.is_none() && git.force_https);
        assert!(!settings.ignores_after_script);
        assert_eq!(settings.script_timeout, Some(Duration::from_mins(90)));
        assert_eq!(git.fetch_options, ["--prune", "--quiet"]);
        assert_eq!(
            settings.warnings,
            [
                "the variable GIT_FETCH_EXTRA_FLAGS is `--upload-pack=sh`; it can hold options alone that a job may give \
              (help variables): `--prune --quiet` is taken"
            ]
        );
    }
}
