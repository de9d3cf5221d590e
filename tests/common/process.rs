//! Processes: what a test starts, it ends.

use super::eventually;
use std::fs::{self, File};
use std::io::Error;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What processes write to their standard error. It is a file in memory: what is written is there at once, while what goes through a pipe is
/// there when somebody has read it.
pub struct Said(File);

impl Said {
    pub fn new() -> Self {
        // SAFETY: the name is a string with an end, and what is returned is a new descriptor or -1.
        let file = unsafe { libc::memfd_create(c"stderr".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(file >= 0, "a file in memory: {}", Error::last_os_error());
        // SAFETY: nobody else has it.
        Self(unsafe { File::from_raw_fd(file) })
    }

    /// The standard error of a process that is to be started.
    pub fn stderr(&self) -> Stdio {
        self.0.try_clone().expect("another descriptor").into()
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        let size = self.0.metadata().expect("a file").len();
        let mut bytes = vec![0; size as usize];
        self.0.read_exact_at(&mut bytes, 0).expect("what was written");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A child process, killed when this is dropped, and by the kernel when the thread that started it ends.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        // SAFETY: prctl is safe to call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: i32) {
        send_signal(self.id(), signal);
    }

    /// SIGSTOP, and waits until every thread has stopped.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        eventually("the process is stopped", || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.id())).expect("a process that runs");
            threads.flatten().all(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
            })
        });
    }

    /// The exit status, if it has exited.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// Waits until it exits.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process exits", || {
            status = self.exited();
            status.is_some()
        });
        status.expect("waited for")
    }

    /// Memory that it occupies.
    pub fn resident_bytes(&self) -> usize {
        let kib = status_field(self.id(), "VmRSS")
            .trim_end_matches(" kB")
            .parse::<usize>();
        kib.expect("a number of kB") << 10
    }

    /// The processor time that it has used so far, in microseconds.
    pub fn processor_us(&self) -> u64 {
        let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
        let pid = self.id() as libc::pid_t;
        // SAFETY: both calls write to the places that they are given, and to nothing else.
        let result = unsafe {
            match libc::clock_getcpuclockid(pid, &mut clock) {
                0 => libc::clock_gettime(clock, &mut time),
                error => error,
            }
        };
        assert_eq!(result, 0, "the clock of a process that runs can be read");
        time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
    }

    /// From now on it can open so many files more.
    pub fn limit_open_files(&self, more: usize) {
        let open = fs::read_dir(format!("/proc/{}/fd", self.id())).expect("a process that runs");
        let open: Vec<u64> = open
            .flatten()
            .filter_map(|file| file.file_name().to_str()?.parse().ok())
            .collect();
        // The limit is one of the number, not of the count.
        let files = (0..)
            .filter(|file| !open.contains(file))
            .nth(more)
            .expect("there are many numbers");
        self.set_open_files(files);
    }

    /// From now on it can open no file at all, until `set_open_files` lets it.
    pub fn forbid_new_files(&self) {
        self.set_open_files(3);
    }

    /// Sets its limit: one more than the greatest number that a file may be given.
    pub fn set_open_files(&self, files: u64) {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let pid = self.id() as libc::pid_t;
        // SAFETY: the struct is valid for both calls.
        let result = unsafe {
            libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &mut limit);
            limit.rlim_cur = files;
            libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut())
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that is nobody's child, by its pid file; killed when this is dropped.
pub struct Daemon {
    pub id: u32,
}

impl Daemon {
    /// The process whose number the file holds, if it does.
    pub fn of(pid_file: &std::path::Path) -> Option<Self> {
        let id = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
        Some(Self { id })
    }

    pub fn signal(&self, signal: i32) {
        send_signal(self.id, signal);
    }

    pub fn is_alive(&self) -> bool {
        // One that has ended and waits for init to notice has no files any more.
        fs::read_link(format!("/proc/{}/exe", self.id)).is_ok()
    }

    /// A line of /proc/PID/status, without its name.
    pub fn status(&self, field: &str) -> String {
        status_field(self.id, field)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if fs::read_link(format!("/proc/{}/exe", self.id)).is_ok_and(|exe| exe.ends_with("magent")) {
            self.signal(libc::SIGKILL);
        }
    }
}

fn send_signal(id: u32, signal: i32) {
    // SAFETY: kill takes numbers.
    let result = unsafe { libc::kill(id as libc::pid_t, signal) };
    assert_eq!(
        result,
        0,
        "signal {signal} to {id}: {}",
        std::io::Error::last_os_error()
    );
}

/// A line of /proc/PID/status, without its name, words separated by one space.
fn status_field(id: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a process that runs");
    let wanted = format!("{field}:");
    let line = status.lines().find_map(|line| line.strip_prefix(&wanted));
    let words: Vec<&str> = line.expect("a field of /proc/PID/status").split_whitespace().collect();
    words.join(" ")
}

/// Keeps this thread, and what it starts from here on, on one processor: what a process costs depends on where those are that it
/// wakes.
pub fn stay_on_one_processor() {
    // SAFETY: the set is plain data, valid as zeros, and both calls are given its size.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let size = std::mem::size_of::<libc::cpu_set_t>();
        libc::sched_getaffinity(0, size, &mut set);
        let allowed = (0..libc::CPU_SETSIZE as usize).find(|&processor| libc::CPU_ISSET(processor, &set));
        libc::CPU_ZERO(&mut set);
        libc::CPU_SET(allowed.expect("this runs somewhere"), &mut set);
        libc::sched_setaffinity(0, size, &set)
    };
    assert_eq!(result, 0, "a thread may choose among its processors");
}

/// The permissions of a file, or of a link itself.
pub fn mode_of(path: &str) -> u32 {
    let metadata = fs::symlink_metadata(path).expect("a file");
    metadata.permissions().mode() & 0o777
}

pub fn is_root() -> bool {
    // SAFETY: geteuid cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Lets this test process have as many files open as it may.
pub fn open_many_files() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is valid for both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

/// A directory for a test's files, short enough for unix sockets, removed when this is dropped.
pub struct Scratch(PathBuf);

/// A new empty directory.
pub fn scratch() -> Scratch {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("magent-test-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&path); // of an earlier process with this number
    fs::create_dir(&path).expect("a directory for the test's files");
    Scratch(path)
}

impl Scratch {
    /// The path of a file in it.
    pub fn path(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("a path of plain characters").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
