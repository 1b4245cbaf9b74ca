//! Pairs and property paths, as they lie in a guest's memory (`abi/ABI.md`, section 5).

use bytes::Bytes;

/// Largest buffer of pairs a guest may hand over; larger ones count as malformed.
pub const MAX_PAIRS_BYTES: usize = 1 << 20;
/// Most pairs a guest may hand over; more count as malformed.
pub const MAX_PAIRS: usize = 1024;

/// Length of [`encode_pairs`]'s result; 0 for no pairs.
#[must_use]
pub fn pairs_len<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> usize {
    let mut any = false;
    let mut length = 4;
    for (name, value) in pairs {
        any = true;
        length += 8 + name.len() + 1 + value.len() + 1;
    }
    if any { length } else { 0 }
}

/// Writes pairs to `out`, whose length must be what [`pairs_len`] said.
///
/// Returns `None`, with `out` in any state, when it is not.
#[must_use]
pub fn encode_pairs<'a>(
    pairs: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
    out: &mut [u8],
) -> Option<()> {
    let (count, rest) = out.split_at_mut_checked(4)?;
    count.copy_from_slice(&u32::try_from(pairs.len()).ok()?.to_le_bytes());
    let (mut lengths, mut text) = rest.split_at_mut_checked(pairs.len().checked_mul(8)?)?;
    for (name, value) in pairs {
        for field in [name, value] {
            let (length, others) = lengths.split_at_mut_checked(4)?;
            length.copy_from_slice(&u32::try_from(field.len()).ok()?.to_le_bytes());
            lengths = others;
            let (place, others) = text.split_at_mut_checked(field.len() + 1)?;
            let (end, body) = place.split_last_mut()?;
            body.copy_from_slice(field);
            *end = 0;
            text = others;
        }
    }
    Some(())
}

/// [`encode_pairs`] into a vector of its own.
#[must_use]
pub fn pairs_to_vec(pairs: &[(Bytes, Bytes)]) -> Vec<u8> {
    let borrowed = || pairs.iter().map(|(name, value)| (&name[..], &value[..]));
    let mut out = vec![0; pairs_len(borrowed()).max(4)];
    // The length is right by construction.
    let _ = encode_pairs(borrowed(), &mut out);
    out
}

/// Reads pairs. Empty input, and a lone zero byte or count, are an empty list.
///
/// # Errors
/// [`Malformed`] for limits, overruns, missing terminators and trailing bytes. Envoy
/// takes any of these for an empty list; what we make of it is a switch.
pub fn decode_pairs(mut input: &[u8]) -> Result<Vec<(Bytes, Bytes)>, Malformed> {
    if input.is_empty() || input == [0] {
        return Ok(Vec::new());
    }
    if input.len() > MAX_PAIRS_BYTES {
        return Err(Malformed);
    }
    let count = take_u32(&mut input)?;
    if count > MAX_PAIRS {
        return Err(Malformed);
    }
    let (mut lengths, mut text) = input.split_at_checked(count * 8).ok_or(Malformed)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let name = take_u32(&mut lengths)?;
        let value = take_u32(&mut lengths)?;
        pairs.push((take_field(&mut text, name)?, take_field(&mut text, value)?));
    }
    if text.is_empty() {
        Ok(pairs)
    } else {
        Err(Malformed)
    }
}

/// The parts of a property path: joined by one zero byte, none behind the last.
pub fn path_parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == 0)
}

/// Bytes that are not serialised pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

fn take_u32(input: &mut &[u8]) -> Result<usize, Malformed> {
    let (head, rest) = input.split_first_chunk::<4>().ok_or(Malformed)?;
    *input = rest;
    usize::try_from(u32::from_le_bytes(*head)).map_err(|_| Malformed)
}

fn take_field(input: &mut &[u8], length: usize) -> Result<Bytes, Malformed> {
    let (field, rest) = input.split_at_checked(length).ok_or(Malformed)?;
    let (end, rest) = rest.split_first().ok_or(Malformed)?;
    if *end != 0 {
        return Err(Malformed);
    }
    *input = rest;
    Ok(Bytes::copy_from_slice(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
        list.iter()
            .map(|(k, v)| {
                (
                    Bytes::from_static(k.as_bytes()),
                    Bytes::from_static(v.as_bytes()),
                )
            })
            .collect()
    }

    #[test]
    fn the_worked_example_is_exact() {
        let bytes = pairs_to_vec(&pairs(&[("a", "1"), ("b", "22")]));
        let expected = b"\x02\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0a\x001\0b\x0022\0";
        assert_eq!(bytes, expected);
        assert_eq!(decode_pairs(&bytes), Ok(pairs(&[("a", "1"), ("b", "22")])));
    }

    #[test]
    fn every_empty_form_is_empty() {
        for form in [&b""[..], b"\0", b"\0\0\0\0"] {
            assert_eq!(decode_pairs(form), Ok(vec![]));
        }
        assert_eq!(pairs_len(std::iter::empty()), 0);
    }

    #[test]
    fn every_truncation_and_every_extra_byte_is_malformed() {
        let good = pairs_to_vec(&pairs(&[("name", "value"), ("", "")]));
        for end in 2..good.len() {
            assert_eq!(decode_pairs(&good[..end]), Err(Malformed), "cut at {end}");
        }
        let mut long = good.clone();
        long.push(0);
        assert_eq!(decode_pairs(&long), Err(Malformed));
        let mut unterminated = good;
        let last = unterminated.len() - 1;
        unterminated[last] = 1;
        assert_eq!(decode_pairs(&unterminated), Err(Malformed));
    }

    #[test]
    fn limits_hold() {
        assert_eq!(decode_pairs(&vec![0; MAX_PAIRS_BYTES + 1]), Err(Malformed));
        let many = vec![(Bytes::new(), Bytes::new()); MAX_PAIRS + 1];
        assert_eq!(decode_pairs(&pairs_to_vec(&many)), Err(Malformed));
        assert!(decode_pairs(&pairs_to_vec(&many[..MAX_PAIRS])).is_ok());
        assert_eq!(decode_pairs(b"\xff\xff\xff\xff\0\0\0\0"), Err(Malformed));
    }
}
