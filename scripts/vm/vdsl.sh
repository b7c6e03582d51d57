# shellcheck shell=dash
# RED by VDSL: PPPoE over the VLAN 7 of red0, as IPFire dials it; a lease behind it.

# shellcheck source=scripts/vm/pppoe-primary
. "$WORK/scripts/pppoe-primary"

provider
router cable
file ethernet/settings RED_TYPE=PPPOE RED_DEV=red0 GREEN_DEV=green0
file ppp/settings TYPE=vdsl USERNAME=me@isp "PASSWORD='xyzzy plugh'" AUTH=chap
file mwan/profiles/cable TYPE=DHCP DEVICE=eth1
sed -i 's/^FAILBACK_ATTEMPTS=.*/FAILBACK_ATTEMPTS=6/' "$IPFIRE/mwan/settings"
ip netns exec isp ip link add link isp0 name isp0.7 type vlan id 7
ip netns exec isp ip link set isp0.7 up
# IPFire's script makes it for VDSL, and leaves it.
ip link add link red0 name red0.7 type vlan id 7
ip link set red0.7 up
concentrator isp0.7 10.67.0
dhcp_server isp1 198.51.100
settings >/tmp/settings.before
ipfire_dials red0.7
daemon
within 60 "the primary works" says ' red (primary): PPPOE on ppp0, kept, ipv4 online'
within 60 "the cable works" says ' cable: DHCP on eth1, up, ipv4 online'
must "packets arrive by the primary" arrives_by ppp
fails_over
speak
within 90 "a session on trial answers while the cable carries" on_trial_beside_cable
gives_back
must "IPFire's VLAN is still there" ip link show dev red0.7
