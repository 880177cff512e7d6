#!/bin/sh
# A shell script, traced without a change to it: stepwell run --name backup -- sh examples/backup.sh <folder>
set -eu
folder=$1
echo "backing up $folder"
tar -cf /dev/null -C "$folder" .
echo "done"
