// The last minutes of one interface as a small drawing on a canvas: latency as a line, losses as marks below it.
import { html, useEffect, useRef } from './html.js';
import { paths } from './live.js';
import { ms } from './format.js';
import { useStore } from './store.js';

const SECONDS = 120;
const HEIGHT = 44;

export function Sparkline({ iface }) {
  const canvas = useRef(null);
  const tick = useStore((s) => s.tick);
  const family = iface.paths.length ? iface.paths[0].family : 'ipv4';
  const ring = (paths.get(`${iface.name}/${family}`) || []).slice(-SECONDS);
  useEffect(() => { if (canvas.current) draw(canvas.current, ring); }, [tick]);
  const known = ring.filter((p) => p.rtt !== null).map((p) => p.rtt);
  const label = known.length
    ? `Latency of ${iface.name}, last ${Math.round(ring.length)} seconds: from ${ms(Math.min(...known))} to ${ms(Math.max(...known))}`
    : `Latency of ${iface.name}: no answers yet`;
  return html`<canvas ref=${canvas} class="spark" height=${HEIGHT} role="img" aria-label=${label}></canvas>`;
}

function draw(canvas, ring) {
  const width = canvas.clientWidth;
  if (!width) return;
  const ratio = Math.min(devicePixelRatio || 1, 2);
  if (canvas.width !== Math.round(width * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = HEIGHT * ratio; }
  const c = canvas.getContext('2d');
  const style = getComputedStyle(canvas);
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, HEIGHT);
  if (ring.length < 2) return;
  const top = Math.max(20, ...ring.map((p) => (p.rtt === null ? 0 : p.rtt * 1.25)));
  const x = (i) => width - ((ring.length - 1 - i) * width) / (SECONDS - 1);
  const y = (v) => HEIGHT - 7 - (v / top) * (HEIGHT - 11);
  band(c, ring, x, style.getPropertyValue('--bad-soft'), (p) => !p.up);
  c.lineWidth = 1.6;
  c.lineJoin = 'round';
  c.strokeStyle = style.getPropertyValue('--accent');
  c.beginPath();
  let pen = false;
  ring.forEach((p, i) => {
    if (p.rtt === null) { pen = false; return; }
    if (pen) c.lineTo(x(i), y(p.rtt)); else c.moveTo(x(i), y(p.rtt));
    pen = true;
  });
  c.stroke();
  c.fillStyle = style.getPropertyValue('--bad');
  ring.forEach((p, i) => { if (p.loss > 0) c.fillRect(x(i) - 1, HEIGHT - 1 - Math.max(2, p.loss / 25), 2, Math.max(2, p.loss / 25)); });
}

function band(c, ring, x, color, where) {
  c.fillStyle = color;
  let from = -1;
  ring.forEach((p, i) => {
    if (where(p) && from < 0) from = i;
    const ends = from >= 0 && (!where(p) || i === ring.length - 1);
    if (ends) { c.fillRect(x(from), 0, Math.max(2, x(i) - x(from)), HEIGHT); from = -1; }
  });
}
