// Parts that every page uses.
import { html, useState, useEffect, useLayoutEffect, useRef, useMemo } from './html.js';
import { STATES } from './model.js';
import { toast, useStore } from './store.js';
import { may } from './api.js';

const PATHS = {
  home: 'M3 11 12 4l9 7M5.5 9.5V20h13V9.5M10 20v-5.5h4V20',
  events: 'M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01',
  policies: 'M4 12h4c4 0 3-6 7-6h4m-3-3 3 3-3 3M8 12c4 0 3 6 7 6h4m-3-3 3 3-3 3',
  flows: 'M3 8h13m-4-4 4 4-4 4M21 16H8m4-4-4 4 4 4',
  reports: 'M5 20V10m7 10V4m7 16v-7',
  why: 'M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4m0 3.5v.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18',
  history: 'M4 12a8 8 0 1 0 2.5-5.8L4 8.5M4 4v4.5h4.5M12 8v4.5l3 2',
  config: 'M4 7h10m4 0h2M4 17h2m4 0h10M16 5v4M8 15v4',
  alerts: 'M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15zM10 21h4',
  wizard: 'm5 19 9-9m3-7v4m-2-2h4m1 6v3m-1.5-1.5h3M9 4v2M8 5h2',
  menu: 'M4 7h16M4 12h16M4 17h16',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.5 1.5m11 11L19 19M5 19l1.5-1.5m11-11L19 5',
  moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5',
  logout: 'M14 4h5v16h-5M3 12h11m-4-4 4 4-4 4',
  close: 'M6 6l12 12M18 6 6 18',
  next: 'm9 5 7 7-7 7',
  back: 'm15 5-7 7 7 7',
  check: 'm6 12.5 4 4 8-9',
  cross: 'm7 7 10 10M17 7 7 17',
  warn: 'M12 6v7m0 4v.01',
  up: 'M12 18V7m-5 5 5-5 5 5',
  pause: 'M9 7v10m6-10v10',
  drain: 'M12 6v11m-5-5 5 5 5-5',
  half: 'M7 12h10',
  dash: 'M7 12h10',
  info: 'M12 11v6m0-10v.01',
  send: 'm4 12 16-8-6 16-3-7z',
  plus: 'M12 5v14M5 12h14',
};

/** A drawing; for the eye only, so whatever it means is said in words beside it. */
export const Icon = ({ name, size = 20 }) => html`<svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none"
  stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${PATHS[name] || ''} /></svg>`;

/** State as shape, colour and word. */
export function State({ state, small, children }) {
  const s = STATES[state] || STATES.unknown;
  return html`<span class=${`state ${s.tone}${small ? ' small' : ''}`}><span class="mark"><${Icon} name=${s.icon} size=${small ? 12 : 14} /></span>${children || s.word}</span>`;
}

/** A page's heading: gets the focus when the page is entered, so that a screen reader begins there. */
export function Title({ children, actions, sub }) {
  const ref = useRef(null);
  // With the page, not after it: who has pressed Tab already must not be taken back.
  useLayoutEffect(() => {
    document.title = `${ref.current.textContent} – mwan`;
    if (document.body.dataset.entered) ref.current.focus({ preventScroll: true });
    document.body.dataset.entered = '1';
    window.scrollTo(0, 0);
  }, []);
  return html`<header class="title"><div><h1 ref=${ref} tabindex="-1">${children}</h1>${sub ? html`<p class="sub">${sub}</p>` : null}</div>
    ${actions ? html`<div class="actions">${actions}</div>` : null}</header>`;
}

export const Card = ({ title, aside, children, class: extra = '', level = 2 }) => html`<section class=${`card ${extra}`}>
  ${title ? html`<div class="cardhead">${level === 2 ? html`<h2>${title}</h2>` : html`<h3>${title}</h3>`}${aside || null}</div>` : null}${children}</section>`;

/** A failure with what to do about it. */
export const Failure = ({ error, retry }) => html`<div class="note bad" role="alert"><${Icon} name="warn" />
  <div><strong>${error.message}</strong>${error.hint ? html`<p>${error.hint}</p>` : null}
  ${retry ? html`<button class="button small" onClick=${retry}>Try again</button>` : null}</div></div>`;

export const Note = ({ tone = 'calm', children }) => html`<div class=${`note ${tone}`}><${Icon} name=${tone === 'ok' ? 'check' : tone === 'calm' ? 'info' : 'warn'} /><div>${children}</div></div>`;

export const Empty = ({ title, children }) => html`<div class="empty"><strong>${title}</strong><p>${children}</p></div>`;

export const Busy = ({ text = 'Loading…' }) => html`<p class="busy" role="status"><span class="spinner" aria-hidden="true"></span>${text}</p>`;

/** A button that does something at the router: while that lasts it says so and cannot be pressed again. */
export function Action({ run, children, class: extra = '', done, role, label, disabled }) {
  const [busy, setBusy] = useState(false);
  const session = useStore((s) => s.session);
  const alive = useRef(true);
  useEffect(() => () => { alive.current = false; }, []);
  if (role && !may(session, role)) return null;
  const press = async () => {
    setBusy(true);
    try {
      await run();
      if (done) toast('ok', done);
    } catch (error) {
      toast('error', error.message, error.hint);
    } finally {
      if (alive.current) setBusy(false);
    }
  };
  return html`<button type="button" class=${`button ${extra}`} onClick=${press} disabled=${busy || disabled} aria-busy=${busy} aria-label=${label}>
    ${busy ? html`<span class="spinner" aria-hidden="true"></span>` : null}${children}</button>`;
}

/** A modal dialog: the browser's own, which keeps the focus inside and closes by Escape, but not while `busy`: what is under way ends in it. */
export function Dialog({ title, onClose, children, footer, wide, busy }) {
  const ref = useRef(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    const dialog = ref.current;
    dialog.showModal();
    // While it is open nothing behind it can have the focus.
    return () => { dialog.close(); if (before && before.isConnected) before.focus(); };
  }, []);
  const cancel = (e) => { e.preventDefault(); if (!busy) onClose(); };
  // A second Escape closes it without asking.
  const closed = () => { const dialog = ref.current; if (!dialog || dialog.open) return; if (busy) dialog.showModal(); else onClose(); };
  return html`<dialog ref=${ref} class=${wide ? 'wide' : ''} aria-labelledby="dialog-title" onCancel=${cancel} onClose=${closed}>
    <div class="dialoghead"><h2 id="dialog-title">${title}</h2><button type="button" class="iconbutton" aria-label="Close" disabled=${!!busy} onClick=${onClose}><${Icon} name="close" /></button></div>
    <div class="dialogbody">${children}</div>${footer ? html`<div class="dialogfoot">${footer}</div>` : null}</dialog>`;
}

/** Asks before something is done: `{title, text, confirm, danger, run}`. */
export function Confirm({ ask, onClose }) {
  return html`<${Dialog} title=${ask.title} onClose=${onClose} footer=${html`
    <button type="button" class="button" onClick=${onClose}>Cancel</button>
    <${Action} class=${ask.danger ? 'danger' : 'primary'} done=${ask.done} run=${async () => { try { await ask.run(); } finally { onClose(); } }}>${ask.confirm}<//>`}><p>${ask.text}</p><//>`;
}

let fieldId = 0;
/** A label, its control, what it is for, and what is wrong with its value. `control` gets the attributes that tie them. */
export function Field({ label, hint, error, children, render }) {
  const id = useMemo(() => `field-${++fieldId}`, []);
  const described = [hint ? `${id}-hint` : '', error ? `${id}-error` : ''].filter(Boolean).join(' ') || undefined;
  return html`<div class=${`field${error ? ' wrong' : ''}`}><label for=${id}>${label}</label>
    ${render({ id, 'aria-describedby': described, 'aria-invalid': error ? 'true' : undefined })}
    ${hint ? html`<p class="hint" id=${`${id}-hint`}>${hint}</p>` : null}
    ${error ? html`<p class="error" id=${`${id}-error`} role="alert">${error}</p>` : null}${children}</div>`;
}

export const Input = ({ label, hint, error, value, onInput, ...more }) => html`<${Field} label=${label} hint=${hint} error=${error}
  render=${(a) => html`<input ...${a} ...${more} value=${value} onInput=${(e) => onInput(e.target.value)} />`} />`;

export const Select = ({ label, hint, error, value, onInput, options, ...more }) => html`<${Field} label=${label} hint=${hint} error=${error}
  render=${(a) => html`<select ...${a} ...${more} value=${value} onChange=${(e) => onInput(e.target.value)}>
    ${options.map(([v, text]) => html`<option value=${v} selected=${v === value}>${text}</option>`)}</select>`} />`;

/** Choices of which one is on, as a row of buttons. */
export const Segments = ({ label, value, options, onInput }) => html`<div class="segments" role="group" aria-label=${label}>
  ${options.map(([v, text]) => html`<button type="button" aria-pressed=${v === value} onClick=${() => onInput(v)}>${text}</button>`)}</div>`;

/** A table that becomes cards on a narrow screen; roles are said, because `display` takes them away there.
 *  `columns`: [title, cell(row), class?]. */
export function Table({ label, columns, rows, keyOf, empty }) {
  if (rows.length === 0 && empty) return empty;
  return html`<div class="tablewrap"><table role="table" aria-label=${label}><thead role="rowgroup"><tr role="row">
    ${columns.map(([title, , cls]) => html`<th role="columnheader" scope="col" class=${cls || ''}>${title}</th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map((row, i) => html`<tr role="row" key=${keyOf ? keyOf(row) : i}>
      ${columns.map(([title, cell, cls]) => html`<td role="cell" class=${cls || ''} data-label=${title}><span>${cell(row)}</span></td>`)}</tr>`)}</tbody></table></div>`;
}

/** A bar of parts: [{name, share (percent), color}]. What it shows is also said as text. */
export function ShareBar({ parts, label }) {
  return html`<div class="sharebar" role="img" aria-label=${label || parts.map((p) => `${p.name} ${Math.round(p.share)} %`).join(', ')}>
    ${parts.filter((p) => p.share > 0).map((p) => html`<span key=${p.name} class=${`part c${p.color}`} style=${{ width: `${p.share}%` }}></span>`)}</div>`;
}

/** What is asked of the router once, and again on `retry`; {data, error, retry, busy}. */
export function useLoad(load, deps) {
  const [state, setState] = useState({ data: null, error: null, busy: true });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let current = true;
    setState((s) => ({ ...s, busy: true, error: null }));
    load().then(
      (data) => current && setState({ data, error: null, busy: false }),
      (error) => current && setState((s) => ({ data: s.data, error, busy: false })),
    );
    return () => { current = false; };
  }, [...deps, turn]);
  return { ...state, retry: () => setTurn((n) => n + 1) };
}

/** Calls `run` every `ms` while the page is visible. */
export function useEvery(ms, run, deps = []) {
  useEffect(() => {
    const timer = setInterval(() => { if (!document.hidden) run(); }, ms);
    return () => clearInterval(timer);
  }, [ms, ...deps]);
}

/** Colour number of an interface: its place in the configuration, so that it is the same on every page. */
export function colorOf(status, name) {
  const i = status ? status.interfaces.findIndex((x) => x.name === name) : -1;
  return i < 0 ? 'x' : i % 8;
}

export const href = (...parts) => `#/${parts.map(encodeURIComponent).join('/')}`;
