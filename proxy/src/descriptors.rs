//! What fails because this process, or the machine, has no file descriptors or no memory
//! left for another socket: nobody's fault at the other end.

use std::io;

use rustix::io::Errno;

/// Whether a socket could not be had for want of them.
pub(crate) fn are_exhausted(error: &io::Error) -> bool {
    let error = Errno::from_io_error(error);
    error.is_some_and(|error| {
        matches!(
            error,
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM
        )
    })
}
