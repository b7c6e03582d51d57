// Login, and the first password by the one-time link of `mwan web init`.
import { html, useEffect, useRef, useState } from '../html.js';
import { call } from '../api.js';
import { set, useStore } from '../store.js';
import { Failure, Input, Note } from '../ui.js';
import { Pending } from '../waiting.js';

const PASSWORD_MIN = 8;

/** The one-time token of `#setup=TOKEN`, or null if this is another page. It is behind the #, so no server and no proxy
 *  logs it. */
export function setupToken() {
  const m = /^#setup=(.*)$/.exec(location.hash);
  return m ? m[1] : null;
}

function Alone({ title, children }) {
  const ref = useRef(null);
  useEffect(() => { document.title = `${title} – mwan`; }, []);
  return html`<main class="alone" ref=${ref}><div class="login card"><p class="logo"><img src="icon.svg" alt="" width="40" height="40" /><span>mwan</span></p><h1>${title}</h1>${children}</div></main>`;
}

function useForm(send) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    setBusy(true);
    setError(null);
    try { await send(); } catch (failure) { setError(failure); setBusy(false); }
  };
  return { busy, error, submit };
}

const enter = (session) => set({ session, expired: false, connection: 'connecting' });

export function Login({ expired }) {
  const hint = useStore((s) => s.loginHint);
  const [user, setUser] = useState('admin');
  const [password, setPassword] = useState('');
  const { busy, error, submit } = useForm(async () => {
    const { body } = await call('POST', 'login', { user, password }, { quiet: true });
    enter(body);
  });
  return html`<${Alone} title="Log in">
    ${expired ? html`<${Note} tone="warn">Your login has expired. After logging in you are back where you were.<//>` : null}<${Pending} />
    <form onSubmit=${submit}>
      <${Input} label="User" value=${user} onInput=${setUser} name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required />
      <${Input} label="Password" type="password" value=${password} onInput=${setPassword} name="password" autocomplete="current-password" required />
      ${error ? html`<${Failure} error=${error} />` : null}
      <button class="button primary block" disabled=${busy} aria-busy=${busy}>${busy ? html`<span class="spinner" aria-hidden="true"></span>` : null}Log in</button>
    </form>
    <p class="hint">${hint && hint.includes('web init') ? html`No password is set yet: <code>mwan web init</code>, as root on the router, prints a link to set the first one.`
      : html`No password, or forgotten? <code>mwan web init</code> on the router prints a link to set one.`}</p><//>`;
}

export function Setup({ token }) {
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const [shown, setShown] = useState(false);
  const { busy, error, submit } = useForm(async () => {
    setShown(true);
    if (password.length < PASSWORD_MIN || password !== again) throw null;
    const { body } = await call('POST', 'setup', { token, password }, { quiet: true });
    // In place of the link, which is of no more use, and not behind it.
    location.replace('#/');
    enter(body);
  });
  const short = shown && password.length < PASSWORD_MIN ? `At least ${PASSWORD_MIN} characters; a few words are easier to keep in mind.` : '';
  const differ = shown && !short && password !== again ? 'The two passwords differ.' : '';
  return html`<${Alone} title="Welcome">
    <p>Choose the password for this router's dashboard. The link you came by works once.</p>
    ${token ? null : html`<${Note} tone="warn">The link is not complete. Copy all of it from what <code>mwan web init</code> printed.<//>`}
    <form onSubmit=${submit} novalidate>
      <input type="text" name="username" autocomplete="username" value="admin" readonly hidden />
      <${Input} label="Password" type="password" error=${short} value=${password} onInput=${setPassword} name="password" autocomplete="new-password" required />
      <${Input} label="Password again" type="password" error=${differ} value=${again} onInput=${setAgain} name="again" autocomplete="new-password" required />
      ${error ? html`<${Failure} error=${error} />` : null}
      <button class="button primary block" disabled=${busy || !token} aria-busy=${busy}>${busy ? html`<span class="spinner" aria-hidden="true"></span>` : null}Set the password</button>
    </form><//>`;
}
