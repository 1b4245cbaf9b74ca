//! Whether what looks like something is it: check digits. Each says how much of it is.

/// The number of a card: 13 digits or more, and the last is right (Luhn). Other numbers
/// behind it look like more of it: the longest that is right counts.
pub(crate) fn card(text: &[u8]) -> Option<usize> {
    // Every other digit counts twice, from the end: both ways at once, as the end is open.
    let (mut even, mut odd) = (0, 0);
    let (mut count, mut zeros, mut longest) = (0, true, None);
    for (at, byte) in text
        .iter()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_digit())
    {
        let digit = u32::from(byte - b'0');
        let twice = if digit > 4 { digit * 2 - 9 } else { digit * 2 };
        let (first, second) = if count % 2 == 0 {
            (twice, digit)
        } else {
            (digit, twice)
        };
        (even, odd) = (even + first, odd + second);
        (count, zeros) = (count + 1, zeros && digit == 0);
        let sum = if count % 2 == 0 { even } else { odd };
        let ends = text.get(at + 1).is_none_or(|next| !next.is_ascii_digit());
        if ends && count >= 13 && sum % 10 == 0 && !zeros {
            longest = Some(at + 1);
        }
    }
    longest
}

/// The number of an account: the checksum is right (ISO 7064, 97-10). Words in capitals
/// behind it look like more of it.
pub(crate) fn iban(text: &[u8]) -> Option<usize> {
    let spaces = text.iter().enumerate().filter(|(_, byte)| **byte == b' ');
    let mut ends: Vec<usize> = spaces.map(|(at, _)| at).collect();
    ends.push(text.len());
    ends.into_iter().rev().find(|end| {
        let plain: Vec<u8> = text
            .iter()
            .take(*end)
            .copied()
            .filter(|byte| *byte != b' ')
            .collect();
        plain.len() >= 15 && is_iban(&plain)
    })
}

fn is_iban(plain: &[u8]) -> bool {
    let Some((first, rest)) = plain.split_at_checked(4) else {
        return false;
    };
    let sum = rest.iter().chain(first).try_fold(0_u32, |sum, byte| {
        let value = char::from(*byte).to_digit(36)?;
        let shifted = if value > 9 { sum * 100 } else { sum * 10 };
        Some((shifted + value) % 97)
    });
    sum == Some(1)
}

/// An address: no part of it is past 255.
pub(crate) fn ipv4(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let fits = text.split('.').all(|part| part.parse::<u8>().is_ok());
    fits.then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_tell() {
        assert_eq!(card(b"4111 1111 1111 1111"), Some(19));
        assert_eq!(card(b"4111-1111-1111-1112"), None);
        assert_eq!(card(b"4111 1111 1111 1111 22"), Some(19));
        assert_eq!(card(b"4222222222222"), Some(13));
        assert_eq!(card(b"378282246310005"), Some(15));
        assert_eq!(card(b"0000000000000000"), None);
        assert_eq!(iban(b"GB82WEST12345698765432"), Some(22));
        assert_eq!(iban(b"GB82 WEST 1234 5698 7654 32 AND MORE"), Some(27));
        assert_eq!(iban(b"GB82WEST12345698765433"), None);
        assert_eq!(ipv4(b"192.0.2.1"), Some(9));
        assert_eq!(ipv4(b"192.0.2.256"), None);
    }
}
