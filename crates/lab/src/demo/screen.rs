//! One screen that shows the demo live; plain lines where there is no terminal (or `NO_COLOR` is set).

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::capture::Capture;
use crate::lab::Lab;
use crate::sys;

/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(200);
/// Cells of the traffic bars.
const BAR: usize = 24;

struct Scene {
    done: Vec<(bool, String)>,
    now: String,
    fraction: f64,
    faults: [String; 2],
}

/// The picture and the thread that paints it.
pub(super) struct Screen {
    scene: Arc<Mutex<Scene>>,
    live: bool,
    stop: Arc<AtomicBool>,
    painter: Option<JoinHandle<()>>,
}

impl Screen {
    /// Begins to paint, if there is a terminal.
    pub(super) fn start(begin: Instant, lab: &Lab) -> Screen {
        let live = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let scene = Scene { done: Vec::new(), now: String::new(), fraction: 0.0, faults: Default::default() };
        let scene = Arc::new(Mutex::new(scene));
        let stop = Arc::new(AtomicBool::new(false));
        let painter = live.then(|| {
            let captures: Vec<Capture> = lab.captures.values().cloned().collect();
            let (scene, stop) = (Arc::clone(&scene), Arc::clone(&stop));
            std::thread::spawn(move || paint(&scene, &stop, begin, &captures))
        });
        Screen { scene, live, stop, painter }
    }

    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has been shown.
    pub(super) fn done(&self, good: bool, what: &str) {
        self.scene().done.push((good, what.to_owned()));
        if !self.live {
            println!("  {} {what}", if good { "ok  " } else { "FAIL" });
        }
    }

    /// What is going on now, and how far we are.
    pub(super) fn now(&self, fraction: f64, what: &str) {
        let mut scene = self.scene();
        scene.fraction = fraction;
        what.clone_into(&mut scene.now);
        if !self.live {
            println!("… {what}");
        }
    }

    /// What is wrong with provider 0 or 1.
    pub(super) fn fault(&self, isp: usize, what: &str) {
        if let Some(slot) = self.scene().faults.get_mut(isp) {
            what.clone_into(slot);
        }
    }

    /// Leaves the last picture standing.
    pub(super) fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(painter) = self.painter.take() {
            // A painter that panicked has nothing more to say.
            let _ = painter.join();
        }
    }
}

fn paint(scene: &Mutex<Scene>, stop: &AtomicBool, begin: Instant, captures: &[Capture]) {
    let (mut height, mut before) = (0, vec![0; captures.len()]);
    let mut rates = vec![0; captures.len()];
    let mut last = Instant::now();
    loop {
        let ending = stop.load(Ordering::Relaxed);
        let seconds = last.elapsed().as_secs_f64().max(0.001);
        last = Instant::now();
        for (index, capture) in captures.iter().enumerate() {
            let count = capture.link().packets.0;
            rates[index] = ((count - before[index]) as f64 / seconds) as u64;
            before[index] = count;
        }
        let lines = {
            let scene = scene.lock().unwrap_or_else(PoisonError::into_inner);
            picture(&scene, begin.elapsed(), &rates)
        };
        let width = sys::terminal_width().unwrap_or(100);
        let mut out = if height > 0 { format!("\x1b[{height}A") } else { String::new() };
        for line in &lines {
            let _ = writeln!(out, "{}\x1b[0m\x1b[K", shortened(line, width));
        }
        height = lines.len();
        let _ = std::io::stdout().write_all(out.as_bytes()).and_then(|()| std::io::stdout().flush());
        if ending {
            return;
        }
        std::thread::sleep(FRAME);
    }
}

fn picture(scene: &Scene, elapsed: Duration, rates: &[u64]) -> Vec<String> {
    let filled = (scene.fraction.clamp(0.0, 1.0) * 40.0) as usize;
    let progress = format!("{}{}", "█".repeat(filled), "░".repeat(40 - filled));
    let mut lines = vec![
        String::new(),
        format!("\x1b[1mmwan: two providers, one router\x1b[0m   {progress}  {:.0} s", elapsed.as_secs_f64()),
        String::new(),
    ];
    let most = rates.iter().copied().max().unwrap_or(0).max(1);
    for (index, rate) in rates.iter().enumerate() {
        let (left, device) =
            if index == 0 { ("client ─ router ┬", "eth1") } else { ("                └", "eth2") };
        let cells = usize::try_from(rate * BAR as u64 / most).unwrap_or(0).min(BAR);
        let fault = scene.faults.get(index).map_or("", String::as_str);
        let colour = if fault.is_empty() { "32" } else { "31" };
        let letter = char::from(b'A' + u8::try_from(index).unwrap_or(0));
        lines.push(format!(
            "  {left}─ {device} ─ ISP {letter} ─ internet   \x1b[{colour}m{:BAR$}\x1b[0m {rate:5} packets/s  \x1b[31m{fault}",
            "▇".repeat(cells)
        ));
    }
    lines.push(String::new());
    for (good, what) in &scene.done {
        let sign = if *good { "\x1b[32m✓\x1b[0m" } else { "\x1b[31m✗\x1b[0m" };
        lines.push(format!("  {sign} {what}"));
    }
    lines.push(format!("  \x1b[33m…\x1b[0m {}", scene.now));
    lines
}

/// Cut to the terminal's width: a wrapped line would spoil the next picture. Escapes take no room.
fn shortened(line: &str, width: usize) -> String {
    let (mut out, mut used, mut escape) = (String::new(), 0, false);
    for c in line.chars() {
        if c == '\x1b' {
            escape = true;
        }
        if !escape {
            used += 1;
            if used >= width {
                break;
            }
        }
        out.push(c);
        escape = escape && !(c.is_ascii_alphabetic());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_take_no_room() {
        assert_eq!(shortened("\x1b[32mabc\x1b[0mdef", 6), "\x1b[32mabc\x1b[0mde");
        assert_eq!(shortened("short", 80), "short");
    }
}
