"""A stand-in for a modem that speaks QMI, on a pseudo terminal: qmi-modem.py LINK PIN LOG

As far as a PIN and a login are told, and as public implementations (libqmi, Sierra Wireless's headers) have it: there is no such modem
here. Its SIM wants PIN once, and takes three wrong ones. What it was told is written to LOG; when its profile 1 has a login, there is
LOG.profile. Clients that are allocated are in LOG.clients. An indication comes before every answer.
"""
import os
import struct
import sys
import tty

link, pin, log = sys.argv[1:4]
master, slave = os.openpty()
tty.setraw(slave)
if os.path.islink(link):
    os.unlink(link)
os.symlink(os.ttyname(slave), link)
tries = 3
ready = False
clients = 0


def told(text):
    with open(log, "a") as file:
        file.write(text + "\n")


def values_of(data):
    found = {}
    while data:
        kind, length = struct.unpack_from("<BH", data)
        found[kind] = data[3:3 + length]
        data = data[3 + length:]
    return found


def value(kind, data):
    return struct.pack("<BH", kind, len(data)) + data


def card_status():
    """One card with a USIM, the primary application."""
    state = 7 if ready else 2 if tries else 3
    pin1 = 2 if ready else 1 if tries else 4
    return (struct.pack("<HHHH", 0, 0xFFFF, 0xFFFF, 0xFFFF) + bytes([1, 1, 0, 0, 0, 0, 1, 2, state, 0, 0, 0, 0, 2, 0xA0, 0, 0])
            + bytes([pin1, tries, 10, 0, 0, 0]))


def verify(info):
    """The error."""
    global tries, ready
    said = info[2:2 + info[1]].decode()
    told("PIN " + said)
    if tries and said == pin:
        ready, tries = True, 3
        return 0
    tries = max(0, tries - 1)
    return 12 if tries else 35


def answer(service, message, values):
    """Error, and what is told."""
    global clients
    if (service, message) == (0, 0x22):
        clients += 1
        return 0, value(1, values[1] + b"\x05")
    if (service, message) == (0, 0x23):
        clients -= 1
        return 0, value(1, values[1])
    if (service, message) == (0x0B, 0x2F):
        return 0, value(0x10, card_status())
    if (service, message) == (0x0B, 0x26):
        error = verify(values[2])
        return error, value(0x10, bytes([tries, 10])) if error else b""
    if (service, message) == (1, 0x28):
        told("profile %d: %s %s %s" % (values[1][1], values[0x14].decode(), values[0x1B].decode(), values[0x1C].decode()))
        open(log + ".profile", "w").close()
        return 0, b""
    return 71, b""


def handle(service, client, data):
    control = service == 0
    head = data[:2] if control else data[:3]
    message, length = struct.unpack_from("<HH", data, len(head))
    error, values = answer(service, message, values_of(data[len(head) + 4:len(head) + 4 + length]))
    values = value(2, struct.pack("<HH", 1 if error else 0, error)) + values
    sdu = (b"\x01" if control else b"\x02") + head[1:] + struct.pack("<HH", message, len(values)) + values
    indication = b"\x04\x01\x00" + struct.pack("<HH", 0x4E, 0)
    for to, content in (((3, 0xFF), indication), ((service, client), sdu)):
        os.write(master, struct.pack("<BHBBB", 1, 5 + len(content), 0x80, *to) + content)
    with open(log + ".clients", "w") as file:
        file.write("%d\n" % clients)


read = b""
while True:
    read += os.read(master, 4096)
    while len(read) >= 3 and len(read) > struct.unpack_from("<H", read, 1)[0]:
        whole = 1 + struct.unpack_from("<H", read, 1)[0]
        handle(read[4], read[5], read[6:whole])
        read = read[whole:]
