//! `exec --dry-run` and `-x`: what is printed runs by itself, and does the same.

mod support;

use std::process::Command;

use serde_json::json;
use support::{BUSYBOX, DEBIAN, POSTGRES, Project, Ran, Running, run, shell};

/// Jobs with and without a service, an entrypoint and a failure; with a secret in all of them.
fn project() -> Project {
    Project::new(json!({
        "image": DEBIAN,
        "variables": {"PUBLIC": "it's $ok\n\"2nd\" line", "POSTGRES_USER": "ci"},
        "plain": {"script": ["echo \"$PUBLIC\"", "echo ${#TOKEN} ${#DOCKER_TOKEN} ${#DOCKER_KEY}", "cat", "ls -A"],
                  "after_script": ["echo after $CI_JOB_STATUS"]},
        "service": {"services": [{"name": POSTGRES, "alias": "postgres"}],
                    "image": {"name": POSTGRES, "entrypoint": [""]},
                    "script": ["PGPASSWORD=postgres psql -h postgres -U ci -Atc 'select 6 * 7'"]},
        "fails": {"image": BUSYBOX, "script": ["echo one", "exit 7"], "after_script": ["echo after $CI_JOB_STATUS"]},
        "entrypoint": {"image": {"name": BUSYBOX, "entrypoint": ["sh", "-c", "ls -A; exit 4"]}, "script": "x"},
        "keeps": {"cache": {"key": "$CI_JOB_NAME", "paths": ["vendor"]},
                  "artifacts": {"name": "made by $CI_JOB_NAME", "paths": ["it's*/"], "when": "always"},
                  "script": ["mkdir -p vendor \"it's here\"", "ls vendor", "echo x >\"it's here/x\"", "touch vendor/y"]},
        "gets": {"stage": "deploy", "dependencies": ["keeps"], "script": ["cat it*/x"]}
    }))
}

const SECRETS: [(&str, &str); 3] = [
    ("TOKEN", "hunter2's $token"),
    ("DOCKER_TOKEN", "docker-secret"),
    ("DOCKER_KEY", "line one\nline two"),
];

fn with_secrets(command: &mut Command) -> &mut Command {
    command.envs(SECRETS)
}

fn arguments<'a>(before: &[&'a str], job: &'a str) -> Vec<&'a str> {
    let secrets = SECRETS.iter().flat_map(|(name, _)| ["--env", name]);
    before.iter().copied().chain(secrets).chain([job]).collect()
}

fn assert_no_secret(text: &str) {
    for (_, secret) in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// The log without what is different in every run, and without the copy of the artifacts that a script makes none of.
fn comparable(ran: &Ran) -> String {
    let other = ["Running on ", "The artifacts are in "];
    ran.stdout
        .lines()
        .filter(|line| !other.iter().any(|begin| line.starts_with(begin)))
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_printed_script_does_the_same_and_leaves_the_engine_as_clean() {
    let project = project();
    for job in ["plain", "service", "fails", "entrypoint", "keeps", "gets"] {
        let script = run(with_secrets(
            &mut project.command(arguments(&["exec", "--dry-run"], job)),
        ));
        script.exits(0);
        assert_no_secret(&script.stdout);
        let real = run(with_secrets(
            &mut project.command(arguments(&["exec"], job)),
        ));
        for program in ["sh", "bash"] {
            let printed = run(with_secrets(&mut shell(program, &script.stdout)));
            assert_eq!(printed.status, real.status, "{program} {job}: {printed}");
            assert_eq!(
                comparable(&printed),
                comparable(&real),
                "{program} {job}: {}",
                printed.stderr
            );
            assert_eq!(project.leftovers(), "");
        }
    }
}

#[test]
fn the_printed_script_begins_with_what_it_needs() {
    let project = project();
    let script = run(with_secrets(
        &mut project.command(arguments(&["exec", "--dry-run"], "plain")),
    ));
    let without = run(shell("sh", &script.stdout).env_remove("TOKEN"));
    assert_ne!(without.status, Some(0));
    assert!(
        without.stderr.contains("DOCKER_KEY") && without.stdout.is_empty(),
        "{without}"
    );
}

#[test]
fn a_printed_script_that_is_stopped_cleans_up() {
    let project = Project::script(["echo begun", "sleep 600"]);
    let script = project.exec("--dry-run test").stdout;
    let mut command = shell("sh", &script);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = Running::start(command.stdout(std::process::Stdio::piped()));
    let mut stdout = child.stdout.take().expect("piped");
    support::read_until(&mut stdout, "\nbegun\n");
    // As a terminal does it: to all of the group.
    let group = format!("-{}", child.id());
    run(Command::new("kill").args(["-INT", "--", &group])).exits(0);
    child.wait().expect("ended");
    assert_eq!(project.leftovers(), "");
}

#[test]
fn what_x_printed_can_be_pasted_in_order_and_runs_the_job_again() {
    let project = project();
    for job in ["plain", "service"] {
        let real = run(with_secrets(
            &mut project.command(arguments(&["-x", "exec"], job)),
        ));
        real.succeeds();
        assert_no_secret(&real.stderr);
        // A variable that travels under another name is pasted under that.
        let mut paste = shell("bash", &real.stderr);
        let pasted = run(with_secrets(&mut paste).env("ALLOY_VARIABLE_DOCKER_KEY_", SECRETS[2].1));
        pasted.exits(0).is_quiet();
        // The lines that are the runner's own and not a container's stand in the real log only.
        let own = [
            "Running ",
            "  on exec",
            "Using ",
            "Starting service ",
            "Waiting for ",
            "Job succeeded",
        ];
        let of_containers: Vec<&str> = real
            .stdout
            .lines()
            .filter(|line| !own.iter().any(|begin| line.starts_with(begin)))
            .collect();
        assert_eq!(
            pasted.stdout.lines().collect::<Vec<_>>(),
            of_containers,
            "{job}"
        );
        assert_eq!(project.leftovers(), "");
    }
}

#[test]
fn what_is_pasted_on_a_terminal_reads_nothing_that_follows_it_and_stays_until_a_prune() {
    let project = project();
    let real = run(with_secrets(
        &mut project.command(arguments(&["-x", "exec"], "service")),
    ));
    real.succeeds();
    // As on a terminal, the commands come by standard input; what removes the containers is left out.
    let kept = real.stderr.split("\ndocker rm ").next().expect("some");
    let file = project.beside("commands.sh");
    std::fs::write(&file, format!("{kept}\necho pasted to the end\n")).expect("written");
    let paste = std::fs::File::open(&file).expect("there");
    run(with_secrets(Command::new("bash").current_dir("/")).stdin(paste))
        .ends("\n42\npasted to the end\n");
    let build = format!(
        "container runner-local-project-{}-concurrent-0-build\n",
        project.id()
    );
    assert!(
        project.leftovers().contains(&build),
        "{}",
        project.leftovers()
    );
    project.exec("fails");
    assert!(
        project.leftovers().contains(&build),
        "{}",
        project.leftovers()
    );
    project.run("prune").exits(0);
    assert_eq!(project.leftovers(), "");
}

/// Control characters but line breaks and tabs, and what turns the direction of a line.
fn leads_a_terminal(text: &str) -> bool {
    let leads = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.chars().any(|c| leads(c) || c == '\u{202e}')
}

#[test]
fn what_is_printed_leads_no_terminal_and_can_be_pasted_all_the_same() {
    let odd = "a\u{1b}[2J\u{9b}31m\u{202e}\rb\u{7f} it's 5 % \\n\n";
    let jobs = json!({"image": BUSYBOX, "odd\u{9b}": {
        "variables": {"ODD": odd},
        "script": ["printf %s \"$ODD\" | od -An -tx1", "echo 'in the script: \u{1b}[1m\u{85}' | od -An -tx1"]}});
    let project = Project::new(&jobs);
    let printed = project.exec(["--dry-run", "odd\u{9b}"]);
    printed.exits(0);
    assert!(!leads_a_terminal(&printed.stdout), "{:?}", printed.stdout);
    let run_it = project.run(["-x", "exec", "odd\u{9b}"]);
    run_it.succeeds();
    assert!(!leads_a_terminal(&run_it.stderr), "{:?}", run_it.stderr);
    let pasted = run(shell("sh", &printed.stdout).current_dir(&project.directory));
    pasted.succeeds();
    let dumps = |ran: &Ran| -> Vec<String> {
        let dump = |line: &&str| line.starts_with(' ') && !line.starts_with("  ");
        ran.stdout.lines().filter(dump).map(str::to_owned).collect()
    };
    let want: Vec<String> = odd.bytes().map(|byte| format!(" {byte:02x}")).collect();
    assert!(
        dumps(&run_it).concat().starts_with(&want.concat()),
        "{run_it}"
    );
    assert_eq!(dumps(&pasted), dumps(&run_it));

    let list = project.exec("--list --json");
    list.exits(0);
    assert!(!leads_a_terminal(&list.stdout), "{:?}", list.stdout);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).expect("JSON");
    assert!(list.to_string().contains("odd\u{9b}"), "{list}");
}
