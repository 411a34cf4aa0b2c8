//! Which file of `src` uses which, read from the paths in its code: `use` lists, and paths in expressions and types.
//! What a method call leads to is not seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use regex_lite::Regex;

/// A module of the crate, as the names that lead to it.
type Module = Vec<String>;

/// Files by their names below `src`, with the files that each uses.
pub type Uses = BTreeMap<String, BTreeSet<String>>;

/// A path in the code of a file.
struct Mention {
    /// It is passed on to others (`pub use`), which is no use by itself.
    is_reexport: bool,
    names: Vec<String>,
}

/// The code of a file without what is no code of the program: its unit tests, comments and literals.
pub fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests");
    let text = &text[..end.unwrap_or(text.len())];
    let other = r##"r#"(?s:.*?)"#|"(?:\\(?s:.)|[^"\\])*"|'(?:\\[^']+|[^\\'])'|//[^\n]*"##;
    let other = Regex::new(other).expect("a pattern");
    other.replace_all(text, "\"\"").into_owned()
}

/// The module that a file defines; `None` for the two that only begin a program.
fn module(file: &str) -> Option<Module> {
    let path = file.strip_suffix(".rs")?;
    if ["lib", "main"].contains(&path) {
        return None;
    }
    let path = path.strip_suffix("/mod").unwrap_or(path);
    Some(path.split('/').map(str::to_owned).collect())
}

/// The paths that a `use` lists: `a::{b, c::{self, d}}` are `a::b`, `a::c` and `a::c::d`.
fn listed(tree: &str) -> Vec<String> {
    let Some((begin, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        return vec![path.strip_suffix("::self").unwrap_or(path).to_owned()];
    };
    let inside = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let mut depth = 0;
    let parts = inside.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    let parts = parts.map(str::trim).filter(|part| !part.is_empty());
    let paths = parts.flat_map(|part| listed(&format!("{}{part}", begin.trim())));
    paths.collect()
}

fn mentions(code: &str) -> Vec<Mention> {
    let uses = Regex::new(r"(pub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);").expect("a pattern");
    let path = Regex::new(r"\b(?:\w+::)+\w+").expect("a pattern");
    let mention = |is_reexport, path: &str| Mention {
        is_reexport,
        names: path
            .split("::")
            .map(|name| name.trim().to_owned())
            .collect(),
    };
    let mut found = Vec::new();
    for list in uses.captures_iter(code) {
        let tree = list[2].split_whitespace().collect::<Vec<_>>().join(" ");
        let paths = listed(&tree);
        found.extend(
            paths
                .iter()
                .map(|path| mention(list.get(1).is_some(), path)),
        );
    }
    let rest = uses.replace_all(code, "");
    found.extend(
        path.find_iter(&rest)
            .map(|path| mention(false, path.as_str())),
    );
    found
}

/// Where a path of a file in `module` begins from the top of the crate, if it is one of the crate's.
fn absolute(module: &Module, names: &[String], modules: &BTreeMap<Module, &str>) -> Option<Module> {
    let (first, rest) = names.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let up = names.iter().take_while(|name| *name == "super").count();
            let kept = module.len().checked_sub(up)?;
            Some([&module[..kept], &names[up..]].concat())
        }
        _ => {
            let child = [&module[..], &names[..1]].concat();
            modules
                .contains_key(&child)
                .then(|| [&module[..], names].concat())
        }
    }
}

/// Whether a file below `src` has unit tests and nothing else.
pub fn is_test(file: &str) -> bool {
    file == "tests.rs" || file.ends_with("/tests.rs")
}

/// Which files use which.
pub fn uses(files: &[(String, String)]) -> Uses {
    let files = files.iter().filter(|(file, _)| !is_test(file));
    let known: Vec<(Module, &str, Vec<Mention>)> = files
        .filter_map(|(file, text)| Some((module(file)?, file.as_str(), mentions(&code(text)))))
        .collect();
    let modules: BTreeMap<Module, &str> = known
        .iter()
        .map(|(module, file, _)| (module.clone(), *file))
        .collect();
    let mut reexports: BTreeMap<Module, Module> = BTreeMap::new();
    for (module, _, mentions) in &known {
        for mention in mentions.iter().filter(|mention| mention.is_reexport) {
            let path = absolute(module, &mention.names, &modules);
            if let (Some(path), Some(name)) = (path, mention.names.last()) {
                reexports.insert([&module[..], std::slice::from_ref(name)].concat(), path);
            }
        }
    }
    let mut all = Uses::new();
    for (module, file, mentions) in &known {
        let used = mentions
            .iter()
            .filter(|mention| !mention.is_reexport)
            .filter_map(|mention| absolute(module, &mention.names, &modules))
            .filter_map(|path| defining(path, &modules, &reexports))
            .filter(|used| used != file);
        all.insert((*file).to_owned(), used.map(str::to_owned).collect());
    }
    all
}

/// The file that defines what a path leads to, through what modules pass on.
fn defining<'a>(
    path: Module,
    modules: &BTreeMap<Module, &'a str>,
    reexports: &BTreeMap<Module, Module>,
) -> Option<&'a str> {
    let mut path = path;
    for _ in 0..8 {
        let length = (1..=path.len())
            .rev()
            .find(|length| modules.contains_key(&path[..*length]))?;
        let item = path.get(..=length);
        match item.and_then(|item| reexports.get(item)) {
            Some(to) => path = [&to[..], &path[length + 1..]].concat(),
            None => return modules.get(&path[..length]).copied(),
        }
    }
    None
}

/// The shortest way from a file back to itself, with that file at both ends.
pub fn circle(uses: &Uses) -> Option<Vec<String>> {
    let circles = uses.keys().filter_map(|start| {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut open = VecDeque::from([start.as_str()]);
        while let Some(file) = open.pop_front() {
            for used in uses.get(file).into_iter().flatten() {
                if used == start {
                    let mut way = vec![start.clone(), file.to_owned()];
                    let mut at = file;
                    while let Some(previous) = before.get(at) {
                        way.push((*previous).to_owned());
                        at = previous;
                    }
                    way.reverse();
                    return Some(way);
                }
                if !before.contains_key(used.as_str()) {
                    before.insert(used, file);
                    open.push_back(used);
                }
            }
        }
        None
    });
    circles.min_by_key(Vec::len)
}

#[test]
fn a_circle_is_seen_however_it_is_written() {
    let found = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        let files: Vec<_> = files.collect();
        circle(&uses(&files)).map(|way| way.join(" -> "))
    };
    let list = "use crate::x::{self, b::{B, C}};";
    for to_a in [
        "use super::a::A;",
        "use crate::a::A;",
        "fn f() -> super::a::A {}",
        "use crate::{a as other, c};",
        "use crate::passes_on::A;",
    ] {
        let files = [
            ("a.rs", "use crate::b;"),
            ("b.rs", to_a),
            ("c.rs", ""),
            ("passes_on.rs", "pub use crate::a::A;"),
        ];
        assert_eq!(
            found(&files).as_deref(),
            Some("a.rs -> b.rs -> a.rs"),
            "{to_a}"
        );
    }
    let child = [
        ("x/mod.rs", "mod b; use b::B; struct S;"),
        ("x/b.rs", "use super::S;"),
    ];
    assert_eq!(
        found(&child).as_deref(),
        Some("x/b.rs -> x/mod.rs -> x/b.rs")
    );
    for no_circle in [
        "// use super::a::A;",
        "const TEXT: &str = \"super::a::A\";",
        "#[cfg(test)]\nmod tests { use super::a::A; }",
    ] {
        let files = [("a.rs", "use crate::b::B;"), ("b.rs", no_circle)];
        assert_eq!(found(&files), None, "{no_circle}");
    }
    assert_eq!(
        listed(&list["use ".len()..list.len() - 1]),
        ["crate::x", "crate::x::b::B", "crate::x::b::C"]
    );
}
