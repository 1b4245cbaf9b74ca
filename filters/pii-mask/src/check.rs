//! Whether what looks like something is it: check digits. Each says how much of it is.

/// The number of a card: the check digit is right (Luhn). Other numbers behind it look like
/// more of it.
pub(crate) fn card(text: &[u8]) -> Option<usize> {
    let ends = (1..=text.len()).rev().filter(|end| {
        let next = text.get(*end);
        next.is_none_or(|byte| !byte.is_ascii_digit())
    });
    let mut ends = ends.filter(|end| text.get(..*end).is_some_and(is_card));
    ends.next()
}

fn is_card(text: &[u8]) -> bool {
    let digits = text.iter().rev().filter(|byte| byte.is_ascii_digit());
    let (mut sum, mut count, mut zeros) = (0, 0, true);
    for byte in digits {
        let digit = u32::from(byte - b'0');
        sum += match count % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        };
        (count, zeros) = (count + 1, zeros && digit == 0);
    }
    // Fewer digits are of something else.
    let ends_in_one = text.last().is_some_and(u8::is_ascii_digit);
    ends_in_one && count >= 13 && sum % 10 == 0 && !zeros
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
        assert_eq!(card(b"0000000000000000"), None);
        assert_eq!(iban(b"GB82WEST12345698765432"), Some(22));
        assert_eq!(iban(b"GB82 WEST 1234 5698 7654 32 AND MORE"), Some(27));
        assert_eq!(iban(b"GB82WEST12345698765433"), None);
        assert_eq!(ipv4(b"192.0.2.1"), Some(9));
        assert_eq!(ipv4(b"192.0.2.256"), None);
    }
}
