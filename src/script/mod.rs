//! Scripts for the shells in containers. This is the only place that quotes for such a shell.
//!
//! The scripts run in any POSIX shell: busybox, dash, bash.

mod echo;
mod env_file;
mod login;
mod quote;
mod sources;

use std::fmt::Write as _;

use crate::docker::{Slot, Word};
use echo::echo;
pub use env_file::EnvFile;
pub use login::GitLogin;
use quote::quote;
pub use sources::{CHANGES_DIR, CHECKOUT_DIR, GIT_SETTINGS, GetSources, NO_REPOSITORY};

/// The command of a build container: bash if the image has it, else sh, which reads a script from standard input.
pub const SHELL: [&str; 3] = [
    "sh",
    "-c",
    "if command -v bash >/dev/null 2>&1; then exec bash; fi; exec sh",
];

/// What a script with [`ScriptMarkers::Failure`] prints when it starts. Terminals do not show it (ECMA-48, APC).
pub const BEGUN: &str = "\x1b_alloy-runner:begun\x1b\\";
/// What a script with [`ScriptMarkers::Failure`] prints when it has failed.
pub const FAILED: &str = "\x1b_alloy-runner:failed\x1b\\";
/// What a script with [`ScriptMarkers::Success`] prints when its last command has succeeded.
pub const SUCCEEDED: &str = "\x1b_alloy-runner:succeeded\x1b\\";

/// The markers that a script prints into its output, which tell the runner how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScriptMarkers {
    /// None: the output goes to people.
    #[default]
    None,
    /// [`SUCCEEDED`]. A script that calls `exit` does not print it.
    Success,
    /// [`BEGUN`] and, if the commands fail, [`FAILED`]; then the script waits for the end of its standard input.
    Failure,
}

/// A script that runs a job's commands.
#[derive(Clone, Debug, Default)]
pub struct BuildScript<'a> {
    /// The commands, each of one or more lines.
    pub commands: &'a [String],
    /// The directory to run them in.
    pub directory: &'a str,
    /// Variables whose values are written to files in a directory, the second of these. The variables get the files'
    /// paths.
    pub file_variables: (&'a [String], &'a str),
    /// Variables that are passed under other names, because their own names would change what the docker client does:
    /// name and other name.
    pub renamed: &'a [(String, String)],
    /// Whether the shell traces the commands (`CI_DEBUG_TRACE`).
    pub trace: bool,
    /// Whether the commands are shown in colour.
    pub colour: bool,
    /// A part of the name of sections for commands of several lines, if there are to be any.
    pub sections: Option<&'a str>,
    /// The markers that it prints.
    pub markers: ScriptMarkers,
    /// The value of `CI_JOB_STATUS`, for an `after_script`.
    pub job_status: Option<Slot>,
    /// The file with the variables that go from one script to those that follow it.
    pub env_file: EnvFile<'a>,
    /// Credentials for the job's own git.
    pub login: Option<GitLogin>,
}

impl BuildScript<'_> {
    /// The text for the shell's standard input.
    ///
    /// It is one compound command: the shell has read all of it before it runs anything, and the commands find standard
    /// input at its end. They are one argument of `eval`: a syntax error in them ends the script with status 2, after
    /// the lines before the error have run.
    #[must_use]
    pub fn text(&self) -> Word {
        let mut head = String::from("{\nexec ");
        // A descriptor of the script's own, which the commands cannot redirect.
        head.push_str(match self.markers {
            ScriptMarkers::None => "",
            ScriptMarkers::Success => "8>&1 ",
            ScriptMarkers::Failure => "9<&0 ",
        });
        // stdout and stderr are one stream: a container's output loses the order of two.
        head.push_str("</dev/null 2>&1\n");
        head.push_str("if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\nset -e\n");
        let login = self.login.as_ref();
        head.push_str(&login.map(GitLogin::writing).unwrap_or_default());
        head.push_str(&self.place());
        let mut commands = String::new();
        if self.trace {
            commands.push_str("set -x\n");
        }
        for (index, command) in self.commands.iter().enumerate() {
            let section = self.sections;
            let section = section.map(|name| format!("section_{name}_step_{index}"));
            commands.push_str(&echo(command, self.colour, section.as_deref()));
            commands.push_str(command);
            commands.push('\n');
        }
        let commands = quote(&commands);
        let [begun, failed, succeeded] = [BEGUN, FAILED, SUCCEEDED].map(quote);
        // Commands may have turned tracing on: the rest of the script does not belong into the trace.
        let status = "{ alloy_status=$?; set +x; } 2>/dev/null";
        let tail = match self.markers {
            ScriptMarkers::None => format!("eval {commands}\n{status}\nexit $alloy_status\n}}\n"),
            ScriptMarkers::Success => format!(
                "eval {commands} 8>&-\n{status}\n\
                 if [ $alloy_status = 0 ]; then printf %s {succeeded} >&8 || :; fi\nexit $alloy_status\n}}\n"
            ),
            ScriptMarkers::Failure => format!(
                "printf %s {begun}\nset +e\n(exec 9<&-\nset -e\neval {commands}\n{status}\nexit $alloy_status\n)\nstatus=$?\n\
                 if [ $status != 0 ]; then printf %s {failed}; read -r line <&9 || :; fi\nexit $status\n}}\n"
            ),
        };
        let secret = login.map(GitLogin::secret).unwrap_or_default();
        let status = self.job_status.clone().map(|slot| {
            let export = Word::from("export CI_JOB_STATUS=");
            export.then(slot).then("\n")
        });
        let script = secret.then(status.unwrap_or_default());
        script.then(head + &tail)
    }
}

impl BuildScript<'_> {
    /// Sets the variables and the directory of the commands.
    fn place(&self) -> String {
        let mut text = String::new();
        for (name, alias) in self.renamed {
            let _ = writeln!(text, "export {name}=\"${alias}\"; unset {alias}");
        }
        let (names, files) = self.file_variables;
        if !names.is_empty() {
            let _ = writeln!(text, "mkdir -p {}", quote(files));
        }
        for name in names {
            let path = quote(&format!("{files}/{name}"));
            let _ = writeln!(
                text,
                "rm -f {path}; (umask 077; printf %s \"${name}\" >{path}); export {name}={path}"
            );
        }
        text.push_str(&self.env_file.text());
        // The directory may have been replaced since the shell was started in it.
        let _ = writeln!(text, "cd {}", quote(self.directory));
        text
    }

    /// The command of an interactive shell, with the variables and the directory of the commands.
    #[must_use]
    pub fn shell(&self) -> [String; 3] {
        let [sh, option, shell] = SHELL;
        let place = self.place();
        let text = format!("{place}export CI_JOB_STATUS=failed\n{shell}");
        [sh.to_owned(), option.to_owned(), text]
    }
}

#[cfg(test)]
mod tests {
    use super::{BEGUN, BuildScript, FAILED, SHELL, SUCCEEDED, ScriptMarkers};
    use crate::docker::{Bindings, Slot};
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// Output and status of a script in this machine's shell.
    fn run(shell: &[&str], script: &BuildScript) -> (String, Option<i32>) {
        let bindings = Bindings::from([(Slot::new("status"), "failed".to_owned())]);
        let text = script.text().bind(&bindings).expect("bound");
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .env("SECRET", "it's\n$x")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(text.as_bytes())
            .expect("written");
        let output = child.wait_with_output().expect("ended");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            output.status.code(),
        )
    }

    fn commands(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn runs_line_by_line_to_the_first_failure() {
        for shell in [&["sh"][..], &["bash"], &SHELL] {
            for (lines, output, status) in [
                (
                    &["echo it\\'s", "X='a b'", "echo \"$X\""][..],
                    "$ echo it\\'s\nit's\n$ X='a b'\n$ echo \"$X\"\na b\n",
                    0,
                ),
                (&["true", "exit 7", "echo never"], "$ true\n$ exit 7\n", 7),
                (&["false", "echo never"], "$ false\n", 1),
                (&["cat", "echo all"], "$ cat\n$ echo all\nall\n", 0),
                (
                    &["if true; then\n  echo in\nfi\n"],
                    "$ if true; then\n$   echo in\n$ fi\nin\n",
                    0,
                ),
                (
                    &["cat <<E\n$((1+1))\nE"],
                    "$ cat <<E\n$ $((1+1))\n$ E\n2\n",
                    0,
                ),
                (&["echo one", "if"], "$ echo one\none\n$ if\n", 2),
                (
                    &["(exit 3) || echo caught", "f() { return 4; }", "f"],
                    "$ (exit 3) || echo caught\ncaught\n$ f() { return 4; }\n$ f\n",
                    4,
                ),
                (&["exec sh -c 'exit 5'"], "$ exec sh -c 'exit 5'\n", 5),
                (&["kill -9 $$"], "$ kill -9 $$\n", -1),
            ] {
                let commands = commands(lines);
                let status = (status >= 0).then_some(status);
                let plain = BuildScript {
                    commands: &commands,
                    directory: "/",
                    ..BuildScript::default()
                };
                let (mut shown, ended) = run(shell, &plain);
                // Standard input is at its end here: a script that would wait for it does the same, and prints its
                // markers.
                let fails = usize::from(ended.is_some_and(|status| status != 0));
                let succeeds = usize::from(ended == Some(0));
                for (markers, counts) in [
                    (ScriptMarkers::Failure, [1, fails, 0]),
                    (ScriptMarkers::Success, [0, 0, succeeds]),
                ] {
                    let (marked, waited) = run(
                        shell,
                        &BuildScript {
                            markers,
                            ..plain.clone()
                        },
                    );
                    let all = [BEGUN, FAILED, SUCCEEDED];
                    let seen = all.map(|mark| marked.matches(mark).count());
                    assert_eq!((seen, waited), (counts, ended), "{shell:?} {lines:?}");
                    let unmarked = all.iter().fold(marked, |text, mark| text.replace(mark, ""));
                    assert!(unmarked == shown || status == Some(2), "{unmarked}");
                }
                if status == Some(2) {
                    // The words of a syntax error differ between shells.
                    assert!(shown.len() > output.len(), "{shell:?} {lines:?}");
                    shown.truncate(output.len());
                }
                assert_eq!(
                    (shown.as_str(), ended),
                    (output, status),
                    "{shell:?} {lines:?}"
                );
            }
        }
    }

    #[test]
    fn only_the_end_of_the_last_command_says_success() {
        for shell in [&["sh"][..], &["bash"], &SHELL] {
            for (lines, said, status) in [
                (&["exit 0"][..], false, 0),
                (&["set +e", "false"], false, 1),
                (&["trap 'exit 3' EXIT"], true, 3),
                (&["exec >/dev/null", "echo unseen"], true, 0),
                (&["exec 8>/dev/null", "echo unseen >&8"], true, 0),
                (&["set -x"], true, 0),
                (&["readonly status=1"], true, 0),
            ] {
                let commands = commands(lines);
                let script = BuildScript {
                    commands: &commands,
                    directory: "/",
                    markers: ScriptMarkers::Success,
                    ..BuildScript::default()
                };
                let (output, ended) = run(shell, &script);
                let seen = (output.matches(SUCCEEDED).count(), ended);
                assert_eq!(
                    seen,
                    (usize::from(said), Some(status)),
                    "{shell:?} {lines:?}: {output}"
                );
                let text = output.replace(SUCCEEDED, "");
                let own = ["alloy", "printf %s", "unseen"].map(|word| {
                    text.lines()
                        .filter(|line| !line.starts_with('$') && line.contains(word))
                        .count()
                });
                assert_eq!(own, [0, 0, 0], "{shell:?}: {output}");
            }
        }
    }

    #[test]
    fn a_trace_shows_the_jobs_commands_alone() {
        let commands = commands(&["echo one"]);
        for shell in [&["sh"][..], &["bash"], &SHELL] {
            for markers in [
                ScriptMarkers::None,
                ScriptMarkers::Success,
                ScriptMarkers::Failure,
            ] {
                let script = BuildScript {
                    commands: &commands,
                    directory: "/",
                    trace: true,
                    markers,
                    ..BuildScript::default()
                };
                let (output, status) = run(shell, &script);
                let traced = output.lines().filter(|line| line.contains("+ "));
                let traced: Vec<&str> = traced.collect();
                let both = traced.len() == 2 && traced.iter().all(|line| line.contains("echo one"));
                assert!(both && status == Some(0), "{shell:?} {markers:?}: {output}");
            }
        }
    }

    #[test]
    fn a_pipe_fails_with_any_of_its_parts_in_bash() {
        let commands = commands(&["false | true"]);
        let script = BuildScript {
            commands: &commands,
            directory: "/",
            ..BuildScript::default()
        };
        assert_eq!(run(&["bash"], &script).1, Some(1));
    }

    #[test]
    fn file_variables_status_and_borrowed_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = directory.path().join("it's").display().to_string();
        let commands = commands(&[
            "cat \"$SECRET\"; ls -l \"$SECRET\" | cut -c 1-10",
            "echo $CI_JOB_STATUS",
        ]);
        let names = ["SECRET".to_owned()];
        let script = BuildScript {
            commands: &commands,
            directory: "/",
            file_variables: (&names, &files),
            job_status: Some(Slot::new("status")),
            ..BuildScript::default()
        };
        let (output, status) = run(&["sh"], &script);
        assert_eq!(status, Some(0), "{output}");
        assert!(
            output.contains("it's\n$x-rw-------\n") && output.ends_with("\nfailed\n"),
            "{output}"
        );
    }
}
