// Who is told of incidents, whether that works, and a test of it.
import { html, useState } from '../html.js';
import { ApiError, getJson, may, post } from '../api.js';
import { useStore } from '../store.js';
import { moment, plural } from '../format.js';
import { Apply, loadConfig } from '../apply.js';
import { join, parse, replace, section, values } from '../sections.js';
import { Action, Busy, Card, Empty, Failure, Icon, Input, Note, Segments, Select, State, Title, useEvery, useLoad } from '../ui.js';

const REFRESH_MS = 5000;
const TYPES = [['email', 'E-mail'], ['webhook', 'Webhook'], ['command', 'Command']];
const SEVERITY = [['info', 'Everything'], ['warning', 'A WAN is lost, and worse'], ['error', 'Errors, and worse'], ['critical', 'Only when nothing is left'], ['never', 'Only the digest']];
const SHAPES = [['json', 'JSON (mwan.alert.v1)'], ['ntfy', 'ntfy'], ['telegram', 'Telegram'], ['slack', 'Slack'], ['matrix', 'Matrix'], ['pagerduty', 'PagerDuty']];

/** What is configured beside how it is; who may not read the configuration sees the latter. */
async function look() {
  const refused = (error) => { if (error.status === 403) return null; throw error; };
  const [state, config] = await Promise.all([getJson('alerts'), loadConfig().catch(refused)]);
  const configured = !config ? [] : parse(config.text, config.format).filter((s) => s.type === 'alert').map((s) => ({ name: s.name, values: values(s.lines, config.format) }));
  return { channels: state.alerts, problem: state.problem, config, configured };
}

export function Alerts() {
  const session = useStore((s) => s.session);
  const admin = may(session, 'admin');
  const { data, error, busy, retry } = useLoad(look, []);
  const [edit, setEdit] = useState(null);
  const [change, setChange] = useState(null);
  useEvery(REFRESH_MS, () => { if (!edit && !change) retry(); }, [!!edit, !!change]);
  const remove = (name) => setChange(without(data.config, name));
  const actions = admin && data && !edit ? html`<button type="button" class="button primary" onClick=${() => setEdit(fresh(data))}><${Icon} name="plus" size=${18} />Add</button>` : null;
  return html`<${Title} actions=${actions} sub="One message per incident: what was lost, why, for how long, and what took over.">Notifications<//>
    ${error ? html`<${Failure} error=${error} retry=${retry} />` : null}
    ${!data && busy ? html`<${Busy} />` : null}
    ${data && data.problem ? html`<${Note} tone="warn"><strong>Nothing is sent now:</strong> ${data.problem}<//>` : null}
    ${data && !edit ? html`<${Channels} data=${data} admin=${admin} onEdit=${setEdit} onRemove=${remove} />` : null}
    ${edit ? html`<${Form} edit=${edit} names=${data.configured.map((c) => c.name)} onCancel=${() => setEdit(null)} onSave=${(channel) => setChange(withChannel(data.config, edit, channel))} />` : null}
    ${change !== null ? html`<${Apply} before=${data.config} text=${change} onClose=${() => setChange(null)} onDone=${() => { setChange(null); setEdit(null); retry(); }} onTheirs=${() => { setChange(null); setEdit(null); retry(); }} />` : null}`;
}

/** How long the page waits for what becomes of a test, and how often it asks, ms. */
const TEST_MS = 45000;
const TEST_STEP_MS = 1000;

/** Sends a test and waits for what becomes of it. */
async function sendTest(name) {
  const { number } = await post(`alerts/${encodeURIComponent(name)}/test`);
  for (let waited = 0; waited < TEST_MS; waited += TEST_STEP_MS) {
    const alert = (await getJson('alerts')).alerts.find((a) => a.name === name);
    if (alert && alert.test && alert.test.number === number) {
      if (alert.test.error) throw new ApiError(0, { error: { message: `The test by ${name} was not sent.`, hint: alert.test.error } });
      return;
    }
    await new Promise((next) => { setTimeout(next, TEST_STEP_MS); });
  }
  throw new ApiError(0, { error: { message: `The test by ${name} has not been sent yet.`, hint: 'It waits for a way to get there; this page tells when it was.' } });
}

const fresh = (data) => {
  const taken = data.configured.map((c) => c.name);
  const name = ['ops', 'phone', 'team'].find((n) => !taken.includes(n)) || `channel${taken.length + 1}`;
  return { was: null, name, values: { type: 'email', security: 'starttls', severity: 'warning', shape: 'json' } };
};

function Channels({ data, admin, onEdit, onRemove }) {
  const names = [...new Set([...data.configured.map((c) => c.name), ...data.channels.map((c) => c.name)])];
  if (names.length === 0) return html`<${Card}><${Empty} title="Nobody is told yet">Add an e-mail address, a chat or a program. Messages wait while no WAN works, and are sent when one does.<//><//>`;
  return html`<${Card}><ul class="channels">${names.map((name) => html`<li key=${name} class="channel"><${Channel} state=${data.channels.find((c) => c.name === name)} conf=${data.configured.find((c) => c.name === name)} name=${name} />
    <div class="actions">${data.channels.some((c) => c.name === name) ? html`<${Action} role="operator" class="small" run=${() => sendTest(name)} done=${`A test was sent by ${name}.`} label=${`Send a test by ${name}`}><${Icon} name="send" size=${16} />Send a test<//>` : null}
    ${admin && data.configured.some((c) => c.name === name) ? html`<button type="button" class="button small" aria-label=${`Edit ${name}`} onClick=${() => { const c = data.configured.find((x) => x.name === name); onEdit({ was: name, name, values: { ...c.values } }); }}>Edit</button>
      <button type="button" class="button small" aria-label=${`Remove ${name}`} onClick=${() => onRemove(name)}>Remove</button>` : null}</div></li>`)}</ul><//>`;
}

function Channel({ state, conf, name }) {
  const type = (state && state.kind) || (conf && conf.values.type) || '';
  const to = conf ? [].concat(conf.values.to || conf.values.url || conf.values.command || []).join(', ') : '';
  return html`<div><p><b>${name}</b> <span class="quiet">${(TYPES.find(([v]) => v === type) || [0, type])[1]}${to ? ` · ${to}` : ''}</span></p>${state ? html`<p><${Health} state=${state} /></p>` : html`<p class="quiet">Not in force.</p>`}</div>`;
}

function Health({ state }) {
  const failure = state.last_error;
  if (failure) return html`<${State} small state="offline">${failure}${state.next_try_ms ? ` – tried again ${moment(state.next_try_ms)}` : ''}<//>`;
  const waiting = state.queued ? `, ${plural(state.queued, 'message')} waiting` : '';
  if (state.failures) return html`<${State} small state="disconnecting">${plural(state.failures, 'attempt')} in vain${waiting}<//>`;
  return html`<${State} small state=${state.queued ? 'connecting' : 'online'}>${state.last_sent_ms ? `Last message ${moment(state.last_sent_ms)}` : 'Ready, nothing sent yet'}${waiting}<//>`;
}

// ---- the form ---------------------------------------------------------------------------------------------------------

const mail = (v) => /^[^\s@<>,]+@[^\s@<>,]+$/.test(v);
const list = (v) => [].concat(v || []).join(', ').split(/[\s,]+/).filter(Boolean);
const absolute = (v) => !v || v.startsWith('/');

/** Field → what is wrong with it. The daemon judges again; this is beside the field, and at once. */
export function wrongFields(name, v, taken) {
  const out = {};
  if (!/^[A-Za-z0-9_]{1,64}$/.test(name)) out.name = 'Letters, digits and _ only.';
  else if (taken.includes(name)) out.name = 'There is another one of this name.';
  if (v.type === 'email') {
    if (list(v.to).length === 0) out.to = 'Somebody has to be told: a mail address.';
    else if (!list(v.to).every(mail)) out.to = `Not a mail address: ${list(v.to).find((a) => !mail(a))}`;
    if (v.from && !mail(v.from)) out.from = 'Not a mail address.';
    if (!v.server && !v.sendmail) out.server = 'The mail server, as mail.example.com.';
    if (v.port && !(Number(v.port) >= 1 && Number(v.port) <= 65535)) out.port = 'From 1 to 65535.';
    if (v.username && !v.password_file) out.password_file = 'The file that holds the password.';
    if (!absolute(v.password_file)) out.password_file = 'The whole path, beginning with /.';
  }
  if (v.type === 'webhook') {
    if (!['telegram', 'pagerduty'].includes(v.shape) && !v.secret_file && !/^https?:\/\/\S+$/.test(v.url || '')) out.url = 'A URL, as https://ntfy.sh/my-topic.';
    if (['telegram', 'matrix'].includes(v.shape) && list(v.to).length === 0) out.to = v.shape === 'telegram' ? 'The chat.' : 'The room.';
    if (['telegram', 'matrix', 'pagerduty'].includes(v.shape) && !v.secret_file) out.secret_file = 'The file that holds the token.';
    if (!absolute(v.secret_file)) out.secret_file = 'The whole path, beginning with /.';
  }
  if (v.type === 'command' && !words(v.command)[0]) out.command = 'The program, with its whole path.';
  else if (v.type === 'command' && !words(v.command)[0].startsWith('/')) out.command = 'The whole path, beginning with /.';
  return out;
}

const words = (v) => (Array.isArray(v) ? v : String(v || '').split(/\s+/).filter(Boolean));

function Form({ edit, names, onCancel, onSave }) {
  const [name, setName] = useState(edit.name);
  const [v, setV] = useState(edit.values);
  const [shown, setShown] = useState(false);
  const wrong = wrongFields(name, v, names.filter((n) => n !== edit.was));
  const field = (key) => ({ value: Array.isArray(v[key]) ? v[key].join(key === 'command' ? ' ' : ', ') : v[key] || '', onInput: (x) => setV({ ...v, [key]: x }), error: shown ? wrong[key] : '' });
  const submit = (e) => {
    e.preventDefault();
    setShown(true);
    if (Object.keys(wrong).length === 0) onSave({ name, values: v });
    else setTimeout(() => { const first = e.target.querySelector('[aria-invalid]'); if (first) first.focus(); }, 0);
  };
  return html`<${Card} class="narrow" title=${edit.was ? `Edit ${edit.was}` : 'A new notification'}><form onSubmit=${submit} novalidate>
    <div class="kinds"><${Segments} label="How" value=${v.type} options=${TYPES} onInput=${(type) => setV({ ...v, type })} /></div>
    <div class="formgrid">
      <${Input} label="Name" value=${name} onInput=${setName} error=${shown ? wrong.name : ''} maxlength="64" spellcheck="false" autocapitalize="none" />
      <${Select} label="Told of" options=${SEVERITY} ...${field('severity')} value=${v.severity || 'warning'} />
      ${v.type === 'email' ? html`<${Email} v=${v} field=${field} />` : v.type === 'webhook' ? html`<${Webhook} v=${v} field=${field} />`
      : html`<${Input} label="Program and arguments" hint="Run without a shell, with the incident as JSON on standard input." placeholder="/usr/local/bin/notify" spellcheck="false" ...${field('command')} />`}
      <${Input} label="Quiet hours" hint="Local time, as 22:00-07:00. Only critical incidents are told then." placeholder="none" ...${field('quiet_hours')} />
    </div>
    <div class="wizfoot"><button type="button" class="button" onClick=${onCancel}>Cancel</button><button class="button primary">Review and apply</button></div></form><//>`;
}

function Email({ v, field }) {
  return html`<${Input} label="To" type="email" multiple placeholder="ops@example.com" autocomplete="email" ...${field('to')} />
    <${Input} label="From" type="email" placeholder="mwan@ and the name of this machine" autocomplete="off" ...${field('from')} />
    <${Input} label="Mail server" placeholder="mail.example.com" spellcheck="false" autocapitalize="none" ...${field('server')} />
    <${Select} label="Encryption" options=${[['starttls', 'STARTTLS'], ['tls', 'TLS'], ['none', 'none']]} ...${field('security')} value=${v.security || 'starttls'} />
    <${Input} label="Port" inputmode="numeric" placeholder=${{ tls: '465', none: '25' }[v.security] || '587'} ...${field('port')} />
    <${Input} label="User" autocomplete="off" spellcheck="false" autocapitalize="none" placeholder="none" ...${field('username')} />
    <${Input} label="Password file" hint="A file on the router that only root can read. The password itself is never in the configuration." placeholder="/etc/mwan/smtp.password" spellcheck="false" ...${field('password_file')} />`;
}

function Webhook({ v, field }) {
  const own = ['telegram', 'pagerduty'].includes(v.shape);
  return html`<${Select} label="Service" options=${SHAPES} ...${field('shape')} value=${v.shape || 'json'} />
    ${own ? null : html`<${Input} label="URL" type="url" placeholder="https://…" spellcheck="false" ...${field('url')} />`}
    ${['telegram', 'matrix'].includes(v.shape) ? html`<${Input} label=${v.shape === 'telegram' ? 'Chat' : 'Room'} spellcheck="false" ...${field('to')} />` : null}
    <${Input} label="Secret file" hint="A file on the router that holds the token, or for JSON and Slack the key or the whole URL." placeholder="/etc/mwan/webhook.secret" spellcheck="false" ...${field('secret_file')} />`;
}

const OPTIONS = {
  email: ['to', 'from', 'server', 'port', 'security', 'username', 'password_file'],
  webhook: ['shape', 'url', 'to', 'secret_file'],
  command: ['command'],
};
const LISTS = ['to', 'quiet_hours', 'command'];
/** Options of the form, of whichever type; what else a section has stays as it is. */
const KNOWN = ['type', 'severity', 'quiet_hours', ...new Set(Object.values(OPTIONS).flat())];

/** The text with the channel as the form has it. */
function withChannel(config, edit, { name, values: v }) {
  const written = (key) => {
    if (!v[key] || (Array.isArray(v[key]) && v[key].length === 0)) return null;
    if (key === 'port') return Number(v[key]);
    return LISTS.includes(key) ? (key === 'command' ? words(v[key]) : list(v[key])) : v[key];
  };
  const others = Object.entries(v).filter(([key, value]) => !KNOWN.includes(key) && value);
  const rows = [['type', v.type], ['severity', v.severity], ...OPTIONS[v.type].map((key) => [key, written(key)]), ['quiet_hours', written('quiet_hours')], ...others];
  const added = section(config.format, 'alert', name, rows);
  const sections = parse(config.text, config.format);
  const at = edit.was === null ? -1 : sections.findIndex((s) => s.type === 'alert' && s.name === edit.was);
  if (at < 0) return replace(config.text, config.format, () => false, added);
  const last = sections[at].lines[sections[at].lines.length - 1];
  const comments = sections[at].lines.slice(0, sections[at].lines.findIndex((l) => !/^\s*#/.test(l)));
  sections[at] = { ...sections[at], lines: [...comments, ...added.trimEnd().split('\n'), ...(last === '' ? [''] : [])] };
  return join(sections);
}

function without(config, name) {
  return join(parse(config.text, config.format).filter((s) => !(s.type === 'alert' && s.name === name)));
}
