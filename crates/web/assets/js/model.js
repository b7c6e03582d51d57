// What the status means, in words. Pure: no fetch, no DOM.
import { duration, family, list, moment, percent } from './format.js';

/** State of a path or interface → word, tone and the shape that shows it without colour. */
export const STATES = {
  online: { word: 'Online', tone: 'ok', icon: 'check' },
  partly: { word: 'Partly online', tone: 'warn', icon: 'half' },
  disconnecting: { word: 'Failing', tone: 'warn', icon: 'warn' },
  connecting: { word: 'Recovering', tone: 'warn', icon: 'up' },
  held: { word: 'Held back', tone: 'warn', icon: 'pause' },
  drained: { word: 'Drained', tone: 'calm', icon: 'drain' },
  offline: { word: 'Offline', tone: 'bad', icon: 'cross' },
  stopped: { word: 'Taken down', tone: 'calm', icon: 'dash' },
  disabled: { word: 'Disabled', tone: 'calm', icon: 'dash' },
  unknown: { word: 'Unknown', tone: 'calm', icon: 'dash' },
};

export const isDrained = (iface, path) => !!(iface.drained || path.drained || path.reason.code === 'drained');

export function pathState(iface, path) {
  if (!iface.enabled) return 'disabled';
  if (path.reason.code === 'taken_down') return 'stopped';
  if (path.usable && isDrained(iface, path)) return 'drained';
  if (path.hold && path.usable) return 'held';
  return stateOf(path.status, path.reason.code);
}

/** `disabled` is also the daemon's word for a path without device, carrier, address or route: its owner wants it, and has lost it. */
function stateOf(status, code) {
  if (status !== 'disabled') return STATES[status] ? status : 'unknown';
  return { taken_down: 'stopped', stopped: 'stopped', not_seen: 'unknown' }[code] || 'offline';
}

/** One state for an interface: that of its paths if they agree, `partly` if only some can carry. */
export function interfaceState(iface) {
  if (!iface.enabled) return 'disabled';
  const states = iface.paths.map((path) => pathState(iface, path));
  if (states.length === 0) return 'unknown';
  if (states.every((s) => s === states[0])) return states[0];
  const usable = iface.paths.filter((p) => p.usable).length;
  if (usable > 0 && usable < states.length) return 'partly';
  for (const worst of ['disconnecting', 'held', 'drained', 'connecting', 'offline']) if (states.includes(worst)) return worst;
  return states[0];
}

/** The path that says most about an interface's state: the one that is worst. */
export function tellingPath(iface) {
  const order = ['offline', 'stopped', 'disconnecting', 'connecting', 'held', 'drained', 'online'];
  const rank = (path) => { const i = order.indexOf(pathState(iface, path)); return i < 0 ? order.length : i; };
  return [...iface.paths].sort((a, b) => rank(a) - rank(b))[0];
}

/** Since when a path is as it is, ms. */
export const sinceMs = (path, statusAt) => statusAt - path.since_s * 1000;

/** "5 rounds in a row lost", "targets answer; held back for 40 s more after 3 losses". */
export function why(path) {
  let text = path.reason.text;
  if (path.hold && path.usable) {
    text += `; held back for ${duration(path.hold.remaining_s)} more, after ${path.hold.losses} losses`;
  }
  return text;
}

/** What a rule's target would give a new connection now: `{members, last, gone}`. */
export function carrierOf(status, target, fam) {
  const policy = status.policies.find((p) => p.name === target);
  if (!policy) return { members: [], last: target };
  const carrier = fam === 'ipv6' ? policy.ipv6 : policy.ipv4;
  return { members: carrier.members, last: carrier.last_resort, gone: !carrier.last_resort && carrier.members.length === 0 };
}

export const LAST_WORDS = {
  unreachable: 'refused (unreachable)',
  blackhole: 'dropped (blackhole)',
  default: 'main routing table',
};

/** "fiber 75 %, lte 25 %" or what is done without any. */
export function carrierWords({ members, last, gone }) {
  if (members.length === 1) return members[0].interface;
  if (members.length > 1) return members.map((m) => `${m.interface} ${percent(m.percent)}`).join(', ');
  if (gone) return 'not in the kernel';
  return LAST_WORDS[last] || last || 'nothing';
}

/** The policy most traffic follows: that of the last rule that matches anything, else the first. */
export function mainPolicy(status) {
  const catchAll = [...status.rules].reverse().find((r) => !r.waiting_for && status.policies.some((p) => p.name === r.target));
  return status.policies.find((p) => catchAll && p.name === catchAll.target) || status.policies[0] || null;
}

/** Share of new connections per interface by the main policy, percent. */
export function plannedShares(status) {
  const shares = new Map();
  const policy = mainPolicy(status);
  if (!policy) return shares;
  const carrier = policy.ipv4.members.length > 0 ? policy.ipv4 : policy.ipv6;
  const sum = carrier.members.reduce((n, m) => n + m.weight, 0) || 1;
  for (const m of carrier.members) shares.set(m.interface, (m.weight * 100) / sum);
  return shares;
}

/** Less than this in all is probes and chatter: no share of traffic can be told from it, bit/s. */
const TRAFFIC_MIN_BPS = 100000;

/** Share of the traffic that flows now per interface that can carry, percent; null while almost nothing flows. */
export function measuredShares(status, rates) {
  const able = status.interfaces.filter((i) => rates.has(i.name) && i.paths.some((p) => p.usable));
  const of = (iface) => rates.get(iface.name).rx_bps + rates.get(iface.name).tx_bps;
  const sum = able.reduce((n, iface) => n + of(iface), 0);
  if (sum < TRAFFIC_MIN_BPS) return null;
  return new Map(able.map((iface) => [iface.name, (of(iface) * 100) / sum]));
}

/** More names than this make no sentence. */
export const NAMED_MAX = 4;

/** The site in one sentence, and its tone. */
export function headline(status, statusAt, now) {
  const enabled = status.interfaces.filter((i) => i.enabled);
  if (enabled.length === 0) return { tone: 'calm', title: 'No WAN is configured yet.', text: 'The set-up finds your WANs and writes a configuration.' };
  const states = enabled.map((iface) => ({ iface, state: interfaceState(iface) }));
  const carrying = enabled.filter((i) => i.paths.some((p) => p.carries)).map((i) => i.name);
  const down = states.filter(({ state }) => state === 'offline');
  const named = (names) => (names.length > NAMED_MAX ? `${names.length} WANs` : list(names));
  const meant = (names) => `${named(names)} ${names.length === 1 ? 'carries' : 'carry'} new connections.`;
  const carry = carrying.length ? meant(carrying) : 'Nothing carries new connections.';
  if (down.length === enabled.length) {
    return { tone: 'bad', title: enabled.length === 1 ? `${enabled[0].name} is offline.` : 'All WANs are offline.', text: downWords(down[0].iface, statusAt, now) };
  }
  if (down.length > 0) {
    const names = down.map(({ iface }) => iface.name);
    const more = down.length === 1 ? downWords(down[0].iface, statusAt, now) : '';
    return { tone: 'bad', title: names.length > NAMED_MAX ? `${names.length} WANs are offline.` : `${list(names)} ${names.length === 1 ? 'is' : 'are'} offline.`, text: `${carry} ${more}`.trim() };
  }
  const odd = states.filter(({ state }) => STATES[state].tone === 'warn');
  if (odd.length > 0) {
    const { iface, state } = odd[0];
    const path = tellingPath(iface);
    const title = odd.length === 1 ? `${iface.name} is ${STATES[state].word.toLowerCase()}.` : `${odd.length} WANs need a look.`;
    return { tone: 'warn', title, text: `${carry} ${odd.length === 1 ? `${iface.name}, ${family(path.family)}: ${why(path)}.` : ''}`.trim() };
  }
  const set_aside = states.filter(({ state }) => state === 'drained' || state === 'stopped');
  if (carrying.length === 0 && status.rules.length === 0) return { tone: 'warn', title: 'WANs are online, but no rule uses them.', text: 'Without a rule every connection follows the main routing table.' };
  if (carrying.length === 0) return { tone: 'warn', title: 'WANs are online, but nothing carries.', text: 'No policy uses a usable WAN. The configuration tells why.' };
  if (set_aside.length > 0) {
    const { iface, state } = set_aside[0];
    return { tone: 'calm', title: `${named(set_aside.map((s) => s.iface.name))} ${set_aside.length === 1 ? 'is' : 'are'} ${state === 'drained' ? 'drained' : 'taken down'} by hand.`, text: carry, iface };
  }
  return { tone: 'ok', title: enabled.length === 1 ? `${enabled[0].name} works.` : enabled.length === 2 ? 'Both WANs work.' : `All ${enabled.length} WANs work.`, text: carry };
}

function downWords(iface, statusAt, now) {
  const path = tellingPath(iface);
  return `${iface.name}: ${path.reason.text}, since ${moment(sinceMs(path, statusAt), now).replace(/^at |^on /, '')}.`;
}

/** Mean round-trip time (ms) and worst loss over a path's answering targets, for pages without samples. */
export function pathFigures(path) {
  const rtts = path.targets.filter((t) => t.rtt_us !== null && t.rtt_us !== undefined).map((t) => t.rtt_us / 1000);
  const rtt = rtts.length ? Math.min(...rtts) : null;
  const loss = path.targets.length ? Math.min(...path.targets.map((t) => t.loss_percent)) : null;
  return { rtt, loss };
}

/** `FILE:LINE: SEVERITY[CODE]: WHERE: MESSAGE; hint: HINT` → its parts. */
export function diagnostic(d) {
  const head = /^(.*?)(?::(\d+))?: (error|warning|note)\[([A-Z]\d+)\]: ([\s\S]*)$/.exec(d.text);
  const line = d.line ?? (head && head[2] ? Number(head[2]) : 0);
  let message = head ? head[5] : d.text;
  let hint = d.hint || '';
  const cut = message.lastIndexOf('; hint: ');
  if (cut >= 0) { hint = hint || message.slice(cut + 8); message = message.slice(0, cut); }
  return { severity: d.severity, code: d.code, line, message, hint };
}

export const KINDS = {
  path: 'Health', switch: 'Switch', apply: 'Kernel', repair: 'Repair', config: 'Configuration', command: 'Command', daemon: 'Daemon',
  drill: 'Drill',
};

/** Those that carry, as events write it: `fiber+cable`. */
export const carriers = (text) => text.split('+');

/** What happened, as people say it: of paths and policies from the event's fields, else its own text. */
export function eventWords(e) {
  const kind = e.family ? ` (${family(e.family)})` : '';
  const reason = e.to ? e.text.split(`-> ${e.to}: `)[1] : undefined;
  if (e.kind === 'path' && e.interface && STATES[e.to] && reason) return `${e.interface}${kind} is ${STATES[stateOf(e.to, e.code)].word.toLowerCase()}: ${reason}`;
  if (e.kind === 'switch' && e.policy && e.from && e.to && / -> /.test(e.text)) return `policy ${e.policy}${kind} moves from ${list(carriers(e.from))} to ${list(carriers(e.to))}`;
  return e.text.replaceAll(' -> ', ' → ');
}

/** Tone of an event: what its severity says, and green for what came back. */
export function eventTone(event) {
  if (event.severity === 'error' || event.severity === 'critical') return 'bad';
  if (event.severity === 'warning') return 'warn';
  if (event.kind === 'path' && event.to === 'online') return 'ok';
  return 'calm';
}
