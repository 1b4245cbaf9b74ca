//! How header maps cross the border: a count, all lengths, then all names and values, each
//! followed by a zero byte.

use alloc::vec::Vec;

use crate::Status;

/// Names and values, in the order of the host.
///
/// ```
/// let pairs: cofferdam_sdk::Pairs = vec![(b"via".to_vec(), b"1.1 a".to_vec())];
/// assert!(pairs.iter().any(|(name, _)| name == b"via"));
/// ```
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The bytes of a map.
///
/// ```
/// let bytes = cofferdam_sdk::encode_pairs(&[("a", "1")]);
/// assert_eq!(bytes.len(), 4 + 8 + 2 + 2);
/// ```
pub fn encode_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Vec<u8> {
    let text = pairs
        .iter()
        .map(|(n, v)| n.as_ref().len() + v.as_ref().len() + 2)
        .sum::<usize>();
    let mut bytes = Vec::with_capacity(4 + 8 * pairs.len() + text);
    bytes.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
    for (name, value) in pairs {
        bytes.extend_from_slice(&(name.as_ref().len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(value.as_ref().len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend_from_slice(name.as_ref());
        bytes.push(0);
        bytes.extend_from_slice(value.as_ref());
        bytes.push(0);
    }
    bytes
}

/// The map in `bytes`; nothing at all is the empty map.
///
/// # Errors
/// [`Status::ParseFailure`] when the lengths do not add up.
///
/// ```
/// use cofferdam_sdk::{decode_pairs, encode_pairs};
/// let pairs = decode_pairs(&encode_pairs(&[("a", "1")]))?;
/// assert_eq!(pairs, [(b"a".to_vec(), b"1".to_vec())]);
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn decode_pairs(bytes: &[u8]) -> Result<Pairs, Status> {
    if bytes.is_empty() {
        return Ok(Pairs::new());
    }
    let mut lengths = bytes;
    let count = take_u32(&mut lengths)? as usize;
    let split = count.checked_mul(8).ok_or(Status::ParseFailure)?;
    let (mut lengths, mut text) = lengths
        .split_at_checked(split)
        .ok_or(Status::ParseFailure)?;
    let mut pairs = Pairs::with_capacity(count);
    for _ in 0..count {
        let (name, value) = (take_u32(&mut lengths)?, take_u32(&mut lengths)?);
        pairs.push((take_text(&mut text, name)?, take_text(&mut text, value)?));
    }
    if text.is_empty() {
        Ok(pairs)
    } else {
        Err(Status::ParseFailure)
    }
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, Status> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Status::ParseFailure)?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*number))
}

fn take_text(bytes: &mut &[u8], length: u32) -> Result<Vec<u8>, Status> {
    let (text, rest) = bytes
        .split_at_checked(length as usize)
        .ok_or(Status::ParseFailure)?;
    let (0, rest) = rest
        .split_first()
        .map(|(end, rest)| (*end, rest))
        .ok_or(Status::ParseFailure)?
    else {
        return Err(Status::ParseFailure);
    };
    *bytes = rest;
    Ok(text.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = &[
        2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, b'a', 0, b'1', 0, b'b', 0,
        b'2', b'2', 0,
    ];

    #[test]
    fn the_layout_is_the_one_of_the_abi() {
        assert_eq!(encode_pairs(&[("a", "1"), ("b", "22")]), SAMPLE);
        let pairs = decode_pairs(SAMPLE).unwrap();
        assert_eq!(
            pairs,
            [
                (b"a".to_vec(), b"1".to_vec()),
                (b"b".to_vec(), b"22".to_vec())
            ]
        );
    }

    #[test]
    fn empty_maps() {
        assert_eq!(encode_pairs::<&str, &str>(&[]), [0; 4]);
        assert_eq!(decode_pairs(&[]), Ok(Pairs::new()));
        assert_eq!(decode_pairs(&[0; 4]), Ok(Pairs::new()));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        for end in 1..SAMPLE.len() {
            assert_eq!(
                decode_pairs(&SAMPLE[..end]),
                Err(Status::ParseFailure),
                "{end}"
            );
        }
        for index in 0..SAMPLE.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bytes = SAMPLE.to_vec();
                bytes[index] = byte;
                let _ = decode_pairs(&bytes);
            }
        }
        assert_eq!(decode_pairs(&[0, 0, 0, 0, 0]), Err(Status::ParseFailure));
    }
}
