# shellcheck shell=dash
# The daemon dies by SIGKILL while the session on trial is up beside the cable that carries: nothing temporary outlives it, what
# carries goes on carrying, and the next daemon gives RED back.

# shellcheck source=scripts/vm/pppoe-primary
. "$WORK/scripts/pppoe-primary"

prepare
fails_over
speak
within 90 "a session on trial answers while the cable carries" on_trial_beside_cable
kill -9 "$DAEMON"
say "the daemon is killed"
within 30 "the session on trial ends with it" not ip link show dev ppp99
must "packets arrive by the cable" arrives_by isp1
must "iface is the cable's" red iface eth1
daemon
must "RED is the cable's for the next one, too" says 'RED is carried by cable$'
must "packets arrive by the cable" arrives_by isp1
gives_back
