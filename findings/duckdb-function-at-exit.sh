#!/usr/bin/env bash
# DuckDB 2.0.0's Python client reports leaks where a program ends with a Python function registered.
#
# Seen with duckdb 2.0.0 on Python 3.11. A program that registers a scalar function
# (`create_function`) on a connection that is still open when the interpreter ends prints "nanobind:
# leaked ... instances!" and some forty lines more, and ends with 0. It prints nothing where the
# connection is closed before, where no function is registered, and with 1.5.6 and 2.0.1.
#
# Whoever reads a command's stderr takes these lines for a fault. Gamekeeper registers no Python
# function: its view `promises` is a table that Python fills (replay/tables/promises.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/program.py" <<'PYTHON'
import sys

import duckdb

connection = duckdb.connect()
if "function" in sys.argv:
    connection.create_function("successor", lambda n: n + 1, ["BIGINT"], "BIGINT")
    assert connection.sql("SELECT successor(41)").fetchall() == [(42,)]
if "close" in sys.argv:
    connection.close()
PYTHON
lines() { # VERSION WORDS...: how many lines of stderr the program leaves
  "$folder/$1/bin/python" "$folder/program.py" "${@:2}" 2>&1 >/dev/null | wc -l
}
for version in 1.5.6 2.0.0 2.0.1; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install -qq --disable-pip-version-check "duckdb==$version" numpy==2.4.6
  echo "duckdb $version: $(lines $version) lines without a function," \
    "$(lines $version function close) with one and closed, $(lines $version function) left open"
done
test "$(lines 2.0.0)" = 0
test "$(lines 2.0.0 function close)" = 0
test "$(lines 2.0.0 function)" -gt 10
test "$(lines 1.5.6 function)" = 0
test "$(lines 2.0.1 function)" = 0
