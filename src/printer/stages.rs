//! The stages of a plan in its script.

use std::fmt::Write as _;
use std::path::Path;

use super::{QUIET, Script};
use crate::docker::{DockerCommand, Word};
use crate::plan::{Exchange, Failure, JOB_STATUS, Place, Stage, When};
use crate::script::NO_REPOSITORY;

/// What the names of secrets begin with that only the runner knows. Proxies are in the environment of a person, too.
const OWN: &str = "ALLOY_";

impl Script<'_> {
    /// The helper, and the stages in it that come before the build.
    pub fn sources(&mut self) {
        self.line("");
        let running_on = self.plan.running_on.clone();
        self.say(running_on);
        self.line("pre_build() {\nstatus=0");
        let plan = self.plan;
        let stages = plan.stages.iter();
        for stage in stages.take_while(|stage| stage.place == Place::Helper) {
            let _ = writeln!(self.text, "stage='{}'", words(stage));
            if stage.attempts > 1 {
                let _ = writeln!(self.text, "attempt=0; status=1");
                let _ = writeln!(
                    self.text,
                    "while [ $status != 0 ] && [ $status != {NO_REPOSITORY} ] && [ $attempt -lt {} ]; do attempt=$((attempt + 1))",
                    stage.attempts
                );
                self.stage(stage, "&& status=0 || status=$?");
                self.line("done");
            } else {
                self.stage(stage, "|| status=$?");
            }
            self.line("[ $status = 0 ] || return 0");
        }
        self.line("}");
        let not_here = format!("status={NO_REPOSITORY}");
        for (index, way) in plan.helper_starts.iter().enumerate() {
            let last = index + 1 == plan.helper_starts.len();
            if index > 0 {
                let _ = writeln!(self.text, "if [ $status = {NO_REPOSITORY} ]; then");
                self.run(
                    &DockerCommand::remove([&plan.helper]),
                    " >/dev/null 2>&1 || :",
                );
            }
            self.line("status=0");
            // No build waits here, so the helper always stays.
            for command in &way.start {
                // Where another way follows, this one's failure is no news.
                let end = if last {
                    QUIET.to_owned()
                } else {
                    format!(" >/dev/null 2>&1 || {not_here}")
                };
                self.run(command, &end);
            }
            self.line("[ $status != 0 ] || pre_build");
            if index > 0 {
                self.line("fi");
            }
        }
        self.line("[ $status = 0 ] || system_failure \"$stage failed with status $status\"");
    }

    /// The build, and what follows it.
    pub fn build(&mut self) {
        self.line("\nstatus=0");
        let stages = self.plan.stages.iter();
        for stage in stages.skip_while(|stage| stage.place == Place::Helper) {
            let condition = match (stage.place, stage.when) {
                (Place::Build, When::OnSuccess) | (_, When::Always) => None,
                (_, When::OnSuccess) => Some("[ $status = 0 ]"),
                (_, When::OnFailure) => Some("[ $status != 0 ]"),
            };
            let failed = format!(
                "|| {{ late=$?; [ $status != 0 ] || system_failure \"{} failed with status $late\"; }}",
                words(stage)
            );
            let end = match (stage.place, stage.when) {
                (Place::Build, When::OnSuccess) => "|| status=$?",
                (Place::Build, _) => "|| :",
                (Place::Helper, _) => &failed,
            };
            if stage.place == Place::Build && stage.when != When::OnSuccess {
                let _ = writeln!(
                    self.text,
                    "if [ $status = 0 ]; then {JOB_STATUS}=success; else {JOB_STATUS}=failed; fi"
                );
            }
            if let Some(condition) = condition {
                let _ = writeln!(self.text, "if {condition}; then");
            }
            self.stage(stage, end);
            if condition.is_some() {
                self.line("fi");
            }
        }
        self.line("if [ $status != 0 ]; then");
        self.line("printf '%s\\n' \"ERROR: Build failed: exit code $status\"; exit 1\nfi");
        self.line("printf '%s\\n' 'Job succeeded'");
    }

    /// A stage; `end` is what is to be made of its status where that counts.
    fn stage(&mut self, stage: &Stage, end: &str) {
        if stage.script.secrets().any(|name| name.starts_with(OWN)) {
            self.say(format!(
                "WARNING: {} is left out: it needs secrets that are not printed",
                words(stage)
            ));
            return;
        }
        let warning = format!(
            "|| printf '%s\\n' \"WARNING: {} failed with status $?\"",
            words(stage)
        );
        let is_warning = stage.place == Place::Helper && stage.failure == Failure::Warning;
        let end = if is_warning { &warning } else { end };
        match &stage.exchange {
            Exchange::None if stage.place == Place::Build => {
                self.waited(stage, Some(&stage.script), "", end);
            }
            Exchange::None => self.waited(stage, Some(&stage.script), " 2>&1", end),
            Exchange::In { job, directory } => {
                let _ = writeln!(self.text, "for archive in {}/*.zip; do", shell(directory));
                self.line("if [ -e \"$archive\" ]; then");
                self.say(format!("Using artifacts of {job}..."));
                self.waited(stage, None, " <\"$archive\" 2>&1", end);
                self.line("else");
                self.say(format!("WARNING: there are no artifacts of {job} here"));
                self.line("fi\ndone");
            }
            Exchange::Out { kept, name, .. } => {
                let directory = kept.archives_of(&kept.job);
                let (checkout, label) = (shell(&kept.checkout), shell(&kept.label));
                let archives = shell(&directory);
                let _ = writeln!(self.text, "(umask 077; mkdir -p {archives})");
                let _ = writeln!(self.text, "printf %s {checkout} >{label}");
                let partial = format!("{archives}/.partial-$$");
                self.waited(
                    stage,
                    Some(&stage.script),
                    &format!(" 2>&1 >{partial}"),
                    end,
                );
                let _ = writeln!(self.text, "if [ -s {partial} ]; then");
                let _ = writeln!(self.text, "rm -f {archives}/*.zip");
                let _ = writeln!(self.text, "mv {partial} {}", shell(&directory.join(name)));
                let _ = writeln!(self.text, "else rm -f {partial}; fi");
            }
        }
    }

    /// A stage's command, and its end. The shell does not wait for a docker client in the foreground: those keep
    /// signals to themselves, and its traps would come too late.
    fn waited(&mut self, stage: &Stage, stdin: Option<&Word>, redirected: &str, end: &str) {
        let command = self.command(&stage.command, stdin, &format!("{redirected} &"));
        self.line(&format!("{command}\nwait $! {end}"));
    }
}

/// `get_sources` as people say it.
fn words(stage: &Stage) -> String {
    stage.name.replace('_', " ")
}

/// A path as a word of a shell.
fn shell(path: &Path) -> Word {
    Word::from(path.display().to_string())
}
