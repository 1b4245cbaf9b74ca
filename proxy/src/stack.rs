//! Threads that guests may run on: with room for the deepest guest that a configuration
//! allows, because native code recurses on the thread's own stack, and one that reached its
//! end would take the process with it.

use std::io;
use std::thread::{self, Builder};

/// Of each of them: the most that `limits.stack` may be, and what the host needs below and
/// above it. It is addresses until somebody recurses.
pub(crate) const SIZE: usize = 12 << 20;

/// Does something on such a thread, and waits for it.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn with<R: Send>(what: impl FnOnce() -> R + Send) -> io::Result<R> {
    thread::scope(|scope| {
        let thread = Builder::new()
            .name("start".to_owned())
            .stack_size(SIZE)
            .spawn_scoped(scope, what)?;
        match thread.join() {
            Ok(done) => Ok(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::SIZE;
    use crate::config::check::fields::LIMITS;
    use crate::config::yaml::Kind;

    #[test]
    fn there_is_room_for_the_deepest_guest_and_its_host() {
        let field = LIMITS.field("stack").expect("a field");
        let Kind::Size { max, .. } = field.kind else {
            panic!("a size");
        };
        assert!(SIZE as u64 >= max + (3 << 20));
    }
}
