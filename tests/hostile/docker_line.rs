//! How docker reads its command line, written down anew: from its help and from the flag parser it has (pflag), not
//! from what the runner writes. What is not known here is an error.

use std::collections::BTreeMap;

/// Options without a value, by subcommand.
const FLAGS: &[(&str, &[&str])] = &[
    ("build", &[]),
    ("commit", &[]),
    ("container inspect", &[]),
    ("container ls", &["--all", "--no-trunc"]),
    ("cp", &[]),
    ("create", CREATE_FLAGS),
    ("events", &[]),
    ("exec", &["--interactive", "--tty"]),
    ("image inspect", &[]),
    ("image ls", &[]),
    ("image rm", &[]),
    ("kill", &[]),
    ("logs", &["--follow"]),
    ("pause", &[]),
    ("network create", &[]),
    ("network ls", &[]),
    ("network rm", &[]),
    ("pull", &["--quiet"]),
    ("rm", &["--force", "--volumes"]),
    ("run", CREATE_FLAGS),
    ("start", &["--attach", "--interactive"]),
    ("stop", &[]),
    ("unpause", &[]),
    ("version", &[]),
    ("volume create", &[]),
    ("volume ls", &[]),
    ("volume rm", &["--force"]),
    ("wait", &[]),
];
const CREATE_FLAGS: &[&str] = &[
    "--detach",
    "--init",
    "--interactive",
    "--no-healthcheck",
    "--oom-kill-disable",
    "--privileged",
    "--publish-all",
    "--read-only",
    "--rm",
    "--tty",
];

/// Options with a value, by subcommand.
const OPTIONS: &[(&str, &[&str])] = &[
    ("build", &["--force-rm", "--tag"]),
    ("container inspect", &["--format"]),
    ("container ls", &["--filter", "--format"]),
    ("create", CREATE_OPTIONS),
    ("events", &["--filter", "--format", "--since", "--until"]),
    ("exec", &["--env", "--env-file", "--user", "--workdir"]),
    ("image inspect", &["--format"]),
    ("image ls", &["--filter", "--format"]),
    ("kill", &["--signal"]),
    ("logs", &["--tail"]),
    ("network create", &["--driver", "--label", "--opt"]),
    ("network ls", &["--filter", "--format"]),
    ("pull", &["--platform"]),
    ("run", CREATE_OPTIONS),
    ("stop", &["-t"]),
    ("version", &["--format"]),
    ("volume create", &["--driver", "--label", "--opt"]),
    ("volume ls", &["--filter", "--format"]),
];
const CREATE_OPTIONS: &[&str] = &[
    "--add-host",
    "--cap-add",
    "--cap-drop",
    "--cgroup-parent",
    "--cpu-shares",
    "--cpus",
    "--cpuset-cpus",
    "--device",
    "--device-cgroup-rule",
    "--dns",
    "--dns-search",
    "--entrypoint",
    "--env",
    "--env-file",
    "--gpus",
    "--group-add",
    "--hostname",
    "--ipc",
    "--label",
    "--link",
    "--log-driver",
    "--mac-address",
    "--memory",
    "--memory-reservation",
    "--memory-swap",
    "--mount",
    "--name",
    "--network",
    "--network-alias",
    "--oom-score-adj",
    "--pid",
    "--platform",
    "--publish",
    "--pull",
    "--runtime",
    "--security-opt",
    "--shm-size",
    "--sysctl",
    "--tmpfs",
    "--ulimit",
    "--user",
    "--userns",
    "--volume",
    "--volumes-from",
    "--workdir",
];

/// A command line as docker takes it.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// `run`, `network create`.
    pub subcommand: String,
    /// Options, their values in order; of those without a value, an empty one.
    pub options: BTreeMap<String, Vec<String>>,
    /// What is no option: the image and its command, or names.
    pub operands: Vec<String>,
}

impl Line {
    /// Reads the arguments, without the program.
    pub fn read(arguments: &[String]) -> Result<Self, String> {
        let one = arguments.first().cloned().unwrap_or_default();
        let two = arguments[..arguments.len().min(2)].join(" ");
        let known = |name: &String| FLAGS.iter().any(|(known, _)| known == name);
        let (subcommand, rest) = if known(&two) {
            (two, &arguments[2..])
        } else if known(&one) {
            (one, &arguments[1..])
        } else {
            return Err(format!("no subcommand: {arguments:?}"));
        };
        let of = |table: &[(&str, &'static [&'static str])]| {
            let row = table.iter().find(|(name, _)| *name == subcommand);
            row.map_or(&[][..], |(_, options)| *options)
        };
        let (flags, valued) = (of(FLAGS), of(OPTIONS));
        let mut line = Self {
            subcommand: subcommand.clone(),
            ..Self::default()
        };
        // Behind the first operand of these, all is for the container.
        let ends_at_operand = ["run", "create", "exec"].contains(&subcommand.as_str());
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            if word == "--" {
                line.operands.extend(rest.by_ref().cloned());
            } else if !word.starts_with('-') || word == "-" {
                line.operands.push(word.clone());
                if ends_at_operand {
                    line.operands.extend(rest.by_ref().cloned());
                }
            } else if flags.contains(&word.as_str()) {
                line.options
                    .entry(word.clone())
                    .or_default()
                    .push(String::new());
            } else if valued.contains(&word.as_str()) {
                // Whatever follows is the value, also what looks like an option.
                let value = rest.next().ok_or_else(|| format!("{word} has no value"))?;
                line.options
                    .entry(word.clone())
                    .or_default()
                    .push(value.clone());
            } else {
                return Err(format!(
                    "{subcommand} has an option {word:?}: {arguments:?}"
                ));
            }
        }
        Ok(line)
    }

    /// Takes out what a job has chosen of an image: words that docker can take for nothing else.
    pub fn take_chosen(&mut self) {
        for option in ["--platform", "--user"] {
            let words = self.take(option);
            assert!(words.len() <= 1, "{option} {words:?}");
            let good = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
            let good = |word: &String| !word.starts_with('-') && word.chars().all(good);
            assert!(words.iter().all(good), "{option} {words:?}");
        }
    }

    /// Takes an option out, with all its values.
    pub fn take(&mut self, option: &str) -> Vec<String> {
        self.options.remove(option).unwrap_or_default()
    }
}

/// A volume or a path in a container: what it comes from, where it is, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mounted {
    pub source: String,
    pub target: String,
    pub mode: String,
}

/// `--volume`, as docker splits it.
pub fn volume(value: &str) -> Result<Mounted, String> {
    let parts: Vec<&str> = value.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(format!("--volume {value:?}")),
    };
    Ok(Mounted {
        source: source.to_owned(),
        target: target.to_owned(),
        mode: mode.to_owned(),
    })
}

/// `--mount`, as docker reads it: a line of CSV (encoding/csv), whose fields are `key=value`. Returns what is mounted,
/// its type, and the labels of the volume that may be made for it.
pub fn mount(value: &str) -> Result<(String, Mounted, Vec<String>), String> {
    let (mut kind, mut labels) = ("volume".to_owned(), Vec::new());
    let mut mounted = Mounted {
        source: String::new(),
        target: String::new(),
        mode: String::new(),
    };
    for field in csv(value)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), value.to_owned()),
            None => (field.to_lowercase(), String::new()),
        };
        match key.as_str() {
            "type" => kind = value,
            "source" | "src" => mounted.source = value,
            "target" | "dst" | "destination" => mounted.target = value,
            "readonly" | "ro" => mounted.mode.push_str("ro"),
            "volume-label" => labels.push(value),
            "volume-driver" => labels.push(format!("driver:{value}")),
            "volume-nocopy" => mounted.mode.push_str(",nocopy"),
            "bind-propagation" => mounted.mode = value,
            _ => return Err(format!("--mount has a key {key:?}")),
        }
    }
    Ok((kind, mounted, labels))
}

/// One record of Go's encoding/csv, without lazy quotes. More than one is an error, as it is one for docker.
pub fn csv(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let field;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut value = String::new();
            let mut at = quoted;
            loop {
                let Some((before, behind)) = at.split_once('"') else {
                    return Err(format!("a quote is open: {line:?}"));
                };
                value.push_str(before);
                if let Some(behind) = behind.strip_prefix('"') {
                    value.push('"');
                    at = behind;
                } else {
                    at = behind;
                    break;
                }
            }
            field = value;
            rest = at;
        } else {
            let end = rest.find([',', '\n']).unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return Err(format!("a bare quote: {line:?}"));
            }
            field = rest[..end].to_owned();
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(fields),
            None => return Err(format!("something behind a field: {line:?}")),
        }
    }
}

#[test]
fn reads_as_docker_does() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let line = Line::read(&words("run --env A=1 --name --privileged x --rm -v")).expect("good");
    assert_eq!(line.options["--name"], ["--privileged"]);
    assert_eq!(line.operands, ["x", "--rm", "-v"]);
    assert!(!line.options.contains_key("--privileged"));
    let line = Line::read(&words("rm a --force -- --volumes")).expect("good");
    assert_eq!(line.operands, ["a", "--volumes"]);
    assert!(line.options.contains_key("--force"));
    for wrong in [
        "run -v/:/host x",
        "run --privileged=true x",
        "frob",
        "run --name",
    ] {
        assert!(Line::read(&words(wrong)).is_err(), "{wrong}");
    }
    let fields = csv("type=volume,\"source=a,b\",\"l=\"\"x\"\"\",z").expect("good");
    assert_eq!(fields, ["type=volume", "source=a,b", "l=\"x\"", "z"]);
    for wrong in ["a\"b", "\"a\"b", "\"a", "a\nb"] {
        assert!(csv(wrong).is_err(), "{wrong}");
    }
}
