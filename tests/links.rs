//! What the documents point to is there: manuals that they refer to, files that they link to or name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Manuals of others that ours refer to, and the package of Debian's that has each.
const OF_OTHERS: [(&str, &str); 16] = [
    ("haproxy 1", "haproxy"),
    ("journalctl 1", "systemd"),
    ("keepalived 8", "keepalived"),
    ("keepalived.conf 5", "keepalived"),
    ("logrotate 8", "logrotate"),
    ("memcached 1", "memcached"),
    ("nc 1", "netcat-openbsd"),
    ("sd_notify 3", "libsystemd-dev"),
    ("signal 7", "manpages"),
    ("syslog 3", "manpages-dev"),
    ("systemctl 1", "systemd"),
    ("systemd.exec 5", "systemd"),
    ("systemd.unit 5", "systemd"),
    ("tcp 7", "manpages"),
    ("top 1", "procps"),
    ("unix 7", "manpages"),
];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a directory, or the file itself.
fn files(path: &Path) -> Vec<PathBuf> {
    match path.is_dir() {
        false => vec![path.to_owned()],
        true => {
            let entries = fs::read_dir(path).expect("a directory").flatten();
            entries.flat_map(|entry| files(&entry.path())).collect()
        }
    }
}

/// Every manual, as `magent.conf 5`, and every page that one refers to.
fn manuals() -> (BTreeSet<String>, Vec<(PathBuf, String)>) {
    let (mut ours, mut references) = (BTreeSet::new(), Vec::new());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|section| section.len() == 1);
    for page in files(&top().join("man")).into_iter().filter(is_page) {
        let name = page.file_name().expect("a name").to_string_lossy().into_owned();
        ours.insert(
            name.rsplit_once('.')
                .map_or(name.clone(), |(name, section)| format!("{name} {section}")),
        );
        let text = read(&page);
        for line in text.lines().filter(|line| line.starts_with('.')) {
            let words: Vec<&str> = line.trim_start_matches('.').split_whitespace().collect();
            for at in words
                .iter()
                .enumerate()
                .filter(|(_, word)| **word == "Xr")
                .map(|(at, _)| at)
            {
                let named = words.get(at + 1).zip(words.get(at + 2)).expect("a name and a section");
                references.push((page.clone(), format!("{} {}", named.0, named.1)));
            }
        }
    }
    (ours, references)
}

#[test]
fn every_manual_that_is_referred_to_exists() {
    let (ours, references) = manuals();
    assert!(
        ours.contains("magent 8") && references.len() > 10,
        "{ours:?} {references:?}"
    );
    for (page, reference) in &references {
        let is_others = OF_OTHERS.iter().any(|(name, _)| name == reference);
        let page = page.display();
        assert!(
            ours.contains(reference) || is_others,
            "{page} refers to {reference}, which is neither in man/ nor in OF_OTHERS"
        );
    }
}

/// The targets of a Markdown text's links, without what stands behind a #.
fn links(text: &str) -> Vec<&str> {
    let behind = text.split("](").skip(1);
    behind.filter_map(|rest| Some(rest.split_once(')')?.0)).collect()
}

/// What stands in backticks and looks like a file of the tree.
fn named_files(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| {
        ["src/", "tests/", "packaging/", "man/", ".ci/"]
            .iter()
            .any(|room| word.starts_with(room))
            && !word.contains(['*', ' ', '<', '{'])
    };
    quoted.filter(is_path).collect()
}

#[test]
fn every_file_that_a_document_links_to_or_names_exists() {
    let mut count = 0;
    let mut documents: Vec<PathBuf> = files(&top().join("tests"));
    documents.extend(files(&top().join("packaging")));
    documents.extend(
        fs::read_dir(top())
            .expect("a directory")
            .flatten()
            .map(|entry| entry.path()),
    );
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    assert!(
        documents.iter().any(|path| path.ends_with("README.md")),
        "{documents:?}"
    );
    for document in documents {
        // What has been is told of by its name then.
        let is_history = document.ends_with("CHANGELOG.md");
        let text = read(&document);
        for link in links(&text) {
            count += 1;
            let target = link.split('#').next().expect("something");
            let is_elsewhere = link.contains("://");
            assert!(
                !is_elsewhere || link.starts_with("https://"),
                "{}: {link}",
                document.display()
            );
            let file = document.parent().expect("a directory").join(target);
            assert!(
                is_elsewhere || file.exists(),
                "{}: {link} is not there",
                document.display()
            );
        }
        for file in named_files(&text).into_iter().filter(|_| !is_history) {
            count += 1;
            assert!(top().join(file).exists(), "{}: {file} is not there", document.display());
        }
    }
    assert!(count > 20, "only {count} were found");
}

#[test]
fn links_and_files_are_found_in_a_text() {
    let text = "see [a](b.md#c), `tests/check`, `src/*.rs`, `make x`, and [d](https://e)";
    assert_eq!(links(text), ["b.md#c", "https://e"]);
    assert_eq!(named_files(text), ["tests/check"]);
}
