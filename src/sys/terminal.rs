//! The terminal, while `magent --top` draws on it: raw, on a screen of its own, and given back as it was however magent ends.

use super::check;
use std::io::{self, IsTerminal, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The other screen, no cursor, and what is too long for a line is cut.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Ctrl-C and Ctrl-D are characters of a raw terminal, and so is Ctrl-Z; others may send its signal all the same.
const QUIT: [u8; 4] = [b'q', b'Q', 0x03, 0x04];
const SUSPEND: u8 = 0x1a;
/// Columns and rows of a terminal that does not tell.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// How the terminal was, for whoever gives it back: there is only one, and a panic knows no owner.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// What a wait has ended with; nothing is set where its time was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Somebody wants magent to end: by a key, the end of input, or a signal.
    pub end: bool,
    /// The screen has to be drawn again: it has another size, or magent was stopped meanwhile.
    pub redraw: bool,
    /// The other descriptor can be read.
    pub readable: bool,
}

/// The terminal of standard input and output. Dropping it gives the terminal back; a panic does that, too, before it says its line.
pub struct Terminal {
    signals: OwnedFd,
}

impl Terminal {
    /// Whether standard output is a terminal that one can draw on.
    pub fn can_draw() -> bool {
        let kind = std::env::var_os("TERM").unwrap_or_default();
        io::stdout().is_terminal() && !kind.is_empty() && kind != "dumb"
    }

    /// Takes the terminal, and from here on the signals that would end or stop magent.
    pub fn open() -> io::Result<Self> {
        let mut before = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the struct is read only if the call has filled it; the set is initialised by sigemptyset before it is used; the
        // descriptor is new and owned by nobody else.
        let (before, signals) = unsafe {
            check(libc::tcgetattr(libc::STDOUT_FILENO, before.as_mut_ptr()))?;
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            check(libc::sigemptyset(set.as_mut_ptr()))?;
            let ending = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
            for &signal in ending.iter().chain(&[libc::SIGWINCH, libc::SIGCONT, libc::SIGTSTP]) {
                check(libc::sigaddset(set.as_mut_ptr(), signal))?;
            }
            check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()))?;
            let signals = check(libc::signalfd(-1, set.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC))?;
            (before.assume_init(), OwnedFd::from_raw_fd(signals))
        };
        if BEFORE.set(before).is_ok() {
            let tell = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                tell(panic);
            }));
        }
        let terminal = Self { signals };
        take()?;
        Ok(terminal)
    }

    /// Columns and rows, as they are now.
    pub fn size(&self) -> (usize, usize) {
        // SAFETY: winsize is made of numbers, for which zero is a value; the call writes no more than one of it.
        let size = unsafe {
            let mut size: libc::winsize = std::mem::zeroed();
            libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size);
            size
        };
        match (size.ws_col, size.ws_row) {
            (0, _) | (_, 0) => USUAL_SIZE,
            (columns, rows) => (columns.into(), rows.into()),
        }
    }

    /// Writes to it, all at once so that nobody sees half a screen.
    pub fn draw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(bytes)?;
        output.flush()
    }

    /// Waits for so many milliseconds at most for a key, a signal, or something to read from another descriptor.
    pub fn wait(&mut self, other: Option<RawFd>, patience_ms: u64) -> io::Result<Happened> {
        let watched = |fd: RawFd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // A negative one is not looked at (poll(2)).
        let fds = [libc::STDIN_FILENO, self.signals.as_raw_fd(), other.unwrap_or(-1)];
        let mut fds = fds.map(watched);
        let patience_ms = libc::c_int::try_from(patience_ms).unwrap_or(libc::c_int::MAX);
        // SAFETY: the descriptors are open, and the list has the length that is given.
        if unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, patience_ms) } < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(Happened::default()),
                _ => Err(error),
            };
        }
        let [keys, signals, other] = fds.map(|fd| fd.revents != 0);
        let mut happened = Happened {
            readable: other,
            ..Happened::default()
        };
        if signals {
            self.take_signals(&mut happened)?;
        }
        if keys {
            take_keys(&mut happened)?;
        }
        Ok(happened)
    }

    fn take_signals(&mut self, happened: &mut Happened) -> io::Result<()> {
        loop {
            let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
            let size = size_of::<libc::signalfd_siginfo>();
            // SAFETY: the buffer has the size given, and is read only if the kernel filled all of it.
            let signal = unsafe {
                if libc::read(self.signals.as_raw_fd(), info.as_mut_ptr().cast(), size) != size as isize {
                    return Ok(());
                }
                info.assume_init().ssi_signo as libc::c_int
            };
            match signal {
                libc::SIGWINCH => happened.redraw = true,
                libc::SIGCONT => {
                    // The shell has had the terminal meanwhile.
                    take()?;
                    happened.redraw = true;
                }
                libc::SIGTSTP => suspend(happened)?,
                _ => happened.end = true,
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn take_keys(happened: &mut Happened) -> io::Result<()> {
    let mut keys = [0; 64];
    // SAFETY: no more is written than there is room for.
    let count = unsafe { libc::read(libc::STDIN_FILENO, keys.as_mut_ptr().cast(), keys.len()) };
    let keys = match usize::try_from(count) {
        Ok(count) => &keys[..count],
        Err(_) => &[],
    };
    if keys.is_empty() || keys.iter().any(|key| QUIT.contains(key)) {
        happened.end = true;
    } else if keys.contains(&SUSPEND) {
        suspend(happened)?;
    }
    Ok(())
}

/// Gives the terminal back, stops, and takes it again when it is to go on.
fn suspend(happened: &mut Happened) -> io::Result<()> {
    give_back();
    // SAFETY: it is magent's own process that is stopped; it goes on here.
    check(unsafe { libc::raise(libc::SIGSTOP) })?;
    happened.redraw = true;
    take()
}

/// Makes the terminal raw, on its other screen.
fn take() -> io::Result<()> {
    let Some(before) = BEFORE.get() else {
        return Ok(());
    };
    let mut raw = *before;
    // Before the first change, so that whatever fails behind it is undone.
    IS_RAW.store(true, Ordering::Relaxed);
    // SAFETY: both calls are given a termios that is whole.
    unsafe {
        libc::cfmakeraw(&raw mut raw);
        check(libc::tcsetattr(libc::STDOUT_FILENO, libc::TCSADRAIN, &raw const raw))?;
    }
    io::stdout().write_all(ENTER)
}

/// Gives the terminal back as it was; may be called at any time and more than once.
fn give_back() {
    if let (true, Some(before)) = (IS_RAW.swap(false, Ordering::Relaxed), BEFORE.get()) {
        // Nothing is left to be done where it is gone. Past the standard library's lock, which a panic may hold.
        // SAFETY: the bytes are as many as is said, and the termios is whole.
        unsafe {
            libc::write(libc::STDOUT_FILENO, LEAVE.as_ptr().cast(), LEAVE.len());
            libc::tcsetattr(libc::STDOUT_FILENO, libc::TCSANOW, before);
        }
    }
}
