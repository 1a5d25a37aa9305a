#!/bin/sh
# Install the daemon as a systemd service. Safe to repeat: programs and unit are replaced, the files in /etc/ingest
# are made once and kept. `make install-service` runs it.
#
#   PREFIX      where the program goes; default /opt/ingest
#   DESTDIR     a folder to put everything under, for packages and tests; default none
#   SYSCONFDIR  default /etc
#   UNITDIR     default $SYSCONFDIR/systemd/system
#   PYTHON      the interpreter of the program's own environment; default python3
set -eu

PREFIX=${PREFIX:-/opt/ingest}
DESTDIR=${DESTDIR:-}
SYSCONFDIR=${SYSCONFDIR:-/etc}
UNITDIR=${UNITDIR:-$SYSCONFDIR/systemd/system}
PYTHON=${PYTHON:-python3}
source=$(cd "$(dirname "$0")/.." && pwd)
program=$DESTDIR$PREFIX
settings=$DESTDIR$SYSCONFDIR/ingest

case $PREFIX$SYSCONFDIR$UNITDIR in
  *[!A-Za-z0-9/._+-]*) echo 'install-service: PREFIX, SYSCONFDIR and UNITDIR take letters, digits and / . _ + - only' >&2; exit 2 ;;
esac
if [ -z "$DESTDIR" ] && [ "$(id -u)" -ne 0 ]; then
  echo 'install-service: needs root: sudo make install-service (or set DESTDIR to try it in a folder)' >&2
  exit 2
fi

umask 022
"$PYTHON" -m venv "$program"
"$program/bin/python" -m pip --disable-pip-version-check --quiet install --constraint "$source/constraints.txt" "$source"
if [ -n "$DESTDIR" ]; then # scripts name their interpreter, which will be elsewhere
  find "$program/bin" -type f -exec sed -i "1s|^#!$DESTDIR|#!|" {} +
fi
install -D -m 0644 "$source/docs/how-to/run-as-a-service.md" "$program/share/doc/ingest/run-as-a-service.md"

install -d -m 0755 "$DESTDIR$UNITDIR"
sed -e "s|/opt/ingest|$PREFIX|g" -e "s|/etc/ingest|$SYSCONFDIR/ingest|g" "$source/deploy/ingest.service" \
  > "$DESTDIR$UNITDIR/ingest.service"

install -d -m 0755 "$settings"
[ -e "$settings/ingest.toml" ] || install -m 0644 "$source/ingest.example.toml" "$settings/ingest.toml"
for secret in database_url environment; do
  [ -e "$settings/$secret" ] || install -m 0600 /dev/null "$settings/$secret"
done

if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
cat <<END
installed: $program, $DESTDIR$UNITDIR/ingest.service, $settings/

Next, as root:
  1. write the database's address, postgresql://USER:PASSWORD@HOST:5432/DATABASE, into $SYSCONFDIR/ingest/database_url
  2. choose exchanges and symbols in $SYSCONFDIR/ingest/ingest.toml
  3. DATABASE_URL_FILE=$SYSCONFDIR/ingest/database_url $PREFIX/bin/ingest migrate --config $SYSCONFDIR/ingest/ingest.toml
  4. systemctl enable --now ingest    (after an upgrade: systemctl restart ingest)
  5. journalctl --unit ingest --follow
END
