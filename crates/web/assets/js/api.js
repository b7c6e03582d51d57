// The HTTP API v1. Every answer is JSON; every failure becomes an ApiError with the server's words and its hint.
import { get, set } from './store.js';

const BASE = 'api/v1/';
/** A request that takes longer than this is given up, ms: a plan of a large configuration takes some seconds. */
const TIMEOUT_MS = 30000;

export class ApiError extends Error {
  constructor(status, body, fallback) {
    const error = (body && body.error) || {};
    super(error.message || fallback);
    this.status = status;
    this.code = error.code || '';
    this.hint = error.hint || '';
    this.body = body || {};
  }
}

function headers(method, body, extra) {
  const all = { Accept: 'application/json', ...extra };
  if (body !== undefined) all['Content-Type'] = 'application/json';
  const session = get().session;
  if (method !== 'GET' && session && session.csrf) all['X-CSRF-Token'] = session.csrf;
  return all;
}

/** Sends one request. Resolves to `{status, body, etag}`; rejects with an ApiError. */
export async function call(method, path, body, options = {}) {
  let answer;
  try {
    answer = await fetch(BASE + path, {
      method,
      headers: headers(method, body, options.headers),
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (cause) {
    const late = cause && cause.name === 'TimeoutError';
    throw new ApiError(0, {
      error: {
        code: late ? 'timeout' : 'unreachable',
        message: late ? 'The router did not answer in time.' : 'The router cannot be reached.',
        hint: 'The page tries again by itself. If it stays so: is the machine on, and does `mwan status` answer there?',
      },
    });
  }
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { value = null; }
  if (answer.status === 401 && !options.quiet && get().session) {
    // The login has expired: the login page comes up, and leads back here.
    set({ session: null, expired: true });
  }
  if (answer.status === 403 && value && value.error && value.error.code === 'csrf' && !options.again) {
    // Somebody has logged in anew in another tab, and the browser has that session now. Under another name nothing is done unasked.
    const before = get().session;
    await loadSession();
    const now = get().session;
    if (before && now && before.user === now.user) return call(method, path, body, { ...options, again: true });
    if (now) throw new ApiError(403, { error: { code: 'csrf', message: `In another tab you have logged in as ${now.user}. Nothing was done.`, hint: 'Do it again if you want to.' } });
  }
  if (!answer.ok) throw new ApiError(answer.status, value, `The router refused it (HTTP ${answer.status}).`);
  return { status: answer.status, body: value, etag: answer.headers.get('ETag') };
}

export const getJson = async (path) => (await call('GET', path)).body;
export const post = async (path, body = {}) => (await call('POST', path, body)).body;

/** `a=1&b=2` of what is neither null nor empty. */
export function query(values) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== '') params.set(name, value);
  }
  return params.toString();
}

export async function loadSession() {
  try {
    const { body } = await call('GET', 'session', undefined, { quiet: true });
    set({ session: body && body.user !== null ? body : null });
  } catch (error) {
    if (error.status === 401 || error.status === 403) set({ session: null, loginHint: error.hint });
    else throw error;
  }
}

const RANK = { viewer: 0, operator: 1, admin: 2 };
/** Whether the one who is logged in may do what needs `role`. */
export const may = (session, role) => !!session && (RANK[session.role] ?? -1) >= RANK[role];
