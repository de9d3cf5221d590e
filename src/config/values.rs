//! What was said for each option, and where, until it is understood.

use super::ConfigError;
use super::options::Spec;
use crate::words::Size;
use std::fmt;

/// Where a value comes from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The option as shown, `-s` or `--timeout`.
    Option(String),
    Line {
        file: String,
        line: usize,
        key: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Option(shown) => write!(f, "{shown}"),
            Source::Line { file, line, key } => write!(f, "{file}:{line}: {key}"),
        }
    }
}

/// One value, as text.
#[derive(Clone, Debug)]
pub struct Value {
    name: &'static str,
    pub text: String,
    pub source: Source,
}

impl Value {
    /// A complaint about this value: where it stands, what it is, what is wrong with it.
    pub fn error(&self, why: impl fmt::Display) -> ConfigError {
        match self.text.as_str() {
            "" => ConfigError(format!("{}: {why}", self.source)),
            text => ConfigError(format!("{} {text}: {why}", self.source)),
        }
    }
}

/// All values. What the command line says of an option takes the place of what the file says of it.
#[derive(Debug, Default)]
pub struct Values {
    said: Vec<Value>,
    /// The configuration file, if there is one, and where in it the list of primaries stands if that is empty.
    pub file: Option<String>,
    pub no_primaries: Option<Source>,
}

impl Values {
    pub fn add(&mut self, option: &Spec, text: &str, source: Source) {
        self.said.push(Value {
            name: option.name,
            text: text.to_owned(),
            source,
        });
    }

    /// Whether the command line says something of an option.
    pub fn is_overridden(&self, name: &str) -> bool {
        let from_option = |value: &&Value| matches!(value.source, Source::Option(_));
        self.said.iter().filter(from_option).any(|value| value.name == name)
    }

    /// What is said of a list, in order.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.said.iter().filter(move |value| value.name == name)
    }

    pub fn value(&self, name: &str) -> Option<&Value> {
        self.list(name).next()
    }

    /// A number from `min` to `max`, or the default.
    pub fn number(&self, name: &str, default: u64, min: u64, max: u64) -> Result<u64, ConfigError> {
        let Some(value) = self.value(name) else {
            return Ok(default);
        };
        match value.text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(value.error(format_args!("not a number from {min} to {max}"))),
        }
    }

    /// A number from `min` to `max`; None if it is for magent to find.
    pub fn number_or_auto(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.value(name).filter(|value| value.text != "auto") else {
            return Ok(None);
        };
        match value.text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(value.error(format_args!("neither auto nor a number from {min} to {max}"))),
        }
    }

    /// A number of bytes, with k for 1024 and m for 1024 times that.
    pub fn size(&self, name: &str, default: u64, min: u64, max: u64) -> Result<u64, ConfigError> {
        let Some(value) = self.value(name) else {
            return Ok(default);
        };
        let (digits, unit) = match value.text.strip_suffix(['k', 'K']) {
            Some(digits) => (digits, 1 << 10),
            None => match value.text.strip_suffix(['m', 'M']) {
                Some(digits) => (digits, 1 << 20),
                None => (value.text.as_str(), 1),
            },
        };
        match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
            Some(bytes) if (min..=max).contains(&bytes) => Ok(bytes),
            _ => Err(value.error(format_args!(
                "not a size from {} to {} (in bytes, or with k or m behind the number)",
                Size(min),
                Size(max)
            ))),
        }
    }

    /// One of a few words; the first is the default.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let Some(value) = self.value(name) else {
            return Ok(choices[0].1);
        };
        match choices.iter().find(|(word, _)| *word == value.text) {
            Some((_, chosen)) => Ok(*chosen),
            None => {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                Err(value.error(format_args!("not one of: {}", words.join(", "))))
            }
        }
    }

    /// yes or no; no is the default.
    pub fn flag(&self, name: &str) -> Result<bool, ConfigError> {
        match self.value(name) {
            None => Ok(false),
            Some(value) => truth(&value.text).ok_or_else(|| value.error("not one of: yes, no, 1, 0")),
        }
    }
}

/// yes or no, in the words that people use.
pub fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}
