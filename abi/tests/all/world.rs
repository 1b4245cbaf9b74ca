//! What runs a guest, and how a test looks at it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use cofferdam_abi::engine::Code;
use cofferdam_abi::testing::{self, Guest, RecordingHost};
use cofferdam_abi::{Chain, Compat, LoadError, Module, Part, Plugin, Shared, Vm, VmSettings, Way};

use crate::guest::{self, Shape};

/// Makes one test per engine of each function, in a module named after the engine.
macro_rules! each_engine {
    ($(fn $name:ident($engine:ident) $body:block)*) => {
        $(fn $name($engine: $crate::world::Engine) $body)*

        mod wasmi {
            $(#[test] fn $name() { super::$name($crate::world::Engine::Wasmi); })*
        }

        mod wasmtime {
            $(#[test] fn $name() { super::$name($crate::world::Engine::Wasmtime); })*
        }
    };
}

/// What runs the guests. Another engine is a variant here and a module in `each_engine`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Engine {
    /// The interpreter.
    Wasmi,
    /// Native code.
    Wasmtime,
}

/// How a guest is configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    pub(crate) plugin: Plugin,
    pub(crate) settings: VmSettings,
    pub(crate) shape: Shape,
    /// What it shares; nothing with anybody unless given.
    pub(crate) shared: Option<Arc<Shared>>,
    /// The clusters there are.
    pub(crate) clusters: Vec<String>,
}

impl Setup {
    pub(crate) fn compat(compat: Compat) -> Self {
        let settings = VmSettings {
            compat,
            ..VmSettings::default()
        };
        Self {
            settings,
            ..Self::default()
        }
    }

    pub(crate) fn version(marker: &'static str) -> Self {
        Self {
            shape: Shape {
                marker,
                ..Shape::default()
            },
            ..Self::default()
        }
    }

    /// A filter whose header callbacks answering 1 hold the headers only.
    pub(crate) fn real_stop() -> Self {
        let plugin = Plugin {
            allow_on_headers_stop_iteration: true,
            ..Plugin::default()
        };
        Self {
            plugin,
            ..Self::default()
        }
    }

    pub(crate) fn body_limit(body_limit: usize) -> Self {
        Self {
            plugin: Plugin {
                body_limit,
                ..Plugin::default()
            },
            ..Self::default()
        }
    }
}

impl Engine {
    /// A guest of that source, with every default.
    pub(crate) fn guest(self, source: &str) -> Guest {
        self.guest_of(Setup::default(), source)
    }

    /// A guest of that source that loads.
    pub(crate) fn guest_of(self, setup: Setup, source: &str) -> Guest {
        self.load(setup, source)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// A guest of that source.
    pub(crate) fn load(self, setup: Setup, source: &str) -> Result<Guest, LoadError> {
        let wat = guest::module(source, setup.shape);
        self.wat(setup, &wat)
    }

    /// A guest of a whole module.
    pub(crate) fn wat(self, setup: Setup, wat: &str) -> Result<Guest, LoadError> {
        self.start(setup, wat).1
    }

    /// Likewise, with the host that a guest which does not start leaves behind.
    pub(crate) fn start(
        self,
        setup: Setup,
        wat: &str,
    ) -> (Rc<RecordingHost>, Result<Guest, LoadError>) {
        let host = Rc::new(RecordingHost {
            shared: setup.shared.clone().unwrap_or_default(),
            clusters: setup.clusters.clone().into(),
            ..RecordingHost::default()
        });
        let started = self.start_on(&host, setup, wat);
        (host, started)
    }

    fn start_on(
        self,
        host: &Rc<RecordingHost>,
        setup: Setup,
        wat: &str,
    ) -> Result<Guest, LoadError> {
        let (code, module) = self.compile(&setup.settings, wat)?;
        let mut vm = Vm::start(
            &*code,
            module.version,
            Rc::new(setup.settings),
            host.clone(),
        )?;
        let plugin = Rc::new(setup.plugin);
        let root = vm.create_root(plugin.clone())?;
        Ok(Guest {
            host: host.clone(),
            vm: Rc::new(RefCell::new(vm)),
            root,
            plugin,
        })
    }

    /// What the host's loader makes of a module, and this engine's code for it.
    pub(crate) fn compile(
        self,
        settings: &VmSettings,
        wat: &str,
    ) -> Result<(Box<dyn Code>, Module), LoadError> {
        let wasm = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
        let module = Module::parse(wasm.into())?;
        if let Some(problem) = module.problems(&settings.compat).into_iter().next() {
            return Err(problem);
        }
        let code = self.code(&module, settings)?;
        Ok((code, module))
    }

    /// This engine's code for a module.
    pub(crate) fn code(
        self,
        module: &Module,
        settings: &VmSettings,
    ) -> Result<Box<dyn Code>, LoadError> {
        let engine = match self {
            Self::Wasmi => testing::Engine::Wasmi,
            Self::Wasmtime => testing::Engine::Wasmtime,
        };
        engine.compile(module, settings)
    }
}

/// How a test looks at a guest.
pub(crate) trait Look {
    /// What it has logged since the last time, without level and name.
    fn logs(&self) -> Vec<String>;
    /// What it logs from one request without a body to the end of its stream.
    fn get(&self) -> Vec<String>;
    /// What it logs during one call of its timer.
    fn tick(&self) -> Vec<String>;
}

impl Look for Guest {
    fn logs(&self) -> Vec<String> {
        let text = |record: String| {
            record
                .split_once(": ")
                .map_or_else(String::new, |(_, text)| text.to_owned())
        };
        self.host.take_logs().into_iter().map(text).collect()
    }

    fn get(&self) -> Vec<String> {
        self.logs();
        let mut chain = self.chain();
        chain.headers(Way::Request, true);
        chain.end();
        assert_eq!(chain.failure(), None);
        self.logs()
    }

    fn tick(&self) -> Vec<String> {
        self.logs();
        self.vm
            .borrow_mut()
            .tick(self.root)
            .unwrap_or_else(|trap| panic!("{trap}"));
        self.logs()
    }
}

/// How a test drives a chain. Every method answers what may leave that way afterwards.
pub(crate) trait Drive {
    fn headers(&mut self, way: Way, end: bool) -> Vec<String>;
    fn data(&mut self, way: Way, text: &str, end: bool) -> Vec<String>;
    fn trailers(&mut self, way: Way, pairs: &[(&str, &str)]) -> Vec<String>;
    /// The upstream's response begins.
    fn respond(&mut self, end: bool) -> Vec<String>;
    fn out(&mut self, way: Way) -> Vec<String>;
    /// The response's headers, as `name: value`.
    fn response(&self) -> Vec<String>;
    /// The request's headers, as `name: value`.
    fn request(&self) -> Vec<String>;
}

impl Drive for Chain {
    fn headers(&mut self, way: Way, end: bool) -> Vec<String> {
        self.push(way, Part::Headers { end });
        self.out(way)
    }

    fn data(&mut self, way: Way, text: &str, end: bool) -> Vec<String> {
        self.push(way, testing::data(text, end));
        self.out(way)
    }

    fn trailers(&mut self, way: Way, pairs: &[(&str, &str)]) -> Vec<String> {
        let map = Some(testing::map(pairs));
        match way {
            Way::Request => self.exchange().borrow_mut().request_trailers = map,
            Way::Response => self.exchange().borrow_mut().response_trailers = map,
        }
        self.push(way, Part::Trailers);
        self.out(way)
    }

    fn respond(&mut self, end: bool) -> Vec<String> {
        let map = testing::map(&[(":status", "200"), ("x-up", "u")]);
        self.exchange().borrow_mut().response_headers = Some(map);
        self.headers(Way::Response, end)
    }

    fn out(&mut self, way: Way) -> Vec<String> {
        testing::drain(self, way)
    }

    fn response(&self) -> Vec<String> {
        show(self.exchange().borrow().response_headers.as_ref())
    }

    fn request(&self) -> Vec<String> {
        show(self.exchange().borrow().request_headers.as_ref())
    }
}

/// A map as `name: value`.
pub(crate) fn show(map: Option<&cofferdam_abi::Headers>) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let entries = map.map_or(&[][..], |map| map.entries());
    entries
        .iter()
        .map(|(name, value)| format!("{}: {}", text(name), text(value)))
        .collect()
}

/// The presets, in the order superset, envoy, spec.
pub(crate) const PRESETS: [Compat; 3] = [Compat::SUPERSET, Compat::ENVOY, Compat::SPEC];
