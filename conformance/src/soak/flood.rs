//! What a flood of frames does to others: how soon its connection is closed, and how long
//! another client of the same worker waits meanwhile.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::world::Upstream;
use crate::client::Client;
use crate::peer::{Proxy, Setup};
use crate::scratch::Scratch;
use crate::{Error, Result};

/// The longest that a flood may last.
const MOST: Duration = Duration::from_secs(1);
/// What the other client's p99 may be, as a multiple of what it is in quiet.
const SLOWER: f64 = 2.0;
/// How long the other client is looked at, in quiet and beside each kind of flood,
const LOOK: Duration = Duration::from_secs(5);
/// how often it asks,
const EACH: Duration = Duration::from_millis(2);
/// and how often there is a flood.
const BETWEEN: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(10);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A kind of flood: its name, what comes first, and so many frames that come again and again.
type Flood = (&'static str, Vec<u8>, fn(u32) -> Vec<u8>);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `GET http://t/` and the end of the stream.
fn get(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, b"\x82\x86\x84\x01\x01t")
}

fn floods() -> Vec<Flood> {
    let open = frame(1, 4, 1, b"\x83\x86\x84\x01\x01t");
    vec![
        ("rapid reset", vec![], |round| {
            let streams = (round * 100..(round + 1) * 100).map(|number| 2 * number + 1);
            let pair = |stream| [get(stream), frame(3, 0, stream, &[0, 0, 0, 8])].concat();
            streams.flat_map(pair).collect()
        }),
        ("ping", vec![], |_| frame(6, 0, 0, &[0; 8]).repeat(100)),
        ("settings", vec![], |_| frame(4, 0, 0, &[]).repeat(100)),
        ("window update", vec![], |_| {
            frame(8, 0, 0, &[0, 0, 0, 1]).repeat(100)
        }),
        ("priority", vec![], |_| frame(2, 0, 3, &[0; 5]).repeat(100)),
        ("empty data", open, |_| frame(0, 0, 1, &[]).repeat(100)),
        ("continuation", frame(1, 0, 1, b"\x82"), |_| {
            frame(9, 0, 1, &b"\0\x01a\x01b".repeat(1_000))
        }),
    ]
}

/// Runs all floods against the proxy at `program`, with one worker, and prints what was
/// measured. Returns whether each ended in time and hurt nobody.
///
/// # Errors
/// The proxy does not start, or the other client is not served.
pub fn run(program: &Path) -> Result<bool> {
    let scratch = Scratch::new("soak-flood")?;
    let upstream = Upstream::start()?;
    let proxy = Proxy::Cofferdam(program.to_owned());
    let running = proxy.start(&Setup::default(), upstream.address(), &scratch)?;
    let address = running.http1;
    // The first second is not looked at: pools and caches fill.
    asked(address, Duration::from_secs(1), |_| Ok(()))?;
    let (quiet, _) = asked(address, LOOK, |_| Ok(()))?;
    println!("in quiet: p99 {} µs of {} requests", quiet.p99, quiet.count);
    let mut kept = true;
    for flood in floods() {
        let (other, lasted) = asked(address, LOOK, |over| flooding(address, &flood, over))?;
        let longest = lasted.iter().max().copied().unwrap_or(Duration::MAX);
        let slower = other.p99 as f64 / quiet.p99.max(1) as f64;
        let good = longest < MOST && slower < SLOWER;
        kept &= good;
        println!(
            "{}: {} floods, the longest lasted {:.1} ms (at most {}); another client's p99 {} µs, {slower:.2} × \
             (below {SLOWER}), at most {} µs: {}",
            flood.0,
            lasted.len(),
            longest.as_secs_f64() * 1e3,
            MOST.as_millis(),
            other.p99,
            other.most,
            if good { "kept" } else { "TOO MUCH" },
        );
    }
    Ok(kept)
}

/// What a client that asks now and then has waited, in µs.
struct Waited {
    count: usize,
    p99: u128,
    most: u128,
}

/// Asks for that long, beside something else.
fn asked<T: Default + Send>(
    address: SocketAddr,
    time: Duration,
    beside: impl FnOnce(&AtomicBool) -> Result<T> + Send,
) -> Result<(Waited, T)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let beside = scope.spawn(|| beside(&over));
        let waited = ask(address, time);
        over.store(true, Ordering::Relaxed);
        let beside = beside.join();
        let beside = beside.map_err(|_| Error::Failed("a client panicked".to_owned()))?;
        Ok((waited?, beside?))
    })
}

fn ask(address: SocketAddr, time: Duration) -> Result<Waited> {
    let mut client = Client::connect(address)?;
    let mut waited = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let asked = Instant::now();
        let answer = client.send(b"GET / HTTP/1.1\r\nhost: soak.test\r\n\r\n")?;
        if answer.status != 200 {
            return Err(Error::Failed(format!("status {}", answer.status)));
        }
        waited.push(asked.elapsed().as_micros());
        thread::sleep(EACH);
    }
    waited.sort_unstable();
    let p99 = waited.get(waited.len() * 99 / 100).copied();
    Ok(Waited {
        count: waited.len(),
        p99: p99.unwrap_or(0),
        most: waited.last().copied().unwrap_or(0),
    })
}

/// One flood after the other; how long each lasted.
fn flooding(address: SocketAddr, flood: &Flood, over: &AtomicBool) -> Result<Vec<Duration>> {
    let mut lasted = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let one = flood_once(address, flood);
        lasted.push(one.map_err(|error| Error::failed(flood.0, error))?);
        thread::sleep(BETWEEN);
    }
    Ok(lasted)
}

/// Until the connection is closed, from its first frame.
fn flood_once(address: SocketAddr, (_, first, more): &Flood) -> std::io::Result<Duration> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&[PREFACE, first].concat())?;
    let begun = Instant::now();
    let mut reader = stream.try_clone()?;
    thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut chunk = [0; 16 << 10];
            loop {
                match reader.read(&mut chunk) {
                    Ok(0) => return Ok(begun.elapsed()),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                        return Ok(begun.elapsed());
                    }
                    Err(error) => return Err(error),
                }
            }
        });
        for round in 0.. {
            if stream.write_all(&more(round)).is_err() || begun.elapsed() > LIMIT {
                break;
            }
        }
        let ended = reading.join();
        ended.unwrap_or_else(|_| Err(ErrorKind::Other.into()))
    })
}
