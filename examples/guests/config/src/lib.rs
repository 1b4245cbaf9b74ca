//! Shows what the guest was configured with, as headers of the response.
//!
//! | header | |
//! |---|---|
//! | `x-configuration` | the configuration, as the guest got it; on the request too |
//! | `x-vm-configuration` | the VM's configuration |
//! | `x-plugin` | `NAME/ROOT_ID/VM_ID` |
//! | `x-environment` | `KEY=VALUE` of every variable, joined by commas |
//!
//! The configuration `refuse` is refused, and so is the VM configuration `refuse`, each with
//! a line in the log that says so.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(ConfigRoot::default()));
}}

#[derive(Default)]
struct Shown {
    configuration: String,
    vm_configuration: String,
}

#[derive(Default)]
struct ConfigRoot {
    shown: Rc<Shown>,
}

impl Context for ConfigRoot {}

impl RootContext for ConfigRoot {
    fn on_vm_start(&mut self, _size: usize) -> bool {
        let refused = self.get_vm_configuration().as_deref() == Some(b"refuse");
        if refused {
            log::error!("config: the VM configuration says refuse");
        }
        !refused
    }

    fn on_configure(&mut self, size: usize) -> bool {
        let text = |bytes: Option<Vec<u8>>| {
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        let configuration = text(self.get_plugin_configuration());
        if configuration == "refuse" {
            log::error!("config: the configuration says refuse");
            return false;
        }
        log::info!("config: {size} bytes");
        let vm_configuration = text(self.get_vm_configuration());
        self.shown = Rc::new(Shown {
            configuration,
            vm_configuration,
        });
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Config {
            shown: Rc::clone(&self.shown),
        }))
    }
}

struct Config {
    shown: Rc<Shown>,
}

impl Config {
    fn property(&self, name: &str) -> String {
        let value = self.get_property(vec![name]).unwrap_or_default();
        String::from_utf8_lossy(&value).into_owned()
    }
}

impl Context for Config {}

impl HttpContext for Config {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_request_header("x-configuration", Some(&self.shown.configuration));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let plugin = ["plugin_name", "plugin_root_id", "plugin_vm_id"]
            .map(|name| self.property(name))
            .join("/");
        let environment = std::env::vars()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>()
            .join(",");
        self.set_http_response_header("x-configuration", Some(&self.shown.configuration));
        self.set_http_response_header("x-vm-configuration", Some(&self.shown.vm_configuration));
        self.set_http_response_header("x-plugin", Some(&plugin));
        self.set_http_response_header("x-environment", Some(&environment));
        Action::Continue
    }
}
