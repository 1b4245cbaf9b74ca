//! The file that lines go to, which an operator may take away.
//!
//! Whoever rotates logs moves the file and sends SIGUSR1: it is opened anew under its name,
//! at once, so that it is there whether or not anybody makes a request. Each worker goes over
//! to it with the next lines it writes; the old file is closed by the last one that does.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The access log's file, shared by all workers.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    opened: Mutex<Arc<Opened>>,
    /// Grows whenever `opened` is another one: what a worker looks at before it writes.
    turn: AtomicU64,
}

/// A worker's way to it.
#[derive(Debug)]
pub(super) struct Writer {
    log: Arc<LogFile>,
    opened: Arc<Opened>,
    turn: u64,
}

/// The file as it was opened once.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    /// Not a pipe or a device that goes by a name.
    pub(super) is_plain: bool,
}

// === impl LogFile ===

impl LogFile {
    /// Opens it. It is created where there is none (its folder is not), and only ever
    /// appended to.
    ///
    /// # Errors
    /// What the system says of it.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            path: path.to_owned(),
            opened: Mutex::new(Arc::new(open(path)?)),
            turn: AtomicU64::new(0),
        }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it anew under its name.
    ///
    /// # Errors
    /// What the system says; the file that was open is written on then.
    pub fn reopen(&self) -> io::Result<()> {
        let opened = Arc::new(open(&self.path)?);
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = opened;
        self.turn.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub(super) fn writer(self: &Arc<Self>) -> Writer {
        let turn = self.turn.load(Ordering::Acquire);
        Writer {
            log: self.clone(),
            opened: self.opened(),
            turn,
        }
    }

    fn opened(&self) -> Arc<Opened> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.clone()
    }
}

// === impl Writer ===

impl Writer {
    /// The file as it was opened last.
    pub(super) fn current(&mut self) -> &Opened {
        let turn = self.log.turn.load(Ordering::Acquire);
        if turn != self.turn {
            self.turn = turn;
            self.opened = self.log.opened();
        }
        &self.opened
    }
}

fn open(path: &Path) -> io::Result<Opened> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let is_plain = file.metadata()?.is_file();
    Ok(Opened { file, is_plain })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_that_was_moved_is_opened_anew() {
        let folder = std::env::temp_dir().join(format!("cofferdam-reopen-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, moved) = (folder.join("access.log"), folder.join("access.log.1"));
        let log = LogFile::open(&path).unwrap();
        let mut writers = [log.writer(), log.writer()];
        let mut write = |text: &str| {
            for writer in &mut writers {
                (&writer.current().file).write_all(text.as_bytes()).unwrap();
            }
        };
        write("old\n");
        std::fs::rename(&path, &moved).unwrap();
        write("late\n");
        log.reopen().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        write("new\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\nnew\n");
        // Without its folder it goes on where it is.
        let gone = folder.with_extension("gone");
        std::fs::rename(&folder, &gone).unwrap();
        log.reopen().unwrap_err();
        write("on\n");
        let text = |name: &str| std::fs::read_to_string(gone.join(name)).unwrap();
        assert_eq!(text("access.log"), "new\nnew\non\non\n");
        assert_eq!(text("access.log.1"), "old\nold\nlate\nlate\n");
        std::fs::remove_dir_all(gone).unwrap();
    }
}
