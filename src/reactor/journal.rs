//! The journal of what servers miss, on the disk. A thread writes it, for a disk may take its time, and another one waits until it is there.
//!
//! Each process has a file of its own in the state directory, named after what it listens on and its number, and locked as long as it
//! runs. Who begins reads those of processes that are gone, and removes them when its own is written; one that still runs, and
//! hands its port over, is read too, and once more when it has ended. It reads those of its own name, and whatever their names those of
//! processes that had no other servers than it has: its own may say of a time since which another one has written.
//! What is written reaches the disk within a second, and the system at once, so that what is killed has not forgotten it.

use super::Mailbox;
use crate::proxy::control::{Journal as Told, Remembered};
use crate::proxy::net::Writing;
use crate::sys;
use crate::words::Reason;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

const ENDING: &str = ".journal";
/// That of one which is not whole yet.
const NEW_ENDING: &str = ".new";
/// How old one has to be that never became whole, for who writes one has it locked only just after it has made it.
const UNFINISHED_MIN: Duration = Duration::from_secs(60);
/// How often what was written is brought to the disk.
const SYNC_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether a process has ended whose journal is there.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// How long a process that ends waits for what is still to be written.
const END_MAX: Duration = Duration::from_secs(2);

enum Order {
    Write(Writing),
    /// The one that was begun anew for the so-manieth time did not come to the disk.
    NotSynced(u64, io::Error),
    End,
}

/// The journal as the loop sees it.
pub struct Journal {
    orders: Mailbox<Order>,
    told: Mailbox<Told>,
    ended: Mailbox<()>,
    thread: Option<JoinHandle<()>>,
}

/// A journal in the state directory.
struct Kept {
    remembered: Remembered,
    is_damaged: bool,
    /// Its process is gone.
    is_left_behind: bool,
    /// When it was last written; None where the system does not tell.
    written: Option<SystemTime>,
}

/// What is found in the state directory at the start.
pub struct Found {
    pub remembered: Remembered,
    /// A line for each journal that cannot be read, or is damaged.
    pub warnings: Vec<String>,
    writer: Writer,
}

impl Found {
    /// Opens a journal in `directory`, of a process that listens on this and has these servers, and reads those that are there. `boot`: which
    /// start of the machine this is.
    pub fn open(directory: &Path, listens_on: &str, servers: &BTreeSet<String>, boot: &str) -> io::Result<Self> {
        let stem: String = listens_on
            .chars()
            .map(|char| if char.is_ascii_alphanumeric() { char } else { '-' })
            .collect();
        let own = directory.join(format!("{stem}.{}{ENDING}", std::process::id()));
        let writer = Writer {
            boot: boot.to_owned(),
            new: directory.join(format!("{stem}.{}{NEW_ENDING}", std::process::id())),
            own,
            file: None,
            begun: 0,
            left_behind: Vec::new(),
            others: Vec::new(),
            syncs: Mailbox::new(),
            synced: Instant::now(),
            is_synced: true,
        };
        let mut found = Self {
            remembered: Remembered::default(),
            warnings: Vec::new(),
            writer,
        };
        // Those of processes that had some of these servers, and others.
        let (mut neighbours, mut newest) = (Vec::new(), None);
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let Some(name) = name_of(&path, ENDING) else {
                remove_unfinished(&path);
                continue;
            };
            let has_own_name = name == stem;
            match found.writer.read(&path) {
                Ok(read) if has_own_name || read.remembered.is_about_no_others(servers) => {
                    newest = newest.max(read.written);
                    found.take(path, read);
                }
                Ok(read) => neighbours.push(read),
                Err(error) if has_own_name => found.warnings.push(format!("{}: {}", path.display(), Reason(&error))),
                Err(_) => {} // it is gone, or another user's
            }
        }
        for neighbour in neighbours.iter().filter(|neighbour| neighbour.written > newest) {
            found.remembered.distrust(&neighbour.remembered);
        }
        Ok(found)
    }

    fn take(&mut self, path: PathBuf, read: Kept) {
        if read.is_damaged {
            self.warnings.push(format!(
                "{}: the journal is damaged; what servers have missed is not known",
                path.display()
            ));
        }
        self.remembered.add(read.remembered);
        match read.is_left_behind {
            // In a container each process may have the same number: then that is written anew.
            _ if path == self.writer.own => {}
            true => self.writer.left_behind.push(path),
            false => self.writer.others.push(path),
        }
    }

    /// Begins the thread that writes. `wake` is called when it has told something.
    pub fn begin(self, wake: impl Fn() + Send + 'static) -> io::Result<(Journal, Remembered)> {
        let Found {
            remembered, mut writer, ..
        } = self;
        let (orders, told, ended) = (Mailbox::new(), Mailbox::new(), Mailbox::new());
        let (taken, tells, ends) = (orders.clone(), told.clone(), ended.clone());
        let tell = move |what: Told| {
            tells.put(what);
            wake();
        };
        let (files, failures) = (writer.syncs.clone(), orders.clone());
        thread::Builder::new().name("sync".to_owned()).spawn(move || {
            while let Some((begun, file)) = files.take() {
                if let Err(error) = File::sync_data(&file) {
                    failures.put(Order::NotSynced(begun, error));
                }
            }
        })?;
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || {
            while writer.take(&taken, &tell) {}
            writer.syncs.put(None);
            ends.put(());
        })?;
        let journal = Journal {
            orders,
            told,
            ended,
            thread: Some(thread),
        };
        Ok((journal, remembered))
    }
}

impl Journal {
    pub fn write(&self, what: Writing) {
        self.orders.put(Order::Write(what));
    }

    pub fn take_told(&self) -> Option<Told> {
        self.told.try_take()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.orders.put(Order::End);
        // A disk that does not answer is not waited for.
        if self.ended.take_within(END_MAX).is_some() {
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// What the thread has.
struct Writer {
    boot: String,
    own: PathBuf,
    /// What it is called until it is whole.
    new: PathBuf,
    file: Option<File>,
    /// How often it was begun anew.
    begun: u64,
    /// Journals of processes that are gone, until all that they say stands in this one's.
    left_behind: Vec<PathBuf>,
    /// Those of processes that still run.
    others: Vec<PathBuf>,
    /// Files that another thread is to bring to the disk; None: there are no more.
    syncs: Mailbox<Option<(u64, File)>>,
    synced: Instant,
    is_synced: bool,
}

impl Writer {
    /// Does what is to be done next, and waits for it. Returns whether there may be more.
    fn take(&mut self, orders: &Mailbox<Order>, tell: &impl Fn(Told)) -> bool {
        let order = match (self.is_synced, self.others.is_empty()) {
            (true, true) => Some(orders.take()),
            (true, false) => orders.take_within(LOOK_PAUSE),
            (false, _) => orders.take_within(SYNC_PAUSE.saturating_sub(self.synced.elapsed())),
        };
        let goes_on = !matches!(order, Some(Order::End));
        let is_anew = matches!(order, Some(Order::Write(Writing::Anew(_))));
        let mut result = match order {
            Some(Order::Write(what)) => self.write(&what),
            Some(Order::NotSynced(begun, error)) if begun == self.begun => Err(error),
            Some(Order::NotSynced(..) | Order::End) | None => Ok(()),
        };
        if result.is_ok() && !self.is_synced && (!goes_on || self.synced.elapsed() >= SYNC_PAUSE) {
            result = self.sync(goes_on);
        }
        if let Err(error) = result {
            self.file = None;
            let _ = fs::remove_file(&self.own); // so that nobody believes that it is all; or else it is damaged, or has no end
            tell(Told::Failed {
                begun: self.begun,
                reason: format!("{}: {}", self.own.display(), Reason(&error)),
            });
        } else if is_anew {
            tell(Told::Written);
        }
        self.look_at_others(tell);
        goes_on
    }

    fn write(&mut self, what: &Writing) -> io::Result<()> {
        match what {
            Writing::Anew(text) => {
                self.begun += 1;
                let mut file = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .custom_flags(libc::O_NOFOLLOW)
                    .open(&self.new)?;
                sys::lock(&file)?;
                file.write_all(text)?;
                file.sync_data()?;
                fs::rename(&self.new, &self.own)?;
                self.file = Some(file);
                (self.synced, self.is_synced) = (Instant::now(), true);
                self.remove_left_behind();
            }
            Writing::More(text) => {
                if let Some(file) = &mut self.file {
                    file.write_all(text)?;
                    self.is_synced = false;
                }
            }
        }
        Ok(())
    }

    /// What others have left stands here now.
    fn remove_left_behind(&mut self) {
        for path in std::mem::take(&mut self.left_behind) {
            // It may have been written anew while it was read.
            match self.read(&path) {
                Ok(read) if !read.is_left_behind => self.others.push(path),
                Ok(_) => _ = fs::remove_file(path), // where it cannot be removed it is read again by the next one
                Err(_) => {}
            }
        }
    }

    /// Has what was written brought to the disk; `goes_on`: it is not waited for.
    fn sync(&mut self, goes_on: bool) -> io::Result<()> {
        match &self.file {
            Some(file) if goes_on => self.syncs.put(Some((self.begun, file.try_clone()?))),
            Some(file) => file.sync_data()?,
            None => {}
        }
        (self.synced, self.is_synced) = (Instant::now(), true);
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Kept> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        let is_left_behind = sys::lock(&file).is_ok();
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let (remembered, is_damaged) = Remembered::read(&text, &self.boot);
        Ok(Kept {
            remembered,
            is_damaged: is_damaged && is_left_behind, // what is being written has no end yet
            is_left_behind,
            written: file.metadata().and_then(|data| data.modified()).ok(),
        })
    }

    /// Tells what processes have left that ran when this one began, and have ended since.
    fn look_at_others(&mut self, tell: &impl Fn(Told)) {
        let mut others = std::mem::take(&mut self.others);
        others.retain(|path| match self.read(path) {
            Ok(read) if !read.is_left_behind => true,
            Ok(read) => {
                self.left_behind.push(path.clone());
                tell(Told::Found(read.remembered));
                false
            }
            Err(_) => false, // it is not there any more
        });
        self.others = others;
    }
}

/// Which name a journal has in front of its process' number; None if it is none.
fn name_of<'a>(path: &'a Path, ending: &str) -> Option<&'a str> {
    let (name, number) = path.file_name()?.to_str()?.strip_suffix(ending)?.rsplit_once('.')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
}

/// Removes a journal that was being written when its process was killed: nobody reads it. Where that cannot be, it stays.
fn remove_unfinished(path: &Path) {
    let is_left_behind = || -> io::Result<bool> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
        sys::lock(&file)?;
        let mut begins = [0; 16]; // with a sum and the word, see `Line`; in a directory of others there may be what is not magent's
        let length = file.read(&mut begins)?;
        Ok(age >= UNFINISHED_MIN && (length == 0 || begins[8..].starts_with(b" magent ")))
    };
    if name_of(path, NEW_ENDING).is_some() && is_left_behind().is_ok_and(|is_left| is_left) {
        let _ = fs::remove_file(path);
    }
}

/// Which start of the machine this is, or nothing if the system does not say: what systemd's unit gives to a service that may not see all of
/// /proc (`%b` in systemd.unit(5)), or what stands there (random(4)).
pub fn boot() -> String {
    let given = std::env::var("MAGENT_BOOT_ID").ok();
    let boot = given.or_else(|| fs::read_to_string("/proc/sys/kernel/random/boot_id").ok());
    boot.unwrap_or_default().replace(['-', '\n'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_became_whole_is_removed_when_nobody_writes_it() {
        let directory = std::env::temp_dir().join(format!("magent-unfinished-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let file = |name: &str, age: u64| {
            let mut file = File::create(directory.join(name)).unwrap();
            file.write_all(if name.starts_with('e') {
                b"somebody's own"
            } else {
                b"0123abcd magent 1 boot"
            })
            .unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            file
        };
        let _ = ["a.1.new", "c.new", "e.1.new"].map(|name| file(name, 3600));
        let (_, locked) = (file("b.1.new", 0), file("d.1.new", 3600));
        sys::lock(&locked).unwrap();
        Found::open(&directory, "127.0.0.1:1", &BTreeSet::new(), "boot").unwrap();
        let entries = fs::read_dir(&directory).unwrap();
        let left: BTreeSet<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["b.1.new", "c.new", "d.1.new", "e.1.new"].map(Into::into).into());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn who_has_the_number_of_one_that_is_gone_reads_what_that_has_left() {
        let directory = std::env::temp_dir().join(format!("magent-journal-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let open = || Found::open(&directory, "127.0.0.1:1", &BTreeSet::new(), "boot").unwrap();
        let (journal, remembered) = open().begin(|| ()).unwrap();
        assert_eq!(remembered, Remembered::default());
        let text = b"not a journal\n".to_vec();
        journal.write(Writing::Anew(text.clone()));
        drop(journal);
        assert_eq!(
            fs::read(directory.join(format!("127-0-0-1-1.{}.journal", std::process::id()))).unwrap(),
            text
        );
        let found = open();
        assert!(found.writer.left_behind.is_empty() && found.writer.others.is_empty());
        assert!(found.warnings.len() <= 1, "it is told if nobody holds it any more");
        let (journal, _) = found.begin(|| ()).unwrap();
        journal.write(Writing::Anew(b"anew".to_vec()));
        journal.write(Writing::More(b" and more".to_vec()));
        drop(journal);
        let own = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
        assert_eq!(fs::read(own).unwrap(), b"anew and more");
        fs::remove_dir_all(&directory).unwrap();
    }
}
