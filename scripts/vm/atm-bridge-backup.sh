# shellcheck shell=dash
# network: the machine's own; the kernel has ATM sockets in no other (net/atm/pvc.c, pvc_create)
#
# A backup over an ATM bridge (RFC 2684), as DSL cards make it: br2684ctl at both ends of two ATM interfaces, which are a module of our own
# (scripts/vm/atmpair says why it is not atmtcp). First a lease over the bridge, then PPPoE over it, as IPFire's type pppoeatm is.

has_card_address() { ip link show dev "$1" | grep -q 'link/ether 02:'; }

provider
router line
file ethernet/settings RED_TYPE=STATIC RED_DEV=red0 RED_ADDRESS=192.0.2.2 RED_NETMASK=255.255.255.0 DEFAULT_GATEWAY=192.0.2.1
file mwan/profiles/line TYPE=ATM VPI=1 VCI=32 ENCAP=0
static_red
# IPFire has br2684ctl there.
mount -t overlay overlay -o "lowerdir=$WORK/root/usr/sbin:/usr/sbin" /usr/sbin
within 20 "two ATM interfaces are there" grep -q '^ *1 atmpair' /proc/net/atm/devices
br2684ctl -c 1 -e 0 -a 1.1.32 >/tmp/br2684ctl-theirs.log 2>&1 &
within 20 "the far end of the bridge is there" has_card_address nas1
ip link set nas1 netns isp
ip netns exec isp ip link set nas1 up
dhcp_server nas1 198.51.100
daemon
within 60 "the primary works" says ' red (primary): STATIC on red0, kept, ipv4 online'
within 60 "the bridge works" says ' line: DHCP on nas0, up, ipv4 online'
silence isp0
within 60 "RED is the bridge's" says 'RED is carried by line$'
must "packets arrive by the bridge" arrives_by nas1
must "iface is the bridge's" red iface nas0
must "local-ipaddress is the lease's" red local-ipaddress "$(address nas0)"
must "remote-ipaddress is the lease's" red remote-ipaddress 198.51.100.1
speak
within 60 "RED is the primary's again" says 'RED is carried by primary$'
within 30 "packets arrive by the primary" arrives_by isp0

say "PPPoE over it"
concentrator nas1 10.67.0
file mwan/profiles/line TYPE=PPPOEATM VPI=1 VCI=32 ENCAP=0 USERNAME=me@isp "PASSWORD='xyzzy plugh'"
within 60 "the bridge is taken down" not ip link show dev nas0
silence isp0
within 90 "RED is the session's" says 'RED is carried by line$'
must "packets arrive by the session" arrives_by ppp
must "iface is the session's" red iface ppp639
must "the session is over the bridge" ip link show dev nas0
speak
within 60 "RED is the primary's again" says 'RED is carried by primary$'
rm "$IPFIRE/mwan/profiles/line"
within 60 "the session has ended" not ip link show dev ppp639
within 30 "the bridge is gone" not ip link show dev nas0
