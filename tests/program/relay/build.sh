#!/usr/bin/env bash
# Builds relay.so from relay.c with the tools that scripts/build-program installs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
bitcode=$(mktemp --suffix=.bc)
trap 'rm -rf "$bitcode" target' EXIT # the linker leaves a copy in target/
/usr/bin/rust-clang -target bpf -O2 -fno-builtin -emit-llvm -c relay.c -o "$bitcode"
LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu /var/tmp/sbf-build/bin/sbpf-linker "$bitcode" -o relay.so \
  --export entrypoint,sol_invoke_signed_c --disable-memory-builtins --llvm-args=-bpf-stack-size=4096
python3 ../../../scripts/sbf/check_so.py relay.so
