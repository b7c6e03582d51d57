"""A GSM modem on a pseudo terminal: modem.py LINK PIN LOG PPPD-ARGUMENT...

Speaks AT (ITU-T V.250, 3GPP TS 27.007) as far as a caller needs, echo included; its SIM wants PIN once (`-`: none). Commands
are written to LOG. After ATD the far end's pppd has the line until it ends. A command that comes before the last one was
answered ends that one, as V.250, section 5.6.1, allows. Its process group is in LOG.pid.
"""
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
import tty

link, pin, log = sys.argv[1:4]
pppd = sys.argv[4:]
# A group of its own, so that it can be switched off with whom it calls.
os.setsid()
with open(log + ".pid", "w") as file:
    file.write(str(os.getpid()))
master, slave = os.openpty()
name = os.ttyname(slave)
if os.path.islink(link):
    os.unlink(link)
os.symlink(name, link)


def open_line():
    """Open as long as we are: the line does not hang up when a caller closes it."""
    global slave
    os.close(slave)
    slave = os.open(name, os.O_RDWR | os.O_NOCTTY)
    # As the last close of a real line does it, which a pseudo terminal does not while its other end is open: a caller that was
    # killed leaves PPP's line discipline.
    fcntl.ioctl(slave, termios.TIOCSETD, struct.pack("i", 0))
    tty.setraw(slave, termios.TCSANOW)


open_line()

ready = pin == "-"
tries = 3
echo = True


def say(*lines):
    for line in lines:
        os.write(master, b"\r\n" + line.encode() + b"\r\n")


def answer(command):
    """The lines that answer a command."""
    global ready, tries, echo
    if command == "ATE0":
        echo = False
    elif command == "ATZ":
        echo = True
    elif command == "AT+CPIN?":
        word = "READY" if ready else "SIM PIN" if tries else "SIM PUK"
        return ["+CPIN: " + word, "OK"]
    elif command.startswith("AT+CPIN="):
        if tries and command == 'AT+CPIN="%s"' % pin:
            ready, tries = True, 3
        else:
            tries = max(0, tries - 1)
            return ["+CME ERROR: 16" if tries else "+CME ERROR: 12"]
    elif command == "AT+CSQ":
        return ["+CSQ: 17,99", "OK"]
    elif command.startswith("ATD") and not ready:
        return ["+CME ERROR: 11"]
    elif command.startswith("ATD"):
        return ["CONNECT 115200"]
    elif not command.startswith("AT") or command.startswith("AT+") and command[:11] not in ("AT+CMEE=1", "AT+CGDCONT="):
        return ["ERROR"]
    return ["OK"]


def line():
    """The next command, without its end; echoed if that is on."""
    text = b""
    while True:
        try:
            byte = os.read(master, 1)
        except OSError:
            # The caller's session ended, and the kernel hung the line up for everybody.
            open_line()
            continue
        if echo:
            os.write(master, byte)
        if byte == b"\r":
            return text.decode("ascii", "replace").strip()
        text += byte


while True:
    command = line()
    if not command:
        continue
    with open(log, "a") as file:
        file.write(command + "\n")
    time.sleep(0.2)
    lines = answer(command)
    if command.startswith("AT+C") and select.select([master], [], [], 0.1)[0]:
        # Interrupted: it is not carried out.
        with open(log, "a") as file:
            file.write("interrupted\n")
        say("ERROR")
        continue
    say(*lines)
    if lines[0].startswith("CONNECT"):
        subprocess.call(pppd, stdin=master, stdout=master)
        # pppd leaves it as it needs it if it did not end in peace.
        os.set_blocking(master, True)
        open_line()
        say("NO CARRIER")
        echo = True
