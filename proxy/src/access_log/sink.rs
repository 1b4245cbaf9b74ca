//! Where lines go.
//!
//! Each worker has its own sink and collects lines in it; a system call per line would cost
//! more than rendering it. What leaves is always whole lines, in one write to a file that
//! is open for appending, so that lines of several workers (or processes, during an
//! upgrade) do not mix. Pipes and terminals promise that only for short writes, so to those
//! lines go a few at a time.
//!
//! A log that cannot be written never stops a request: its lines are dropped and counted,
//! and the first failure is reported.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::file::{self, LogFile};
use super::{Format, Record};

/// A worker's end of the access log. It may move to the worker's thread, and is not shared
/// between threads.
pub struct Sink {
    format: Format,
    output: RefCell<Output>,
    /// Whole lines only.
    buffer: RefCell<Vec<u8>>,
    lost: Cell<u64>,
    /// Those of all workers.
    all_lost: Arc<AtomicU64>,
}

enum Output {
    /// A pipe, a terminal, a socket.
    Device(Box<dyn Write + Send>),
    File(file::Writer),
}

// === impl Sink ===

impl Sink {
    /// The log's end for one worker. Without a file lines go to standard output.
    pub fn of(format: Format, file: Option<&Arc<LogFile>>) -> Self {
        let output = match file {
            None => Output::Device(Box::new(io::stdout())),
            Some(file) => Output::File(file.writer()),
        };
        Self::new(format, output)
    }

    /// Whether its format asks for what is noted of a request only then.
    pub fn is_noted(&self) -> bool {
        self.format.is_noted()
    }

    /// Whether its format asks for the exchange as filters see it.
    pub fn is_evaluated(&self) -> bool {
        self.format.is_evaluated()
    }

    fn new(format: Format, output: Output) -> Self {
        Self {
            format,
            output: RefCell::new(output),
            buffer: RefCell::new(Vec::with_capacity(FULL + ROOM)),
            lost: Cell::new(0),
            all_lost: Arc::default(),
        }
    }

    /// Adds what it loses to those of others.
    #[must_use]
    pub fn counting(mut self, lost: Arc<AtomicU64>) -> Self {
        self.all_lost = lost;
        self
    }

    /// Renders a line in the configured format, straight into the buffer.
    pub fn record(&self, record: &Record<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        self.format.render(record, &mut buffer);
        if buffer.len() >= FULL {
            self.drain(&mut buffer);
        }
    }

    /// Takes whole lines, each with its line break.
    pub fn write(&self, lines: &[u8]) {
        let mut buffer = self.buffer.borrow_mut();
        buffer.extend_from_slice(lines);
        if buffer.len() >= FULL {
            self.drain(&mut buffer);
        }
    }

    /// Hands over what has been collected: to be called when a worker has nothing else to
    /// do, so that a quiet log is an up-to-date log.
    pub fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if !buffer.is_empty() {
            self.drain(&mut buffer);
        }
    }

    /// Lines that could not be written so far.
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }

    fn drain(&self, buffer: &mut Vec<u8>) {
        let result = self.output.borrow_mut().write(buffer);
        if let Err((error, unwritten)) = result {
            let lines = buffer[buffer.len() - unwritten..].iter();
            let lines = lines.filter(|&&byte| byte == b'\n').count() as u64;
            self.all_lost.fetch_add(lines, Ordering::Relaxed);
            if self.lost.replace(self.lost.get() + lines) == 0 {
                tracing::warn!(%error, lines, "the access log cannot be written; lines are lost");
            }
        }
        buffer.clear();
        // One huge line must not be kept in memory for ever.
        buffer.shrink_to(FULL + ROOM);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("format", &self.format)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

// === impl Output ===

impl Output {
    /// Writes whole lines; on failure says how many bytes at the end were not written.
    fn write(&mut self, lines: &[u8]) -> Result<(), (io::Error, usize)> {
        match self {
            Self::File(file) => {
                let opened = file.current();
                let mut file = &opened.file;
                if opened.is_plain {
                    return file.write_all(lines).map_err(|error| (error, lines.len()));
                }
                in_pieces(&mut file, lines)
            }
            Self::Device(device) => in_pieces(device, lines),
        }
    }
}

/// A few lines at a time; on failure says how many bytes at the end were not written.
fn in_pieces(device: &mut impl Write, lines: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut rest = lines;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(whole_lines(rest, ATOMIC));
        // The lock of standard output is held for one piece only.
        (device.write_all(piece).and_then(|()| device.flush()))
            .map_err(|error| (error, rest.len()))?;
        rest = after;
    }
    Ok(())
}

/// Bytes of as many lines as fit into `room`, or of one if that alone does not.
fn whole_lines(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    let is_end = |byte: &u8| *byte == b'\n';
    match lines[..room].iter().rposition(is_end) {
        Some(end) => end + 1,
        None => lines
            .iter()
            .position(is_end)
            .map_or(lines.len(), |end| end + 1),
    }
}

/// A buffer this full is written.
const FULL: usize = 16 * 1024;
/// Room for the line that fills it.
const ROOM: usize = 1024;
/// What POSIX lets a pipe take without mixing in others' bytes (`PIPE_BUF` of Linux).
const ATOMIC: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Notes every write; fails once it is told to.
    #[derive(Clone, Default)]
    struct Device {
        writes: Arc<Mutex<Vec<Vec<u8>>>>,
        broken: Arc<AtomicBool>,
    }

    impl Write for Device {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.broken.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.writes.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(device: &Device) -> Sink {
        Sink::new(Format::default(), Output::Device(Box::new(device.clone())))
    }

    #[test]
    fn lines_wait_for_a_flush_or_a_full_buffer() {
        let device = Device::default();
        let sink = sink(&device);
        sink.write(b"one\n");
        sink.flush();
        sink.flush();
        assert_eq!(*device.writes.lock().unwrap(), [b"one\n"]);
        let line = [&[b'x'; 99][..], b"\n"].concat();
        for _ in 0..163 {
            sink.write(&line);
        }
        assert_eq!(device.writes.lock().unwrap().len(), 1);
        sink.write(&line);
        let writes = device.writes.lock().unwrap();
        assert_eq!(writes.iter().map(Vec::len).sum::<usize>(), 4 + 16_400);
        assert!(
            writes
                .iter()
                .all(|write| write.len() <= ATOMIC && write.ends_with(b"\n"))
        );
    }

    #[test]
    fn a_dropped_sink_has_written_everything() {
        let device = Device::default();
        sink(&device).write(b"last\n");
        assert_eq!(*device.writes.lock().unwrap(), [b"last\n"]);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_forgotten() {
        let device = Device::default();
        let sink = sink(&device);
        device.broken.store(true, Ordering::Relaxed);
        sink.write(b"one\ntwo\n");
        sink.flush();
        sink.write(b"three\n");
        sink.flush();
        assert_eq!(sink.lost(), 3);
        device.broken.store(false, Ordering::Relaxed);
        sink.write(b"four\n");
        sink.flush();
        assert_eq!(*device.writes.lock().unwrap(), [b"four\n"]);
    }

    #[test]
    fn pieces_end_with_lines() {
        assert_eq!(whole_lines(b"a\nb\n", 9), 4);
        assert_eq!(whole_lines(b"a\nb\n", 3), 2);
        assert_eq!(whole_lines(b"abcdef\nb\n", 3), 7);
        assert_eq!(whole_lines(b"abcdef", 3), 6);
    }

    #[test]
    fn files_are_appended_to_by_all_workers() {
        let path = std::env::temp_dir().join(format!("cofferdam-sink-{}", std::process::id()));
        std::fs::write(&path, "before\n").unwrap();
        let file = LogFile::open(&path).unwrap();
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let file = file.clone();
                std::thread::spawn(move || {
                    let sink = Sink::of(Format::default(), Some(&file));
                    for line in 0..2_000 {
                        sink.write(format!("worker {worker} line {line:04}\n").as_bytes());
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(text.starts_with("before\n"));
        assert_eq!(text.lines().count(), 8_001);
        assert!(
            text.lines()
                .skip(1)
                .all(|line| line.len() == "worker 0 line 0000".len())
        );
    }
}
