//! What a script's failure very probably means, where its status or the last that it printed tells: a remark for the
//! log. It changes nothing.

use crate::outcome::Outcome;

/// The status of what SIGPIPE ended.
const PIPE: i32 = 141;
/// The status of a command that is not found.
const NOT_FOUND: i32 = 127;

const READER_ENDED: &str = "status 141 is that of a command whose reader ended before it (`… | head`, `… | grep -q`); bash's \
                            pipefail counts that: have all of it read, or put `set +o pipefail` before";
const NO_BASH: &str = "this is bash's syntax, and the script ran in sh: bash is not in the image, or the runner has shell = \
                       \"sh\"; take an image with bash, or write it for sh";
const CRLF: &str = "a script has the line ends of Windows (CR LF), which no shell of Linux takes: save it with LF (git: `*.sh \
                    text eol=lf` in .gitattributes)";
const INTERPRETER: &str = "if the file is there, its first line (#!) names a program that the image does not have; line ends of \
                           Windows (CR LF) do that too";

/// What sh says of what only bash has.
const BASHISMS: &[&str] = &[
    "yntax error: unexpected \"(\"",
    "yntax error: \"(\" unexpected",
    "yntax error: redirection unexpected",
    "yntax error: unexpected redirection",
    "yntax error: bad substitution",
    "Bad substitution",
    " [[: not found",
    " source: not found",
    " declare: not found",
    " shopt: not found",
    " pushd: not found",
    "llegal option -o pipefail",
];

/// What programs say of a carriage return at the end of a name.
const RETURNS: &[&str] = &[
    "\r: not found",
    "\r: command not found",
    "\r': command not found",
    "$'\\r': command not found",
    "^M: bad interpreter",
    "\r: bad interpreter",
    "\\r': No such file or directory",
    "\\r\u{2019}: No such file or directory",
    "\r: No such file or directory",
];

/// What to say of a script that ended so, with this as the end of its output.
pub(super) fn of_script(outcome: &Outcome, printed: &[u8]) -> Option<&'static str> {
    let Outcome::ScriptFailure { exit_code, .. } = outcome else {
        return None;
    };
    let printed = String::from_utf8_lossy(printed);
    // What a failed command says is at the end; terminals' line ends are theirs.
    let lines: Vec<&str> = printed.lines().rev().take(3).collect();
    let says = |words: &[&str]| {
        let mut said = lines
            .iter()
            .flat_map(|line| words.iter().map(move |word| line.contains(word)));
        said.any(|is| is)
    };
    if says(RETURNS) {
        return Some(CRLF);
    }
    let by_shell = |line: &&&str| line.starts_with("sh: ");
    let of_sh = lines.iter().filter(by_shell);
    let bashism = |line: &&str| BASHISMS.iter().any(|words| line.contains(words));
    if of_sh.into_iter().any(bashism) {
        return Some(NO_BASH);
    }
    match *exit_code {
        PIPE => Some(READER_ENDED),
        NOT_FOUND | 126 if lines.first().is_some_and(|line| is_missing_file(line)) => {
            Some(INTERPRETER)
        }
        _ => None,
    }
}

/// Whether a shell says that a file, named by its path, is not found.
fn is_missing_file(line: &str) -> bool {
    let by_shell = ["sh: ", "bash: "]
        .iter()
        .any(|shell| line.starts_with(shell));
    let ends = [
        ": not found",
        ": No such file or directory",
        ": cannot execute: required file not found",
    ];
    let path = ends.iter().find_map(|end| line.strip_suffix(end));
    let path = path.and_then(|before| before.rsplit(": ").next());
    by_shell && path.is_some_and(|path| path.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::{CRLF, INTERPRETER, NO_BASH, READER_ENDED, of_script};
    use crate::outcome::Outcome;

    #[test]
    fn hints_are_given_where_they_are_very_probable() {
        for (exit_code, printed, hint) in [
            (141, "", Some(READER_ENDED)),
            (141, "anything\n", Some(READER_ENDED)),
            (
                2,
                "sh: eval: line 7: syntax error: unexpected \"(\" (expecting \")\")\n",
                Some(NO_BASH),
            ),
            (
                2,
                "sh: 7: eval: Syntax error: \"(\" unexpected\n",
                Some(NO_BASH),
            ),
            (127, "sh: 7: eval: [[: not found\n", Some(NO_BASH)),
            (2, "sh: 1: set: Illegal option -o pipefail\n", Some(NO_BASH)),
            (127, "sh: ls\r: not found\n", Some(CRLF)),
            (127, "bash: line 3: $'\\r': command not found\n", Some(CRLF)),
            (
                126,
                "bash: ./x.sh: /bin/sh^M: bad interpreter: No such file or directory\n",
                Some(CRLF),
            ),
            (
                127,
                "env: \u{2018}bash\\r\u{2019}: No such file or directory\n",
                Some(CRLF),
            ),
            (
                127,
                "sh: eval: line 7: ./x.sh: not found\n",
                Some(INTERPRETER),
            ),
            (
                127,
                "bash: line 9: ./x.sh: cannot execute: required file not found\n",
                Some(INTERPRETER),
            ),
            // Its author knows what that means.
            (127, "sh: nosuch: not found\n", None),
            (1, "sh: ./x.sh: not found\n", None),
            (2, "a test: syntax error: unexpected \"(\"\n", None),
            (
                2,
                "bash: line 1: syntax error near unexpected token `('\n",
                None,
            ),
            (1, "progress 1%\rprogress 100%\r\n", None),
            (1, "", None),
        ] {
            let outcome = Outcome::ScriptFailure {
                exit_code,
                out_of_memory: false,
            };
            assert_eq!(of_script(&outcome, printed.as_bytes()), hint, "{printed}");
        }
        assert_eq!(of_script(&Outcome::Success, b"sh: ls\r: not found"), None);
    }
}
