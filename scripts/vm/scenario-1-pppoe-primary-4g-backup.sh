# shellcheck shell=dash
# The document's scenario 1: RED by PPPoE, a 4G dongle behind it whose SIM is ready. No command to it may interrupt another, and a PIN
# that is not asked for is not told. Its session dies by SIGKILL while it carries, and is dialled anew.

# shellcheck source=scripts/vm/pppoe-primary
. "$WORK/scripts/pppoe-primary"

provider
router mobile
file ethernet/settings RED_TYPE=PPPOE RED_DEV=red0 GREEN_DEV=green0
file ppp/settings TYPE=pppoe USERNAME=me@isp "PASSWORD='xyzzy plugh'" AUTH=pap-or-chap
file mwan/profiles/mobile TYPE=GSM DEVICE=ttyTEST0 APN=internet.example
# Long enough on trial for a shell in an emulated machine to see it.
sed -i 's/^FAILBACK_ATTEMPTS=.*/FAILBACK_ATTEMPTS=6/' "$IPFIRE/mwan/settings"
concentrator isp0 10.67.0
modem -
settings >/tmp/settings.before
ipfire_dials red0
daemon
within 60 "the primary works" says ' red (primary): PPPOE on ppp0, kept, ipv4 online'
must "packets arrive by the primary" arrives_by ppp
must "the modem was not called" not test -e /tmp/modem-commands
silence isp0
within 120 "RED is the modem's" says 'RED is carried by mobile$'
must "packets arrive by its session" arrives_by modem
must "no command interrupted another" said interrupted 0
must "no PIN was told" said 'AT+CPIN=' 0
must "it was dialled once" said 'ATD\*99#' 1
must "iface is the session's" red iface ppp223
must "remote-ipaddress is the session's" red remote-ipaddress 10.69.0.1
must "dns1 is the session's" red dns1 9.9.9.9
must "IPFire's session is ended" not ip link show dev ppp0

say "its pppd is killed"
kill -9 "$(head -n 1 /run/ppp223.pid)"
within 30 "the daemon has seen it" logged 'WARN .*mobile: '
within 5 "no process is left a zombie" not zombies
within 120 "it was dialled again" said 'ATD\*99#' 2
within 60 "packets arrive by the new session" arrives_by modem

speak
within 90 "a session on trial answers while the modem carries" on_trial_beside_modem
gives_back

# Another profile: the session ends, and is dialled anew when it is needed.
file mwan/profiles/mobile TYPE=GSM DEVICE=ttyTEST0 APN=internet.example PIN=1234
settings >/tmp/settings.before
within 60 "the session has ended" not ip link show dev ppp223
silence isp0
within 120 "RED is the modem's" says 'RED is carried by mobile$'
must "the SIM that had its PIN was told none" said 'AT+CPIN=' 0
must "no command interrupted another" said interrupted 0
must "it was dialled for the third time" said 'ATD\*99#' 3
