# shellcheck shell=dash
# RED by PPPoE, as IPFire dials it; a cable modem that gives leases behind it. The access concentrator stops answering, and
# returns: it is tried by a session of its own while the cable carries.

# shellcheck source=scripts/vm/pppoe-primary
. "$WORK/scripts/pppoe-primary"

prepare
fails_over
speak
within 90 "a session on trial answers while the cable carries" on_trial_beside_cable
gives_back
