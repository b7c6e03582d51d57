// The HTTP API v1 with a made-up router behind it: what the dashboard is developed and tested against. It is strict where
// the real server is: sessions, CSRF, roles, Content-Security-Policy, revisions, unknown fields.
//   node mock.mjs [PORT] [INTERFACES]     a router to play with, user admin, password "correct horse"
import http from 'node:http';
import { readFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const ASSETS = fileURLToPath(new URL('../../assets/', import.meta.url));
const TYPES = { html: 'text/html; charset=utf-8', css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8', svg: 'image/svg+xml', txt: 'text/plain; charset=utf-8' };
/** The real server's (crates/web/src/server.rs): no inline script or style, nothing from elsewhere. */
export const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
export const PASSWORD = 'correct horse';
export const SETUP_TOKEN = 'one-time-token';
export const UCI = `# The WANs of this router
config globals 'globals'
\toption mmx_mask '0x3F00'

config interface 'fiber'
\toption enabled '1'
\toption device 'eth1'
\tlist family 'ipv4'
\tlist family 'ipv6'
\tlist track_ip '1.1.1.1'
\tlist track_ip '8.8.8.8'
\tlist track_ip '2606:4700:4700::1111'
\toption check_quality '1'
\toption failure_latency '120'
\toption recovery_latency '60'

config interface 'cable'
\toption enabled '1'
\toption device 'eth2'
\tlist track_ip '9.9.9.9'

config interface 'lte'
\toption enabled '1'
\toption device 'wwan0'
\tlist track_ip '8.8.4.4'

config member 'fiber_m1_w3'
\toption interface 'fiber'
\toption metric '1'
\toption weight '3'

config member 'cable_m1_w1'
\toption interface 'cable'
\toption metric '1'
\toption weight '1'

config member 'lte_m2_w1'
\toption interface 'lte'
\toption metric '2'
\toption weight '1'

config policy 'balanced'
\tlist use_member 'fiber_m1_w3'
\tlist use_member 'cable_m1_w1'
\tlist use_member 'lte_m2_w1'

config policy 'fiber_first'
\tlist use_member 'fiber_m1_w3'
\tlist use_member 'lte_m2_w1'

config rule 'voip'
\toption proto 'udp'
\toption dest_port '5060:5061'
\toption use_policy 'fiber_first'

config rule 'https'
\toption proto 'tcp'
\toption dest_port '443'
\toption sticky '1'
\toption use_policy 'balanced'

config rule 'everything'
\toption use_policy 'balanced'

config alert 'ops'
\toption type 'email'
\tlist to 'ops@example.com'
\toption from 'router@example.com'
\toption server 'mail.example.com'
\toption security 'starttls'
`;

// ---- the router -------------------------------------------------------------------------------------------------------

/** Same numbers every time: a test that fails fails again. */
function random(seed) {
  let s = seed >>> 0;
  return () => { s = (Math.imul(s, 1664525) + 1013904223) >>> 0; return s / 2 ** 32; };
}

const NAMES = ['fiber', 'cable', 'lte'];
const DEVICES = ['eth1', 'eth2', 'wwan0'];
const BASE = [{ rtt: 8, rx: 82e6, tx: 21e6 }, { rtt: 19, rx: 26e6, tx: 6e6 }, { rtt: 46, rx: 3e5, tx: 1e5 }];

export class World {
  constructor({ interfaces = 3, events = 40 } = {}) {
    this.rand = random(7);
    this.started = Date.now() - 3 * 86400e3;
    this.wans = Array.from({ length: interfaces }, (_, i) => ({
      name: NAMES[i] || `wan${i + 1}`, device: DEVICES[i] || `eth${i + 1}`, families: i === 0 ? ['ipv4', 'ipv6'] : ['ipv4'],
      base: BASE[i] || { rtt: 10 + i * 2, rx: 4e6 + i * 3e5, tx: 1e6 }, state: 'online', since: this.started, reason: ['answering', 'targets answer'], drained: false, down: false, metric: i === 2 ? 2 : 1, weight: i === 0 ? 3 : 1, hits: 1000 + i * 37,
    }));
    this.led = ['balanced', 'fiber_first']; // policies to which rules lead
    this.events = [];
    this.nextId = 1;
    this.listeners = new Set();
    this.config = { file: '/etc/config/mwan3', format: 'uci', text: UCI, revision: 1 };
    this.revisions = [{ number: 1, time_ms: this.started, way: 'start', by: null, file: this.config.file, revision: 'r1', taken_back: false, text: UCI }];
    this.waiting = null;
    this.diagnostics = [];
    this.problems = [];
    this.channels = [{ name: 'ops', kind: 'email', queued: 0, sent: 3, last_sent_ms: Date.now() - 5400e3, failures: 0, next_try_ms: null, last_error: null, dropped: 0, test: null }];
    this.tests = [];
    this.history(events);
  }

  /** Events of the days before, so that there is something to page through. */
  history(n) {
    const span = Math.min(20 * 86400e3, n * 9e5);
    for (let i = 0; i < n; i += 1) {
      const wan = this.wans[Math.floor(this.rand() * this.wans.length)];
      const time_ms = Math.round(Date.now() - span + (i * span) / (n + 1));
      const turn = i % 5;
      if (turn === 0) this.tell({ time_ms, kind: 'path', severity: 'warning', interface: wan.name, family: 'ipv4', from: 'disconnecting', to: 'offline', code: 'probes_lost', text: `${wan.name} ipv4 (${wan.device}): disconnecting -> offline: 5 rounds in a row lost` });
      else if (turn === 1) this.tell({ time_ms, kind: 'switch', severity: 'info', policy: 'balanced', family: 'ipv4', from: wan.name, to: 'fiber', text: `policy balanced ipv4: ${wan.name} -> fiber` });
      else if (turn === 2) this.tell({ time_ms, kind: 'path', severity: 'info', interface: wan.name, family: 'ipv4', from: 'connecting', to: 'online', code: 'answering', text: `${wan.name} ipv4 (${wan.device}): connecting -> online: targets answer` });
      else if (turn === 3) this.tell({ time_ms, kind: 'repair', severity: 'warning', text: 'restored 2 ip rules that somebody else had removed' });
      else this.tell({ time_ms, kind: 'config', severity: 'info', text: 'the configuration /etc/config/mwan3 is in force' });
    }
  }

  tell(event) {
    const full = { id: this.nextId, time_ms: Date.now(), ...event };
    this.nextId += 1;
    this.events.push(full);
    this.send('event', full, full.id);
  }

  send(name, data, id) {
    for (const listen of this.listeners) listen(name, data, id);
  }

  find(name) { return this.wans.find((w) => w.name === name); }

  /** A path gets another state, told as the daemon tells it. */
  become(name, state, code, text) {
    const wan = this.find(name);
    const from = wan.state;
    wan.state = state;
    wan.since = Date.now();
    wan.reason = [code, text];
    const severity = state === 'offline' || state === 'disconnecting' ? 'warning' : 'info';
    this.tell({ kind: 'path', severity, interface: name, family: 'ipv4', from, to: state, code, text: `${name} ipv4 (${wan.device}): ${from} -> ${state}: ${text}` });
    this.changed();
  }

  changed() { this.send('status', this.status()); }

  /** The primary dies as WANs do: some rounds are lost, then the verdict, then others carry. */
  fail(name) {
    const carried = () => this.carriers('balanced').map((m) => m.interface).join('+') || 'unreachable';
    const before = carried();
    this.become(name, 'disconnecting', 'failing', '3 of 5 rounds lost');
    this.become(name, 'offline', 'probes_lost', '5 rounds in a row lost');
    const now = carried();
    this.tell({ kind: 'switch', severity: 'info', policy: 'balanced', family: 'ipv4', from: before, to: now, text: `policy balanced ipv4: ${before} -> ${now}` });
    this.changed();
  }

  recover(name) {
    this.become(name, 'connecting', 'recovering', 'recovering, 3 of 10');
    this.become(name, 'online', 'answering', 'targets answer');
  }

  usable(wan) { return !wan.down && (wan.state === 'online' || wan.state === 'disconnecting'); }

  carriers(policy) {
    let can = this.wans.filter((w) => this.usable(w) && !(policy === 'fiber_first' && w.name === 'cable'));
    const willing = can.filter((w) => !w.drained);
    if (willing.length) can = willing;
    const rank = (w) => (policy === 'fiber_first' ? (w.name === 'fiber' ? 1 : 2) : w.metric);
    const best = Math.min(...can.map(rank));
    const chosen = can.filter((w) => rank(w) === best);
    const sum = chosen.reduce((n, w) => n + w.weight, 0);
    return chosen.map((w) => ({ interface: w.name, percent: Math.floor((w.weight * 100) / sum), weight: w.weight }));
  }

  sample() {
    const carried = new Set(this.carriers('balanced').map((m) => m.interface));
    const paths = this.wans.flatMap((w, i) => w.families.map((family) => {
      const alive = this.usable(w) && w.state === 'online';
      const busy = carried.has(w.name) ? 1 : 0.01;
      const swing = 0.75 + 0.25 * Math.sin(Date.now() / 9000 + i) + this.rand() * 0.12;
      return {
        interface: w.name, family, status: w.down ? 'offline' : w.state, usable: this.usable(w), carries: carried.has(w.name),
        rtt_us: alive ? Math.round((w.base.rtt + (family === 'ipv6' ? 2 : 0) + this.rand() * w.base.rtt * 0.2) * 1000) : null,
        jitter_us: alive ? Math.round(400 + this.rand() * 900) : null, loss_percent: w.down ? null : alive ? (this.rand() < 0.03 ? 10 : 0) : 100,
        sent: 4000, received: 3990, ...(w.state === 'disabled' ? { rx_bytes: null, tx_bytes: null, rx_bps: null, tx_bps: null }
          : { rx_bytes: 1, tx_bytes: 1, rx_bps: alive ? Math.round(w.base.rx * busy * swing) : 0, tx_bps: alive ? Math.round(w.base.tx * busy * swing) : 0 }),
      };
    }));
    for (const w of this.wans) if (carried.has(w.name)) w.hits += 3;
    return { time_ms: Date.now(), paths };
  }

  status() {
    const now = Date.now();
    const policy = (name) => ({
      name,
      ipv4: { members: this.carriers(name), last_resort: this.carriers(name).length ? null : 'unreachable', counters: this.wans.map((w) => ({ interface: w.name, packets: w.hits, bytes: w.hits * 60 })) },
      ipv6: { members: this.carriers(name).filter((m) => m.interface === 'fiber').map((m) => ({ ...m, percent: 100 })), last_resort: this.carriers(name).some((m) => m.interface === 'fiber') ? null : 'unreachable', counters: [{ interface: 'fiber', packets: 420, bytes: 33600 }] },
    });
    const rule = (name, target, family, more) => ({ name, family, target, sticky: false, packets: 0, bytes: 0, protocol: 'all', source: '', destination: '', more: '', sticky_entries: [], logged: null, waiting_for: null, ...more });
    const hits = this.wans.reduce((n, w) => n + w.hits, 0);
    return {
      schema: 'mwan.status.v1',
      daemon: { version: '0.5.0', pid: 4242, uptime_s: Math.floor((now - this.started) / 1000), config: this.config.file, config_rejected: null, generation: 17, last_apply_us: 2310, applies: 17, repairs: 1, apply_error: null, late_rounds: 0 },
      degraded: this.waiting !== null || this.problems.length > 0, problems: this.waiting ? [...this.problems, `the configuration of ${this.waiting.by} has to be confirmed (mwan confirm), or the one before comes back`] : this.problems,
      interfaces: this.wans.map((w, i) => ({ name: w.name, device: w.device, enabled: true, id: i + 1, mark: `0x${((i + 1) << 8).toString(16)}`, paths: w.families.map((f) => this.path(w, f, now)) })),
      policies: this.wans.length ? [policy('balanced'), policy('fiber_first')] : [],
      connected: { ipv4: ['127.0.0.0/8', '192.168.1.0/24', '203.0.113.0/30', '224.0.0.0/3'], ipv6: ['fe80::/64', '2001:db8:1::/64'] }, custom: { ipv4: [], ipv6: [] },
      rules: this.wans.length ? [
        rule('voip', 'fiber_first', 'ipv4', { protocol: 'udp', more: 'dport 5060-5061', packets: 118, bytes: 61000 }),
        rule('https', 'balanced', 'ipv4', { protocol: 'tcp', more: 'dport 443', sticky: true, packets: Math.round(hits * 0.7), bytes: hits * 42, sticky_entries: [{ source: '192.168.1.23', destination: null, interface: 'fiber', left_s: 512 }, { source: '192.168.1.40', destination: null, interface: 'cable', left_s: 498 }] }),
        rule('everything', 'balanced', 'ipv4', { packets: Math.round(hits * 0.3), bytes: hits * 25 }),
        rule('everything', 'balanced', 'ipv6', { packets: 420, bytes: 33600 }),
      ].filter((r) => this.led.includes(r.target)) : [],
      diagnostics: this.diagnostics,
    };
  }

  path(w, family, now) {
    const ok = this.usable(w) && w.state === 'online';
    const v6 = family === 'ipv6';
    const target = (ip) => ({ ip, method: 'ping', target: ip, status: ok ? 'up' : 'down', rtt_us: ok ? Math.round(w.base.rtt * 1000) : null, latency_ms: ok ? Math.round(w.base.rtt) : null, loss_percent: ok ? 0 : 100, sent: 86400, received: ok ? 86391 : 86300, error: ok ? null : 'no answer' });
    return {
      family, status: w.down ? 'offline' : w.state, usable: this.usable(w), carries: this.led.some((p) => this.carriers(p).some((m) => m.interface === w.name)), drained: w.drained,
      reason: w.down ? { code: 'taken_down', text: 'taken down by ifdown' } : { code: w.reason[0], text: w.reason[1] },
      since_s: Math.floor((now - w.since) / 1000), uptime_s: 90000, tracking: 'active', score: 10, lost: 0, rounds: 86400, judged_round: 86400, good_round: 86400, age_s: 0, hold: null,
      source: v6 ? '2001:db8:1::2' : '203.0.113.2', gateway: v6 ? 'fe80::1' : '203.0.113.1', worst_case_detection_ms: 8000, check_quality: w.name === 'fiber', quality: w.name === 'fiber' ? { failure_latency_ms: 120, recovery_latency_ms: 60, failure_loss_percent: 40, recovery_loss_percent: 10 } : null,
      missing: 0, targets: v6 ? [target('2606:4700:4700::1111')] : [target('1.1.1.1'), target('8.8.8.8')], network: null,
    };
  }

  /** Series as of a night with one outage a day, ten minutes each. */
  series(q) {
    const from = Number(q.get('from')); const to = Number(q.get('to'));
    const points = Math.min(2000, Number(q.get('points') || 300));
    const wan = this.find(q.get('interface'));
    const tier = { 1: 3700, 10: 90000, 60: 32 * 86400 };
    const finest = Number(Object.keys(tier).find((t) => to - from <= tier[t]) || 3600);
    const step_s = Math.max(finest, Math.ceil((to - from) / points / finest) * finest);
    const first = Math.floor(from / step_s) * step_s;
    const n = Math.floor((to - first) / step_s);
    const out = (t) => t % 86400 >= 9 * 3600 && t % 86400 < 9 * 3600 + Math.max(600, step_s) && wan.name !== 'fiber';
    const r = random(first + wan.base.rtt);
    const s = { rtt_ms: [], loss: [], jitter_ms: [], rx_bps: [], tx_bps: [], up: [] };
    for (let i = 0; i < n; i += 1) {
      const t = first + i * step_s;
      const busy = 0.35 + 0.5 * Math.max(0, Math.sin(((t % 86400) / 86400) * Math.PI * 2 - 1.6)) + r() * 0.15;
      const lost = out(t);
      s.rtt_ms.push(lost ? null : wan.base.rtt * (1 + busy * 0.4 + (r() < 0.02 ? 1.5 : r() * 0.15)) + (q.get('family') === 'ipv6' ? 2 : 0));
      s.loss.push(lost ? 100 : r() < 0.02 ? r() * 6 : 0);
      s.jitter_ms.push(lost ? null : 0.4 + busy + r());
      s.rx_bps.push(lost ? 0 : wan.base.rx * busy); s.tx_bps.push(lost ? 0 : wan.base.tx * busy); s.up.push(lost ? 0 : 1);
    }
    const outages = [];
    for (let d = Math.floor(from / 86400); d <= to / 86400; d += 1) {
      const begin = d * 86400 + 9 * 3600;
      if (begin >= from && begin < to && wan.name !== 'fiber') outages.push({ start_ms: begin * 1000, end_ms: (begin + 600) * 1000, end_seen: true, code: 'probes_lost', text: '5 rounds in a row lost' });
    }
    return { step_s, from_s: first, series: s, outages };
  }

  flows(limit) {
    const r = random(3);
    const top = Array.from({ length: Math.min(limit, 120) }, (_, i) => ({
      proto: i % 4 === 3 ? 'udp' : 'tcp', src: `192.168.1.${10 + Math.floor(r() * 90)}`, sport: 30000 + Math.floor(r() * 30000), dst: i % 9 === 8 ? '2001:db8:50::7' : `198.51.100.${Math.floor(r() * 255)}`, dport: i % 4 === 3 ? 443 : [443, 443, 22, 80][i % 4],
      interface: this.wans.length ? this.wans[Math.floor(r() * r() * this.wans.length)].name : null, bytes: Math.round(8e9 / (i + 1) ** 1.4), packets: Math.round(6e6 / (i + 1) ** 1.4),
    }));
    const by = this.wans.map((w) => ({ interface: w.name, flows: Math.round(w.base.rx / 1e5), bytes: w.base.rx * 600 }));
    return { schema: 'mwan.flows.v1', counted: true, by_interface: by, top, total: by.reduce((n, b) => n + b.flows, 0) };
  }

  page(q) {
    const order = ['debug', 'info', 'warning', 'error'];
    const limit = Number(q.get('limit') || 100);
    let found = this.events.filter((e) => (!q.get('interface') || e.interface === q.get('interface')) && (!q.get('kind') || e.kind === q.get('kind')) && (!q.get('severity') || order.indexOf(e.severity) >= order.indexOf(q.get('severity'))));
    if (q.has('after')) found = found.filter((e) => e.id > Number(q.get('after'))).slice(0, limit);
    else found = found.filter((e) => !q.has('before') || e.id < Number(q.get('before'))).slice(-limit).reverse();
    return { events: found, next: found.length === limit ? found[found.length - 1].id : null, oldest: this.events.length ? this.events[0].id : 0, latest: this.nextId - 1 };
  }

  /** As `mwan explain --json` has it. */
  explain(q) {
    const flow = q.get('flow');
    const to = flow ? '198.51.100.7:443/tcp' : q.get('to') || '';
    const [, end, protocol] = /^(.*?)(?:\/([a-z]+))?$/.exec(to);
    const [, v6, v4, port] = /^(?:\[(.*)\]|([^:]*)|.*:.*:.*?)(?::(\d+))?$/.exec(end) || [];
    const destination = v6 || v4 || end;
    if (!/^[0-9a-f.:]+$/.test(destination)) return fail(409, 'refused', `${destination} is not an address to send to`, 'write --to 1.1.1.1:443/tcp, [2606:4700::1111]:443/udp or 1.1.1.1');
    if (q.get('in') && !this.find(q.get('in'))) return fail(409, 'refused', `there is no enabled interface '${q.get('in')}'`, `the configuration has: ${this.wans.map((w) => w.name).join(', ')}`);
    if (q.get('in') && !q.get('from')) return fail(409, 'refused', 'a packet that comes in has a source', 'add --from ADDRESS');
    if (!port && ['tcp', 'udp'].includes(protocol)) return fail(409, 'refused', "the destination's port is not said", 'write ADDRESS:PORT/PROTOCOL');
    const [first, second, third] = this.wans;
    const out = first.state === 'online' ? null : 'offline: 5 rounds in a row lost';
    const way = (w, percent) => ({ percent, interface: w.name, mark: '0x100', leads: 'route', table: 1, device: w.device, gateway: '203.0.113.1', source: '203.0.113.2', translated: true, instead: second.name });
    return json({ schema: 'mwan.explanation.v1', notes: ['it comes in by br-lan, on whose network 192.168.1.50 is'],
      packet: { family: destination.includes(':') ? 'ipv6' : 'ipv4', protocol: protocol || (port ? 'tcp' : 'icmp'), source: q.get('from') || '192.168.1.50', source_port: port ? Number(q.get('sport') || 40000) : null, destination, destination_port: port ? Number(port) : null, input: 'br-lan' },
      steps: [{ step: 'inbound', decided: false, text: 'no: br-lan is no WAN' }, { step: 'network', decided: false, text: `no: ${destination} is in none of 4 networks` }],
      rules: [{ rule: 'voip', matched: false, criterion: 'proto', wanted: 'udp', value: 'tcp' }, { rule: 'https', matched: true, criterion: null, wanted: null, value: null }],
      decided_by: 'rule', rule: 'https', target: 'balanced', members: [{ interface: first.name, metric: 1, weight: 3, percent: out ? null : 75, out }, { interface: second.name, metric: 1, weight: 1, percent: out ? 100 : 25, out: null }, { interface: third.name, metric: 2, weight: 1, percent: null, out: 'a better tier carries' }],
      choice: out ? 'only' : 'random', choice_text: out ? 'the only one that can carry' : 'by chance, by weight', ways: out ? [way(second, 100)] : [way(first, 75), way(second, 25)], next: { rule: 'everything', carried_by: `${first.name} or ${second.name}` },
      flow: flow ? { id: 7, mark: '0x100', interface: first.name, leaves_as: '203.0.113.2', would_move: null, text: `it is on ${first.name}; chance would decide anew if it were new` } : null, verified: null });
  }

  /** Another text is in force; `confirm` seconds to say so, if it has to be. */
  apply(text, { by, way, confirm = 0 }) {
    const before = this.config.text;
    this.write(text, { by, way });
    if (!confirm) return;
    const time_ms = Date.now();
    this.waiting = { by, time_ms, before, base: this.revisions.length - 1, until: time_ms + confirm * 1000 };
    this.waiting.timer = setTimeout(() => this.takeBack(), confirm * 1000);
    this.waiting.timer.unref();
    this.changed();
  }

  write(text, { by = null, way, undoes }) {
    this.config = { ...this.config, text, revision: this.config.revision + 1 };
    this.revisions.push({ number: this.revisions.length + 1, time_ms: Date.now(), way, by, file: this.config.file, revision: `r${this.config.revision}`, taken_back: false, text });
    if (undoes !== undefined) this.revisions.slice(undoes, -1).forEach((r) => { r.taken_back = true; });
    this.tell({ kind: 'config', severity: 'info', text: `the configuration ${this.config.file} is in force` });
    this.changed();
  }

  takeBack() {
    const { before, base, timer } = this.waiting;
    clearTimeout(timer);
    this.waiting = null;
    this.write(before, { way: 'taken_back', undoes: base });
  }

  keep() { clearTimeout(this.waiting.timer); this.waiting = null; this.changed(); }

  check(text) {
    const out = [];
    let section = '';
    text.split('\n').forEach((line, i) => {
      section = (/^config interface '([^']*)'/.exec(line) || [0, section])[1];
      const bad = /option\s+(interval|timeout|up|down|metric|weight)\s+'([^']*)'/.exec(line);
      const found = (severity, code, message, hint) => out.push({ severity, code, text: `${this.config.file}:${i + 1}: ${severity}[${code}]: ${message}; hint: ${hint}` });
      if (bad && !/^[0-9.]+(ms|s|m|h)?$/.test(bad[2])) found('error', 'E0205', `interface '${section}', option '${bad[1]}': '${bad[2]}' is not a number`, 'a number from 1 on');
      if (/optoin/.test(line)) found('error', 'E0101', 'the line is not understood', "did you mean 'option'?");
    });
    return out;
  }

  plan(text) {
    const changed = text !== this.config.text;
    return { schema: 'mwan.plan.v1', nft: '', rules: [], routes: [], changes: changed ? ['replace chain inet mwan policy.balanced.4', 'add rule inet mwan policy.balanced.4 numgen random mod 4 vmap', 'route replace default via 203.0.113.1 dev eth1 table 1 proto 77'] : [], diagnostics: this.check(text) };
  }
}

// ---- the server -------------------------------------------------------------------------------------------------------

const RANK = { viewer: 0, operator: 1, admin: 2 };
const fail = (status, code, message, hint = null, more = {}) => ({ status, body: { error: { code, message, hint, ...more } } });
const json = (body, headers = {}) => ({ status: 200, body, headers });

/** Starts a router with a world behind it. `{url, world, sessions, login(role), expire(), refuse, requests, close()}`. */
export async function createMock(options = {}) {
  const world = options.world || new World(options);
  const mock = { world, sessions: new Map(), requests: [], refuse: false, needsSetup: false, streams: new Set() };
  const server = http.createServer((req, res) => handle(mock, req, res).catch((error) => { res.writeHead(500); res.end(String(error)); }));
  await new Promise((done) => { server.listen(options.port || 0, '127.0.0.1', done); });
  mock.url = `http://127.0.0.1:${server.address().port}`;
  mock.login = (role = 'admin') => { const id = randomBytes(12).toString('hex'); mock.sessions.set(id, { user: role, role, csrf: randomBytes(12).toString('hex') }); return id; };
  mock.expire = () => { mock.sessions.clear(); for (const res of [...mock.streams]) { res.write('event: logout\ndata: {}\n\n'); res.end(); } };
  mock.cut = () => { mock.refuse = true; for (const res of [...mock.streams]) res.destroy(); server.closeIdleConnections(); };
  mock.mend = () => { mock.refuse = false; };
  const timer = setInterval(() => world.send('sample', world.sample()), options.sampleMs || 1000);
  // A test that fails does not come to close it: it must not keep the process.
  if (!options.port) { timer.unref(); server.unref(); }
  mock.close = async () => { clearInterval(timer); server.closeAllConnections(); await new Promise((done) => { server.close(done); }); };
  return mock;
}

async function handle(mock, req, res) {
  if (mock.refuse) { req.socket.destroy(); return; }
  const url = new URL(req.url, 'http://x');
  mock.requests.push(`${req.method} ${url.pathname}${url.search}`);
  res.setHeader('Content-Security-Policy', CSP);
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.setHeader('Referrer-Policy', 'no-referrer');
  if (!url.pathname.startsWith('/api/v1/')) { await asset(url.pathname, res); return; }
  const body = await new Promise((done) => { let all = ''; req.on('data', (d) => { all += d; }); req.on('end', () => done(all)); });
  const cookie = /(?:^|; )mwan=([0-9a-f]+)/.exec(req.headers.cookie || '');
  const session = cookie ? mock.sessions.get(cookie[1]) : null;
  const route = url.pathname.slice('/api/v1/'.length);
  if (route === 'live' && session) { stream(mock, req, res); return; }
  let value = null;
  try { value = body ? JSON.parse(body) : null; } catch { answer(mock, res, fail(400, 'bad_request', 'the body is not JSON')); return; }
  answer(mock, res, await api(mock, req, route, url.searchParams, value, session, cookie && cookie[1]));
}

async function asset(name, res) {
  const file = path.normalize(path.join(ASSETS, name === '/' ? 'index.html' : name));
  if (!file.startsWith(ASSETS)) { res.writeHead(404); res.end(); return; }
  try {
    const content = await readFile(file);
    res.writeHead(200, { 'Content-Type': TYPES[path.extname(file).slice(1)] || 'application/octet-stream', 'Cache-Control': 'no-cache' });
    res.end(content);
  } catch { res.writeHead(404); res.end(); }
}

function answer(mock, res, { status, body, headers = {} }) {
  // Cut off while it was at work.
  if (mock.refuse) { res.destroy(); return; }
  res.writeHead(status, body === undefined ? headers : { 'Content-Type': 'application/json', ...headers });
  res.end(body === undefined ? undefined : JSON.stringify(body));
}

function stream(mock, req, res) {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  const listen = (name, data, id) => res.write(`event: ${name}\n${id ? `id: ${id}\n` : ''}data: ${JSON.stringify(data)}\n\n`);
  mock.world.listeners.add(listen);
  mock.streams.add(res);
  listen('daemon', { connected: true });
  listen('status', mock.world.status());
  listen('sample', mock.world.sample());
  res.on('close', () => { mock.world.listeners.delete(listen); mock.streams.delete(res); });
}

const mode = (text) => (/option mode '([A-Z_]+)'/.exec(text) || [])[1];

/** Route → [role, what it does, fields of the body]. */
const ROUTES = {
  'GET session': ['viewer', ({ session }) => json(session)],
  'GET status': ['viewer', ({ world }) => json(world.status())],
  'GET events': ['viewer', ({ world, q }) => json(world.page(q))],
  'GET history': ['viewer', ({ world, q }) => (world.find(q.get('interface')) && !world.forgetful ? json(world.series(q)) : fail(409, 'refused', `nothing is recorded of interface '${q.get('interface')}'`, '`mwan report` lists what is recorded'))],
  'GET flows': ['viewer', ({ world, q }) => json(world.flows(Number(q.get('limit') || 20)))],
  'GET report': ['viewer', ({ world, q }) => json(report(world, q.get('month')))],
  'GET alerts': ['viewer', ({ world }) => json({ schema: 'mwan.alerts.v1', problem: null, alerts: world.channels })],
  'GET config': ['admin', ({ world }) => json({ ...world.config, revision: `r${world.config.revision}` }, { ETag: `"r${world.config.revision}"` })],
  'GET wizard': ['admin', ({ world }) => json({ schema: 'mwan.candidates.v1', candidates: world.wans.map((w) => ({ device: w.device, interface: world.config.text.includes(`'${w.name}'`) ? w.name : null, network: null, families: w.families, gateways: w.name === 'lte' ? [] : ['203.0.113.1'], addresses: ['203.0.113.2'], main: true })) })],
  'POST config/validate': ['admin', ({ world, body }) => json({ diagnostics: world.check(body.text), refusal: null }), ['file', 'text']],
  'POST config/plan': ['admin', ({ world, body }) => json(world.plan(body.text)), ['file', 'text']],
  'PUT config': ['admin', putConfig, ['text', 'must_reach']],
  'POST config/confirm': ['admin', ({ world }) => decided(world, () => world.keep())],
  'POST config/takeback': ['admin', ({ world }) => decided(world, () => world.takeBack())],
  'POST config/rollback': ['admin', (call) => putConfig({ ...call, back: call.world.revisions[call.body.number - 1], q: new URLSearchParams({ confirm: call.body.confirm || 0 }) }), ['number', 'confirm', 'must_reach']],
  'GET config/revisions': ['admin', ({ world }) => json({ schema: 'mwan.revisions.v1', damaged: [], revisions: world.revisions.map(({ text, ...r }) => r).reverse(), waiting: world.waiting && { by: world.waiting.by, time_ms: world.waiting.time_ms, left_s: Math.max(0, Math.ceil((world.waiting.until - Date.now()) / 1000)) } })],
  'GET explain': ['viewer', ({ world, q }) => world.explain(q)],
  'GET cloud/multiwan': ['admin', ({ world }) => json({ enable: true, mode: mode(world.config.text) || 'FAIL_OVER', siteId: 7 })],
  'PUT cloud/multiwan': ['admin', ({ world, body, q }) => (q.get('dry_run') === 'true' ? json({ revision: 'r0', changed: true, diagnostics: [], text: world.config.text.replaceAll(`'${mode(world.config.text)}'`, `'${body.mode}'`) }) : fail(400, 'bad_request', 'only tried here'))],
  'POST logout': ['viewer', ({ mock, id }) => { mock.sessions.delete(id); return { status: 204 }; }],
};

async function api(mock, req, route, q, body, session, id) {
  const { world } = mock;
  if (route === 'login' && req.method === 'POST') return logIn(mock, body);
  if (route === 'setup' && req.method === 'POST') return setUp(mock, body);
  const steer = /^interfaces\/([^/]+)\/(up|down|drain|undrain)$/.exec(route);
  const one = /^config\/revisions\/(\d+)$/.exec(route);
  const test = /^alerts\/([^/]+)\/test$/.exec(route);
  const known = ROUTES[`${req.method} ${route}`] || (one && ['admin', () => revision(world, Number(one[1]))]) || (req.method === 'POST' && steer && ['operator', () => steered(world, decodeURIComponent(steer[1]), steer[2])]) || (req.method === 'POST' && test && ['operator', () => tested(world, decodeURIComponent(test[1]))]);
  if (!known) return fail(404, 'not_found', 'there is nothing here');
  if (!session) return fail(401, 'unauthenticated', 'there is no valid session or token', mock.needsSetup ? 'the first password is set by the link that `mwan web init` prints, as root on the router' : 'log in');
  if (RANK[session.role] < RANK[known[0]]) return fail(403, 'forbidden', `this is for the role ${known[0]}; yours is ${session.role}`);
  if (req.method !== 'GET' && req.headers['x-csrf-token'] !== session.csrf) return fail(403, 'csrf', 'the request does not carry the session\'s token');
  const surplus = known[2] && Object.keys(body || {}).find((k) => !known[2].includes(k));
  if (surplus) return fail(400, 'bad_request', `the body does not fit: unknown field \`${surplus}\``);
  return known[1]({ mock, world, q, body, session, id, req });
}

function enter(mock, role) {
  const id = mock.login(role);
  return json(mock.sessions.get(id), { 'Set-Cookie': `mwan=${id}; HttpOnly; SameSite=Strict; Path=/` });
}

function logIn(mock, body) {
  if (!RANK[body.user] && body.user !== 'viewer') return fail(401, 'wrong', 'the user or the password is wrong', 'capital and small letters count');
  return body.password === PASSWORD ? enter(mock, body.user) : fail(401, 'wrong', 'the user or the password is wrong', 'capital and small letters count');
}

function setUp(mock, body) {
  if (body.token !== SETUP_TOKEN || mock.setupUsed) return fail(403, 'link', 'the link has been used or is too old', '`mwan web init` prints another one');
  mock.setupUsed = true;
  return enter(mock, 'admin');
}

function putConfig({ world, body, req, q, session, back }) {
  const given = req.headers['if-match'];
  if ((given || !back) && given !== `"r${world.config.revision}"`) return fail(412, 'changed', 'somebody else changed the configuration meanwhile', 'look at it and try again', { revision: `r${world.config.revision}` });
  if (world.waiting) return fail(422, 'invalid', `a configuration of ${world.waiting.by} waits to be confirmed: \`mwan confirm\` keeps it, \`mwan rollback\` takes it back`, 'nothing was written', { diagnostics: [] });
  const text = back ? back.text : body.text;
  const diagnostics = world.check(text);
  if (diagnostics.some((d) => d.severity === 'error')) return fail(422, 'invalid', 'the configuration would be refused', 'nothing was written; `diagnostics` say what is wrong', { diagnostics });
  const confirm = Number(q.get('confirm') || 0);
  world.apply(text, { by: session.user, way: back ? 'rollback' : 'put', confirm });
  return json({ revision: `r${world.config.revision}`, changed: true, diagnostics, ...(confirm ? { confirm_s: confirm } : {}) });
}

function decided(world, run) {
  if (!world.waiting) return fail(409, 'refused', 'nothing waits to be confirmed', '`mwan rollback --list` shows the configurations there were');
  run();
  return { status: 204 };
}

function revision(world, number) {
  const at = world.revisions.findIndex((r) => r.number === number);
  if (at < 0) return fail(404, 'no_revision', `configuration ${number} is not kept`, 'GET /api/v1/config/revisions lists them');
  const { text, ...one } = world.revisions[at];
  return json({ revision: one, text, before: at ? [world.revisions[at - 1].number, world.revisions[at - 1].text] : null });
}

function steered(world, name, what) {
  const wan = world.find(name);
  if (!wan) return fail(404, 'no_interface', `there is no interface '${name}'`, `the configuration has: ${world.wans.map((w) => w.name).join(', ')}`);
  if (what === 'up' || what === 'down') wan.down = what === 'down';
  else wan.drained = what === 'drain';
  wan.since = Date.now();
  world.tell({ kind: 'command', severity: 'info', interface: name, text: `${name}: ${what} was said` });
  world.changed();
  return { status: 204 };
}

function tested(world, name) {
  if (!world.channels.some((c) => c.name === name)) return fail(404, 'no_channel', `there is no channel '${name}'`);
  world.tests.push(name);
  const number = world.tests.length;
  // It takes a moment, as mail servers do.
  setTimeout(() => { world.channels.find((c) => c.name === name).test = { number, error: world.testError || null }; }, 300);
  return json({ number });
}

/** As `mwan report` has it. */
export function report(world, month) {
  const [year, number] = (month || new Date().toISOString().slice(0, 7)).split('-').map(Number);
  const from_s = Date.UTC(year, number - 1) / 1000;
  const to_s = Math.min(Date.UTC(year, number) / 1000, Math.floor(Date.now() / 1000));
  const known_s = Math.max(0, to_s - from_s - 3600);
  const outage = (day, s, text) => ({ start_ms: (from_s + day * 86400 + 32400) * 1000, end_ms: (from_s + day * 86400 + 32400 + s) * 1000, end_seen: true, code: 'probes_lost', text });
  const path = (w, i, family) => {
    const outages = i === 0 ? [] : [outage(2, 660 * i, '5 rounds in a row lost'), outage(9, 95, 'device eth2 has no carrier')].slice(0, i + 1);
    const lost = outages.reduce((n, o) => n + (o.end_ms - o.start_ms) / 1000, 0);
    return { family, known_s, unknown_s: 3600, usable_s: known_s - lost, availability_percent: known_s ? ((known_s - lost) * 100) / known_s : null,
      latency: { mean_ms: w.base.rtt, p50_ms: w.base.rtt, p95_ms: w.base.rtt * 1.5, p99_ms: w.base.rtt * 2.4, max_ms: w.base.rtt * 9 }, jitter_ms: 1.2, probes_sent: known_s, probes_lost: Math.round(known_s / 4000), loss_percent: 0.025 * (i + 1), outages, outages_incomplete: false, longest_outage_s: lost ? 660 : null, gaps: [] };
  };
  return { schema: 'mwan.report.v1', month: `${year}-${String(number).padStart(2, '0')}`, from_s, to_s, made_s: to_s, problems: [], interfaces: world.wans.map((w, i) => ({ interface: w.name, rx_bytes: Math.round(w.base.rx * 86400), tx_bytes: Math.round(w.base.tx * 86400), paths: w.families.map((f) => path(w, i, f)) })) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await createMock({ port: Number(process.argv[2] || 8480), interfaces: Number(process.argv[3] || 3), events: 1000 });
  console.log(`${mock.url}   user admin, password "${PASSWORD}"; first set-up: ${mock.url}/#setup=${SETUP_TOKEN}`);
  let on = true;
  setInterval(() => { if (on) mock.world.fail('fiber'); else mock.world.recover('fiber'); on = !on; }, 60000);
}
