#!/usr/bin/env bash
# Installs Debian's Chromium for tests/serve/test_page.py, unless there is a browser that they can use.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then
    exit 0
  fi
done
if ! command -v apt-get >/dev/null; then
  echo "there is no Chromium, and no apt-get to install it; install chromium or google-chrome" >&2
  exit 1
fi
as_root=()
if [ "$(id --user)" != 0 ]; then
  as_root=(sudo --non-interactive)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update --quiet --quiet
"${as_root[@]}" apt-get install --yes --quiet --quiet --no-install-recommends chromium
