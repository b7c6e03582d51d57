// How one WAN is probed and judged, as a form. The daemon judges while it is filled in: what it finds stands beside the field.
import { html, useEffect, useLayoutEffect, useMemo, useState } from '../html.js';
import { Apply, Findings, loadConfig, validate } from '../apply.js';
import { join, parse, setOption, values } from '../sections.js';
import { Busy, Card, Failure, Icon, Input, Note, Select, Title, href } from '../ui.js';

/** The check follows the last keystroke by so much, ms. */
const PAUSE_MS = 400;
const YES = [['1', 'Yes'], ['0', 'No']];
const METHODS = ['ping', 'arping', 'httping', 'nping-tcp', 'nping-udp', 'nping-icmp', 'nping-arp', 'nslookup'].map((m) => [m, m]);

/** [name, label, hint, what it is, default of UCI, default of mwan.toml, its name there if it is another]. */
const GROUPS = [
  ['The link', [
    ['enabled', 'In use', '', YES, '0', '1'],
    ['device', 'Device', 'Empty: the network manager tells, else the name is the device.', 'text', '', ''],
    ['failback', 'When a better WAN is back', 'What becomes of the connections on this one.', [['keep', 'they end here'], ['drain', 'they have some minutes to end'], ['move-now', 'they move at once (metered)']], 'keep', 'keep'],
  ]],
  ['Probes', [
    ['track_ip', 'Targets', 'Addresses or target URLs, separated by spaces.', 'list', '', '', 'targets'],
    ['track_method', 'Method', '', METHODS, 'ping', 'ping'],
    ['reliability', 'Targets that must answer', '', 'number', '1', '1'],
    ['interval', 'Every', 'Seconds, or with a unit: 200ms, 5s.', 'text', '10', '1'],
    ['timeout', 'An answer may take', '', 'text', '4', '1'],
    ['down', 'Bad rounds until offline', '', 'number', '5', '2'],
    ['up', 'Good rounds until online', '', 'number', '5', '10'],
  ]],
  ['Quality', [
    ['check_quality', 'Judge latency and loss, too', '', YES, '0', '0'],
    ['failure_latency', 'Down from, ms', '', 'number', '1000', '1000'],
    ['recovery_latency', 'Up again to, ms', '', 'number', '500', '500'],
    ['failure_loss', 'Down from, % lost', '', 'number', '40', '40'],
    ['recovery_loss', 'Up again to, % lost', '', 'number', '10', '10'],
  ]],
];
const FIELDS = GROUPS.flatMap(([, fields]) => fields);
const TRUE = ['1', 'on', 'true', 'yes', 'enabled'];

const optionOf = (field, format) => (format === 'toml' && field[6]) || field[0];
const typeOf = (format) => (format === 'toml' ? 'wan' : 'interface');

/** What the form begins with: as the file has it, '' where it says nothing. */
function fromFile(section, format) {
  const file = values(section.lines, format);
  return Object.fromEntries(FIELDS.map((field) => {
    const value = file[optionOf(field, format)];
    if (value === undefined) return [field[0], ''];
    if (field[3] === YES) return [field[0], TRUE.includes(String(value)) ? '1' : '0'];
    return [field[0], Array.isArray(value) ? value.join(' ') : String(value)];
  }));
}

/** A value as the file's format has it. */
function written(field, value, format) {
  if (value === '') return null;
  if (field[3] === 'list') return value.split(/[\s,]+/).filter(Boolean);
  if (format === 'toml' && field[3] === YES) return value === '1';
  if (format === 'toml' && field[3] === 'number' && /^\d+$/.test(value)) return Number(value);
  return value;
}

/** The text with those fields changed that were. */
export function withFields(config, name, before, after) {
  const sections = parse(config.text, config.format);
  const at = sections.findIndex((s) => s.type === typeOf(config.format) && s.name === name);
  let { lines } = sections[at];
  for (const field of FIELDS) {
    if (before[field[0]] !== after[field[0]]) lines = setOption(lines, config.format, optionOf(field, config.format), written(field, after[field[0]], config.format));
  }
  sections[at] = { ...sections[at], lines };
  return join(sections);
}

/** Findings of this section: by option, and those without one. */
function ofSection(found, name, format) {
  const head = format === 'toml' ? `wan.${name}` : `interface '${name}'`;
  const byOption = {};
  const others = [];
  for (const d of found) {
    if (!d.message.startsWith(head)) continue;
    const m = /^, option '([^']+)': ([\s\S]*)$/.exec(d.message.slice(head.length));
    if (m && d.severity !== 'note') byOption[m[1]] = `${m[2]}${d.hint ? ` – ${d.hint}` : ''}`;
    else if (d.severity !== 'note') others.push(d);
  }
  return { byOption, others };
}

export function Settings({ name }) {
  const [config, setConfig] = useState(null);
  const [error, setError] = useState(null);
  const [fields, setFields] = useState(null);
  const [found, setFound] = useState([]);
  const [asking, setAsking] = useState(false);
  const load = () => { setError(null); loadConfig().then(setConfig, setError); };
  useEffect(load, []);
  const section = useMemo(() => config && parse(config.text, config.format).find((s) => s.type === typeOf(config.format) && s.name === name), [config, name]);
  const before = useMemo(() => section && fromFile(section, config.format), [section]);
  useLayoutEffect(() => { setFields(before || null); }, [before]);
  const text = before && fields ? withFields(config, name, before, fields) : null;
  useEffect(() => {
    if (text === null) return undefined;
    let current = true;
    const timer = setTimeout(() => validate(text, config.file).then((d) => current && setFound(d), (e) => current && setError(e)), PAUSE_MS);
    return () => { current = false; clearTimeout(timer); };
  }, [text]);
  const back = html`<p class="crumb"><a href=${href('wan', name)}><${Icon} name="back" size=${16} />${name}</a></p>`;
  if (!config || (section && !fields)) return html`${back}<${Title}>Settings of ${name}<//>${error ? html`<${Failure} error=${error} retry=${load} />` : html`<${Busy} />`}`;
  if (!section) return html`${back}<${Title}>Settings of ${name}<//><${Note} tone="warn">The file does not have a section of its own for ${name}. The <a href="#/config">editor</a> has the whole text.<//>`;
  const { byOption, others } = ofSection(found, name, config.format);
  const changed = text !== config.text;
  const submit = (e) => { e.preventDefault(); if (changed) setAsking(true); };
  return html`${back}<${Title} sub=${html`<span>What a field does not say has the default, which it shows.</span>`}>Settings of ${name}<//>
    ${error ? html`<${Failure} error=${error} retry=${load} />` : null}
    <form onSubmit=${submit} novalidate>${GROUPS.map(([title, list]) => html`<${Card} key=${title} title=${title} class="narrow"><div class="formgrid">
      ${list.map((field) => html`<${One} key=${field[0]} field=${field} format=${config.format} value=${fields[field[0]]} error=${byOption[optionOf(field, config.format)]}
        onInput=${(v) => setFields({ ...fields, [field[0]]: v })} />`)}</div><//>`)}
      ${others.length ? html`<${Findings} found=${others} />` : null}
      <div class="wizfoot narrow"><button type="button" class="button" disabled=${!changed} onClick=${() => setFields(before)}>Discard</button><button class="button primary" disabled=${!changed}>Review and apply</button></div></form>
    ${asking ? html`<${Apply} before=${config} text=${text} onClose=${() => setAsking(false)} onDone=${(revision) => { setAsking(false); setConfig({ ...config, text, revision }); }} onTheirs=${(theirs) => { setAsking(false); setConfig(theirs); }} />` : null}`;
}

function One({ field, format, value, error, onInput }) {
  const [name, label, hint, kind, uci, toml] = field;
  const standard = format === 'toml' ? toml : uci;
  if (Array.isArray(kind)) {
    const word = (kind.find(([v]) => v === standard) || [0, standard])[1];
    const options = [['', `default: ${word}`], ...kind, ...(value && !kind.some(([v]) => v === value) ? [[value, value]] : [])];
    return html`<${Select} name=${name} label=${label} hint=${hint} error=${error} value=${value} options=${options} onInput=${onInput} />`;
  }
  return html`<${Input} name=${name} label=${label} hint=${hint} error=${error} value=${value} onInput=${onInput} placeholder=${standard || 'none'}
    inputmode=${kind === 'number' ? 'numeric' : undefined} spellcheck="false" autocapitalize="none" autocomplete="off" />`;
}
