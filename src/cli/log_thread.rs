//! The operator's log, written by a thread of its own.
//!
//! Standard error may stall: Ctrl-S in a terminal, a session that died, a journal that hangs. The line must not wait for it.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use env_logger::{Builder, Env, Target, WriteStyle};

/// Lines that may wait; those beyond are dropped, and counted.
const ROOM: usize = 1024;
/// How long the end of the program waits for the lines that are left.
const PATIENCE: Duration = Duration::from_millis(500);

enum Entry {
    Line(Vec<u8>),
    /// Everything before it is written when the sender is dropped.
    End(#[expect(dead_code, reason = "its drop is the message")] Sender<()>),
}

/// What `env_logger` writes to: never waits.
struct Lines {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Entry::Line(line.to_vec())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The running log; dropping it writes what is left, for as long as that takes at most half a second.
pub struct Log(SyncSender<Entry>);

impl Log {
    /// Starts the log at the level that `RUST_LOG` asks for.
    pub fn start() -> Self {
        let (queue, lines) = sync_channel(ROOM);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = dropped.clone();
        std::thread::spawn(move || write_lines(&lines, &count, &mut std::io::stderr()));
        let style = if std::io::stderr().is_terminal() { WriteStyle::Always } else { WriteStyle::Never };
        let target = Target::Pipe(Box::new(Lines { queue: queue.clone(), dropped }));
        Builder::from_env(Env::default().default_filter_or("info,tract=warn")).write_style(style).target(target).init();
        Log(queue)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (end, ended) = channel();
        if self.0.try_send(Entry::End(end)).is_ok() {
            // An error is the sender's drop, which is what is waited for.
            let _ = ended.recv_timeout(PATIENCE);
        }
    }
}

/// Writes what comes until nobody sends any more. A stream that cannot be written is tried again with the next line.
fn write_lines(lines: &Receiver<Entry>, dropped: &AtomicU64, stream: &mut impl Write) {
    while let Ok(entry) = lines.recv() {
        let Entry::Line(line) = entry else { continue };
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(stream, "[{lost} lines of the log were dropped: nobody took them in time]");
        }
        let _ = stream.write_all(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_stalls_holds_nobody_and_what_was_dropped_is_counted() {
        let (queue, entries) = sync_channel(ROOM);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut lines = Lines { queue, dropped: dropped.clone() };
        // Nobody takes a line: were one of these writes to wait, the test would never end.
        (0..ROOM + 7).for_each(|line| writeln!(lines, "{line}").unwrap());
        assert!(dropped.load(Ordering::Relaxed) >= 7);
        drop(lines);
        let mut stream = Vec::new();
        write_lines(&entries, &dropped, &mut stream);
        let text = String::from_utf8(stream).unwrap();
        assert!(text.starts_with('[') && text.contains("lines of the log were dropped"), "{text}");
        assert!(text.contains("\n0"));
    }
}
