# shellcheck shell=dash
# A backup by VDSL: the VLAN below the session is made by mwan, and goes with it.

vlan_is_7() { ip -d link show dev eth1.7 | grep -q 'vlan protocol 802.1Q id 7 '; }

provider
router dsl
file ethernet/settings RED_TYPE=STATIC RED_DEV=red0 RED_ADDRESS=192.0.2.2 RED_NETMASK=255.255.255.0 DEFAULT_GATEWAY=192.0.2.1
file mwan/profiles/dsl TYPE=VDSL DEVICE=eth1 USERNAME=me@isp "PASSWORD='xyzzy plugh'"
static_red
ip netns exec isp ip link add link isp1 name isp1.7 type vlan id 7
ip netns exec isp ip link set isp1.7 up
concentrator isp1.7 10.67.0
daemon
within 60 "the primary works" says ' red (primary): STATIC on red0, kept, ipv4 online'
silence isp0
within 90 "RED is the backup's" says 'RED is carried by dsl$'
must "packets arrive by the session" arrives_by ppp
must "it is VLAN 7" vlan_is_7
must "iface is the session's" red iface ppp776
must "dns1 is the session's" red dns1 9.9.9.9
speak
within 60 "RED is the primary's again" says 'RED is carried by primary$'
within 30 "packets arrive by the primary" arrives_by isp0
# A backup lingers for the flows it has; one that is not configured any more does not.
rm "$IPFIRE/mwan/profiles/dsl"
within 60 "the session has ended" not ip link show dev ppp776
within 30 "its VLAN is gone" not ip link show dev eth1.7
