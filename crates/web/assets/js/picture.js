// The site as a picture: the local network on the left, its WANs on the right, ribbons as wide as what they carry.
import { html } from './html.js';
import { bits, percent } from './format.js';
import { STATES, interfaceState } from './model.js';
import { colorOf } from './ui.js';

const WIDTH = 700;
const ROW = 52;
const BAND_MAX = 46;

export function Picture({ status, shares, flow }) {
  const wans = status.interfaces.filter((i) => i.enabled);
  const height = Math.max(2, wans.length) * ROW + 8;
  const total = wans.reduce((n, w) => n + (shares.get(w.name) || 0), 0) || 1;
  const scale = Math.min(BAND_MAX, height - 24) / total;
  let at = height / 2 - (scale * total) / 2;
  const rows = wans.map((w, i) => {
    const share = shares.get(w.name) || 0;
    const thick = share >= 0.5 ? Math.max(2.5, share * scale) : 0;
    const row = { w, share, thick, state: interfaceState(w), y: 8 + ROW * i + ROW / 2 - 4, from: at + (share * scale) / 2, rate: flow.get(w.name) };
    at += share * scale;
    return row;
  });
  const words = rows.map((r) => `${r.w.name}: ${STATES[r.state].word.toLowerCase()}, ${percent(r.share)}`).join('; ');
  return html`<svg class="picture" viewBox=${`0 0 ${WIDTH} ${height}`} role="img" aria-label=${`What carries the traffic. ${words}.`}>
    ${[...rows].sort((a, b) => a.thick - b.thick).map((r) => html`<g key=${r.w.name}>${ribbon(r, status, height)}</g>`)}
    <rect x="0" y=${height / 2 - 34} width="96" height="68" rx="12" class="node" />
    <text x="48" y=${height / 2 - 3} class="nodetext" text-anchor="middle">Local</text><text x="48" y=${height / 2 + 15} class="nodetext" text-anchor="middle">network</text>
    ${rows.map((r) => html`<g key=${r.w.name}><rect x="410" y=${r.y - 21} width="290" height="42" rx="10" class=${`node ${STATES[r.state].tone}`} />
      <circle cx="428" cy=${r.y} r="5" class=${`fill c${colorOf(status, r.w.name)}`} />
      <text x="442" y=${r.y + (r.rate ? -3 : 5)} class="nodename">${short(r.w.name)}</text>
      ${r.rate ? html`<text x="442" y=${r.y + 13} class="nodesub">↓ ${bits(r.rate.rx_bps)} \u2002↑ ${bits(r.rate.tx_bps)}</text>` : null}
      <text x="688" y=${r.y + 6} text-anchor="end" class=${`nodeshare ${r.share >= 0.5 ? '' : STATES[r.state].tone}`}>${r.share >= 0.5 ? percent(Math.round(r.share)) : STATES[r.state].tone === 'ok' ? 'standby' : STATES[r.state].word.toLowerCase()}</text></g>`)}
  </svg>`;
}

const short = (name) => (name.length > 14 ? `${name.slice(0, 13)}…` : name);

function ribbon(r, status, height) {
  const path = (y0, y1) => `M96 ${y0}C256 ${y0} 256 ${y1} 410 ${y1}`;
  if (r.thick > 0) return html`<path d=${path(r.from, r.y)} class=${`ribbon c${colorOf(status, r.w.name)}`} stroke-width=${r.thick} />`;
  return html`<path d=${path(height / 2, r.y)} class=${`thread ${STATES[r.state].tone}`} />`;
}
