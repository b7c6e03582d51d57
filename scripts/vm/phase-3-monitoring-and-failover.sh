# shellcheck shell=dash
# The extension document's phase 3: each RED is asked for an address of its own; one that does not answer is left, with its hooks run,
# and used again when it answers. The settings are the document's, but for the time between two checks.

settings_are() { file mwan/settings MWAN_ENABLED=on MWAN_INTERFACE_COUNT=2 MWAN_LOAD_BALANCE_METHOD=weight "MWAN_FAILOVER_ENABLED=$1" "MWAN_MONITOR_INTERVAL=$CHECKS"; }
hooks_are() { [ "$(grep -c "^$1\$" /tmp/mwan-hooks)" = "$2" ]; }
policy_says() { "$MWAN" --run-dir /run/mwan policies | tr '\n' ' ' | grep -q -- "$1"; }
both_work() { policy_says 'red0 (50%).*red1 (50%)'; }
# It may go either way, but the answer comes from there only.
arrives_somewhere() { ping -c 1 -W 5 8.8.4.4; }
# answers ADDRESS yes|no: the provider's server there, by whichever cable it is asked.
answers() {
	if [ "$2" = yes ]; then
		ip netns exec isp nft delete table ip dead
	else
		printf 'table ip dead {\nchain asked {\ntype filter hook prerouting priority -10\nip daddr %s drop\n}\n}\n' "$1" | ip netns exec isp nft -f -
	fi
}

provider eth0:isp0 eth1:isp1
router -
for folder in mwan.up mwan.down; do
	# shellcheck disable=SC2016 # expanded when the hook runs
	printf '#!/bin/sh\necho "%s $INTERFACE $DEVICE" >> /tmp/mwan-hooks\n' "$folder" >"$NETWORKING/$folder/10-tell"
	chmod +x "$NETWORKING/$folder/10-tell"
done
file ethernet/settings RED_TYPE=PPPOE RED_DEV=red0 GREEN_DEV=green0
settings_are on
file mwan/interfaces/red0 INTERFACE_TYPE=DHCP INTERFACE_DEVICE=eth0 INTERFACE_WEIGHT=1 INTERFACE_PRIORITY=1 INTERFACE_MONITOR_IP=8.8.8.8
file mwan/interfaces/red1 INTERFACE_TYPE=DHCP INTERFACE_DEVICE=eth1 INTERFACE_WEIGHT=1 INTERFACE_PRIORITY=2 INTERFACE_MONITOR_IP=1.1.1.1
dhcp_server isp0 192.0.2
dhcp_server isp1 198.51.100
daemon
within 90 "both carry" both_work
within 20 "mwan.up was run for the first" hooks_are 'mwan.up red0 eth0' 1
within 20 "mwan.up was run for the second" hooks_are 'mwan.up red1 eth1' 1
must "mwan.down was not run" hooks_are 'mwan.down .*' 0

answers 8.8.8.8 no
say "the first's address does not answer"
within 60 "the first is out" policy_says 'red1 (100%)'
must "it says why" says ' red0: .* ipv4 offline'
must "packets arrive by the second" arrives_by isp1
within 20 "mwan.down was run for it" hooks_are 'mwan.down red0 eth0' 1
answers 8.8.8.8 yes
within 60 "it carries again" both_work
within 20 "mwan.up was run for it" hooks_are 'mwan.up red0 eth0' 2

ip netns exec isp ip link set isp1 down
say "the second's cable is pulled"
within 30 "it is out" policy_says 'red0 (100%)'
must "packets arrive by the first" arrives_by isp0
within 20 "mwan.down was run for it" hooks_are 'mwan.down red1 eth1' 1
ip netns exec isp ip link set isp1 up
within 90 "it carries again" both_work

say "the daemon is killed"
kill -9 "$DAEMON"
must "packets arrive without it" arrives_somewhere
daemon
within 60 "both carry" both_work
must "no hook was run for what had not changed" hooks_are 'mwan.down .*' 2

settings_are off
say "MWAN_FAILOVER_ENABLED=off"
within 30 "nobody asks" says ' red0: .* ipv4 online (no track_ip'
answers 8.8.8.8 no
sleep 10
must "the first carries all the same" both_work
