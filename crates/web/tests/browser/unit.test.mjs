// The pure modules, and what is true of the files as such. No browser.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import * as sections from '../../assets/js/sections.js';
import { diff } from '../../assets/js/diff.js';
import * as format from '../../assets/js/format.js';
import * as model from '../../assets/js/model.js';
import * as packet from '../../assets/js/packet.js';
import { UCI, World } from './mock.mjs';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const assets = fileURLToPath(new URL('../../assets/', import.meta.url));
const files = readdirSync(assets, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => path.join(e.parentPath || e.path, e.name));
const own = files.filter((f) => !f.includes('/vendor/'));

describe('files', () => {
  test('all together are under 150 KB compressed', () => {
    const sum = files.reduce((n, f) => n + gzipSync(readFileSync(f), { level: 9 }).length, 0);
    console.log(`# ${files.length} files, ${(sum / 1000).toFixed(1)} kB compressed`);
    assert.ok(sum < 150 * 1000, `${sum} bytes`);
  });

  test('the libraries are what npm has', () => {
    execFileSync(`${root}scripts/vendor-assets`, ['--check'], { stdio: 'pipe' });
  });

  test('nothing is written as HTML, evaluated, or fetched from elsewhere', () => {
    for (const f of own) {
      const text = readFileSync(f, 'utf8');
      for (const banned of ['innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write', 'eval(', 'new Function', 'dangerouslySet']) assert.ok(!text.includes(banned), `${f} has ${banned}`);
      for (const url of text.match(/(?:src|href|url\(|import|from)\s*[=(]?\s*["'`]https?:[^"'`]*/g) || []) assert.fail(`${f}: ${url}`);
      if (f.endsWith('.html')) assert.ok(!/<script(?![^>]*\bsrc=)|\son\w+=|style=/.test(text), `${f} has inline script or style`);
    }
  });

  test('every module that is named is there, and what the first page needs is preloaded', () => {
    const html = readFileSync(path.join(assets, 'index.html'), 'utf8');
    const wanted = new Set(); const queue = ['js/app.js'];
    while (queue.length) {
      const name = queue.pop();
      if (wanted.has(name)) continue;
      wanted.add(name);
      const text = readFileSync(path.join(assets, name), 'utf8');
      for (const [, from] of text.matchAll(/^(?:import|export)[^;]*?from ?['"](\.[^'"]+)['"]/gm)) queue.push(path.join(path.dirname(name), from));
      for (const [, from] of text.matchAll(/import\('(\.[^']+)'\)/g)) assert.ok(statSync(path.join(assets, path.dirname(name), from)).isFile(), from);
    }
    for (const name of wanted) if (name !== 'js/app.js') assert.ok(html.includes(`rel="modulepreload" href="${name}"`), `index.html does not preload ${name}`);
  });
});

describe('documentation', () => {
  test('has its pictures, and they stay small', () => {
    const page = readFileSync(`${root}docs/dashboard.md`, 'utf8');
    const named = [...page.matchAll(/dashboard\/([a-z]+\.png)/g)].map((m) => m[1]).sort();
    const there = readdirSync(`${root}docs/dashboard`).sort();
    assert.deepEqual(named, there);
    const sum = there.reduce((n, f) => n + statSync(`${root}docs/dashboard/${f}`).size, 0);
    assert.ok(sum <= 300 * 1024, `${sum} bytes`);
  });
});

describe('configuration text', () => {
  test('comes back byte for byte', () => {
    for (const text of [UCI, '', '\n', '# only a comment', "config a 'b'\n\toption c 'one\nconfig not_a_section\n'\n\nconfig d\n", "package mwan3\n\nconfig 'interface' \"x\" # y\n"]) {
      assert.equal(sections.join(sections.parse(text, 'uci')), text);
    }
    const toml = 'a = 1\n\n[wan."a b"]\nx = """\n[wan.not]\n"""\n# of the rule\n[[rule]]\nname = "r"\n[alert.ops]\nto = ["a", "b"]\n';
    assert.equal(sections.join(sections.parse(toml, 'toml')), toml);
    assert.deepEqual(sections.parse(toml, 'toml').map((s) => [s.type, s.name]), [['', ''], ['wan', 'a b'], ['rule', ''], ['alert', 'ops']]);
  });

  test('a section in a quoted value is none, and a comment above a section goes with it', () => {
    const text = "# keep\nconfig globals\n\toption c 'x\nconfig rule r\n'\n# of the rule\nconfig rule 'r2'\n\toption use_policy p\n";
    assert.equal(sections.replace(text, 'uci', (s) => s.type === 'rule', 'config rule new\n'), "# keep\nconfig globals\n\toption c 'x\nconfig rule r\n'\n\nconfig rule new\n");
  });

  test('values are quoted as each format wants it, and read back', () => {
    const values = [['type', 'email'], ['to', ["o'brien@example.com", 'b']], ['from', null], ['enabled', true], ['port', 587]];
    const uci = sections.section('uci', 'alert', 'ops', values);
    assert.equal(uci, "config alert 'ops'\n\toption type 'email'\n\tlist to 'o'\\''brien@example.com'\n\tlist to 'b'\n\toption enabled '1'\n\toption port '587'\n");
    assert.deepEqual(sections.values(uci.split('\n'), 'uci'), { type: 'email', to: ["o'brien@example.com", 'b'], enabled: '1', port: '587' });
    const toml = sections.section('toml', 'alert', 'a b', [...values, ['text', 'q"\\']]);
    assert.equal(toml, '[alert."a b"]\ntype = "email"\nto = ["o\'brien@example.com", "b"]\nenabled = true\nport = 587\ntext = "q\\"\\\\"\n');
    assert.deepEqual(sections.values(toml.split('\n'), 'toml'), { type: 'email', to: ["o'brien@example.com", 'b'], enabled: 'true', port: '587', text: 'q"\\' });
  });
});

describe('an option', () => {
  const toml = '[wan.a]\ndevice = "eth1"\ntargets = [ # two\n  "1.1.1.1",\n  "8.8.8.8", # ]\n]\nup = 3 # rounds\n\n'.split('\n');
  test('is read over several lines', () => {
    assert.deepEqual(sections.values(toml, 'toml'), { device: 'eth1', targets: ['1.1.1.1', '8.8.8.8'], up: '3' });
    assert.deepEqual(sections.values(['config interface a', "\toption x 'one", "two'", '\tlist y a', "\tlist y 'b c'"], 'uci'), { x: 'one\ntwo', y: ['a', 'b c'] });
  });
  test('is set where it is, added at the end, or taken out', () => {
    const set = (name, value) => sections.setOption(toml, 'toml', name, value).join('\n');
    assert.equal(set('targets', ['9.9.9.9']), '[wan.a]\ndevice = "eth1"\ntargets = ["9.9.9.9"]\nup = 3 # rounds\n\n');
    assert.equal(set('down', 2), `${toml.slice(0, -2).join('\n')}\ndown = 2\n\n`);
    assert.equal(set('up', null), toml.filter((l) => !l.startsWith('up')).join('\n'));
  });
});

describe('the set-up writes what mwan takes', () => {
  const built = [process.env.MWAN_BIN, `${process.env.CARGO_TARGET_DIR || `${root}target`}/debug/mwan`].find((p) => p && existsSync(p));
  const wans = (n) => [{ device: 'eth1', name: 'fiber', families: ['ipv4', 'ipv6'], weight: 3 }, { device: 'wwan0.2', name: 'lte', families: ['ipv4'], weight: 1 }, { device: 'eth3', name: 'eth3', families: ['ipv4'], weight: 1 }].slice(0, n);
  for (const fmt of ['uci', 'toml']) {
    for (const mode of ['failover', 'balance']) {
      test(`${mode}, ${fmt}`, { skip: built ? false : 'mwan is not built' }, async () => {
        globalThis.document = { body: { dataset: {} } };
        const { write } = await import('../../assets/js/pages/wizard.js');
        for (const n of [1, 2, 3]) {
          const text = write({ format: fmt, text: '' }, wans(n), mode);
          const file = path.join(mkdtempSync(path.join(os.tmpdir(), 'mwan-')), fmt === 'toml' ? 'mwan.toml' : 'mwan3');
          writeFileSync(file, text);
          const { status, stdout, stderr } = spawnSync(built, ['check', file], { encoding: 'utf8' });
          assert.equal(status, 0, `${text}\n${stdout}${stderr}`);
          assert.doesNotMatch(stdout + stderr, /(error|warning)\[/, text);
        }
      });
    }
  }
});

describe('lines that differ', () => {
  const ops = (a, b) => diff(a, b, 0).map((l) => l.op + (l.text ?? l.count)).join('|');
  test('are the fewest', () => {
    assert.equal(ops('a\nb\nc\n', 'a\nc\n'), ' a|-b| c'.replace(/^/, ''));
    assert.equal(ops('a\nb\n', 'a\nx\nb\n'), ' a|+x| b');
    assert.equal(ops('', 'a'), '-|+a');
    assert.equal(diff('same', 'same').filter((l) => '+-'.includes(l.op)).length, 0);
  });
  test('far ones are folded, and a huge change does not hang', () => {
    const long = Array.from({ length: 5000 }, (_, i) => `line ${i}`).join('\n');
    assert.deepEqual(diff(long, `${long}\nmore`).map((l) => l.op).join(''), '…   +');
    assert.ok(diff(long, long.replaceAll('line', 'other')).length >= 10000);
  });
});

describe('words', () => {
  test('numbers as people read them', () => {
    assert.equal(format.bits(0), '0 bit/s');
    assert.equal(format.bits(82_400_000), '82.4 Mbit/s');
    assert.equal(format.bits(999_700), '1.00 Mbit/s');
    assert.equal(format.bits(null), '–');
    assert.equal(format.bitsRound(20e6), '20 Mbit/s');
    assert.equal(format.bytes(1536), '1.54 kB');
    assert.equal(format.duration(0), '0 s');
    assert.equal(format.duration(59), '59 s');
    assert.equal(format.duration(3725), '1 h 2 min');
    assert.equal(format.duration(86400 * 3), '3 d');
    assert.equal(format.percent(0.5), '0.5 %');
    assert.equal(format.ms(8.04), '8.0 ms');
    assert.equal(format.list(['a', 'b', 'c']), 'a, b and c');
  });

  test('a diagnostic is taken apart', () => {
    assert.deepEqual(model.diagnostic({ severity: 'error', code: 'E0205', text: "/etc/config/mwan3:12: error[E0205]: interface 'a', option 'up': 'x' is no number; hint: from 1 on" }),
      { severity: 'error', code: 'E0205', line: 12, message: "interface 'a', option 'up': 'x' is no number", hint: 'from 1 on' });
    assert.deepEqual(model.diagnostic({ severity: 'note', code: 'N0001', text: 'mwan.toml: note[N0001]: all: is well' }), { severity: 'note', code: 'N0001', line: 0, message: 'all: is well', hint: '' });
  });

  test('the site in a sentence', () => {
    const world = new World({ events: 0 });
    const said = () => model.headline(world.status(), Date.now(), Date.now());
    assert.deepEqual([said().tone, said().title, said().text], ['ok', 'All 3 WANs work.', 'fiber and cable carry new connections.']);
    // A cloud's document makes a policy for each mode; the rules lead to one of them.
    world.led = ['fiber_first'];
    assert.equal(said().text, 'fiber carries new connections.');
    world.led = [];
    assert.deepEqual([said().tone, said().title], ['warn', 'WANs are online, but no rule uses them.']);
    world.led = ['balanced'];
    world.find('cable').drained = true;
    assert.deepEqual([said().tone, said().title, said().text], ['calm', 'cable is drained by hand.', 'fiber carries new connections.']);
    world.find('cable').drained = false;
    world.become('fiber', 'disconnecting', 'failing', '3 of 5 rounds lost');
    assert.deepEqual([said().tone, said().title], ['warn', 'fiber is failing.']);
    world.fail('fiber');
    assert.equal(said().tone, 'bad');
    assert.match(said().text, /^cable carries new connections\. fiber: 5 rounds in a row lost, since \d\d:\d\d\.$/);
    world.fail('cable'); world.fail('lte');
    assert.equal(said().title, 'All WANs are offline.');
  });

  test('a cable that is pulled is no switch in the configuration', () => {
    const world = new World({ events: 0 });
    const said = () => model.headline(world.status(), Date.now(), Date.now());
    const state = () => model.interfaceState(world.status().interfaces.find((i) => i.name === 'cable'));
    world.become('cable', 'disabled', 'no_carrier', 'device eth2 has no carrier');
    assert.equal(state(), 'offline');
    assert.deepEqual([said().tone, said().title], ['bad', 'cable is offline.']);
    assert.match(said().text, /cable: device eth2 has no carrier, since /);
    assert.equal(model.eventWords(world.events.at(-1)), 'cable (IPv4) is offline: device eth2 has no carrier');
    world.become('cable', 'disabled', 'not_seen', 'the network has not been read yet');
    assert.equal(state(), 'unknown');
    world.become('cable', 'disabled', 'taken_down', 'taken down by its owner');
    assert.deepEqual([state(), said().title], ['stopped', 'cable is taken down by hand.']);
    assert.equal(model.eventWords(world.events.at(-1)), 'cable (IPv4) is taken down: taken down by its owner');
  });

  test('a packet is the same in the form, in the address and for the API', () => {
    const empty = { from: '', in: '', family: '', sport: '', to: '', port: '', protocol: 'tcp' };
    for (const [form, query] of [
      [{ to: '1.1.1.1', port: '443', protocol: 'tcp' }, 'to=1.1.1.1%3A443%2Ftcp'],
      [{ to: '2001:db8::1', port: '53', protocol: 'udp', from: '2001:db8:1::5' }, 'to=%5B2001%3Adb8%3A%3A1%5D%3A53%2Fudp&from=2001%3Adb8%3A1%3A%3A5'],
      [{ to: '1.1.1.1', port: '', protocol: 'ping', family: 'ipv4' }, 'to=1.1.1.1&family=ipv4'],
      [{ to: '2001:db8::1', port: '', protocol: 'gre', from: '192.168.1.5', in: 'lan 0&x' }, 'to=2001%3Adb8%3A%3A1%2Fgre&from=192.168.1.5&in=lan+0%26x'],
      [{ to: '1.1.1.1', port: '5060', protocol: 'udp', sport: '7' }, 'to=1.1.1.1%3A5060%2Fudp&sport=7'],
    ]) {
      assert.equal(packet.writeForm({ ...empty, ...form }), query);
      assert.deepEqual(packet.readForm(new URLSearchParams(query)), { ...empty, ...form });
    }
    const to = (form) => new URLSearchParams(packet.writeForm({ ...empty, ...form })).get('to');
    assert.equal(to({ to: ' 1.1.1.1:53 ', port: '443', protocol: 'udp' }), '1.1.1.1:53/udp', 'what has a port already has that');
    assert.equal(to({ to: '[2001:db8::1]:53', protocol: 'ping' }), '[2001:db8::1]:53');
    assert.equal(to({ to: '1.1.1.1/47', protocol: 'udp' }), '1.1.1.1/47');
    assert.equal(to({ to: '1.1.1.1', port: '', protocol: 'udp' }), '1.1.1.1/udp', 'the router says that the port is missing');
    assert.deepEqual(packet.readForm(new URLSearchParams('to=1.1.1.1/igmp')), { ...empty, to: '1.1.1.1/igmp' });
    assert.deepEqual(packet.readForm(new URLSearchParams('')), empty);
    assert.equal(packet.flowQuery({ id: 7 }), 'flow=7');
    assert.equal(packet.flowQuery({ proto: 'tcp', src: '2001:db8::1', sport: 1, dst: '2001:db8::2', dport: 443 }), 'flow=tcp+%5B2001%3Adb8%3A%3A1%5D%3A1+%5B2001%3Adb8%3A%3A2%5D%3A443');
  });

  test('what the router says of a packet stands beside its field, in words of the page', () => {
    const field = (message, hint) => packet.complaint({ message, hint }).field;
    assert.equal(field('x is not an address to send to'), 'to');
    assert.equal(field('10.0.0.0/8 is a network; a packet has one destination'), 'to');
    assert.equal(field('x is not an address to come from'), 'from');
    assert.equal(field('a packet that comes in has a source'), 'from');
    assert.equal(field('no such packet can exist: 2001:db8::1 is of IPv6, its destination of IPv4'), 'from');
    assert.equal(field("there is no enabled interface 'x'"), 'in');
    assert.equal(field("the destination's port is not said"), 'port');
    assert.equal(field('no such packet can exist: 1.1.1.1 is of ipv4, not of ipv6'), 'family');
    assert.equal(field('no such packet can exist: icmp does not go to 2001:db8::1; IPv6 has icmpv6'), 'protocol');
    assert.equal(field('the query does not fit: sport: invalid digit found in string'), 'sport');
    assert.equal(packet.complaint({ message: 'where to is not said', hint: 'add --to ADDRESS:PORT/PROTOCOL, or --flow WORDS' }).text, 'Where to is not said. Add Destination ADDRESS:PORT/PROTOCOL.');
  });

  test('what the made-up router explains is what the API has', () => {
    const { schemas } = JSON.parse(readFileSync(`${root}docs/openapi.json`, 'utf8')).components;
    const names = (name) => Object.keys(schemas[name].properties).sort();
    const { body } = new World({ events: 0 }).explain(new URLSearchParams('flow=7'));
    const parts = { Explanation: body, ExplainedPacket: body.packet, ExplainedStep: body.steps[0], AskedRule: body.rules[0], ExplainedMember: body.members[0], ExplainedWay: body.ways[0], NextDecision: body.next, ExplainedFlow: body.flow };
    for (const [name, part] of Object.entries(parts)) assert.deepEqual(Object.keys(part).sort(), names(name), name);
    const [{ text, ...revision }] = new World({ events: 0 }).revisions;
    assert.deepEqual(Object.keys(revision).sort(), names('Revision'));
  });

  test('kinds of events are those of the API', () => {
    const { schemas } = JSON.parse(readFileSync(`${root}docs/openapi.json`, 'utf8')).components;
    const kinds = [schemas.EventKind].flatMap((s) => s.enum || (s.oneOf || []).flatMap((o) => o.enum || o.const));
    assert.deepEqual(Object.keys(model.KINDS).sort(), [...kinds].sort());
  });

  test('what a rule would use now', () => {
    const world = new World({ events: 0 });
    const words = (target, family) => model.carrierWords(model.carrierOf(world.status(), target, family));
    assert.equal(words('balanced', 'ipv4'), 'fiber 75 %, cable 25 %');
    assert.equal(words('fiber_first', 'ipv4'), 'fiber');
    assert.equal(words('default', 'ipv4'), 'main routing table');
    const event = (over) => model.eventWords({ kind: 'path', interface: 'a', family: 'ipv6', from: 'online', to: 'offline', text: 'a ipv6 (eth1): online -> offline: 3 rounds in a row lost', ...over });
    assert.equal(event({}), 'a (IPv6) is offline: 3 rounds in a row lost');
    assert.equal(event({ text: 'another text' }), 'another text');
    assert.equal(event({ kind: 'switch', policy: 'p', from: 'a+c', to: 'b', text: 'policy p ipv6: a+c -> b' }), 'policy p (IPv6) moves from a and c to b');
    world.fail('fiber');
    assert.equal(words('balanced', 'ipv6'), 'refused (unreachable)');
    assert.equal(words('fiber_first', 'ipv4'), 'lte');
  });
});
