#!/bin/sh
[ -x "${0%/*}/px" ] || exec "$(dirname -- "$(readlink -f -- "$0")")/px" --legacy storescp "$@"
exec "${0%/*}/px" --legacy storescp "$@"
