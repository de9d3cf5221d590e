//! Users and groups: looking them up, and becoming them.

use super::check;
use std::ffi::{CStr, CString};
use std::io;

/// The user and group that magent runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    /// For the supplementary groups; None for a number without a name, which has none.
    pub name: Option<String>,
}

/// A user by name or number, with its login group. None if there is no such name.
pub fn find_user(user: &str) -> Option<Account> {
    let c_name = CString::new(user).ok()?;
    // SAFETY: getpwnam and getpwuid return null or a pointer to a record that is valid until the next such call; only
    // who reads a configuration asks, one at a time, and what is needed is copied before anything else is called.
    unsafe {
        let mut record = libc::getpwnam(c_name.as_ptr());
        if record.is_null() {
            if let Ok(uid) = user.parse::<u32>() {
                record = libc::getpwuid(uid);
                if record.is_null() {
                    return Some(Account {
                        uid,
                        gid: uid,
                        name: None,
                    });
                }
            }
        }
        if record.is_null() {
            return None;
        }
        Some(Account {
            uid: (*record).pw_uid,
            gid: (*record).pw_gid,
            name: CStr::from_ptr((*record).pw_name).to_str().ok().map(str::to_owned),
        })
    }
}

/// A group's number by name or number. None if there is no such name.
pub fn find_group(group: &str) -> Option<u32> {
    let c_name = CString::new(group).ok()?;
    // SAFETY: as for getpwnam above.
    let record = unsafe { libc::getgrnam(c_name.as_ptr()) };
    if record.is_null() {
        return group.parse().ok();
    }
    // SAFETY: checked for null.
    Some(unsafe { (*record).gr_gid })
}

/// Whether this process may become another user: whether it is root.
pub fn may_change_user() -> bool {
    // SAFETY: geteuid cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Becomes `account` for good: supplementary groups, group, user, in this order, because each step needs the rights that
/// the next one gives up.
pub fn drop_privileges(account: &Account) -> io::Result<()> {
    let name = account.name.as_deref().and_then(|name| CString::new(name).ok());
    // SAFETY: the name is a C string that outlives the call; the others take numbers.
    unsafe {
        match &name {
            Some(name) => check(libc::initgroups(name.as_ptr(), account.gid))?,
            None => check(libc::setgroups(0, std::ptr::null()))?,
        };
        check(libc::setgid(account.gid))?;
        check(libc::setuid(account.uid))?;
    }
    Ok(())
}

/// Who runs this process.
pub fn current_account() -> Account {
    // SAFETY: neither can fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let name = find_user(&uid.to_string()).and_then(|user| user.name);
    Account { uid, gid, name }
}
