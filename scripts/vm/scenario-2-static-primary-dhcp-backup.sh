# shellcheck shell=dash
# The document's scenario 2: RED with a fixed address, leases behind it, whose client dies by SIGKILL while it carries.

# The one that the daemon started: others may be its own helpers.
client() { pgrep -P "$DAEMON" dhcpcd; }
lease_again() { client && has_address eth1 && says 'RED is carried by cable$'; }

provider
router cable
file ethernet/settings RED_TYPE=STATIC RED_DEV=red0 RED_ADDRESS=192.0.2.2 RED_NETMASK=255.255.255.0 DEFAULT_GATEWAY=192.0.2.1
file mwan/profiles/cable TYPE=DHCP DEVICE=eth1
static_red
(cd "$IPFIRE/red" && md5sum -- *) >/tmp/red.before
dhcp_server isp1 198.51.100
daemon
within 60 "the primary works" says ' red (primary): STATIC on red0, kept, ipv4 online'
within 60 "the cable works" says ' cable: DHCP on eth1, up, ipv4 online'
must "packets arrive by the primary" arrives_by isp0
silence isp0
within 60 "RED is the cable's" says 'RED is carried by cable$'
must "packets arrive by the cable" arrives_by isp1
must "iface is the cable's" red iface eth1
must "local-ipaddress is the lease's" red local-ipaddress "$(address eth1)"
must "remote-ipaddress is the lease's" red remote-ipaddress 198.51.100.1
must "dns1 is the lease's" red dns1 149.112.112.112
say "its client is killed"
kill -9 "$(client)"
within 30 "the daemon has seen it" logged 'WARN.* cable: '
within 5 "no process is left a zombie" not zombies
within 60 "there is a lease again, and RED is the cable's" lease_again
must "packets arrive by the cable" arrives_by isp1
speak
within 60 "RED is the primary's again" says 'RED is carried by primary$'
within 30 "packets arrive by the primary" arrives_by isp0
red_as_before() { (cd "$IPFIRE/red" && md5sum -- *) | cmp - /tmp/red.before; }
must "its files are as they were, to the byte" red_as_before
must "the primary's copy is forgotten" not test -e "$IPFIRE/mwan/state/primary-backup"
