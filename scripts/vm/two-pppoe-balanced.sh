# shellcheck shell=dash
# Two REDs by PPPoE at once (the extension's dialect), 1:1: IPFire's own session and one of mwan's.

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
file mwan/settings MWAN_ENABLED=on MWAN_INTERFACE_COUNT=2 MWAN_LOAD_BALANCE_METHOD=weight MWAN_MONITOR_INTERVAL=2
file mwan/interfaces/red0 INTERFACE_WEIGHT=1
file mwan/interfaces/red1 INTERFACE_TYPE=PPPOE INTERFACE_DEVICE=eth1 INTERFACE_USERNAME=me@isp "INTERFACE_PASSWORD='xyzzy plugh'" \
	INTERFACE_WEIGHT=1
concentrator isp0 10.67.0
concentrator isp1 10.68.0
ipfire_dials red0
daemon
both_work() { [ "$(says_count 'ipv4 online')" = 2 ]; }
says_count() { status 2>/dev/null | grep -c -- "$1"; }
within 90 "both work" both_work
must "the second has a session of its own" has_address ppp11
# Weighted and per connection: a hundred of them, each by itself either way.
i=0
while [ $i -lt 100 ]; do
	python3 -c 'import socket
try: socket.create_connection(("8.8.4.4", 7777), 10)
except ConnectionRefusedError: pass' || fail "connection $i"
	i=$((i + 1))
done
count() { ip netns exec isp nft list counter ip spread "$1" | sed -n 's/.*packets \([0-9]*\) .*/\1/p'; }
first=$(count first) second=$(count second)
say "connections: $first by the first, $second by the second"
# Chance (binomial, n = 100, p = 1/2): outside of this less than once in ten million.
must "they are all there" test $((first + second)) -ge 100
must "the first has about half" test "$first" -ge 22
must "the second has about half" test "$second" -ge 22
silence isp1
within 60 "the second is out" says " red1: .* ipv4 offline\| red1: .* ipv4 disabled"
must "packets arrive by the other" arrives_by ppp
speak
within 120 "the second is back" both_work
