//! A command as a line for a shell: what `--print-commands` shows and printed scripts consist of.

use std::fmt::{self, Write as _};

use super::command::DockerCommand;
use super::word::{Piece, Word, is_hidden};

/// The program and the options that come before every command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self
            .0
            .iter()
            .map(|word| Word::from(word).to_string())
            .collect();
        f.write_str(&words.join(" "))
    }
}

impl fmt::Display for DockerCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shell_line(&Words(vec!["docker".to_owned()]), None, ""))
    }
}

impl DockerCommand {
    /// The command as a line for a POSIX shell, with its standard input as a here-document. In place of secrets, it has
    /// the names of variables that the shell must have.
    #[must_use]
    pub fn shell_line(&self, program: &Words, stdin: Option<&Word>, end: &str) -> String {
        let mut words: Vec<String> = self.words.iter().map(ToString::to_string).collect();
        let mut documents = String::new();
        let mut redirections = String::new();
        if !self.file_secrets.is_empty() {
            words.splice(
                self.file_at..self.file_at,
                ["--env-file".to_owned(), "/dev/fd/3".to_owned()],
            );
            redirections.push_str(" 3<<VARIABLES");
            for (name, _) in &self.file_secrets {
                let _ = writeln!(documents, "{name}=${name}");
            }
            documents.push_str("VARIABLES\n");
        }
        let mut before = String::new();
        if let Some(Word(pieces)) = stdin {
            let (last, heads) = match pieces.split_last() {
                Some((Piece::Literal(last), heads)) => (last.as_str(), heads),
                _ => ("", pieces.as_slice()),
            };
            let mut delimiter = "SCRIPT".to_owned();
            while last.lines().any(|line| line == delimiter) {
                delimiter.push('_');
            }
            let document = format!("{last}{delimiter}\n");
            let hidden =
                |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains(is_hidden));
            if pieces.iter().any(hidden) {
                // A document shows everything as it is.
                before = format!("printf %s {} | ", Word(pieces.clone()));
            } else if heads.is_empty() {
                let _ = write!(redirections, " <<'{delimiter}'");
                documents.push_str(&document);
            } else {
                before = format!(
                    "{{ printf %s {}; cat <<'{delimiter}'; }} | ",
                    Word(heads.to_vec())
                );
                documents.insert_str(0, &document);
            }
        }
        format!(
            "{before}{program} {}{redirections}{end}\n{documents}",
            words.join(" ")
        )
        .trim_end()
        .to_owned()
    }

    /// [`DockerCommand::shell_line`] for pasting: a command that reads standard input, but is given none, must not read
    /// the lines that follow it.
    #[must_use]
    pub fn pasted_line(&self, program: &Words, stdin: Option<&Word>, end: &str) -> String {
        let none = self.reads_stdin() && stdin.is_none() && !end.contains(" <");
        let end = if none {
            format!(" </dev/null{end}")
        } else {
            end.to_owned()
        };
        self.shell_line(program, stdin, &end)
    }

    /// Whether it reads standard input that is not a terminal.
    fn reads_stdin(&self) -> bool {
        let mut words = self.words.iter().map(ToString::to_string);
        let begin: Vec<String> = words.by_ref().take(3).collect();
        match begin.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["exec", "--interactive", third] => third != "--tty",
            ["start", _, "--interactive"] => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Words;
    use crate::docker::command::DockerCommand;
    use crate::docker::word::{Slot, Word};
    use crate::secret::Secret;

    #[test]
    fn secrets_stand_in_neither_arguments_nor_line() {
        let command = DockerCommand::run("c")
            .env("A", "it's")
            .secret_env("TOKEN", &Secret::new("hunter2"))
            .secret_env("DOCKER_TOKEN", &Secret::new("hunter3"))
            .operands("--privileged", ["sh"]);
        let argv = command.argv(Some("/f")).expect("no slots").join(" ");
        assert_eq!(
            argv,
            "run --pull never --name c --env A=it's --env TOKEN --env-file /f -- --privileged sh"
        );
        let line = command.to_string();
        assert!(!line.contains("hunter"), "{line}");
        assert_eq!(
            line,
            "docker run --pull never --name c --env 'A=it'\\''s' --env TOKEN --env-file /dev/fd/3 -- --privileged sh \
             3<<VARIABLES\nDOCKER_TOKEN=$DOCKER_TOKEN\nVARIABLES"
        );
    }

    #[test]
    fn standard_input_is_a_here_document_that_its_text_cannot_end() {
        let docker = Words(vec!["docker".to_owned()]);
        let line = DockerCommand::start_attached("c").shell_line(
            &docker,
            Some(&Word::from("SCRIPT\n$x\n")),
            "",
        );
        assert_eq!(
            line,
            "docker start --attach --interactive -- c <<'SCRIPT_'\nSCRIPT\n$x\nSCRIPT_"
        );
        let status = Word::from("S=").then(Slot::new("job_status")).then("\nx\n");
        let line = DockerCommand::start_attached("c").shell_line(&docker, Some(&status), "");
        assert_eq!(
            line,
            "{ printf %s S=\"${job_status}\"; cat <<'SCRIPT'; } | docker start --attach --interactive -- c\n\nx\nSCRIPT"
        );
    }
}
