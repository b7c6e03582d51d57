// The editor: the whole text, checked while it is written, with findings at their lines.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from '../html.js';
import { plural } from '../format.js';
import { Apply, Findings, loadConfig, validate } from '../apply.js';
import { Busy, Card, Failure, State, Title } from '../ui.js';

/** The check follows the last keystroke by so much, ms. */
const PAUSE_MS = 500;
/** What is being written outlives an expired login, and a reload of the page. */
const DRAFT = 'mwan.draft';

function readDraft() {
  try { return JSON.parse(sessionStorage.getItem(DRAFT)); } catch { return null; }
}

function keepDraft(draft) {
  try { if (draft) sessionStorage.setItem(DRAFT, JSON.stringify(draft)); else sessionStorage.removeItem(DRAFT); } catch { /* not kept then */ }
}

export function Config() {
  const [config, setConfig] = useState(null);
  const [text, setText] = useState('');
  const [error, setError] = useState(null);
  const [asking, setAsking] = useState(false);
  const take = (c) => { setConfig(c); setText(c.text); keepDraft(null); };
  const load = () => {
    setError(null);
    loadConfig().then((c) => {
      const draft = readDraft();
      setConfig(draft ? { ...c, text: draft.base, revision: draft.revision } : c);
      setText(draft ? draft.text : c.text);
    }, setError);
  };
  useEffect(load, []);
  const changed = config && text !== config.text;
  useEffect(() => { if (config) keepDraft(changed ? { text, base: config.text, revision: config.revision } : null); }, [text, config]);
  const check = useCheck(text, config);
  const errors = check.found.filter((d) => d.severity === 'error').length;
  const actions = config ? html`<button type="button" class="button" disabled=${!changed} onClick=${() => setText(config.text)}>Discard</button>
    <button type="button" class="button primary" disabled=${!changed} onClick=${() => setAsking(true)}>Review and apply</button>` : null;
  return html`<${Title} actions=${actions} sub=${config ? html`<code>${config.file}</code>` : null}>Configuration<//>
    ${error ? html`<${Failure} error=${error} retry=${load} />` : null}
    ${!config && !error ? html`<${Busy} />` : null}
    ${config ? html`<${Editor} text=${text} onInput=${setText} found=${check.found} summary=${html`<${Summary} check=${check} errors=${errors} changed=${changed} />`} />` : null}
    ${asking ? html`<${Apply} before=${config} text=${text} onClose=${() => setAsking(false)}
      onDone=${(revision) => { setAsking(false); take({ ...config, text, revision }); }} onTheirs=${(theirs) => { setAsking(false); take(theirs); }} />` : null}`;
}

/** Asks the daemon what is wrong with the text; the latest text wins. */
function useCheck(text, config) {
  const [state, setState] = useState({ found: [], busy: false, error: null });
  useEffect(() => {
    if (!config) return undefined;
    let current = true;
    setState((s) => ({ ...s, busy: true }));
    const timer = setTimeout(() => {
      validate(text, config.file).then(
        (found) => current && setState({ found, busy: false, error: null }),
        (error) => current && setState((s) => ({ ...s, busy: false, error })),
      );
    }, PAUSE_MS);
    return () => { current = false; clearTimeout(timer); };
  }, [text, config && config.file]);
  return state;
}

function Summary({ check, errors, changed }) {
  if (check.error) return html`<${State} small state="disconnecting">Not checked: ${check.error.message}<//>`;
  const others = check.found.length - errors;
  const words = [errors ? plural(errors, 'error') : '', others ? plural(others, 'remark') : ''].filter(Boolean).join(', ');
  return html`<${State} small state=${errors ? 'offline' : others ? 'disconnecting' : 'online'}>${words || 'No findings'}<//>
    <span class="quiet">${check.busy ? 'checking…' : changed ? 'changed, not applied' : 'in force'}</span>`;
}

const LINE_EM = 1.5;

function Editor({ text, onInput, found, summary }) {
  const area = useRef(null);
  const gutter = useRef(null);
  const lines = useMemo(() => text.split('\n').length, [text]);
  const worst = useMemo(() => {
    const out = new Map();
    for (const d of found) if (d.line && (!out.has(d.line) || d.severity === 'error')) out.set(d.line, d);
    return out;
  }, [found]);
  const scroll = () => { gutter.current.scrollTop = area.current.scrollTop; };
  useLayoutEffect(scroll, [lines]);
  const go = (line) => {
    const at = text.split('\n').slice(0, line - 1).reduce((n, l) => n + l.length + 1, 0);
    area.current.focus();
    area.current.setSelectionRange(at, at + (text.split('\n')[line - 1] || '').length);
    area.current.scrollTop = Math.max(0, (line - 6) * LINE_EM * parseFloat(getComputedStyle(area.current).fontSize));
    scroll();
  };
  return html`<${Card} class="editorcard"><div class="editor"><div class="gutter" ref=${gutter} aria-hidden="true">${Array.from({ length: lines }, (_, i) => {
    const d = worst.get(i + 1);
    return html`<div key=${i} class=${d ? d.severity : ''} title=${d ? d.message : undefined} onClick=${() => go(i + 1)}>${i + 1}</div>`;
  })}</div>
    <textarea ref=${area} aria-label="Text of the configuration" aria-describedby="config-findings" aria-invalid=${found.some((d) => d.severity === 'error') ? 'true' : undefined}
      spellcheck="false" autocomplete="off" autocapitalize="none" wrap="off" value=${text} onInput=${(e) => onInput(e.target.value)} onScroll=${scroll}></textarea></div>
    <div class="editorfoot" role="status" id="config-findings">${summary}</div>
    ${found.length ? html`<${Findings} found=${found} onLine=${go} />` : null}<//>`;
}
