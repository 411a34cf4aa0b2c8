//! The file by which a script tells variables to those that follow it in the job: `GITLAB_ENV`, with a line `NAME=value`
//! for each.

use super::quote::quote;

/// The variable with its path.
const VARIABLE: &str = "GITLAB_ENV";

/// Where the variables for later scripts go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnvFile<'a> {
    /// Nowhere: there is no such file.
    #[default]
    None,
    /// No script follows: what is written is not read.
    Unread,
    /// Into a new file in this directory.
    New(&'a str),
    /// The file in this directory is there, and has those for this script.
    There(&'a str),
}

impl EnvFile<'_> {
    /// The same for a script that follows.
    #[must_use]
    pub fn later(self) -> Self {
        match self {
            Self::New(directory) => Self::There(directory),
            other => other,
        }
    }

    /// Makes it, or sets the variables that are in it. What is no variable there is passed over: the commands that wrote it
    /// have ended.
    pub(super) fn text(self) -> String {
        let at = |directory: &str| quote(&format!("{directory}/gitlab_runner_env"));
        match self {
            Self::None => String::new(),
            Self::Unread => format!("export {VARIABLE}=/dev/null\n"),
            Self::New(directory) => {
                let (path, directory) = (at(directory), quote(directory));
                format!(
                    "mkdir -p {directory}\nrm -f {path}; (umask 077; : >{path}); export {VARIABLE}={path}\n"
                )
            }
            Self::There(directory) => {
                let path = at(directory);
                format!(
                    "export {VARIABLE}={path}\nif [ -f {path} ]; then while IFS= read -r alloy_line || [ -n \"$alloy_line\" ]; do\n\
                     case $alloy_line in *=*) ;; *) continue ;; esac\n\
                     case ${{alloy_line%%=*}} in '' | [0-9]* | *[!A-Za-z0-9_]*) ;; *) command export \"$alloy_line\" || : ;; esac\n\
                     done <{path}; unset alloy_line; fi\n"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::EnvFile;

    #[test]
    fn what_one_script_writes_is_a_variable_of_the_next() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("it's").display().to_string();
        let writes = r#"printf '%s\n' 'A=1 2' "B=it's \$x=y" '# no' '0x=1' 'a-b=1' 'novalue' 'UID=5' "E=" >"$GITLAB_ENV"
            printf 'LAST=end' >>"$GITLAB_ENV""#;
        let reads = r#"printf '%s|' "$A" "$B" "${E-unset}" "$LAST" "${alloy_line-unset}""#;
        for shell in ["sh", "bash"] {
            let run = |file: EnvFile, commands: &str| {
                let text = format!("set -e\n{}{commands}", file.text());
                let output = Command::new(shell).args(["-c", &text]).output();
                let output = output.expect("a shell");
                assert!(output.status.success(), "{shell}: {output:?}");
                String::from_utf8_lossy(&output.stdout).into_owned()
            };
            let file = EnvFile::New(&directory);
            run(file, writes);
            let read = run(file.later(), reads);
            assert_eq!(read, "1 2|it's $x=y||end|unset|", "{shell}");
            // What is there of an earlier job is none of this one's.
            assert_eq!(run(file, "cat \"$GITLAB_ENV\""), "");
            run(EnvFile::Unread, "echo A=1 >>$GITLAB_ENV");
        }
    }
}
