#!/bin/sh
# Makes a virtual environment with pinned packages: make-venv.sh FOLDER REQUIREMENTS [PYTHON]
set -eu
folder=$1
requirements=$2
asked_for=${3:-}

# Running it is the only proof: a version manager's shim may exist for an interpreter that does not.
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if ! new_enough "$folder/bin/python" || ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    python=
    seen=
    for candidate in ${asked_for:-python3 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then
            python=$candidate
            break
        fi
        version=$(version_of "$candidate") && seen="$seen$candidate is $version; "
    done
    if [ -z "$python" ]; then
        echo "error: Python 3.11 or newer is needed; tried ${asked_for:-python3, python3.13, python3.12, python3.11}:" \
            "${seen:-none of them runs;} set PYTHON=/path/to/python" >&2
        exit 1
    fi
    echo "setup: making $folder with $python ($(version_of "$python"))"
    rm -rf "$folder"
    if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        echo "error: $python has no venv module; install it (Debian, Ubuntu: apt install python3-venv)" >&2
        exit 1
    fi
    "$python" -m venv "$folder"
fi

echo "setup: installing $(grep -c '^[a-z0-9].*==' "$requirements") pinned packages into $folder (a minute or so, once)"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements"

# The command `saga` works on the sources in place: an editable install would need a build backend, this needs nothing.
project=$(cd "$(dirname "$0")/.." && pwd)
bin=$(cd "$folder/bin" && pwd)
cat >"$bin/saga" <<END
#!/bin/sh
PYTHONPATH="$project\${PYTHONPATH:+:\$PYTHONPATH}" exec "$bin/python" -m coordinator "\$@"
END
chmod 755 "$bin/saga"
echo "setup: done"
