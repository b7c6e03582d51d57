# shellcheck shell=dash
# The document's scenario 3: RED by a lease, a modem behind it, whose SIM wants a PIN; then a PIN that is wrong, which is tried once only.

kill_chat() { pkill -9 -x chat; }

# Eight digits: four are in the microseconds of a log sooner or later.
profile() { file mwan/profiles/mobile 'BACKUP_TYPE="GSM"' 'BACKUP_DEVICE="/dev/ttyTEST0"' "BACKUP_PIN=\"$1\"" "BACKUP_APN=\"${2:-internet.example}\""; }

provider
subscribers
router mobile
file ethernet/settings RED_TYPE=DHCP RED_DEV=red0 GREEN_DEV=green0
profile 35071468
dhcp_server isp0 192.0.2
dhcp_red
modem 35071468
daemon
within 60 "the primary works" says ' red (primary): DHCP on red0, kept, ipv4 online'
must "packets arrive by the primary" arrives_by isp0
must "the modem was not called" not test -e /tmp/modem-commands
settings >/tmp/settings.before
silence isp0
say "chat is killed while it talks to the modem"
within 60 "chat talks" kill_chat
within 30 "the daemon has seen it" logged 'WARN.* mobile: '
within 5 "no process is left a zombie" not zombies
within 120 "RED is the modem's" says 'RED is carried by mobile$'
must "packets arrive by the session" arrives_by ppp
must "the PIN was told once" said 'AT+CPIN="35071468"' 1
must "the access point was named" said 'AT+CGDCONT=1,"IP","internet.example"' 1
must "it was dialled once" said 'ATD\*99#' 1
must "no command interrupted another" said interrupted 0
must "iface is the session's" red iface ppp223
must "local-ipaddress is the session's" red local-ipaddress 10.69.0.100
must "remote-ipaddress is the session's" red remote-ipaddress 10.69.0.1
must "dns1 is the session's" red dns1 9.9.9.9
must "the lease is still the primary's" has_address red0
must "the PIN is in no argument" not in_arguments 35071468
must "the PIN is not in the log" not logged 35071468
speak
within 60 "RED is the primary's again" says 'RED is carried by primary$'
within 30 "packets arrive by the primary" arrives_by isp0
must "iface is the primary's" red iface red0
must "the settings are as they were" same_settings

say "another SIM"
kill -- "-$(cat /tmp/modem-commands.pid)"
rm -f /tmp/modem-commands /dev/ttyTEST0
modem 8888
within 60 "the session with the first has ended" not ip link show dev ppp223
profile 1111
silence isp0
within 120 "the status says that the PIN was refused" says ' mobile: .*refused: the SIM refused the PIN; it is not tried again'
sleep 30
must "it was tried once" said 'AT+CPIN=' 1
profile 1111 other.example
sleep 30
must "it was not tried again because something else changed" said 'AT+CPIN=' 1
kill -9 "$DAEMON"
daemon
within 30 "the next daemon knows it, too" says ' mobile: .*refused: the SIM refused the PIN; it is not tried again'
sleep 15
must "it was not tried again" said 'AT+CPIN=' 1
profile 8888
within 120 "with the right one RED is the modem's" says 'RED is carried by mobile$'
must "packets arrive by the session" arrives_by ppp
