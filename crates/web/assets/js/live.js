// The one event stream of the page: status, events and samples into the store, and what to do when it breaks.
import { get, set } from './store.js';
import { getJson, loadSession, query } from './api.js';
import { eventWords } from './model.js';

/** Samples are sent each second; when none has come for this long the connection counts as lost, ms. */
const SILENCE_MS = 8000;
/** Seconds of samples kept per path. */
const KEEP = 900;
/** Events kept for the overview and the marks in charts. */
const EVENTS_KEPT = 300;
const RETRY_MS = [1000, 2000, 4000, 8000, 15000];

/** "interface/family" → ring of {t, rtt, loss, jitter, up}; oldest first. `t` in ms. */
export const paths = new Map();
/** interface → ring of {t, rx, tx}. */
export const rates = new Map();

let source = null;
let watchdog = 0;
let retryTimer = 0;
let attempt = 0;
let running = false;
let prefilled = false;
/** Number of the stream that counts: what is still waited for of an older one changes nothing. */
let turn = 0;

function push(map, key, value) {
  let ring = map.get(key);
  if (!ring) map.set(key, (ring = []));
  ring.push(value);
  if (ring.length > KEEP) ring.splice(0, ring.length - KEEP);
}

export function start() {
  if (running) return;
  running = true;
  attempt = 0;
  open();
  document.addEventListener('visibilitychange', onVisible);
}

export function stop() {
  running = false;
  close();
  clearTimeout(retryTimer);
  document.removeEventListener('visibilitychange', onVisible);
  prefilled = false;
  paths.clear();
  rates.clear();
}

function onVisible() {
  // A phone that was asleep: do not wait for the next attempt.
  if (!document.hidden && running && get().connection === 'lost') { clearTimeout(retryTimer); open(); }
}

function close() {
  clearTimeout(watchdog);
  turn += 1;
  if (source) source.close();
  source = null;
}

function alive() {
  clearTimeout(watchdog);
  // Without the daemon there are no samples: the stream stays, and tells when it is back.
  if (get().daemon) watchdog = setTimeout(lost, SILENCE_MS, turn);
}

function onDaemon(word) {
  const daemon = !word || word.connected !== false;
  const back = daemon && !get().daemon;
  set({ daemon });
  alive();
  if (back) arrive(turn);
  else if (!daemon) set({ connection: 'lost', lostAt: Date.now() });
}

function open() {
  close();
  const mine = turn;
  source = new EventSource('api/v1/live');
  alive();
  source.addEventListener('open', () => { alive(); arrive(mine); });
  source.addEventListener('error', () => lost(mine));
  source.addEventListener('sample', (m) => { alive(); onSample(parse(m)); });
  source.addEventListener('event', (m) => { alive(); onEvent(parse(m)); });
  source.addEventListener('status', (m) => { alive(); onStatus(parse(m)); });
  source.addEventListener('daemon', (m) => { alive(); onDaemon(parse(m)); });
  source.addEventListener('logout', () => lost(mine));
}

function parse(message) {
  try { return JSON.parse(message.data); } catch { return null; }
}

/** What is shown is of now again, if the daemon has not gone meanwhile. */
async function arrive(mine) {
  try {
    await catchUp();
    if (mine !== turn || !get().daemon) return;
    attempt = 0;
    set({ connection: 'live', lostAt: 0 });
  } catch {
    lost(mine);
  }
}

/** Status and the newest events. */
async function catchUp() {
  const known = get().events[0];
  const [, page] = await Promise.all([fetchStatus(1), getJson(`events?${query({ limit: known ? EVENTS_KEPT : 100 })}`)]);
  const events = page.events || [];
  // More was missed than is asked for, or the router lost its power, and with it events whose numbers are those of others now:
  // what is known does not go with what is told from here on.
  const goesOn = !known || events.some((e) => e.id === known.id && e.time_ms === known.time_ms);
  if (!goesOn) set({ events: [], gaps: get().gaps + 1 });
  merge(events);
  prefill(get().status);
}

/** Seconds of history the drawings of the overview begin with. */
const PREFILL_S = 120;
/** With more interfaces than this they begin empty, rather than with a burst of requests. */
const PREFILL_MAX = 12;

async function prefill(status) {
  const wanted = status.interfaces.filter((i) => i.enabled && i.paths.length);
  if (wanted.length > PREFILL_MAX || prefilled) return;
  prefilled = true;
  const to = Math.floor(Date.now() / 1000);
  for (const iface of wanted) {
    const family = iface.paths[0].family;
    let answer;
    try { answer = await getJson(`history?${query({ interface: iface.name, family, from: to - PREFILL_S, to, points: PREFILL_S })}`); } catch { continue; }
    const s = answer.series || {};
    const old = (s.rtt_ms || []).map((rtt, i) => ({ t: (answer.from_s + i * answer.step_s) * 1000, rtt, loss: (s.loss || [])[i] ?? null, jitter: null, up: ((s.up || [])[i] ?? 1) >= 0.5 }));
    const key = `${iface.name}/${family}`;
    const now = paths.get(key) || [];
    paths.set(key, [...old.filter((p) => !now.length || p.t < now[0].t), ...now]);
  }
}

async function lost(mine) {
  if (mine !== turn) return;
  close();
  const ended = turn;
  if (get().connection !== 'lost') set({ connection: 'lost', lostAt: Date.now() });
  // An expired login closes the stream, too; that is told apart by asking. Not reachable: it is tried again below.
  const reached = await loadSession().then(() => true, () => false);
  if (ended !== turn) return;
  if (reached && !get().session) { set({ expired: true }); return; }
  if (reached) set({ daemon: true });
  clearTimeout(retryTimer);
  retryTimer = setTimeout(open, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
  attempt += 1;
}

function merge(events) {
  const byId = new Map(get().events.map((e) => [e.id, e]));
  for (const e of events) byId.set(e.id, e);
  set({ events: [...byId.values()].sort((a, b) => b.id - a.id).slice(0, EVENTS_KEPT) });
}

/** How many statuses there have been. */
let told = 0;
function put(status) {
  told += 1;
  set({ status, statusAt: Date.now() });
}

/** Asks for the status. An answer that another status has overtaken may be older than that one, and nothing would mend it: it is not taken. */
async function fetchStatus(tries) {
  for (let left = tries; left > 0; left -= 1) {
    const before = told;
    const status = await getJson('status');
    if (told === before) { put(status); return; }
  }
}

let statusTimer = 0;
function onStatus(status) {
  if (status && status.interfaces) { put(status); return; }
  // Only told that something changed: ask, but not for each of a burst.
  clearTimeout(statusTimer);
  statusTimer = setTimeout(refresh, 150);
}

/** Asks for the status anew, after something was done. */
export async function refresh() {
  try { await fetchStatus(3); } catch { /* the stream says what is wrong */ }
}

function onEvent(event) {
  if (!event || typeof event.id !== 'number') return;
  merge([event]);
  announce(event);
}

let spoken = 0;
/** State changes are said to screen readers (the live region in app.js), the latest wins. */
function announce(event) {
  if (event.kind !== 'path' && event.kind !== 'switch') return;
  spoken += 1;
  set({ spoken: { n: spoken, text: eventWords(event) } });
}

let sampledAt = 0;
/** A device that is not there any more has no rate: what it had last is none of now, ms. */
const RATE_AGE_MAX = 5000;

function onSample(sample) {
  if (!sample) return;
  const t = sample.time_ms || Date.now();
  sampledAt = t;
  for (const p of sample.paths || []) {
    push(paths, `${p.interface}/${p.family}`, {
      t, rtt: milli(p.rtt_us), loss: p.loss_percent ?? null, jitter: milli(p.jitter_us), up: p.usable,
    });
  }
  for (const r of ratesOf(sample)) push(rates, r.interface, { t, rx: r.rx_bps, tx: r.tx_bps });
  set({ tick: get().tick + 1 });
}

const milli = (us) => (us === null || us === undefined ? null : us / 1000);

/** Rates are the device's, so both families of an interface have the same: once is enough. */
function ratesOf(sample) {
  const seen = new Map();
  for (const p of sample.paths || []) {
    if (typeof p.rx_bps === 'number' && typeof p.tx_bps === 'number' && !seen.has(p.interface)) seen.set(p.interface, p);
  }
  return [...seen.values()];
}

export const lastOf = (ring) => (ring && ring.length ? ring[ring.length - 1] : null);

/** The last rates of an interface, if they are of the last samples. */
export function lastRate(name) {
  const last = lastOf(rates.get(name));
  return last && Math.abs(sampledAt - last.t) < RATE_AGE_MAX ? last : null;
}

/** interface → {rx_bps, tx_bps} of the last five seconds, smoothed. */
export function currentRates() {
  const out = new Map();
  for (const [name, ring] of rates) {
    const recent = lastRate(name) ? ring.slice(-5) : [];
    if (!recent.length) continue;
    out.set(name, {
      rx_bps: recent.reduce((n, r) => n + r.rx, 0) / recent.length,
      tx_bps: recent.reduce((n, r) => n + r.tx, 0) / recent.length,
    });
  }
  return out;
}
