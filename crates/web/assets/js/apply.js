// How a configuration gets in force, the same for the editor, the set-up and the notifications: what exactly changes is
// shown, then confirmed; and nobody's work is overwritten unseen.
import { html, useEffect, useState } from './html.js';
import { ApiError, call, post } from './api.js';
import { toast, useStore } from './store.js';
import { answered, begin, forget, pending, unanswered } from './waiting.js';
import { refresh } from './live.js';
import { plural } from './format.js';
import { diagnostic } from './model.js';
import { diff } from './diff.js';
import { Busy, Dialog, Failure, Icon, Note, Select } from './ui.js';

/** The configuration as it is at the router: {file, format, text, revision}. */
export async function loadConfig() {
  const { body, etag } = await call('GET', 'config');
  return { ...body, revision: body.revision || (etag || '').replace(/^W\/|"/g, '') };
}

/** What is wrong with a text, with line numbers. */
export async function validate(text, file) {
  const { diagnostics, refusal } = await post('config/validate', { file, text });
  const found = diagnostics.map(diagnostic);
  // A text may not come into force for another reason than a finding: the daemon says which.
  if (refusal && !diagnostics.some((d) => d.text.startsWith(refusal))) found.unshift({ severity: 'error', code: 'refused', line: 0, message: refusal, hint: '' });
  return found;
}

/** How long the settings wait to be confirmed, s: who has cut himself off says nothing, and they go. */
const TIMES = [[60, 'Those before come back after a minute'], [180, 'Those before come back after 3 minutes'], [600, 'Those before come back after 10 minutes'], [0, 'They stay']];
const TIME = 'mwan.confirm';

function chosenTime() {
  try { const s = Number(localStorage.getItem(TIME) ?? 60); return TIMES.some(([t]) => t === s) ? s : 60; } catch { return 60; }
}

/** Puts a text, or the configuration of a number, in force if nobody changed the file since `revision`. Resolves to
 *  {revision, waiting, confirm_s}. */
async function put(text, config, rollback, confirm) {
  const options = { headers: { 'If-Match': `"${config.revision}"` } };
  const answer = rollback ? call('POST', 'config/rollback', confirm ? { number: rollback, confirm } : { number: rollback }, options)
    : call('PUT', confirm ? `config?confirm=${confirm}` : 'config', { text }, options);
  return (await answer).body;
}

/** `before`: what is in force (loadConfig); `text`: what is wanted, if it was in force already as number `rollback`. `onDone(revision)`, `onTheirs(config)` when the file
 *  was changed by somebody else meanwhile and the user wants to see that. */
export function Apply({ before, text, rollback, onClose, onDone, onTheirs }) {
  const [base, setBase] = useState(before);
  const [plan, setPlan] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [theirs, setTheirs] = useState(null);
  const [confirm, setConfirm] = useState(chosenTime);
  const waits = useStore((s) => s.waiting);
  const choose = (value) => {
    setConfirm(Number(value));
    try { localStorage.setItem(TIME, value); } catch { /* not kept then */ }
  };
  useEffect(() => { post('config/plan', { file: base.file, text }).then(setPlan, setError); }, []);
  const found = plan ? plan.diagnostics.map(diagnostic) : [];
  const apply = async () => {
    setBusy(true);
    setError(null);
    try {
      if (confirm) await begin(confirm);
      const { revision, waiting, confirm_s: asked } = await put(text, base, rollback, confirm);
      if (waiting) toast('error', 'The configuration is accepted, but not yet in the kernel.', `${waiting}. It is tried again by itself.`);
      else toast('ok', 'The configuration is in force.');
      if (asked) answered();
      else forget();
      refresh();
      onDone(revision);
    } catch (failure) {
      setBusy(false);
      // Maybe it is these settings that keep the answer from coming.
      if (failure.status === 0 && confirm && pending()) { unanswered(); onClose(); return; }
      forget();
      if (failure.status === 412) loadConfig().then(setTheirs, setError);
      else if (failure.status === 422) setError(refused(failure));
      else setError(failure);
    }
  };
  if (theirs) {
    return html`<${Dialog} wide title="Changed by somebody else" onClose=${onClose} footer=${html`
      <button type="button" class="button" onClick=${() => onTheirs(theirs)}>Drop mine and take theirs</button>
      <button type="button" class="button primary" onClick=${() => { setBase(theirs); setTheirs(null); }}>Compare mine with theirs</button>`}>
      <${Note} tone="warn">The configuration was changed after you opened it, so nothing has been applied. This is what was changed:<//>
      <${Diff} before=${base.text} after=${theirs.text} /><//>`;
  }
  const same = base.text.replace(/\n+$/, '') === text.replace(/\n+$/, '');
  return html`<${Dialog} wide title="Apply this change?" busy=${busy} onClose=${onClose} footer=${html`
      <button type="button" class="button" disabled=${busy} onClick=${onClose}>Back</button>
      <button type="button" class="button primary" disabled=${busy || !plan || same || !!waits} aria-busy=${busy} onClick=${apply}>${busy ? html`<span class="spinner" aria-hidden="true"></span>` : null}Apply</button>`}>
    ${error ? html`<${Failure} error=${error} />` : null}
    ${waits ? html`<${Note} tone="warn">Other settings wait to be kept. Go back, and say at the top of the page whether they stay.<//>` : null}
    ${found.length ? html`<${Findings} found=${found} />` : null}
    <h3>In the file</h3>
    ${same ? html`<p class="quiet">Nothing: the text is what is in force.</p>` : html`<${Diff} before=${base.text} after=${text} />`}
    <h3>In the kernel</h3>
    ${plan ? html`<${Changes} plan=${plan} />` : error ? null : html`<${Busy} text="Asking what it would change…" />`}
    <h3>Afterwards</h3>
    <${Select} label="If nobody confirms the settings" value=${confirm} onInput=${choose} options=${TIMES} /><//>`;
}

function refused(failure) {
  const found = ((failure.body.error && failure.body.error.diagnostics) || []).map(diagnostic);
  const first = found.find((d) => d.severity === 'error');
  return new ApiError(422, { error: { message: failure.message, hint: first ? `${first.line ? `Line ${first.line}: ` : ''}${first.message}${first.hint ? ` – ${first.hint}` : ''}` : failure.hint } });
}

/** How many changes of the kernel are listed; a first configuration has hundreds. */
const CHANGES_MAX = 400;

function Changes({ plan }) {
  if (plan.changes.length === 0) return html`<p class="quiet">Nothing: connections and routes stay as they are.</p>`;
  return html`<details open=${plan.changes.length <= 12}><summary>${plural(plan.changes.length, 'change')}; what is not listed is not touched</summary>
    <pre class="code" tabindex="0" aria-label="Changes of the kernel">${plan.changes.slice(0, CHANGES_MAX).join('\n')}${plan.changes.length > CHANGES_MAX ? `\n… and ${plan.changes.length - CHANGES_MAX} more` : ''}</pre></details>`;
}

export function Diff({ before, after }) {
  const lines = diff(before, after);
  if (lines.every((l) => l.op === ' ' || l.op === '…')) return html`<p class="quiet">The same.</p>`;
  const words = { '-': 'removed', '+': 'added' };
  return html`<div class="diff" tabindex="0" role="region" aria-label="Changed lines">${lines.map((l, i) => (l.op === '…' ? html`<div key=${i} class="fold">${plural(l.count, 'line')} unchanged</div>`
    : html`<div key=${i} class=${l.op === '-' ? 'del' : l.op === '+' ? 'ins' : 'same'}><span class="no" aria-hidden="true">${l.b ?? l.a}</span><span class="op" aria-label=${words[l.op]}>${l.op}</span><span>${l.text || ' '}</span></div>`))}</div>`;
}

/** Findings of the check; with `onLine` their lines can be gone to. */
export function Findings({ found, onLine }) {
  const tone = { error: 'bad', warning: 'warn', note: 'calm' };
  return html`<ul class="findings">${found.map((d, i) => html`<li key=${i} class=${tone[d.severity] || 'calm'}><${Icon} name=${d.severity === 'note' ? 'info' : d.severity === 'error' ? 'cross' : 'warn'} size=${16} />
    <div><p><b>${d.severity}</b> ${onLine && d.line ? html`<button type="button" class="link" onClick=${() => onLine(d.line)}>line ${d.line}</button>` : d.line ? `line ${d.line}` : ''} ${d.message}</p>${d.hint ? html`<p class="hint">${d.hint}</p>` : null}</div><span class="tag">${d.code}</span></li>`)}</ul>`;
}

