//! A world of names of its own for one process: its own /etc/hosts and name server, whatever the machine's are.

use super::{Magent, Scratch, is_root, scratch};
use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where nobody answers for names, on an address that nothing else uses: what is not in the hosts file is not found, at once.
const NO_NAME_SERVER: &str = "127.66.112.54";

/// What /etc/hosts says, for the processes that are started in it.
pub struct Hosts {
    path: String,
    files: Scratch,
}

impl Hosts {
    /// With these lines of `address name`, and no other names.
    pub fn saying(lines: &[(&str, &str)]) -> Self {
        Self::beside(NO_NAME_SERVER, lines)
    }

    /// With a name server, which would be waited for much longer than a test does.
    pub fn beside(name_server: &str, lines: &[(&str, &str)]) -> Self {
        let files = scratch();
        let hosts = Self {
            path: files.path("hosts"),
            files,
        };
        hosts.say(lines);
        let text = format!("nameserver {name_server}\noptions timeout:30 attempts:5\n");
        fs::write(hosts.files.path("resolv.conf"), text).expect("a file");
        hosts
    }

    /// From now on it says this. The file is the same, since it is the file that was put in place.
    pub fn say(&self, lines: &[(&str, &str)]) {
        let text: String = lines
            .iter()
            .map(|(address, name)| format!("{address} {name}\n"))
            .collect();
        fs::write(&self.path, text).expect("a file");
    }

    /// A magent that will find names here.
    pub fn command(&self) -> Command {
        let c_string = |path: &str| CString::new(path).expect("a path");
        let resolver = fs::canonicalize("/etc/resolv.conf").expect("this machine's");
        let places = [
            (c_string(&self.path), c_string("/etc/hosts")),
            (
                c_string(&self.files.path("resolv.conf")),
                c_string(resolver.to_str().expect("a path")),
            ),
        ];
        let namespaces = libc::CLONE_NEWNS | if is_root() { 0 } else { libc::CLONE_NEWUSER };
        let mut command = Command::new(Magent::program());
        // SAFETY: unshare and mount are safe to call between fork and exec; the strings were made before.
        unsafe {
            command.pre_exec(move || {
                let check = |result| match result {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                };
                check(libc::unshare(namespaces))?;
                let (none, root) = (std::ptr::null(), c"/".as_ptr());
                check(libc::mount(
                    none,
                    root,
                    none,
                    libc::MS_REC | libc::MS_PRIVATE,
                    none.cast(),
                ))?;
                for (from, to) in &places {
                    check(libc::mount(
                        from.as_ptr(),
                        to.as_ptr(),
                        none,
                        libc::MS_BIND,
                        none.cast(),
                    ))?;
                }
                Ok(())
            });
        }
        command
    }
}
