// Configuration text as a list of sections, both formats, so that one can be replaced and every other byte stays. Pure.
// What is valid is not judged here: the daemon does that with every text before it is applied.

/** UCI: `config TYPE 'NAME'`; TOML: `[a.b]` and `[[a]]`. Lines before the first header have type ''. */
export function parse(text, format) {
  const sections = [{ type: '', name: '', lines: [] }];
  let open = ''; // a quote or TOML string that goes on over the end of a line
  for (const line of text.split('\n')) {
    const head = open ? null : header(line, format);
    if (head) {
      // Comments directly above a header belong to it.
      const last = sections[sections.length - 1].lines;
      const own = [];
      while (last.length && /^\s*#/.test(last[last.length - 1])) own.unshift(last.pop());
      sections.push({ ...head, lines: [...own, line] });
    } else sections[sections.length - 1].lines.push(line);
    open = stillOpen(line, open, format);
  }
  return sections;
}

function header(line, format) {
  if (format === 'toml') {
    const m = /^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$/.exec(line);
    if (!m) return null;
    const parts = m[1].match(/"[^"]*"|'[^']*'|[^.\s]+/g) || [];
    const bare = parts.map((p) => p.replace(/^["']|["']$/g, ''));
    return { type: bare[0] || '', name: bare[1] || '' };
  }
  const m = /^\s*config\s+(?:'([^']*)'|"([^"]*)"|(\S+))(?:\s+(?:'([^']*)'|"([^"]*)"|([^\s#]+)))?/.exec(line);
  return m ? { type: m[1] ?? m[2] ?? m[3], name: m[4] ?? m[5] ?? m[6] ?? '' } : null;
}

/** Which quote is open at the end of the line. */
function stillOpen(line, open, format) {
  const quotes = format === 'toml' ? ['"""', "'''"] : ["'", '"'];
  let now = open;
  for (let i = 0; i < line.length; i += 1) {
    if (!now && line[i] === '#') return '';
    const q = quotes.find((x) => line.startsWith(x, i));
    if (q && !now) { now = q; i += q.length - 1; } else if (q && q === now) { now = ''; i += q.length - 1; } else if (line[i] === '\\' && now !== "'") i += 1;
  }
  return now;
}

/** What stands before the first header may be nothing, not even an empty line. */
export const join = (sections) => sections.filter((s) => s.lines.length > 0).map((s) => s.lines.join('\n')).join('\n');

/** Without the sections `drop` says yes to, and with `added` (text) at the end. */
export function replace(text, format, drop, added) {
  const kept = parse(text, format).filter((s) => !drop(s));
  const rest = join(kept).replace(/\s+$/, '');
  return `${rest ? `${rest}\n\n` : ''}${added.replace(/\s+$/, '')}\n`;
}

/** One value as UCI writes it. */
export const uciQuote = (v) => `'${String(v).replace(/'/g, "'\\''")}'`;
/** One string as TOML writes it. */
export const tomlQuote = (v) => JSON.stringify(String(v));
const tomlKey = (k) => (/^[A-Za-z0-9_-]+$/.test(k) ? k : tomlQuote(k));

/** `values`: [[option, value]]; an array is a list, null is left out. */
export function section(format, type, name, values) {
  const given = values.filter(([, v]) => v !== null && v !== undefined && v !== '' && !(Array.isArray(v) && v.length === 0));
  if (format === 'toml') {
    const head = name ? `[${type}.${tomlKey(name)}]` : `[[${type}]]`;
    return `${head}\n${given.map(([k, v]) => `${k} = ${tomlValue(v)}\n`).join('')}`;
  }
  const body = given.map(([k, v]) => (Array.isArray(v) ? v.map((one) => `\tlist ${k} ${uciQuote(one)}\n`).join('') : `\toption ${k} ${uciQuote(uciValue(v))}\n`));
  return `config ${type}${name ? ` ${uciQuote(name)}` : ''}\n${body.join('')}`;
}

const uciValue = (v) => (typeof v === 'boolean' ? (v ? '1' : '0') : v);

function tomlValue(v) {
  if (Array.isArray(v)) return `[${v.map(tomlValue).join(', ')}]`;
  if (v && typeof v === 'object') return `{ ${Object.entries(v).map(([k, x]) => `${tomlKey(k)} = ${tomlValue(x)}`).join(', ')} }`;
  return typeof v === 'number' || typeof v === 'boolean' ? String(v) : tomlQuote(v);
}

/** The options of a section: [{name, from, to}], lines `from` to before `to`; a value may go on over several lines. */
function entries(lines, format) {
  const begin = format === 'toml' ? /^\s*([A-Za-z0-9_-]+)\s*=/ : /^\s*(?:option|list)\s+['"]?([A-Za-z0-9_]+)['"]?\s/;
  const out = [];
  for (let i = 0; i < lines.length; i += 1) {
    const m = begin.exec(lines[i]);
    if (!m) continue;
    const from = i;
    let open = stillOpen(lines[i], '', format);
    const depth = () => (format === 'toml' ? brackets(lines.slice(from, i + 1).join('\n')) : 0);
    while ((open || depth() > 0) && i + 1 < lines.length) { i += 1; open = stillOpen(lines[i], open, format); }
    out.push({ name: m[1], from, to: i + 1 });
  }
  return out;
}

/** How many brackets are open outside of strings and comments. */
function brackets(text) {
  const bare = text.replace(/"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*/g, '');
  return (bare.match(/[[{]/g) || []).length - (bare.match(/[\]}]/g) || []).length;
}

/** The options of one section as plain values, for a form: name → string or list of strings. */
export function values(lines, format) {
  const out = {};
  for (const { name, from, to } of entries(lines, format)) {
    const text = lines.slice(from, to).join('\n');
    if (format === 'toml') {
      const value = text.slice(text.indexOf('=') + 1).trim();
      const strings = value.match(/"(?:[^"\\]|\\.)*"|'[^']*'/g);
      const plain = (s) => (s.startsWith('"') ? safeJson(s) : s.slice(1, -1));
      if (value.startsWith('[')) out[name] = (strings || []).map(plain);
      else out[name] = strings ? plain(strings[0]) : value.replace(/\s*#.*$/, '');
    } else {
      const value = unquote(text.replace(/^\s*(?:option|list)\s+\S+\s+/, ''));
      if (/^\s*list/.test(text)) (out[name] = [].concat(out[name] || [])).push(value);
      else out[name] = value;
    }
  }
  return out;
}

/** The lines with an option set to `value` (null: without it) where it is; everything else stays. */
export function setOption(lines, format, name, value) {
  const old = entries(lines, format).filter((e) => e.name === name);
  const kept = lines.filter((_, i) => !old.some((e) => i >= e.from && i < e.to));
  if (value === null || value === '' || (Array.isArray(value) && value.length === 0)) return kept;
  const added = format === 'toml' ? [`${tomlKey(name)} = ${tomlValue(value)}`]
    : [].concat(value).map((v) => `\t${Array.isArray(value) ? 'list' : 'option'} ${name} ${uciQuote(uciValue(v))}`);
  let at = old.length ? old[0].from : kept.length;
  while (!old.length && at > 0 && kept[at - 1].trim() === '') at -= 1;
  return [...kept.slice(0, at), ...added, ...kept.slice(at)];
}

function safeJson(s) { try { return JSON.parse(s); } catch { return s.slice(1, -1); } }

function unquote(word) {
  let out = '';
  let quote = '';
  for (let i = 0; i < word.length; i += 1) {
    const c = word[i];
    if (quote) {
      if (c === quote) quote = '';
      else if (c === '\\' && quote === '"') { i += 1; out += word[i] ?? ''; } else out += c;
    } else if (c === "'" || c === '"') quote = c;
    else if (c === '\\') { i += 1; out += word[i] ?? ''; } else if (/\s/.test(c) || c === '#') break;
    else out += c;
  }
  return out;
}
