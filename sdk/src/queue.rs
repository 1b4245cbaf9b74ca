//! Shared queues: items from any filter to one that has registered.
//!
//! ```no_run
//! use cofferdam_sdk::queue::Queue;
//!
//! // In the plugin that reads: its `on_queue_ready` is called when there is something.
//! let lines = Queue::register("lines")?;
//! while let Some(line) = lines.pop()? {
//!     cofferdam_sdk::info!("{} bytes", line.len());
//! }
//! // In another filter, of the same `vm_id` or of one that is named:
//! if let Some(lines) = Queue::find("", "lines")? {
//!     lines.push(b"one")?;
//! }
//! # Ok::<(), cofferdam_sdk::Status>(())
//! ```

use crate::raw;
use crate::types::Status;

/// A queue of bytes.
///
/// The [module](self) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Queue {
    id: u32,
}

impl Queue {
    /// The queue of that name, made if need be. This plugin is told of its items from now
    /// on, with [`Queue::id`].
    ///
    /// # Errors
    /// Where the host has no room for another.
    ///
    /// ```no_run
    /// let lines = cofferdam_sdk::queue::Queue::register("lines")?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn register(name: &str) -> Result<Self, Status> {
        raw::register_shared_queue(name).map(|id| Self { id })
    }

    /// The queue of that name in the VM id (empty: one's own); `None` where nobody has
    /// registered it.
    ///
    /// # Errors
    /// Where the host has no queues.
    ///
    /// ```no_run
    /// let lines = cofferdam_sdk::queue::Queue::find("collector", "lines")?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn find(vm_id: &str, name: &str) -> Result<Option<Self>, Status> {
        match raw::resolve_shared_queue(vm_id, name) {
            Ok(id) => Ok(Some(Self { id })),
            Err(Status::NotFound) => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// The number that `on_queue_ready` names it by.
    ///
    /// ```no_run
    /// # fn f(queue: u32, lines: cofferdam_sdk::queue::Queue) {
    /// let is_ours = queue == lines.id();
    /// # }
    /// ```
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Puts an item at its end.
    ///
    /// # Errors
    /// Where it is full, or gone.
    ///
    /// ```no_run
    /// # fn f(lines: cofferdam_sdk::queue::Queue) -> Result<(), cofferdam_sdk::Status> {
    /// lines.push(b"one")
    /// # }
    /// ```
    pub fn push(&self, item: &[u8]) -> Result<(), Status> {
        raw::enqueue_shared_queue(self.id, item)
    }

    /// Takes its first item; `None` where there is none: another may have been faster.
    ///
    /// # Errors
    /// Where it is gone.
    ///
    /// ```no_run
    /// # fn f(lines: cofferdam_sdk::queue::Queue) -> Result<(), cofferdam_sdk::Status> {
    /// while let Some(line) = lines.pop()? { /* … */ }
    /// # Ok(())
    /// # }
    /// ```
    pub fn pop(&self) -> Result<Option<Vec<u8>>, Status> {
        match raw::dequeue_shared_queue(self.id) {
            Ok(item) => Ok(Some(item)),
            Err(Status::Empty) => Ok(None),
            Err(status) => Err(status),
        }
    }
}
