//! The configuration file: magent 0.7's format and keys, and a key for every option.
//!
//! Lines of the form `key = value` in a section `[General]`; `#` begins a comment; empty lines and spaces are free.
//! Servers are lists with commas. A key may be given once.

use super::ConfigError;
use super::options::{DAEMON_MODE, Kind, OPTIONS, Spec};
use super::values::{Source, Values, truth};
use crate::words::Reason;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The only section there is.
const SECTION: &str = "[General]";

/// Adds what the file says to `values`, except for options that the command line has decided.
pub fn read(path: &str, directory: &Path, values: &mut Values) -> Result<(), ConfigError> {
    let bytes =
        fs::read(directory.join(path)).map_err(|error| ConfigError(format!("-c {path}: {}", Reason(&error))))?;
    parse(path, &String::from_utf8_lossy(&bytes), values)
}

fn parse(file: &str, text: &str, values: &mut Values) -> Result<(), ConfigError> {
    values.file = Some(file.to_owned());
    let mut in_section = false;
    let mut seen = HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let complain = |what: String| ConfigError(format!("{file}:{}: {what}", index + 1));
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        if line.starts_with('[') {
            if !line.eq_ignore_ascii_case(SECTION) {
                return Err(complain(format!("{line}: unknown section (only {SECTION} is allowed)")));
            }
            in_section = true;
            continue;
        }
        if !in_section {
            return Err(complain(format!("'{line}' stands before the section {SECTION}")));
        }
        let Some((key, text)) = line.split_once('=') else {
            return Err(complain(format!("'{line}' is not of the form key = value")));
        };
        let (key, text) = (key.trim(), text.trim());
        let Some((option, text)) = option_for(key, text) else {
            return Err(complain(format!("{key}: unknown key (see magent.conf(5))")));
        };
        if !seen.insert(option.name) {
            return Err(complain(format!("{key}: given twice")));
        }
        if text.is_empty() && option.kind != Kind::List {
            return Err(complain(format!("{key}: a value is missing")));
        }
        if values.is_overridden(option.name) {
            continue;
        }
        let source = Source::Line {
            file: file.to_owned(),
            line: index + 1,
            key: key.to_owned(),
        };
        match option.kind {
            Kind::List if text.is_empty() && option.name == "server" => values.no_primaries = Some(source),
            Kind::List => {
                for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
                    values.add(option, item, source.clone());
                }
            }
            _ => values.add(option, text, source),
        }
    }
    Ok(())
}

/// The option that a key stands for, and its value in the option's own sense.
fn option_for<'a>(key: &str, text: &'a str) -> Option<(&'static Spec, &'a str)> {
    if key == DAEMON_MODE {
        let foreground = OPTIONS.iter().find(|option| option.name == "foreground")?;
        // What is neither yes nor no is passed on, to be complained of.
        let contrary = truth(text).map_or(text, |daemon| if daemon { "no" } else { "yes" });
        return Some((foreground, contrary));
    }
    let known = |option: &&Spec| option.name == key || option.old_key == key && !key.is_empty();
    let option = OPTIONS
        .iter()
        .filter(|option| option.kind != Kind::Action)
        .find(known)?;
    Some((option, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Result<Values, ConfigError> {
        let mut values = Values::default();
        parse("m.conf", text, &mut values).map(|()| values)
    }

    #[test]
    fn the_file_of_0_7_is_read_unchanged() {
        let values = read_all(
            "# magent 0.7\n[General]\nmaxidle = 20 # links\nmaxconns=4096\nport = 12000\nuseketama=1\n\
             daemon_mode = 1\nverbose_mode=0\nlogdir = /var/log\nhost_ip = 127.0.0.1\n\
             masters = 10.0.0.1:11211, 10.0.0.2:11211\nbackups=10.0.0.3\n",
        )
        .unwrap();
        let servers: Vec<_> = values.list("server").map(|value| value.text.as_str()).collect();
        assert_eq!(servers, ["10.0.0.1:11211", "10.0.0.2:11211"]);
        assert_eq!(values.number("maxidle", 1, 1, 100), Ok(20));
        assert_eq!(values.flag("ketama"), Ok(true));
        assert_eq!(values.flag("foreground"), Ok(false));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, error) in [
            ("port = 1\n", "m.conf:1: 'port = 1' stands before the section [General]"),
            (
                "\n[Genral]\n",
                "m.conf:2: [Genral]: unknown section (only [General] is allowed)",
            ),
            (
                "[General]\nprot = 1\n",
                "m.conf:2: prot: unknown key (see magent.conf(5))",
            ),
            ("[General]\nport\n", "m.conf:2: 'port' is not of the form key = value"),
            ("[General]\nport = 1\nport = 2\n", "m.conf:3: port: given twice"),
            ("[General]\nmasters = a\nserver = b\n", "m.conf:3: server: given twice"),
            ("[General]\nport =\n", "m.conf:2: port: a value is missing"),
            (
                "[General]\nhelp = 1\n",
                "m.conf:2: help: unknown key (see magent.conf(5))",
            ),
        ] {
            assert_eq!(read_all(text).unwrap_err(), ConfigError(error.to_owned()));
        }
        let values = read_all("[General]\nport = x\nuseketama = maybe\n").unwrap();
        let error = values.number("port", 1, 0, 65535).unwrap_err();
        assert_eq!(error.0, "m.conf:2: port x: not a number from 0 to 65535");
        assert_eq!(
            values.flag("ketama").unwrap_err().0,
            "m.conf:3: useketama maybe: not one of: yes, no, 1, 0"
        );
    }
}
