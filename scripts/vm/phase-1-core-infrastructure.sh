# shellcheck shell=dash
# The extension document's phase 1: its configuration structure, and several REDs of different types brought up from it, with nothing
# of IPFire's own changed.

cores() { (cd "$SYS/etc" && find . -type f -exec md5sum {} + && cd "$IPFIRE" && md5sum ethernet/* ppp/*) | sort; }
same_cores() { cores | cmp - /tmp/cores.before; }
table_of_is() { ip route show table "$1" | grep -q "^default .*dev $2"; }
all_work() { [ "$(status 2>/dev/null | grep -c 'ipv4 online')" = "$1" ]; }

provider eth0:isp0 eth1:isp1 eth2:isp2
router -
file ethernet/settings RED_TYPE=PPPOE RED_DEV=red0 GREEN_DEV=green0
file ppp/settings TYPE=pppoe USERNAME=me@isp "PASSWORD='xyzzy plugh'"
file mwan/settings MWAN_ENABLED=on MWAN_INTERFACE_COUNT=3 MWAN_LOAD_BALANCE_METHOD=weight MWAN_FAILOVER_ENABLED=on \
	"MWAN_MONITOR_INTERVAL=$CHECKS"
file mwan/interfaces/red0 INTERFACE_TYPE=DHCP INTERFACE_DEVICE=eth0 INTERFACE_WEIGHT=1 INTERFACE_PRIORITY=1 \
	INTERFACE_MONITOR_IP=8.8.8.8
file mwan/interfaces/red1 INTERFACE_TYPE=STATIC INTERFACE_DEVICE=eth1 INTERFACE_ADDRESS=198.51.100.2 \
	INTERFACE_NETMASK=255.255.255.0 INTERFACE_GATEWAY=198.51.100.1 INTERFACE_WEIGHT=1 INTERFACE_PRIORITY=2 \
	INTERFACE_MONITOR_IP=1.1.1.1
file mwan/interfaces/red2 INTERFACE_TYPE=PPPOE INTERFACE_DEVICE=eth2 INTERFACE_USERNAME=me@isp \
	"INTERFACE_PASSWORD='xyzzy plugh'"
dhcp_server isp0 192.0.2
ip netns exec isp ip address add 198.51.100.1/24 dev isp1
concentrator isp2 10.67.0
settings >/tmp/settings.before
cores >/tmp/cores.before
must "the configuration has nothing to complain of" "$MWAN" check "$IPFIRE/mwan/settings"
must "nothing is up before" not has_address eth0
daemon
within 90 "all three work" all_work 3
must "red0 is a lease" has_address eth0
must "red1 is the fixed address" test "$(address eth1)" = 198.51.100.2
must "red2 is a session of its own" has_address ppp12
must "red0 has a routing table" table_of_is 200 eth0
must "red1 has a routing table" table_of_is 201 eth1
must "red2 has a routing table" table_of_is 202 ppp12
must "a packet by red0 arrives at its provider's" arrives_by isp0 by red0
must "a packet by red1 arrives at its provider's" arrives_by isp1 by red1
must "a packet by red2 arrives at its provider's" arrives_by ppp by red2
must "no password is in an argument" not in_arguments plugh
must "nothing of IPFire's is changed" same_cores
must "the settings are as they were" same_settings

say "a half-written file"
cp "$IPFIRE/mwan/interfaces/red1" /tmp/red1
printf 'INTERFACE_TYPE=STA' >"$IPFIRE/mwan/interfaces/red1"
within 30 "it is said" logged 'interfaces/red1'
must "the others work" arrives_by isp0 by red0
cp /tmp/red1 "$IPFIRE/mwan/interfaces/red1"
within 60 "it works again" all_work 3

say "two of them"
sed -i 's/^MWAN_INTERFACE_COUNT=.*/MWAN_INTERFACE_COUNT=2/' "$IPFIRE/mwan/settings"
within 60 "the third is hung up" not ip link show dev ppp12
must "the others work" all_work 2
must "its routing table is empty" not table_of_is 202 ppp12
