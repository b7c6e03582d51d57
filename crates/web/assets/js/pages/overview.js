// The site at a glance.
import { html } from '../html.js';
import { may } from '../api.js';
import { useStore } from '../store.js';
import { currentRates, lastOf, lastRate, paths } from '../live.js';
import { bits, clock, dayKey, duration, family, ms, percent, plural } from '../format.js';
import { NAMED_MAX, STATES, eventTone, eventWords, headline, interfaceState, mainPolicy, measuredShares, pathFigures, pathState, plannedShares, sinceMs, tellingPath, why } from '../model.js';
import { Card, Empty, Icon, ShareBar, State, Title, colorOf, href } from '../ui.js';
import { Sparkline } from '../spark.js';
import { Picture } from '../picture.js';

/** More WANs than this are not drawn as a picture; their cards and the bar say it. */
const PICTURE_MAX = 8;

export function Overview() {
  const status = useStore((s) => s.status);
  const statusAt = useStore((s) => s.statusAt);
  const session = useStore((s) => s.session);
  useStore((s) => s.tick);
  const now = Date.now();
  const said = headline(status, statusAt, now);
  const enabled = status.interfaces.filter((i) => i.enabled);
  const flow = currentRates();
  const measured = measuredShares(status, flow);
  const planned = plannedShares(status);
  const shares = measured || planned;
  return html`<${Title}>Overview<//>
    <${Hero} said=${said} admin=${may(session, 'admin')} />
    ${enabled.length > 0 ? html`<${Card} class="share" title="Who carries what" aside=${html`<span class="quiet">${measured ? 'share of the traffic now' : 'share of new connections'}</span>`}>
      ${enabled.length <= PICTURE_MAX ? html`<${Picture} status=${status} shares=${shares} flow=${flow} /><div class="narrowshare"><${Bar} status=${status} shares=${shares} /></div>` : html`<${Bar} status=${status} shares=${shares} />`}
      <${Shares} status=${status} planned=${planned} measured=${measured} />
    <//>` : null}
    <${Problems} status=${status} />
    <h2 class="section">WANs</h2>
    <ul class=${`wans${enabled.length > 8 ? ' many' : ''}`}>${status.interfaces.map((iface) => html`<li key=${iface.name}><${WanCard} iface=${iface} status=${status} statusAt=${statusAt} shares=${shares} now=${now} /></li>`)}</ul>
    <${Recent} />
    <p class="foot">mwan ${status.daemon.version}, running for ${duration(status.daemon.uptime_s + (now - statusAt) / 1000)} · last change of the kernel took ${(status.daemon.last_apply_us / 1000).toFixed(1)} ms · ${plural(status.daemon.repairs, 'repair')}</p>`;
}

/** The same without a picture, for many WANs or little room. */
function Bar({ status, shares }) {
  const parts = [...shares].map(([name, share]) => ({ name, share, color: colorOf(status, name) })).sort((a, b) => b.share - a.share);
  const shown = parts.filter((p) => p.share >= 0.5);
  return html`<${ShareBar} parts=${parts} /><ul class="legend">${shown.slice(0, 12).map((p) => html`<li key=${p.name}><span class=${`dot c${p.color}`} aria-hidden="true"></span>${p.name} <b>${percent(p.share)}</b></li>`)}${shown.length > 12 ? html`<li class="quiet">and ${shown.length - 12} more</li>` : null}</ul>`;
}

function Hero({ said, admin }) {
  const icon = { ok: 'check', warn: 'warn', bad: 'cross', calm: 'info' }[said.tone];
  return html`<section class=${`hero ${said.tone}`} aria-label="The site in a sentence"><span class="heromark"><${Icon} name=${icon} size=${30} /></span>
    <div><p class="herotitle">${said.title}</p><p>${said.text}</p>
    ${admin && said.title.startsWith('No WAN') ? html`<a class="button primary" href="#/wizard">Set up your WANs</a>` : null}</div></section>`;
}

/** In words what the picture shows, and what the rules would do with new connections if that differs. */
function Shares({ status, planned, measured }) {
  const policy = mainPolicy(status);
  if (!policy || !measured || planned.size === 0 || planned.size > NAMED_MAX) return null;
  const words = [...planned].map(([name, share]) => (planned.size === 1 ? name : `${name} ${percent(share)}`)).join(', ');
  return html`<p class="quiet under">New connections by policy <a href="#/policies">${policy.name}</a>: ${words}.</p>`;
}

function Problems({ status }) {
  // What is wrong with a path is said by the headline and its card, with an age that does not stand still.
  const ofPath = (text) => status.interfaces.some((i) => i.paths.some((p) => text.startsWith(`${i.name} ${p.family} is `)));
  const shown = (d) => status.diagnostics.some((x) => x.text === d);
  const notes = status.problems.filter((text) => !ofPath(text) && !shown(text));
  const errors = status.diagnostics.filter((d) => d.severity === 'error').length;
  if (notes.length === 0 && errors === 0) return null;
  return html`<${Card} title="Needs attention" class="problems"><ul class="plainlist">
    ${[...new Set(notes)].map((text) => html`<li key=${text}><${State} state="disconnecting" small>${text}<//></li>`)}
    ${errors > 0 ? html`<li><${State} state="disconnecting" small><a href="#/config">The configuration has ${errors} ${errors === 1 ? 'error' : 'errors'}</a><//></li>` : null}</ul><//>`;
}

function WanCard({ iface, status, statusAt, shares, now }) {
  const state = interfaceState(iface);
  const path = tellingPath(iface);
  const share = shares.get(iface.name) || 0;
  const rate = lastRate(iface.name);
  const carrying = iface.paths.some((p) => p.carries);
  return html`<article class=${`wan ${STATES[state].tone}`}><div class="wanhead"><h3><span class=${`dot c${colorOf(status, iface.name)}`} aria-hidden="true"></span><a href=${href('wan', iface.name)}>${iface.name}</a><span class="device">${iface.device}</span></h3><${State} state=${state} /></div>
    ${iface.enabled && path ? html`<p class="why">${iface.paths.length > 1 && iface.paths.some((p) => pathState(iface, p) !== pathState(iface, path)) ? `${family(path.family)}: ` : ''}${why(path)}
      <span class="quiet"> · for ${duration((now - sinceMs(path, statusAt)) / 1000)}</span></p>
    <${Sparkline} iface=${iface} />
    <dl class="figures"><div><dt>Carries</dt><dd>${carrying || share >= 0.5 ? percent(Math.round(share)) : path.usable ? 'standby' : 'nothing'}</dd></div>
      ${iface.paths.slice(0, 1).map((p) => html`<${Figures} key=${p.family} iface=${iface} path=${p} />`)}
      <div><dt>Down / up</dt><dd>${rate ? html`${bits(rate.rx)}<br />${bits(rate.tx)}` : '–'}</dd></div></dl>` : html`<p class="why quiet">Switched off in the configuration.</p>`}</article>`;
}

function Figures({ iface, path }) {
  const sample = lastOf(paths.get(`${iface.name}/${path.family}`));
  const slow = pathFigures(path);
  return html`<div><dt>Latency</dt><dd>${ms(sample ? sample.rtt : slow.rtt)}</dd></div>
    <div><dt>Loss</dt><dd>${percent(sample && sample.loss !== null ? sample.loss : slow.loss)}</dd></div>`;
}

function Recent() {
  const events = useStore((s) => s.events);
  const shown = events.filter((e) => e.kind === 'path' || e.kind === 'switch' || e.severity !== 'info').slice(0, 6);
  const today = dayKey(Date.now());
  return html`<${Card} title="What happened last" aside=${html`<a href="#/events">All events</a>`}>
    ${shown.length === 0 ? html`<${Empty} title="Nothing yet">Every change of a WAN will be here, with its reason.<//>` : html`<ol class="recent">${shown.map((e) => html`<li key=${e.id} class=${eventTone(e)}>
      <time datetime=${new Date(e.time_ms).toISOString()}>${dayKey(e.time_ms) === today ? clock(e.time_ms) : `${dayKey(e.time_ms).slice(5)} ${clock(e.time_ms, false)}`}</time><span class="bullet" aria-hidden="true"></span><span>${eventWords(e)}</span></li>`)}</ol>`}<//>`;
}
