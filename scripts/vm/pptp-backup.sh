# shellcheck shell=dash
# A backup by PPTP: pptpd in a modem-like box at the end of eth1's cable, as some providers of DSL have it.

provider
subscribers
router dsl
file ethernet/settings RED_TYPE=STATIC RED_DEV=red0 RED_ADDRESS=192.0.2.2 RED_NETMASK=255.255.255.0 DEFAULT_GATEWAY=192.0.2.1
file mwan/profiles/dsl TYPE=PPTP DEVICE=eth1 SERVER=10.0.0.138 ADDRESS=10.0.0.140/24 USERNAME=me@isp "PASSWORD='xyzzy plugh'"
static_red
ip netns exec isp ip address add 10.0.0.138/24 dev isp1
printf '%s\n' 'option /etc/ppp/options' 'localip 10.66.0.1' 'remoteip 10.66.0.100-120' 'ppp /usr/sbin/pppd' >/tmp/pptpd.conf
# pptpd calls its other half by a fixed path.
in_isp sh -c "mount -t overlay overlay -o lowerdir=$WORK/root/usr/sbin:/usr/sbin /usr/sbin && exec pptpd --fg --conf /tmp/pptpd.conf --listen 10.0.0.138" \
	>/tmp/pptpd.log 2>&1 &
daemon
within 60 "the primary works" says ' red (primary): STATIC on red0, kept, ipv4 online'
must "packets arrive by the primary" arrives_by isp0
must "no tunnel is open" not ip link show dev ppp776
silence isp0
within 90 "RED is the backup's" says 'RED is carried by dsl$'
must "packets arrive by the tunnel" arrives_by ppp
must "iface is the tunnel's" red iface ppp776
must "local-ipaddress is the tunnel's" red local-ipaddress "$(address ppp776)"
must "remote-ipaddress is the tunnel's" red remote-ipaddress 10.66.0.1
must "dns1 is the tunnel's" red dns1 9.9.9.9
speak
within 60 "RED is the primary's again" says 'RED is carried by primary$'
within 30 "packets arrive by the primary" arrives_by isp0
rm "$IPFIRE/mwan/profiles/dsl"
within 60 "the tunnel is closed" not ip link show dev ppp776
must "the address below it is given back" not has_address eth1
