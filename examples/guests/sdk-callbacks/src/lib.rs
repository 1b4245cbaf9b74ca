//! One header each way through the callback layer of `cofferdam-sdk`. The configuration,
//! plain text, is the header's value; "panic" as a request's `x-do` shows the panic hook.

use std::rc::Rc;

use cofferdam_sdk::callbacks::{Head, HttpFilter, Plugin};
use cofferdam_sdk::{Error, Headers, Status, debug, export, info, warn};

struct Stamp {
    value: String,
}

#[export]
impl Plugin for Stamp {
    type Stream = Exchange;

    fn configure(configuration: &[u8]) -> Result<Self, Error> {
        let value = String::from_utf8(configuration.to_vec())?;
        if value.contains(['\r', '\n']) {
            return Err(Error::new("a header's value is one line"));
        }
        info!("stamping with {value:?}");
        Ok(Self { value })
    }

    fn stream(plugin: &Rc<Self>) -> Exchange {
        Exchange {
            plugin: plugin.clone(),
        }
    }
}

struct Exchange {
    plugin: Rc<Stamp>,
}

impl Exchange {
    fn stamp(&self, headers: &mut Headers) -> Result<(), Status> {
        debug!("one of {} headers", headers.entries().len());
        headers.set("x-sdk-callbacks", &self.plugin.value)
    }
}

#[export]
impl HttpFilter for Exchange {
    type Plugin = Stamp;

    fn on_request_headers(&mut self, headers: &mut Headers, _end: bool) -> Head {
        if headers.get("x-do").is_some_and(|what| what == "panic") {
            #[expect(clippy::panic, reason = "what this is about")]
            {
                panic!("as asked");
            }
        }
        if let Err(status) = self.stamp(headers) {
            warn!("no stamp: {status}");
        }
        Head::Continue
    }

    fn on_response_headers(&mut self, headers: &mut Headers, _end: bool) -> Head {
        if let Err(status) = self.stamp(headers) {
            warn!("no stamp: {status}");
        }
        Head::Continue
    }
}
