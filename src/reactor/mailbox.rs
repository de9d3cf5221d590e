//! What one thread leaves for another. The standard library's channel does more, and is 9 KB of program for each type that
//! goes through one.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A queue that several threads hold; clones are the same queue.
pub struct Mailbox<T>(Arc<(Mutex<VecDeque<T>>, Condvar)>);

impl<T> Mailbox<T> {
    pub fn new() -> Self {
        Self(Arc::new((Mutex::new(VecDeque::new()), Condvar::new())))
    }

    /// Leaves something, behind what is there.
    pub fn put(&self, letter: T) {
        self.letters().push_back(letter);
        self.0.1.notify_one();
    }

    /// Takes the first one, if there is one.
    pub fn try_take(&self) -> Option<T> {
        self.letters().pop_front()
    }

    /// Takes the first one, and waits for it.
    pub fn take(&self) -> T {
        let mut letters = self.letters();
        loop {
            if let Some(letter) = letters.pop_front() {
                return letter;
            }
            letters = self.0.1.wait(letters).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the first one, and waits for it, but no longer than this.
    pub fn take_within(&self, patience: Duration) -> Option<T> {
        let empty = |letters: &mut VecDeque<T>| letters.is_empty();
        let waited = self.0.1.wait_timeout_while(self.letters(), patience, empty);
        waited.unwrap_or_else(PoisonError::into_inner).0.pop_front()
    }

    /// Nothing panics while it holds the lock.
    fn letters(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn letters_come_in_the_order_in_which_they_were_left() {
        let mailbox = Mailbox::new();
        mailbox.clone().put(1);
        mailbox.put(2);
        assert_eq!((mailbox.try_take(), mailbox.take()), (Some(1), 2));
        assert_eq!(mailbox.try_take(), None);
        assert_eq!(mailbox.take_within(Duration::from_millis(1)), None);
    }

    #[test]
    fn another_thread_is_waited_for() {
        let (here, there) = (Mailbox::new(), Mailbox::new());
        let (questions, answers) = (there.clone(), here.clone());
        let thread = thread::spawn(move || {
            for _ in 0..2 {
                answers.put(questions.take() + 1);
            }
        });
        there.put(1);
        assert_eq!(here.take(), 2);
        there.put(2);
        assert_eq!(here.take_within(Duration::from_secs(60)), Some(3));
        thread.join().unwrap();
    }
}
