# shellcheck shell=dash
# A modem whose SIM is ready: one that wants no PIN, and one that has had it. No command may interrupt another, and a PIN that
# is not asked for is not told.

provider
subscribers
router mobile
file ethernet/settings RED_TYPE=STATIC RED_DEV=red0 RED_ADDRESS=192.0.2.2 RED_NETMASK=255.255.255.0 DEFAULT_GATEWAY=192.0.2.1
file mwan/profiles/mobile TYPE=GSM DEVICE=ttyTEST0 APN=internet.example
static_red
modem -
daemon
within 60 "the primary works" says ' red (primary): STATIC on red0, kept, ipv4 online'
for pin in '' 1234; do
	silence isp0
	within 120 "RED is the modem's" says 'RED is carried by mobile$'
	must "packets arrive by the session" arrives_by ppp
	must "no command interrupted another" said interrupted 0
	must "no PIN was told" said 'AT+CPIN=' 0
	speak
	within 60 "RED is the primary's again" says 'RED is carried by primary$'
	[ -z "$pin" ] || break
	# Another profile: the session ends, and is dialled anew when it is needed.
	file mwan/profiles/mobile TYPE=GSM DEVICE=ttyTEST0 APN=internet.example PIN=1234
	within 60 "the session has ended" not ip link show dev ppp10
done
must "it was dialled twice" said 'ATD\*99#' 2
