#!/bin/sh
# `px find …`, `find …` or `listen`; without arguments the listener of this container.
set -eu

[ "${1:-}" != px ] || shift
if [ $# -eq 0 ] || { [ "$1" = listen ] && [ $# -eq 1 ]; }; then
    set -- listen --port "${PX_LISTEN_PORT:-11113}"
fi
exec px "$@"
