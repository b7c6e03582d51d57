//! The log as a file of its own, beside the system's: bounded whatever happens, and never in the loop's way.
//!
//! Lines go through a bounded queue to a thread, which alone touches the disk. A line for which there is no room, in the queue
//! or on the disk, is lost; how many were is said as soon as there is room again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// A file this large is set aside, bytes.
const SIZE_MAX: u64 = 1 << 20;
/// Files that were set aside: `.1` is the younger.
const OLD_MAX: u32 = 2;
/// Longest line, bytes.
const LINE_MAX: usize = 4096;
/// Lines that wait for a slow disk.
const QUEUE_MAX: usize = 1024;
/// How long the end of the daemon waits for what is queued.
const FLUSH_MAX: Duration = Duration::from_millis(500);

enum Message {
    Line(Vec<u8>),
    /// Everything before has been written: answered.
    Flush(Sender<()>),
}

/// The way into the file.
#[derive(Clone, Debug)]
pub(super) struct LogFile {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Message")
    }
}

impl LogFile {
    /// Starts the thread. The file is opened with the first line, and again whenever somebody has moved it.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let file = Rotated { path: path.to_owned(), size_max: SIZE_MAX, open: None };
        let counted = lost.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || write_all(file, &messages, &counted))?;
        Ok(LogFile { queue, lost })
    }

    /// Waits until what was said is in the file, for half a second at most.
    pub(super) fn flush(&self) {
        let (done, wait) = channel();
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_MAX);
        }
    }
}

fn write_all(mut file: Rotated, messages: &Receiver<Message>, lost: &AtomicU64) {
    for message in messages {
        match message {
            Message::Line(line) => {
                let missing = lost.swap(0, Ordering::Relaxed);
                let said =
                    missing == 0 || file.append(format!("{missing} lines were lost\n").as_bytes()).is_ok();
                if !said || file.append(&line).is_err() {
                    lost.fetch_add(1 + if said { 0 } else { missing }, Ordering::Relaxed);
                }
            }
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

/// A file that is set aside when it is full.
#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    size_max: u64,
    open: Option<File>,
}

impl Rotated {
    /// The whole line or nothing, and never beyond the limit.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut size = self.current()?.metadata()?.len();
        if size > 0 && size + line.len() as u64 > self.size_max {
            self.rotate()?;
            size = self.current()?.metadata()?.len();
            if size + line.len() as u64 > self.size_max {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let file = self.current()?;
        file.write_all(line).inspect_err(|_| {
            // Half a line of a full disk.
            let _ = file.set_len(size);
        })
    }

    /// The file of that name: somebody else may have moved or removed the one that is open.
    fn current(&mut self) -> io::Result<&mut File> {
        let name = fs::symlink_metadata(&self.path).ok();
        let same = |file: &File| {
            let open = file.metadata().ok();
            open.zip(name.as_ref()).is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
        };
        let open = match self.open.take().filter(same) {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                // A link or a pipe of that name is not ours to write to, or to wait for.
                options.append(true).create(true).mode(0o640);
                let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&self.path)?;
                if !file.metadata()?.is_file() {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                file
            }
        };
        Ok(self.open.insert(open))
    }

    /// `log.1` becomes `log.2`, the log `log.1`. Where that is refused, what is in the log goes: it must not grow.
    fn rotate(&mut self) -> io::Result<()> {
        let old = |number: u32| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..OLD_MAX).rev() {
            let _ = fs::rename(old(number), old(number + 1));
        }
        match fs::rename(&self.path, old(1)) {
            Ok(()) => {
                self.open = None;
                Ok(())
            }
            Err(_) => self.current()?.set_len(0),
        }
    }
}

/// Writes one line.
#[derive(Debug)]
pub(super) struct LineWriter {
    file: LogFile,
    level: Level,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = String::new();
        // As the log on standard error: the time in UTC (RFC 3339), the level.
        let _ = SystemTime.format_time(&mut Writer::new(&mut text));
        text.push_str(&format!(" {:>5} ", self.level));
        text.push_str(String::from_utf8_lossy(bytes).trim_end());
        if text.len() >= LINE_MAX {
            let whole = |index: &usize| text.is_char_boundary(*index);
            text.truncate((0..LINE_MAX).rev().find(whole).unwrap_or(0));
        }
        text.push('\n');
        if self.file.queue.try_send(Message::Line(text.into_bytes())).is_err() {
            self.file.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter { file: self.clone(), level: Level::INFO }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> LineWriter {
        LineWriter { file: self.clone(), level: *meta.level() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rotated(path: &Path, size_max: u64) -> Rotated {
        Rotated { path: path.to_owned(), size_max, open: None }
    }

    #[test]
    fn lines_have_a_time_and_a_level_and_are_there_after_a_flush() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mwan.log");
        let log = LogFile::start(&path).unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!("wan is down");
            tracing::info!("{}", "x".repeat(2 * LINE_MAX));
        });
        log.flush();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("Z  WARN wan is down"), "{}", lines[0]);
        assert_eq!((lines.len(), lines[1].len()), (2, LINE_MAX - 1));
    }

    #[test]
    fn a_full_log_is_set_aside_and_two_old_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mwan.log");
        let mut file = rotated(&path, 100);
        for number in 0..100 {
            file.append(format!("{number:>9}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["mwan.log", "mwan.log.1", "mwan.log.2"]);
        assert!(fs::read_to_string(&path).unwrap().ends_with("       99\n"));
        for name in names {
            assert!(fs::metadata(dir.path().join(name)).unwrap().len() <= 100);
        }
    }

    #[test]
    fn a_log_that_was_moved_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mwan.log");
        let mut file = rotated(&path, 100);
        file.append(b"one\n").unwrap();
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two\n");
    }

    #[test]
    fn a_log_that_cannot_be_set_aside_does_not_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mwan.log");
        // Folders with something in them: nothing can be renamed to that.
        fs::create_dir_all(dir.path().join("mwan.log.1/x")).unwrap();
        fs::create_dir_all(dir.path().join("mwan.log.2/x")).unwrap();
        let mut file = rotated(&path, 100);
        for _ in 0..50 {
            file.append(b"0123456789\n").unwrap();
            assert!(fs::metadata(&path).unwrap().len() <= 100);
        }
    }

    #[test]
    fn links_and_devices_are_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "").unwrap();
        let path = dir.path().join("mwan.log");
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(rotated(&path, 100).append(b"x\n").is_err());
        assert_eq!(fs::read(&target).unwrap(), b"");
        let device = LogFile::start(Path::new("/dev/null")).unwrap();
        device.queue.send(Message::Line(b"x\n".to_vec())).unwrap();
        device.flush();
        assert_eq!(device.lost.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_was_lost_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder/mwan.log");
        let log = LogFile::start(&path).unwrap();
        for _ in 0..3 {
            log.queue.send(Message::Line(b"x\n".to_vec())).unwrap();
        }
        log.flush();
        fs::create_dir(dir.path().join("folder")).unwrap();
        log.queue.send(Message::Line(b"y\n".to_vec())).unwrap();
        log.flush();
        assert_eq!(fs::read_to_string(&path).unwrap(), "3 lines were lost\ny\n");
    }
}
