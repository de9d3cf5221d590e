//! magent: the command line, then the background, then the event loop.

use magent::config::{self, Command, Config, ConfigError};
use magent::proxy::Proxy;
use magent::proxy::control::{Reloaded, Remembered};
use magent::proxy::net::Level;
use magent::proxy::service::Service;
use magent::proxy::settings::Settings;
use magent::reactor::{self, Answers, Journal, Listen, Listener, Names, Process, Reactor, Reload, World, journal};
use magent::sys::{self, Log, PidFile, Signals};
use magent::words::Reason;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Descriptors beside those of clients and links: standard ones, epoll, signals, listeners, the log, look-ups.
const DESCRIPTORS_RESERVED: u64 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    // If it cannot be told, only relative paths suffer.
    let directory = std::env::current_dir().unwrap_or_default();
    let result = match config::parse(&arguments, &directory) {
        Ok(Command::Help) => print(config::USAGE),
        Ok(Command::Version) => print(concat!("magent ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Test(config)) => test(*config),
        Ok(Command::Compare(config)) => compare(*config),
        Ok(Command::Check(name)) => reactor::probe(&name).and_then(|said| print(&said)),
        Ok(Command::Top { at, once: true }) => reactor::top_once(&at).and_then(|text| print(&text)),
        Ok(Command::Top { at, once: false }) => reactor::top(&at),
        Ok(Command::Run(config)) => run(*config, move || config::parse(&arguments, &directory)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Log::standard_error().write(libc::LOG_ERR, format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Result<(), String> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(while_doing("cannot write"))
}

/// Says that a configuration is right, and what is strange about it.
fn test(mut config: Config) -> Result<(), String> {
    let mut names = Names::new(|| ());
    let mut log = Log::standard_error();
    for warning in settle(&mut config, &mut names)? {
        log.write(libc::LOG_WARNING, format_args!("{warning}"));
    }
    // The journal has the program's name already.
    print(match sys::is_journal(io::stdout().as_fd()) {
        true => "the configuration is ok\n",
        false => "magent: the configuration is ok\n",
    })
}

/// Says what differs on the two servers of each key. It is an error if anything does.
fn compare(mut config: Config) -> Result<(), String> {
    find_servers(&mut config, &mut Names::new(|| ()));
    let (text, different) = reactor::compare(&config.settings)?;
    print(&text)?;
    match different {
        0 => Ok(()),
        _ => Err(format!("items that are not the same on both servers: {different}")),
    }
}

/// Looks up the names of servers, no longer than the timeout, and checks what can only be checked then. Returns what is to
/// be warned of: a name that is not found yet is that of a server that is not there yet.
fn settle(config: &mut Config, names: &mut Names) -> Result<Vec<String>, String> {
    let mut warnings = find_servers(config, names);
    warnings.extend(reactor::check(&config.settings, &config.listen)?);
    Ok(warnings)
}

/// Looks up the names alone.
fn find_servers(config: &mut Config, names: &mut Names) -> Vec<String> {
    names.ask_for_servers(&config.settings);
    names.wait(&config.settings, Duration::from_millis(config.settings.timeout_ms));
    names.fill_in(&mut config.settings)
}

/// Puts what was tried in front of why it failed.
fn while_doing(what: impl Display) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {}", Reason(&error))
}

/// Does what can fail while the administrator is still watching, goes to the background, and serves until told to end.
fn run(
    mut config: Config,
    read_again: impl Fn() -> Result<Command, ConfigError> + Send + Sync + 'static,
) -> Result<(), String> {
    let wanted = descriptors(&config.settings);
    let granted = sys::raise_open_files(wanted).map_err(while_doing("cannot set the number of open files"))?;
    let mut listeners = Vec::new();
    for listen in &config.listen {
        listeners.push(Listener::bind(listen).map_err(while_doing(format_args!("cannot listen on {listen}")))?);
    }
    let owner = config.owner();
    if let Some(owner) = owner {
        listeners.iter().for_each(|listener| listener.give_to(owner));
    }
    if let Some(path) = &config.pid_file {
        // A try, so that the terminal sees why it fails; the number to keep is not known before the background.
        PidFile::write(path, owner).map_err(while_doing(format_args!("-P {}", path.display())))?;
    }
    let mut log = match &config.log_dir {
        Some(path) => Log::file(path, owner).map_err(while_doing(format_args!("--logdir {}", path.display())))?,
        None if config.background => Log::syslog(),
        None => Log::standard_error(),
    };
    let launch = match config.background {
        true => Some(sys::background().map_err(while_doing("cannot go to the background"))?),
        false => None,
    };
    match Ground::take(&mut config) {
        Ok(ground) => {
            // From here on signals are understood, so who waits for this line may send one.
            for listener in &listeners {
                log.write(libc::LOG_NOTICE, format_args!("listening on {listener}"));
            }
            for warning in ground
                .warnings
                .iter()
                .chain(&fit_clients(&mut config.settings, granted))
            {
                log.write(libc::LOG_WARNING, format_args!("{warning}"));
            }
            if let Some(launch) = launch {
                launch.succeeded();
            }
            serve(config, ground, listeners, log, granted, read_again)
        }
        Err(error) => {
            // Where standard error is the log it will be said there in the end.
            if !matches!(log, Log::Stderr | Log::Journal) {
                log.write(libc::LOG_ERR, format_args!("{error}"));
            }
            if let Some(launch) = launch {
                launch.failed(format_args!("magent: {error}"));
            }
            Err(error)
        }
    }
}

/// What the process needs before it serves, and can fail to get.
struct Ground {
    /// Removed when this is dropped, at the end.
    pid_file: Option<PidFile>,
    poll: mio::Poll,
    registry: mio::Registry,
    signals: Signals,
    answers: Answers,
    journal: Option<Journal>,
    /// What stands there, and which start of the machine this is.
    remembered: Option<(Remembered, String)>,
    warnings: Vec<String>,
}

impl Ground {
    /// Writes the pid file, becomes the user that serves, and finds the servers by their names. Here, in the process that
    /// will serve, begins its second thread.
    fn take(config: &mut Config) -> Result<Self, String> {
        let pid_file = match &config.pid_file {
            Some(path) => {
                Some(PidFile::write(path, config.owner()).map_err(while_doing(format_args!("-P {}", path.display())))?)
            }
            None => None,
        };
        if let Some(account) = &config.account {
            if *account != sys::current_account() {
                sys::drop_privileges(account).map_err(while_doing("cannot become the user of -u and -g"))?;
            }
        }
        let found = match &config.state_dir {
            Some(path) => Some(find_journal(path, config)?),
            None => None,
        };
        let poll = mio::Poll::new().map_err(while_doing("cannot watch connections"))?;
        let registry = poll.registry().try_clone();
        // Before the thread begins, which must not be the one to be interrupted.
        let signals = Signals::new().map_err(while_doing("cannot receive signals"))?;
        let mut answers = Answers::new(poll.registry()).map_err(while_doing("cannot look names up"))?;
        let mut warnings = settle(config, &mut answers.names)?;
        let (mut journal, mut remembered) = (None, None);
        if let Some((found, boot)) = found {
            warnings.extend_from_slice(&found.warnings);
            let begun = answers
                .keep_journal(found)
                .map_err(while_doing("cannot keep a journal"))?;
            (journal, remembered) = (Some(begun.0), Some((begun.1, boot)));
        }
        Ok(Self {
            pid_file,
            registry: registry.map_err(while_doing("cannot watch connections"))?,
            poll,
            signals,
            warnings,
            answers,
            journal,
            remembered,
        })
    }
}

/// Opens the journal as the user that serves, and reads what others have left.
fn find_journal(directory: &Path, config: &Config) -> Result<(journal::Found, String), String> {
    // It tells one magent's journal from another's: where it serves, not where it is looked at.
    let serves_on = config
        .listen
        .iter()
        .filter(|listen| !matches!(listen, Listen::Status { .. }));
    let listens_on: Vec<String> = serves_on.map(|listen| listen.to_string()).collect();
    let boot = journal::boot();
    let servers = config.settings.primaries.iter().chain(&config.settings.backups);
    let servers = servers.map(|server| server.to_string()).collect();
    let found = journal::Found::open(directory, &listens_on.join("+"), &servers, &boot);
    let found = found.map_err(while_doing(format_args!("--state-dir {}", directory.display())))?;
    Ok((found, boot))
}

/// How many descriptors these settings may need.
fn descriptors(settings: &Settings) -> u64 {
    beside_clients(settings) + settings.clients_max as u64
}

fn beside_clients(settings: &Settings) -> u64 {
    let servers = (settings.primaries.len() + settings.backups.len()) as u64;
    // Twice, because a server that fell silent is looked for while its old link is still open.
    servers * 2 + DESCRIPTORS_RESERVED + reactor::STATUS_CONNECTIONS_MAX as u64
}

/// Lowers the number of clients to what the descriptors allow: clients must never take those that the links to servers
/// need. Returns what to say about it.
fn fit_clients(settings: &mut Settings, granted: u64) -> Option<String> {
    if granted >= descriptors(settings) {
        return None;
    }
    let asked = settings.clients_max;
    settings.clients_max = granted.saturating_sub(beside_clients(settings)).max(1) as usize;
    let possible = settings.clients_max;
    Some(format!(
        "only {granted} files may be open: -n {asked} is lowered to {possible}"
    ))
}

fn serve(
    config: Config,
    ground: Ground,
    listeners: Vec<Listener>,
    log: Log,
    granted: u64,
    read_again: impl Fn() -> Result<Command, ConfigError> + Send + Sync + 'static,
) -> Result<(), String> {
    let Ground {
        pid_file,
        poll,
        registry,
        signals,
        answers,
        journal,
        remembered,
        warnings,
    } = ground;
    let (verbosity, settings) = (config.verbosity, config.settings.clone());
    let reload: Reload = Arc::new(move || reload(&config, granted, read_again()));
    let process = Process::new(listeners, answers, reload, pid_file, journal);
    let mut world = World::new(registry, log, process);
    // The log has them already.
    warnings
        .iter()
        .for_each(|warning| world.note_event(Level::Warning, warning));
    let mut proxy = Proxy::new(world, settings);
    proxy.set_verbosity(verbosity);
    if let Some((remembered, boot)) = remembered {
        proxy.keep_journal(&remembered, boot);
    }
    let service = Service::new(proxy);
    let mut reactor = Reactor::new(poll, service, signals).map_err(while_doing("cannot watch listeners"))?;
    sys::notify_manager("READY=1");
    reactor.run().map_err(while_doing("cannot wait for events"))
}

/// What a new reading of the configuration changes, beside the one that magent was started with.
fn reload(started: &Config, granted: u64, read: Result<Command, ConfigError>) -> Result<Reloaded<Listen>, String> {
    let new = match read {
        Ok(Command::Run(config)) => config,
        Ok(_) => return Err("not a configuration to run with".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let mut warnings = Vec::new();
    for (what, changed) in [
        ("the user and group", new.account != started.account),
        ("the background", new.background != started.background),
        ("the pid file", new.pid_file != started.pid_file),
        ("the log directory", new.log_dir != started.log_dir),
        ("the state directory", new.state_dir != started.state_dir),
    ] {
        if changed {
            warnings.push(format!("{what} cannot be changed while magent runs: restart it"));
        }
    }
    let mut settings = new.settings;
    warnings.extend(fit_clients(&mut settings, granted));
    Ok(Reloaded {
        settings,
        listen: new.listen,
        verbosity: new.verbosity,
        warnings,
    })
}
