//! Words that nobody means well with, and jobs made of them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// A command that leaves a mark where it runs, in the ways in which shells run one inside of a text.
pub const MARKS: &[&str] = &[
    "$(touch /tmp/pwned)",
    "`touch /tmp/pwned`",
    "'; touch /tmp/pwned; '",
    "\"; touch /tmp/pwned; \"",
    "x\ntouch /tmp/pwned\n",
    "x\r\ntouch /tmp/pwned\r\n",
    "${IFS}touch${IFS}/tmp/pwned",
    "| touch /tmp/pwned",
    "& touch /tmp/pwned &",
    "x' $(touch /tmp/pwned) '",
    "\\'; touch /tmp/pwned #",
    "SCRIPT\ntouch /tmp/pwned\n",
    "VARIABLES\ntouch /tmp/pwned\n",
    "CERTIFICATES\ntouch /tmp/pwned\n",
    "a[$(touch /tmp/pwned)]",
    "<(touch /tmp/pwned)",
];

const NASTY: &[&str] = &[
    "",
    " ",
    "-",
    "--",
    "---",
    "--privileged",
    "--privileged=true",
    "-v/:/host",
    "-v",
    "/:/host",
    "/:/host:rw",
    "/var/run/docker.sock:/var/run/docker.sock",
    "--volume=/:/host",
    "--mount=type=bind,source=/,target=/host",
    "type=bind,source=/,target=/host",
    "x,source=/,target=/host",
    "x\",\"source=/",
    "--device=/dev/sda",
    "--network=host",
    "--net=container:other",
    "--cap-add=ALL",
    "--pid=host",
    "--security-opt=apparmor=unconfined",
    "--user=0",
    "--entrypoint",
    "--env-file=/etc/shadow",
    "-H tcp://evil:2375",
    "--host=tcp://evil:2375",
    "--config=/tmp/evil",
    "--upload-pack=touch /tmp/pwned",
    "--upload-pack=touch${IFS}/tmp/pwned",
    "-u./evil",
    "-oProxyCommand=touch /tmp/pwned",
    "-c core.sshCommand=touch",
    "--config=core.fsmonitor=touch",
    "--exec=touch /tmp/pwned",
    "--output=/etc/passwd",
    "--template=/tmp/evil",
    "ext::sh -c touch% /tmp/pwned",
    "ext::sh",
    "file:///etc",
    "file:///alloy/source",
    "fd::17",
    "transport::address",
    "http://-oProxyCommand=x/y",
    "ssh://-oProxyCommand=touch/x",
    "ssh://-oProxyCommand=touch@host/x",
    "git@-oProxyCommand=touch:x",
    "https://*/acme/site.git",
    "https://u:p%0d%0aHost:evil@host/acme/site.git",
    "https://u:p@host/acme/site.git%0aX",
    "https://host\nHost: evil/acme/site.git",
    "https://host/a/b.git?x=$(touch /tmp/pwned)#'\"",
    "https://host/../../../../etc",
    "https://host/--upload-pack=x/y.git",
    "https://[::1]:80/acme/site.git",
    "https://host:99999/acme/site.git",
    "ssh://git@host/~evil/site.git",
    "..",
    ".",
    "../..",
    "../../../../etc/passwd",
    "/etc/passwd",
    "/",
    "//",
    "a/../../b",
    "a/./b",
    "./",
    "~root",
    "a\0b",
    "\0",
    "\n",
    "\r\n",
    "\r\nX-Evil: yes",
    "\r\n\r\nbody",
    "x\"; filename=\"evil",
    "\t",
    "a b",
    "a:b",
    "a:b:c:d",
    "a,b",
    "a=b",
    "=b",
    "a|b",
    "*",
    "**",
    "{a,b}{c,d}",
    "[",
    "[^",
    "?",
    "!",
    "#",
    "%",
    "%s%n%2e%2e%2f",
    "$",
    "$$",
    "${",
    "${}",
    "$HOME",
    "${CI_JOB_TOKEN}",
    "$X",
    "\\",
    "\\\\",
    "\"",
    "'",
    "''",
    "`",
    "\u{202e}txt.exe",
    "\u{2066}x\u{2069}",
    "\u{feff}",
    "\u{1b}[2J\u{1b}]0;evil\u{7}",
    "\u{7f}",
    "\u{85}\u{2028}\u{2029}",
    "ÄÖÜß",
    "🦀",
    "İ",
    "ruby:2.1",
    "ruby:",
    ":latest",
    "ruby@sha256:",
    "ruby@sha256:zz",
    "ruby:a@b@c",
    "REGISTRY/ruby",
    "localhost:99999999/ruby",
    "registry.tld:5000/a//b",
    "a/b/c/d/e:f",
    "-ruby",
    "ruby/-x",
    "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "host-gateway",
    "localhost",
    "bridge",
    "container:other",
    "true",
    "false",
    "null",
    "0",
    "-1",
    "1e999",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "NaN",
    "fetch",
    "recursive",
    "+refs/heads/*:refs/heads/*",
    "refs/heads/x",
    "refs/../x",
    "--recurse-submodules",
    "{\"auths\":{\"a\":{\"auth\":\"eDp5\"}}}",
    "{\"credsStore\":\"evil\",\"credHelpers\":{\"x\":\"/bin/evil\"}}",
];

/// Letters that mean something to some reader, and some that mean nothing.
const SIGNS: &[&str] = &[
    "a", "z", "0", "9", "-", "-", ":", "/", "/", ",", "=", ".", ".", "$", "`", "\"", "'", "\\",
    "@", "{", "}", "(", ")", "|", ";", "&", "<", ">", "*", "~", "#", "!", "%", "_", " ", "\n",
    "\r", "\t", "\0", "\u{202e}",
];

/// A hostile text.
pub fn word() -> BoxedStrategy<String> {
    let known = || prop_oneof![2 => select(NASTY), 1 => select(MARKS)];
    prop_oneof![
        6 => known().prop_map(str::to_owned),
        2 => (known(), known()).prop_map(|(a, b)| format!("{a}{b}")),
        1 => (known(), known()).prop_map(|(a, b)| format!("{a}/{b}")),
        2 => vec(any::<char>(), 0..60).prop_map(|letters| letters.into_iter().collect()),
        2 => vec(select(SIGNS), 0..40).prop_map(|signs| signs.concat()),
        1 => (known(), 100..3000_usize).prop_map(|(text, times)| text.repeat(times)),
    ]
    .boxed()
}

/// One that hardly anything refuses, with a few that are refused among them.
fn sanitize() -> BoxedStrategy<String> {
    prop_oneof![
        1 => word(),
        3 => select(&["a", "a/b", "$(touch /tmp/pwned)", "--privileged", "it's", "a b", "x,y=z", "-x", "ä"][..])
            .prop_map(str::to_owned),
    ]
    .boxed()
}

/// Names of variables that lead programs, and some that lead none.
fn name() -> BoxedStrategy<String> {
    let known: &[&str] = &[
        "A",
        "PATH",
        "HOME",
        "ENV",
        "BASH_ENV",
        "SHELLOPTS",
        "PS4",
        "LD_PRELOAD",
        "DOCKER_HOST",
        "DOCKER_CONFIG",
        "DOCKER_AUTH_CONFIG",
        "DOCKER_CONTEXT",
        "DOCKER_TLS_VERIFY",
        "CONTAINER_HOST",
        "HTTPS_PROXY",
        "https_proxy",
        "SSL_CERT_FILE",
        "GODEBUG",
        "GIT_STRATEGY",
        "GIT_DEPTH",
        "GIT_CHECKOUT",
        "GIT_SUBMODULE_STRATEGY",
        "GIT_SSL_NO_VERIFY",
        "GIT_SSH_COMMAND",
        "GIT_PROXY_COMMAND",
        "GIT_ALLOW_PROTOCOL",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_KEY_0",
        "GIT_CONFIG_VALUE_0",
        "GIT_CONFIG_PARAMETERS",
        "GIT_EXEC_PATH",
        "GIT_TRACE",
        "GIT_LFS_SKIP_SMUDGE",
        "GET_SOURCES_ATTEMPTS",
        "RUNNER_AFTER_SCRIPT_TIMEOUT",
        "RUNNER_UNPACK_LIMIT",
        "RESTORE_CACHE_ATTEMPTS",
        "CI_DEBUG_TRACE",
        "CI_DEBUG_SERVICES",
        "CI_PROJECT_DIR",
        "CI_JOB_NAME",
        "ALLOY_RUNNER_TASK",
        "ALLOY_GIT_AUTHORIZATION",
        "ALLOY_VARIABLE_PATH",
    ];
    prop_oneof![9 => select(known).prop_map(str::to_owned), 1 => word()].boxed()
}

fn words() -> BoxedStrategy<Value> {
    prop_oneof![
        4 => vec(word(), 0..4).prop_map(|words| json!(words)),
        1 => word().prop_map(|word| json!(word)),
    ]
    .boxed()
}

fn variable() -> BoxedStrategy<Value> {
    (name(), sanitize(), any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(key, value, public, file, raw)| {
            json!({"key": key, "value": value, "public": public, "file": file, "raw": raw})
        })
        .boxed()
}

fn image() -> BoxedStrategy<Value> {
    let name = || prop_oneof![3 => Just("ruby:2.1".to_owned()), 1 => Just("my.registry.tld:5000/group/image".to_owned()), 1 => word()];
    let alias =
        prop_oneof![2 => Just(json!("db")), 1 => word().prop_map(|word| json!(word)), 1 => words()];
    let chosen = prop_oneof![
        3 => Just(Value::Null),
        1 => Just(json!({"docker": {"user": 1000, "platform": "linux/arm64/v8"}})),
        1 => (option::of(word()), option::of(word()))
            .prop_map(|(user, platform)| json!({"docker": {"user": user, "platform": platform}})),
    ];
    let table = (
        name(),
        option::of(alias),
        option::of(words()),
        option::of(words()),
        chosen,
    );
    prop_oneof![
        3 => table.prop_map(|(name, alias, entrypoint, command, chosen)| {
            json!({"name": name, "alias": alias, "entrypoint": entrypoint, "command": command, "executor_opts": chosen})
        }),
        1 => name().prop_map(|name| json!(name)),
    ]
    .boxed()
}

fn cache() -> BoxedStrategy<Value> {
    (option::of(sanitize()), vec(word(), 0..4), any::<bool>())
        .prop_map(
            |(key, paths, untracked)| json!({"key": key, "paths": paths, "untracked": untracked}),
        )
        .boxed()
}

fn artifacts() -> BoxedStrategy<Value> {
    (option::of(word()), vec(word(), 0..4), option::of(word()))
        .prop_map(|(name, paths, expire_in)| json!({"name": name, "paths": paths, "expire_in": expire_in, "when": "always"}))
        .boxed()
}

/// An address that is one, with hostile parts in it.
fn address() -> BoxedStrategy<String> {
    let parts = (
        select(&["https", "http", "ssh", "git", "ext", "file", "HTTPS"][..]),
        option::of((sanitize(), sanitize())),
        prop_oneof![5 => Just("host.tld".to_owned()), 1 => word()],
        word(),
        any::<bool>(),
    );
    let made = parts.prop_map(|(scheme, login, host, path, encode)| {
        let encoded = |text: &str| -> String {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let login =
            login.map(|(user, password)| format!("{}:{}@", encoded(&user), encoded(&password)));
        let path = if encode { encoded(&path) } else { path };
        format!(
            "{scheme}://{}{host}/acme/{path}.git",
            login.unwrap_or_default()
        )
    });
    prop_oneof![3 => made, 1 => word()].boxed()
}

/// Where in a payload something else goes, and what.
type Change = (&'static str, Value);

fn change() -> BoxedStrategy<Change> {
    let at = |place: &'static str, value: BoxedStrategy<Value>| {
        value.prop_map(move |value| (place, value)).boxed()
    };
    let text = || word().prop_map(|word| json!(word)).boxed();
    let list = |of: BoxedStrategy<Value>| vec(of, 0..4).prop_map(Value::Array).boxed();
    prop_oneof![
        3 => at("/image", image()),
        3 => at("/services", list(image())),
        4 => at("/variables", list(variable())),
        1 => at("/job_info/name", text()),
        1 => at("/job_info/stage", text()),
        3 => at("/git_info/repo_url", address().prop_map(|address| json!(address)).boxed()),
        2 => at("/git_info/ref", text()),
        1 => at("/git_info/sha", text()),
        1 => at("/git_info/before_sha", text()),
        1 => at("/git_info/ref_type", text()),
        1 => at("/git_info/refspecs", list(text())),
        2 => at("/cache", list(cache())),
        2 => at("/artifacts", list(artifacts())),
        1 => at("/steps/0/script", list(text())),
        1 => at("/hooks", list(words().prop_map(|script| {
            json!({"name": "post_get_sources_script", "script": script})
        }).boxed())),
        1 => at("/steps/1/script", list(text())),
        1 => at("/steps/0/timeout", any::<u64>().prop_map(|number| json!(number)).boxed()),
        1 => at("/runner_info/timeout", any::<u64>().prop_map(|number| json!(number)).boxed()),
        1 => at("/allow_git_fetch", any::<bool>().prop_map(|on| json!(on)).boxed()),
        1 => at("/token", text()),
        1 => at("/dependencies", list((word(), word(), word()).prop_map(|(name, token, file)| {
            json!({"id": 16, "name": name, "token": token, "artifacts_file": {"filename": file, "size": 1}})
        }).boxed())),
        1 => at("/credentials", list((word(), word(), word()).prop_map(|(url, user, password)| {
            json!({"type": "registry", "url": url, "username": user, "password": password})
        }).boxed())),
    ]
    .boxed()
}

/// A payload, good but for a few places.
pub fn payload() -> BoxedStrategy<Value> {
    vec(change(), 0..5)
        .prop_map(|changes| {
            let mut payload = good();
            for (place, value) in changes {
                let (parent, key) = place.rsplit_once('/').expect("a path");
                let parent = payload.pointer_mut(parent).expect("there");
                match parent {
                    Value::Object(_) => parent[key] = value,
                    _ => unreachable!("all places are members"),
                }
            }
            payload
        })
        .boxed()
}

/// The payload of the fixtures.
pub fn good() -> Value {
    serde_json::from_str(include_str!("../../fixtures/payloads/alloyci.json")).expect("JSON")
}

/// Changes a text somewhere: bytes flipped, cut out, doubled, replaced by others that mean something.
pub fn damaged(text: &[u8], strokes: &[(Index, u8, Index)], tokens: &[&str]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (place, kind, other) in strokes {
        if text.is_empty() {
            break;
        }
        let at = place.index(text.len());
        match kind % 6 {
            0 => text[at] ^= 1 << (kind / 6 % 8),
            1 => text.truncate(at),
            2 => drop(text.drain(at..(at + 1 + other.index(20)).min(text.len()))),
            3 => {
                let part = text[at..(at + 1 + other.index(200)).min(text.len())].to_vec();
                text.splice(at..at, part);
            }
            4 => {
                let token = tokens[other.index(tokens.len())];
                let end = (at + usize::from(kind / 6 % 8)).min(text.len());
                text.splice(at..end, token.bytes());
            }
            _ => text[at] = other.index(256).try_into().expect("a byte"),
        }
    }
    text
}

/// What [`damaged`] is to do.
pub fn strokes() -> BoxedStrategy<Vec<(Index, u8, Index)>> {
    vec(any::<(Index, u8, Index)>(), 1..8).boxed()
}

/// Pieces that mean something to one of the readers.
pub const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "\"",
    ",",
    ":",
    "null",
    "true",
    "-1",
    "1e400",
    "18446744073709551615",
    "184467440737095516150",
    "0.1",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\\",
    "\n",
    "\n- ",
    "\n  ",
    "\t",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!!python/object:os.system ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "? ",
    "# ",
    "[[runners]]\n",
    "[runners.docker]\n",
    "= ",
    "\"\"\"",
    "'''",
    "\u{feff}",
    "\u{202e}",
    "id",
    "\"id\":17,",
    "\"token\":\"x\",",
    "\"steps\":[],",
    "2026-01-01T00:00:00Z",
];
