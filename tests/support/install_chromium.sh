#!/usr/bin/env bash
# Makes sure that the browser tests have a Chromium: the one there is ($CHROMIUM or on PATH), else Debian's or Ubuntu's
# package, installed as root or through sudo without a password. Says in one line what to do when neither works.
set -u

find_chromium() {
    if [ -n "${CHROMIUM:-}" ]; then
        [ -x "$CHROMIUM" ] && echo "$CHROMIUM"
        return
    fi
    command -v chromium || command -v chromium-browser || command -v google-chrome || command -v google-chrome-stable
}

if found=$(find_chromium) && [ -n "$found" ]; then
    echo "browser tests: $found"
    exit 0
fi

# CHROMIUM names a file that is not there: installing another one would hide the mistake.
if [ -n "${CHROMIUM:-}" ]; then
    echo "browser tests: CHROMIUM is $CHROMIUM, which is no program; unset it or point it at a Chromium" >&2
    exit 1
fi

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)

install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null 2>&1
}

if command -v apt-get >/dev/null && { install || { "${as_root[@]}" apt-get update -qq >/dev/null 2>&1 && install; }; }; then
    if found=$(find_chromium) && [ -n "$found" ]; then
        echo "browser tests: $found (installed now)"
        exit 0
    fi
fi

echo "browser tests need Chromium: install it (Debian: apt-get install chromium; macOS: brew install --cask chromium) or set CHROMIUM=/path/to/chrome" >&2
exit 1
