// Why a packet, or a live connection, leaves by the WAN it leaves by: the daemon's own walk, every step of it.
import { html, useLayoutEffect, useState } from '../html.js';
import { getJson } from '../api.js';
import { PORTED, PROTOCOLS, complaint, readForm, socket, writeForm } from '../packet.js';
import { useStore } from '../store.js';
import { capital, family, percent, plural } from '../format.js';
import { Busy, Card, Failure, Icon, Input, Note, Select, State, Table, Title, colorOf, href, useLoad } from '../ui.js';

const FAMILIES = [['', 'That of the address'], ['ipv4', 'IPv4'], ['ipv6', 'IPv6']];
/** Rules that did not match are shown from the last on; there may be thousands. */
const RULES_MAX = 200;

export function Explain({ query: given }) {
  const asked = given.toString();
  const flow = given.get('flow');
  const [form, setForm] = useState(() => readForm(given));
  useLayoutEffect(() => { if (!flow) setForm(readForm(given)); }, [asked]);
  const { data, error, busy, retry } = useLoad(() => (asked ? getJson(`explain?${asked}`) : Promise.resolve(null)), [asked]);
  const submit = (e) => {
    e.preventDefault();
    const wanted = writeForm(form);
    if (wanted === asked) retry(); else location.hash = `/explain?${wanted}`;
  };
  // What the daemon refuses is about a field; what keeps it from answering is not.
  const refused = error && (error.status === 409 || error.status === 400);
  const wrong = refused && !flow ? complaint(error) : null;
  const other = error && !wrong ? (refused ? { message: complaint(error).text, hint: 'Choose another one from the list of connections.' } : error) : null;
  return html`<${Title} sub="Why a connection leaves by the WAN it leaves by.">Why this WAN?<//>
    ${flow ? html`<${Card}><p>A live connection: <code>${flow}</code></p><p class="under"><a href=${href('flows')}>Choose another one</a> or <a href=${href('explain')}>describe a packet</a></p><//>`
    : html`<${Form} form=${form} setForm=${setForm} submit=${submit} busy=${busy} wrong=${wrong} />`}
    ${other ? html`<${Failure} error=${other} retry=${refused ? null : retry} />` : null}
    ${busy && asked ? html`<${Busy} text="Asking the router…" />` : null}
    <p class="hidden" aria-live="polite">${data && !busy && !error ? summary(data) : ''}</p>
    ${data && asked && !error ? html`<${Answer} e=${data} />` : null}`;
}

function Form({ form, setForm, submit, busy, wrong }) {
  const status = useStore((s) => s.status);
  const field = (name) => ({ value: form[name], onInput: (value) => setForm({ ...form, [name]: value }), error: wrong && wrong.field === name ? wrong.text : null });
  const text = { autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' };
  const ported = PORTED.includes(form.protocol);
  return html`<${Card}><form aria-label="Packet" onSubmit=${submit}><div class="formgrid">
    <${Input} label="Source" ...${field('from')} ...${text} hint="Address of a device behind the router; empty: the router itself" />
    <${Input} label="Destination" ...${field('to')} ...${text} required hint="An address, as 1.1.1.1" />
    <${Select} label="Protocol" ...${field('protocol')} options=${PROTOCOLS} />
    <${Input} label="Port" ...${field('port')} ...${text} inputmode="numeric" disabled=${!ported} hint=${ported ? 'Of the destination, as 443' : 'This protocol has none'} />
    </div><details open=${!!(form.in || form.family || form.sport || (wrong && ['in', 'family', 'sport'].includes(wrong.field)))}><summary>More</summary><div class="formgrid">
    <${Input} label="Comes in by" ...${field('in')} ...${text} list="explain-in" hint="Interface or device; empty: where the source is" />
    <${Select} label="Family" ...${field('family')} options=${FAMILIES} />
    <${Input} label="Source port" ...${field('sport')} ...${text} inputmode="numeric" disabled=${!ported} />
    </div></details><datalist id="explain-in">${status.interfaces.map((i) => html`<option key=${i.name} value=${i.name}></option>`)}</datalist>
    <div class="actions under"><button class="button primary" disabled=${busy} aria-busy=${busy}>Explain</button>
    <a class="button" href=${href('flows')}>Choose a live connection</a></div></form><//>`;
}

const end = (address, port) => (port === null || port === undefined ? address : socket(address, port));
const LEADS = { main: 'the main routing table', unreachable: 'nowhere: it is refused (unreachable)', blackhole: 'nowhere: it is dropped (blackhole)' };
const wayName = (way) => (way.leads === 'route' ? way.interface : LEADS[way.leads] || way.leads);
const packetWords = (p) => `${p.protocol} from ${end(p.source, p.source_port)} to ${end(p.destination, p.destination_port)}`;

function summary(e) {
  const ways = e.ways.map((w) => (e.ways.length > 1 ? `${wayName(w)} (${percent(w.percent)})` : wayName(w)));
  return `${packetWords(e.packet)} goes by ${ways.join(' or ') || 'nothing'}.`;
}

function Answer({ e }) {
  return html`<section class="hero calm" aria-label="Answer"><div><p class="herotitle">${summary(e)}</p>
      <p>${decision(e)}</p><p class="quiet">${family(e.packet.family)}, ${e.packet.input ? `in by ${e.packet.input}` : "the router's own"}</p>${e.flow ? html`<p>${e.flow.text}</p>` : null}</div></section>
    ${e.notes.map((note) => html`<${Note} key=${note}>${note}<//>`)}
    <${Card} title="The walk"><ol class="walk">${e.steps.map((s, i) => html`<${Step} key=${i} decided=${s.decided} title=${STEPS[s.step] || s.step}>${s.text}<//>`)}
      ${e.rules.length ? html`<${Rules} rules=${e.rules} />` : null}</ol><//>
    ${e.members.length ? html`<${Members} e=${e} />` : null}
    <${Ways} e=${e} />
    <${Card} title="Runner-up"><p>${e.next ? html`Without that, rule <b>${e.next.rule}</b> would decide, and ${e.next.carried_by} would carry it.` : 'Nothing else would decide.'}</p><//>
    ${e.flow ? html`<${Card} title="The connection"><dl class="pairs"><${Pair} name="Number" value=${e.flow.id} /><${Pair} name="Connection mark" value=${e.flow.mark} />
      <${Pair} name="It is on" value=${e.flow.interface || 'no WAN: it is older than mwan'} /><${Pair} name="Leaves as" value=${e.flow.leaves_as} />
      <${Pair} name="New, it would go elsewhere" value=${e.flow.would_move === null || e.flow.would_move === undefined ? 'chance decides' : e.flow.would_move ? 'yes' : 'no'} /></dl><//>` : null}`;
}

const Pair = ({ name, value }) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;

const STEPS = { inbound: 'Did it come in by a WAN?', network: 'Is it for a network that is never routed by policy?', home: 'Is it for home?', own: "The router's own" };

function decision(e) {
  if (e.decided_by === 'rule') return html`Rule <b>${e.rule}</b> decides: ${POLICY[e.target] || html`policy <b>${e.target}</b>`}.`;
  if (e.decided_by === 'unmatched') return 'No rule matches: the main routing table decides.';
  const step = e.steps.find((s) => s.decided);
  return step ? `${capital(step.text)}.` : '';
}
const POLICY = { default: 'the main routing table', unreachable: 'it is refused (unreachable)', blackhole: 'it is dropped (blackhole)' };

const Step = ({ decided, title, children }) => html`<li class=${decided ? 'decided' : ''}><span class=${`mark ${decided ? 'ok' : 'calm'}`}><${Icon} name=${decided ? 'check' : 'dash'} size=${13} /></span>
  <div><b>${title}</b><p>${children}</p></div></li>`;

function Rules({ rules }) {
  const others = rules.filter((r) => !r.matched);
  const match = rules.find((r) => r.matched);
  const shown = others.slice(-RULES_MAX);
  return html`${others.length ? html`<${Step} title=${`${plural(others.length, 'rule')} tried before`}><details open=${others.length <= 8}><summary>Why not</summary>
      ${shown.length < others.length ? html`<p class="quiet">The last ${RULES_MAX} of them:</p>` : null}
      <${Table} label="Rules that do not match" rows=${shown} keyOf=${(r) => r.rule} columns=${[
    ['Rule', (r) => r.rule],
    ['Not by', (r) => html`<code>${r.criterion}</code>`],
    ['It asks for', (r) => r.wanted ?? '–'],
    ['The packet has', (r) => r.value ?? '–'],
  ]} /></details><//>` : null}
    ${match ? html`<${Step} decided title=${`Rule ${match.rule}`}>matches<//>` : html`<${Step} title="No rule matches">The main routing table decides.<//>`}`;
}

function Members({ e }) {
  const status = useStore((s) => s.status);
  return html`<${Card} title=${`Policy ${e.target}`}><p>${capital(e.choice_text)}</p><${Table} label="Members of the policy" rows=${e.members} keyOf=${(m) => `${m.interface}/${m.metric}/${m.weight}`} columns=${[
    ['WAN', (m) => html`<span class=${`dot c${colorOf(status, m.interface)}`} aria-hidden="true"></span>${m.interface}`],
    ['Tier (metric)', (m) => m.metric, 'num'],
    ['Weight', (m) => m.weight, 'num'],
    ['Share', (m) => (m.percent === null || m.percent === undefined ? '–' : percent(m.percent)), 'num'],
    ['', (m) => (m.out ? html`<span class="quiet">${m.out}</span>` : html`<${State} small state="online">Carries<//>`)],
  ]} /><//>`;
}

function Ways({ e }) {
  return html`${e.ways.map((w, i) => html`<${Card} key=${i} title=${e.ways.length > 1 ? `${percent(w.percent)} go by ${wayName(w)}` : `By ${wayName(w)}`}><dl class="pairs">
    <${Pair} name="Mark" value=${w.mark} /><${Pair} name="Routing table" value=${w.table ?? (w.leads === 'main' ? 'main' : '–')} /><${Pair} name="Device" value=${w.device ?? '–'} />
    <${Pair} name="Next hop" value=${w.gateway ?? 'none is needed'} /><${Pair} name=${w.translated ? 'Source after NAT' : 'Source'} value=${w.source ?? '–'} />
    <${Pair} name="If it could not" value=${w.instead ?? '–'} /></dl>${w.leads === 'route' && !w.translated ? html`<p class="quiet under">mwan does not translate its source.</p>` : null}<//>`)}`;
}
