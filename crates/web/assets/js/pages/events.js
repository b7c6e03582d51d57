// What happened, newest first, with reasons.
import { html, useEffect, useMemo, useRef, useState } from '../html.js';
import { getJson, query } from '../api.js';
import { useStore } from '../store.js';
import { clock, count, day, dayKey, family } from '../format.js';
import { KINDS, eventTone, eventWords } from '../model.js';
import { Busy, Card, Empty, Failure, Icon, Select, Title, href } from '../ui.js';

const PAGE = 200;
/** Names as the API has them; each stands for itself and what is above. */
const SEVERITIES = [['', 'All'], ['info', 'Info and above'], ['warning', 'Warnings and errors'], ['error', 'Errors']];

export function Events({ query: given }) {
  const status = useStore((s) => s.status);
  const live = useStore((s) => s.events);
  const [filter, setFilter] = useState({ interface: given.get('interface') || '', kind: given.get('kind') || '', severity: given.get('severity') || 'info' });
  const [text, setText] = useState('');
  const { events, more, error, busy, older, retry } = usePages(filter, live);
  const shown = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    return wanted ? events.filter((e) => `${e.text} ${eventWords(e)} ${e.interface || ''} ${e.policy || ''} ${e.code || ''}`.toLowerCase().includes(wanted)) : events;
  }, [events, text]);
  const change = (name) => (value) => setFilter({ ...filter, [name]: value });
  return html`<${Title}>Events<//>
    <${Card} class="filters"><form role="search" aria-label="Filter events" onSubmit=${(e) => e.preventDefault()}>
      <div class="field"><label for="event-text">Search</label><input id="event-text" type="search" placeholder="word in the text" value=${text} onInput=${(e) => setText(e.target.value)} /></div>
      <${Select} label="WAN" value=${filter.interface} onInput=${change('interface')} options=${[['', 'All'], ...status.interfaces.map((i) => [i.name, i.name])]} />
      <${Select} label="Kind" value=${filter.kind} onInput=${change('kind')} options=${[['', 'All'], ...Object.entries(KINDS)]} />
      <${Select} label="Severity" value=${filter.severity} onInput=${change('severity')} options=${SEVERITIES} />
    </form><//>
    <p class="quiet" role="status">${busy && events.length === 0 ? '' : `${count(shown.length)} ${shown.length === 1 ? 'event' : 'events'}${more ? ', and older ones' : ''}`}</p>
    ${error ? html`<${Failure} error=${error} retry=${retry} />` : null}
    ${!busy && !error && shown.length === 0 ? html`<${Card}><${Empty} title="No events">${text || filter.interface || filter.kind ? 'None matches the filter.' : 'Nothing has happened since the daemon keeps them.'}<//><//>` : null}
    <${Timeline} events=${shown} />
    ${more && !error ? html`<${More} older=${older} busy=${busy} />` : null}`;
}

/** Pages of events: the first is followed live, older ones are added as they are asked for. */
function usePages(filter, live) {
  const [state, setState] = useState({ events: [], more: false, busy: true, error: null });
  const [turn, setTurn] = useState(0);
  const gaps = useStore((s) => s.gaps);
  const generation = useRef(0);
  const ask = (before) => getJson(`events?${query({ ...filter, before, limit: PAGE })}`);
  const take = (mine, promise, keep) => promise.then((page) => {
    if (mine !== generation.current) return;
    const got = page.events || [];
    setState((s) => ({ events: keep ? [...s.events, ...got] : got, more: page.next !== null && page.next !== undefined && got[got.length - 1].id > page.oldest, busy: false, error: null }));
  }, (error) => { if (mine === generation.current) setState((s) => ({ ...s, busy: false, error })); });
  useEffect(() => {
    const mine = ++generation.current;
    setState({ events: [], more: false, busy: true, error: null });
    take(mine, ask(undefined), false);
  }, [filter, turn, gaps]);
  const events = useMemo(() => {
    if (state.busy && state.events.length === 0) return state.events;
    const newest = state.events.length ? state.events[0].id : 0;
    const fresh = live.filter((e) => e.id > newest && matches(e, filter));
    return fresh.length ? [...fresh, ...state.events] : state.events;
  }, [live, state.events, state.busy, filter]);
  const older = () => {
    if (state.busy || !state.more) return;
    setState((s) => ({ ...s, busy: true }));
    take(generation.current, ask(state.events[state.events.length - 1].id), true);
  };
  return { ...state, events, older, retry: () => setTurn((n) => n + 1) };
}

const ORDER = ['debug', 'info', 'warning', 'error'];
function matches(e, filter) {
  return (!filter.interface || e.interface === filter.interface) && (!filter.kind || e.kind === filter.kind)
    && (!filter.severity || ORDER.indexOf(e.severity) >= ORDER.indexOf(filter.severity));
}

function Timeline({ events }) {
  const days = useMemo(() => {
    const out = [];
    for (const e of events) {
      const key = dayKey(e.time_ms);
      if (!out.length || out[out.length - 1].key !== key) out.push({ key, title: day(e.time_ms), events: [] });
      out[out.length - 1].events.push(e);
    }
    return out;
  }, [events]);
  return html`${days.map((d) => html`<section class="day" key=${d.key}><h2>${d.title}</h2><ol class="timeline">${d.events.map((e) => html`<${Row} key=${e.id} e=${e} />`)}</ol></section>`)}`;
}

const TONE_ICON = { ok: 'check', warn: 'warn', bad: 'cross', calm: 'info' };

/** Never changes once it is there, so it is drawn once. */
function Row({ e }) {
  const tone = eventTone(e);
  return html`<li class=${`event ${tone}`}><time datetime=${new Date(e.time_ms).toISOString()}>${clock(e.time_ms)}</time>
    <span class=${`mark ${tone}`}><${Icon} name=${TONE_ICON[tone]} size=${13} /></span>
    <div class="what"><p>${eventWords(e)}</p><p class="tags"><span class="tag">${KINDS[e.kind] || e.kind}</span>${e.interface ? html`<a class="tag" href=${href('wan', e.interface)}>${e.interface}${e.family ? ` ${family(e.family)}` : ''}</a>` : null}
      ${e.policy ? html`<span class="tag">policy ${e.policy}</span>` : null}${e.from && e.to ? html`<span class="quiet">${e.from} → ${e.to}</span>` : null}</p></div></li>`;
}

/** Fetches the next page when its end comes into sight; the button is for the keyboard. */
function More({ older, busy }) {
  const ref = useRef(null);
  const latest = useRef(older);
  latest.current = older;
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => { if (entries[0].isIntersecting) latest.current(); }, { rootMargin: '600px' });
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, [busy]);
  return html`<div class="more" ref=${ref}>${busy ? html`<${Busy} />` : html`<button type="button" class="button" onClick=${older}>Older events</button>`}</div>`;
}
