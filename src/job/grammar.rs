//! The keywords of a job file: what each has to look like, and what GitLab's say that are not among them.

use super::shape::Shape::{self, Flag, List, OneOrMany, Table, Text, TextOr, Variables, Word};

const IMAGE: Shape = TextOr(&Table(&[
    ("name", Text),
    ("alias", OneOrMany(&Text)),
    ("entrypoint", OneOrMany(&Text)),
    ("command", OneOrMany(&Text)),
    ("environment", List(&Text)),
    ("pull_policy", OneOrMany(&Text)),
    ("docker", Table(&[("platform", Text), ("user", Text)])),
]));
const COMMANDS: Shape = OneOrMany(&Text);
const CACHE: Shape = Table(&[
    ("key", Text),
    ("paths", List(&Text)),
    ("untracked", Flag),
    ("policy", Word(&["pull-push", "pull", "push"])),
    ("fallback_keys", List(&Text)),
    ("when", Word(&["on_success", "on_failure", "always"])),
]);
const WHEN: Shape = Word(&["on_success", "on_failure", "always", "manual"]);
const ARTIFACTS: Shape = Table(&[
    ("name", Text),
    ("paths", List(&Text)),
    ("exclude", List(&Text)),
    ("untracked", Flag),
    ("when", WHEN),
    ("expire_in", Text),
]);

/// The stages' names.
pub(super) const STAGES: Shape = List(&Text);

/// The keywords of a job, first those that may stand at the top level too.
pub(super) const KEYWORDS: &[(&str, Shape)] = &[
    ("image", IMAGE),
    ("services", List(&IMAGE)),
    ("variables", Variables),
    ("before_script", COMMANDS),
    ("after_script", COMMANDS),
    ("cache", OneOrMany(&CACHE)),
    ("script", COMMANDS),
    ("stage", Text),
    ("only", OneOrMany(&Text)),
    ("except", OneOrMany(&Text)),
    ("tags", OneOrMany(&Text)),
    ("allow_failure", Flag),
    ("when", WHEN),
    ("dependencies", List(&Text)),
    ("artifacts", ARTIFACTS),
];
/// A job.
pub(super) const JOB: Shape = Table(KEYWORDS);
/// How many of them may stand at the top level.
const GLOBAL: usize = 6;

/// The shape of a keyword that counts for all jobs.
pub(super) fn global(key: &str) -> Option<&'static Shape> {
    let mut global = KEYWORDS[..GLOBAL].iter();
    global
        .find(|(known, _)| *known == key)
        .map(|(_, shape)| shape)
}

/// The names of the keywords that count for all jobs.
pub(super) fn global_names() -> Vec<&'static str> {
    KEYWORDS[..GLOBAL].iter().map(|(key, _)| *key).collect()
}

/// Whether a job may have this keyword.
pub(super) fn is_of_a_job(key: &str) -> bool {
    KEYWORDS.iter().any(|(known, _)| *known == key)
}

/// Keywords that GitLab has and this language has not, and what does the same here; nothing where nothing does.
const GITLABS: &[(&str, &str)] = &[
    (
        "needs",
        "jobs run stage by stage (`stages`, `stage`), and `dependencies` names the jobs whose artifacts it gets",
    ),
    (
        "rules",
        "use `only` and `except` with branches, tags or regular expressions, and `when`",
    ),
    (
        "extends",
        "keywords for all jobs stand at the top level; in YAML, `.base: &base` and `<<: *base` share the others",
    ),
    (
        "default",
        "write its `image`, `services`, `variables`, `before_script`, `after_script` and `cache` at the top level",
    ),
    (
        "parallel",
        "write a job for each; the jobs of a stage run side by side",
    ),
    ("include", "write all jobs into this file"),
    ("workflow", "use `only` and `except` in the jobs"),
    ("pages", "keep the files as `artifacts`"),
    ("retry", "try again in the script"),
    (
        "timeout",
        "use `exec --timeout SECONDS`, or the project's limit on the server",
    ),
    ("trigger", ""),
    ("environment", ""),
    ("coverage", ""),
    ("inherit", ""),
    ("interruptible", ""),
    ("resource_group", ""),
    ("release", ""),
    ("secrets", ""),
    ("id_tokens", ""),
    ("start_in", ""),
    ("hooks", ""),
    ("run", "write the commands as `script`"),
];

/// What to say of a keyword that only GitLab has.
pub(super) fn gitlabs(key: &str) -> Option<String> {
    let (_, instead) = GITLABS.iter().find(|(known, _)| *known == key)?;
    let instead = if instead.is_empty() {
        "take it out"
    } else {
        instead
    };
    Some(format!(
        "`{key}` is a keyword of GitLab's, which AlloyCI's job files do not have: {instead}"
    ))
}

#[cfg(test)]
mod tests {
    use super::{KEYWORDS, gitlabs, is_of_a_job};

    #[test]
    fn every_shape_is_one_that_can_be_read() {
        // As short as can be, each with all keys.
        let all = serde_json::json!({"image": {"name": "a", "alias": "b", "entrypoint": [""], "command": ["c"],
                      "pull_policy": "never", "docker": {"platform": "linux/amd64", "user": "1000"}},
            "services": ["a"], "variables": {"A": 1}, "before_script": "x", "after_script": ["x"],
            "cache": [{"key": "a", "paths": [], "untracked": true, "policy": "pull",
                       "fallback_keys": ["b"], "when": "always"}], "script": "x", "stage": "test",
            "only": "master", "except": ["x"], "tags": ["t"], "allow_failure": true, "when": "manual",
            "dependencies": ["a"],
            "artifacts": {"name": "a", "paths": ["x"], "exclude": ["y"], "untracked": "true", "when": "always", "expire_in": "1 week"}});
        let members = all.as_object().expect("an object");
        assert_eq!(members.len(), KEYWORDS.len());
        assert!(members.keys().all(|key| is_of_a_job(key)));
        serde_json::from_value::<super::super::pipeline::Keywords>(all).expect("keywords");
        assert!(gitlabs("needs").is_some() && gitlabs("script").is_none());
    }
}
