//! The options of git that a job may give by its variables. Each word is checked against a list: none of them runs a
//! program, or reads or writes outside of the project's directory. git takes the beginning of an option for the whole
//! of it, the list does not.

/// What an option takes.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    Number,
    /// What to leave out of a partial clone.
    Filter,
    /// `yes`, `no`, `on-demand`.
    Recursion,
    /// A time, as a word.
    Time,
    /// The name of a branch or tag.
    Ref,
    /// A pattern as `.gitignore` has them.
    Pattern,
}

use Takes::{Filter, Nothing, Number, Pattern, Recursion, Ref, Time};

/// The options of a command that a job may give, and the `--no-` forms of those.
pub(super) struct Options(&'static [(&'static str, Takes)]);

/// Those of `git clean`.
pub(super) const CLEAN: Options = Options(&[
    ("-d", Nothing),
    ("-f", Nothing),
    ("-n", Nothing),
    ("-q", Nothing),
    ("-x", Nothing),
    ("-X", Nothing),
    ("-e", Pattern),
    ("--dry-run", Nothing),
    ("--exclude", Pattern),
    ("--force", Nothing),
    ("--quiet", Nothing),
]);

/// Those of `git fetch`, also where it does what a clone does.
pub(super) const FETCH: Options = Options(&[
    ("-4", Nothing),
    ("-6", Nothing),
    ("-f", Nothing),
    ("-j", Number),
    ("-n", Nothing),
    ("-p", Nothing),
    ("-P", Nothing),
    ("-q", Nothing),
    ("-t", Nothing),
    ("-v", Nothing),
    ("--atomic", Nothing),
    ("--depth", Number),
    ("--filter", Filter),
    ("--force", Nothing),
    ("--ipv4", Nothing),
    ("--ipv6", Nothing),
    ("--jobs", Number),
    ("--progress", Nothing),
    ("--prune", Nothing),
    ("--prune-tags", Nothing),
    ("--quiet", Nothing),
    ("--recurse-submodules", Recursion),
    ("--refetch", Nothing),
    ("--shallow-exclude", Ref),
    ("--shallow-since", Time),
    ("--tags", Nothing),
    ("--update-shallow", Nothing),
    ("--verbose", Nothing),
]);

/// Those of `git submodule update`.
pub(super) const SUBMODULE: Options = Options(&[
    ("-f", Nothing),
    ("-j", Number),
    ("-N", Nothing),
    ("-q", Nothing),
    ("--checkout", Nothing),
    ("--depth", Number),
    ("--filter", Filter),
    ("--force", Nothing),
    ("--init", Nothing),
    ("--jobs", Number),
    ("--merge", Nothing),
    ("--no-fetch", Nothing),
    ("--progress", Nothing),
    ("--quiet", Nothing),
    ("--rebase", Nothing),
    ("--recommend-shallow", Nothing),
    ("--recursive", Nothing),
    ("--remote", Nothing),
    ("--single-branch", Nothing),
]);

impl Options {
    /// The words of a text, each value in the word of its option. `None` where one is not on the list.
    pub fn read(&self, text: &str) -> Option<Vec<String>> {
        let mut words = text.split_whitespace();
        let mut read = Vec::new();
        while let Some(word) = words.next() {
            let (takes, value) = self.split(word)?;
            read.push(match (takes, value) {
                // git has it without a value too, and takes none from the next word.
                (Nothing | Recursion, None) => word.to_owned(),
                (takes, Some(value)) if takes.has(value) => word.to_owned(),
                (_, Some(_)) => return None,
                (takes, None) => {
                    let value = words.next().filter(|value| takes.has(value))?;
                    let sign = if word.starts_with("--") { "=" } else { "" };
                    format!("{word}{sign}{value}")
                }
            });
        }
        Some(read)
    }

    /// What the option of a word takes, of several letters the last one, and its value if the word has it.
    fn split<'w>(&self, word: &'w str) -> Option<(Takes, Option<&'w str>)> {
        if word.starts_with("--") {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            return Some((self.takes(name)?, value));
        }
        let letters = word
            .strip_prefix('-')
            .filter(|letters| !letters.is_empty())?;
        for (at, letter) in letters.char_indices() {
            let takes = self.takes(&format!("-{letter}"))?;
            if !matches!(takes, Nothing) {
                let rest = &letters[at + letter.len_utf8()..];
                return Some((takes, Some(rest).filter(|rest| !rest.is_empty())));
            }
        }
        Some((Nothing, None))
    }

    fn takes(&self, option: &str) -> Option<Takes> {
        let find = |option: &str| self.0.iter().find(|(name, _)| *name == option);
        let undone = option.strip_prefix("--no-");
        let undone = undone.and_then(|name| find(&format!("--{name}")));
        let found = find(option).map(|(_, takes)| *takes);
        found.or(undone.map(|_| Nothing))
    }
}

impl Takes {
    /// Whether this is such a value.
    fn has(self, value: &str) -> bool {
        let only = |more: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            !value.is_empty() && value.chars().all(good)
        };
        match self {
            Nothing => false,
            Number => value.len() < 10 && value.bytes().all(|byte| byte.is_ascii_digit()),
            Filter => only(":=+"),
            Recursion => ["yes", "no", "on-demand"].contains(&value),
            Time => only("-:.+"),
            Ref => only("/._-") && !value.starts_with('-'),
            Pattern => !value.chars().any(char::is_control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CLEAN, FETCH, Options, SUBMODULE};

    fn read(options: &Options, text: &str) -> Option<String> {
        options.read(text).map(|words| words.join(" "))
    }

    #[test]
    fn what_jobs_give_git_is_taken() {
        for (options, text, words) in [
            (&CLEAN, "-ffdx", "-ffdx"),
            (&CLEAN, " -ffdx  -e cache/ -e *.o ", "-ffdx -ecache/ -e*.o"),
            (&CLEAN, "-fde$x --exclude=/a", "-fde$x --exclude=/a"),
            (&FETCH, "--prune --quiet", "--prune --quiet"),
            (&FETCH, "--tags -j 4 -j8", "--tags -j4 -j8"),
            (&FETCH, "--no-tags --no-filter", "--no-tags --no-filter"),
            (&FETCH, "--filter blob:limit=1m", "--filter=blob:limit=1m"),
            (
                &FETCH,
                "--recurse-submodules --tags",
                "--recurse-submodules --tags",
            ),
            (
                &FETCH,
                "--shallow-since=2026-01-01",
                "--shallow-since=2026-01-01",
            ),
            (&SUBMODULE, "--remote --jobs 4", "--remote --jobs=4"),
            (&SUBMODULE, "", ""),
        ] {
            assert_eq!(read(options, text).as_deref(), Some(words), "{text}");
        }
    }

    #[test]
    fn nothing_that_runs_a_program_or_leads_outside_is() {
        for text in [
            "--upload-pack=sh",
            "--upload-pack sh",
            "--upload=sh",
            "--exec=sh",
            "-c core.sshCommand=sh",
            "-ccore.pager=sh",
            "-C /",
            "--git-dir=/",
            "--template=/tmp/x",
            "--output=/tmp/x",
            "--reference /",
            "--separate-git-dir=/tmp/x",
            "--config=core.hooksPath=/tmp",
            "--server-option=x",
            "--stdin",
            "--all",
            "--jobs",
            "--no-jobs=1",
            "--no-upload-pack",
            "--jobs=-1",
            "--jobs 4;sh",
            "--tags=x",
            "--filter=$(sh)",
            "--shallow-exclude=--exec",
            "-",
            "--",
            "origin",
            "https://elsewhere.example.org/x",
            "+refs/heads/*:refs/heads/*",
            "-u",
            "-qi",
            "$(sh)",
            "-f`sh`",
            "-ü",
        ] {
            for (name, options) in [
                ("clean", &CLEAN),
                ("fetch", &FETCH),
                ("submodule", &SUBMODULE),
            ] {
                assert_eq!(read(options, text), None, "{name} {text}");
            }
        }
        assert_eq!(read(&CLEAN, "-i"), None);
        assert_eq!(read(&SUBMODULE, "--reference=/x"), None);
        // A pattern is one whatever it looks like.
        assert_eq!(read(&CLEAN, "-e --exec=sh").as_deref(), Some("-e--exec=sh"));
    }
}
