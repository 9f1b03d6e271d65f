#!/bin/sh
# Runs where the package was installed, and where it was upgraded.
set -eu
figlet -f standard sluice
test "$(figlet -I1)" = 20205
