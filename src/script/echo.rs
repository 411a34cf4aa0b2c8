//! How the log shows a command before it runs.

use super::quote::quote;

/// A command that prints `command`, each line after a `$`. `section` is the name of a section that a command of several
/// lines is folded into, with GitLab's marks.
pub(super) fn echo(command: &str, colour: bool, section: Option<&str>) -> String {
    let command = command.trim_end_matches('\n');
    let lines: Vec<String> = command
        .split('\n')
        .map(|line| {
            quote(&if colour {
                format!("\x1b[32;1m$ {line}\x1b[0;m")
            } else {
                format!("$ {line}")
            })
        })
        .collect();
    let shown = format!("printf '%s\\n' {}\n", lines.join(" "));
    match section.filter(|_| lines.len() > 1) {
        Some(name) => {
            let mark = |what: &str, options: &str, end: &str| {
                let now = "\"$(date +%s 2>/dev/null || echo 0)\"";
                format!("printf '{what}:%s:{name}{options}\\r\\033[0K{end}' {now}\n")
            };
            let begin = mark("section_start", "[hide_duration=true,collapsed=true]", "");
            begin + &shown + &mark("section_end", "", "\\n")
        }
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::echo;

    #[test]
    fn a_command_of_several_lines_may_be_a_section() {
        let lines = "for x in 1\ndo echo; done\n";
        assert_eq!(
            echo(lines, false, None),
            "printf '%s\\n' '$ for x in 1' '$ do echo; done'\n"
        );
        let section = echo(lines, false, Some("section_script_step_3"));
        let now = "\"$(date +%s 2>/dev/null || echo 0)\"";
        assert_eq!(
            section,
            format!(
                "printf 'section_start:%s:section_script_step_3[hide_duration=true,collapsed=true]\\r\\033[0K' {now}\n\
                 printf '%s\\n' '$ for x in 1' '$ do echo; done'\n\
                 printf 'section_end:%s:section_script_step_3\\r\\033[0K\\n' {now}\n"
            )
        );
        assert_eq!(echo("true\n", false, Some("x")), echo("true", false, None));
    }
}
