//! From the command line and the configuration file to one validated [`Config`]. Every error names its source, what is
//! wrong and what is allowed.

mod address;
mod build;
mod file;
mod options;
mod values;

pub use options::{Kind, OPTIONS, Spec, USAGE, parse};

use crate::proxy::settings::{ServerName, Settings};
use crate::reactor::Listen;
use crate::sys::{Account, Owner};
use std::fmt;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    Help,
    Version,
    /// Say whether the configuration is right, and end.
    Test(Box<Config>),
    /// Say what differs on the two servers of each key, and end.
    Compare(Box<Config>),
    /// Say whether the magent that listens there serves, and end.
    Check(ServerName),
    /// Show what a magent is doing, which is reached at the first of these addresses where one answers.
    Top {
        at: Vec<ServerName>,
        /// One second of it, as plain text.
        once: bool,
    },
    Run(Box<Config>),
}

/// All that magent needs to know to run.
#[derive(Debug)]
pub struct Config {
    pub settings: Settings,
    /// At least one.
    pub listen: Vec<Listen>,
    /// Whom to run as, which may be who started it; None if nothing is said.
    pub account: Option<Account>,
    pub background: bool,
    /// 0 up; see `Proxy::set_verbosity`.
    pub verbosity: u32,
    pub pid_file: Option<PathBuf>,
    /// Where magent.log is; None for syslog in the background and the terminal in the foreground.
    pub log_dir: Option<PathBuf>,
    /// Where the journal of what servers miss is.
    pub state_dir: Option<PathBuf>,
}

impl Config {
    /// Whom files are for that are made before magent becomes the user that serves.
    pub fn owner(&self) -> Option<Owner> {
        self.account.as_ref().map(|account| (account.uid, account.gid))
    }
}

/// What is wrong, in one line.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
