//! The seven header-map calls (section 2.4).

use bytes::Bytes;

use crate::callbacks::Callback;
use crate::codec;
use crate::guest::{self, GuestCaller, HostTrap, Outcome};
use crate::headers::Headers;
use crate::state::{Access, HostState};
use crate::types::{MapType, Status};
use crate::version::AbiVersion;

pub(crate) fn get_map_size<C: GuestCaller>(caller: &mut C, map: u32, out: u32) -> Outcome {
    let map = map_type(map)?;
    // Envoy looks the map up as if to change it, and so do we: it makes trailers.
    let size = edit(caller.state(), map, |headers| headers.byte_size())?;
    let (memory, _) = caller.split();
    Ok(guest::write_u32(
        memory,
        out,
        u32::try_from(size).unwrap_or(u32::MAX),
    )?)
}

/// Most entries and most bytes a guest may make a map grow to.
const MAX_ENTRIES: usize = codec::MAX_PAIRS;
const MAX_BYTES: usize = codec::MAX_PAIRS_BYTES;

pub(crate) fn get_map_pairs<C: GuestCaller>(
    caller: &mut C,
    map: u32,
    value: u32,
    value_len: u32,
) -> Outcome {
    let map = map_type(map)?;
    let length = read(caller.state(), map, |headers| {
        codec::pairs_len(pairs(headers))
    })
    .unwrap_or(0);
    guest::give_with(caller, value, value_len, length, |state, place| {
        read(state, map, |headers| {
            codec::encode_pairs(pairs(headers), place)
        })
        .flatten()
        .ok_or(Status::InternalFailure)
    })
}

pub(crate) fn set_map_pairs<C: GuestCaller>(
    caller: &mut C,
    map: u32,
    value: u32,
    value_len: u32,
) -> Outcome {
    let map = map_type(map)?;
    guest::charge_pairs(caller, value, value_len)?;
    let (memory, state) = caller.split();
    let input = guest::bytes(memory, value, value_len)?;
    match codec::decode_pairs(input) {
        Ok(pairs) => edit(state, map, |headers| headers.set_all(pairs)),
        Err(codec::Malformed) => {
            let keep = state.settings.compat.keep_map_on_malformed_pairs;
            let what = if keep { "left alone" } else { "wiped" };
            state.notice(format_args!(
                "proxy_set_header_map_pairs: malformed pairs, map {what}"
            ));
            edit(state, map, |headers| {
                if !keep {
                    headers.set_all(Vec::new());
                }
            })
        }
    }
}

pub(crate) fn get_map_value<C: GuestCaller>(
    caller: &mut C,
    map: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
) -> Outcome {
    let map = map_type(map)?;
    let (memory, state) = caller.split();
    let key = guest::bytes(memory, key, key_len)?;
    let read = read(state, map, |headers| {
        let searched = Searched::new(headers, key);
        (searched, headers.get(known_as(map, key)).cloned())
    });
    let found = match read {
        Some((searched, found)) => {
            searched.charge(caller)?;
            found
        }
        // Inside on_log a map that is not there is one without that name.
        None if state.callback == Some(Callback::Log) => None,
        None => return Err(Status::BadArgument.into()),
    };
    match found {
        Some(found) => guest::give(caller, value, value_len, &found),
        None if caller.state().version == AbiVersion::V0_1_0 => {
            guest::give(caller, value, value_len, &[])
        }
        None => Err(Status::NotFound.into()),
    }
}

pub(crate) fn add_map_value<C: GuestCaller>(
    caller: &mut C,
    map: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
) -> Outcome {
    change(
        caller,
        map,
        (key, key_len),
        (value, value_len),
        |headers, key, value| {
            headers.add_copied(key, value);
            // What was there has been copied in front of it.
            match key.first() {
                Some(b':') => headers.get(key).map_or(0, Bytes::len),
                _ => 0,
            }
        },
    )
}

pub(crate) fn replace_map_value<C: GuestCaller>(
    caller: &mut C,
    map: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
) -> Outcome {
    change(
        caller,
        map,
        (key, key_len),
        (value, value_len),
        |headers, key, value| {
            headers.replace_copied(key, value);
            0
        },
    )
}

pub(crate) fn remove_map_value<C: GuestCaller>(
    caller: &mut C,
    map: u32,
    key: u32,
    key_len: u32,
) -> Outcome {
    change(caller, map, (key, key_len), (0, 0), |headers, key, _| {
        headers.remove(key);
        0
    })
}

/// Changes a map by `apply`, which says how many bytes it has moved beside the value.
fn change<C: GuestCaller>(
    caller: &mut C,
    map: u32,
    key: (u32, u32),
    value: (u32, u32),
    apply: impl FnOnce(&mut Headers, &[u8], &[u8]) -> usize,
) -> Outcome {
    let map = map_type(map)?;
    guest::charge_bytes(caller, key.1.saturating_add(value.1) as usize)?;
    let (memory, state) = caller.split();
    let key = guest::bytes(memory, key.0, key.1)?;
    let value = guest::bytes(memory, value.0, value.1)?;
    let (searched, moved, full) = edit(state, map, |headers| {
        let searched = Searched::new(headers, key);
        let moved = apply(headers, known_as(map, key), value);
        let full = headers.len() > MAX_ENTRIES || headers.byte_size() > MAX_BYTES;
        (searched, moved, full)
    })?;
    searched.charge(caller)?;
    guest::charge_work(caller, moved)?;
    if full {
        Err(guest::too_much("a header map", MAX_BYTES).into())
    } else {
        Ok(())
    }
}

/// What looking for a name takes.
#[derive(Clone, Copy)]
struct Searched {
    entries: usize,
    /// Bytes that were compared, at most.
    compared: usize,
}

impl Searched {
    /// Up to here a name, or a number of entries, is a common one.
    const FREE: usize = 64;

    fn new(headers: &Headers, name: &[u8]) -> Self {
        let entries = headers.len();
        let compared = if name.len() > Self::FREE {
            // Only names of its length are looked at.
            headers.byte_size().min(entries.saturating_mul(name.len()))
        } else {
            0
        };
        Self { entries, compared }
    }

    /// Charges for having walked through the entries, which is free for a common name and a
    /// common number of them.
    fn charge<C: GuestCaller>(self, caller: &mut C) -> Result<(), HostTrap> {
        if self.entries > Self::FREE {
            caller.charge(self.entries as u64)?;
        }
        guest::charge_work(caller, self.compared)
    }
}

/// What a name is in that map: `host` of a request is `:authority` to Envoy (measured), which
/// shows it by the latter name only.
fn known_as(map: MapType, name: &[u8]) -> &[u8] {
    if map == MapType::RequestHeaders && name.eq_ignore_ascii_case(b"host") {
        return b":authority";
    }
    name
}

fn map_type(map: u32) -> Result<MapType, Status> {
    MapType::from_wire(map).ok_or(Status::BadArgument)
}

fn pairs(headers: &Headers) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
    headers
        .entries()
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
}

/// Looks at a map; `None` where there is none to look at.
fn read<R>(state: &mut HostState, map: MapType, look: impl FnOnce(&Headers) -> R) -> Option<R> {
    if map as usize >= MapType::GrpcInitialMetadata as usize {
        return state.content()?.map(map).map(look);
    }
    let stream = state.stream()?;
    if stream.access(map) == Access::None {
        return None;
    }
    stream.exchange.borrow().map(map).map(look)
}

/// Changes a map, making trailers where they may be made.
fn edit<R>(
    state: &mut HostState,
    map: MapType,
    apply: impl FnOnce(&mut Headers) -> R,
) -> Result<R, guest::Failure> {
    let stream = state.stream().ok_or(Status::BadArgument)?;
    let may_create = match map {
        MapType::RequestTrailers => stream.may_create_trailers[0],
        MapType::ResponseTrailers => stream.may_create_trailers[1],
        _ => false,
    };
    if stream.access(map) != Access::Write {
        if !may_create {
            return Err(Status::BadArgument.into());
        }
        stream.access[map as usize] = Access::Write;
    }
    let mut exchange = stream.exchange.borrow_mut();
    let slot = exchange.map_slot(map).ok_or(Status::BadArgument)?;
    if slot.is_none() && may_create {
        *slot = Some(Headers::default());
    }
    slot.as_mut()
        .map(apply)
        .ok_or_else(|| Status::BadArgument.into())
}
