// uPlot with what every chart here needs: thresholds, marks of failovers, shaded outages, the page's colours, a readout
// that also works by keyboard, and nothing that a strict Content-Security-Policy would refuse.
import { html, useEffect, useRef, useState } from './html.js';
import uPlot from '../vendor/uplot.js';
import { clock, dayKey } from './format.js';

const HEIGHT = 190;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Times on the axis: as fine as the range asks for, in the browser's zone. */
function ticks(u, values) {
  const span = u.scales.x.max - u.scales.x.min;
  return values.map((v) => {
    const t = v * 1000;
    if (span <= 600) return clock(t);
    if (span <= 2 * 86400) return clock(t, false);
    return dayKey(t).slice(5).replace('-', '/');
  });
}

function options(spec, state) {
  const line = css('--line');
  const text = css('--quiet');
  const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
  return {
    width: 300,
    height: HEIGHT,
    padding: [10, 10, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: spec.sync }, points: { size: 7 } },
    scales: { x: { time: true }, y: { range: (u, min, max) => [0, ceiling(spec, min, max)] } },
    axes: [{ ...axis, values: ticks, space: 70, size: 26, gap: 4 }, { ...axis, size: spec.wide ? 84 : 58, values: (u, values) => values.map(spec.axis), space: 34 }],
    series: [{}, ...spec.series.map((s) => ({
      label: s.label, stroke: css(s.color), width: 1.75, points: { show: false }, spanGaps: false,
      dash: s.dash, fill: s.fill ? css(s.fill) : undefined,
    }))],
    hooks: { drawClear: [(u) => shade(u, state)], draw: [(u) => mark(u, state, spec)], setCursor: [(u) => state.onCursor(u.cursor.idx)] },
  };
}

/** A threshold within sight is drawn in; one far above what is measured must not flatten the line to nothing. */
function ceiling(spec, min, max) {
  const top = Math.max(spec.least || 1, (max || 0) * 1.12);
  const near = (spec.thresholds || []).map((t) => t.value).filter((v) => v <= Math.max(top * 4, spec.reach || 0));
  return Math.max(top, ...near.map((v) => v * 1.08));
}

function shade(u, state) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.fillStyle = css('--bad-soft');
  for (const o of state.outages) {
    const from = Math.max(u.valToPos(o.from, 'x', true), bbox.left);
    const to = Math.min(u.valToPos(o.to ?? u.scales.x.max, 'x', true), bbox.left + bbox.width);
    if (to > from) ctx.fillRect(from, bbox.top, Math.max(to - from, 2), bbox.height);
  }
  ctx.restore();
}

function mark(u, state, spec) {
  const { ctx, bbox } = u;
  const ratio = uPlot.pxRatio || devicePixelRatio || 1;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = 'left';
  ctx.textBaseline = 'alphabetic';
  ctx.lineWidth = ratio;
  for (const t of spec.thresholds || []) {
    const y = u.valToPos(t.value, 'y', true);
    if (y < bbox.top - 1) continue;
    ctx.strokeStyle = ctx.fillStyle = css(t.color);
    ctx.setLineDash([6 * ratio, 4 * ratio]);
    ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
    ctx.fillText(t.label, bbox.left + 4 * ratio, y - 4 * ratio < bbox.top + 9 * ratio ? y + 12 * ratio : y - 4 * ratio);
  }
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  for (const m of state.marks) {
    const x = u.valToPos(m.at, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = css(m.color);
    ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
    ctx.beginPath(); ctx.moveTo(x - 5 * ratio, bbox.top); ctx.lineTo(x + 5 * ratio, bbox.top); ctx.lineTo(x, bbox.top + 7 * ratio); ctx.fill();
  }
  ctx.restore();
}

/** The value `p` of the way through the sorted ones. */
export function quantile(values, p) {
  const known = values.filter((v) => v !== null && v !== undefined).sort((a, b) => a - b);
  return known.length ? known[Math.min(known.length - 1, Math.floor(p * known.length))] : null;
}

/** `spec`: {title, unit(v), axis(v), series: [{label, color}], thresholds, sync, least}; `data`: uPlot's columns, x in s. */
export function Chart({ spec, data, range, marks, outages }) {
  const holder = useRef(null);
  const plot = useRef(null);
  const state = useRef({ marks, outages, onCursor: () => {} });
  const [index, setIndex] = useState(null);
  const [theme, setTheme] = useState(0);
  state.current.marks = marks;
  state.current.outages = outages;
  state.current.onCursor = (i) => setIndex(i ?? null);
  const shape = JSON.stringify([spec.title, spec.series.map((s) => s.label), (spec.thresholds || []).map((t) => t.value)]);

  useEffect(() => {
    const again = () => setTheme((n) => n + 1);
    const media = matchMedia('(prefers-color-scheme: dark)');
    media.addEventListener('change', again);
    addEventListener('themechange', again);
    return () => { media.removeEventListener('change', again); removeEventListener('themechange', again); };
  }, []);

  useEffect(() => {
    const u = new uPlot(options(spec, state.current), data, holder.current);
    plot.current = u;
    const box = holder.current;
    const size = () => u.setSize({ width: Math.max(200, box.clientWidth), height: HEIGHT });
    const observer = new ResizeObserver(size);
    observer.observe(box);
    size();
    return () => { observer.disconnect(); u.destroy(); };
  }, [shape, theme]);

  useEffect(() => {
    const u = plot.current;
    u.batch(() => { u.setData(data, false); u.setScale('x', { min: range.from, max: range.to }); });
  }, [data, range.from, range.to, marks, outages, shape, theme]);

  const keys = (e) => {
    const u = plot.current;
    const last = data[0].length - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[e.key];
    let to;
    if (step) to = Math.min(last, Math.max(0, (index ?? last) + step));
    else if (e.key === 'Home') to = 0;
    else if (e.key === 'End') to = last;
    else return;
    e.preventDefault();
    u.setCursor({ left: u.valToPos(data[0][to], 'x'), top: 10 });
  };

  const at = index !== null && index < data[0].length ? index : null;
  return html`<figure class="chart"><figcaption><h3>${spec.title}</h3><p class="readout" aria-live=${document.activeElement === holder.current ? 'polite' : 'off'}>
    ${at !== null ? html`<span class="when">${when(data[0][at] * 1000, range)}</span>` : null}
    ${spec.series.map((s, i) => html`<span class="key" key=${s.label}><span class=${`swatch ${s.cls}`} aria-hidden="true"></span>${s.label} <b>${spec.unit(at !== null ? data[i + 1][at] : lastKnown(data[i + 1]))}</b></span>`)}</p></figcaption>
    <div ref=${holder} class="plot" tabindex="0" role="img" aria-label=${`${spec.title}. ${summary(spec, data, outages, marks)} Arrow keys move through the values.`} onKeyDown=${keys}></div>
    <p class="stats">${spec.series.map((s, i) => html`<span key=${s.label}>${spec.series.length > 1 ? `${s.label}: ` : ''}median ${spec.unit(quantile(data[i + 1], 0.5))} · 95 % under ${spec.unit(quantile(data[i + 1], 0.95))} · highest ${spec.unit(quantile(data[i + 1], 1))}</span>`)}</p></figure>`;
}

/** A time of day alone says nothing where there are several days. */
const when = (t, range) => (range.to - range.from > 86400 ? `${dayKey(t).slice(5)} ${clock(t, false)}` : clock(t));

function lastKnown(column) {
  for (let i = column.length - 1; i >= Math.max(0, column.length - 5); i -= 1) if (column[i] !== null && column[i] !== undefined) return column[i];
  return null;
}

function summary(spec, data, outages, marks) {
  const parts = spec.series.map((s, i) => `${s.label}: now ${spec.unit(lastKnown(data[i + 1]))}, median ${spec.unit(quantile(data[i + 1], 0.5))}, highest ${spec.unit(quantile(data[i + 1], 1))}.`);
  if (outages.length) parts.push(`${outages.length} ${outages.length === 1 ? 'outage' : 'outages'}.`);
  if (marks.length) parts.push(`${marks.length} ${marks.length === 1 ? 'change' : 'changes'} of state.`);
  return parts.join(' ');
}
