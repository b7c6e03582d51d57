// The configurations that were in force: when, who, what they changed, and the way back to each.
import { html, useState } from '../html.js';
import { getJson } from '../api.js';
import { useStore } from '../store.js';
import { clock, day } from '../format.js';
import { Apply, Diff, loadConfig } from '../apply.js';
import { Action, Busy, Card, Empty, Failure, Icon, Note, State, Table, Title, href, useLoad } from '../ui.js';

const WAYS = {
  start: 'Found at a start', edit: 'The file was edited', put: 'Dashboard or API', cloud: "A cloud's document", apply: 'mwan apply', rollback: 'Gone back to', taken_back: 'Taken back',
};

const when = (time_ms) => `${day(time_ms)}, ${clock(time_ms)}`;

export function History({ args }) {
  const waits = useStore((s) => s.waiting);
  const { data, error, retry } = useLoad(() => getJson('config/revisions'), [waits && waits.time_ms]);
  const [back, setBack] = useState(null);
  const goBack = async (number) => {
    const [config, one] = await Promise.all([loadConfig(), getJson(`config/revisions/${number}`)]);
    setBack({ config, number, text: one.text });
  };
  const done = () => { setBack(null); location.hash = href('history').slice(1); retry(); };
  if (error) return html`<${Title}>History<//><${Failure} error=${error} retry=${retry} />`;
  if (!data) return html`<${Title}>History<//><${Busy} />`;
  return html`${args.length ? html`<${One} key=${args[0]} number=${args[0]} data=${data} goBack=${goBack} />` : html`<${All} data=${data} goBack=${goBack} />`}
    ${back ? html`<${Apply} before=${back.config} text=${back.text} rollback=${back.number} onClose=${() => setBack(null)} onDone=${done} onTheirs=${done} />` : null}`;
}

function standing(data, revision) {
  if (revision.number === data.revisions[0].number) return data.waiting ? html`<${State} small state="connecting">To be confirmed<//>` : html`<${State} small state="online">In force<//>`;
  return revision.taken_back ? html`<${State} small state="disconnecting">Taken back<//>` : '';
}

function All({ data, goBack }) {
  const actions = (r) => html`<div class="actions"><a class="button small" href=${href('history', String(r.number))} aria-label=${`Changes of configuration ${r.number}`}>Changes</a>
    ${r.number === data.revisions[0].number ? null : html`<${Action} class="small" run=${() => goBack(r.number)} label=${`Go back to configuration ${r.number}`}>Go back<//>`}</div>`;
  return html`<${Title}>History<//><p class="lead">The last configurations that were in force, whichever way they came.</p>
    ${data.damaged.map((line) => html`<${Note} key=${line} tone="warn">${line}<//>`)}
    <${Card}><${Table} label="Configurations" rows=${data.revisions} keyOf=${(r) => r.number}
      empty=${html`<${Empty} title="None is kept">They are kept in the state directory of the daemon.<//>`} columns=${[
    ['No.', (r) => r.number, 'num'],
    ['Since', (r) => when(r.time_ms)],
    ['Who', (r) => r.by || '–'],
    ['How', (r) => WAYS[r.way] || r.way],
    ['State', (r) => standing(data, r)],
    ['', actions],
  ]} /><//>`;
}

function One({ number, data, goBack }) {
  const { data: one, error, retry } = useLoad(() => getJson(`config/revisions/${encodeURIComponent(number)}`), [number]);
  const crumb = html`<p class="crumb"><a href=${href('history')}><${Icon} name="back" size=${16} />History</a></p>`;
  const inForce = data.revisions.length > 0 && String(data.revisions[0].number) === number;
  const actions = one && !inForce ? html`<${Action} class="primary" run=${() => goBack(one.revision.number)}>Go back to this<//>` : null;
  const sub = one ? html`<span>${when(one.revision.time_ms)}</span><span>${WAYS[one.revision.way] || one.revision.way}${one.revision.by ? ` by ${one.revision.by}` : ''}</span>${standing(data, one.revision)}` : null;
  return html`${crumb}<${Title} actions=${actions} sub=${sub}>Configuration ${number}<//>
    ${error ? html`<${Failure} error=${error} retry=${retry} />` : null}${!one && !error ? html`<${Busy} />` : null}
    ${one ? html`<${Card} title=${one.before ? `What it changed against ${one.before[0]}` : 'The oldest that is kept'}><${Diff} before=${one.before ? one.before[1] : ''} after=${one.text} /><//>` : null}`;
}
