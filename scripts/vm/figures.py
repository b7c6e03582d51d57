"""What a switch of RED takes, by packets: figures.py WHAT PROVIDER'S-NETWORK-NAMESPACE DAEMON'S-LOG

Runs in the router's namespaces. Times on the wire are the kernel's, those of the daemon's decisions its log's; one clock.

  switch START OUT BACK   shell commands that start a daemon without memory, silence the primary's provider, and let it speak: from the
                     verdict to the first packet of a new flow by the backup; and packets lost of a flow that the backup carries
                     while RED is given back
  dial START OUT BACK NAME OWN   the same for the backup NAME that has to be dialled (START may be empty: one run): what the session itself
                     took, until the device OWN had an address or the file OWN was written, and what was added
"""
import ctypes
import datetime
import itertools
import os
import re
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

NEWNET, SO_TIMESTAMPNS, SO_RCVBUFFORCE, ETH_P_IP, PORT, RUNS = 0x40000000, 35, 33, 0x0800, 7777, 10
TARGET = "8.8.4.4"
PORTS = itertools.count(10000)
namespace, log = sys.argv[2:4]


class Wire(threading.Thread):
    """All UDP packets to the port that arrive at the provider's: time, device, source port, number."""

    def __init__(self):
        super().__init__(daemon=True)
        self.packets = []
        self.ready = threading.Event()

    def run(self):
        # Of this thread only: network namespaces are a thread's.
        with open(namespace) as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), NEWNET):
                sys.exit(os.strerror(ctypes.get_errno()))
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
        wire.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.ready.set()
        while True:
            data, control, _, sender = wire.recvmsg(2048, 256)
            head = (data[0] & 15) * 4
            if data[9] != socket.IPPROTO_UDP or sender[2] == socket.PACKET_OUTGOING:
                continue
            source, port = struct.unpack_from("!HH", data, head)
            if port == PORT and sender[0] != "lo":
                seconds, ns = struct.unpack("qq", control[0][2])
                number = struct.unpack_from("!I", data, head + 8)[0]
                self.packets.append((seconds + ns / 1e9, sender[0], source, number))


class Sender(threading.Thread):
    """A packet every `pause` seconds: each a flow of its own, or all of one."""

    def __init__(self, pause, one_flow=False):
        super().__init__(daemon=True)
        self.pause, self.one, self.on, self.number = pause, one_flow, True, 0
        self.source = None

    def run(self):
        flow = None
        while self.on:
            if flow is None:
                flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                # Never the port of a flow before: the kernel remembers where that went.
                flow.bind(("", next(PORTS)))
            try:
                flow.sendto(struct.pack("!I", self.number), (TARGET, PORT))
                self.source = flow.getsockname()[1]
            except OSError:
                # Unreachable in between: nobody carries.
                pass
            self.number += 1
            if not self.one:
                flow.close()
                flow = None
            time.sleep(self.pause)

    def end(self):
        self.on = False
        self.join()


def shell(command):
    subprocess.run(command, shell=True, check=True)


def lines(pattern, since):
    """Times of lines of the daemon's log that match, from `since` on."""
    found = []
    with open(log) as file:
        for line in file:
            stamp, _, text = line.partition(" ")
            if re.search(pattern, text):
                at = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
                found += [at] if at >= since else []
    return found


def verdict_at(since):
    """The log tells it behind the change of the kernel that it led to, and of that how long it took."""
    with open(log) as file:
        text = file.read()
    told = re.findall(r"^(\S+) .* us=(\d+)\n\S+ .*red ipv4 \(.*\): .* -> offline", text, re.M)
    stamp, us = told[-1]
    at = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp() - int(us) / 1e6
    if at < since:
        sys.exit("no verdict in the log")
    return at


def wait(what, condition, limit=120):
    until = time.time() + limit
    while not condition():
        if time.time() > until:
            sys.exit("not within %d s: %s" % (limit, what))
        time.sleep(0.05)


def figure(name, values, unit):
    print("%-80s %8.1f %s (median of %d, %.1f to %.1f)"
          % (name, statistics.median(values), unit, len(values), min(values), max(values)), flush=True)


def switch(start, out, back):
    wire = Wire()
    wire.start()
    wire.ready.wait()
    took, lost, sent = [], 0, 0
    for _ in range(RUNS):
        # A primary that fails every few seconds is rightly held back.
        shell(start)
        begin = time.time()
        flows = Sender(0.001)
        flows.start()
        shell(out)
        wait("RED is the backup's", lambda: lines("RED: take-over by .* done", begin))
        time.sleep(0.2)
        flows.end()
        verdict = verdict_at(begin)
        first = next(at for at, device, _, _ in wire.packets if device == "isp1" and at > begin)
        if not any(device == "isp0" and begin < at < verdict for at, device, _, _ in wire.packets):
            sys.exit("the primary did not carry before")
        took.append((first - verdict) * 1e3)
        # A flow that began by the backup stays there.
        kept = Sender(0.001, one_flow=True)
        kept.start()
        time.sleep(0.5)
        begin = time.time()
        shell(back)
        wait("RED is the primary's", lambda: lines("RED: giving back done", begin))
        time.sleep(0.5)
        kept.end()
        time.sleep(0.1)
        arrived = {number for _, device, source, number in wire.packets if source == kept.source and device == "isp1"}
        sent += kept.number
        lost += kept.number - len(arrived)
        wire.packets.clear()
    figure("verdict → first packet of a new flow by the backup, link up (≤ 50 ms)", took, "ms")
    print("%-80s %8d of %d packets, in %d failbacks" % ("lost of flows that stay on the backup at failback (0)", lost, sent, RUNS))


def dial(start, out, back, name, own):
    wire = Wire()
    wire.start()
    wire.ready.wait()
    theirs, ours = [], []
    for _ in range(RUNS if start else 1):
        if start:
            shell(start)
        watch = subprocess.Popen(["ip", "-ts", "-4", "monitor", "address"], stdout=subprocess.PIPE, text=True)
        begin = time.time()
        flows = Sender(0.005)
        flows.start()
        shell(out)
        wait("RED is the backup's", lambda: lines("RED: take-over by %s done" % name, begin))
        time.sleep(0.2)
        flows.end()
        watch.terminate()
        verdict = verdict_at(begin)
        dialled = lines("%s: .* is brought up" % name, begin)[-1]
        first = next(at for at, device, _, _ in wire.packets if device != "isp0" and at > verdict)
        took = established(watch.stdout.read(), own) - dialled
        theirs.append(took * 1e3)
        ours.append((first - verdict - took) * 1e3)
        shell(back)
    figure("the dial's own time", theirs, "ms")
    figure("verdict → first packet of a new flow by the dialled backup, less that (≤ 100 ms)", ours, "ms")


def established(told, own):
    """When the session was there: its device has an address, or, if `own` is a file, that was written."""
    if own.startswith("/"):
        return os.stat(own).st_mtime
    stamps = re.findall(r"^\[([^]]+)\].* %s .*inet " % own, told, re.M)
    return datetime.datetime.fromisoformat(stamps[-1]).timestamp()


{"switch": switch, "dial": dial}[sys.argv[1]](*sys.argv[4:])
