# shellcheck shell=dash
# A backup by PPPoE whose password is wrong: it is said, tried seldom, and does not lock the account; with the right one it
# works without a restart.

# shellcheck source=scripts/vm/pppoe-primary
. "$WORK/scripts/pppoe-primary"

provider
router dsl
file ethernet/settings RED_TYPE=STATIC RED_DEV=red0 RED_ADDRESS=192.0.2.2 RED_NETMASK=255.255.255.0 DEFAULT_GATEWAY=192.0.2.1
file mwan/profiles/dsl TYPE=PPPOE DEVICE=eth1 USERNAME=me@isp PASSWORD=wrong
static_red
concentrator isp1 10.67.0
daemon
within 60 "the primary works" says ' red (primary): STATIC on red0, kept, ipv4 online'
must "packets arrive by the primary" arrives_by isp0
silence isp0
within 90 "the status says it" says ' dsl: PPPOE on ppp776, waiting: user name or password was refused; tried again in [0-9]* s'
must "the log says it" logged 'dsl: user name or password was refused'
must "no password is in the log" not logged wrong
sleep 20
must "it was tried once in the meantime" attempts_are 1
speak
within 60 "the primary carries again" arrives_by isp0
file mwan/profiles/dsl TYPE=PPPOE DEVICE=eth1 USERNAME=me@isp "PASSWORD='xyzzy plugh'"
sleep 2
silence isp0
within 90 "with the right one RED is the backup's" says 'RED is carried by dsl$'
must "packets arrive by the session" arrives_by ppp
must "remote-ipaddress is the session's" red remote-ipaddress 10.67.0.1
must "two sessions were asked for" attempts_are 2
