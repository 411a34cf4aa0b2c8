//! Shell text that a hostile job's values stand in, run by the shells that it is for: no word of it is split, nothing
//! in a value runs, and git gets each value where it is no option. It runs in containers; `git` and `docker` there are
//! programs that write down their arguments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use alloy_runner::docker::Words;
use alloy_runner::job::{Origin, payload};
use alloy_runner::plan::{Plan, StageKind};
use alloy_runner::printer;
use alloy_runner::script::{BuildScript, GetSources, ScriptMarkers};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::docker_line::Line;
use super::settings::{API, SETTINGS, bindings, plan};
use super::support::{BUSYBOX, DEBIAN, program, run};
use super::tries::some;
use super::words::{payload as hostile_payload, word};

/// Writes down the number of its arguments, the arguments and, of git, a setting of its environment, each with a NUL
/// behind it: one at a time, since a script runs docker commands beside others.
const STUB: &str = r#"#!/bin/sh
{
  flock 9
  printf '%s\0' "$#" "$@" "${GIT_CONFIG_KEY_0:-}" "${GIT_CONFIG_VALUE_0:-}" >>"$RECORD"
} 9>>"$RECORD.lock"
case ${0##*/}-$1 in
git-init) mkdir -p .git && : >.git/HEAD ;;
git-cat-file) [ -z "${MISSING:-}" ] ;;
docker-run | docker-exec | docker-start) case " $* " in *" --interactive "*) cat >/dev/null ;; esac ;;
docker-image) echo sha256:0 ;;
docker-version) echo amd64 ;;
esac
"#;

/// Runs each script by each shell, and says which of them left a mark.
const DRIVER: &str = r#"
for shell in $SHELLS; do
  for case in /t/*.case; do
    name=${case##*/} name=${name%.case}
    rm -rf /builds /tmp/pwned
    if [ -e "/t/$name.before" ]; then (. "/t/$name.before"); fi
    (
      if [ -e "/t/$name.env" ]; then . "/t/$name.env"; fi
      RECORD=/t/out/$name.$shell PATH=/t/stubs:$PATH
      export RECORD PATH
      cd /
      exec $shell <"$case" >"/t/out/$name.$shell.said" 2>&1
    )
    echo $? >"/t/out/$name.$shell.status"
    if [ -e "/t/$name.after" ]; then (. "/t/$name.after") >"/t/out/$name.$shell.after"; fi
    [ ! -e /tmp/pwned ] || echo "$name by $shell"
  done
done
"#;

/// Scripts to be run.
struct Cases {
    directory: TempDir,
    names: Vec<String>,
}

impl Cases {
    fn new() -> Self {
        let directory = TempDir::with_prefix("alloy-test-").expect("a directory");
        for made in ["stubs", "out"] {
            fs::create_dir(directory.path().join(made)).expect("made");
        }
        for stub in ["git", "docker"] {
            let path = directory.path().join("stubs").join(stub);
            program(&path, STUB);
        }
        Self {
            directory,
            names: Vec::new(),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn add(&mut self, script: &str, beside: &[(&str, String)]) {
        let name = format!("{:04}", self.names.len());
        for (kind, text) in [("case", script.to_owned())].iter().chain(beside) {
            fs::write(self.path().join(format!("{name}.{kind}")), text).expect("written");
        }
        self.names.push(name);
    }

    /// Runs all of them in containers, where no mark may be left.
    fn run(&self) {
        for (image, shells) in [(DEBIAN, "dash bash"), (BUSYBOX, "sh")] {
            let mount = format!("{}:/t", self.path().display());
            let environment = format!("SHELLS={shells}");
            let ran = run(Command::new("docker").args([
                "run",
                "--rm",
                "--network",
                "none",
                "--volume",
                &mount,
                "--env",
                &environment,
                "--entrypoint",
                "sh",
                image,
                "-c",
                DRIVER,
            ]));
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), ""), "{ran}");
        }
    }

    /// What the stubs were called with in a case by a shell.
    fn calls(&self, case: usize, shell: &str) -> Vec<(Vec<String>, String, String)> {
        let file = self
            .path()
            .join(format!("out/{}.{shell}", self.names[case]));
        let text = fs::read(file).unwrap_or_default();
        let mut words = text
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned());
        let mut calls = Vec::new();
        while let Some(count) = words.next().filter(|count| !count.is_empty()) {
            let count: usize = count.parse().expect("a number");
            let arguments: Vec<String> = words.by_ref().take(count).collect();
            let (key, value) = (words.next().expect("a key"), words.next().expect("a value"));
            calls.push((arguments, key, value));
        }
        calls
    }

    fn said(&self, case: usize, shell: &str, kind: &str) -> String {
        let file = self
            .path()
            .join(format!("out/{}.{shell}.{kind}", self.names[case]));
        String::from_utf8_lossy(&fs::read(file).expect("there")).into_owned()
    }
}

const SHELLS: [&str; 3] = ["dash", "bash", "sh"];

/// Jobs that can be planned, with an image.
fn planned(count: u32) -> Vec<(Value, Plan)> {
    let payloads = some(&hostile_payload(), count).into_iter();
    let planned = payloads.filter_map(|mut payload| {
        if payload["image"]["name"].is_null() {
            payload["image"] = json!({"name": "ruby:2.1"});
        }
        let plan = plan(&payload, &SETTINGS[0]).ok()?;
        Some((payload, plan))
    });
    planned.collect()
}

/// Checks a call of git for what a payload says.
fn check_git(arguments: &[String], address: &str, sha: &str) {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let is_refspec = |word: &str| {
        let word = word.strip_prefix('+').unwrap_or(word);
        word == sha || word.starts_with("refs/") && !word.contains([' ', '\n'])
    };
    match words[..] {
        ["init", "-q"]
        | ["init", "-q", "--object-format=sha256"]
        | ["pack-refs", "--all"]
        | ["ls-files", "-s"]
        | ["update-index", "-q", "--refresh"]
        | ["clean", "-q", "-ffdx"]
        | ["clean", "-ffdx"] => {}
        ["rev-list", "--count", "--max-count", depth, commit] => {
            assert!(depth.parse::<u32>().is_ok(), "{words:?}");
            assert_eq!(commit, sha);
        }
        ["remote", "add", "--", "origin", url] | ["config", "remote.origin.url", url] => {
            assert_eq!(url, address);
        }
        ["cat-file", "-e", commit] => assert_eq!(commit, format!("{sha}^{{commit}}")),
        ["read-tree", commit] | ["checkout", "-q", "--force", "--detach", commit] => {
            assert!(commit == sha || commit == "HEAD", "{words:?}");
        }
        ["fetch", "--force", "--update-shallow", ref rest @ ..] => {
            let mut rest = rest.iter();
            for word in rest.by_ref() {
                match *word {
                    "--no-tags" | "--prune" | "--quiet" | "--depth" => {}
                    "origin" => break,
                    depth => assert!(depth.parse::<u32>().is_ok(), "{words:?}"),
                }
            }
            assert!(rest.all(|word| is_refspec(word)), "{words:?}");
        }
        _ => panic!("git {words:?}"),
    }
}

#[test]
fn git_gets_values_where_they_are_no_options() {
    let mut cases = Cases::new();
    let mut expected = Vec::new();
    for (number, (payload, plan)) in planned(140).iter().enumerate() {
        let stage = &plan.fetch[0];
        assert_eq!(stage.kind, StageKind::GetSources);
        let script = stage.script.expose(&bindings(plan)).expect("bound");
        let job = payload::read(payload.to_string().as_bytes(), API).expect("a job");
        let job = job.job.expect("good");
        let Origin::Remote { remote, .. } = &job.sources.origin else {
            panic!("a checkout")
        };
        let missing = if number % 2 == 0 {
            "MISSING=yes\nexport MISSING\n"
        } else {
            ""
        };
        let login = remote.login.as_ref();
        let login = login.map(|(user, password)| format!("{user}:{}", password.expose()));
        let authorization = login
            .map(|login| STANDARD.encode(login))
            .unwrap_or_default();
        let environment = format!("{missing}GIT_CONFIG_COUNT=0\nexport GIT_CONFIG_COUNT\n");
        cases.add(&script, &[("env", environment)]);
        expected.push((remote.clone(), job.sources.sha.clone(), authorization));
    }
    cases.run();
    let mut calls = 0;
    for (case, (remote, sha, authorization)) in expected.iter().enumerate() {
        for shell in SHELLS {
            for (arguments, key, value) in cases.calls(case, shell) {
                calls += 1;
                check_git(&arguments, &remote.address, sha);
                // Who git is, is said for that site alone, on one line.
                let known = key.is_empty() && value.is_empty()
                    || key == format!("http.{}/.extraHeader", remote.site)
                        && value == format!("Authorization: Basic {authorization}");
                assert!(known, "{key:?} {value:?}");
            }
        }
    }
    eprintln!(
        "{} scripts in 3 shells, {calls} calls of git",
        expected.len()
    );
    assert!(calls > 500, "{calls}");
}

#[test]
fn what_an_earlier_job_left_does_not_lead_the_next() {
    let mut cases = Cases::new();
    let script = GetSources {
        strategy: "fetch",
        directory: "/builds/acme/site",
        url: "https://host/acme/site.git",
        remote: "https://host/acme/site.git",
        site: "https://host",
        sha: "a2fe6e72e0b0d3c7b1a4f1b8f3a2d5c6e7f80910",
        ref_name: "x",
        checkout: true,
        clean_options: Some(&["-ffdx".to_owned()]),
        submodules: "none",
        kept: &["vendor/kept".to_owned()],
        ..GetSources::default()
    }
    .text()
    .plain();
    let before = r#"
        mkdir -p /builds/acme/site/vendor/kept /builds/acme/site/-rf
        cd /builds/acme/site
        : >vendor/kept/file
        for name in -x --no-preserve-root -- '$(touch pwned)' '*' 'a b' 'a
b' '..x' '.x' "'" '"' '|' 'x;y' '-rf/x' 'vendor/-y'; do : >"./$name"; done
    "#;
    // And one where git's own directory is such a thing.
    let in_git = r"
        mkdir -p /builds/acme/site/.git/hooks /builds/acme/site/.git/refs
        cd /builds/acme/site/.git
        : >HEAD; : >config; : >hooks/post-checkout; : >./-x; : >'./$(touch pwned)'; ln -s /etc index; : >..x; : >index.lock
    ";
    let after = "cd /builds/acme/site; find . | sort";
    cases.add(
        &script,
        &[("before", before.to_owned()), ("after", after.to_owned())],
    );
    cases.add(
        &script,
        &[("before", in_git.to_owned()), ("after", after.to_owned())],
    );
    cases.run();
    for shell in SHELLS {
        let left = cases.said(0, shell, "after");
        assert_eq!(
            left, ".\n./.git\n./.git/HEAD\n./vendor\n./vendor/kept\n./vendor/kept/file\n",
            "{shell}"
        );
        assert_eq!(
            cases.said(0, shell, "status"),
            "0\n",
            "{shell}: {}",
            cases.said(0, shell, "said")
        );
        let left = cases.said(1, shell, "after");
        assert_eq!(
            cases.said(1, shell, "status"),
            "0\n",
            "{shell}: {}",
            cases.said(1, shell, "said")
        );
        assert_eq!(
            left, ".\n./.git\n./.git/HEAD\n./.git/info\n./.git/packed-refs\n",
            "{shell}"
        );
    }
}

#[test]
fn a_build_finds_its_directory_and_its_files() {
    let mut cases = Cases::new();
    let mut directories = Vec::new();
    for (number, text) in some(&word(), 60).iter().enumerate() {
        let Some(text) = Some(text.replace('\0', "")).filter(|text| text.len() < 200) else {
            continue;
        };
        // A directory has no slash in its name, and some name.
        let directory = format!("/builds/x{}", text.replace(['/', '\n', '\r'], "_"));
        let commands = [
            "printf '<%s>\\n' \"$PWD\"".to_owned(),
            "printf '[%s]\\n' \"$(cat \"$FILE\")\"".to_owned(),
        ];
        let script = BuildScript {
            commands: &commands,
            directory: &directory,
            file_variables: (&["FILE".to_owned()], &format!("{directory}.tmp")),
            trace: number % 7 == 0,
            colour: number % 5 == 0,
            markers: [
                ScriptMarkers::None,
                ScriptMarkers::Success,
                ScriptMarkers::Failure,
            ][number % 3],
            ..BuildScript::default()
        };
        let quoted = format!("'{}'", directory.replace('\'', r"'\''"));
        let value = format!("FILE='{}'\nexport FILE\n", text.replace('\'', r"'\''"));
        let script = script
            .text()
            .bind(&alloy_runner::docker::Bindings::new())
            .expect("bound");
        cases.add(
            &script,
            &[("before", format!("mkdir -p {quoted}")), ("env", value)],
        );
        directories.push((directory, text));
    }
    cases.run();
    for (case, (directory, text)) in directories.iter().enumerate() {
        for shell in SHELLS {
            let said = cases.said(case, shell, "said");
            assert!(
                said.contains(&format!("<{directory}>\n")),
                "{shell}: {said}"
            );
            let text = text.trim_end_matches('\n');
            assert!(
                said.contains(&format!("[{text}]\n")),
                "{shell}: {text:?}: {said}"
            );
        }
    }
}

/// What `--dry-run` prints: a script of docker commands, which are the same as those that run.
#[test]
fn a_printed_plan_runs_docker_with_the_plans_words() {
    let mut cases = Cases::new();
    let plans = planned(60);
    for (number, (_, plan)) in plans.iter().enumerate() {
        let docker = Words(vec!["docker".to_owned()]);
        let names = some(&word(), 1);
        let script = printer::script(plan, &docker, &names[0], "runner-x");
        let mut environment = String::new();
        let run = &plan.build.run;
        for (name, _) in run.secrets().iter().chain(run.file_secrets()) {
            let own = name.strip_prefix("ALLOY_VARIABLE_");
            let name = own.and_then(|own| own.strip_suffix('_')).unwrap_or(name);
            let _ = writeln!(environment, "{name}=${{{name}-v}}; export {name}");
        }
        // What leads a shell itself would lead this one.
        let leads = [
            "ENV=",
            "IFS=",
            "PATH=",
            "PS4=",
            "SHELLOPTS=",
            "LD_PRELOAD=",
            "BASH_ENV=",
        ];
        let leads = leads
            .iter()
            .any(|name| environment.lines().any(|line| line.starts_with(name)));
        let script = if leads { "exit 0\n".to_owned() } else { script };
        assert!(number > 0 || !script.is_empty());
        cases.add(&script, &[("env", environment)]);
    }
    cases.run();
    let mut calls = 0;
    for (case, (payload, plan)) in plans.iter().enumerate() {
        for shell in SHELLS {
            for (arguments, _, _) in cases.calls(case, shell) {
                calls += 1;
                let mut line =
                    Line::read(&arguments).unwrap_or_else(|error| panic!("{error}\n{payload:#}"));
                line.take_chosen();
                for option in line.options.keys() {
                    let refused = [
                        "--privileged",
                        "--device",
                        "--cap-add",
                        "--publish",
                        "--security-opt",
                        "--pid",
                    ];
                    assert!(!refused.contains(&option.as_str()), "{arguments:?}");
                }
                if line.subcommand == "run" {
                    let images: Vec<&str> =
                        line.operands.iter().map(String::as_str).take(1).collect();
                    assert_eq!(images, ["sha256:0"], "{arguments:?}");
                    let name = line.options["--name"].concat();
                    if name.ends_with("-build") {
                        let planned = Line::read(
                            &plan
                                .build
                                .run
                                .bind(&bindings(plan))
                                .argv(Some("/dev/fd/3"))
                                .expect("bound"),
                        )
                        .expect("good");
                        assert_eq!(line.operands[1..], planned.operands[1..]);
                        assert_eq!(line.options.get("--env"), planned.options.get("--env"));
                        assert_eq!(
                            line.options.get("--workdir"),
                            planned.options.get("--workdir")
                        );
                    }
                }
            }
        }
    }
    eprintln!(
        "{} scripts in 3 shells, {calls} calls of docker",
        plans.len()
    );
    assert!(calls > 300, "{calls}");
}
