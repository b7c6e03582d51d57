// Lines that differ between two texts. Pure.

/** Beyond this many cells the middle part counts as replaced as a whole: the exact answer is not worth the time. */
const CELLS_MAX = 4e6;

/** [{op: ' ' | '-' | '+', text, a, b}] with line numbers from 1; equal runs longer than `around` lines on both sides are
 *  one {op: '…', count}. */
export function diff(before, after, around = 3) {
  const a = before.replace(/\n$/, '').split('\n');
  const b = after.replace(/\n$/, '').split('\n');
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const lines = [];
  for (let i = 0; i < head; i += 1) lines.push({ op: ' ', text: a[i], a: i + 1, b: i + 1 });
  middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail), head, lines);
  for (let i = 0; i < tail; i += 1) lines.push({ op: ' ', text: a[a.length - tail + i], a: a.length - tail + i + 1, b: b.length - tail + i + 1 });
  return fold(lines, around);
}

function middle(a, b, offset, lines) {
  const remove = (i) => lines.push({ op: '-', text: a[i], a: offset + i + 1 });
  const add = (j) => lines.push({ op: '+', text: b[j], b: offset + j + 1 });
  const width = b.length + 1;
  if ((a.length + 1) * width > CELLS_MAX) { a.forEach((_, i) => remove(i)); b.forEach((_, j) => add(j)); return; }
  // Longest common subsequence from the end: table[i][j] for a[i..], b[j..].
  const table = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      table[i * width + j] = a[i] === b[j] ? table[(i + 1) * width + j + 1] + 1 : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { lines.push({ op: ' ', text: a[i], a: offset + i + 1, b: offset + j + 1 }); i += 1; j += 1; }
    else if (i < a.length && (j === b.length || table[(i + 1) * width + j] >= table[i * width + j + 1])) { remove(i); i += 1; }
    else { add(j); j += 1; }
  }
}

function fold(lines, around) {
  const near = new Uint8Array(lines.length);
  lines.forEach((l, i) => { if (l.op !== ' ') for (let k = Math.max(0, i - around); k <= Math.min(lines.length - 1, i + around); k += 1) near[k] = 1; });
  const out = [];
  for (let i = 0; i < lines.length; i += 1) {
    if (near[i]) { out.push(lines[i]); continue; }
    let n = 0;
    while (i + n < lines.length && !near[i + n]) n += 1;
    if (n <= 2) out.push(...lines.slice(i, i + n)); else out.push({ op: '…', count: n });
    i += n - 1;
  }
  return out;
}
