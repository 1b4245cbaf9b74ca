//! The world around a filter under test.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::engine::Code;
use cofferdam_abi::testing::native::Native;
use cofferdam_abi::testing::{Engine, RecordingHost};
use cofferdam_abi::{AbiVersion, FilterHandle, Module, Plugin, RootId, Vm, VmSettings};

use super::calls::Calls;
use super::guest;
use super::live::Live;
use super::message::Seen;
use super::target::{self, Target};
use crate::callbacks::{self, Exports};
use crate::filter::{Function, Runner};
use crate::reply::Reply;

/// A filter, and everything around it.
///
/// The [module](super) has an example.
pub struct Tester {
    pub(super) host: Rc<RecordingHost>,
    code: Rc<dyn Code>,
    version: AbiVersion,
    plugin: Rc<Plugin>,
    pub(super) vm: Rc<RefCell<Vm>>,
    pub(super) root: RootId,
    pub(super) calls: Calls,
    pub(super) upstream: Box<dyn FnMut(&Seen) -> Reply>,
    pub(super) properties: Properties,
    pub(super) piece: usize,
    pub(super) trailers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) hostile: bool,
    pub(super) timer: Option<Timer>,
    /// Where exchanges are not run in here.
    pub(super) live: Option<Live>,
    /// What was logged and has not been asked for.
    said: Vec<String>,
    /// What it is while `live` is not there.
    inside: Target,
}

pub(super) type Properties = Vec<(Vec<Vec<u8>>, Vec<u8>)>;

/// When the filter's root is called next.
pub(super) struct Timer {
    pub(super) period: Duration,
    pub(super) next: Duration,
}

// === impl Tester ===

impl Tester {
    /// A filter made by [`filter`](macro@crate::filter), with that configuration.
    ///
    /// # Panics
    /// When it does not take the configuration; [`Tester::refusal`] is for that.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// let mut tester = Tester::of::<pass>("{}");
    /// ```
    #[must_use]
    pub fn of<F: Function + Exports<Runner<F>>>(configuration: &str) -> Self {
        let code = guest::native(guest::exports::<Runner<F>, F>());
        Self::of_target(Target::of_environment(), code, configuration, F::HELD)
            .unwrap_or_else(refused)
    }

    /// A filter of the callback layer: `Tester::of_callbacks::<Plugin>(…)`.
    ///
    /// # Panics
    /// When it does not take the configuration.
    ///
    /// ```
    /// # use std::rc::Rc;
    /// # use cofferdam_sdk::callbacks::{Head, HttpFilter, Plugin};
    /// # use cofferdam_sdk::{Error, Headers, export, testing::Tester};
    /// # struct Stamp;
    /// # #[export] impl Plugin for Stamp {
    /// #     type Stream = Exchange;
    /// #     fn configure(_: &[u8]) -> Result<Self, Error> { Ok(Stamp) }
    /// #     fn stream(_: &Rc<Self>) -> Exchange { Exchange }
    /// # }
    /// # struct Exchange;
    /// # #[export] impl HttpFilter for Exchange {
    /// #     type Plugin = Stamp;
    /// #     fn on_request_headers(&mut self, headers: &mut Headers, _: bool) -> Head {
    /// #         let _ = headers.set("x-stamp", "1"); Head::Continue
    /// #     }
    /// # }
    /// let answer = Tester::of_callbacks::<Stamp>("").get("/").send();
    /// assert_eq!(answer.upstream().unwrap().header("x-stamp"), Some("1"));
    /// ```
    #[must_use]
    pub fn of_callbacks<P>(configuration: &str) -> Self
    where
        P: callbacks::Plugin + Exports<P>,
        P::Stream: Exports<P>,
    {
        let mut exports = guest::exports::<P, P>();
        exports.extend(guest::exports::<P, P::Stream>());
        let code = guest::native(exports);
        Self::of_target(Target::of_environment(), code, configuration, false)
            .unwrap_or_else(refused)
    }

    /// The filter whose code this is: that, or its module, wherever it is to run.
    fn of_target(
        target: Target,
        code: Native,
        configuration: &str,
        holds: bool,
    ) -> Result<Self, String> {
        let native = |code| Self::begin(Rc::new(code), AbiVersion::V0_2_1, configuration, holds);
        match target {
            Target::Native => native(code),
            Target::Interpreter => Self::interpreted(&target::module(), configuration),
            // The code says the same of a configuration, and sooner.
            Target::Proxy | Target::Aot | Target::Envoy => native(code).map(|tester| Self {
                live: Some(Live::new(
                    target,
                    target::module(),
                    configuration.to_owned(),
                    holds,
                )),
                ..tester
            }),
        }
    }

    /// A filter that is built: the same tests, run by the interpreter.
    ///
    /// # Panics
    /// When the file is no module, or does not take the configuration.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::testing::Tester;
    /// let mut tester = Tester::of_module("my-filter.wasm", r#"{"who": "you"}"#);
    /// ```
    #[must_use]
    pub fn of_module(file: impl AsRef<Path>, configuration: &str) -> Self {
        let file = file.as_ref();
        let mut tester = Self::interpreted(file, configuration).unwrap_or_else(refused);
        let target = Target::of_environment();
        if !target.has_virtual_time() {
            let holds = tester.plugin.allow_on_headers_stop_iteration;
            let configuration = configuration.to_owned();
            tester.live = Some(Live::new(target, file.to_owned(), configuration, holds));
        }
        tester
    }

    fn interpreted(file: &Path, configuration: &str) -> Result<Self, String> {
        let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let module = Module::parse(bytes.into()).map_err(|error| error.to_string())?;
        let code = Engine::Wasmi.compile(&module, &VmSettings::default());
        let code = code.map_err(|error| error.to_string())?;
        let holds = module.holds_headers();
        let begun = Self::begin(code.into(), module.version, configuration, holds)?;
        Ok(Self {
            inside: Target::Interpreter,
            ..begun
        })
    }

    /// What the filter says of a configuration that it does not take.
    ///
    /// # Panics
    /// When it takes it.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// assert!(Tester::refusal::<pass>(r#"{"a": 1}"#).contains("unknown field `a`"));
    /// ```
    #[must_use]
    pub fn refusal<F: Function + Exports<Runner<F>>>(configuration: &str) -> String {
        let target = Target::of_environment();
        if !target.has_virtual_time() {
            let module = target::module();
            return Live::new(target, module, configuration.to_owned(), F::HELD).refusal();
        }
        let code = guest::native(guest::exports::<Runner<F>, F>());
        match Self::of_target(target, code, configuration, F::HELD) {
            Ok(_) => refused("the configuration is taken"),
            Err(said) => said,
        }
    }

    fn begin(
        code: Rc<dyn Code>,
        version: AbiVersion,
        configuration: &str,
        holds: bool,
    ) -> Result<Self, String> {
        let plugin = Rc::new(Plugin {
            name: "filter".to_owned(),
            configuration: Bytes::copy_from_slice(configuration.as_bytes()),
            allow_on_headers_stop_iteration: holds,
            ..Plugin::default()
        });
        let host = Rc::new(RecordingHost::default());
        let mut tester = Self::instance(code, version, plugin, &host)
            .map_err(|error| format!("{error}: {}", host.take_logs().join("; ")))?;
        tester.settle();
        Ok(tester)
    }

    fn instance(
        code: Rc<dyn Code>,
        version: AbiVersion,
        plugin: Rc<Plugin>,
        host: &Rc<RecordingHost>,
    ) -> Result<Self, cofferdam_abi::LoadError> {
        let settings = Rc::new(VmSettings::default());
        let mut vm = Vm::start(&*code, version, settings, host.clone())?;
        let root = vm.create_root(plugin.clone())?;
        Ok(Self {
            host: host.clone(),
            code,
            version,
            plugin,
            vm: Rc::new(RefCell::new(vm)),
            root,
            calls: Calls::default(),
            upstream: Box::new(|_| Reply::new(200)),
            properties: Vec::new(),
            piece: usize::MAX,
            trailers: Vec::new(),
            hostile: true,
            timer: None,
            live: None,
            said: Vec::new(),
            inside: Target::Native,
        })
    }

    /// Another instance of the same filter, for hostile headers.
    pub(super) fn twin(&self) -> Option<Self> {
        let host = Rc::new(RecordingHost::default());
        host.now.set(self.host.now.get());
        let mut clusters = self.host.clusters.borrow().clone();
        host.clusters.borrow_mut().append(&mut clusters);
        let plugin = self.plugin.clone();
        let mut twin = Self::instance(self.code.clone(), self.version, plugin, &host).ok()?;
        twin.hostile = false;
        twin.calls = self.calls.all_answered();
        twin.settle();
        Some(twin)
    }

    /// What the upstream answers; 200 without a body, if nothing else is said.
    ///
    /// [`Seen`] has an example.
    pub fn upstream(&mut self, answer: impl FnMut(&Seen) -> Reply + 'static) {
        self.upstream = Box::new(answer);
    }

    /// Bodies of responses come in pieces of so many bytes at most.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// let mut tester = Tester::of::<pass>("");
    /// tester.pieces(1);
    /// ```
    pub fn pieces(&mut self, bytes: usize) {
        self.piece = bytes.max(1);
    }

    /// Responses of the upstream end with that trailer too.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// let mut tester = Tester::of::<pass>("");
    /// tester.upstream_trailer("x-sum", "7");
    /// assert_eq!(tester.get("/").send().trailer("x-sum"), Some("7"));
    /// ```
    pub fn upstream_trailer(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let pair = (name.as_bytes().to_vec(), value.as_ref().to_vec());
        self.trailers.push(pair);
    }

    /// The value of a property, as the host has it in its bytes.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn who(request: Request) -> Result<Response> {
    /// #     let address = cofferdam_sdk::raw::property(b"source\0address")?;
    /// #     Ok(Response::new(200).with_body(address))
    /// # }
    /// let mut tester = Tester::of::<who>("");
    /// tester.property(&["source", "address"], "192.0.2.1:80");
    /// assert_eq!(tester.get("/").send().text(), "192.0.2.1:80");
    /// ```
    pub fn property(&mut self, path: &[&str], value: impl AsRef<[u8]>) {
        self.needs("properties that the test makes up");
        let path = path.iter().map(|part| part.as_bytes().to_vec()).collect();
        self.properties.push((path, value.as_ref().to_vec()));
    }

    /// From here on exchanges are not run a second time with hostile headers.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// let mut tester = Tester::of::<pass>("");
    /// tester.without_hostile_headers();
    /// ```
    pub const fn without_hostile_headers(&mut self) {
        self.hostile = false;
    }

    /// The host holds no headers for their body: Envoy without
    /// `allow_on_headers_stop_iteration`.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn whole(mut request: Request<Held>) -> Result<Response> {
    /// #     request.body(1024).await?;
    /// #     request.forward().await
    /// # }
    /// let mut tester = Tester::of::<whole>("");
    /// tester.hold_no_headers();
    /// assert_eq!(tester.post("/", "x").send().status(), 500);
    /// assert!(tester.logs().iter().any(|line| line.contains("allow_on_headers_stop_iteration")));
    /// ```
    pub fn hold_no_headers(&mut self) {
        match &mut self.live {
            Some(live) if live.target == Target::Envoy => live.holds = false,
            _ => self.needs("a host that does not hold headers"),
        }
        let mut plugin = (*self.plugin).clone();
        plugin.allow_on_headers_stop_iteration = false;
        self.plugin = Rc::new(plugin);
    }

    /// What was logged since it was last asked, as `Level filter: text`.
    ///
    /// [`Tester::hold_no_headers`] has an example.
    pub fn logs(&mut self) -> Vec<String> {
        self.needs("a log that is there at once (Tester::logged waits for a line)");
        let mut said = std::mem::take(&mut self.said);
        said.extend(self.host.take_logs());
        said
    }

    /// Whether a line that contains this is logged since logs were last asked for; around a
    /// process, since it was started, or within 15 s.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// #[filter]
    /// async fn says(request: Request) -> Result<Response> {
    ///     info!("{} came", request.path().lossy());
    ///     request.forward().await
    /// }
    ///
    /// let mut tester = Tester::of::<says>("");
    /// tester.get("/a").send();
    /// assert!(tester.logged("/a came"));
    /// ```
    #[must_use]
    pub fn logged(&mut self, text: &str) -> bool {
        if let Some(live) = &self.live {
            return live.logged(text);
        }
        self.said.extend(self.host.take_logs());
        self.said.iter().any(|line| line.contains(text))
    }

    /// What the filter runs in.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// let tester = Tester::of::<pass>("");
    /// if !tester.target().has_virtual_time() {
    ///     eprintln!("SKIPPED: {} would take an hour", tester.target().name());
    /// }
    /// ```
    #[must_use]
    pub fn target(&self) -> Target {
        self.live.as_ref().map_or(self.inside, |live| live.target)
    }

    /// Ends the test where it runs around a process, which cannot have that.
    pub(super) fn needs(&self, what: &str) {
        if let Some(live) = &self.live {
            live.target.unfit(what)
        }
    }

    /// The value of a counter or a gauge by its full name; 0 where it was never used.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::{metrics::Counter, testing::Tester};
    /// static SEEN: Counter = Counter::new("seen");
    /// # #[filter] async fn count(request: Request) -> Result<Response> {
    /// SEEN.with(&[("way", "in")]).add(1)?;
    /// #     request.forward().await
    /// # }
    /// let mut tester = Tester::of::<count>("");
    /// tester.get("/").send();
    /// assert_eq!(tester.metric("seen.way=in"), 1);
    /// ```
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        if let Some(live) = &self.live {
            return live.metric(name);
        }
        let metrics = self.host.shared.metrics().guests();
        let mut named = metrics
            .iter()
            .filter(|metric| metric.name() == name.as_bytes());
        named.find_map(|metric| metric.value()).unwrap_or(0)
    }

    /// Lets time pass: timers go off, calls are answered. Around a process it is real time,
    /// of at most 3 s.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// let mut tester = Tester::of::<pass>("");
    /// tester.advance(std::time::Duration::from_secs(60));
    /// ```
    pub fn advance(&mut self, time: Duration) {
        if let Some(mut live) = self.live.take() {
            live.advance(self, time);
            self.live = Some(live);
            return;
        }
        let until = self.host.now.get() + time;
        while self.step(until) {
            self.settle();
        }
        self.host.now.set(until);
    }

    /// Nothing is left of past exchanges. A process is not looked into.
    ///
    /// # Panics
    /// When a stream is, or a call that nobody has answered.
    ///
    /// The [module](super) has an example.
    pub fn no_leaks(&self) {
        if let Some(live) = &self.live {
            eprintln!("leaks are not looked for in {}", live.target.name());
            return;
        }
        let mut vm = self.vm.borrow_mut();
        assert_eq!(vm.streams(), 0, "streams that are not gone");
        assert_eq!(vm.callouts(), 0, "calls that nobody has answered");
    }

    pub(super) fn handle(&self) -> FilterHandle {
        FilterHandle {
            vm: self.vm.clone(),
            root: self.root,
            plugin: self.plugin.clone(),
        }
    }
}

#[expect(clippy::panic, reason = "tests are told so that something is wrong")]
pub(super) fn refused<T>(error: impl std::fmt::Display) -> T {
    panic!("not as the test wants it: {error}")
}

impl std::fmt::Debug for Tester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tester").finish_non_exhaustive()
    }
}
