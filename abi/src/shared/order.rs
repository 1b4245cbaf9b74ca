//! A doubly linked list over small numbers, without pointers: puts the entries of a store
//! in order of use or of age. Every operation takes constant time.

const NONE: u32 = u32::MAX;

/// Numbers in order. Each is in it at most once.
#[derive(Debug)]
pub(super) struct Order {
    /// By number; meaningless for numbers that are not in the list.
    links: Vec<Link>,
    front: u32,
    back: u32,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

// === impl Order ===

impl Order {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn front(&self) -> Option<u32> {
        (self.front != NONE).then_some(self.front)
    }

    /// Puts `number`, which is not in the list, behind all others.
    pub(super) fn push_back(&mut self, number: u32) {
        let at = number as usize;
        if self.links.len() <= at {
            let unlinked = Link {
                before: NONE,
                after: NONE,
            };
            self.links.resize(at + 1, unlinked);
        }
        self.links[at] = Link {
            before: self.back,
            after: NONE,
        };
        match self.back {
            NONE => self.front = number,
            back => self.links[back as usize].after = number,
        }
        self.back = number;
        self.len += 1;
    }

    /// Takes `number`, which is in the list, out of it.
    pub(super) fn remove(&mut self, number: u32) {
        let Link { before, after } = self.links[number as usize];
        match before {
            NONE => self.front = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.back = before,
            after => self.links[after as usize].before = before,
        }
        self.len -= 1;
    }

    pub(super) fn move_to_back(&mut self, number: u32) {
        if self.back != number {
            self.remove(number);
            self.push_back(number);
        }
    }
}

impl Default for Order {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            front: NONE,
            back: NONE,
            len: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(mut order: Order) -> Vec<u32> {
        let mut numbers = Vec::new();
        while let Some(front) = order.front() {
            order.remove(front);
            numbers.push(front);
        }
        assert_eq!((order.len(), order.back), (0, NONE));
        numbers
    }

    #[test]
    fn numbers_leave_in_the_order_they_were_put() {
        let mut order = Order::default();
        for number in [3, 0, 7] {
            order.push_back(number);
        }
        assert_eq!(order.len(), 3);
        assert_eq!(drained(order), [3, 0, 7]);
    }

    #[test]
    fn any_number_can_leave_or_move() {
        let mut order = Order::default();
        for number in 0..5 {
            order.push_back(number);
        }
        order.remove(2);
        order.move_to_back(0);
        order.move_to_back(0);
        order.remove(4);
        order.push_back(2);
        assert_eq!(drained(order), [1, 3, 0, 2]);
    }
}
