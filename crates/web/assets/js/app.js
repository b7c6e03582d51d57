// The shell: who is logged in, which page is shown, and what is always there.
import { html, render, useState, useEffect, useLayoutEffect, useRef } from './html.js';
import { call, loadSession, may } from './api.js';
import { dismiss, set, toast, useStore } from './store.js';
import * as live from './live.js';
import { clock } from './format.js';
import { Busy, Failure, Icon, href } from './ui.js';
import { Waiting } from './waiting.js';
import { Overview } from './pages/overview.js';
import { Login, Setup, setupToken } from './pages/login.js';

// Pages that are not the first one are fetched when they are asked for; all are small, and kept by the browser.
const PAGES = [
  { key: 'overview', title: 'Overview', icon: 'home', component: Overview },
  { key: 'events', title: 'Events', icon: 'events', load: () => import('./pages/events.js').then((m) => m.Events) },
  { key: 'policies', title: 'Policies and rules', icon: 'policies', load: () => import('./pages/policies.js').then((m) => m.Policies) },
  { key: 'flows', title: 'Top flows', icon: 'flows', load: () => import('./pages/flows.js').then((m) => m.Flows) },
  { key: 'explain', title: 'Why this WAN?', icon: 'why', load: () => import('./pages/explain.js').then((m) => m.Explain) },
  { key: 'report', title: 'Report', icon: 'reports', load: () => import('./pages/report.js').then((m) => m.Report) },
  { key: 'alerts', title: 'Notifications', icon: 'alerts', load: () => import('./pages/alerts.js').then((m) => m.Alerts) },
  { key: 'config', title: 'Configuration', icon: 'config', role: 'admin', load: () => import('./pages/config.js').then((m) => m.Config) },
  { key: 'history', title: 'History', icon: 'history', role: 'admin', load: () => import('./pages/history.js').then((m) => m.History) },
  { key: 'wizard', title: 'Set-up', icon: 'wizard', role: 'admin', load: () => import('./pages/wizard.js').then((m) => m.Wizard) },
];
const HIDDEN = [{ key: 'wan', title: 'WAN', load: () => import('./pages/wan.js').then((m) => m.Wan) }];

function parseRoute() {
  const [path, search = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').map((p) => { try { return decodeURIComponent(p); } catch { return p; } });
  return { page: parts[0] || 'overview', args: parts.slice(1), query: new URLSearchParams(search) };
}

function useRoute() {
  const [route, setRoute] = useState(parseRoute);
  useLayoutEffect(() => {
    const changed = () => setRoute(parseRoute());
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return route;
}

/** A page of its own module: shown when it is there. */
function Lazy({ page, ...props }) {
  const [, redraw] = useState(0);
  const [error, setError] = useState(null);
  const get = () => page.load().then((c) => { page.component = c; redraw((n) => n + 1); }, () => setError(
    { message: 'This page could not be fetched from the router.', hint: 'Reload the page when the router can be reached.' }));
  useEffect(() => { if (!page.component) get(); }, [page.key]);
  if (page.component) return html`<${page.component} ...${props} />`;
  return error ? html`<${Failure} error=${error} retry=${() => location.reload()} />` : html`<${Busy} />`;
}

function Theme() {
  const dark = () => (document.documentElement.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
  const [on, setOn] = useState(dark);
  const flip = () => {
    const theme = on ? 'light' : 'dark';
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem('mwan.theme', theme); } catch { /* not kept then */ }
    setOn(!on);
    dispatchEvent(new Event('themechange'));
  };
  return html`<button type="button" class="iconbutton" onClick=${flip} aria-label=${on ? 'Use the light theme' : 'Use the dark theme'}>
    <${Icon} name=${on ? 'sun' : 'moon'} /></button>`;
}

/** Says that what is shown is old, and since when; and, to screen readers, when it is not any more. */
function Connection() {
  const connection = useStore((s) => s.connection);
  const lostAt = useStore((s) => s.lostAt);
  const daemon = useStore((s) => s.daemon);
  return html`<div role="status">${connection === 'lost'
    ? html`<div class="lostbar"><${Icon} name="warn" size=${18} /><span><strong>${daemon ? 'Connection lost' : 'The mwan daemon does not answer'}</strong> since ${clock(lostAt)}. What you see is from then; trying again…</span></div>`
    : null}</div>`;
}

function Toasts() {
  const toasts = useStore((s) => s.toasts);
  return html`<div class="toasts" aria-live="polite">${toasts.map((t) => html`<div key=${t.id} class=${`toast ${t.kind}`} role=${t.kind === 'error' ? 'alert' : 'status'}>
    <${Icon} name=${t.kind === 'ok' ? 'check' : 'warn'} /><div><strong>${t.text}</strong>${t.hint ? html`<p>${t.hint}</p>` : null}</div>
    <button type="button" class="iconbutton" aria-label="Dismiss" onClick=${() => dismiss(t.id)}><${Icon} name="close" size=${16} /></button></div>`)}</div>`;
}

function Spoken() {
  const spoken = useStore((s) => s.spoken);
  return html`<p class="hidden" aria-live="polite" id="spoken">${spoken ? spoken.text : ''}</p>`;
}

async function logout() {
  try { await call('POST', 'logout', {}); } catch (error) { if (error.status !== 401) { toast('error', error.message, error.hint); return; } }
  live.stop();
  set({ session: null, expired: false, status: null, events: [], connection: 'connecting' });
}

function Shell({ route }) {
  const session = useStore((s) => s.session);
  const [open, setOpen] = useState(false);
  const nav = useRef(null);
  useEffect(() => { setOpen(false); }, [route.page, route.args[0]]);
  const pages = PAGES.filter((p) => !p.role || may(session, p.role));
  const page = [...PAGES, ...HIDDEN].find((p) => p.key === route.page);
  const escape = (e) => { if (e.key === 'Escape' && open) { setOpen(false); nav.current.querySelector('button').focus(); } };
  return html`<a class="skip" href="#main" onClick=${(e) => { e.preventDefault(); document.getElementById('main').focus(); }}>Skip to the content</a>
    <div class="shell"><div class=${`side${open ? ' open' : ''}`} ref=${nav} onKeyDown=${escape}>
      <div class="brand"><a href="#/" aria-label="mwan, overview"><img src="icon.svg" alt="" width="28" height="28" /><span>mwan</span></a>
        <button type="button" class="iconbutton burger" aria-expanded=${open} aria-controls="nav" aria-label="Menu" onClick=${() => setOpen(!open)}><${Icon} name=${open ? 'close' : 'menu'} size=${24} /></button></div>
      <div class="drawer" id="nav"><nav aria-label="Pages"><ul>${pages.map((p) => html`<li key=${p.key}><a href=${href(p.key)}
        aria-current=${p.key === route.page || (p.key === 'overview' && route.page === 'wan') ? 'page' : undefined}><${Icon} name=${p.icon} />${p.title}</a></li>`)}</ul></nav>
      <div class="who"><span class="user"><strong>${session.user}</strong><span>${session.role}</span></span><${Theme} />
        <button type="button" class="iconbutton" aria-label="Log out" onClick=${logout}><${Icon} name="logout" /></button></div></div>
    </div>
    <main id="main" tabindex="-1"><div class="connection"><${Connection} /><${Waiting} /></div><${Content} page=${page} route=${route} /></main></div><${Spoken} />`;
}

function Content({ page, route }) {
  const ready = useStore((s) => s.status !== null);
  const lost = useStore((s) => s.connection === 'lost');
  const turn = useStore((s) => s.configTurn);
  if (!page) return html`<${Failure} error=${{ message: 'There is no such page.', hint: 'The menu has all of them.' }} />`;
  if (!ready) return lost ? html`<p class="busy">There is nothing to show until the router answers.</p>` : html`<${Busy} text="Asking the router…" />`;
  return html`<${Lazy} key=${`${turn}/${page.key}/${page.key === 'wan' ? route.args.join('/') : ''}`} page=${page} args=${route.args} query=${route.query} />`;
}

function App() {
  const route = useRoute();
  const session = useStore((s) => s.session);
  const expired = useStore((s) => !!s.expired);
  const [error, setError] = useState(null);
  const begin = () => { setError(null); loadSession().catch(setError); };
  useEffect(begin, []);
  useEffect(() => { if (session) live.start(); else live.stop(); }, [!!session]);
  const token = setupToken();
  let page;
  // Also for somebody who is still logged in, and has forgotten the password.
  if (token !== null) page = html`<${Setup} token=${token} />`;
  else if (session === undefined) page = error ? html`<main class="alone"><${Failure} error=${error} retry=${begin} /></main>` : html`<p class="boot" role="status">Loading mwan…</p>`;
  else if (!session) page = html`<${Login} expired=${expired} />`;
  else page = html`<${Shell} route=${route} />`;
  return html`${page}<${Toasts} />`;
}

// All of it is there (boot.js).
try { sessionStorage.removeItem('mwan.tried'); } catch { /* nothing is kept there */ }
const root = document.getElementById('app');
root.textContent = '';
render(html`<${App} />`, root);
