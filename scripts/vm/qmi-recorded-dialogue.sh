# shellcheck shell=dash
# A backup by QMI. NOT on the real protocol: nothing here speaks QMI. scripts/vm/qmicli plays recorded dialogue of the real program, and
# packets go through a pair of devices that carry bare IP, as a modem's does in the mode that is asked for. PIN and login are told to
# scripts/vm/qmi-modem.py, which answers on the control device as libqmi's data files say.

asked() { [ "$(grep -c -- "$1" /tmp/qmi-commands)" -ge 1 ]; }
at_most() { [ "$(grep -c -- "$1" /tmp/qmi-commands)" -le "$2" ]; }
raw_ip_is() { [ "$(cat /sys/class/net/wwan0/qmi/raw_ip)" = "$1" ]; }
told() { [ "$(grep -c -- "$1" /tmp/qmi-told)" = "$2" ]; }
# Its PIN has eight digits: four are in the microseconds of a log sooner or later.
profile() { file mwan/profiles/dongle TYPE=QMI DEVICE=wwan0 APN=internet.example "PIN=$1" USERNAME=me PASSWORD=xyzzy; }
mtu_is() { ip link show dev wwan0 | grep -q " mtu $1 "; }

provider
router dongle
file ethernet/settings RED_TYPE=STATIC RED_DEV=red0 RED_ADDRESS=192.0.2.2 RED_NETMASK=255.255.255.0 DEFAULT_GATEWAY=192.0.2.1
profile 1111
static_red
python3 "$WORK/scripts/wwan.py" wwan0 wwan-isp /run/netns/isp /tmp/qmi-call >/tmp/wwan.log 2>&1 &
within 20 "the modem's device is there" ip link show dev wwan0
within 20 "the provider's is there" ip netns exec isp ip link show dev wwan-isp
ip netns exec isp ip link set wwan-isp up
ip netns exec isp ip route add 10.240.212.143 dev wwan-isp
# The driver's switch, which no other device has: a file in a folder of its own. The devices beside it are links, as they were.
mount -t sysfs sysfs /sys
mkdir -p /tmp/net/wwan0/qmi
cp -a /sys/class/net/red0 /sys/class/net/eth1 /tmp/net/
echo N >/tmp/net/wwan0/qmi/raw_ip
mount --bind /tmp/net /sys/class/net
python3 "$WORK/scripts/qmi-modem.py" /dev/cdc-wdm0 47110815 /tmp/qmi-told >/tmp/qmi-modem.log 2>&1 &
within 20 "the modem's control device is there" test -e /dev/cdc-wdm0
mkdir /tmp/qmi
cp "$WORK/scripts/qmicli" /tmp/qmi/
mount -t overlay overlay -o lowerdir=/tmp/qmi:/usr/bin /usr/bin
: >/tmp/qmi-no-service
daemon
within 60 "the primary works" says ' red (primary): STATIC on red0, kept, ipv4 online'
must "the modem was not asked" not test -e /tmp/qmi-commands
silence isp0
within 60 "the PIN is refused" says ' dongle: .*refused: the SIM refused the PIN; it is not tried again'
sleep 15
must "it was told once" told 'PIN 1111' 1
kill -9 "$DAEMON"
daemon
within 30 "the next daemon knows it, too" says ' dongle: .*refused: the SIM refused the PIN; it is not tried again'
sleep 10
must "it was not told again" told 'PIN 1111' 1
must "no call was asked for" not test -e /tmp/qmi-call
kill -9 "$DAEMON"
profile 47110815
daemon
within 60 "there is no network" says ' dongle: .*waiting: no carrier'
must "raw IP mode was chosen before" raw_ip_is Y
rm /tmp/qmi-no-service
within 90 "RED is the modem's" says 'RED is carried by dongle$'
must "the access point was named" told 'profile 1: internet.example me xyzzy' "$(grep -c profile /tmp/qmi-told)"
must "the call is by the profile" asked '--wds-start-network=3gpp-profile=1,ip-type=4'
must "the PIN was told once: the SIM is ready since" told 'PIN 47110815' 1
must "no client of the modem's is left" grep -qx 0 /tmp/qmi-told.clients
must "PIN and password are in no argument" not grep -q '47110815\|xyzzy' /tmp/qmi-commands
must "the PIN is not in the log" not logged 47110815
must "the password is not in the log" not logged xyzzy
must "packets arrive by the modem" arrives_by wwan-isp
must "iface is the modem's" red iface wwan0
must "local-ipaddress is the modem's" red local-ipaddress 10.240.212.143
must "remote-ipaddress is what it told" red remote-ipaddress 10.240.212.144
must "dns1 is what it told" red dns1 9.9.9.9
must "the MTU is what it told" mtu_is 1430

say "the network ends the call"
: >/tmp/qmi-hang-up
within 30 "it is said" logged 'dongle: the far end ended it'
within 5 "no process is left a zombie" not zombies
rm /tmp/qmi-hang-up
within 90 "packets arrive by a new call" arrives_by wwan-isp
speak
within 60 "RED is the primary's again" says 'RED is carried by primary$'
within 30 "packets arrive by the primary" arrives_by isp0
must "there is still a call, for the flows that have not ended" test -e /tmp/qmi-call
rm "$IPFIRE/mwan/profiles/dongle"
within 60 "the call is ended" not test -e /tmp/qmi-call
within 20 "the device has no address" not has_address wwan0
