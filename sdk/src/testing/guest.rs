//! A filter's code, as the host's state machine calls it.

use cofferdam_abi::callbacks::Callback;
use cofferdam_abi::testing::native::{Guest, Native};

use crate::ambient::Ambient;
use crate::callbacks::{self, Dispatcher, Exports, Plugin};

struct Module<P: Plugin> {
    dispatcher: Dispatcher<P>,
    ambient: Ambient,
    callbacks: Vec<callbacks::Callback<P>>,
}

/// The module that these exports would make.
pub(super) fn native<P: Plugin>(callbacks: Vec<callbacks::Callback<P>>) -> Native {
    let known = callbacks
        .iter()
        .filter_map(|(name, _)| Callback::from_name(name));
    Native::new(known.collect::<Vec<_>>(), move || {
        Box::new(Module {
            dispatcher: Dispatcher::new(),
            ambient: Ambient::default(),
            callbacks: callbacks.clone(),
        })
    })
}

/// All that `E` exports.
pub(super) fn exports<P: Plugin, E: Exports<P>>() -> Vec<callbacks::Callback<P>> {
    E::CALLBACKS.to_vec()
}

impl<P: Plugin> Guest for Module<P> {
    fn call(&mut self, callback: Callback, args: [u32; 5]) -> u32 {
        /// Puts back what was, also when the filter panics.
        struct Turn<'a>(&'a Ambient);
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                Ambient::swap(self.0);
            }
        }
        let mut callbacks = self.callbacks.iter();
        let Some((_, call)) = callbacks.find(|(name, _)| *name == callback.name()) else {
            return 0;
        };
        Ambient::swap(&self.ambient);
        let _turn = Turn(&self.ambient);
        call(&self.dispatcher, args)
    }
}
