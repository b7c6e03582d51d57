// The real daemon in a network namespace of its own with two Internet links, and its web server: what the mock stands for.
// Runs inside a namespace already (scripts/test-dashboard makes it), so that Chromium reaches it at 127.0.0.1.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const MWAN = process.env.MWAN_BIN || `${process.env.CARGO_TARGET_DIR || `${root}target`}/debug/mwan`;
export const USER_PASSWORD = 'a long enough password';

const link = (n, name) => `
config interface '${name}'
	option enabled '1'
	option device 'eth${n}'
	list track_ip '198.51.100.${n}'
	option interval '0.2'
	option timeout '0.2'
	option down '3'
	option up '3'
	option check_quality '${n === 1 ? 1 : 0}'
	option failure_latency '150'
	option recovery_latency '100'
	option quality_window '20'

config member '${name}_m'
	option interface '${name}'
	option metric '${n}'
`;
const LINKS = `${link(1, 'fiber')}${link(2, 'cable')}
config policy 'first'
	list use_member 'fiber_m'
	list use_member 'cable_m'

config rule 'https'
	option proto 'tcp'
	option dest_port '443'
	option family 'ipv4'
	option use_policy 'first'
`;
const WEB = `config web
	option enabled '1'
	list listen '127.0.0.1:8480'
`;

export class Router {
  /** `config`: what stands in the file beside the web server; without it two links and their policy. */
  constructor({ config = LINKS } = {}) {
    assert.ok(existsSync(MWAN), `${MWAN} is not built: cargo build -p mwan --all-features`);
    this.dir = mkdtempSync(path.join(os.tmpdir(), 'mwan-dash-'));
    chmodSync(this.dir, 0o755);
    this.env = { ...process.env, MWAN_RUN_DIR: this.dir, MWAN_STATE_DIR: this.dir };
    this.config = path.join(this.dir, 'mwan3');
    this.first = `${WEB}${config}`;
    this.url = 'http://127.0.0.1:8480';
    this.children = [];
    this.isps = {};
  }

  sh(text) { return execFileSync('sh', ['-ec', text], { encoding: 'utf8', env: this.env, stdio: ['ignore', 'pipe', 'pipe'] }); }

  /** Another machine: the process that keeps its namespace. */
  async machine() {
    const child = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' });
    this.children.push(child);
    const mine = this.sh('readlink /proc/self/ns/net');
    // It is in its own namespace once unshare has been there.
    await until('a namespace', () => this.sh(`readlink /proc/${child.pid}/ns/net`) !== mine);
    return child.pid;
  }

  /** A link to a provider of its own, who has the target's address, and those the set-up proposes. */
  async provider(n) {
    const pid = await this.machine();
    this.isps[n] = pid;
    this.sh(`ip link add eth${n} type veth peer name site netns ${pid}
      ip addr add 203.0.113.${n * 8 + 2}/30 dev eth${n}; ip link set eth${n} up
      nsenter -t ${pid} -n sh -ec 'ip link set lo up; for ip in 198.51.100.${n} 1.1.1.1 8.8.8.8 9.9.9.9; do ip addr add $ip/32 dev lo; done; ip addr add 203.0.113.${n * 8 + 1}/30 dev site; ip link set site up'
      ip route add default via 203.0.113.${n * 8 + 1} dev eth${n} metric ${n}`);
  }

  /** What both providers lead to, and a machine in the LAN: each in a namespace of its own. */
  async world(...addresses) {
    this.inet = await this.machine();
    this.client = await this.machine();
    const inside = (pid, text) => this.sh(`nsenter -t ${pid} -n sh -ec '${text}'`);
    inside(this.inet, `ip link set lo up; ${addresses.map((a) => `ip addr add ${a}/32 dev lo`).join('; ')}`);
    for (const n of [1, 2]) {
      inside(this.isps[n], `ip link add inet type veth peer name isp${n} netns ${this.inet}
        ip addr add 192.0.2.${n * 4 + 1}/30 dev inet; ip link set inet up; sysctl -qw net.ipv4.ip_forward=1`);
      inside(this.inet, `ip addr add 192.0.2.${n * 4 + 2}/30 dev isp${n}; ip link set isp${n} up; ip route add 203.0.113.${n * 8}/30 via 192.0.2.${n * 4 + 1}`);
      inside(this.isps[n], addresses.map((a) => `ip route add ${a} via 192.0.2.${n * 4 + 2}`).join('; '));
    }
    this.sh(`ip link add lan type veth peer name router netns ${this.client}; ip addr add 192.168.1.1/24 dev lan; ip link set lan up`);
    inside(this.client, 'ip link set lo up; ip addr add 192.168.1.2/24 dev router; ip link set router up; ip route add default via 192.168.1.1');
  }

  /** A server at the far end that keeps what it is sent (lab/catchers/catch.py); what it has so far is what is returned. */
  async catch(kind, address, port) {
    const file = path.join(this.dir, `${kind}.jsonl`);
    const child = spawn('nsenter', ['-t', this.inet, '-n', '/usr/bin/python3', `${root}lab/catchers/catch.py`, kind, address, port, file], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (d) => { said += d; });
    this.children.push(child);
    await until(`a server for ${kind}`, () => existsSync(file), () => `${said}\nis python3-aiosmtpd installed (scripts/setup-debian)?`);
    return () => readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  async start() {
    // Never the host's own network.
    assert.equal(this.sh('ip -o link | wc -l').trim(), '1', 'run by scripts/test-dashboard, in a namespace of its own');
    // Without a search for duplicates addresses are there at once: a browser gives up what it is fetching when one comes later.
    this.sh('sysctl -qw net.ipv6.conf.default.accept_dad=0 2>/dev/null || true');
    this.sh('ip link set lo up; sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.netfilter.nf_conntrack_acct=1 2>/dev/null || true');
    await this.provider(1);
    await this.provider(2);
    writeFileSync(this.config, this.first);
    this.log = '';
    await this.run();
  }

  async run() {
    this.daemon = spawn(MWAN, ['daemon', '--config', this.config], { env: this.env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.daemon.stderr.on('data', (d) => { this.log += d; });
    this.children.push(this.daemon);
    await until('the web server listens', () => existsSync(path.join(this.dir, 'web.json')), () => this.log);
  }

  /** The daemon dies, as by a crash; `run` starts it again. */
  async die() {
    rmSync(path.join(this.dir, 'web.json'));
    const ended = new Promise((done) => { this.daemon.once('exit', done); });
    this.daemon.kill('SIGKILL');
    await ended;
  }

  /** The one-time link, as its owner sees it. */
  link() {
    return execFileSync(MWAN, ['web', 'init'], { encoding: 'utf8', env: this.env, stdio: ['ignore', 'pipe', 'ignore'] }).trim().split('\n')[0];
  }

  mwan(...args) { return execFileSync(MWAN, args, { encoding: 'utf8', env: this.env, stdio: ['ignore', 'pipe', 'ignore'] }); }

  /** The provider swallows everything: no carrier is lost, nobody says no. */
  blackhole(n) { this.sh(`nsenter -t ${this.isps[n]} -n nft 'add table inet hole; add chain inet hole in { type filter hook input priority 0; policy drop; }; add chain inet hole through { type filter hook forward priority 0; policy drop; }'`); }
  mend(n) { this.sh(`nsenter -t ${this.isps[n]} -n nft delete table inet hole`); }

  /** The two links and their policy, as at the start. */
  links() { return LINKS.trimStart(); }

  /** Somebody edits the file by hand. */
  edit(change) { writeFileSync(this.config, change(this.text())); }

  text() { return readFileSync(this.config, 'utf8'); }

  stop() {
    for (const child of this.children.reverse()) child.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Waits until `condition` holds; what is not there yet may throw. */
export async function until(what, condition, more = () => '') {
  const end = Date.now() + 30000;
  for (;;) {
    try { if (condition()) return; } catch { /* not yet */ }
    if (Date.now() > end) assert.fail(`${what}: not within 30 s\n${more()}`);
    await new Promise((next) => { setTimeout(next, 50); });
  }
}
