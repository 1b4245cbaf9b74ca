//! What a test's filter runs in.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::host::refused;

/// What the filter under test runs in. One test serves all: the environment chooses.
///
/// | `COFFERDAM_TEST_TARGET` | the filter is | around it is |
/// |---|---|---|
/// | `native`, or nothing | its code, natively | the proxy's state machine, in the test |
/// | `interpreter` | its module, interpreted | the same |
/// | `proxy` | its module | the proxy itself: a process, real connections |
/// | `aot` | its module, as native code from the first request | likewise |
/// | `envoy` | its module | the real Envoy: a process, real connections |
///
/// The module is what `cofferdam build` has built of the package under test, or what
/// `FILTER_WASM` names. The proxy's program is what `COFFERDAM` names, or else
/// `cofferdam`; Envoy's what `ENVOY` names, and there is no other. Empty is as good as not set.
///
/// A process has real time, and knows nothing that a test makes up. What cannot be had there
/// ends the test: `not run against envoy: needs virtual time`. A test that can do without
/// asks [`Tester::target`](super::Tester::target).
///
/// ```
/// use cofferdam_sdk::testing::Target;
///
/// assert_eq!(Target::from_name("envoy"), Some(Target::Envoy));
/// assert!(!Target::Envoy.has_virtual_time());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The filter's code in the state machine.
    Native,
    /// The module in the state machine.
    Interpreter,
    /// The proxy, as it runs filters by itself.
    Proxy,
    /// The proxy, with native code.
    Aot,
    /// Envoy.
    Envoy,
}

// === impl Target ===

impl Target {
    /// All of them.
    ///
    /// ```
    /// # use cofferdam_sdk::testing::Target;
    /// let names = Target::ALL.map(Target::name);
    /// assert_eq!(names, ["native", "interpreter", "proxy", "aot", "envoy"]);
    /// ```
    pub const ALL: [Self; 5] = [
        Self::Native,
        Self::Interpreter,
        Self::Proxy,
        Self::Aot,
        Self::Envoy,
    ];

    /// Its name, as `COFFERDAM_TEST_TARGET` says it.
    ///
    /// [`Target::ALL`] has an example.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Interpreter => "interpreter",
            Self::Proxy => "proxy",
            Self::Aot => "aot",
            Self::Envoy => "envoy",
        }
    }

    /// The one of that name.
    ///
    /// The [type](Self) has an example.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Whether time stands still until something waits for it, and passes at once then.
    ///
    /// The [type](Self) has an example.
    #[must_use]
    pub const fn has_virtual_time(self) -> bool {
        matches!(self, Self::Native | Self::Interpreter)
    }

    /// What `COFFERDAM_TEST_TARGET` says.
    pub(super) fn of_environment() -> Self {
        match std::env::var("COFFERDAM_TEST_TARGET").as_deref() {
            Err(_) | Ok("") => Self::Native,
            Ok(name) => Self::from_name(name).unwrap_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                refused(format!("COFFERDAM_TEST_TARGET={name}: there is {names}"))
            }),
        }
    }

    /// Ends a test that this target cannot run.
    #[expect(clippy::panic, reason = "nobody is to think that it was run")]
    pub(super) fn unfit<T>(self, needs: &str) -> T {
        panic!("not run against {}: needs {needs}", self.name())
    }
}

/// The module of the package under test.
pub(super) fn module() -> PathBuf {
    if let Some(file) = std::env::var_os("FILTER_WASM") {
        return file.into();
    }
    let [Some(package), Some(folder)] =
        ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"].map(std::env::var_os)
    else {
        return refused("say by FILTER_WASM where the module is: this is not run by cargo");
    };
    let (package, folder) = (package.to_string_lossy().into_owned(), Path::new(&folder));
    let built = format!("wasm32-wasip1/release/{}.wasm", package.replace('-', "_"));
    let mut places = vec![folder.join(format!("{package}.wasm"))];
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => places.push(Path::new(&target).join(&built)),
        None => places.extend(folder.ancestors().map(|a| a.join("target").join(&built))),
    }
    let of = |file: PathBuf| Some((modified(&file)?, file));
    let Some((time, file)) = places.into_iter().find_map(of) else {
        return refused(format!(
            "{package}.wasm is not built: type `cofferdam build`, or say by FILTER_WASM where it is"
        ));
    };
    if let Some(newer) = newest(&folder.join("src")).filter(|(newest, _)| *newest > time) {
        let (file, newer) = (file.display(), newer.1.display());
        return refused(format!(
            "{file} is older than {newer}: type `cofferdam build`"
        ));
    }
    file
}

fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().ok()?.modified().ok()
}

/// The file that was written last, of all in a folder.
fn newest(folder: &Path) -> Option<(SystemTime, PathBuf)> {
    let entries = folder.read_dir().ok()?.flatten();
    let each = entries.filter_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return newest(&path);
        }
        Some((modified(&path)?, path))
    });
    each.max()
}
