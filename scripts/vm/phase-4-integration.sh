# shellcheck shell=dash
# The extension document's phase 4: its hooks mwan.up/20-firewall and mwan.up/25-update-dns-forwarders, with a firewall and a forwarder that
# obey them and are asked by packets, and the tools that tell how it stands.

# Where somebody outside is let in: the firewall's doing.
lets_in() { ip netns exec isp ping -c 1 -W 2 "$(address "$1")"; }
# Each provider's name server tells itself by what it answers; and answers nobody else.
forwarder_asks() { busybox nslookup who.test 127.0.0.1 2>&1 | grep -q "Address.* $1\$"; }
name_server() { # DEVICE ADDRESS ANSWER
	ip netns exec isp ip address add "$2/32" dev lo
	in_isp dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --listen-address="$2" --bind-interfaces --user=root \
		--pid-file= "--address=/who.test/$3" --log-facility=- >"/tmp/names-$1.log" 2>&1 &
	echo "add rule ip arrivals asked ip daddr $2 iifname != \"$1\" drop" | ip netns exec isp nft -f -
}
hook() { # FOLDER/NAME, its text on the standard input
	cat >"$NETWORKING/$1"
	chmod +x "$NETWORKING/$1"
}
firewall_knows() { nft list set ip firewall red | grep -q "\"$1\""; }
policy_says() { "$MWAN" --run-dir /run/mwan policies | tr '\n' ' ' | grep -q -- "$1"; }
tells_carried() { "$MWAN" --run-dir /run/mwan status | grep -q "$1 (100%)"; }
# The program under the name that owners know.
config() { (ln -sf "$MWAN" /tmp/mwan-config && MWAN_RUN_DIR=/run/mwan /tmp/mwan-config "$@"); }
config_says() { config status | grep -q -- "$1"; }
status_is_json() { "$MWAN" --run-dir /run/mwan status --json | python3 -c 'import json, sys; assert json.load(sys.stdin)["policies"]'; }

provider eth0:isp0 eth1:isp1
router -
file ethernet/settings RED_TYPE=PPPOE RED_DEV=red0 GREEN_DEV=green0
file mwan/settings MWAN_ENABLED=on MWAN_INTERFACE_COUNT=2 MWAN_LOAD_BALANCE_METHOD=weight "MWAN_MONITOR_INTERVAL=$CHECKS"
file mwan/interfaces/red0 INTERFACE_TYPE=DHCP INTERFACE_DEVICE=eth0 INTERFACE_MONITOR_IP=8.8.8.8
file mwan/interfaces/red1 INTERFACE_TYPE=STATIC INTERFACE_DEVICE=eth1 INTERFACE_ADDRESS=198.51.100.2/24 INTERFACE_GATEWAY=198.51.100.1 \
	INTERFACE_DNS1=1.0.0.1 INTERFACE_MONITOR_IP=1.1.1.1
dhcp_server isp0 192.0.2
ip netns exec isp ip address add 198.51.100.1/24 dev isp1
name_server isp0 149.112.112.112 10.0.0.10
name_server isp1 1.0.0.1 10.0.0.11
# The router's firewall drops what comes from devices it knows to be RED, as IPFire's does, but for answers.
nft -f - <<'END'
table ip firewall {
	set red { type ifname; }
	chain input {
		type filter hook input priority 0
		ct state established,related accept
		iifname @red drop
	}
}
END
hook mwan.up/20-firewall <<'END'
#!/bin/sh
exec nft add element ip firewall red "{ \"$DEVICE\" }"
END
hook mwan.down/20-firewall <<'END'
#!/bin/sh
exec nft delete element ip firewall red "{ \"$DEVICE\" }"
END
# What the document calls update-mwan-dns: the name servers of all REDs that work. The forwarder looks at the file by itself.
cat >/tmp/update-mwan-dns <<'END'
#!/usr/bin/python3
import json, os, subprocess, sys
# Status 3: something is not as it should be, which is why we are asked.
status = json.loads(subprocess.run([sys.argv[1], "--run-dir", "/run/mwan", "status", "--json"], stdout=subprocess.PIPE).stdout)
with open("/tmp/resolv.new", "w") as file:
    for interface in status["interfaces"]:
        for path in interface["paths"]:
            servers = path["network"]["dns"] if path["usable"] and path["network"] else []
            file.writelines("nameserver %s\n" % server for server in servers)
os.rename("/tmp/resolv.new", "/tmp/resolv.conf")
END
chmod +x /tmp/update-mwan-dns
for folder in mwan.up mwan.down; do
	printf '#!/bin/sh\nexec /tmp/update-mwan-dns %s\n' "$MWAN" | hook $folder/25-update-dns-forwarders
done
: >/tmp/resolv.conf
dnsmasq --keep-in-foreground --conf-file=/dev/null --no-hosts --listen-address=127.0.0.1 --bind-interfaces --user=root --pid-file= \
	--resolv-file=/tmp/resolv.conf --cache-size=0 --all-servers --log-facility=- >/tmp/forwarder.log 2>&1 &
daemon
within 90 "both carry" policy_says 'red0 (50%).*red1 (50%)'
within 40 "the firewall knows the first" firewall_knows eth0
within 40 "the firewall knows the second" firewall_knows eth1
must "the first lets nobody in" not lets_in eth0
must "the second lets nobody in" not lets_in eth1
within 40 "the forwarder knows the first's name server" grep -q 'nameserver 149.112.112.112' /tmp/resolv.conf
within 40 "the forwarder knows the second's name server" grep -q 'nameserver 1.0.0.1' /tmp/resolv.conf
within 30 "a name is answered by one of them" forwarder_asks '10.0.0.1[01]'

silence isp0
within 60 "the second carries alone" policy_says 'red1 (100%)'
within 40 "the forwarder has forgotten the first's name server" not grep -q 'nameserver 149.112.112.112' /tmp/resolv.conf
within 40 "the firewall has forgotten the first" not firewall_knows eth0
within 30 "a name is answered by the second's" forwarder_asks 10.0.0.11
must "the status says who carries" tells_carried red1
must "mwan-config says what the first is doing" config_says ' red0: DHCP on eth0, up, ipv4 offline'
speak
silence isp1
within 90 "the first carries alone" policy_says 'red0 (100%)'
within 40 "the firewall knows the first again" firewall_knows eth0
within 40 "the forwarder knows its name server" grep -q 'nameserver 149.112.112.112' /tmp/resolv.conf
within 30 "a name is answered by it" forwarder_asks 10.0.0.10
must "nobody is let in" not lets_in eth0
must "the status is a document for other tools" status_is_json
nft flush set ip firewall red
must "it was what the hooks told the firewall that kept them out" lets_in eth0
