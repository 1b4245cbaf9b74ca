//! The ends of a connection.

/// Who closed a connection.
///
/// ```
/// assert_eq!(cofferdam_sdk::callbacks::Peer::from_number(2), cofferdam_sdk::callbacks::Peer::Remote);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The host does not say.
    Unknown,
    /// The host.
    Local,
    /// The other end.
    Remote,
}

// === impl Peer ===

impl Peer {
    /// The peer of that number of the ABI.
    ///
    /// ```
    /// use cofferdam_sdk::callbacks::Peer;
    /// assert_eq!(Peer::from_number(1), Peer::Local);
    /// ```
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Local,
            2 => Self::Remote,
            _ => Self::Unknown,
        }
    }
}
