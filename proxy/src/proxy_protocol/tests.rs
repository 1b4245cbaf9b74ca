//! Headers of the PROXY protocol byte by byte and whole, written and read again, and made of
//! random bytes.

use super::*;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [V2, &[command, family], &length, rest].concat()
}

const INET: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 1, 0xbb];

fn client(source: &str, destination: &str) -> Origin {
    Origin::Client {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    }
}

/// Headers that are good, and what they say.
fn good() -> Vec<(Version, Vec<u8>, Origin)> {
    let mut inet6 = vec![0x20, 1, 0xd, 0xb8];
    inet6.extend([0; 11]);
    inet6.push(1);
    inet6.extend([0; 15]);
    inet6.extend([9, 0, 80, 0, 81]);
    let four = client("192.0.2.1:40000", "198.51.100.2:443");
    let six = client("[2001:db8::1]:80", "[::9]:81");
    let text = |line: &str, origin| (Version::V1, format!("{line}\r\n").into_bytes(), origin);
    let binary =
        |command, family, rest: &[u8], origin| (Version::V2, v2(command, family, rest), origin);
    let with = |more: &[u8]| [INET, more].concat();
    vec![
        text("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443", four),
        text("PROXY TCP6 2001:db8::1 ::9 80 81", six),
        text(
            "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535",
            client("0.0.0.0:0", "255.255.255.255:65535"),
        ),
        text("PROXY UNKNOWN", Origin::Sender),
        text(
            "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535",
            Origin::Sender,
        ),
        text(&format!("PROXY UNKNOWN {}", "x".repeat(91)), Origin::Sender),
        text(
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            client(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        binary(0x21, 0x11, INET, four),
        binary(0x21, 0x21, &inet6, six),
        // Values behind the addresses: an authority, then padding.
        binary(0x21, 0x11, &with(b"\x02\0\x01a\x04\0\x03\0\0\0"), four),
        // Nothing, and something that is not to be understood.
        binary(0x20, 0, b"", Origin::Sender),
        binary(0x20, 0x11, b"\xff", Origin::Sender),
        binary(0x20, 0xff, b"whatever it is", Origin::Sender),
        binary(0x21, 0, b"", Origin::Sender),
        binary(0x21, 1, b"some bytes", Origin::Sender),
        binary(0x21, 0x31, &[7; 216], Origin::Unix),
    ]
}

/// Headers that are not, whole.
fn bad() -> Vec<Vec<u8>> {
    let lines = [
        "PROXY ",
        "PROXY TCP4",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2",
        "PROXY UNKNOWN2",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2",
        "PROXY TCP4 1.2.3.4  1.2.3.4 1 2",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 x",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2",
        "PROXY TCP4 1.2.3.04 1.2.3.4 1 2",
        "PROXY TCP4 1.2.3.4 ::1 1 2",
        "PROXY TCP6 1.2.3.4 ::1 1 2",
        "PROXY TCP6 ::1 [::1] 1 2",
        "PROXY TCP6 ::1%1 ::1 1 2",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r",
        "PROXY TCP4 a.example 1.2.3.4 1 2",
    ];
    let mut bad: Vec<Vec<u8>> = lines.map(|line| format!("{line}\r\n").into_bytes()).into();
    // One byte too long, or without the end that it should have.
    bad.push(format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)).into_bytes());
    bad.push([&b"PROXY UNKNOWN "[..], &[b'x'; 93]].concat());
    bad.push(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n".to_vec());
    bad.push(b"PROXY TCP4 1.2.3.4 \xff.2.3.4 1 2\r\n".to_vec());
    let with = |more: &[u8]| v2(0x21, 0x11, &[INET, more].concat());
    bad.extend([
        // Other versions and commands, families and transports.
        v2(0x11, 0x11, INET),
        v2(0x31, 0x11, INET),
        v2(0x22, 0x11, INET),
        v2(0x2f, 0x11, INET),
        v2(0x21, 0x10, INET),
        v2(0x21, 0x12, INET),
        v2(0x21, 0x41, INET),
        v2(0x21, 0x32, &[0; 216]),
        v2(0x21, 0x03, INET),
        v2(0x21, 0x22, &[0; 36]),
        v2(0x21, 0xff, INET),
        // Too short for their addresses.
        v2(0x21, 0x11, b""),
        v2(0x21, 0x11, &INET[..11]),
        v2(0x21, 0x11, &INET[..7]),
        v2(0x21, 0x21, INET),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x31, &[0; 215]),
        // Values that are not whole.
        with(b"\x02"),
        with(b"\x02\0"),
        with(b"\x02\0\x02a"),
        with(b"\x04\0\0\x05\0"),
        // Checksums.
        with(b"\x03\0\x04\0\0\0\0"),
        with(b"\x03\0\x03\0\0\0"),
        with(b"\x03\0\x05\0\0\0\0\0"),
    ]);
    let mut long = v2(0x20, 0, b"");
    long[14..16].copy_from_slice(&u16::try_from(v2::LONGEST + 1).expect("fits").to_be_bytes());
    bad.push(long);
    bad
}

/// What becomes of `bytes` if they come one by one, and after how many.
fn one_by_one(bytes: &[u8]) -> (Parsed, usize) {
    for length in 0..=bytes.len() {
        match parse(&bytes[..length]) {
            Parsed::Partial => {}
            parsed => return (parsed, length),
        }
    }
    (Parsed::Partial, bytes.len())
}

#[test]
fn a_header_is_read_in_whatever_pieces_it_comes_and_what_follows_is_left() {
    for (version, bytes, origin) in good() {
        let whole = Parsed::Whole(version, origin, bytes.len());
        assert_eq!(
            one_by_one(&bytes),
            (whole, bytes.len()),
            "{}",
            bytes.escape_ascii()
        );
        for rest in [&b"GET / HTTP/1.1\r\n"[..], b"\n", b"PROXY ", &[0; 300]] {
            assert_eq!(parse(&[&bytes, rest].concat()), whole);
        }
    }
}

#[test]
fn what_a_header_may_not_be_is_malformed_in_whatever_pieces_it_comes() {
    for bytes in bad() {
        let malformed = |parsed| matches!(parsed, Parsed::Malformed(..));
        assert!(malformed(one_by_one(&bytes).0), "{}", bytes.escape_ascii());
        assert!(malformed(parse(&bytes)), "{}", bytes.escape_ascii());
        assert!(malformed(parse(&[&bytes[..], &[b'x'; 300]].concat())));
    }
}

#[test]
fn what_is_no_header_is_told_at_the_first_byte_that_differs() {
    for (text, after) in [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"PRI * HTTP/2.0\r\n", 3),
        (b"PROPFIND / HTTP/1.1\r\n", 4),
        (b"PROXYING", 6),
        (b"\x16\x03\x01", 1),
        (b"\r\nGET / HTTP/1.1", 3),
        (b"\r\n\r\n\r\n", 5),
        (b"\r\n\r\n\0\r\nQUIT\r", 12),
        (b"proxy TCP4", 1),
    ] {
        assert_eq!(
            one_by_one(text),
            (Parsed::Other, after),
            "{}",
            text.escape_ascii()
        );
    }
    assert_eq!(parse(b""), Parsed::Partial);
}

#[test]
fn a_checksum_is_held_against_the_header() {
    assert_eq!(v2::crc32c(b"123456789".iter().copied()), 0xe306_9283);
    let mut header = v2(
        0x21,
        0x11,
        &[INET, b"\x03\0\x04\0\0\0\0\x02\0\x01a"].concat(),
    );
    let sum = v2::crc32c(header.iter().copied()).to_be_bytes();
    header[31..35].copy_from_slice(&sum);
    assert!(matches!(
        parse(&header),
        Parsed::Whole(Version::V2, Origin::Client { .. }, 39)
    ));
    // Without byte 28 it would not be a checksum.
    for at in (16..header.len()).filter(|at| *at != 28) {
        let mut other = header.clone();
        other[at] ^= 1;
        assert!(matches!(parse(&other), Parsed::Malformed(..)), "{at}");
    }
    // The second of two is no better for being right.
    let twice = [INET, b"\x03\0\x04\0\0\0\0\x03\0\x04\0\0\0\0"].concat();
    assert!(matches!(
        parse(&v2(0x21, 0x11, &twice)),
        Parsed::Malformed(..)
    ));
}

#[test]
fn what_is_written_is_what_is_read() {
    let pairs = [
        ("192.0.2.1:40000", "198.51.100.2:443", None),
        ("[2001:db8::1]:1", "[::9]:65535", None),
        // A client of a dual-stack socket, and two families.
        (
            "[::ffff:192.0.2.1]:5",
            "[::ffff:10.0.0.1]:6",
            Some(("192.0.2.1:5", "10.0.0.1:6")),
        ),
        (
            "192.0.2.1:5",
            "[::9]:6",
            Some(("[::ffff:192.0.2.1]:5", "[::9]:6")),
        ),
        (
            "[::9]:6",
            "192.0.2.1:5",
            Some(("[::9]:6", "[::ffff:192.0.2.1]:5")),
        ),
    ];
    for version in [Version::V1, Version::V2] {
        for (source, destination, becomes) in pairs {
            let address = |text: &str| text.parse().ok();
            let bytes = header(version, address(source), address(destination));
            let (source, destination) = becomes.unwrap_or((source, destination));
            let said = Parsed::Whole(version, client(source, destination), bytes.len());
            assert_eq!(parse(&bytes), said);
        }
        let (some, none) = ("192.0.2.1:5".parse().ok(), None);
        for (source, destination) in [(none, none), (some, none), (none, some)] {
            let bytes = header(version, source, destination);
            assert_eq!(
                parse(&bytes),
                Parsed::Whole(version, Origin::Sender, bytes.len())
            );
        }
    }
}

#[test]
fn whatever_comes_is_read_to_a_verdict() {
    let mut rng = fastrand::Rng::with_seed(7);
    let seeds: Vec<Vec<u8>> = good()
        .into_iter()
        .map(|(_, bytes, _)| bytes)
        .chain(bad())
        .collect();
    for _ in 0..100_000 {
        let mut bytes = seeds[rng.usize(..seeds.len())].clone();
        for _ in 0..rng.usize(..4) {
            let at = rng.usize(..bytes.len());
            match rng.u8(..3) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, rng.u8(..)),
            }
        }
        if let Parsed::Whole(_, _, length) = parse(&bytes) {
            assert!(length <= bytes.len());
            // More behind it changes nothing, less of it is not whole.
            assert_eq!(parse(&bytes), parse(&bytes[..length]));
            assert_eq!(parse(&bytes[..length - 1]), Parsed::Partial);
        }
    }
}
