//! magent: the command line, then the background, then the event loop.

use magent::config::{self, Command, Config, ConfigError};
use magent::proxy::settings::Settings;
use magent::proxy::{LINKS_WORTH_HAVING, Proxy};
use magent::reactor::{Listener, Reactor, Reload, Reloaded, World};
use magent::sys::{self, Log, PidFile, Signals};
use magent::words::Reason;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

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
        Ok(Command::Help) => print(config::usage()),
        Ok(Command::Version) => print(concat!("magent ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Test(config)) => test(&config),
        Ok(Command::Run(config)) => run(*config, move || config::parse(&arguments, &directory)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "magent: {error}");
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
fn test(config: &Config) -> Result<(), String> {
    for warning in &config.warnings {
        // Nobody is left to be told that it cannot be told.
        let _ = writeln!(io::stderr(), "magent: {warning}");
    }
    print("magent: the configuration is ok\n")
}

/// Puts what was tried in front of why it failed.
fn while_doing(what: impl Display) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {}", Reason(&error))
}

/// Does what can fail while the administrator is still watching, goes to the background, and serves until told to end.
fn run(mut config: Config, read_again: impl Fn() -> Result<Command, ConfigError> + 'static) -> Result<(), String> {
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
        None => Log::Stderr,
    };
    let launch = match config.background {
        true => Some(sys::background().map_err(while_doing("cannot go to the background"))?),
        false => None,
    };
    match Ground::take(&config) {
        Ok(ground) => {
            // From here on signals are understood, so who waits for this line may send one.
            for listener in &listeners {
                log.write(libc::LOG_NOTICE, format_args!("listening on {listener}"));
            }
            config.warnings.extend(fit_clients(&mut config.settings, granted));
            for warning in &config.warnings {
                log.write(libc::LOG_WARNING, format_args!("{warning}"));
            }
            if let Some(launch) = launch {
                launch.succeeded();
            }
            serve(config, ground, listeners, log, granted, read_again)
        }
        Err(error) => {
            log.write(libc::LOG_ERR, format_args!("{error}"));
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
    _pid_file: Option<PidFile>,
    poll: mio::Poll,
    registry: mio::Registry,
    signals: Signals,
}

impl Ground {
    /// Writes the pid file, then becomes the user that serves.
    fn take(config: &Config) -> Result<Self, String> {
        let pid_file = match &config.pid_file {
            Some(path) => {
                Some(PidFile::write(path, config.owner()).map_err(while_doing(format_args!("-P {}", path.display())))?)
            }
            None => None,
        };
        if let Some(account) = &config.account
            && *account != sys::current_account()
        {
            sys::drop_privileges(account).map_err(while_doing("cannot become the user of -u and -g"))?;
        }
        let poll = mio::Poll::new().map_err(while_doing("cannot watch connections"))?;
        Ok(Self {
            _pid_file: pid_file,
            registry: poll
                .registry()
                .try_clone()
                .map_err(while_doing("cannot watch connections"))?,
            poll,
            signals: Signals::new().map_err(while_doing("cannot receive signals"))?,
        })
    }
}

/// How many descriptors these settings may need.
fn descriptors(settings: &Settings) -> u64 {
    beside_clients(settings) + settings.clients_max as u64
}

fn beside_clients(settings: &Settings) -> u64 {
    let servers = (settings.primaries.len() + settings.backups.len()) as u64;
    // Twice, because a server that fell silent is looked for while its old links are still open.
    servers * 2 * settings.links_max.min(LINKS_WORTH_HAVING) as u64 + DESCRIPTORS_RESERVED
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
    read_again: impl Fn() -> Result<Command, ConfigError> + 'static,
) -> Result<(), String> {
    let Ground {
        _pid_file,
        poll,
        registry,
        signals,
    } = ground;
    let world = World::new(registry, log, config.verbosity);
    let proxy = Proxy::new(world, config.settings.clone());
    let reload: Reload = Box::new(move || reload(&config, granted, read_again()));
    let mut reactor =
        Reactor::new(poll, proxy, listeners, signals, reload).map_err(while_doing("cannot watch listeners"))?;
    sys::notify_manager("READY=1");
    reactor.run().map_err(while_doing("cannot wait for events"))
}

/// What a new reading of the configuration changes, beside the one that magent was started with.
fn reload(started: &Config, granted: u64, read: Result<Command, ConfigError>) -> Result<Reloaded, String> {
    let new = match read {
        Ok(Command::Run(config)) => config,
        Ok(_) => return Err("not a configuration to run with".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let mut warnings = new.warnings;
    for (what, changed) in [
        ("the user and group", new.account != started.account),
        ("the background", new.background != started.background),
        ("the pid file", new.pid_file != started.pid_file),
        ("the log directory", new.log_dir != started.log_dir),
        ("maxidle", new.settings.links_max != started.settings.links_max),
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
