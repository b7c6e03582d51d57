# shellcheck shell=dash
# The extension document's phase 2: routing tables, methods and the spread of traffic. Two REDs by PPPoE at once, IPFire's own session
# and one of mwan's: 1:1, then 3:1, then the one with the lower priority.

provider
router -
ip netns exec isp nft -f - <<'EOF'
table ip spread {
	set first { type ipv4_addr; elements = { 10.67.0.100-10.67.0.199 }; flags interval; }
	set second { type ipv4_addr; elements = { 10.68.0.100-10.68.0.199 }; flags interval; }
	counter first { }
	counter second { }
	chain asked {
		type filter hook prerouting priority 0
		tcp dport 7777 tcp flags syn ip saddr @first counter name first
		tcp dport 7777 tcp flags syn ip saddr @second counter name second
	}
}
EOF
file ethernet/settings RED_TYPE=PPPOE RED_DEV=red0 GREEN_DEV=green0
file ppp/settings TYPE=pppoe USERNAME=me@isp "PASSWORD='xyzzy plugh'" AUTH=pap-or-chap
file mwan/settings MWAN_ENABLED=on MWAN_INTERFACE_COUNT=2 MWAN_LOAD_BALANCE_METHOD=weight "MWAN_MONITOR_INTERVAL=$CHECKS"
file mwan/interfaces/red0 INTERFACE_WEIGHT=1
file mwan/interfaces/red1 INTERFACE_TYPE=PPPOE INTERFACE_DEVICE=eth1 INTERFACE_USERNAME=me@isp "INTERFACE_PASSWORD='xyzzy plugh'" \
	INTERFACE_WEIGHT=1
concentrator isp0 10.67.0
concentrator isp1 10.68.0
ipfire_dials red0
daemon
policy_says() { "$MWAN" --run-dir /run/mwan policies | tr '\n' ' ' | grep -q -- "$1"; }
table_of_is() { ip route show table "$1" | grep -q "^default .*dev $2"; }
both_work() { [ "$(says_count 'ipv4 online')" = 2 ]; }
says_count() { status 2>/dev/null | grep -c -- "$1"; }
asked() { ip netns exec isp nft list counter ip spread "$1" | sed -n 's/.*packets \([0-9]*\) .*/\1/p'; }
# A hundred, each a connection of its own, and what became of them in $first and $second.
connections() {
	ip netns exec isp nft reset counters table ip spread >/dev/null
	python3 -c 'import socket
for _ in range(100):
    try: socket.create_connection(("8.8.4.4", 7777), 10)
    except ConnectionRefusedError: pass' || fail "a connection"
	first=$(asked first) second=$(asked second)
	say "connections: $first by the first, $second by the second"
	must "they are all there" test $((first + second)) -ge 100
}

within 90 "both work" both_work
must "the second has a session of its own" has_address ppp11
connections
# Chance (binomial, n = 100, p = 1/2): outside of this less than once in ten million.
must "the first has about half" test "$first" -ge 22
must "the second has about half" test "$second" -ge 22
must "the first has a routing table" table_of_is 200 ppp0
must "the second has a routing table" table_of_is 201 ppp11

say "weights 3:1"
file mwan/interfaces/red0 INTERFACE_WEIGHT=3
within 30 "the policy has them" policy_says 'red0 (75%)'
connections
# n = 100, p = 3/4: outside of this less than once in a million.
must "the first has about three quarters" test "$first" -ge 53
must "and no more than that" test "$first" -le 93

say "method failover"
file mwan/interfaces/red0 INTERFACE_PRIORITY=2
sed -i 's/^INTERFACE_WEIGHT=.*/INTERFACE_PRIORITY=1/' "$IPFIRE/mwan/interfaces/red1"
file mwan/settings MWAN_ENABLED=on MWAN_INTERFACE_COUNT=2 MWAN_LOAD_BALANCE_METHOD=failover "MWAN_MONITOR_INTERVAL=$CHECKS"
within 30 "the policy has it" policy_says 'red1 (100%)'
connections
must "the second has all of them" test "$second" -ge 100
must "the first has none" test "$first" = 0
silence isp1
within 60 "the second is out" says " red1: .* ipv4 offline\| red1: .* ipv4 disabled"
must "packets arrive by the other" arrives_by ppp
speak
within 120 "the second is back" both_work
