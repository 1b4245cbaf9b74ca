//! Values of a type in shared data.

use std::fmt;
use std::marker::PhantomData;

use super::{KvError, get, insert_new, set, update};

/// A value of type `T` under a key, for all workers.
///
/// ```
/// # use cofferdam_sdk::prelude::*;
/// use cofferdam_sdk::kv::Cell;
///
/// /// Each client's highest number so far.
/// #[filter]
/// async fn highest(request: Request) -> Result<Response> {
///     let number: u64 = request.query().get("n").unwrap_or("0").parse()?;
///     let cell: Cell<'_, u64> = Cell::new("highest");
///     let highest = cell.update(|old| Some(old.unwrap_or(0).max(number)))?;
///     Ok(Response::new(200).with_body(format!("{highest:?}")))
/// }
/// # #[cfg(feature = "testing")] {
/// # use cofferdam_sdk::testing::Tester;
/// # let mut tester = Tester::of::<highest>("");
/// # tester.without_hostile_headers();
/// # for (path, text) in [("/?n=3", "Some(3)"), ("/?n=7", "Some(7)"), ("/?n=5", "Some(7)")] {
/// #     assert_eq!(tester.get(path).send().text(), text);
/// # }
/// # }
/// ```
pub struct Cell<'a, T> {
    key: &'a str,
    of: PhantomData<fn(T) -> T>,
}

/// What can be put into a [`Cell`]: numbers (8 bytes of an `u64`, the lowest first, and so on),
/// `bool`, text and bytes; with the feature `json` also [`Json`] of anything.
///
/// ```
/// use cofferdam_sdk::kv::Stored;
///
/// /// Two numbers in one value, so that they change together.
/// struct Bucket { tokens: u32, at: u64 }
///
/// impl Stored for Bucket {
///     fn to_bytes(&self) -> Option<Vec<u8>> {
///         Some([&self.tokens.to_le_bytes()[..], &self.at.to_le_bytes()].concat())
///     }
///
///     fn from_bytes(bytes: &[u8]) -> Option<Self> {
///         let (tokens, at) = bytes.split_at_checked(4)?;
///         Some(Self { tokens: Stored::from_bytes(tokens)?, at: Stored::from_bytes(at)? })
///     }
/// }
/// # let bytes = Bucket { tokens: 7, at: 9 }.to_bytes().unwrap();
/// # assert_eq!((bytes.len(), Bucket::from_bytes(&bytes).unwrap().at), (12, 9));
/// # assert!(Bucket::from_bytes(&bytes[1..]).is_none());
/// ```
pub trait Stored: Sized {
    /// Its bytes; `None` where it has none.
    fn to_bytes(&self) -> Option<Vec<u8>>;

    /// The value of these bytes; `None` where they are another's: another version of the
    /// filter may have stored them.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// Any value of serde's, stored as JSON.
///
/// ```
/// # use cofferdam_sdk::prelude::*;
/// use cofferdam_sdk::kv::{Cell, Json};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Default)]
/// struct Seen { count: u32, last: String }
///
/// #[filter]
/// async fn remember(request: Request) -> Result<Response> {
///     let path = request.path().lossy().into_owned();
///     let cell: Cell<'_, Json<Seen>> = Cell::new("seen");
///     cell.update(|old| {
///         let Json(mut seen) = old.unwrap_or_default();
///         (seen.count, seen.last) = (seen.count + 1, path.clone());
///         Some(Json(seen))
///     })?;
///     request.forward().await
/// }
/// # #[cfg(feature = "testing")] {
/// # use cofferdam_sdk::testing::Tester;
/// # let mut tester = Tester::of::<remember>("");
/// # assert_eq!(tester.get("/a").send().status(), 200);
/// # }
/// ```
#[cfg(feature = "json")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json<T>(pub T);

// === impl Cell ===

impl<'a, T: Stored> Cell<'a, T> {
    /// The cell of that key.
    ///
    /// ```
    /// use cofferdam_sdk::kv::Cell;
    /// let expires: Cell<'_, u64> = Cell::new("token.expires");
    /// ```
    #[must_use]
    pub const fn new(key: &'a str) -> Self {
        let of = PhantomData;
        Self { key, of }
    }

    /// What is there; `None` where nothing is.
    ///
    /// # Errors
    /// [`KvError::Malformed`] where what is there is no `T`; otherwise as [`get`].
    ///
    /// ```no_run
    /// # use cofferdam_sdk::kv::Cell;
    /// let name: Option<String> = Cell::new("leader").get()?;
    /// # Ok::<(), cofferdam_sdk::kv::KvError>(())
    /// ```
    pub fn get(&self) -> Result<Option<T>, KvError> {
        read(get(self.key)?)
    }

    /// Stores a value, whatever was there.
    ///
    /// # Errors
    /// As [`set`].
    ///
    /// ```no_run
    /// # use cofferdam_sdk::kv::Cell;
    /// Cell::new("leader").set(&"me".to_owned())?;
    /// # Ok::<(), cofferdam_sdk::kv::KvError>(())
    /// ```
    pub fn set(&self, value: &T) -> Result<(), KvError> {
        set(self.key, &value.to_bytes().ok_or(KvError::Malformed)?)
    }

    /// Stores a value if there is none; whether there was none.
    ///
    /// # Errors
    /// As [`insert_new`].
    ///
    /// ```no_run
    /// # use cofferdam_sdk::kv::Cell;
    /// let is_first = Cell::new("leader").insert_new(&"me".to_owned())?;
    /// # Ok::<(), cofferdam_sdk::kv::KvError>(())
    /// ```
    pub fn insert_new(&self, value: &T) -> Result<bool, KvError> {
        insert_new(self.key, &value.to_bytes().ok_or(KvError::Malformed)?)
    }

    /// Changes the value: `change` is given what is there and says what is to be there,
    /// again when somebody else was faster; with `None` everything stays as it is. Returns
    /// what is there afterwards.
    ///
    /// # Errors
    /// [`KvError::Malformed`] where what is there is no `T` (it stays; [`Cell::set`] replaces
    /// it); otherwise as [`update`].
    ///
    /// The [type](Self) has an example.
    pub fn update(
        &self,
        mut change: impl FnMut(Option<T>) -> Option<T>,
    ) -> Result<Option<T>, KvError> {
        let mut malformed = false;
        let mut attempt = |old: Option<&[u8]>| {
            let old = old.map(|bytes| T::from_bytes(bytes).ok_or(()));
            let new = old.transpose().map(&mut change);
            let bytes = new.and_then(|new| new.map(|new| new.to_bytes().ok_or(())).transpose());
            malformed = bytes.is_err();
            bytes.ok().flatten()
        };
        let after = update(self.key, &mut attempt)?;
        match malformed {
            true => Err(KvError::Malformed),
            false => read(after),
        }
    }
}

fn read<T: Stored>(bytes: Option<Vec<u8>>) -> Result<Option<T>, KvError> {
    let value = bytes.map(|bytes| T::from_bytes(&bytes).ok_or(KvError::Malformed));
    value.transpose()
}

impl<T> fmt::Debug for Cell<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cell").field(&self.key).finish()
    }
}

// === impl Stored ===

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Stored for $type {
            fn to_bytes(&self) -> Option<Vec<u8>> {
                Some(self.to_le_bytes().to_vec())
            }

            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }
        })*
    };
}

numbers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl Stored for bool {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        Some(vec![u8::from(*self)])
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Stored for String {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        Some(self.as_bytes().to_vec())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

impl Stored for Vec<u8> {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        Some(self.clone())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

#[cfg(feature = "json")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Stored for Json<T> {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&self.0).ok()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }
}
