#!/bin/sh
# Sees to what building and testing need from outside Python: Debian packages (tests/debian-packages.txt); into
# build/peers, mail servers that Debian does not install side by side (tests/unpack_servers.py); and, from npm into
# build/interop, nodemailer (interoperability) and typescript (types of policies). Silent when all is there.
#
#   tests/install-packages.sh build    only what `make build` needs; says what is missing, installs when root on Debian
#   tests/install-packages.sh bench    the mail servers that `make bench` compares with, as far as Debian installs them
#   tests/install-packages.sh test     everything
#
# Elsewhere (not root, not Debian) it says what is missing. For `build` that is an error; for the others it is not:
# tests and servers whose programs are missing are skipped, with a reason.
set -eu
here=$(dirname "$0")
python=${PYTHON:-python3}
need=${1:-test}
modules='nodemailer@7.0.10 typescript@5.9.3'
interop=build/interop

present() {
    case $1 in
        /*) [ -e "$1" ] ;;
        python-venv) "$python" -c 'import ensurepip, venv' 2>/dev/null ;;
        python-headers) "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null ;;
        *) command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] ;;
    esac
}

missing=
while read -r package probe; do
    case $package in
        '' | '#'*) continue ;;
        postfix | nodejs | npm) [ "$need" != build ] || continue ;;
        swaks | msmtp | curl | netcat-openbsd | haproxy | libmail-dkim-perl | \
        postgresql | mariadb-server | redis-server | clamav-daemon | spamassassin | spamd | rspamd | opendkim | opendkim-tools) [ "$need" = test ] || continue ;;
    esac
    present "$probe" || missing="$missing $package"
done < "$here/debian-packages.txt"

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
        echo "installing Debian packages:$missing"
        log=$(mktemp)
        # Without a configuration of its own Postfix installs quietly and starts no service.
        if command -v debconf-set-selections >/dev/null 2>&1; then
            echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
            # The tests bring a signature of their own; nothing is to be downloaded.
            echo "clamav-freshclam clamav-freshclam/autoupdate_freshclam select manual" | debconf-set-selections
        fi
        # The tests start servers by themselves: none of the packages' own is to run after this.
        if [ ! -e /usr/sbin/policy-rc.d ]; then
            trap 'rm -f /usr/sbin/policy-rc.d' EXIT
            printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
            chmod 755 /usr/sbin/policy-rc.d
        fi
        # shellcheck disable=SC2086
        if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
                >"$log" 2>&1 </dev/null; then
            tail -n 20 "$log" >&2
            rm -f "$log"
            echo "installing failed; install these packages by hand:$missing" >&2
            exit 1
        fi
        rm -f "$log"
    else
        echo "missing programs; on Debian install them as root with: apt-get install$missing" >&2
        [ "$need" != build ] || exit 1
        echo "(what needs them will be skipped)" >&2
    fi
fi

if [ "$need" = test ] && [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
    "$python" "$here/unpack_servers.py" build/peers || true
fi

if [ "$need" = test ] && command -v npm >/dev/null 2>&1 && ! grep -qsx "$modules" "$interop/installed"; then
    echo "installing $modules into $interop"
    mkdir -p "$interop"
    # shellcheck disable=SC2086
    if npm install --prefix "$interop" --no-save --no-audit --no-fund --silent $modules >"$interop/npm.log" 2>&1; then
        echo "$modules" > "$interop/installed"
    else
        tail -n 5 "$interop/npm.log" >&2
        echo "$modules could not be installed; their tests will be skipped" >&2
    fi
fi

# The published test suites of SPF, DKIM and ARC lie in the source distributions of these libraries.
suites=build/suites
sources='pyspf==2.0.14 dkimpy==1.1.8'
if [ "$need" = test ] && ! grep -qsx "$sources" "$suites/fetched"; then
    echo "fetching the test suites of $sources into $suites"
    mkdir -p "$suites"
    # shellcheck disable=SC2086
    if "$python" -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$suites" $sources \
            >"$suites/pip.log" 2>&1 </dev/null && for archive in "$suites"/*.tar.gz; do tar -xzf "$archive" -C "$suites"; done; then
        echo "$sources" > "$suites/fetched"
    else
        tail -n 5 "$suites/pip.log" >&2
        echo "$sources could not be fetched; the tests that need them will be skipped" >&2
    fi
fi
