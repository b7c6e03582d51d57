// A configuration that has to be confirmed, or the one before comes back: asked about on every page until somebody has said so,
// also after a reload of the page, and after the router could not be reached.
import { html, useEffect, useState } from './html.js';
import { getJson, may, post } from './api.js';
import { get, set, toast, useStore } from './store.js';
import { refresh } from './live.js';
import { clock, moment } from './format.js';
import { Action, Icon, Note, href } from './ui.js';

/** What this tab has asked for or seen waiting: {base, time_ms, until, mine}. `base`: number of the last configuration before it;
 *  `time_ms`: when the router got the order, null as long as it has not answered. */
const MARK = 'mwan.waiting';
/** What nobody has seen for so long is not told any more, ms. */
const MARK_MAX_MS = 86400e3;
/** Seconds left at which it is said once more to who does not see the clock. */
const SPOKEN_AT_S = [30, 10];
/** When its time is over and nothing is heard, it is asked for so often, ms. */
const ASK_MS = 3000;

function readMark() {
  try {
    const mark = JSON.parse(sessionStorage.getItem(MARK));
    return mark && Date.now() - mark.until < MARK_MAX_MS ? mark : null;
  } catch { return null; }
}

function keepMark(mark) {
  try { if (mark) sessionStorage.setItem(MARK, JSON.stringify(mark)); else sessionStorage.removeItem(MARK); } catch { /* not kept then */ }
}

/** An order is under way: who asks meanwhile what waits may be answered as if it had not been given. */
let ordering = false;
/** Number of the newest question of what waits. */
let asked = 0;

/** An order that has to be confirmed is about to be given: who is cut off by it hears no answer, and finds out later. */
export async function begin(seconds) {
  const { revisions } = await getJson('config/revisions');
  keepMark({ base: revisions.length ? revisions[0].number : 0, time_ms: null, until: Date.now() + seconds * 1000 });
  ordering = true;
}

/** Whether one was given, or is seen. */
export const pending = () => readMark() !== null;

/** It was answered with a refusal, or that nothing waits. */
export function forget() {
  ordering = false;
  keepMark(null);
}

/** It was answered, and waits. */
export function answered() {
  ordering = false;
  look().catch(() => {});
}

/** It was not answered at all. */
export function unanswered() {
  ordering = false;
  const { until } = readMark();
  set({ waiting: { by: null, time_ms: null, until }, outcome: null });
  // It may have been late only.
  look().catch(() => {});
}

/** Asks the router what waits, and what became of what waited. */
export async function look() {
  asked += 1;
  const mine = asked;
  const { revisions, waiting } = await getJson('config/revisions');
  // What was asked since knows more.
  if (mine !== asked || ordering) return;
  const mark = readMark();
  if (waiting) {
    const until = Date.now() + waiting.left_s * 1000;
    const known = mark && (mark.time_ms === null || mark.time_ms === waiting.time_ms);
    const base = known ? mark.base : (revisions.length ? revisions[0].number : 1) - 1;
    keepMark({ base, time_ms: waiting.time_ms, until, mine: !!known && mark.mine });
    set({ waiting: { by: waiting.by, time_ms: waiting.time_ms, until }, outcome: null });
    return;
  }
  keepMark(null);
  set({ waiting: null });
  if (mark) settle(revisions, mark);
}

function settle(revisions, mark) {
  const ours = revisions.filter((r) => r.number > mark.base).pop();
  if (!ours) { toast('error', 'The settings have not come into force.', 'The router did not get them. Apply them again.'); return; }
  if (!ours.taken_back) { toast('ok', 'The settings stay.'); return; }
  // What the pages show is what was taken back.
  set({ configTurn: get().configTurn + 1 });
  const back = revisions.find((r) => r.way === 'taken_back' && r.number > ours.number);
  if (mark.mine) toast('ok', 'The settings before are in force again.');
  else set({ outcome: { number: ours.number, since: ours.time_ms, at: back ? back.time_ms : mark.until } });
}

async function keep() {
  try { await post('config/confirm'); } finally { await after(); }
}

async function takeBack() {
  keepMark({ ...readMark(), mine: true });
  try { await post('config/takeback'); } catch (error) { keepMark({ ...readMark(), mine: false }); throw error; } finally { await after(); }
}

async function after() {
  try { await look(); } catch { /* asked for again below */ }
  refresh();
}

const left = (until) => Math.max(0, Math.ceil((until - Date.now()) / 1000));
const timer = (s) => `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;

/** Follows what waits, for those who may say something about it. */
export function Waiting() {
  const admin = useStore((s) => may(s.session, 'admin'));
  return admin ? html`<${Asked} />` : null;
}

function Asked() {
  const told = useStore((s) => (s.status ? s.status.problems.filter((p) => p.includes('has to be confirmed')).join() : null));
  const lost = useStore((s) => s.connection === 'lost');
  const waiting = useStore((s) => s.waiting);
  const outcome = useStore((s) => s.outcome);
  const [, redraw] = useState(0);
  useEffect(() => {
    if (told !== null && !lost && (told || get().waiting || readMark())) look().catch(() => {});
  }, [told, lost]);
  useEffect(() => {
    if (!waiting) return undefined;
    let at = Date.now();
    const clockwork = setInterval(() => {
      redraw((n) => n + 1);
      const over = left(waiting.until) === 0 && Date.now() - at >= ASK_MS;
      if (over && get().connection !== 'lost') { at = Date.now(); look().catch(() => {}); }
    }, 1000);
    return () => clearInterval(clockwork);
  }, [waiting]);
  if (waiting) return html`<${Bar} waiting=${waiting} lost=${lost} />`;
  return outcome ? html`<${Outcome} outcome=${outcome} />` : null;
}

function Bar({ waiting, lost }) {
  const seconds = left(waiting.until);
  const [spoken, speak] = useState('');
  useEffect(() => { speak(`Keep these settings? Without an answer within ${seconds} seconds those before come back. Keep and Take back are at the beginning of the page.`); }, [waiting.time_ms]);
  useEffect(() => { if (SPOKEN_AT_S.includes(seconds)) speak(`${seconds} seconds left to keep these settings.`); }, [seconds]);
  const at = clock(waiting.until);
  let text = html`Without an answer those before come back in <b role="timer" aria-label=${`${seconds} seconds`}>${timer(seconds)}</b>.`;
  if (lost && seconds > 0) text = `The router cannot be reached. If that stays so, it takes them back by itself at ${at}.`;
  else if (lost) text = `The router cannot be reached. At ${at} it has taken them back by itself, unless somebody has confirmed them; this page says so when it answers.`;
  else if (seconds === 0) text = 'The time is over: those before come back.';
  return html`<section class="waitbar" aria-label="Settings that wait to be kept"><${Icon} name="warn" />
    <div><strong>Keep these settings?</strong> <span>${text}</span>${waiting.by ? html`<small class="quiet">Order of ${waiting.by}, ${moment(waiting.time_ms)}.</small>` : null}</div>
    <div class="actions"><${Action} class="primary" run=${keep}>Keep<//><${Action} run=${takeBack}>Take back<//></div>
    <p class="hidden" aria-live="polite">${spoken}</p></section>`;
}

function Outcome({ outcome }) {
  return html`<div role="alert"><${Note} tone="warn"><strong>The settings were taken back ${moment(outcome.at)}.</strong>
    <p>Nobody has confirmed those of ${clock(outcome.since)}, or somebody took them back; those before are in force again. <a href=${href('history', String(outcome.number))}>What they would have changed</a></p>
    <button type="button" class="button small" onClick=${() => set({ outcome: null })}>Dismiss</button><//></div>`;
}

/** For the login page: what is at stake. */
export function Pending() {
  const mark = readMark();
  if (!mark || left(mark.until) === 0) return null;
  return html`<${Note} tone="warn">New settings wait to be kept: log in and say so, or those before come back at ${clock(mark.until)}.<//>`;
}
