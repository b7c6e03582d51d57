#!/bin/bash
. /opt/pakfire/lib/functions.sh

extract_files
restore_backup "${NAME}"

# What is not in the file list: folders, default settings, links, names of routing tables.
/usr/local/bin/mwan ipfire install

start_service --background "${NAME}"
