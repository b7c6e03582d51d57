//! The picture. From 80×24 up everything has its place: on a small terminal one pane below the interfaces, on a large one all of them.

use mwan_api::{Carrier, Flow, Interface, Path, Policy, Severity, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Margin, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Row, Table, TableState, Wrap};

use super::model::{Model, Page, Pane, Track};
use crate::show::plain;

/// From this height on all panes are shown.
const TALL: u16 = 40;
/// From this width on events stand beside the others, and interfaces have all columns.
const WIDE: u16 = 140;

const KEYS: &str = "↑↓ select  Tab pane  d drain  e enable  x explain  ? help  q quit";

/// Draws everything.
pub(super) fn draw(model: &Model, frame: &mut Frame) {
    let whole = frame.area();
    let interfaces = u16::try_from(model.paths().count()).unwrap_or(u16::MAX).saturating_add(2);
    let most = (whole.height.saturating_sub(2) / 2).max(4);
    let [top, upper, lower, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(interfaces.min(most)),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(whole);
    header(model, frame, top);
    table_of_interfaces(model, frame, upper);
    for (pane, area) in places(model, whole, lower) {
        match pane {
            Pane::Policies => table_of_policies(model, frame, area),
            Pane::Flows => table_of_flows(model, frame, area),
            Pane::Events | Pane::Interfaces => list_of_events(model, frame, area),
        }
    }
    footer(model, frame, bottom);
    if model.help {
        help(frame, whole);
    }
    if let Some(page) = &model.page {
        read(page, frame, whole);
    }
}

/// Which panes are below the interfaces, and where.
fn places(model: &Model, whole: Rect, lower: Rect) -> Vec<(Pane, Rect)> {
    if whole.height < TALL {
        let pane = if model.focus == Pane::Interfaces { Pane::Events } else { model.focus };
        return vec![(pane, lower)];
    }
    let policies = model.status.as_ref().map_or(0, |s| s.policies.len() * 2);
    let policies = u16::try_from(policies).unwrap_or(u16::MAX).saturating_add(2).min(lower.height / 3);
    if whole.width >= WIDE {
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(lower);
        let [upper, under] = Layout::vertical([Constraint::Length(policies), Constraint::Min(0)]).areas(left);
        return vec![(Pane::Policies, upper), (Pane::Flows, under), (Pane::Events, right)];
    }
    let [a, b, c] =
        Layout::vertical([Constraint::Length(policies), Constraint::Fill(1), Constraint::Fill(1)])
            .areas(lower);
    vec![(Pane::Policies, a), (Pane::Flows, b), (Pane::Events, c)]
}

fn header(model: &Model, frame: &mut Frame, area: Rect) {
    let clock = model
        .time_ms
        .map(|time| format!("{}Z", &mwan_api::calendar::stamp(time / 1000)[11..]))
        .unwrap_or_default();
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(10)]).areas(area);
    frame.render_widget(Line::from(clock).right_aligned(), right);
    let mut spans = vec![Span::styled("mwan", Style::new().add_modifier(Modifier::BOLD))];
    if let Some(status) = &model.status {
        spans.push(format!(" {}  up {}  ", status.daemon.version, short(status.daemon.uptime_s)).into());
        spans.push(match &model.problem {
            Some(problem) => Span::styled(plain(problem), Style::new().fg(Color::Red)),
            None => word(status),
        });
    }
    frame.render_widget(Line::from(spans), left);
}

/// What is to be known first.
fn word(status: &Status) -> Span<'static> {
    match status.problems.first() {
        None => Span::styled("all well", Style::new().fg(Color::Green)),
        Some(first) => {
            let more = status.problems.len() - 1;
            let more = if more > 0 { format!(" (+{more})") } else { String::new() };
            Span::styled(format!("{}{more}", plain(first)), Style::new().fg(Color::Yellow))
        }
    }
}

fn footer(model: &Model, frame: &mut Frame, area: Rect) {
    let strong = Style::new().add_modifier(Modifier::BOLD);
    let line = match (&model.question, &model.message) {
        (Some(question), _) => Line::styled(plain(&question.text), strong.fg(Color::Yellow)),
        (None, Some(message)) => Line::styled(plain(message), strong),
        (None, None) => Line::raw(KEYS),
    };
    frame.render_widget(line, area);
}

fn help(frame: &mut Frame, whole: Rect) {
    const TEXT: &str = "\
Tab, Shift-Tab   another pane
↑ ↓ j k, Page    select in it
d                drain the selected interface (no new connections), or end that
e                take it down, or bring it up again
x                why the selected connection leaves where it leaves
q, Esc, Ctrl-C   end

rtt: of the targets that answer, and its last seconds (·: no answer).
conns: connections by their mark, and how many more than two seconds ago.
in, out: bytes a second of the device.

Any key closes this.";
    let height = u16::try_from(TEXT.lines().count()).unwrap_or(u16::MAX) + 2;
    let [area] =
        Layout::vertical([Constraint::Length(height)]).flex(ratatui::layout::Flex::Center).areas(whole);
    let [area] = Layout::horizontal([Constraint::Length(76)]).flex(ratatui::layout::Flex::Center).areas(area);
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(TEXT).block(Block::bordered().title(" Keys ")).wrap(Wrap { trim: false }),
        area,
    );
}

/// A text over the rest, from the line on up to which it was read.
fn read(page: &Page, frame: &mut Frame, whole: Rect) {
    let area = whole.inner(Margin { horizontal: 2, vertical: 1 });
    let lines = u16::try_from(page.text.lines().count()).unwrap_or(u16::MAX);
    let last = lines.saturating_sub(area.height.saturating_sub(2));
    let block = Block::bordered().title(" ↑↓ read on, any other key closes ");
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(page.text.as_str()).block(block).scroll((page.above.min(last), 0)),
        area,
    );
}

/// A pane's frame: its title, which tells where the keys go.
fn frame_of(model: &Model, pane: Pane, title: String) -> Block<'static> {
    let style = if model.focus == pane { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    Block::new()
        .borders(Borders::TOP)
        .title(Span::styled(format!(" {title} "), style))
        .border_style(Style::new().fg(Color::DarkGray))
}

/// A table in which something may be selected.
fn table(
    (model, pane): (&Model, Pane),
    title: String,
    heads: &[(&'static str, Constraint)],
    rows: Vec<Row<'static>>,
    frame: &mut Frame,
    area: Rect,
) {
    let head = Row::new(heads.iter().map(|(name, _)| *name)).style(Style::new().fg(Color::Cyan));
    let table = Table::new(rows, heads.iter().map(|(_, width)| *width))
        .header(head)
        .block(frame_of(model, pane, title))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = (model.focus == pane).then(|| model.selected(pane));
    frame.render_stateful_widget(table, area, &mut TableState::default().with_selected(selected));
}

fn table_of_interfaces(model: &Model, frame: &mut Frame, area: Rect) {
    use Constraint::{Fill, Length};
    let wide = area.width >= WIDE;
    let mut heads = vec![
        ("interface", Length(if wide { 16 } else { 10 })),
        ("", Length(4)),
        ("state", Length(13)),
        ("rtt ms", Length(6)),
        ("loss", Length(4)),
        ("in", Length(5)),
        ("out", Length(5)),
        ("conns", Length(10)),
    ];
    if wide {
        heads.extend([("since", Length(8)), ("jitter", Length(6)), ("device", Length(12)), ("why", Fill(1))]);
    }
    let used: u16 = heads.iter().map(|(_, width)| if let Length(n) = width { n + 1 } else { 0 }).sum();
    let room = area.width.saturating_sub(used);
    let spark = if wide { room / 2 } else { room };
    heads.push(("last seconds", Length(spark)));
    let rows =
        model.paths().map(|(interface, path)| row_of_path(model, interface, path, wide, usize::from(spark)));
    let rows = rows.collect();
    table((model, Pane::Interfaces), "Interfaces".to_owned(), &heads, rows, frame, area);
}

fn row_of_path(
    model: &Model,
    interface: &Interface,
    path: Option<&Path>,
    wide: bool,
    spark: usize,
) -> Row<'static> {
    let key = path.map(|path| (interface.name.clone(), path.family.clone()));
    let track = key.and_then(|key| model.tracks.get(&key));
    let rtt = track.and_then(|t| t.rtt.back().copied().flatten());
    let (state, style) = state(path);
    // By interface: what a mark says is no family.
    let first = interface.paths.first().map(|p| &p.family) == path.map(|p| &p.family);
    let mut cells = vec![
        plain(&interface.name),
        path.map(|p| p.family.clone()).unwrap_or_default(),
        state,
        rtt.map(milliseconds).unwrap_or_default(),
        track.and_then(|t| t.loss_percent).map(|p| format!("{p}%")).unwrap_or_default(),
        track.and_then(|t| t.rx).map(amount).unwrap_or_default(),
        track.and_then(|t| t.tx).map(amount).unwrap_or_default(),
        if first { connections(model, &interface.name) } else { String::new() },
    ];
    if wide {
        cells.extend([
            path.map(|p| short(p.since_s)).unwrap_or_default(),
            track.and_then(|t| t.jitter_us).map(milliseconds).unwrap_or_default(),
            plain(&interface.device),
            path.map(|p| plain(&p.reason.text)).unwrap_or_default(),
        ]);
    }
    cells.push(track.map(|t| sparkline(t, spark)).unwrap_or_default());
    let mut cells: Vec<ratatui::widgets::Cell> = cells.into_iter().map(Into::into).collect();
    cells[2] = std::mem::take(&mut cells[2]).style(style);
    Row::new(cells)
}

/// In a word, and how good that is.
fn state(path: Option<&Path>) -> (String, Style) {
    let Some(path) = path else { return ("disabled".to_owned(), Style::new().fg(Color::DarkGray)) };
    let good = |colour| Style::new().fg(colour);
    match path.status.as_str() {
        _ if path.usable && path.drained => ("drained".to_owned(), good(Color::Yellow)),
        _ if path.usable && path.hold.is_some() => ("held".to_owned(), good(Color::Yellow)),
        "online" => ("online".to_owned(), good(Color::Green)),
        "offline" | "disabled" => (path.status.clone(), good(Color::Red)),
        other => (plain(other), good(Color::Yellow)),
    }
}

fn connections(model: &Model, name: &str) -> String {
    let Some(flows) = &model.flows else { return String::new() };
    let count = flows.by_interface.iter().find(|i| i.interface == name).map_or(0, |i| i.flows);
    match model.gained.get(name) {
        Some(0) | None => amount(count),
        Some(gain) if *gain > 0 => format!("{} +{}", amount(count), amount(gain.unsigned_abs())),
        Some(loss) => format!("{} -{}", amount(count), amount(loss.unsigned_abs())),
    }
}

/// The last seconds of a path, the newest at the right; the highest is the longest time of them.
fn sparkline(track: &Track, width: usize) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = track.rtt.iter().skip(track.rtt.len().saturating_sub(width));
    let highest = last.clone().flatten().max().copied().unwrap_or(0).max(1);
    let step = |rtt: &Option<u64>| match rtt {
        None => '·',
        Some(rtt) => STEPS[usize::try_from(rtt * 7 / highest).unwrap_or(7).min(7)],
    };
    last.map(step).collect()
}

fn table_of_policies(model: &Model, frame: &mut Frame, area: Rect) {
    use Constraint::{Fill, Length};
    let heads = [("policy", Length(20)), ("ipv4", Fill(1)), ("ipv6", Fill(1)), ("switches", Length(8))];
    let policies = model.status.iter().flat_map(|status| &status.policies);
    table(
        (model, Pane::Policies),
        "Policies".to_owned(),
        &heads,
        policies.map(row_of_policy).collect(),
        frame,
        area,
    );
}

fn row_of_policy(policy: &Policy) -> Row<'static> {
    let switches = policy.ipv4.switches + policy.ipv6.switches;
    Row::new([plain(&policy.name), shares(&policy.ipv4), shares(&policy.ipv6), switches.to_string()])
}

fn shares(carrier: &Carrier) -> String {
    match &carrier.last_resort {
        Some(resort) => format!("({resort})"),
        None => {
            let share = |m: &mwan_api::Member| match m.percent {
                100 => plain(&m.interface),
                percent => format!("{} {percent}%", plain(&m.interface)),
            };
            carrier.members.iter().map(share).collect::<Vec<_>>().join("  ")
        }
    }
}

fn table_of_flows(model: &Model, frame: &mut Frame, area: Rect) {
    use Constraint::{Fill, Length};
    let heads =
        [("proto", Length(6)), ("from", Fill(1)), ("to", Fill(1)), ("by", Length(12)), ("bytes", Length(6))];
    let flows = model.flows.as_ref();
    let title = match flows {
        Some(flows) if flows.counted => format!("Connections: the largest of {}", flows.total),
        Some(flows) => {
            format!("Connections: some of {} (net.netfilter.nf_conntrack_acct is off)", flows.total)
        }
        None => "Connections".to_owned(),
    };
    let rows = flows.iter().flat_map(|flows| &flows.top).map(row_of_flow).collect();
    table((model, Pane::Flows), title, &heads, rows, frame, area);
}

fn row_of_flow(flow: &Flow) -> Row<'static> {
    let end = |address: &str, port: u16| match port {
        0 => plain(address),
        port if address.contains(':') => format!("[{}]:{port}", plain(address)),
        port => format!("{}:{port}", plain(address)),
    };
    Row::new([
        plain(&flow.proto),
        end(&flow.src, flow.sport),
        end(&flow.dst, flow.dport),
        flow.interface.as_deref().map(plain).unwrap_or_default(),
        flow.bytes.map(amount).unwrap_or_default(),
    ])
}

fn list_of_events(model: &Model, frame: &mut Frame, area: Rect) {
    let rows = model.events.iter().rev().map(|event| {
        let colour = match event.severity {
            Severity::Error => Style::new().fg(Color::Red),
            Severity::Warning => Style::new().fg(Color::Yellow),
            Severity::Info | Severity::Debug => Style::new(),
        };
        let time = mwan_api::calendar::stamp(event.time_ms / 1000);
        Row::new([time[5..].to_owned(), plain(&event.text)]).style(colour)
    });
    let heads = [("when (UTC)", Constraint::Length(14)), ("what", Constraint::Fill(1))];
    table((model, Pane::Events), "Events, newest first".to_owned(), &heads, rows.collect(), frame, area);
}

/// `12.3`, `1234`.
fn milliseconds(us: u64) -> String {
    if us < 100_000 { format!("{}.{}", us / 1000, us / 100 % 10) } else { format!("{}", us / 1000) }
}

/// At most five columns: `999`, `1.2k`, `34k`.
fn amount(n: u64) -> String {
    let mut unit = 1u64;
    for letter in ['k', 'M', 'G', 'T'] {
        let next = unit * 1000;
        match n / unit {
            0..=999 if unit == 1 => return n.to_string(),
            _ if n / next < 10 => return format!("{}.{}{letter}", n / next, n / (next / 10) % 10),
            _ if n / next < 1000 => return format!("{}{letter}", n / next),
            _ => unit = next,
        }
    }
    "lots".to_owned()
}

/// `3h12m`, at most eight columns.
fn short(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds}s"),
        () if hours == 0 => format!("{minutes}m{:02}s", seconds % 60),
        () if days == 0 => format!("{hours}h{:02}m", minutes % 60),
        () => format!("{days}d{:02}h", hours % 24),
    }
}
