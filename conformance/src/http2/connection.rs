//! Sections 3 to 5: the preface, frames, header blocks, streams and their states, errors.

use super::case::Allowed::{Alive, Connection, End, Status, Stream};
use super::case::Code::{Compression, FrameSize, Protocol, StreamClosed};
use super::case::{Case, case};
use super::frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PREFACE, PRIORITY, WHOLE,
    WITH_PRIORITY, data, frame, get, headers, post, reset, settings, window_update,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = preface();
    cases.extend(frames());
    cases.extend(idle());
    cases.extend(half_closed());
    cases.extend(closed());
    cases.extend(identifiers());
    cases
}

#[rustfmt::skip]
fn preface() -> Vec<Case> {
    vec![
        case("3.5/1", "the preface and settings", &[Alive], &[]),
        case("3.5/2", "another preface", &[End, Status(4)], &[])
            .bare(b"INVALID CONNECTION PREFACE\r\n\r\n"),
        case("3.5/3", "a preface that ends otherwise", &[End, Status(4)], &[])
            .bare(b"PRI * HTTP/2.0\r\n\r\nSM\r\r\n\r"),
        case("3.5/4", "a ping instead of settings", &[Connection(Protocol)], &[])
            .bare(&[PREFACE, &frame(PING, 0, 0, &[0; 8])].concat()),
    ]
}

#[rustfmt::skip]
fn frames() -> Vec<Case> {
    let large = vec![b'x'; (16 << 10) + 1];
    let head = get();
    vec![
        case("4.1/1", "a frame of an unknown type", &[Alive], &[frame(0x16, 0, 0, &[0; 8])]),
        case("4.1/2", "a ping with flags nobody knows", &[Alive], &[frame(PING, 0x16, 0, &[0; 8])]),
        case("4.1/3", "a ping with the reserved bit of its stream", &[Alive], &[frame(PING, 0, 1 << 31, &[0; 8])]),
        case("4.2/1", "DATA of 2^14 bytes", &[Status(2)], &[headers(END_HEADERS, 1, &post()), data(END_STREAM, 1, &large[1..])]).may_pass(1),
        case("4.2/2", "DATA of more than SETTINGS_MAX_FRAME_SIZE", &[Stream(FrameSize)], &[headers(END_HEADERS, 1, &post()), data(END_STREAM, 1, &large)]).may_pass(0),
        case("4.2/3", "HEADERS of more than SETTINGS_MAX_FRAME_SIZE", &[Connection(FrameSize)], &[headers(WHOLE, 1, &[&head[..], &b"\x00\x01a\x01b".repeat(4_000)].concat())]).may_pass(0),
        case("4.3/1", "a header block that is not HPACK", &[Connection(Compression)], &[headers(WHOLE, 1, b"\x00\x00\x00\x00\x00\x00")]).may_pass(0),
        case("4.3/2", "PRIORITY within a header block", &[Connection(Protocol)], &[headers(END_STREAM, 1, &head), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]), frame(CONTINUATION, END_HEADERS, 1, b"\x00\x01a\x01b")]).may_pass(0),
        case("4.3/3", "HEADERS of another stream within a header block", &[Connection(Protocol)], &[headers(END_STREAM, 1, &head), headers(WHOLE, 3, &head)]).may_pass(0),
    ]
}

#[rustfmt::skip]
fn idle() -> Vec<Case> {
    let wrong = &[Connection(Protocol)];
    vec![
        case("5.1/1", "DATA on an idle stream", wrong, &[data(END_STREAM, 1, b"test")]),
        case("5.1/2", "RST_STREAM on an idle stream", wrong, &[reset(1, 8)]),
        case("5.1/3", "WINDOW_UPDATE on an idle stream", wrong, &[window_update(1, 100)]),
        case("5.1/4", "CONTINUATION on an idle stream", wrong, &[frame(CONTINUATION, END_HEADERS, 1, &get())]),
        case("5.1/a", "PRIORITY on an idle stream", &[Alive], &[frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255])]),
    ]
}

#[rustfmt::skip]
fn half_closed() -> Vec<Case> {
    let ended = || headers(WHOLE, 1, &get());
    vec![
        case("5.1/5", "DATA after END_STREAM", &[Stream(StreamClosed)], &[ended(), data(END_STREAM, 1, b"test")]).may_pass(1),
        case("5.1/6", "HEADERS after END_STREAM", &[Stream(StreamClosed)], &[ended(), headers(WHOLE, 1, &get())]).may_pass(1),
        case("5.1/7", "CONTINUATION after END_STREAM", &[Connection(StreamClosed), Connection(Protocol)], &[ended(), frame(CONTINUATION, END_HEADERS, 1, &get())]).may_pass(1),
        case("5.1/b", "WINDOW_UPDATE after END_STREAM", &[Status(2)], &[ended(), window_update(1, 100)]).may_pass(1),
        case("5.1/c", "PRIORITY after END_STREAM", &[Status(2)], &[ended(), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255])]).may_pass(1),
        case("5.1/d", "RST_STREAM after END_STREAM", &[Alive], &[ended(), reset(1, 8)]).may_pass(1),
    ]
}

#[rustfmt::skip]
fn closed() -> Vec<Case> {
    let open = || headers(END_HEADERS, 1, &post());
    let answered = |id, sent, allowed, frames| {
        case(id, sent, allowed, &[headers(WHOLE, 1, &get())])
            .then(1, frames)
            .may_pass(1)
    };
    vec![
        case("5.1/8", "DATA after RST_STREAM", &[Stream(StreamClosed)], &[open(), reset(1, 8), data(END_STREAM, 1, b"test")]).may_pass(0),
        case("5.1/9", "HEADERS after RST_STREAM", &[Stream(StreamClosed)], &[open(), reset(1, 8), headers(WHOLE, 1, &get())]).may_pass(0),
        case("5.1/10", "CONTINUATION after RST_STREAM", &[Connection(StreamClosed), Connection(Protocol)], &[open(), reset(1, 8), frame(CONTINUATION, END_HEADERS, 1, &get())]).may_pass(0),
        answered("5.1/11", "DATA after the answer", &[Stream(StreamClosed)], &[data(END_STREAM, 1, b"test")]),
        answered("5.1/12", "HEADERS after the answer", &[Connection(StreamClosed)], &[headers(WHOLE, 1, &get())]),
        answered("5.1/13", "CONTINUATION after the answer", &[Connection(StreamClosed), Connection(Protocol)], &[frame(CONTINUATION, END_HEADERS, 1, &get())]),
        answered("5.1/e", "PRIORITY after the answer", &[Alive], &[frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255])]),
        answered("5.1/f", "WINDOW_UPDATE after the answer", &[Alive], &[window_update(1, 1)]),
        answered("5.1/g", "RST_STREAM after the answer", &[Alive], &[reset(1, 8)]),
    ]
}

#[rustfmt::skip]
fn identifiers() -> Vec<Case> {
    let itself = [&[0, 0, 0, 1, 255][..], &get()].concat();
    vec![
        case("5.1.1/1", "a stream of an even number", &[Connection(Protocol)], &[headers(WHOLE, 2, &get())]).may_pass(0),
        case("5.1.1/2", "a stream of a lower number", &[Connection(Protocol), Connection(StreamClosed)], &[headers(WHOLE, 5, &get()), headers(WHOLE, 3, &get())]).may_pass(1),
        // RFC 9113 has no priorities any more, and lets whoever likes pass them over.
        case("5.3.1/1", "HEADERS of a stream that depends on itself", &[Stream(Protocol), Status(2)], &[headers(WHOLE | WITH_PRIORITY, 1, &itself)]).may_pass(1),
        case("5.3.1/2", "PRIORITY of a stream that depends on itself", &[Stream(Protocol), Alive], &[frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 255])]),
        case("5.4.1/1", "a broken ping: the connection's end is told of and comes", &[Connection(FrameSize)], &[frame(PING, 0, 0, &[0; 6])]),
        case("5.5/1", "an extension frame on a stream", &[Alive], &[frame(0xfe, 0, 1, b"x")]),
        case("5.5/2", "an extension frame within a header block", &[Connection(Protocol)], &[headers(END_STREAM, 1, &get()), frame(0xfe, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b"\x00\x01a\x01b")]).may_pass(0),
        case("5.5/3", "a setting nobody knows", &[Alive], &[settings(&[(0xfe, 1)])]),
        case("3.x/1", "padded DATA", &[Status(2)], &[headers(END_HEADERS, 1, &post()), frame(DATA, PADDED | END_STREAM, 1, b"\x03test\x00\x00\x00")]).may_pass(1),
        case("3.x/2", "padded HEADERS with a priority", &[Status(2)], &[frame(HEADERS, WHOLE | PADDED | WITH_PRIORITY, 1, &[&[2, 0, 0, 0, 0, 15][..], &get(), &[0, 0]].concat())]).may_pass(1),
    ]
}
