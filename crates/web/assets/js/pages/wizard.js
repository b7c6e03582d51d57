// From nothing to failover or balancing in four clicks: the WANs are found, the rest has good defaults.
import { html, useEffect, useState } from '../html.js';
import { getJson } from '../api.js';
import { useStore } from '../store.js';
import { family, list, percent } from '../format.js';
import { Apply, loadConfig } from '../apply.js';
import { replace, section } from '../sections.js';
import { Busy, Card, Failure, Icon, Note, State, Title } from '../ui.js';

/** Answer pings, belong to different operators, and have answered for a decade. */
const TARGETS = { ipv4: ['1.1.1.1', '8.8.8.8', '9.9.9.9'], ipv6: ['2606:4700:4700::1111', '2001:4860:4860::8888', '2620:fe::fe'] };
const STEPS = ['Your WANs', 'What they are for', 'Apply'];

/** What the router has: every device by which a default route leaves, and the configuration as it is. */
async function look() {
  const [found, config] = await Promise.all([getJson('wizard'), loadConfig()]);
  return { candidates: found.candidates, config };
}

export function Wizard() {
  const [data, setData] = useState(null);
  const [error, setError] = useState(null);
  const [step, setStep] = useState(0);
  const [wans, setWans] = useState([]);
  const [mode, setMode] = useState('failover');
  const [text, setText] = useState(null);
  const load = () => {
    setError(null);
    look().then((d) => { setData(d); setWans(d.candidates.map((c) => asWan(c, d.candidates))); }, setError);
  };
  useEffect(load, []);
  const chosen = wans.filter((w) => w.on);
  const wrong = namesWrong(chosen);
  return html`<${Title} sub="Finds your WANs and writes a configuration. Nothing changes before you have seen it.">Set-up<//>
    <ol class="steps" aria-label="Steps">${STEPS.map((s, i) => html`<li key=${s} aria-current=${i === step ? 'step' : undefined} class=${i < step ? 'done' : ''}><span class="stepno">${i < step ? html`<${Icon} name="check" size=${14} />` : i + 1}</span>${s}</li>`)}</ol>
    ${error ? html`<${Failure} error=${error} retry=${load} />` : null}
    ${!data && !error ? html`<${Busy} text="Looking for default routes…" />` : null}
    ${data && step === 0 ? html`<${Choose} wans=${wans} setWans=${setWans} wrong=${wrong} retry=${load} next=${() => setStep(1)} />` : null}
    ${data && step === 1 ? html`<${Mode} wans=${wans} setWans=${setWans} chosen=${chosen} mode=${mode} setMode=${setMode} config=${data.config} back=${() => setStep(0)}
      next=${() => setText(write(data.config, chosen, mode))} />` : null}
    ${data && step === 2 ? html`<${Done} chosen=${chosen} mode=${mode} />` : null}
    ${text !== null ? html`<${Apply} before=${data.config} text=${text} onClose=${() => setText(null)} onDone=${() => { setText(null); setStep(2); }}
      onTheirs=${() => { setText(null); load(); }} />` : null}`;
}

/** Named as it is already, else as the network manager calls it, else like its device as far as configurations allow. A
 *  default route of another table than the main one may be a tunnel's: offered, not chosen. */
const asWan = (c, all) => ({
  ...c, on: c.main || !all.some((x) => x.main), weight: 1, name: c.interface || c.network || c.device.replace(/[^A-Za-z0-9_]/g, '_'),
});

function namesWrong(chosen) {
  const out = new Map();
  for (const w of chosen) {
    if (!/^[A-Za-z0-9_]{1,64}$/.test(w.name)) out.set(w.device, 'Letters, digits and _ only.');
    else if (chosen.filter((x) => x.name === w.name).length > 1) out.set(w.device, 'Two WANs have this name.');
  }
  return out;
}

function Choose({ wans, setWans, wrong, retry, next }) {
  const change = (device, patch) => setWans(wans.map((w) => (w.device === device ? { ...w, ...patch } : w)));
  const n = wans.filter((w) => w.on).length;
  if (wans.length === 0) {
    return html`<${Card}><${Note} tone="warn"><strong>No default route was found.</strong><p>A WAN is found when its device is up and has a default route: by DHCP, PPP or a static gateway. Connect one and look again.</p>
      <button type="button" class="button" onClick=${retry}>Look again</button><//><//>`;
  }
  return html`<${Card} class="narrow" title=${wans.length === 1 ? 'One WAN was found' : `${wans.length} WANs were found`}><ul class="found">${wans.map((w) => html`<li key=${w.device} class=${w.on ? '' : 'off'}>
      <label class="check"><input type="checkbox" checked=${w.on} onChange=${(e) => change(w.device, { on: e.target.checked })} /><span><b>${w.device}</b><span class="quiet">${w.gateways.length ? ` by ${list(w.gateways)}` : ' point to point'} · ${list(w.families.map(family))}</span></span></label>
      <div class=${`field inline${wrong.get(w.device) ? ' wrong' : ''}`}><label for=${`name-${w.device}`}>Name</label><input id=${`name-${w.device}`} value=${w.name} disabled=${!w.on} maxlength="64" spellcheck="false" autocapitalize="none"
        aria-invalid=${wrong.get(w.device) ? 'true' : undefined} aria-describedby=${wrong.get(w.device) ? `wrong-${w.device}` : undefined} onInput=${(e) => change(w.device, { name: e.target.value })} />
        ${wrong.get(w.device) ? html`<p class="error" id=${`wrong-${w.device}`} role="alert">${wrong.get(w.device)}</p>` : null}</div></li>`)}</ul>
    ${n === 1 ? html`<${Note}>With one WAN there is nothing to fail over to, but its health is watched and its outages are kept.<//>` : null}
    <div class="wizfoot"><span></span><button type="button" class="button primary" disabled=${n === 0 || wrong.size > 0} onClick=${next}>Continue</button></div><//>`;
}

function Mode({ wans, setWans, chosen, mode, setMode, config, back, next }) {
  const move = (i, by) => {
    const order = [...chosen];
    const [w] = order.splice(i, 1);
    order.splice(i + by, 0, w);
    setWans([...order, ...wans.filter((x) => !x.on)]);
  };
  const weigh = (device, weight) => setWans(wans.map((w) => (w.device === device ? { ...w, weight } : w)));
  const sum = chosen.reduce((n, w) => n + w.weight, 0);
  const option = (value, title, text) => html`<label class=${`choice${mode === value ? ' on' : ''}`}><input type="radio" name="mode" value=${value} checked=${mode === value} onChange=${() => setMode(value)} /><span><b>${title}</b><span class="quiet">${text}</span></span></label>`;
  return html`<${Card} class="narrow" title="What are they for?"><fieldset class="choices"><legend class="hidden">Mode</legend>
      ${option('failover', 'Failover', 'The first one carries everything. The next takes over when it fails, and gives back when it works again.')}
      ${option('balance', 'Load balancing', 'New connections are shared. One that fails is left out until it works again.')}</fieldset>
    <h3>${mode === 'failover' ? 'In which order' : 'With which shares'}</h3>
    <ol class="order">${chosen.map((w, i) => html`<li key=${w.device}><span class="rank">${mode === 'failover' ? i + 1 : percent((w.weight * 100) / sum)}</span><span class="ordername"><b>${w.name}</b> <span class="quiet">${w.device}</span></span>
      ${mode === 'failover' ? html`<span class="updown"><button type="button" class="iconbutton" disabled=${i === 0} aria-label=${`${w.name} earlier`} onClick=${() => move(i, -1)}><${Icon} name="up" /></button>
        <button type="button" class="iconbutton" disabled=${i === chosen.length - 1} aria-label=${`${w.name} later`} onClick=${() => move(i, 1)}><${Icon} name="drain" /></button></span>`
      : html`<label class="weight"><span class="quiet">weight</span><input type="number" min="1" max="100" value=${w.weight} aria-label=${`Weight of ${w.name}`} onInput=${(e) => weigh(w.device, Math.min(100, Math.max(1, Number(e.target.value) || 1)))} /></label>`}</li>`)}</ol>
    ${/^\s*(config\s+(interface|policy|rule|member|route|strategy)\b|\[\[?(wan|policy|rule)\b)/m.test(config.text) ? html`<${Note} tone="warn">The configuration has WANs, policies and rules already. They are replaced by these; everything else in the file stays. You see every line before it is applied.<//>` : null}
    ${/^\s*config\s+['"]?cloud\b/m.test(config.text) ? html`<${Note} tone="warn">This file follows a cloud's document: what the set-up writes lasts until the cloud sends another one. Its mode can be switched under <a href="#/policies">Policies and rules</a>.<//>` : null}
    <div class="wizfoot"><button type="button" class="button" onClick=${back}>Back</button><button type="button" class="button primary" onClick=${next}>Review</button></div><//>`;
}

function Done({ chosen, mode }) {
  const status = useStore((s) => s.status);
  const names = chosen.map((w) => w.name);
  const seen = status.interfaces.filter((i) => names.includes(i.name));
  return html`<${Card} class="narrow"><div class="finished"><span class="heromark ok"><${Icon} name="check" size=${30} /></span><h2>Done.</h2>
    <p>${mode === 'failover' ? `${names[0]} carries${names.length > 1 ? `; ${list(names.slice(1))} ${names.length > 2 ? 'stand' : 'stands'} by` : ''}.` : `${list(names)} share new connections.`}</p>
    <p>${seen.map((i) => html`<span key=${i.name} class="chip"><${State} small state=${i.paths.some((p) => p.usable) ? 'online' : 'connecting'}>${i.name}<//></span>`)}</p>
    <p><a class="button primary" href="#/">See it work</a> <a class="button" href="#/alerts">Be told of failures</a></p></div><//>`;
}

const REPLACED = { uci: ['interface', 'member', 'route', 'policy', 'strategy', 'rule'], toml: ['wan', 'policy', 'rule'] };

/** The new text: WANs, one policy, and rules that send everything by it; HTTPS keeps its WAN when connections are shared. */
export function write(config, chosen, mode) {
  const { format } = config;
  const added = format === 'toml' ? toml(chosen, mode) : uci(chosen, mode);
  return replace(config.text, format, (s) => REPLACED[format].includes(s.type), added.join('\n'));
}

const targets = (w) => w.families.flatMap((f) => TARGETS[f]);
/** A rule for a family that no WAN has would refuse what leaves by other ways. */
const families = (chosen) => ['ipv4', 'ipv6'].filter((f) => chosen.some((w) => w.families.includes(f)));
const ruleFamily = (chosen) => (families(chosen).length === 2 ? null : families(chosen)[0]);
const POLICY = { failover: 'failover', balance: 'balanced' };

function toml(chosen, mode) {
  const policy = POLICY[mode];
  return [
    ...chosen.map((w) => section('toml', 'wan', w.name, [['device', w.network === w.name ? null : w.device], ['targets', targets(w)]])),
    section('toml', 'policy', policy, mode === 'failover' ? [['prefer', chosen.map((w) => w.name)]] : [['balance', Object.fromEntries(chosen.map((w) => [w.name, w.weight]))]]),
    ...(mode === 'balance' ? [section('toml', 'rule', '', [['name', 'https'], ['family', ruleFamily(chosen)], ['proto', 'tcp'], ['dport', '443'], ['sticky', true], ['policy', policy]])] : []),
    section('toml', 'rule', '', [['name', 'everything'], ['family', ruleFamily(chosen)], ['policy', policy]]),
  ];
}

/** Seen within 8 s (5 rounds of a second, answers may take 2), trusted again after 10 s of proof. */
const TRACKING = [['reliability', 1], ['count', 1], ['timeout', 1], ['interval', 1], ['down', 5], ['up', 10]];

function uci(chosen, mode) {
  const policy = POLICY[mode];
  const metric = (i) => (mode === 'failover' ? i + 1 : 1);
  const weight = (w) => (mode === 'failover' ? 1 : w.weight);
  const member = (w, i) => `${w.name}_m${metric(i)}_w${weight(w)}`;
  // A network manager knows the device of its interface, and finds it again when it changes.
  return [
    ...chosen.map((w) => section('uci', 'interface', w.name, [['enabled', 1], ['device', w.network === w.name || w.name === w.device ? null : w.device], ['family', w.families], ['track_ip', targets(w)], ...TRACKING])),
    ...chosen.map((w, i) => section('uci', 'member', member(w, i), [['interface', w.name], ['metric', metric(i)], ['weight', weight(w)]])),
    section('uci', 'policy', policy, [['use_member', chosen.map(member)], ['last_resort', 'unreachable']]),
    ...(mode === 'balance' ? [section('uci', 'rule', 'https', [['family', ruleFamily(chosen)], ['proto', 'tcp'], ['dest_port', '443'], ['sticky', 1], ['use_policy', policy]])] : []),
    section('uci', 'rule', 'everything', [['family', ruleFamily(chosen)], ['use_policy', policy]]),
  ];
}
