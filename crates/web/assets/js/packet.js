// A packet as fields of a form, as the query of the API, and what is wrong with it. Pure.

export const PROTOCOLS = [['tcp', 'TCP'], ['udp', 'UDP'], ['ping', 'Ping'], ['sctp', 'SCTP'], ['gre', 'GRE'], ['esp', 'ESP']];
export const PORTED = ['tcp', 'udp', 'sctp'];
const NAMES = ['from', 'in', 'family', 'sport'];

/** `a=1&b=2` of what is not empty. */
function query(values) {
  return new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
}

/** Sentences begin with a capital, and what somebody has written stays as it is. */
const capital = (s) => (/^[a-z]+[ ,]/.test(s) ? s[0].toUpperCase() + s.slice(1) : s);

export const socket = (address, port) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);

/** The query that means exactly this connection of the list. */
export const flowQuery = (f) => query({ flow: f.id ? String(f.id) : f.sport || f.dport ? `${f.proto} ${socket(f.src, f.sport)} ${socket(f.dst, f.dport)}` : `${f.proto} ${f.src} ${f.dst}` });

/** What stands in the address as fields of the form. */
export function readForm(given) {
  const form = Object.fromEntries(NAMES.map((name) => [name, given.get(name) || '']));
  const [, end, protocol] = /^(.*?)(?:\/([^/]*))?$/.exec(given.get('to') || '');
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(end) || [null, null, end, ''];
  const known = PROTOCOLS.some(([p]) => p === protocol);
  if (protocol && !known && !['icmp', 'icmpv6', 'ipv6-icmp'].includes(protocol)) return { ...form, to: given.get('to'), port: '', protocol: 'tcp' };
  const used = known ? protocol : port || !end ? 'tcp' : 'ping';
  return { ...form, to: bracketed ?? plain, port: port || '', protocol: used };
}

/** The fields of the form as the query. What has a port or a protocol already is taken as it is. */
export function writeForm({ to, port, protocol, ...rest }) {
  const address = to.trim();
  let end = address;
  if (/^\[.*\]:\d+$|^[^:/]+:\d+$/.test(address)) end = PORTED.includes(protocol) ? `${address}/${protocol}` : address;
  else if (address && !address.includes('/')) {
    if (PORTED.includes(protocol)) end = `${port.trim() ? socket(address, port.trim()) : address}/${protocol}`;
    else if (protocol !== 'ping') end = `${address}/${protocol}`;
  }
  return query({ to: end, ...Object.fromEntries(NAMES.map((name) => [name, rest[name].trim()])) });
}

/** Words of the daemon for the command line → the field they are about. The first that fits. */
const ABOUT = [
  ['from', /its destination of|to come from|packets come from|comes in has a source/],
  ['in', /interface '|device/],
  ['family', / is of \S+, not of /],
  ['protocol', /is not a protocol|does not go to|a port belongs to/],
  ['port', /is not a port|port is not said/],
  ['sport', /sport|source port/],
];
const LABELS = { to: 'Destination', from: 'Source', in: 'Comes in by', family: 'Family', sport: 'Source port', flow: 'the connection' };

/** {field, text} of a refusal: beside which field it belongs, and in the words of this page. */
export function complaint(error) {
  const words = error.hint ? `${error.message}. ${capital(error.hint)}` : error.message;
  const text = words.replace(/, or --flow WORDS/, '').replace(/--(to|from|in|family|sport|flow)\b/g, (_, name) => LABELS[name]);
  const found = ABOUT.find(([, pattern]) => pattern.test(error.message));
  return { field: found ? found[0] : 'to', text: `${capital(text)}.` };
}
