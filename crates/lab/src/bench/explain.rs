//! How long an explanation takes.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::config::Shape;
use super::daemon::Setup;
use super::table::{Row, Series};
use super::world::World;

const RULES: usize = 1000;
const RUNS: u8 = 101;
const TARGET_MS: f64 = 5.0;
const ONLINE_MAX: Duration = Duration::from_secs(20);

/// One packet after the other through all rules.
pub(crate) fn explain(mwan: &Path) -> Result<Vec<Row>, String> {
    let world = World::build("explain", 2)?;
    let shape = Shape { wans: 2, rules: RULES, targets: 1, tracking: &["interval 0.5"], last: "balanced" };
    let daemon = Setup::new(mwan, &world.router, &shape.uci())?.start()?;
    daemon.wait_online(ONLINE_MAX)?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for n in 0..RUNS {
        let request = format!("{{\"method\":\"explain\",\"to\":\"192.0.2.{}:53/udp\"}}\n", n + 1);
        let begin = Instant::now();
        let answer =
            ask(&daemon.socket(), &request).map_err(|e| format!("the daemon does not explain: {e}"))?;
        times.push(begin.elapsed());
        // What is measured has to be the whole answer.
        if answer.matches("\"matched\":false").count() != RULES || !answer.contains("\"rule\":\"all\"") {
            return Err(format!("not {RULES} rules and then the last one: {:.400}", answer));
        }
        bytes = answer.len();
    }
    let series = Series::of_ms(&times)?;
    let median = series.median();
    Ok(vec![
        Row::new("explain", format!("a packet through {RULES} rules explained"))
            .target(format!("≤ {TARGET_MS} ms"))
            .measured(format!("{median:.1} ms"))
            .verdict(median <= TARGET_MS)
            .note(format!(
                "{} runs, {:.1} to {:.1} ms; answers of {} KiB",
                series.len(),
                series.min(),
                series.max(),
                bytes / 1024
            )),
    ])
}

fn ask(socket: &Path, request: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
