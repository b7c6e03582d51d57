// Policies and rules: who carries, what has matched, and what each would use now.
import { html, useState } from '../html.js';
import { may } from '../api.js';
import { useStore } from '../store.js';
import { refresh } from '../live.js';
import { bytes, count, duration, family, list, percent } from '../format.js';
import { LAST_WORDS, carrierOf, carrierWords } from '../model.js';
import { Card, Empty, ShareBar, State, Table, Title, colorOf, href, useEvery } from '../ui.js';
import { Mode } from './mode.js';

/** Counters are read anew so often, ms: they change without an event. */
const REFRESH_MS = 3000;
/** With this many rules they are read five times less often, and not all are shown at once. */
const RULES_MANY = 200;

export function Policies() {
  const status = useStore((s) => s.status);
  const session = useStore((s) => s.session);
  useEvery(status.rules.length > RULES_MANY ? 5 * REFRESH_MS : REFRESH_MS, refresh);
  return html`<${Title}>Policies and rules<//>
    <p class="lead">A new connection takes the first rule that matches; the rule's policy says which WAN it gets.</p>
    ${may(session, 'admin') ? html`<${Mode} />` : null}
    ${status.policies.length === 0 ? html`<${Card}><${Empty} title="No policies">The <a href="#/wizard">set-up</a> writes one, or add one in the <a href="#/config">configuration</a>.<//><//>` : null}
    <div class="policies">${status.policies.map((p) => html`<${PolicyCard} key=${p.name} policy=${p} status=${status} />`)}</div>
    <${Rules} status=${status} />
    <${Sticky} status=${status} />
    <${Direct} status=${status} />`;
}

function PolicyCard({ policy, status }) {
  const same = JSON.stringify(policy.ipv4.members) === JSON.stringify(policy.ipv6.members) && policy.ipv4.last_resort === policy.ipv6.last_resort;
  const families = same ? [['IPv4 and IPv6', policy.ipv4]] : [['IPv4', policy.ipv4], ['IPv6', policy.ipv6]];
  const used = status.rules.filter((r) => r.target === policy.name).map((r) => r.name);
  return html`<${Card} title=${policy.name} class="policy">${families.map(([title, carrier]) => html`<${CarrierRow} key=${title} title=${title} carrier=${carrier} status=${status} />`)}
    <${Counters} policy=${policy} status=${status} />
    <p class="quiet under">${used.length ? `Used by ${[...new Set(used)].length === 1 ? 'rule' : 'rules'} ${list([...new Set(used)].slice(0, 4))}${new Set(used).size > 4 ? ' and others' : ''}.` : 'No rule uses it.'}</p><//>`;
}

function CarrierRow({ title, carrier, status }) {
  const sum = carrier.members.reduce((n, m) => n + m.weight, 0) || 1;
  const parts = carrier.members.map((m) => ({ name: m.interface, share: (m.weight * 100) / sum, color: colorOf(status, m.interface) }));
  return html`<div class="carrier"><h3>${title}</h3>${parts.length ? html`<${ShareBar} parts=${parts} />
    <ul class="legend">${parts.map((p) => html`<li key=${p.name}><span class=${`dot c${p.color}`} aria-hidden="true"></span><a href=${href('wan', p.name)}>${p.name}</a> <b>${percent(p.share)}</b></li>`)}</ul>`
    : html`<p><${State} small state=${carrier.last_resort === 'default' ? 'unknown' : 'offline'}>${carrier.last_resort ? LAST_WORDS[carrier.last_resort] : 'not in the kernel'}<//></p>`}</div>`;
}

/** What its members have been given so far, both families together. */
function Counters({ policy, status }) {
  const sums = new Map();
  for (const c of [...policy.ipv4.counters, ...policy.ipv6.counters]) {
    const s = sums.get(c.interface) || { packets: 0, bytes: 0 };
    sums.set(c.interface, { packets: s.packets + c.packets, bytes: s.bytes + c.bytes });
  }
  const given = [...sums].filter(([, s]) => s.packets > 0);
  if (given.length === 0) return null;
  const words = given.map(([name, s]) => `${name} ${count(s.packets)}`);
  const all = given.reduce((n, [, s]) => n + s.packets, 0);
  const parts = given.map(([name, s]) => ({ name, share: (s.packets * 100) / all, color: colorOf(status, name) }));
  return html`<div class="carrier"><h3>Connections given so far</h3><${ShareBar} parts=${parts} label=${words.join(', ')} /><p class="quiet">${words.join(' · ')}</p></div>`;
}

function Rules({ status }) {
  const [wanted, setWanted] = useState('');
  const many = status.rules.length > RULES_MANY;
  const found = wanted ? status.rules.filter((r) => `${r.name} ${r.target} ${matchWords(r)}`.toLowerCase().includes(wanted.toLowerCase())) : status.rules;
  const rows = found.slice(0, RULES_MANY);
  return html`<${Card} title="Rules" aside=${html`<span class="quiet">in order; the first that matches decides</span>`}>
    ${many ? html`<div class="field"><label for="rule-text">Search in ${count(status.rules.length)} rules</label><input id="rule-text" type="search" placeholder="name, policy, address, port" value=${wanted} onInput=${(e) => setWanted(e.target.value)} /></div>` : null}
    ${found.length > rows.length ? html`<p class="quiet" role="status">The first ${count(rows.length)} of ${count(found.length)} are shown.</p>` : null}
    <${Table} label="Rules in order of evaluation" rows=${rows} keyOf=${(r) => `${r.name}/${r.family}`}
    empty=${html`<${Empty} title="No rules">Without a rule every connection follows the main routing table.<//>`} columns=${[
    ['Rule', (r) => html`<b>${r.name}</b>${r.sticky ? html` <span class="tag">sticky</span>` : null}`],
    ['Family', (r) => family(r.family)],
    ['Matches', (r) => html`<span class="match">${matchWords(r)}</span>`],
    ['Policy', (r) => r.target],
    ['Would use now', (r) => (r.waiting_for ? html`<span class="quiet">not in force: waits for ${r.waiting_for}</span>` : html`<b>${carrierWords(carrierOf(status, r.target, r.family))}</b>`)],
    ['Connections', (r) => count(r.packets), 'num'],
    ['First packets', (r) => bytes(r.bytes), 'num'],
  ]} /><//>`;
}

function matchWords(r) {
  const parts = [];
  if (r.protocol && r.protocol !== 'all') parts.push(r.protocol);
  if (r.source) parts.push(`from ${r.source}`);
  if (r.destination) parts.push(`to ${r.destination}`);
  if (r.more) parts.push(r.more);
  return parts.length ? parts.join(' ') : 'everything';
}

const STICKY_MAX = 50;

function Sticky({ status }) {
  const entries = status.rules.flatMap((r) => r.sticky_entries.map((e) => ({ ...e, rule: r.name })));
  if (entries.length === 0) return null;
  return html`<${Card} title="Sources that keep their WAN" aside=${html`<span class="quiet">${count(entries.length)} by sticky rules</span>`}><${Table} label="Sources that keep their WAN" rows=${entries.slice(0, STICKY_MAX)} columns=${[
    ['Source', (e) => html`<code>${e.source}</code>`], ['Destination', (e) => e.destination || 'any'], ['WAN', (e) => e.interface], ['Rule', (e) => e.rule], ['For', (e) => `${duration(e.left_s)} more`, 'num'],
  ]} />${entries.length > STICKY_MAX ? html`<p class="quiet under">The first ${STICKY_MAX} are shown; <code>mwan rules</code> has all.</p>` : null}<//>`;
}

function Direct({ status }) {
  const all = [...status.connected.ipv4, ...status.connected.ipv6, ...status.custom.ipv4, ...status.custom.ipv6];
  if (all.length === 0) return null;
  return html`<details class="card"><summary><span class="summarytitle">Networks that are never policy-routed (${count(all.length)})</span></summary><ul class="chips">${[...new Set(all)].slice(0, 500).map((n) => html`<li key=${n}><code>${n}</code></li>`)}</ul></details>`;
}
