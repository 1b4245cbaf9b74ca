//! Sections 6 and 7: what each kind of frame may be, and error codes.

use super::case::Allowed::{Acknowledged, Alive, Connection, Data, End, Status, Stream};
use super::case::Code::{FlowControl, FrameSize, Protocol, StreamClosed};
use super::case::{Case, case};
use super::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, data, frame, get, headers, post,
    reset, settings, window_update,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = messages();
    cases.extend(streams());
    cases.extend(settings_of_it());
    cases.extend(connection());
    cases.extend(windows());
    cases.extend(continuations());
    cases
}

const WINDOW: u16 = 4;

#[rustfmt::skip]
fn messages() -> Vec<Case> {
    let protocol = &[Connection(Protocol)];
    vec![
        case("6.1/1", "DATA on stream 0", protocol, &[data(END_STREAM, 0, b"test")]),
        case("6.1/2", "DATA on a stream that is half closed", &[Stream(StreamClosed)], &[headers(WHOLE, 1, &get()), data(0, 1, b"test")]).may_pass(1),
        case("6.1/3", "DATA with more padding than payload", protocol, &[headers(END_HEADERS, 1, &post()), frame(DATA, PADDED | END_STREAM, 1, b"\x06test")]).may_pass(0),
        case("6.2/1", "HEADERS without END_HEADERS, then PRIORITY", protocol, &[headers(END_STREAM, 1, &get()), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255])]).may_pass(0),
        case("6.2/2", "HEADERS without END_HEADERS, then HEADERS of another stream", protocol, &[headers(END_STREAM, 1, &get()), headers(WHOLE, 3, &get())]).may_pass(0),
        case("6.2/3", "HEADERS on stream 0", protocol, &[headers(WHOLE, 0, &get())]).may_pass(0),
        case("6.2/4", "HEADERS with more padding than payload", protocol, &[frame(HEADERS, WHOLE | PADDED, 1, &[&[255][..], &get()].concat())]).may_pass(0),
    ]
}

#[rustfmt::skip]
fn streams() -> Vec<Case> {
    let protocol = &[Connection(Protocol)];
    let open = || headers(END_HEADERS, 1, &post());
    vec![
        case("6.3/1", "PRIORITY on stream 0", protocol, &[frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 255])]),
        case("6.3/2", "PRIORITY of 4 bytes", &[Stream(FrameSize)], &[open(), frame(PRIORITY, 0, 1, &[0, 0, 0, 1])]).may_pass(0),
        case("6.4/1", "RST_STREAM on stream 0", protocol, &[reset(0, 8)]),
        case("6.4/2", "RST_STREAM on an idle stream", protocol, &[reset(1, 8)]),
        case("6.4/3", "RST_STREAM of 3 bytes", &[Connection(FrameSize)], &[open(), frame(RST_STREAM, 0, 1, &[0; 3])]).may_pass(0),
    ]
}

#[rustfmt::skip]
fn settings_of_it() -> Vec<Case> {
    let (protocol, size) = (&[Connection(Protocol)], &[Connection(FrameSize)]);
    vec![
        case("6.5/1", "SETTINGS with ACK and a payload", size, &[frame(SETTINGS, ACK, 0, &[0; 6])]),
        case("6.5/2", "SETTINGS on a stream", protocol, &[frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])]),
        case("6.5/3", "SETTINGS of 3 bytes", size, &[frame(SETTINGS, 0, 0, &[0, 3, 0])]),
        case("6.5.2/1", "SETTINGS_ENABLE_PUSH 2", protocol, &[settings(&[(2, 2)])]),
        case("6.5.2/2", "SETTINGS_INITIAL_WINDOW_SIZE 2^31", &[Connection(FlowControl)], &[settings(&[(WINDOW, 1 << 31)])]),
        case("6.5.2/3", "SETTINGS_MAX_FRAME_SIZE below 2^14", protocol, &[settings(&[(5, (1 << 14) - 1)])]),
        case("6.5.2/4", "SETTINGS_MAX_FRAME_SIZE of 2^24", protocol, &[settings(&[(5, 1 << 24)])]),
        case("6.5.2/5", "a setting nobody knows", &[Alive], &[settings(&[(0xff, 1)])]),
        case("6.5.3/1", "two values of one setting: the last counts", &[Data(&[1])], &[settings(&[(WINDOW, 100), (WINDOW, 1)]), headers(WHOLE, 1, &get())]).may_pass(1),
        case("6.5.3/2", "SETTINGS are acknowledged", &[Acknowledged], &[]),
    ]
}

#[rustfmt::skip]
fn connection() -> Vec<Case> {
    let (protocol, size) = (&[Connection(Protocol)], &[Connection(FrameSize)]);
    vec![
        case("6.7/1", "PING", &[Alive], &[frame(PING, 0, 0, b"whatever")]),
        case("6.7/2", "PING with ACK", &[Alive], &[frame(PING, ACK, 0, b"whatever")]),
        case("6.7/3", "PING on a stream", protocol, &[frame(PING, 0, 1, &[0; 8])]),
        case("6.7/4", "PING of 6 bytes", size, &[frame(PING, 0, 0, &[0; 6])]),
        case("6.8/1", "GOAWAY on a stream", protocol, &[frame(GOAWAY, 0, 1, &[0; 8])]),
        case("7/1", "GOAWAY with a code nobody knows", &[Alive, End], &[frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff])]),
        case("7/2", "RST_STREAM with a code nobody knows", &[Alive], &[headers(END_HEADERS, 1, &post()), reset(1, 0xff)]).may_pass(0),
        case("8.2/1", "PUSH_PROMISE from a client", protocol, &[headers(WHOLE, 1, &get()), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &get()].concat())]).may_pass(1),
    ]
}

#[rustfmt::skip]
fn windows() -> Vec<Case> {
    let full = (1 << 31) - 1;
    let open = || headers(END_HEADERS, 1, &post());
    vec![
        case("6.9/1", "WINDOW_UPDATE of 0 for the connection", &[Connection(Protocol)], &[window_update(0, 0)]),
        case("6.9/2", "WINDOW_UPDATE of 0 for a stream", &[Stream(Protocol)], &[open(), window_update(1, 0)]).may_pass(0),
        case("6.9/3", "WINDOW_UPDATE of 3 bytes", &[Connection(FrameSize)], &[frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])]),
        case("6.9.1/1", "a window of 1: no more is sent", &[Data(&[1])], &[headers(WHOLE, 1, &get())]).with_settings(&[(WINDOW, 1)]).may_pass(1),
        case("6.9.1/2", "the connection's window past 2^31 - 1", &[Connection(FlowControl)], &[window_update(0, full), window_update(0, full)]),
        case("6.9.1/3", "a stream's window past 2^31 - 1", &[Stream(FlowControl)], &[open(), window_update(1, full), window_update(1, full)]).may_pass(0),
        case("6.9.2/1", "a window of 0 that becomes 1 by settings", &[Data(&[1])], &[headers(WHOLE, 1, &get()), settings(&[(WINDOW, 1)])]).with_settings(&[(WINDOW, 0)]).may_pass(1),
        case("6.9.2/2", "a window below 0, which is to be filled first", &[Data(&[1, 1])], &[headers(WHOLE, 1, &get())]).then_after_data(&[settings(&[(WINDOW, 0)]), window_update(1, 1), window_update(1, 1)]).with_settings(&[(WINDOW, 1)]).may_pass(1),
        case("6.9.2/3", "SETTINGS_INITIAL_WINDOW_SIZE past 2^31 - 1 on an open stream", &[Connection(FlowControl)], &[open(), settings(&[(WINDOW, 1 << 31)])]).may_pass(0),
    ]
}

#[rustfmt::skip]
fn continuations() -> Vec<Case> {
    let protocol = &[Connection(Protocol)];
    let more = |flags| frame(CONTINUATION, flags, 1, b"\x00\x01a\x01b");
    vec![
        case("6.10/1", "several CONTINUATIONs", &[Status(2)], &[headers(END_STREAM, 1, &get()), more(0), more(END_HEADERS)]).may_pass(1),
        case("6.10/2", "DATA between CONTINUATIONs", protocol, &[headers(0, 1, &post()), more(0), data(END_STREAM, 1, b"test")]).may_pass(0),
        case("6.10/3", "CONTINUATION on stream 0", protocol, &[headers(END_STREAM, 1, &get()), frame(CONTINUATION, END_HEADERS, 0, b"\x00\x01a\x01b")]).may_pass(0),
        case("6.10/4", "CONTINUATION after HEADERS with END_HEADERS", protocol, &[headers(END_HEADERS, 1, &post()), more(END_HEADERS)]).may_pass(0),
        case("6.10/5", "CONTINUATION after CONTINUATION with END_HEADERS", protocol, &[headers(0, 1, &post()), more(END_HEADERS), more(END_HEADERS)]).may_pass(0),
        case("6.10/6", "CONTINUATION after DATA", protocol, &[headers(END_HEADERS, 1, &post()), data(0, 1, b"test"), more(END_HEADERS)]).may_pass(0),
    ]
}
