//! What happens in the helper and in the build container.

use std::fmt::Write as _;
use std::path::Path;

use super::writer::{FAILURE, QUIET, SYSTEM_FAILURE, Script};
use crate::docker::{DockerCommand, Slot, Word};
use crate::plan::lines;
use crate::plan::{
    Asked, BuildStage, Exchange, Failure, HelperStage, JOB_STATUS, Kept, REFUSED, When,
};
use crate::script::NO_REPOSITORY;

/// What the names of secrets begin with that only the runner knows. Proxies are in the environment of a person, too.
const OWN: &str = "ALLOY_";
/// The shell variable with the status of the stage that ended last.
const ENDED: &str = "ended";

impl Script<'_> {
    /// The helper, and what happens in it before the script.
    pub fn fetch(&mut self) {
        self.line("");
        let plan = self.plan;
        self.say(&lines::running_on(plan));
        self.line("fetch() {");
        for stage in &plan.fetch {
            self.helper_stage(stage, true);
            self.line("[ $ended = 0 ] || return 0");
        }
        self.line("}");
        for (index, start) in plan.helper_starts.iter().enumerate() {
            let last = index + 1 == plan.helper_starts.len();
            if index > 0 {
                let _ = writeln!(self.text, "if [ $ended = {NO_REPOSITORY} ]; then");
                let remove = DockerCommand::remove([&plan.helper]);
                self.run(&remove, " >/dev/null 2>&1 || :");
            }
            self.line("ended=0");
            // No build waits here, so the helper always stays.
            for command in &start.commands {
                // Where another start follows, this one's failure is no news.
                let end = if last {
                    QUIET.to_owned()
                } else {
                    format!(" >/dev/null 2>&1 || ended={NO_REPOSITORY}")
                };
                self.run(command, &end);
            }
            self.line("[ $ended != 0 ] || fetch");
            if index > 0 {
                self.line("fi");
            }
        }
        let no_sources = lines::system_failed(lines::NO_SOURCES);
        let fails = Self::failing(SYSTEM_FAILURE, &no_sources);
        let _ = writeln!(self.text, "[ $ended != {NO_REPOSITORY} ] || {fails}");
        self.line("[ $status = 0 ] || end_job");
    }

    /// The job's own scripts.
    pub fn build(&mut self) {
        let plan = self.plan;
        self.line("");
        let by_limit = Self::failing_by_limit();
        let failed = lines::job_failed(lines::exit_code(Slot::new(ENDED)));
        let fails = Self::failing(FAILURE, &failed);
        self.build_stage(&plan.script, &by_limit);
        let _ = writeln!(self.text, "[ $ended = 0 ] || {fails}");
        for stage in &plan.releases {
            self.line("if [ $status = 0 ]; then");
            self.build_stage(stage, &by_limit);
            let _ = writeln!(self.text, "[ $ended = 0 ] || {fails}\nfi");
        }
        let Some(stage) = &plan.after_script else {
            return;
        };
        let _ = writeln!(
            self.text,
            "if [ $status = 0 ]; then {JOB_STATUS}=success; else {JOB_STATUS}=failed; fi"
        );
        if plan.timeout.is_some() {
            let left_out = Self::saying(&lines::after_script_left_out());
            let _ = writeln!(
                self.text,
                "if [ \"$(date +%s)\" -ge $deadline ]; then {left_out}; else"
            );
        }
        let failed = |reason| Self::saying(&lines::after_script_failed(reason));
        let mut by_limit = format!("{}; ended=0", failed(Self::took_longer()));
        let mut warning = failed(lines::exit_code(Slot::new(ENDED)));
        if !plan.ignores_after_script {
            by_limit = format!("{by_limit}; {}", Self::failing_by_limit());
            warning = format!("{{ {warning}; {fails}; }}");
        }
        self.build_stage(stage, &by_limit);
        let _ = writeln!(self.text, "[ $ended = 0 ] || {warning}");
        if plan.timeout.is_some() {
            self.line("fi");
        }
    }

    /// What happens in the helper after that, and the end.
    pub fn finish(&mut self) {
        let mut stages = self.plan.finish.iter();
        if stages.any(|stage| stage.when != When::Always) {
            self.line("scripts=$status");
        }
        for stage in &self.plan.finish {
            let condition = match stage.when {
                When::Always => None,
                When::OnSuccess => Some("[ $scripts = 0 ]"),
                When::OnFailure => Some("[ $scripts != 0 ]"),
            };
            if let Some(condition) = condition {
                let _ = writeln!(self.text, "if {condition}; then");
            }
            self.helper_stage(stage, false);
            if condition.is_some() {
                self.line("fi");
            }
        }
        self.line("end_job");
    }

    /// A script in the build container; `by_limit` is what is to be done where its time is over.
    fn build_stage(&mut self, stage: &BuildStage, by_limit: &str) {
        self.line("ended=0");
        let limited = self.begin_limit(&self.plan.build.name, stage.timeout);
        self.waited(&stage.command, Some(&stage.script), "", "|| ended=$?");
        if limited {
            let _ = writeln!(self.text, "if time_is_over; then {by_limit}; fi");
        }
    }

    /// A stage in the helper, and what its failure means. `limited`: the job's time limit holds for it.
    fn helper_stage(&mut self, stage: &HelperStage, limited: bool) {
        self.line("ended=0");
        if stage.script.secrets().any(|name| name.starts_with(OWN)) {
            self.say(&lines::needs_secrets(stage.kind));
            return;
        }
        if let Some(Asked { slot, errand }) = &stage.asked {
            let ask = errand.run.shell_line(self.docker, None, "");
            let unknown = lines::system_failed(lines::NO_USER);
            let fails = Self::failing(SYSTEM_FAILURE, &unknown);
            let slot = slot.name();
            let _ = writeln!(
                self.text,
                "{slot}=$({ask}) || {slot}=\n\
                 case ${slot} in *[!0-9:]* | '' | :* | *:) {fails}; end_job ;; esac"
            );
        }
        let limited = limited && self.begin_limit(&self.plan.helper, stage.timeout);
        match &stage.exchange {
            Exchange::None => self.attempts(stage),
            Exchange::In { job, directory } => self.bring_in(stage, job, directory),
            Exchange::Out { kept, name, .. } => self.take_out(stage, kept, name),
        }
        if limited {
            let fails = Self::failing_by_limit();
            let _ = writeln!(self.text, "if time_is_over; then {fails}; end_job; fi");
        }
        let failed = lines::failed(stage.kind, Slot::new(ENDED));
        let system = Self::failing(SYSTEM_FAILURE, &lines::system_failed(failed));
        match stage.failure {
            Failure::Warning => {
                let line = lines::failed_with_warning(stage.kind, Slot::new(ENDED));
                let warning = Self::saying(&line);
                let _ = writeln!(self.text, "if [ $ended != 0 ]; then {warning}; ended=0; fi");
            }
            Failure::Refusable => {
                let refused = lines::job_failed(lines::build_error(lines::refused(stage.kind)));
                let refused = Self::failing(FAILURE, &refused);
                let _ = writeln!(
                    self.text,
                    "case $ended in 0) ;; {REFUSED}) {refused} ;; *) {system} ;; esac"
                );
            }
            Failure::Job => {
                let failed = lines::failed(stage.kind, Slot::new(ENDED));
                let failed = lines::job_failed(lines::build_error(failed));
                let fails = Self::failing(FAILURE, &failed);
                let _ = writeln!(self.text, "[ $ended = 0 ] || {fails}");
            }
            Failure::System => {
                let _ = writeln!(
                    self.text,
                    "case $ended in 0|{NO_REPOSITORY}) ;; *) {system} ;; esac"
                );
            }
        }
    }

    /// A stage that takes its script, as often as it may be tried.
    fn attempts(&mut self, stage: &HelperStage) {
        let script = Some(&stage.script);
        if stage.attempts == 1 {
            self.waited(&stage.command, script, " 2>&1", "|| ended=$?");
            return;
        }
        let [ended, attempt] = [ENDED, "attempt"].map(Slot::new);
        self.line("attempt=1\nwhile :; do\nended=0");
        self.waited(&stage.command, script, " 2>&1", "|| ended=$?");
        let _ = writeln!(
            self.text,
            "[ $ended != 0 ] && [ $ended != {NO_REPOSITORY} ] && [ $attempt -lt {} ] || break",
            stage.attempts
        );
        self.line("attempt=$((attempt + 1))");
        self.say(&lines::another_attempt(stage, ended, attempt));
        self.line("done");
    }

    /// A stage that takes the archives of another job.
    fn bring_in(&mut self, stage: &HelperStage, job: &str, directory: &Path) {
        let _ = writeln!(self.text, "for archive in {}/*.zip; do", shell(directory));
        self.line("if [ -e \"$archive\" ]; then");
        self.say(&lines::using_artifacts(job));
        let end = "|| { ended=$?; break; }";
        self.waited(&stage.command, None, " <\"$archive\" 2>&1", end);
        self.line("else");
        self.say(&lines::no_artifacts(job));
        self.line("fi\ndone");
    }

    /// A stage whose output becomes the job's archive.
    fn take_out(&mut self, stage: &HelperStage, kept: &Kept, name: &str) {
        let directory = kept.archives_of(&kept.job);
        let (checkout, label) = (shell(&kept.checkout), shell(&kept.label));
        let archives = shell(&directory);
        let _ = writeln!(self.text, "(umask 077; mkdir -p {archives})");
        let _ = writeln!(self.text, "printf %s {checkout} >{label}");
        let partial = format!("{archives}/.partial-$$");
        let redirected = format!(" 2>&1 >{partial}");
        self.waited(
            &stage.command,
            Some(&stage.script),
            &redirected,
            "|| ended=$?",
        );
        let target = shell(&directory.join(name));
        let _ = writeln!(
            self.text,
            "if [ $ended = 0 ] && [ -s {partial} ]; then\nrm -f {archives}/*.zip\nmv {partial} {target}\nelse rm -f {partial}; fi"
        );
    }

    /// A stage's command, and what is to be made of its status where that is not 0. The shell does not wait for a
    /// docker client in the foreground: those keep signals to themselves, and its traps would come too late.
    fn waited(
        &mut self,
        command: &DockerCommand,
        stdin: Option<&Word>,
        redirected: &str,
        end: &str,
    ) {
        let command = self.command(command, stdin, &format!("{redirected} &"));
        self.line(&format!("{command}\nwait $! {end}"));
    }
}

/// A path as a word of a shell.
fn shell(path: &Path) -> Word {
    Word::from(path.display().to_string())
}
