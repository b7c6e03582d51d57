#!/bin/bash
. /opt/pakfire/lib/functions.sh

# Neither stopped nor removed: the new daemon takes RED and its connections over as they are.
make_backup "${NAME}"
extract_files
/usr/local/bin/mwan ipfire install
/usr/local/bin/mwan-daemon-universal restart
