//! The options, once for all: the command line, the configuration file and the help are made from this list.

use super::values::{Source, Values};
use super::{Command, ConfigError, address, build, file};
use getopts::{HasArg, Matches, Occur, Options};
use std::path::Path;

/// How an option is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On the command line alone, because it says what to do rather than how.
    Action,
    /// Without a value; in the file yes or no.
    Flag,
    /// Repeated for more; in the file a number.
    Count,
    /// Of several on the command line the last one counts.
    Value,
    /// With commas, and on the command line repeated for more.
    List,
}

/// An option and its names.
#[derive(Debug)]
pub struct Spec {
    /// The long name, which is also its key in the configuration file.
    pub name: &'static str,
    /// One letter, or nothing.
    pub short: &'static str,
    /// What magent 0.7 called it in the file, if it had another name there.
    pub old_key: &'static str,
    pub kind: Kind,
}

const fn spec(name: &'static str, short: &'static str, old_key: &'static str, kind: Kind) -> Spec {
    Spec {
        name,
        short,
        old_key,
        kind,
    }
}

/// Every option.
pub const OPTIONS: [Spec; 37] = [
    spec("server", "s", "masters", Kind::List),
    spec("backup", "b", "backups", Kind::List),
    spec("ketama", "k", "useketama", Kind::Flag),
    spec("distribution", "", "", Kind::Value),
    spec("hash", "", "", Kind::Value),
    spec("hash-tag", "", "", Kind::Value),
    spec("listen", "l", "host_ip", Kind::Value),
    spec("port", "p", "", Kind::Value),
    spec("socket", "f", "", Kind::Value),
    spec("socket-mode", "", "", Kind::Value),
    spec("reuse-port", "", "", Kind::Flag),
    spec("maxconns", "n", "", Kind::Value),
    spec("maxidle", "i", "", Kind::Value),
    spec("timeout", "", "", Kind::Value),
    spec("ack", "", "", Kind::Value),
    spec("hedge", "", "", Kind::Value),
    spec("slow", "", "", Kind::Value),
    spec("miss", "", "", Kind::Value),
    spec("board", "", "", Kind::Value),
    spec("max-item-size", "", "", Kind::Value),
    spec("max-memory", "", "", Kind::Value),
    spec("user", "u", "", Kind::Value),
    spec("group", "g", "", Kind::Value),
    spec("pidfile", "P", "", Kind::Value),
    spec("logdir", "", "", Kind::Value),
    spec("state-dir", "", "", Kind::Value),
    spec("status", "", "", Kind::Value),
    spec("foreground", "D", "", Kind::Flag),
    spec("verbose", "v", "verbose_mode", Kind::Count),
    spec("config", "c", "", Kind::Action),
    spec("test", "t", "", Kind::Action),
    spec("compare", "", "", Kind::Action),
    spec("check", "", "", Kind::Action),
    spec("top", "", "", Kind::Action),
    spec("once", "", "", Kind::Action),
    spec("version", "V", "", Kind::Action),
    spec("help", "h", "", Kind::Action),
];

/// 0.7's key for the contrary of `foreground`.
pub const DAEMON_MODE: &str = "daemon_mode";

impl Spec {
    /// The option as it is shown in messages.
    pub fn shown(&self) -> String {
        match self.short {
            "" => format!("--{}", self.name),
            short => format!("-{short}"),
        }
    }
}

/// The help, 80 columns wide, every option in it.
pub const USAGE: &str = "\
magent - memcached proxy that keeps a second copy of every item

usage: magent -s SERVER [-s SERVER]... [-b SERVER]... [options]
       magent -c FILE [options]
       magent --top[=ADDR] [-c FILE] [options]

  -s, --server=ADDR       primary server, repeatable, or several with commas:
                          ip, host:port, [ipv6]:port or unix:/path; port 11211
                          if left out; a weight may follow: host:port:weight
  -b, --backup=ADDR       backup server, repeatable: keeps the second copies
  -k, --ketama            spread keys by ketama instead of modulo
      --distribution=WAY  the same, or as others did before: modulo, ketama,
                          libmemcached-modula, -ketama or -ketama-weighted,
                          twemproxy-modula or -ketama (modulo)
      --hash=NAME         what those two hash keys with: md5, one_at_a_time,
                          fnv1a_64, ... (as they do by default)
      --hash-tag=CHARS    hash only what stands between these two characters
  -l, --listen=ADDR       address to listen on (0.0.0.0)
  -p, --port=PORT         TCP port to listen on, 0 for none (11211)
  -f, --socket=PATH       unix socket to listen on, besides the port
      --socket-mode=MODE  permissions of that socket, octal (700)
      --reuse-port        share the port with other processes that do the same
  -n, --maxconns=N        maximum number of client connections (4096)
  -i, --maxidle=N         accepted from old command lines; changes nothing (20)
      --timeout=MS        a server that is silent for so long is down (500, less
                          while its partner answers)
      --ack=all|primary   acknowledge a write when both copies are stored, or
                          when the primary's is (all)
      --hedge=MS          ask a server's partner too for what it does not answer
                          for so long, 0 for never (by how long it mostly takes)
      --slow=MS           log requests that take so long, 0 for none (100)
      --miss=partner|cold on a miss ask the backup always, or only while the
                          primary may have lost its items (partner)
      --board=on|off      find other magents by a small item on each server (on)
      --max-item-size=N   largest value, in bytes or with k or m (1m)
      --max-memory=N      most memory for buffers, in bytes or with k or m (64m)
  -u, --user=USER         user to run as, name or number
  -g, --group=GROUP       group to run as, name or number
  -P, --pidfile=PATH      file to write the process number to
      --logdir=DIR        directory for magent.log, instead of syslog or stderr
      --state-dir=DIR     directory where what servers miss is written down, for
                          the magent that is started next
      --status=ADDR       serve a status page, metrics and health there by HTTP:
                          port on 127.0.0.1, ip:port or [ipv6]:port
  -D, --foreground        do not go to the background
  -v, --verbose           tell more, repeatable; stays in the foreground
  -c, --config=FILE       configuration file, see magent.conf(5); options win
  -t, --test              test the configuration and exit
      --compare           say what differs on the two servers of each key, and
                          exit
      --check=ADDR        say whether the magent that listens there serves, and
                          exit
      --top, --top=ADDR   show each second what the magent at ADDR does, or the
                          one that -c, -l, -p and -f describe; q quits
      --once              with --top: show one second as plain text and exit
  -V, --version           show the version and exit
  -h, --help              show this help and exit

example, the same on both of two machines (see magent(8), EXAMPLES):
  magent -p 12000 -s 192.168.36.54 -s 192.168.36.189 \\
                  -b 192.168.36.54 -b 192.168.36.189
";

/// Reads the command line, without the program's name, and the configuration file that it names. Relative paths are
/// relative to `directory`, wherever the process has moved to meanwhile.
pub fn parse(arguments: &[String], directory: &Path) -> Result<Command, ConfigError> {
    let options = for_getopts();
    let matches = options
        .parse(arguments)
        .map_err(|fail| ConfigError(format!("{}; see magent -h", describe(&fail))))?;
    if matches.opt_present("help") {
        return Ok(Command::Help);
    }
    if matches.opt_present("version") {
        return Ok(Command::Version);
    }
    if let Some(unexpected) = matches.free.first() {
        return Err(ConfigError(format!(
            "unexpected argument '{unexpected}'; see magent -h"
        )));
    }
    // About a magent that runs: how this one would be configured is not asked.
    if let Some(text) = matches.opt_strs("check").last() {
        let asked = address::magent(text).map_err(|error| ConfigError(format!("--check={text}: {error}")));
        return asked.map(Command::Check);
    }
    let values = values(&matches, directory)?;
    if matches.opt_present("top") {
        return Ok(Command::Top {
            at: build::top(&values, matches.opt_strs("top").last(), directory)?,
            once: matches.opt_present("once"),
        });
    }
    if matches.opt_present("once") {
        return Err(ConfigError("--once: only with --top; see magent -h".to_owned()));
    }
    let config = Box::new(build::config(&values, directory)?);
    Ok(match (matches.opt_present("test"), matches.opt_present("compare")) {
        (true, _) => Command::Test(config),
        (false, true) => Command::Compare(config),
        (false, false) => Command::Run(config),
    })
}

/// What the command line says, and the file that it names.
fn values(matches: &Matches, directory: &Path) -> Result<Values, ConfigError> {
    let mut values = Values::default();
    for option in OPTIONS.iter().filter(|option| option.kind != Kind::Action) {
        let source = || Source::Option(option.shown());
        match option.kind {
            Kind::Flag if matches.opt_present(option.name) => values.add(option, "yes", source()),
            Kind::Count if matches.opt_present(option.name) => {
                values.add(option, &matches.opt_count(option.name).to_string(), source());
            }
            Kind::Value => {
                if let Some(text) = matches.opt_strs(option.name).last() {
                    values.add(option, text, source());
                }
            }
            Kind::List => {
                let given = matches.opt_strs(option.name);
                for text in given.iter().flat_map(|list| list.split(',')) {
                    values.add(option, text.trim(), source());
                }
            }
            Kind::Action | Kind::Flag | Kind::Count => {}
        }
    }
    if let Some(path) = matches.opt_strs("config").last() {
        file::read(path, directory, &mut values)?;
    }
    Ok(values)
}

/// The options as getopts wants them.
fn for_getopts() -> Options {
    let mut options = Options::new();
    for option in &OPTIONS {
        match option.kind {
            _ if option.name == "config" || option.name == "check" => {
                options.optmulti(option.short, option.name, "", "")
            }
            _ if option.name == "top" => options.opt("", option.name, "", "", HasArg::Maybe, Occur::Multi),
            Kind::Action | Kind::Flag | Kind::Count => options.optflagmulti(option.short, option.name, ""),
            Kind::Value | Kind::List => options.optmulti(option.short, option.name, "", ""),
        };
    }
    options
}

fn describe(fail: &getopts::Fail) -> String {
    let dashed = |name: &str| match name.chars().count() {
        1 => format!("-{name}"),
        _ => format!("--{name}"),
    };
    match fail {
        getopts::Fail::ArgumentMissing(name) => format!("{} needs a value", dashed(name)),
        getopts::Fail::UnrecognizedOption(name) => format!("{}: no such option", dashed(name)),
        getopts::Fail::OptionMissing(name) => format!("{} is missing", dashed(name)),
        // Not with these options, each of which may be given again.
        getopts::Fail::OptionDuplicated(name) => format!("{} is given twice", dashed(name)),
        getopts::Fail::UnexpectedArgument(name) => format!("{} takes no value", dashed(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_shows_every_option_in_80_columns() {
        for option in &OPTIONS {
            assert!(USAGE.contains(&format!("--{}", option.name)), "--{}", option.name);
            assert!(option.short.is_empty() || USAGE.contains(&format!("-{}, --{}", option.short, option.name)));
        }
        assert!(USAGE.lines().all(|line| line.chars().count() <= 80));
    }
}
