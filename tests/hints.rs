//! What very probably made a script fail is said behind its failure, and changes nothing.

mod support;

use serde_json::json;
use support::coordinator::{Coordinator, Kind};
use support::{BUSYBOX, DEBIAN, Project};

#[test]
fn what_very_probably_made_a_script_fail_is_said_behind_it() {
    let jobs = json!({
        "pipe": {"image": DEBIAN, "script": ["set -o pipefail", "yes | head -n 1"]},
        "bash": {"image": BUSYBOX, "script": ["a=(1 2)"]},
        "commands": {"image": BUSYBOX, "script": ["true", "ls\r"]},
        "file": {"image": BUSYBOX, "script": ["./windows.sh"]},
        "plain": {"image": BUSYBOX, "script": ["false"]},
    });
    let project = Project::new(&jobs);
    project.write("windows.sh", "#!/bin/sh\r\necho hi\r\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(project.directory.join("windows.sh"), mode).expect("set");
    project.commit();
    for (job, code, hint) in [
        (
            "pipe",
            141,
            "HINT: status 141 is that of a command whose reader ended before it",
        ),
        (
            "bash",
            2,
            "HINT: this is bash's syntax, and the script ran in sh",
        ),
        (
            "commands",
            127,
            "HINT: a script has the line ends of Windows (CR LF)",
        ),
        (
            "file",
            127,
            "HINT: if the file is there, its first line (#!) names a program",
        ),
        ("plain", 1, ""),
    ] {
        let ran = project.exec([job]);
        ran.fails(1);
        let failed = format!("\nERROR: Build failed: exit code {code}\n");
        let (before, _) = ran
            .stdout
            .rsplit_once(&failed)
            .unwrap_or_else(|| panic!("{job}: {ran}"));
        let last = before.lines().last().unwrap_or_default();
        let said = before.matches("HINT: ").count();
        assert!(
            last.starts_with(hint) && said == usize::from(!hint.is_empty()),
            "{job}: {ran}"
        );
    }
}

#[test]
fn a_coordinators_log_has_it_too() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let id = coordinator.queue_script(BUSYBOX, &["a=(1 2)"]);
    coordinator.serve([]).exits(0);
    coordinator
        .heard(id)
        .fails()
        .says("\nHINT: this is bash's syntax, ");
}
