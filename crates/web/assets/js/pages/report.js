// A month of every WAN: evidence to show the provider. Printable.
import { html, useState } from '../html.js';
import { getJson } from '../api.js';
import { bytes, clock, count, day, duration, family, ms } from '../format.js';
import { Busy, Card, Empty, Failure, Icon, Table, Title, href, useLoad } from '../ui.js';

/** Months to choose from: the history keeps two years. */
const MONTHS = 24;

function monthsBack(n) {
  const now = new Date();
  return Array.from({ length: n }, (_, i) => {
    const d = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - i, 1));
    return [d.toISOString().slice(0, 7), d.toLocaleDateString('en-GB', { month: 'long', year: 'numeric', timeZone: 'UTC' })];
  });
}

export function Report() {
  const months = monthsBack(MONTHS);
  const [month, setMonth] = useState(months[0][0]);
  const { data, error, busy, retry } = useLoad(() => getJson(`report?month=${month}`), [month]);
  const actions = html`<label class="hidden" for="report-month">Month</label><select id="report-month" value=${month} onChange=${(e) => setMonth(e.target.value)}>${months.map(([v, t]) => html`<option value=${v} selected=${v === month}>${t}</option>`)}</select>
    <button type="button" class="button" onClick=${() => print()} disabled=${!data}>Print</button>`;
  return html`<${Title} actions=${actions} sub="Availability, outages, latency and loss of every WAN: what to show the provider.">Report<//>
    ${error ? html`<${Failure} error=${error} retry=${retry} />` : null}
    ${!data && busy ? html`<${Busy} text="Adding up the month…" />` : null}
    ${data ? html`<${Month} data=${data} title=${(months.find(([v]) => v === data.month) || [0, data.month])[1]} />` : null}`;
}

/** 99.98 %, 100 % only if it is. Rounded down: a report must not promise more than there was. */
export function availability(percent) {
  if (percent === null || percent === undefined) return '–';
  return percent >= 100 ? '100 %' : `${(Math.floor(percent * 1000) / 1000).toFixed(3)} %`;
}

function Month({ data, title }) {
  const rows = data.interfaces.flatMap((i) => i.paths.map((p) => ({ ...p, interface: i.interface, rx: i.rx_bytes, tx: i.tx_bytes })));
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const outages = rows.flatMap((r) => r.outages.map((o) => ({ ...o, row: r }))).sort((a, b) => b.start_ms - a.start_ms);
  if (rows.length === 0) return html`<${Card}><${Empty} title="Nothing was recorded in this month">The history begins when mwan runs.<//><//>`;
  return html`${data.problems.length ? html`<div class="note warn"><${Icon} name="warn" /><div>${data.problems.map((p) => html`<p key=${p}>${p}</p>`)}</div></div>` : null}
    <${Card} title=${title}><${Table} label=${`WANs in ${title}`} rows=${rows} keyOf=${(r) => r.interface + r.family} columns=${[
    ['WAN', (r) => html`<a href=${href('wan', r.interface)}>${r.interface}</a> <span class="quiet">${family(r.family)}</span>`],
    ['Available', (r) => html`<b>${availability(r.availability_percent)}</b>`, 'num'],
    ['Outages', (r) => `${count(r.outages.length)}${r.outages_incomplete ? ' and more' : ''}`, 'num'],
    ['Longest', (r) => (r.longest_outage_s ? duration(r.longest_outage_s) : '–'), 'num'],
    ['Latency, median', (r) => ms(r.latency && r.latency.p50_ms), 'num'],
    ['95 %', (r) => ms(r.latency && r.latency.p95_ms), 'num'],
    ['99 %', (r) => ms(r.latency && r.latency.p99_ms), 'num'],
    ['Loss', (r) => (r.loss_percent === null || r.loss_percent === undefined ? '–' : `${r.loss_percent.toFixed(3)} %`), 'num'],
    ['Received', (r) => bytes(r.rx), 'num'],
    ['Sent', (r) => bytes(r.tx), 'num'],
  ]} /><p class="quiet under">Times of which nothing is known (mwan or the machine was off) count neither way: ${rows.map((r) => `${r.interface} ${family(r.family)} ${duration(r.unknown_s)}`).join(', ')}.</p><//>
    <${Card} title="Outages"><${Table} label="Outages" rows=${outages} keyOf=${(o) => o.row.interface + o.row.family + o.start_ms} empty=${html`<${Empty} title="None">Every WAN was usable all the time that is known.<//>`} columns=${[
    ['Began', (o) => `${day(o.start_ms)}, ${clock(o.start_ms)}`],
    ['WAN', (o) => html`${o.row.interface} <span class="quiet">${family(o.row.family)}</span>`],
    ['Lasted', (o) => (o.end_ms ? `${duration((o.end_ms - o.start_ms) / 1000)}${o.end_seen ? '' : ' or more'}` : 'goes on'), 'num'],
    ['Cause', (o) => o.text],
  ]} /><p class="quiet under">Times are those of ${zone}; the month is that of UTC.</p><//>`;
}
