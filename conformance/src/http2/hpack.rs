//! RFC 7541: header blocks.

use super::case::Allowed::{Connection, Status};
use super::case::Code::Compression;
use super::case::{Case, case};
use super::frame::{WHOLE, get, headers};

fn of(id: &'static str, sent: &'static str, good: bool, block: &[&[u8]]) -> Case {
    let bad = [Connection(Compression)];
    let allowed = if good { [Status(2)] } else { bad };
    let lawful = usize::from(good);
    case(id, sent, &allowed, &[headers(WHOLE, 1, &block.concat())]).may_pass(lawful)
}

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    let head = &get()[..];
    // From the static table, and :authority from there with a value.
    let indexed = b"\x82\x86\x84\x01\x0cexample.test";
    vec![
        of("hpack 2.3.3/1", "an index past both tables", false, &[head, &[0xff, 0x80, 0x01]]),
        of("hpack 2.3.3/2", "a name by an index past both tables", false, &[head, &[0x7f, 0x80, 0x01, 1, b'a']]),
        of("hpack 4.2/1", "a table size update at the end of a block", false, &[head, &[0x20]]),
        of("hpack 4.2/2", "a table size update at its beginning", true, &[&[0x20], head]),
        of("hpack 5.1/1", "an integer that does not end", false, &[head, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]),
        of("hpack 5.2/1", "Huffman's code with padding of more than 7 bits", false, &[head, b"\x00\x01a\x84\x1f\xff\xff\xff"]),
        of("hpack 5.2/2", "Huffman's code padded with zeros", false, &[head, b"\x00\x01a\x81\x18"]),
        of("hpack 5.2/3", "Huffman's code with EOS", false, &[head, b"\x00\x01a\x84\xff\xff\xff\xff"]),
        of("hpack 6.1/1", "index 0", false, &[head, &[0x80]]),
        of("hpack 6.1/2", "fields by index", true, &[indexed]),
        of("hpack 6.2.1/1", "a literal that is remembered, and taken up again", true, &[indexed, b"\x40\x06x-test\x02ok", &[0xbe]]),
        of("hpack 6.2.2/1", "a literal that is not remembered", true, &[indexed, b"\x00\x06x-test\x02ok"]),
        of("hpack 6.2.3/1", "a literal that never is", true, &[indexed, b"\x10\x06x-test\x02ok"]),
        of("hpack 6.3/1", "a table size update past SETTINGS_HEADER_TABLE_SIZE", false, &[&[0x3f, 0xe1, 0xff, 0x03], head]),
        of("hpack 6.3/2", "several table size updates at the beginning", true, &[&[0x20, 0x3f, 0xe1, 0x1f], head]),
    ]
}
