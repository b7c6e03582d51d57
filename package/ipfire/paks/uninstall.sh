#!/bin/bash
. /opt/pakfire/lib/functions.sh

make_backup "${NAME}"

# Ends the daemon, gives RED back, and removes what install.sh made.
/usr/local/bin/mwan ipfire uninstall || exit 1

remove_files
