#!/usr/bin/env bash
# Makes FOLDER/python: Debian's Python for arm64, run by qemu-user, with WHEEL and what the engine's
# tests import. Nothing is installed on this machine. PYTHON has pip; exit 3: no such Debian here.
#
#     PYTHON=python3 tests/arm64.sh FOLDER WHEEL
set -euo pipefail
folder=$1 wheel=$2 here=$(dirname "$0")
mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/root"
: >"$folder/apt/status" # so that all that Python needs is missing

apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64
    -o APT::Install-Recommends=false -o APT::Sandbox::User= -o Debug::NoLocking=true
    -o "Dir::State=$folder/apt" -o "Dir::State::status=$folder/apt/status"
    -o "Dir::Cache=$folder/apt/cache")
{ "${apt[@]}" update && "${apt[@]}" -y --download-only install python3 libstdc++6; } >&2 || exit 3
for package in "$folder"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$folder/root"
done

version=$(readlink "$folder/root/usr/bin/python3") # python3.11
cat >"$folder/python" <<END
#!/bin/sh
# Called itself by what it runs, as sys.executable.
PYTHONHOME=$folder/root/usr PYTHONPATH=$folder/site exec \\
    qemu-aarch64 -0 "\$0" -L $folder/root $folder/root/usr/bin/$version "\$@"
END
chmod +x "$folder/python"

pip=("$PYTHON" -m pip install --quiet --disable-pip-version-check --target "$folder/site"
    --no-deps --only-binary :all: --python-version "${version#python}" --implementation cp
    --abi "cp${version//[a-z.]/}" --abi abi3 --abi none --platform manylinux_2_17_aarch64
    --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64)
"${pip[@]}" -r "$here/arm64.txt" "$wheel"
