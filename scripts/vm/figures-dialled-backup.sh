# shellcheck shell=dash
# What a switch to a backup that has to be dialled takes: a PPPoE session. The figures are an emulated machine's, several times those of
# real hardware, and nothing is held against them: see docs/ipfire.md.

provider
router dsl
file ethernet/settings RED_TYPE=STATIC RED_DEV=red0 RED_ADDRESS=192.0.2.2 RED_NETMASK=255.255.255.0 DEFAULT_GATEWAY=192.0.2.1
file mwan/profiles/dsl TYPE=PPPOE DEVICE=eth1 USERNAME=me@isp "PASSWORD='xyzzy plugh'"
static_red
concentrator isp1 10.67.0
daemon
within 60 "the primary works" says ' red (primary): STATIC on red0, kept, ipv4 online'
cat >/tmp/silence <<'END'
table netdev silence {
	chain in_isp0 { type filter hook ingress device isp0 priority 0; policy drop; }
}
END
python3 "$WORK/scripts/figures.py" dial /run/netns/isp /tmp/daemon.log '' 'ip netns exec isp nft -f /tmp/silence' true dsl ppp776 >/tmp/figures.log 2>&1 || fail "the measurement"
sed 's/^/   /' /tmp/figures.log
must "RED is the backup's" says 'RED is carried by dsl$'
