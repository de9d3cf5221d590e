//! The documents tell of all that there is, and of nothing else: options, keys, signals, statistics and lines of the log
//! are in the manuals of both languages; options in the help and in the READMEs; keys in the sample configuration; files of
//! the proxy in its map.

mod common;

use common::{Magent, scratch};
use magent::config::{Kind, OPTIONS, USAGE};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Each manual in English and in Chinese.
const COMMAND: [&str; 2] = ["man/magent.8", "man/zh_CN/man8/magent.8"];
const FILE: [&str; 2] = ["man/magent.conf.5", "man/zh_CN/man5/magent.conf.5"];
const GUIDE: [&str; 2] = ["man/magent-guide.7", "man/zh_CN/man7/magent-guide.7"];
/// What fits into a page that one looks something up in.
const COMMAND_LINES_MAX: usize = 500;
const READMES: [&str; 2] = ["README.md", "README.zh-CN.md"];
const SAMPLE: &str = "packaging/magent.conf";

/// Where nobody listens.
const NOBODY_THERE: &str = "127.0.0.1:1";

type Names = BTreeSet<String>;

fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Names {
    words.into_iter().map(Into::into).collect()
}

#[track_caller]
fn assert_documented(document: &str, documented: &Names, existing: &Names) {
    let missing: Vec<_> = existing.difference(documented).collect();
    let stale: Vec<_> = documented.difference(existing).collect();
    assert!(missing.is_empty(), "{document} does not tell of {missing:?}");
    assert!(stale.is_empty(), "{document} tells of {stale:?}, which do not exist");
}

// ---- what there is ----

/// Options as mdoc writes them behind `Fl`: `s`, `-server`.
fn options() -> Names {
    let long = OPTIONS.iter().map(|option| format!("-{}", option.name));
    let short = OPTIONS.iter().map(|option| option.short.to_owned());
    long.chain(short.filter(|letter| !letter.is_empty())).collect()
}

/// The keys of the configuration file, those of magent 0.7 included.
fn keys() -> Names {
    let options = OPTIONS.iter().filter(|option| option.kind != Kind::Action);
    let mut keys = names(options.flat_map(|option| [option.name, option.old_key]));
    keys.remove("");
    keys.insert(constant("src/config/options.rs", "DAEMON_MODE"));
    keys
}

/// The value of a string constant.
fn constant(file: &str, name: &str) -> String {
    let text = read(file);
    let value = text
        .split_once(&format!("const {name}: &str = \""))
        .map(|(_, rest)| rest);
    let value = value.and_then(|rest| rest.split_once('"'));
    value.unwrap_or_else(|| panic!("{file} has no {name}")).0.to_owned()
}

fn signals() -> Names {
    let text = read("src/sys/signals.rs");
    let named = text.split("libc::SIG").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let name = &rest[..end];
        // SIG_IGN and SIG_BLOCK are no signals.
        (!name.starts_with('_')).then(|| format!("SIG{name}"))
    });
    named.collect()
}

/// The names of all statistics, from the running program.
fn statistics() -> Names {
    let magent = Magent::start(&["-s", NOBODY_THERE]);
    let mut statistics = Names::new();
    magent.ask("get a-key\r\n");
    for topic in ["", " servers", " latency", " hot", " conns", " settings"] {
        let request = format!("stats{topic}\r\n");
        let reply = String::from_utf8(magent.ask(&request).0).expect("text");
        let before = statistics.len();
        for line in reply.lines().filter_map(|line| line.strip_prefix("STAT ")) {
            let name = line.split(' ').next().expect("a name");
            // A server's name stands in front.
            statistics.insert(name.rsplit(':').next().expect("a name").to_owned());
        }
        assert!(statistics.len() > before, "{request:?} is answered {reply:?}");
    }
    statistics
}

/// The program's own text, without its unit tests.
fn sources() -> Vec<String> {
    fn collect(directory: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, into);
            } else {
                let text = fs::read_to_string(&path).expect("text");
                into.push(text.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
            }
        }
    }
    let mut sources = Vec::new();
    collect(Path::new(&path("src")), &mut sources);
    sources
}

/// The lines that are logged where they are written, as pieces between what differs.
fn log_lines() -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for source in sources() {
        let levels = source.match_indices("Level::").map(|(at, word)| at + word.len());
        let priorities = source.match_indices("libc::LOG_").map(|(at, word)| at + word.len());
        for at in levels.chain(priorities) {
            let behind = source[at..].trim_start_matches(|c: char| c.is_ascii_alphabetic());
            let arguments = behind.strip_prefix(',').map(str::trim_start);
            let literal = arguments
                .and_then(|text| text.strip_prefix("format_args!("))
                .and_then(|text| text.trim_start().strip_prefix('"'))
                .and_then(|text| text.split('"').next());
            let Some(literal) = literal else {
                continue;
            };
            let pieces: Vec<String> = literal
                .split('{')
                .map(|piece| piece.split_once('}').map_or(piece, |(_, fixed)| fixed).to_owned())
                .collect();
            // A line that was made elsewhere is written as it is.
            if pieces.iter().any(|piece| !piece.is_empty()) {
                lines.push(pieces);
            }
        }
    }
    lines
}

// ---- what the manuals say ----

/// The words behind each macro of a line of mdoc, with the macro: `.It Fl s , Fl -server Ns = Ns Ar server` is Fl s,
/// Fl -server, Ar server.
fn marked(line: &str) -> Vec<(&str, &str)> {
    let mut current = "";
    let mut words = Vec::new();
    for word in line.trim_start_matches('.').split_whitespace() {
        match word {
            "Ns" => current = "",
            "It" | "Fl" | "Va" | "Cm" | "Dv" | "Ev" | "Ar" | "Op" | "Pq" | "Pa" | "Ql" | "Sx" | "Pf" | "Xr" | "No" => {
                current = word;
            }
            _ if word.chars().all(|c| ",.;:|()".contains(c)) => {}
            _ => words.push((current, word)),
        }
    }
    words
}

fn macro_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.starts_with('.') && !line.starts_with(".\\\""))
}

/// All manuals in English, and all in Chinese.
fn manuals_by_language() -> [[&'static str; 3]; 2] {
    [0, 1].map(|language| [COMMAND[language], FILE[language], GUIDE[language]])
}

/// What a part of a manual explains, as items of its lists, of one kind.
fn items(text: &str, kind: &str) -> Names {
    let lines = macro_lines(text).filter(|line| line.starts_with(".It "));
    let words = lines.flat_map(marked).filter(|(mark, _)| *mark == kind);
    words.map(|(_, word)| word.to_owned()).collect()
}

/// What a manual mentions anywhere, of one kind.
fn mentions(text: &str, kind: &str) -> Names {
    let words = macro_lines(text).flat_map(marked).filter(|(mark, _)| *mark == kind);
    // `.Fl -port= Ns Ar 12000` is the option with a value.
    words.map(|(_, word)| word.trim_end_matches('=').to_owned()).collect()
}

/// What stands behind each `mark` of a manual, up to the next macro or what closes the line.
fn references(text: &str, mark: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in macro_lines(text) {
        let mut words = line.trim_start_matches('.').split(' ').peekable();
        while let Some(word) = words.next() {
            if word != mark {
                continue;
            }
            let mut name = Vec::new();
            while let Some(word) =
                words.next_if(|word| !["No", "Ns", "Xr", "Sx", "Em", "Pc", ".", ",", ";", ")"].contains(word))
            {
                name.push(word.trim_start_matches("\\&"));
            }
            names.push(name.join(" "));
        }
    }
    names
}

fn sections(text: &str) -> Names {
    let headings = macro_lines(text).filter_map(|line| line.strip_prefix(".Sh ").or(line.strip_prefix(".Ss ")));
    names(headings.map(|name| name.trim_start_matches("\\&")))
}

/// The section of a manual with this line in it.
fn section_with<'a>(text: &'a str, line: &str) -> &'a str {
    let mut sections = text.split("\n.Sh ");
    let found = sections.find(|section| section.lines().any(|other| other.starts_with(line)));
    found.unwrap_or_else(|| panic!("no section has {line}"))
}

// ---- the promises ----

#[test]
fn every_option_is_in_the_manuals() {
    for page in COMMAND {
        let text = read(page);
        let explained = section_with(&text, ".It Fl s ,");
        assert_documented(page, &items(explained, "Fl"), &options());
        assert_documented(page, &mentions(&text, "Fl"), &options());
    }
    for page in [FILE, GUIDE].concat() {
        let stale: Vec<_> = mentions(&read(page), "Fl").difference(&options()).cloned().collect();
        assert!(stale.is_empty(), "{page} tells of {stale:?}, which do not exist");
    }
}

#[test]
fn every_key_is_in_the_manuals() {
    for page in FILE {
        let text = read(page);
        assert_documented(page, &items(&text, "Va"), &keys());
        assert_documented(page, &mentions(&text, "Va"), &keys());
    }
}

#[test]
fn every_statistic_is_in_the_manuals() {
    let existing = statistics();
    for pages in manuals_by_language() {
        let texts = pages.map(|page| (page, read(page))).into_iter();
        let mut explaining = texts.filter(|(_, text)| text.contains("\n.Ss stats servers\n"));
        let (page, text) = explaining.next().expect("a manual with the statistics");
        assert!(explaining.next().is_none(), "statistics are explained twice");
        let explained = section_with(&text, ".Ss stats servers");
        assert_documented(page, &items(explained, "Va"), &existing);
    }
}

#[test]
fn every_signal_and_variable_is_in_the_manuals() {
    assert!(signals().contains("SIGHUP"), "{:?}", signals());
    let sources = sources();
    let variables = sources.iter().flat_map(|source| source.split("env::var").skip(1));
    let variables = variables.filter_map(|rest| rest.strip_prefix("_os").unwrap_or(rest).strip_prefix("(\""));
    let variables = names(variables.filter_map(|rest| rest.split('"').next()));
    for page in COMMAND {
        let text = read(page);
        assert_documented(page, &items(&text, "Dv"), &signals());
        assert_documented(page, &items(&text, "Ev"), &variables);
    }
}

#[test]
fn every_line_of_the_log_is_in_the_manuals() {
    let lines = log_lines();
    assert!(lines.len() >= 15, "only {lines:?} were found in the program");
    for pages in manuals_by_language() {
        let text = pages.map(read).concat();
        let explained: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(".It \"")).collect();
        for pieces in &lines {
            let fits = |item: &&str| {
                let mut rest = item.trim_end_matches('"');
                let starts = rest.starts_with(pieces[0].as_str());
                starts
                    && pieces.iter().all(|piece| match rest.split_once(piece.as_str()) {
                        Some((_, behind)) => {
                            rest = behind;
                            true
                        }
                        None => false,
                    })
            };
            assert!(explained.iter().any(fits), "none of {pages:?} tells of {pieces:?}");
        }
    }
}

/// What a manual is made of, in its order and without what is in one language: sections, items and examples.
fn skeleton(text: &str) -> Vec<String> {
    let kinds = ["Fl", "Va", "Cm", "Dv", "Ev"];
    let bone = |line: &str| match line.get(..4)? {
        // Lines of the log are quoted, and the same in every language; so are the names of files. The synopsis is a list in
        // one language only.
        ".It " => match line.strip_prefix(".It \"") {
            Some(_) => Some(line.to_owned()),
            None if line.starts_with(".It Pa ") => Some(line.replace(" Ns 。", "")),
            None if line == ".It Nm" => None,
            None => {
                let words = marked(line).into_iter().filter(|(kind, _)| kinds.contains(kind));
                Some(words.fold(".It".to_owned(), |bone, (kind, word)| format!("{bone} {kind} {word}")))
            }
        },
        part @ (".Sh " | ".Ss " | ".Bd ") => Some(part.to_owned()),
        _ => None,
    };
    macro_lines(text).filter_map(bone).collect()
}

#[test]
fn both_languages_tell_of_the_same_in_the_same_order() {
    for [english, chinese] in [COMMAND, FILE, GUIDE] {
        let text = read(chinese);
        let (one, other) = (skeleton(&read(english)), skeleton(&text));
        let differs = one.iter().zip(&other).position(|(one, other)| one != other);
        let at = differs.unwrap_or(one.len().min(other.len()));
        let around = |bones: &[String]| bones[at.saturating_sub(5)..bones.len().min(at + 3)].join("\n");
        assert!(
            one == other,
            "{english} has\n{}\nwhere {chinese} has\n{}",
            around(&one),
            around(&other)
        );
        assert!(text.contains("服务器"), "{chinese} is not in Chinese");
    }
}

#[test]
fn the_manual_of_the_command_stays_short() {
    for page in COMMAND {
        let lines = read(page).lines().count();
        assert!(
            lines <= COMMAND_LINES_MAX,
            "{page} has {lines} lines: move what is no option, signal or file to {}",
            GUIDE[0]
        );
    }
}

#[test]
fn references_among_the_manuals_lead_somewhere() {
    for pages in manuals_by_language() {
        let [_, _, guide] = pages;
        for page in pages {
            let text = read(page);
            let own = sections(&text);
            let stale: Vec<_> = references(&text, "Sx")
                .into_iter()
                .filter(|name| !own.contains(name))
                .collect();
            assert!(stale.is_empty(), "{page} refers to {stale:?}, and has no such sections");
            // Elsewhere emphasis is for sections of the guide only.
            if page != guide {
                let there = sections(&read(guide));
                let named = references(&text, "Em");
                assert!(!named.is_empty(), "{page} leads to no section of {guide}");
                let stale: Vec<_> = named.into_iter().filter(|name| !there.contains(name)).collect();
                assert!(stale.is_empty(), "{page} refers to {stale:?}, which {guide} has not");
                assert!(text.contains(".Xr magent-guide 7"), "{page} does not name {guide}");
            }
        }
    }
}

#[test]
fn every_manual_is_installed_and_packaged() {
    for [english, chinese] in [COMMAND, FILE, GUIDE] {
        let name = english.strip_prefix("man/").expect("a page");
        let installed = [
            format!("man{}/{name}", &name[name.len() - 1..]),
            chinese["man/".len()..].to_owned(),
        ];
        let (makefile, spec) = (read("Makefile"), read("packaging/rpm/magent.spec"));
        for page in installed {
            assert!(
                makefile.split_whitespace().any(|word| word == page),
                "Makefile: no {page}"
            );
            assert!(
                spec.contains(&format!("%{{_mandir}}/{page}*")),
                "magent.spec: no {page}"
            );
        }
    }
}

/// The table at the top of src/proxy/mod.rs.
#[test]
fn the_map_of_the_proxy_names_every_file_and_no_other() {
    let map = read("src/proxy/mod.rs");
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! |"));
    let named = names(rows.flat_map(|row| row.split('`').skip(1).step_by(2)));
    let list = |room: &Path| fs::read_dir(room).expect("a directory").flatten();
    let rooms = list(Path::new(&path("src/proxy"))).filter(|file| file.path().is_dir());
    let files = rooms
        .flat_map(|room| list(&room.path()))
        .chain(list(Path::new(&path("src/proxy"))));
    let files = files.filter_map(|file| Some(file.file_name().to_str()?.trim_end_matches(".rs").to_owned()));
    let mut existing = names(files);
    existing.remove("mod");
    assert!(
        existing.contains("client") && existing.contains("front"),
        "{existing:?}"
    );
    assert_documented("src/proxy/mod.rs", &named, &existing);
}

#[test]
fn the_manuals_are_well_formed() {
    let pages = manuals_by_language().concat();
    let output = Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(pages.into_iter().map(path))
        .output()
        .expect("mandoc, which `make deps` installs");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        said.is_empty() && output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn the_help_tells_of_every_option_in_80_columns() {
    let help = USAGE;
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    // Only a line that explains an option begins with it.
    let shown = help
        .lines()
        .filter(|line| line.starts_with("  -") || line.starts_with("      --"));
    let shown = shown.flat_map(|line| line.split_whitespace().take_while(|word| word.starts_with('-')));
    let shown = shown.map(|word| {
        let option = word.split('=').next().unwrap_or(word).trim_end_matches(',');
        option.strip_prefix('-').unwrap_or(option).to_owned()
    });
    assert_documented("the help", &shown.collect(), &options());
}

#[test]
fn the_readmes_tell_of_every_option_and_of_the_same() {
    let [english, chinese] = READMES.map(read);
    for (readme, text) in [(READMES[0], &english), (READMES[1], &chinese)] {
        for option in &OPTIONS {
            let long = format!("--{}", option.name);
            let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            assert!(words.any(|word| word == long), "{readme} does not tell of {long}");
            let short = format!("`-{}`", option.short);
            assert!(
                option.short.is_empty() || text.contains(&short),
                "{readme} does not tell of {short}"
            );
        }
    }
    // Commands are the same in every language, what is said of them is not.
    let commands = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("    "));
        let commands = lines.map(|line| line.split(" # ").next().unwrap_or(line).trim_end().to_owned());
        commands.collect()
    };
    assert_eq!(
        commands(&english),
        commands(&chinese),
        "the commands of the two READMEs"
    );
    let levels = |text: &str| -> Vec<usize> {
        let headings = text.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| line.chars().take_while(|&c| c == '#').count())
            .collect()
    };
    assert_eq!(levels(&english), levels(&chinese), "the headings of the two READMEs");
}

/// The settings in the sample configuration, those that are commented out included: key and value.
fn sample_settings(text: &str) -> Vec<(&str, &str)> {
    let settings = text.lines().filter_map(|line| {
        let (key, value) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")?;
        let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '_');
        (is_key && !key.is_empty()).then_some((key, value))
    });
    settings.collect()
}

#[test]
fn every_key_is_in_the_sample_configuration() {
    let text = read(SAMPLE);
    let set = names(sample_settings(&text).iter().map(|(key, _)| *key));
    let options = OPTIONS.iter().filter(|option| option.kind != Kind::Action);
    assert_documented(SAMPLE, &set, &names(options.map(|option| option.name)));
    // Those of magent 0.7 are mentioned.
    let mut words = names(text.split(|c: char| !c.is_ascii_lowercase() && c != '-' && c != '_'));
    words.retain(|word| keys().contains(word));
    assert_documented(SAMPLE, &words, &keys());
}

#[test]
fn the_sample_configuration_is_accepted() {
    let text = read(SAMPLE);
    // With all that is commented out as well. Anybody may remain who he is, and /tmp is everywhere.
    let own = fs::metadata("/proc/self").expect("/proc");
    let mut all = String::from("[General]\n");
    for (key, value) in sample_settings(&text) {
        let value = match key {
            "user" => own.uid().to_string(),
            "group" => own.gid().to_string(),
            "logdir" | "state-dir" => "/tmp".to_owned(),
            _ => value.to_owned(),
        };
        all += &format!("{key} = {value}\n");
    }
    let files = scratch();
    for (name, text) in [("as-it-is", &text), ("all", &all)] {
        let file = files.path(name);
        fs::write(&file, text).expect("a file");
        let output = Command::new(Magent::program()).args(["-t", "-c", &file]).output();
        let output = output.expect("magent");
        let said = [output.stdout, output.stderr].concat();
        assert_eq!(
            String::from_utf8_lossy(&said),
            "magent: the configuration is ok\n",
            "{name}"
        );
        assert!(output.status.success());
    }
}
