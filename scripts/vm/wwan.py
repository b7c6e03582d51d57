"""The air between a modem's network device and its provider: wwan.py OURS THEIRS PROVIDER'S-NETWORK-NAMESPACE CALL

Two devices that carry bare IP packets, as a modem's in raw IP mode does. What one is given comes out of the other while the file CALL
is there, and is lost else.
"""
import ctypes
import fcntl
import os
import select
import struct
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 1, 0x1000, 0x40000000


def device(name):
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


ours = device(sys.argv[1])
with open(sys.argv[3]) as namespace:
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
        sys.exit(os.strerror(ctypes.get_errno()))
theirs = device(sys.argv[2])
while True:
    for end in select.select([ours, theirs], [], [])[0]:
        packet = os.read(end, 65536)
        if os.path.exists(sys.argv[4]):
            try:
                os.write(theirs if end == ours else ours, packet)
            except OSError:
                # That end is down: lost on the air.
                pass
