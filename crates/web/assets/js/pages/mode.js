// Failover or load balancing, where a cloud's document says so (docs/cloud.md): the document is what is changed, so that the cloud
// gets it back as it is now.
import { html, useEffect, useState } from '../html.js';
import { call, getJson } from '../api.js';
import { toast } from '../store.js';
import { Apply, loadConfig } from '../apply.js';
import { parse } from '../sections.js';
import { Card, Segments } from '../ui.js';

const MODES = [['FAIL_OVER', 'Failover'], ['LOAD_BALANCE', 'Load balancing']];
const WORDS = { FAIL_OVER: 'The best WAN carries everything; the next takes over when it fails.', LOAD_BALANCE: 'New connections are shared by all WANs that work.' };

/** The document and the configuration it is in; null where no cloud has written one. */
async function look() {
  const config = await loadConfig();
  const cloud = config.format === 'uci' && parse(config.text, config.format).some((s) => s.type === 'cloud');
  return cloud ? { config, document: await getJson('cloud/multiwan') } : null;
}

export function Mode() {
  const [data, setData] = useState(null);
  const [text, setText] = useState(null);
  const load = () => look().then(setData, () => setData(null));
  useEffect(() => { load(); }, []);
  if (!data || !WORDS[data.document.mode]) return null;
  const choose = async (mode) => {
    if (mode === data.document.mode) return;
    try {
      const { body } = await call('PUT', 'cloud/multiwan?dry_run=true', { ...data.document, mode }, { headers: { 'If-Match': `"${data.config.revision}"` } });
      setText(body.text);
    } catch (error) {
      toast('error', error.message, error.hint);
      load();
    }
  };
  const close = () => { setText(null); load(); };
  return html`<${Card} title="Mode" aside=${html`<span class="quiet">by the cloud's document</span>`}>
    <${Segments} label="Mode" value=${data.document.mode} options=${MODES} onInput=${choose} /><p class="quiet under">${WORDS[data.document.mode]}</p>
    ${text !== null ? html`<${Apply} before=${data.config} text=${text} onClose=${() => setText(null)} onDone=${close} onTheirs=${close} />` : null}<//>`;
}
