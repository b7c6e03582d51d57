// One value for the whole page; components take the part they show.
import { useState, useEffect } from './html.js';

const listeners = new Set();
let state = {
  session: undefined, // undefined: not asked yet; null: nobody; else {user, role, csrf}
  status: null, // mwan.status.v1
  statusAt: 0, // when it came, ms
  connection: 'connecting', // 'connecting' | 'live' | 'lost'
  lostAt: 0,
  daemon: true, // whether the web server reaches the daemon
  events: [], // newest first, a bounded window
  gaps: 0, // how often `events` began anew since what came before was not known
  tick: 0, // counts samples: what is drawn from `samples` follows this
  toasts: [],
  waiting: null, // a configuration that has to be confirmed: {by, time_ms, until}
  outcome: null, // one that was taken back: {number, since, at}
  configTurn: 0, // counts configurations that came back by themselves: pages that show them begin anew
};

export const get = () => state;

export function set(patch) {
  state = { ...state, ...patch };
  for (const listener of [...listeners]) listener();
}

export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The part `select` takes of the state; the component is drawn again when that is another value. */
export function useStore(select) {
  const [, redraw] = useState(0);
  const value = select(state);
  useEffect(() => {
    let last = value;
    const check = () => {
      const now = select(state);
      if (now !== last) { last = now; redraw((n) => n + 1); }
    };
    check();
    return subscribe(check);
  }, []);
  return value;
}

let toastId = 0;

/** Says something in a corner (and to screen readers): `kind` is 'ok' or 'error'. Errors stay until they are closed. */
export function toast(kind, text, hint) {
  const id = ++toastId;
  set({ toasts: [...state.toasts.slice(-3), { id, kind, text, hint }] });
  if (kind !== 'error') setTimeout(() => dismiss(id), 6000);
}

export function dismiss(id) {
  set({ toasts: state.toasts.filter((t) => t.id !== id) });
}
