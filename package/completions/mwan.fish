# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mwan_global_optspecs
    string join \n run-dir= h/help V/version
end

function __fish_mwan_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mwan_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mwan_using_subcommand
    set -l cmd (__fish_mwan_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mwan -n "__fish_mwan_needs_command" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_needs_command" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_needs_command" -s V -l version -d 'Print version'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "daemon" -d 'Run in the foreground: watch the WANs and program the kernel'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "status" -d 'Show everything: interfaces, policies, connected networks, rules, problems'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "interfaces" -d 'Show the interfaces and their health'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "policies" -d 'Show what carries each policy now'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "connected" -d 'Show the networks that are never policy-routed'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "rules" -d 'Show the rules and their counters'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "check" -d 'Say what is wrong with configuration files, and what in them cannot do what it seems to'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "plan" -d 'Print what a configuration would install, and what that changes in the kernel'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "apply" -d 'Put another configuration in force: judged first, written into the daemon\'s file, and with a way back'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "confirm" -d 'Keep the configuration that waits for it (`apply --confirm`)'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "rollback" -d 'Put a configuration back that was in force, or show the last twenty. While one waits to be confirmed: take it back now'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "explain" -d 'Say why a packet, or a live connection, leaves where it leaves: every step, and what would carry it otherwise'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "why" -d 'Say why an interface, a policy or a rule is as it is: what decides, since when, where a fault lies, and its last changes'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "diff" -d 'Compare what should be in the kernel with what is there; exit code 3 if they differ'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "reload" -d 'Read the configuration again'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "ifup" -d 'Bring an interface up that was taken down'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "ifdown" -d 'Take an interface down: no traffic and no probes until `ifup`'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "drain" -d 'Give an interface no new connections while others can carry them; those it has stay'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "undrain" -d 'The end of `drain`'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "drill" -d 'Rehearse the failure of a WAN: mwan takes it for dead for a while, nothing else does, and what comes of it is measured'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "events" -d 'Show what has happened'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "report" -d 'How the WANs were in a month: availability, outages, latency, loss; evidence for a provider. Needs no daemon'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "top" -d 'Watch it in the terminal: interfaces, policies, connections, events; keys to drain and to switch'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "history" -d 'How an interface was over the last hours, as figures'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "alerts" -d 'Show who is told of incidents and how that goes, or send a test'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "record" -d 'Write the last events of the decision core to a file: what `replay` needs, without secrets'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "replay" -d 'Take the decisions of a recording again, on any machine; with --set under other options'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "use" -d 'Run a command whose connections leave by one interface, whatever the rules say'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "red" -d 'IPFire: show what carries RED, switch it, test the primary (also as `mwan-config`)'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "ipfire" -d 'IPFire: install, remove, start and stop mwan as an add-on (also as `mwan-daemon-universal`)'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "test-primary" -d 'Bring IPFire\'s primary up beside what carries, probe it, and print each step'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "web" -d 'Say who may use the web server: the first link, users, tokens for programs'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "stop" -d 'Remove everything from the kernel and end the daemon'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "cleanup" -d 'Remove everything of mwan\'s from the kernel, without daemon or configuration'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "support" -d 'Write one archive for whoever helps: configuration, plan, status, events, kernel state; without secrets and public addresses'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "compat" -d 'Behave like the command of another package; so does mwan when it is called by that name'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "cloud" -d 'A cloud\'s multi-WAN document (`multiWanV2`) into the configuration, and back out'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "migrate" -d 'Rewrite a configuration file for mwan4 or as mwan.toml; to standard output, what differs to standard error'
complete -c mwan -n "__fish_mwan_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l config -d 'The configuration: UCI (mwan3, mwan4) or, with the ending `.toml`, mwan\'s own' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l state-dir -d 'Where ids of interfaces are kept across reboots' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l platform -d 'The kind of system' -r -f -a "auto\t'Find out'
linux\t'Any Linux: devices by name, source translation by mwan'
openwrt\t'OpenWrt: translation is the firewall\'s'
ipfire\t'IPFire: translation is the firewall\'s'"
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l ubus-socket -d 'OpenWrt: the socket of ubusd' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l network-config -d 'OpenWrt: the network\'s configuration, which tells the devices of interfaces where ubus does not' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l log-level -d 'Least important level that is logged' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l log-format -d 'Form of the log on standard error' -r -f -a "text\t'One line for people'
json\t'One JSON object per line'"
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l log-to -d 'Where the log goes' -r -f -a "stderr\t'Standard error'
syslog\t'The system\'s log (/dev/log)'"
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l log-file -d 'A file for the log beside that, at most 1 MiB and two older ones (IPFire: /var/log/mwan.log)' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l operator-group -d 'IPFire: the group whose members may see the status, switch RED and switch mwan on and off over operator.sock in the run directory; that of the web server' -r
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l user-script -d 'Shell script run with ACTION, INTERFACE and DEVICE. Default: /etc/mwan3.user, or /etc/mwan4.user if the configuration file is called mwan4; none for mwan.toml. The option user_script of the configuration comes second' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l hooks-dir -d 'Directory of executables that read a JSON document (docs/schema/mwan.hook.v1.json) on standard input. Default: the option hooks_dir of the configuration, else /etc/mwan/hooks.d' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l hook-timeout -d 'Seconds after which a script is killed with everything it started. Default: the option hook_timeout of the configuration, else 30' -r
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand daemon" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mwan -n "__fish_mwan_using_subcommand status" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand status" -l json -d 'Print JSON (docs/schema)'
complete -c mwan -n "__fish_mwan_using_subcommand status" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand interfaces" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand interfaces" -l json -d 'Print JSON (docs/schema)'
complete -c mwan -n "__fish_mwan_using_subcommand interfaces" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand policies" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand policies" -l json -d 'Print JSON (docs/schema)'
complete -c mwan -n "__fish_mwan_using_subcommand policies" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand connected" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand connected" -l json -d 'Print JSON (docs/schema)'
complete -c mwan -n "__fish_mwan_using_subcommand connected" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand rules" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand rules" -l json -d 'Print JSON (docs/schema)'
complete -c mwan -n "__fish_mwan_using_subcommand rules" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand check" -l format -d 'How findings are printed' -r -f -a "text\t'A line each'
json\t'`mwan.check.v1`'
sarif\t'SARIF 2.1.0, which code hosts and editors show beside the lines'"
complete -c mwan -n "__fish_mwan_using_subcommand check" -l explain -d 'Say what a code such as W0720 means, and what to do about it' -r
complete -c mwan -n "__fish_mwan_using_subcommand check" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand check" -l json -d 'Print JSON'
complete -c mwan -n "__fish_mwan_using_subcommand check" -l system -d 'Look at this machine, too: marks of other programs, sysctls, translation. Else done for the file of the running daemon'
complete -c mwan -n "__fish_mwan_using_subcommand check" -l no-system -d 'Look at nothing but the files'
complete -c mwan -n "__fish_mwan_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mwan -n "__fish_mwan_using_subcommand plan" -l config -d 'The configuration file' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand plan" -l platform -d 'Platform to assume when no daemon is running' -r -f -a "auto\t'Find out'
linux\t'Any Linux: devices by name, source translation by mwan'
openwrt\t'OpenWrt: translation is the firewall\'s'
ipfire\t'IPFire: translation is the firewall\'s'"
complete -c mwan -n "__fish_mwan_using_subcommand plan" -l ubus-socket -d 'OpenWrt: the socket of ubusd' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand plan" -l network-config -d 'OpenWrt: the network\'s configuration, which tells the devices of interfaces where ubus does not' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand plan" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand plan" -l json -d 'Print JSON'
complete -c mwan -n "__fish_mwan_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mwan -n "__fish_mwan_using_subcommand apply" -l confirm -d 'The configuration before comes back unless `mwan confirm` is said within so many seconds, whatever becomes of the daemon or the machine. At a terminal it is asked for' -r
complete -c mwan -n "__fish_mwan_using_subcommand apply" -l must-reach -d 'It comes back at once unless the router reaches this within 10 s: an address to be pinged (1.1.1.1), or 1.1.1.1:443/tcp, [2001:db8::1]:443/tcp; several times for more, all of which are needed' -r
complete -c mwan -n "__fish_mwan_using_subcommand apply" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand apply" -l dry-run -d 'Only print what would change: in the file, in the kernel, for connections'
complete -c mwan -n "__fish_mwan_using_subcommand apply" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand confirm" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand confirm" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand rollback" -l diff -d 'Show what configuration N changed against the one before it' -r
complete -c mwan -n "__fish_mwan_using_subcommand rollback" -l confirm -d 'The configuration before comes back unless `mwan confirm` is said within so many seconds, whatever becomes of the daemon or the machine. At a terminal it is asked for' -r
complete -c mwan -n "__fish_mwan_using_subcommand rollback" -l must-reach -d 'It comes back at once unless the router reaches this within 10 s: an address to be pinged (1.1.1.1), or 1.1.1.1:443/tcp, [2001:db8::1]:443/tcp; several times for more, all of which are needed' -r
complete -c mwan -n "__fish_mwan_using_subcommand rollback" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand rollback" -l list -d 'Show those that are kept, newest first: when, how, who'
complete -c mwan -n "__fish_mwan_using_subcommand rollback" -l json -d 'Print the list as JSON (docs/schema/mwan.revisions.v1.json)'
complete -c mwan -n "__fish_mwan_using_subcommand rollback" -l dry-run -d 'Only print what would change: in the file, in the kernel, for connections'
complete -c mwan -n "__fish_mwan_using_subcommand rollback" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l to -d 'Where to: 1.1.1.1:443/tcp, [2606:4700::1111]:443/udp, 1.1.1.1 (a ping); a name is looked up' -r
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l from -d 'Its source address; without it the packet is this machine\'s own' -r
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l in -d 'Interface or device it comes in by; without it the one on whose network the source is' -r
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l family -d 'ipv4 or ipv6: which of a name\'s addresses is meant' -r -f -a "ipv4\t''
ipv6\t''"
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l sport -d 'Its source port' -r
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l flow -d 'A live connection instead, by what it has: addresses, ADDRESS:PORT, protocol, interface, number; several are listed' -r
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l config -d 'By this configuration file instead of the daemon\'s, as if every WAN were online' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l platform -d 'Platform to assume with --config' -r -f -a "auto\t'Find out'
linux\t'Any Linux: devices by name, source translation by mwan'
openwrt\t'OpenWrt: translation is the firewall\'s'
ipfire\t'IPFire: translation is the firewall\'s'"
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l verify -d 'Send a real packet through this machine\'s own path, drop it at the last hook, and compare'
complete -c mwan -n "__fish_mwan_using_subcommand explain" -l json -d 'Print JSON (docs/schema/mwan.explanation.v1.json)'
complete -c mwan -n "__fish_mwan_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mwan -n "__fish_mwan_using_subcommand why" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand why" -l json -d 'Print JSON (docs/schema/mwan.why.v1.json)'
complete -c mwan -n "__fish_mwan_using_subcommand why" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand diff" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand diff" -l json -d 'Print JSON (docs/schema)'
complete -c mwan -n "__fish_mwan_using_subcommand diff" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand reload" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand reload" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ifup" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ifup" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ifdown" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ifdown" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand drain" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand drain" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand undrain" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand undrain" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l for -d 'How long its probes count as lost: 60, 60s, 2m' -r
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l dns -d 'This machine\'s resolvers have to answer for names below NAME all the time. Without it example.org is asked for, and counts if there is an answer before the drill' -r
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l reach -d 'The router has to reach this all the time: an address to be pinged, or ADDRESS:PORT/tcp; several times for more' -r
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l keep-flows -d 'Its connections stay on it; without this they are moved as by a real failure'
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l no-dns -d 'No name is asked for'
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l dry-run -d 'Only say what would happen'
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l detach -d 'Do not wait for it; then nothing but its time ends it, or --stop'
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l stop -d 'End the drill that is under way; its WAN carries again at once'
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l list -d 'Show those that are over, the newest first, and those the configuration asks for'
complete -c mwan -n "__fish_mwan_using_subcommand drill" -l json -d 'Print JSON (docs/schema/mwan.drills.v1.json)'
complete -c mwan -n "__fish_mwan_using_subcommand drill" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand events" -l interface -d 'Only those of this interface' -r
complete -c mwan -n "__fish_mwan_using_subcommand events" -l limit -d 'At most so many, the newest' -r
complete -c mwan -n "__fish_mwan_using_subcommand events" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand events" -l all -d 'Steps on the way to a change of state, too'
complete -c mwan -n "__fish_mwan_using_subcommand events" -s f -l follow -d 'Go on with what happens'
complete -c mwan -n "__fish_mwan_using_subcommand events" -l json -d 'Print JSON (docs/schema/mwan.events.v1.json); with --follow an event per line'
complete -c mwan -n "__fish_mwan_using_subcommand events" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand report" -l month -d 'The month, UTC; without it the present one' -r
complete -c mwan -n "__fish_mwan_using_subcommand report" -l state-dir -d 'Where the daemon keeps what survives a boot; read if no daemon answers' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand report" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand report" -l json -d 'Print JSON (docs/schema/mwan.report.v1.json)'
complete -c mwan -n "__fish_mwan_using_subcommand report" -l html -d 'Print a page of HTML that needs nothing else and can be printed'
complete -c mwan -n "__fish_mwan_using_subcommand report" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand top" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand top" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand history" -l family -d 'ipv4 or ipv6; without it the first of which anything is recorded' -r
complete -c mwan -n "__fish_mwan_using_subcommand history" -l hours -d 'So many hours up to now' -r
complete -c mwan -n "__fish_mwan_using_subcommand history" -l points -d 'At most about so many points' -r
complete -c mwan -n "__fish_mwan_using_subcommand history" -l state-dir -d 'Where the daemon keeps what survives a boot; read if no daemon answers' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand history" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand history" -l json -d 'Print JSON (docs/schema/mwan.history.v1.json)'
complete -c mwan -n "__fish_mwan_using_subcommand history" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and not __fish_seen_subcommand_from test serve help" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and not __fish_seen_subcommand_from test serve help" -l json -d 'Print JSON (docs/schema)'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and not __fish_seen_subcommand_from test serve help" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and not __fish_seen_subcommand_from test serve help" -f -a "test" -d 'Send a test message and wait for what becomes of it'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and not __fish_seen_subcommand_from test serve help" -f -a "serve" -d 'What the daemon starts to send them'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and not __fish_seen_subcommand_from test serve help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and __fish_seen_subcommand_from test" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and __fish_seen_subcommand_from serve" -l state-dir -d 'Where what has to be told is kept' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and __fish_seen_subcommand_from serve" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and __fish_seen_subcommand_from serve" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and __fish_seen_subcommand_from help" -f -a "test" -d 'Send a test message and wait for what becomes of it'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and __fish_seen_subcommand_from help" -f -a "serve" -d 'What the daemon starts to send them'
complete -c mwan -n "__fish_mwan_using_subcommand alerts; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand record" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand record" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand replay" -l set -d 'What an option was to be instead, as in wan.down=3: which outages would have been seen sooner, and which failovers would have been false. May be given several times' -r
complete -c mwan -n "__fish_mwan_using_subcommand replay" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand replay" -l all -d 'Steps that nobody is told of, too'
complete -c mwan -n "__fish_mwan_using_subcommand replay" -l json -d 'Print JSON (docs/schema/mwan.replay.v1.json)'
complete -c mwan -n "__fish_mwan_using_subcommand replay" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand use" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand use" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "status" -d 'What carries RED, and what every link is doing'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "list" -d 'The profiles, best first'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "show" -d 'What a profile says, without its secrets'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "test" -d 'Bring the primary up beside what carries, probe it, and print each step'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "switch" -d 'A profile carries RED until `failback`'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "failover" -d 'The best backup carries RED until `failback`'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "failback" -d 'The primary may carry RED again'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "enable" -d 'Switch mwan on in its settings'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "disable" -d 'Switch mwan off in its settings: RED is the primary\'s'
complete -c mwan -n "__fish_mwan_using_subcommand red; and not __fish_seen_subcommand_from status list show test switch failover failback enable disable help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from status" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from status" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from status" -l json -d 'Print JSON (docs/schema)'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from list" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from list" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from show" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from show" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from test" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from test" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from switch" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from switch" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from switch" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from failover" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from failover" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from failover" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from failback" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from failback" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from failback" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from enable" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from enable" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from disable" -l root -d 'Where IPFire\'s files are' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from disable" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "status" -d 'What carries RED, and what every link is doing'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "list" -d 'The profiles, best first'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "show" -d 'What a profile says, without its secrets'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "test" -d 'Bring the primary up beside what carries, probe it, and print each step'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "switch" -d 'A profile carries RED until `failback`'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "failover" -d 'The best backup carries RED until `failback`'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "failback" -d 'The primary may carry RED again'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "enable" -d 'Switch mwan on in its settings'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "disable" -d 'Switch mwan off in its settings: RED is the primary\'s'
complete -c mwan -n "__fish_mwan_using_subcommand red; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -l root -d 'The root of the system: that of an image, or of a test' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -f -a "install" -d 'Put the add-on\'s files into the system; nothing that is there is changed'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -f -a "uninstall" -d 'Stop, give RED back, and remove what `install` made; settings the owner has written stay'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -f -a "start" -d 'Run the daemon in the background'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -f -a "stop" -d 'End the daemon: RED is IPFire\'s own again, nothing of mwan\'s is left in the kernel'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -f -a "restart" -d 'Another daemon takes over from the running one: connections and RED stay as they are'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -f -a "status" -d 'What carries RED, and what every link is doing'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -f -a "test-primary" -d 'Bring the primary up beside what carries, probe it, and print each step'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -f -a "hook" -d 'Called by IPFire\'s hooks when it has brought RED up or taken it down; ends within two seconds'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and not __fish_seen_subcommand_from install uninstall start stop restart status test-primary hook help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from install" -l root -d 'The root of the system: that of an image, or of a test' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from install" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from install" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from uninstall" -l root -d 'The root of the system: that of an image, or of a test' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from uninstall" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from uninstall" -l purge -d 'Remove them, too'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from uninstall" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from start" -l root -d 'The root of the system: that of an image, or of a test' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from start" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from stop" -l root -d 'The root of the system: that of an image, or of a test' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from stop" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from restart" -l root -d 'The root of the system: that of an image, or of a test' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from restart" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from restart" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from status" -l root -d 'The root of the system: that of an image, or of a test' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from status" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from status" -l json -d 'Print JSON (docs/schema)'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from test-primary" -l root -d 'The root of the system: that of an image, or of a test' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from test-primary" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from test-primary" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from hook" -l root -d 'The root of the system: that of an image, or of a test' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from hook" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from hook" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from help" -f -a "install" -d 'Put the add-on\'s files into the system; nothing that is there is changed'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from help" -f -a "uninstall" -d 'Stop, give RED back, and remove what `install` made; settings the owner has written stay'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from help" -f -a "start" -d 'Run the daemon in the background'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from help" -f -a "stop" -d 'End the daemon: RED is IPFire\'s own again, nothing of mwan\'s is left in the kernel'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from help" -f -a "restart" -d 'Another daemon takes over from the running one: connections and RED stay as they are'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from help" -f -a "status" -d 'What carries RED, and what every link is doing'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from help" -f -a "test-primary" -d 'Bring the primary up beside what carries, probe it, and print each step'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from help" -f -a "hook" -d 'Called by IPFire\'s hooks when it has brought RED up or taken it down; ends within two seconds'
complete -c mwan -n "__fish_mwan_using_subcommand ipfire; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand test-primary" -l limit -d 'Seconds until it is given up' -r
complete -c mwan -n "__fish_mwan_using_subcommand test-primary" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand test-primary" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand web; and not __fish_seen_subcommand_from init user token serve help" -l state-dir -d 'Where accounts are kept' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and not __fish_seen_subcommand_from init user token serve help" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and not __fish_seen_subcommand_from init user token serve help" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand web; and not __fish_seen_subcommand_from init user token serve help" -f -a "init" -d 'Print a link by which a password is set, once and within an hour'
complete -c mwan -n "__fish_mwan_using_subcommand web; and not __fish_seen_subcommand_from init user token serve help" -f -a "user" -d 'Users: people with a password'
complete -c mwan -n "__fish_mwan_using_subcommand web; and not __fish_seen_subcommand_from init user token serve help" -f -a "token" -d 'Tokens: keys of programs, as of Prometheus'
complete -c mwan -n "__fish_mwan_using_subcommand web; and not __fish_seen_subcommand_from init user token serve help" -f -a "serve" -d 'Run the web server; the daemon does'
complete -c mwan -n "__fish_mwan_using_subcommand web; and not __fish_seen_subcommand_from init user token serve help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from init" -l user -d 'Whose' -r
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from init" -l state-dir -d 'Where accounts are kept' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from init" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from user" -l state-dir -d 'Where accounts are kept' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from user" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from user" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from user" -f -a "add" -d 'Add one. The password of a user is read from standard input; one that is there already gets another'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from user" -f -a "remove" -d 'Remove one; its sessions end'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from user" -f -a "list" -d 'List them, with their roles'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from user" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from token" -l state-dir -d 'Where accounts are kept' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from token" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from token" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from token" -f -a "add" -d 'Add one. The password of a user is read from standard input; one that is there already gets another'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from token" -f -a "remove" -d 'Remove one; its sessions end'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from token" -f -a "list" -d 'List them, with their roles'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from token" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from serve" -l state-dir -d 'Where accounts are kept' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from serve" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from serve" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from help" -f -a "init" -d 'Print a link by which a password is set, once and within an hour'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from help" -f -a "user" -d 'Users: people with a password'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from help" -f -a "token" -d 'Tokens: keys of programs, as of Prometheus'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from help" -f -a "serve" -d 'Run the web server; the daemon does'
complete -c mwan -n "__fish_mwan_using_subcommand web; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand stop" -l root -d 'The root of IPFire\'s system' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand stop" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand stop" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand cleanup" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand cleanup" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand support" -l config -d 'The configuration file. Default: that of the running daemon, else the first that is there of /etc/mwan/mwan.toml, /etc/config/mwan, mwan4 and mwan3, /var/ipfire/mwan/settings' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand support" -l state-dir -d 'Where the daemon keeps what survives a boot. Default: as the running daemon was told, else /var/lib/mwan' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand support" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand support" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand compat" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand compat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and not __fish_seen_subcommand_from apply export help" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and not __fish_seen_subcommand_from apply export help" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and not __fish_seen_subcommand_from apply export help" -f -a "apply" -d 'Apply a document: it is judged, written into the daemon\'s configuration file, and in force when this ends'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and not __fish_seen_subcommand_from apply export help" -f -a "export" -d 'Print the document that the configuration means, as JSON'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and not __fish_seen_subcommand_from apply export help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and __fish_seen_subcommand_from apply" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and __fish_seen_subcommand_from apply" -l dry-run -d 'Only print what would change, in the file and in the kernel'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and __fish_seen_subcommand_from apply" -l partial -d 'Apply what is right although something else in it is wrong'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and __fish_seen_subcommand_from apply" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and __fish_seen_subcommand_from export" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and __fish_seen_subcommand_from help" -f -a "apply" -d 'Apply a document: it is judged, written into the daemon\'s configuration file, and in force when this ends'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and __fish_seen_subcommand_from help" -f -a "export" -d 'Print the document that the configuration means, as JSON'
complete -c mwan -n "__fish_mwan_using_subcommand cloud; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand migrate" -l to -d 'The format wanted' -r -f -a "mwan4\t'UCI in mwan4\'s words'
toml\t'mwan\'s own format'"
complete -c mwan -n "__fish_mwan_using_subcommand migrate" -l run-dir -d 'Where the running daemon is found' -r -F
complete -c mwan -n "__fish_mwan_using_subcommand migrate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "daemon" -d 'Run in the foreground: watch the WANs and program the kernel'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "status" -d 'Show everything: interfaces, policies, connected networks, rules, problems'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "interfaces" -d 'Show the interfaces and their health'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "policies" -d 'Show what carries each policy now'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "connected" -d 'Show the networks that are never policy-routed'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "rules" -d 'Show the rules and their counters'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "check" -d 'Say what is wrong with configuration files, and what in them cannot do what it seems to'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "plan" -d 'Print what a configuration would install, and what that changes in the kernel'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "apply" -d 'Put another configuration in force: judged first, written into the daemon\'s file, and with a way back'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "confirm" -d 'Keep the configuration that waits for it (`apply --confirm`)'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "rollback" -d 'Put a configuration back that was in force, or show the last twenty. While one waits to be confirmed: take it back now'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "explain" -d 'Say why a packet, or a live connection, leaves where it leaves: every step, and what would carry it otherwise'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "why" -d 'Say why an interface, a policy or a rule is as it is: what decides, since when, where a fault lies, and its last changes'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "diff" -d 'Compare what should be in the kernel with what is there; exit code 3 if they differ'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "reload" -d 'Read the configuration again'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "ifup" -d 'Bring an interface up that was taken down'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "ifdown" -d 'Take an interface down: no traffic and no probes until `ifup`'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "drain" -d 'Give an interface no new connections while others can carry them; those it has stay'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "undrain" -d 'The end of `drain`'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "drill" -d 'Rehearse the failure of a WAN: mwan takes it for dead for a while, nothing else does, and what comes of it is measured'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "events" -d 'Show what has happened'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "report" -d 'How the WANs were in a month: availability, outages, latency, loss; evidence for a provider. Needs no daemon'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "top" -d 'Watch it in the terminal: interfaces, policies, connections, events; keys to drain and to switch'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "history" -d 'How an interface was over the last hours, as figures'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "alerts" -d 'Show who is told of incidents and how that goes, or send a test'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "record" -d 'Write the last events of the decision core to a file: what `replay` needs, without secrets'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "replay" -d 'Take the decisions of a recording again, on any machine; with --set under other options'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "use" -d 'Run a command whose connections leave by one interface, whatever the rules say'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "red" -d 'IPFire: show what carries RED, switch it, test the primary (also as `mwan-config`)'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "ipfire" -d 'IPFire: install, remove, start and stop mwan as an add-on (also as `mwan-daemon-universal`)'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "test-primary" -d 'Bring IPFire\'s primary up beside what carries, probe it, and print each step'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "web" -d 'Say who may use the web server: the first link, users, tokens for programs'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "stop" -d 'Remove everything from the kernel and end the daemon'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "cleanup" -d 'Remove everything of mwan\'s from the kernel, without daemon or configuration'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "support" -d 'Write one archive for whoever helps: configuration, plan, status, events, kernel state; without secrets and public addresses'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "compat" -d 'Behave like the command of another package; so does mwan when it is called by that name'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "cloud" -d 'A cloud\'s multi-WAN document (`multiWanV2`) into the configuration, and back out'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "migrate" -d 'Rewrite a configuration file for mwan4 or as mwan.toml; to standard output, what differs to standard error'
complete -c mwan -n "__fish_mwan_using_subcommand help; and not __fish_seen_subcommand_from daemon status interfaces policies connected rules check plan apply confirm rollback explain why diff reload ifup ifdown drain undrain drill events report top history alerts record replay use red ipfire test-primary web stop cleanup support compat cloud migrate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from alerts" -f -a "test" -d 'Send a test message and wait for what becomes of it'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from alerts" -f -a "serve" -d 'What the daemon starts to send them'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from red" -f -a "status" -d 'What carries RED, and what every link is doing'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from red" -f -a "list" -d 'The profiles, best first'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from red" -f -a "show" -d 'What a profile says, without its secrets'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from red" -f -a "test" -d 'Bring the primary up beside what carries, probe it, and print each step'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from red" -f -a "switch" -d 'A profile carries RED until `failback`'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from red" -f -a "failover" -d 'The best backup carries RED until `failback`'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from red" -f -a "failback" -d 'The primary may carry RED again'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from red" -f -a "enable" -d 'Switch mwan on in its settings'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from red" -f -a "disable" -d 'Switch mwan off in its settings: RED is the primary\'s'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from ipfire" -f -a "install" -d 'Put the add-on\'s files into the system; nothing that is there is changed'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from ipfire" -f -a "uninstall" -d 'Stop, give RED back, and remove what `install` made; settings the owner has written stay'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from ipfire" -f -a "start" -d 'Run the daemon in the background'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from ipfire" -f -a "stop" -d 'End the daemon: RED is IPFire\'s own again, nothing of mwan\'s is left in the kernel'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from ipfire" -f -a "restart" -d 'Another daemon takes over from the running one: connections and RED stay as they are'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from ipfire" -f -a "status" -d 'What carries RED, and what every link is doing'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from ipfire" -f -a "test-primary" -d 'Bring the primary up beside what carries, probe it, and print each step'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from ipfire" -f -a "hook" -d 'Called by IPFire\'s hooks when it has brought RED up or taken it down; ends within two seconds'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from web" -f -a "init" -d 'Print a link by which a password is set, once and within an hour'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from web" -f -a "user" -d 'Users: people with a password'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from web" -f -a "token" -d 'Tokens: keys of programs, as of Prometheus'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from web" -f -a "serve" -d 'Run the web server; the daemon does'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from cloud" -f -a "apply" -d 'Apply a document: it is judged, written into the daemon\'s configuration file, and in force when this ends'
complete -c mwan -n "__fish_mwan_using_subcommand help; and __fish_seen_subcommand_from cloud" -f -a "export" -d 'Print the document that the configuration means, as JSON'
