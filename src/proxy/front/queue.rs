//! A client's requests in progress, in the order asked.
//!
//! Most clients wait for each reply, so that the first request has its place here. Only who has several in progress has a list for the
//! others, which is lent: whoever has no request gives it back ([`Queue::give_back`]), for idle clients are many.

use std::collections::VecDeque;

/// Lists that are kept for who needs one next, and how many requests one of them may have room for.
const LISTS_KEPT: usize = 64;
const ROOM_KEPT: usize = 1024;

/// Lists that nobody has, one behind the other.
#[derive(Default)]
pub struct Lists {
    first: Option<Box<List>>,
    count: usize,
}

#[derive(Default)]
struct List {
    ids: VecDeque<u32>,
    next: Option<Box<List>>,
}

impl Lists {
    fn lend(&mut self) -> Box<List> {
        let Some(mut list) = self.first.take() else {
            return Box::default();
        };
        self.first = list.next.take();
        self.count -= 1;
        list
    }

    fn take_back(&mut self, mut list: Box<List>) {
        if self.count < LISTS_KEPT && list.ids.capacity() <= ROOM_KEPT {
            list.next = self.first.take();
            self.first = Some(list);
            self.count += 1;
        }
    }
}

/// Numbers of transactions.
#[derive(Default)]
pub struct Queue {
    first: Option<u32>,
    others: Option<Box<List>>,
}

impl Queue {
    #[inline]
    pub fn push_back(&mut self, lists: &mut Lists, id: usize) {
        let id = u32::try_from(id).expect("fewer requests than bytes of memory");
        match self.first {
            None => self.first = Some(id),
            Some(_) => self.others.get_or_insert_with(|| lists.lend()).ids.push_back(id),
        }
    }

    #[inline]
    pub fn pop_front(&mut self) {
        self.first = self.others.as_mut().and_then(|others| others.ids.pop_front());
    }

    #[inline]
    pub fn front(&self) -> Option<usize> {
        self.first.map(|id| id as usize)
    }

    #[inline]
    pub fn back(&self) -> Option<usize> {
        let last = self.others.as_ref().and_then(|others| others.ids.back());
        last.copied().or(self.first).map(|id| id as usize)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.as_ref().map_or(0, |others| others.ids.len())
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let others = self.others.iter().flat_map(|others| &others.ids);
        self.first.iter().chain(others).map(|&id| id as usize)
    }

    /// Gives back what is not needed while there is no request.
    #[inline]
    pub fn give_back(&mut self, lists: &mut Lists) {
        if self.is_empty() {
            if let Some(list) = self.others.take() {
                lists.take_back(list);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_leave_in_the_order_asked_and_a_list_is_lent() {
        let (mut queue, mut lists) = (Queue::default(), Lists::default());
        for round in 0..3 {
            for id in 0..5 {
                queue.push_back(&mut lists, id);
            }
            assert_eq!(queue.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
            for id in 0..5 {
                assert_eq!((queue.front(), queue.back(), queue.len()), (Some(id), Some(4), 5 - id));
                queue.pop_front();
            }
            assert!(queue.is_empty() && queue.back().is_none());
            queue.give_back(&mut lists);
            assert_eq!((queue.others.is_none(), lists.count), (true, 1), "round {round}");
        }
    }
}
