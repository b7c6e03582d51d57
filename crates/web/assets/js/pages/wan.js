// One interface: state, what can be done with it, and its charts.
import { html, useEffect, useMemo, useRef, useState } from '../html.js';
import { getJson, may, post, query } from '../api.js';
import { useStore } from '../store.js';
import { paths, rates, refresh } from '../live.js';
import { bits, bitsRound, count, duration, family, moment, ms, percent } from '../format.js';
import { STATES, carriers, eventWords, interfaceState, isDrained, pathState, sinceMs, why } from '../model.js';
import { Chart } from '../chart.js';
import { Action, Busy, Card, Confirm, Failure, Icon, Segments, State, Table, Title, href } from '../ui.js';
import { Settings } from './settings.js';

const RANGES = [[60, '1 min'], [600, '10 min'], [3600, '1 h'], [6 * 3600, '6 h'], [86400, '1 day'], [7 * 86400, '7 days'], [30 * 86400, '30 days']];
/** Up to here samples are added as they come, s; beyond the history is asked again now and then. */
const LIVE_MAX = 600;
const POINTS = 400;

export function Wan({ args }) {
  return args[1] === 'settings' ? html`<${Settings} name=${args[0]} />` : html`<${Health} name=${args[0]} />`;
}

function Health({ name }) {
  const status = useStore((s) => s.status);
  const statusAt = useStore((s) => s.statusAt);
  const session = useStore((s) => s.session);
  const iface = status.interfaces.find((i) => i.name === name);
  const [range, setRange] = useState(600);
  if (!iface) return html`<${Title}>${name}<//><${Failure} error=${{ message: `There is no interface ${name}.`, hint: 'It may have been renamed or removed in the configuration.' }} />`;
  return html`<p class="crumb"><a href="#/"><${Icon} name="back" size=${16} />Overview</a></p>
    <${Title} sub=${html`<${State} state=${interfaceState(iface)} /> <span class="quiet">device ${iface.device || '–'}${iface.id ? ` · mark ${iface.mark}` : ''}</span>`}
      actions=${html`${may(session, 'operator') && iface.enabled ? html`<${Steer} iface=${iface} status=${status} />` : null}${may(session, 'admin') ? html`<a class="button" href=${href('wan', name, 'settings')}>Settings</a>` : null}`}>${iface.name}<//>
    <div class="pathgrid">${iface.paths.map((p) => html`<${PathCard} key=${p.family} iface=${iface} path=${p} status=${status} statusAt=${statusAt} />`)}</div>
    ${iface.enabled ? html`<div class="rangebar"><h2>History</h2><${Segments} label="Time range" value=${range} options=${RANGES} onInput=${setRange} /></div>
      <${Charts} key=${`${name}/${range}`} iface=${iface} range=${range} />
      <${Targets} iface=${iface} />` : null}`;
}

/** Drain, undrain, up, down. What would leave the site without any WAN is asked about first. */
function Steer({ iface, status }) {
  const [asks, setAsks] = useState(false);
  const drained = iface.paths.some((p) => isDrained(iface, p));
  const down = iface.paths.length > 0 && iface.paths.every((p) => pathState(iface, p) === 'stopped');
  const send = (what) => async () => { await post(`interfaces/${encodeURIComponent(iface.name)}/${what}`); await refresh(); };
  const others = status.interfaces.some((i) => i.name !== iface.name && i.paths.some((p) => p.usable && !isDrained(i, p)));
  // Made anew with each status: what would become of the connections may change while it is read.
  const ask = {
    title: `Take ${iface.name} down?`,
    text: others ? 'Its connections move to the WANs that remain, and it carries nothing until it is taken up again.'
      : 'No other WAN is usable: the site would be offline until it is taken up again. If you are here by this WAN, you lose this page, too.',
    confirm: 'Take down', danger: true, done: `${iface.name} is taken down.`, run: send('down'),
  };
  return html`${down ? html`<${Action} class="primary" run=${send('up')} done=${`${iface.name} is taken up.`}>Take up<//>`
    : html`${drained ? html`<${Action} class="primary" run=${send('undrain')} done=${`${iface.name} takes new connections again.`}>Undrain<//>`
      : html`<${Action} run=${send('drain')} done=${`${iface.name} takes no new connections while another WAN can.`}>Drain<//>`}
      <button type="button" class="button" onClick=${() => setAsks(true)}>Take down</button>`}
    ${asks ? html`<${Confirm} ask=${ask} onClose=${() => setAsks(false)} />` : null}`;
}

function PathCard({ iface, path, status, statusAt }) {
  const now = Date.now();
  const state = pathState(iface, path);
  const since = sinceMs(path, statusAt);
  return html`<section class=${`card path ${STATES[state].tone}`}><div class="cardhead"><h2>${family(path.family)}</h2><${State} state=${state} /></div>
    <p class="why">${why(path)}</p>
    <dl class="pairs">
      <div><dt>Since</dt><dd>${moment(since, now).replace(/^at |^on /, '')} (${duration((now - since) / 1000)})</dd></div>
      <div><dt>New connections</dt><dd>${path.carries ? 'carries' : path.usable ? 'standby' : 'none'}</dd></div>
      <div><dt>Gateway</dt><dd>${path.gateway || 'on link'}</dd></div>
      <div><dt>Source</dt><dd>${path.source || '–'}</dd></div>
      <div><dt>Rounds</dt><dd>${count(path.rounds)}</dd></div>
      <div><dt>Silent drop seen within</dt><dd>${path.worst_case_detection_ms ? duration(path.worst_case_detection_ms / 1000) : 'never: nothing is probed'}</dd></div>
    </dl></section>`;
}

function Targets({ iface }) {
  const rows = iface.paths.flatMap((p) => p.targets);
  return html`<${Card} title="Targets"><${Table} label="Targets that are probed" rows=${rows} keyOf=${(t) => t.target + t.method}
    empty=${html`<p class="quiet">Nothing is probed by this interface: it counts as up while its device has an address and a gateway.</p>`} columns=${[
    ['Target', (t) => html`<code>${t.target}</code>`],
    ['Method', (t) => t.method],
    ['State', (t) => html`<${State} small state=${t.status === 'up' ? 'online' : t.status === 'down' ? 'offline' : 'unknown'}>${t.status}<//>`],
    ['Last', (t) => (t.rtt_us !== null && t.rtt_us !== undefined ? ms(t.rtt_us / 1000) : '–'), 'num'],
    ['Mean', (t) => ms(t.latency_ms), 'num'],
    ['Loss', (t) => percent(t.loss_percent), 'num'],
    ['Answered', (t) => `${count(t.received)} of ${count(t.sent)}`, 'num'],
    ['Last failure', (t) => t.error || '–'],
  ]} /><//>`;
}

const FAMILY_LOOK = { ipv4: { color: '--c0', cls: 'c0' }, ipv6: { color: '--c1', cls: 'c1' } };

async function loadSeries(iface, range) {
  const to = Date.now() / 1000;
  // Of a new interface, or without `history`, nothing is recorded: samples are drawn all the same.
  const live = range <= LIVE_MAX;
  const refused = (error) => { if (error.status === 409 && live) return null; throw error; };
  const ask = (family) => getJson(`history?${query({ interface: iface.name, family, from: Math.floor(to - range), to: Math.ceil(to), points: POINTS })}`).catch(refused);
  const answers = await Promise.all(iface.paths.map((p) => ask(p.family)));
  return { to, answers };
}

/** History of every family, brought onto one time axis, with what has been sampled since added at its end. */
function Charts({ iface, range }) {
  const [loaded, setLoaded] = useState(null);
  const [error, setError] = useState(null);
  const [turn, setTurn] = useState(0);
  const tick = useStore((s) => (range <= LIVE_MAX ? s.tick : 0));
  const lastEvent = useStore((s) => s.events[0]);
  const families = iface.paths.map((p) => p.family).join();
  useEffect(() => {
    let current = true;
    loadSeries(iface, range).then((data) => { if (current) { setLoaded(data); setError(null); } }, (e) => { if (current) setError(e); });
    return () => { current = false; };
  }, [iface.name, families, range, turn]);
  useEffect(() => {
    const again = setInterval(() => { if (!document.hidden) setTurn((n) => n + 1); }, range <= LIVE_MAX ? 60000 : Math.max(10000, (range / POINTS) * 1000));
    return () => clearInterval(again);
  }, [range]);
  const events = useMarks(iface, range, lastEvent && lastEvent.id);
  const view = useMemo(() => (loaded ? build(iface, loaded, range) : null), [loaded, tick, families]);
  if (error && !loaded) return html`<${Failure} error=${error} retry=${() => setTurn((n) => n + 1)} />`;
  if (!view) return html`<div class="charts waiting"><${Busy} text="Reading the history…" /></div>`;
  const specs = useSpecs(iface);
  const marks = events.filter((m) => m.at >= view.range.from);
  return html`<div class="charts">${specs.map((spec) => html`<${Chart} key=${spec.title} spec=${spec} data=${view[spec.key]} range=${view.range} marks=${marks} outages=${view.outages} />`)}</div>
    ${marks.length > 0 ? html`<details class="marks"><summary>${marks.length} ${marks.length === 1 ? 'change is' : 'changes are'} marked in these charts</summary><ol class="recent">
      ${marks.slice(0, 50).map((m) => html`<li key=${m.id} class=${m.tone}><time>${moment(m.at * 1000).replace(/^at |^on /, '')}</time><span class="bullet" aria-hidden="true"></span><span>${m.text}</span></li>`)}</ol></details>` : null}`;
}

function useSpecs(iface) {
  const perFamily = iface.paths.map((p) => ({ label: family(p.family), ...FAMILY_LOOK[p.family] }));
  const quality = iface.paths.map((p) => p.quality).find(Boolean);
  const limits = (failure, recovery, unit) => (quality ? [
    { value: failure, label: `counts as down: ${unit(failure)}`, color: '--bad' },
    { value: recovery, label: `counts as up: ${unit(recovery)}`, color: '--ok' },
  ].filter((t) => typeof t.value === 'number') : []);
  const sync = `wan-${iface.name}`;
  return [
    { key: 'rtt', title: 'Latency', unit: ms, axis: (v) => `${v} ms`, series: perFamily, sync, least: 10,
      thresholds: quality ? limits(quality.failure_latency_ms, quality.recovery_latency_ms, ms) : [] },
    { key: 'loss', title: 'Loss', unit: percent, axis: (v) => `${v} %`, series: perFamily, sync, least: 5, reach: 100,
      thresholds: quality ? limits(quality.failure_loss_percent, quality.recovery_loss_percent, percent) : [] },
    { key: 'jitter', title: 'Jitter', unit: ms, axis: (v) => `${v} ms`, series: perFamily, sync, least: 5 },
    { key: 'rate', title: 'Throughput', unit: bits, axis: bitsRound, wide: true, sync, least: 100000,
      series: [{ label: 'Down', color: '--c0', cls: 'c0', fill: '--c0-soft' }, { label: 'Up', color: '--c3', cls: 'c3' }] },
  ];
}

/** Switches and changes of health of this interface within the range, for the marks. */
function useMarks(iface, range, newest) {
  const [events, setEvents] = useState([]);
  const since = useRef(0);
  useEffect(() => {
    let current = true;
    since.current = Date.now() - range * 1000;
    // A switch is a policy's, of those that carried and those that do.
    const ask = (more) => getJson(`events?${query({ limit: 500, ...more })}`).then((page) => page.events);
    const concerns = (e) => [e.from, e.to].some((side) => side && carriers(side).includes(iface.name));
    Promise.all([ask({ interface: iface.name, kind: 'path' }), ask({ kind: 'switch' })])
      .then(([paths, switches]) => current && setEvents([...paths, ...switches.filter(concerns)].sort((a, b) => b.id - a.id)), () => {});
    return () => { current = false; };
  }, [iface.name, range, newest]);
  return useMemo(() => events.filter((e) => e.time_ms >= since.current).map((e) => {
    const tone = e.to === 'online' ? 'ok' : e.severity === 'warning' || e.severity === 'error' || e.severity === 'critical' ? 'bad' : 'calm';
    return { id: e.id, at: e.time_ms / 1000, text: eventWords(e), tone, color: { ok: '--ok', bad: '--bad', calm: '--quiet' }[tone] };
  }), [events]);
}

function build(iface, loaded, range) {
  const now = Date.now() / 1000;
  const live = range <= LIVE_MAX;
  const to = live ? now : loaded.to;
  const from = to - range;
  const per = iface.paths.map((p, i) => series(loaded.answers[i], live ? paths.get(`${iface.name}/${p.family}`) : null));
  const x = axis(per.map((s) => s.t));
  const join = (field) => [x, ...per.map((s) => onto(x, s.t, s[field]))];
  const flow = throughput(iface, loaded.answers[0], live);
  const outages = loaded.answers.flatMap((a) => (a ? a.outages || [] : [])).map((o) => ({ from: o.start_ms / 1000, to: o.end_ms ? o.end_ms / 1000 : null }));
  if (live) for (const p of iface.paths) outages.push(...downs(paths.get(`${iface.name}/${p.family}`) || []));
  return { rtt: join('rtt'), loss: join('loss'), jitter: join('jitter'), rate: flow, outages, range: { from, to } };
}

/** Stretches of samples in which a path could not carry: the history tells of an outage only when it is over. */
function downs(ring) {
  const out = [];
  let from = null;
  for (const p of ring) {
    if (!p.up && from === null) from = p.t / 1000;
    if (p.up && from !== null) { out.push({ from, to: p.t / 1000 }); from = null; }
  }
  if (from !== null) out.push({ from, to: null });
  return out;
}

function times(answer) {
  const length = answer && answer.series ? Math.max(...Object.values(answer.series).map((c) => c.length), 0) : 0;
  return Array.from({ length }, (_, i) => answer.from_s + i * answer.step_s);
}

function series(answer, ring) {
  const t = times(answer);
  const s = (answer && answer.series) || {};
  const out = { t, rtt: [...(s.rtt_ms || [])], loss: [...(s.loss || [])], jitter: [...(s.jitter_ms || [])] };
  // The last step of the history is not full yet; what comes behind it are single samples.
  let end = t.length ? t[t.length - 1] : 0;
  for (const p of ring || []) {
    const at = Math.round(p.t / 1000);
    if (at <= end) continue;
    end = at;
    out.t.push(at); out.rtt.push(p.rtt); out.loss.push(p.loss); out.jitter.push(p.jitter);
  }
  return out;
}

function throughput(iface, answer, live) {
  const t = times(answer);
  const s = (answer && answer.series) || {};
  const rx = [...(s.rx_bps || [])];
  const tx = [...(s.tx_bps || [])];
  let end = t.length ? t[t.length - 1] : 0;
  for (const r of (live && rates.get(iface.name)) || []) {
    const at = Math.round(r.t / 1000);
    if (at <= end) continue;
    end = at;
    t.push(at); rx.push(r.rx); tx.push(r.tx);
  }
  return [t, rx, tx];
}

/** Every time that occurs in any of the ascending columns, once. */
function axis(columns) {
  return columns.length === 1 ? columns[0] : [...new Set(columns.flat())].sort((a, b) => a - b);
}

function onto(x, t, values) {
  if (x === t) return values;
  const at = new Map(t.map((v, i) => [v, values[i]]));
  // uPlot: null is a gap, undefined is only not there.
  return x.map((v) => at.get(v));
}
