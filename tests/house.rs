//! The rules of the house that a machine can see: files and functions stay small, `unsafe` lives in one room, and files do
//! not use each other in a circle. What breaks a rule today is listed, and the lists can only shrink: what no longer
//! belongs in one has to be taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 60;

/// Longer than [`FILE_LINES_MAX`].
const LONG_FILES: [&str; 0] = [];
/// Longer than [`FUNCTION_LINES_MAX`]: the file and the function.
const LONG_FUNCTIONS: [&str; 1] = ["protocol/server/question.rs: every_question_has_its_answers_and_no_others"];
/// Files of the proxy that use each other in a circle.
const IN_CIRCLES: [&str; 0] = [];

type Names = BTreeSet<String>;

/// Below src: each file's name, and what is in it.
fn sources() -> BTreeMap<String, String> {
    fn collect(directory: &Path, root: &Path, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, root, into);
            } else {
                let name = path.strip_prefix(root).expect("below it").display().to_string();
                into.insert(name, fs::read_to_string(&path).expect("text"));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    collect(&root, &root, &mut sources);
    assert!(sources.contains_key("proxy/mod.rs"), "{:?}", sources.keys());
    sources
}

/// What breaks a rule is what is listed.
#[track_caller]
fn assert_listed(rule: &str, found: &Names, listed: &[&str]) {
    let listed: Names = listed.iter().map(|&name| name.to_owned()).collect();
    let more: Vec<_> = found.difference(&listed).collect();
    assert!(more.is_empty(), "{rule}: {more:?}");
    let no_more: Vec<_> = listed.difference(found).collect();
    assert!(
        no_more.is_empty(),
        "take these from the list, which only shrinks: {no_more:?}"
    );
}

/// The functions of a file as rustfmt lays them out, and their lengths in lines, from `fn` to the last brace.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let (before, behind) = match code.split_once("fn ") {
            Some(parts) if parts.0.split_whitespace().all(is_qualifier) => parts,
            _ => continue,
        };
        assert!(before.is_empty() || before.ends_with(' '), "{line}");
        let name = behind.split(['(', '<']).next().expect("a name");
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        // One that only says what there is to be, or that fits on its line, has no brace of its own.
        let body = lines[start..]
            .iter()
            .position(|line| line.ends_with(['{', ';', '}']))
            .expect("it ends");
        let length = match lines[start + body].ends_with('{') {
            true => lines[start..].iter().position(|&line| line == end).expect("a brace") + 1,
            false => body + 1,
        };
        functions.push((name, length));
    }
    functions
}

fn is_qualifier(word: &str) -> bool {
    let is_visibility = word.starts_with("pub") || word.ends_with(')');
    is_visibility || ["in", "const", "async", "unsafe", "extern", "\"C\""].contains(&word)
}

#[test]
fn no_file_is_long() {
    let sources = sources();
    let long = sources.iter().filter(|(_, text)| text.lines().count() > FILE_LINES_MAX);
    let long = long.map(|(name, _)| name.clone()).collect();
    assert_listed("files over 500 lines", &long, &LONG_FILES);
}

#[test]
fn no_function_is_long() {
    let sources = sources();
    let mut count = 0;
    let mut long = Names::new();
    for (name, text) in &sources {
        for (function, lines) in functions(text) {
            count += 1;
            if lines > FUNCTION_LINES_MAX {
                long.insert(format!("{name}: {function}"));
            }
        }
    }
    let written: usize = sources.values().map(|text| text.matches("fn ").count()).sum();
    assert!(
        count * 10 > written * 9,
        "only {count} functions were found of some {written}"
    );
    assert_listed("functions over 60 lines", &long, &LONG_FUNCTIONS);
}

#[test]
fn a_function_is_measured_from_its_first_line_to_its_last() {
    let text = "impl A {\n    pub(in crate::proxy) fn one(\n        a: u8,\n    ) -> u8 {\n        if a {\n        }\n    }\n\
                \n    fn two(&self);\n    pub const fn three() {}\n}\n";
    assert_eq!(functions(text), [("one", 6), ("two", 1), ("three", 1)]);
}

#[test]
fn unsafe_code_lives_in_one_room() {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let is_unsafe = |text: &str| text.lines().filter(code).any(|line| line.contains("unsafe"));
    let sources = sources();
    let (inside, outside): (Vec<_>, Vec<_>) = sources
        .iter()
        .filter(|(_, text)| is_unsafe(text))
        .map(|(name, _)| name)
        .partition(|name| name.starts_with("sys/"));
    assert!(!inside.is_empty(), "it is looked for in the wrong way");
    assert!(outside.is_empty(), "{outside:?}");
}

/// The file of a module that a path begins with: `crate::proxy::front::client::Client` is of proxy/front/client.rs.
fn file_of(path: &str, sources: &BTreeMap<String, String>) -> Option<String> {
    let words: Vec<&str> = path.split("::").collect();
    (1..=words.len()).rev().find_map(|count| {
        let module = words[..count].join("/");
        let candidates = [format!("{module}.rs"), format!("{module}/mod.rs")];
        candidates.into_iter().find(|name| sources.contains_key(name))
    })
}

/// Paths that a file's code names, from the crate on; `use` of several things is written out.
fn paths(name: &str, text: &str, sources: &BTreeMap<String, String>) -> Vec<String> {
    let (directory, file) = name.rsplit_once('/').expect("a room");
    let own = directory.replace('/', "::");
    let parent = match file {
        "mod.rs" => own.rsplit_once("::").map_or("", |(parent, _)| parent),
        _ => &own,
    };
    let code = text.split("#[cfg(test)]").next().expect("something");
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut code: String = code.collect::<Vec<_>>().join(" ");
    // What is named from where it stands, by the house's manner, is a module's own or its parent's.
    code = code.replace("super::", &format!("crate::{parent}::"));
    for module in sources
        .keys()
        .filter_map(|other| other.strip_prefix(directory)?.strip_prefix('/'))
    {
        let module = module.split(['/', '.']).next().expect("a name");
        code = code.replace(&format!("use {module}::"), &format!("use crate::{own}::{module}::"));
    }
    let mut paths = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        let (path, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let path = path.trim_end_matches(':');
        paths.push(path.to_owned());
        if let Some(list) = behind.strip_prefix('{').and_then(|list| list.split('}').next()) {
            paths.extend(list.split(',').map(|one| format!("{path}::{}", one.trim())));
        }
    }
    paths
}

/// Files that can be reached from themselves.
fn in_circles(uses: &BTreeMap<String, Names>) -> Names {
    let reached = |start: &String| {
        let mut seen = Names::new();
        let mut next: Vec<&String> = uses[start].iter().collect();
        while let Some(name) = next.pop() {
            if seen.insert(name.clone()) {
                next.extend(&uses[name]);
            }
        }
        seen
    };
    uses.keys()
        .filter(|name| reached(name).contains(*name))
        .cloned()
        .collect()
}

/// What a method of another file does on the same object is not seen: only what a file names.
#[test]
fn files_of_the_proxy_do_not_use_each_other_in_a_circle() {
    let sources = sources();
    let mut uses = BTreeMap::new();
    for (name, text) in sources.iter().filter(|(name, _)| name.starts_with("proxy/")) {
        let mut used: Names = paths(name, text, &sources)
            .iter()
            .filter_map(|path| file_of(path, &sources))
            .collect();
        used.retain(|other| other != name && other.starts_with("proxy/"));
        uses.insert(name.clone(), used);
    }
    assert!(
        uses["proxy/settings.rs"].contains("proxy/limits.rs"),
        "{:?}",
        uses["proxy/settings.rs"]
    );
    assert_listed("files in a circle", &in_circles(&uses), &IN_CIRCLES);
}

#[test]
fn a_circle_is_found() {
    let uses = |pairs: &[(&str, &[&str])]| -> BTreeMap<String, Names> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        pairs
            .iter()
            .map(|&(name, used)| (name.to_owned(), owned(used)))
            .collect()
    };
    let found = in_circles(&uses(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &["a"])]));
    assert_eq!(found, Names::from(["b".to_owned(), "c".to_owned()]));
}

/// What the pieces of a patch replace, by file.
fn replaced(patch: &str) -> Vec<(String, String)> {
    let mut pieces = Vec::new();
    let mut file = "";
    for line in patch.lines() {
        if let Some(name) = line.strip_prefix("--- a/") {
            file = name;
        } else if line.starts_with("@@ ") {
            pieces.push((file.to_owned(), String::new()));
        } else if let (Some((_, old)), false) = (pieces.last_mut(), line.starts_with('+')) {
            old.push_str(line.get(1..).unwrap_or_default());
            old.push('\n');
        }
    }
    pieces
}

/// The faults that the simulator has to find are put in by hand once in a while: nobody else would notice that one has no place any more.
#[test]
fn planted_faults_have_their_places() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let planted = root.join("tests/simulator/planted");
    let table = fs::read_to_string(planted.join("README.md")).expect("a table of them");
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    for name in rows.skip(2) {
        assert!(planted.join(format!("{name}.patch")).is_file(), "there is no {name}");
    }
    let mut count = 0;
    for entry in fs::read_dir(planted).expect("a directory").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let pieces = replaced(&fs::read_to_string(&path).expect("text"));
        assert!(!pieces.is_empty(), "{path:?} changes nothing");
        for (file, old) in pieces {
            let source = fs::read_to_string(root.join(&file)).expect("text");
            assert!(source.contains(&old), "{path:?} does not apply to {file}:\n{old}");
        }
        count += 1;
    }
    assert!(count > 50, "{count}");
}
