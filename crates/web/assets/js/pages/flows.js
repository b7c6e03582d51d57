// Connections by WAN, and the largest of them.
import { html, useState } from '../html.js';
import { getJson } from '../api.js';
import { useStore } from '../store.js';
import { bytes, clock, count, percent } from '../format.js';
import { flowQuery } from '../packet.js';
import { Busy, Card, Empty, Failure, Segments, ShareBar, Table, Title, colorOf, useEvery, useLoad } from '../ui.js';

const REFRESH_MS = 5000;

export function Flows() {
  const status = useStore((s) => s.status);
  const [limit, setLimit] = useState(25);
  const [at, setAt] = useState(Date.now());
  const { data, error, busy, retry } = useLoad(() => getJson(`flows?limit=${limit}`).then((d) => { setAt(Date.now()); return d; }), [limit]);
  useEvery(REFRESH_MS, retry, []);
  const actions = html`<${Segments} label="How many" value=${limit} onInput=${setLimit} options=${[[25, '25'], [100, '100'], [500, '500']]} />`;
  return html`<${Title} actions=${actions}>Top flows<//>
    ${error ? html`<${Failure} error=${error} retry=${retry} />` : null}
    ${!data && busy ? html`<${Busy} text="Reading the connection table…" />` : null}
    ${data ? html`<${ByWan} data=${data} status=${status} /><${Top} data=${data} status=${status} at=${at} />` : null}`;
}

function ByWan({ data, status }) {
  const all = data.by_interface.reduce((n, i) => n + i.flows, 0);
  const parts = data.by_interface.map((i) => ({ name: i.interface || 'no WAN', share: all ? (i.flows * 100) / all : 0, color: colorOf(status, i.interface) }));
  const words = { total: count(data.total) };
  return html`<${Card} title="By WAN" aside=${html`<span class="quiet">${words.total} connections in all</span>`}>
    <${ShareBar} parts=${parts} /><ul class="legend wide">${data.by_interface.map((i, n) => html`<li key=${parts[n].name}><span class=${`dot c${parts[n].color}`} aria-hidden="true"></span>${parts[n].name} <b>${count(i.flows)}</b> <span class="quiet">${percent(parts[n].share)}${i.bytes !== null && i.bytes !== undefined ? ` · ${bytes(i.bytes)}` : ''}</span></li>`)}</ul><//>`;
}

const end = (address, port) => html`<code>${port ? (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`) : address}</code>`;

function Top({ data, status, at }) {
  return html`<${Card} title="Largest connections" aside=${html`<span class="quiet">as of ${clock(at)}</span>`}><${Table} label="Largest connections" rows=${data.top} keyOf=${(f) => `${f.proto}${f.src}${f.sport}${f.dst}${f.dport}`}
    empty=${html`<${Empty} title="No connections">None passes this router now.<//>`} columns=${[
    ['WAN', (f) => html`<span class=${`dot c${colorOf(status, f.interface)}`} aria-hidden="true"></span>${f.interface || '–'}`],
    ['Protocol', (f) => f.proto],
    ['From', (f) => end(f.src, f.sport)],
    ['To', (f) => end(f.dst, f.dport)],
    ['Bytes', (f) => bytes(f.bytes), 'num'],
    ['Packets', (f) => count(f.packets), 'num'],
    ['', (f) => html`<a class="button small" href=${`#/explain?${flowQuery(f)}`} aria-label=${`Why does ${f.proto} from ${f.src} to ${f.dst}${f.dport ? `, port ${f.dport},` : ''} leave by ${f.interface || 'no WAN'}?`}>Why?</a>`],
  ]} />${!data.counted && data.top.length ? html`<p class="quiet under">The kernel does not count them: <code>sysctl net.netfilter.nf_conntrack_acct=1</code> makes it, for new connections.</p>` : null}<//>`;
}
