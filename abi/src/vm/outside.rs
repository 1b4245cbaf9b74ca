//! Contexts outside of any chain: one to see whether a guest makes them, and a root that
//! looks at an exchange when it is over.

use super::{RootId, Vm};
use crate::callbacks::Callback;
use crate::error::Trap;
use crate::exchange::SharedExchange;
use crate::state::{Access, Stream};

/// The position of a filter that is in no chain: what it asks of the exchange, nobody does.
const NOWHERE: usize = usize::MAX;

impl Vm {
    /// Opens a stream context and ends it at once: some modules make none, and crash
    /// (SDK notes C4).
    ///
    /// # Errors
    /// When the guest traps before it has one.
    pub fn try_stream(&mut self, root: RootId, exchange: SharedExchange) -> Result<(), Trap> {
        let (stream, account) = self.create_stream(root, exchange, NOWHERE)?;
        for callback in [Callback::Done, Callback::Delete] {
            // What comes of the end is another matter.
            let _ = self.call_stream(callback, stream, &[stream.id, 0, 0, 0, 0], &account);
        }
        self.forget_stream(stream);
        Ok(())
    }

    /// `proxy_on_log` of a root that writes an access log: it reads the exchange as a
    /// stream context would, without there being one (section 6.1). Nothing for a root that
    /// is gone.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn log(&mut self, root: RootId, exchange: SharedExchange) -> Result<(), Trap> {
        let state = self.instance.state();
        if !state.roots.contains_key(&root.0) {
            return Ok(());
        }
        let mut stream = Stream::new(root.0, exchange, NOWHERE);
        stream.access = [Access::Read, Access::None, Access::Read, Access::Read];
        let stream = state.streams.insert(root.0, stream);
        let logged = self.call(Callback::Log, root.0, &[root.0, 0, 0, 0, 0]);
        self.forget_stream(stream);
        logged?;
        Ok(())
    }
}
