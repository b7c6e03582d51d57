// Numbers and times as people read them. Pure.

const trim = (n, digits) => n.toFixed(digits);

/** 1234567 bit/s → "1.23 Mbit/s". */
export function bits(bps) {
  if (bps === null || bps === undefined || Number.isNaN(bps)) return '–';
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];
  let n = bps;
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${unit === 0 ? Math.round(n) : trim(n, n < 10 ? 2 : n < 100 ? 1 : 0)} ${units[unit]}`;
}

/** The same for an axis, where values are round: "20 Mbit/s". */
export const bitsRound = (bps) => (bps ? bits(bps).replace(/\.0+ /, ' ').replace(/(\.\d*?)0+ /, '$1 ') : '0');

/** Bytes, by 1000 as network people count. */
export function bytes(count) {
  if (count === null || count === undefined) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let n = count;
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${unit === 0 ? n : trim(n, n < 10 ? 2 : n < 100 ? 1 : 0)} ${units[unit]}`;
}

export const count = (n) => (n === null || n === undefined ? '–' : n.toLocaleString('en'));

export function ms(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return `${trim(value, value > 0 && value < 1 ? 2 : value < 10 ? 1 : 0)} ms`;
}

export function percent(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return `${value > 0 && value < 10 && value % 1 ? trim(value, 1) : Math.round(value)} %`;
}

/** 3725 s → "1 h 2 min": the two largest units. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const s = Math.max(0, Math.round(seconds));
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const out = [];
  let rest = s;
  for (const [size, name] of parts) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0 || (name === 's' && out.length === 0)) out.push(`${n} ${name}`);
    else if (out.length > 0) break;
    if (out.length === 2) break;
  }
  return out.join(' ');
}

const two = (n) => String(n).padStart(2, '0');

/** The browser's local time, 24 hours: 14:02:09. */
export function clock(time_ms, seconds = true) {
  const d = new Date(time_ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? `:${two(d.getSeconds())}` : ''}`;
}

export function day(time_ms) {
  return new Date(time_ms).toLocaleDateString('en-GB', { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });
}

export function dayKey(time_ms) {
  const d = new Date(time_ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
}

/** "at 14:02" today, "on 24 Nov, 14:02" before. */
export function moment(time_ms, now_ms = Date.now()) {
  if (dayKey(time_ms) === dayKey(now_ms)) return `at ${clock(time_ms, false)}`;
  const d = new Date(time_ms);
  return `on ${d.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })}, ${clock(time_ms, false)}`;
}

/** "a", "a and b", "a, b and c". */
export function list(words) {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} and ${words[words.length - 1]}`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
export const capital = (s) => (s ? s[0].toUpperCase() + s.slice(1) : s);
export const family = (f) => (f === 'ipv6' ? 'IPv6' : 'IPv4');
