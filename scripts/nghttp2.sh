#!/usr/bin/env bash
# Installs nghttp2's headers where that is possible without a question; says what goes on without them elsewhere.
set -euo pipefail

found() { [ -e /usr/include/nghttp2/nghttp2.h ] || [ -e /usr/local/include/nghttp2/nghttp2.h ]; }

found && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "== installing libnghttp2-dev, for the native transport"
  { apt-get update -q && apt-get install -q -y --no-install-recommends libnghttp2-dev; } >/dev/null 2>&1 || true
fi
found || echo "notice: nghttp2 is not here, so rows go over gRPC's Python transport, which is slower; on Debian:" \
  "apt-get install libnghttp2-dev, then make clean install" >&2
