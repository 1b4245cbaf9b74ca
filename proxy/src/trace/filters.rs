//! How long the head of a message stays in each filter: its callback, and what it waits for.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use cofferdam_abi::{Observer, Plugin, Way};

/// When heads came to filters and left them; shared with the chain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stays(Rc<RefCell<Vec<Stay>>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) plugin: Rc<Plugin>,
    pub(super) way: Way,
    pub(super) came: Instant,
    /// `None` for a head that went no further.
    pub(super) left: Option<Instant>,
}

/// An answer made in a chain goes through it once more; past that a chain is not believed.
const MOST: usize = 1_024;

// === impl Stays ===

impl Stays {
    pub(super) fn take(&self) -> Vec<Stay> {
        self.0.take()
    }
}

impl Observer for Stays {
    fn came(&mut self, way: Way, plugin: &Rc<Plugin>) {
        let mut stays = self.0.borrow_mut();
        if stays.len() < MOST {
            stays.push(Stay {
                plugin: plugin.clone(),
                way,
                came: Instant::now(),
                left: None,
            });
        }
    }

    fn left(&mut self, way: Way, plugin: &Rc<Plugin>) {
        let mut stays = self.0.borrow_mut();
        let mut open = stays.iter_mut().rev();
        let stay = open.find(|stay| {
            stay.way == way && stay.left.is_none() && Rc::ptr_eq(&stay.plugin, plugin)
        });
        if let Some(stay) = stay {
            stay.left = Some(Instant::now());
        }
    }
}
