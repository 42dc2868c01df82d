# shellcheck shell=bash
# Sourced by build-program, after setup.sh: Debian's compiler, made to emit SBF (runtime.c, target.json).

# Fixed, because paths end up in the bytes.
cache=/var/tmp/sbf-build
linker_version=0.1.9

# Debian's, whatever rustup has put on PATH before them.
export RUSTC=/usr/bin/rustc
cargo() { /usr/bin/cargo "$@"; }

has_compiler() {
  [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/src/rust/library/std ] \
    && /usr/bin/rust-clang --version >/dev/null 2>&1
}

ensure_compiler() {
  if ! has_compiler; then
    # rust-web-llvm's rust-clang is only a link to clang-22, which none of these packages depends on.
    apt_install "The program is built by Debian's Rust compiler with LLVM 22" \
      rustc-web cargo-web rust-web-src rust-web-llvm clang-22 libc6-dev ca-certificates python3
    has_compiler || die "Debian's packages did not bring the compiler; see build/apt.log"
  fi
  if ! grep -qsF "\"sbpf-linker $linker_version " "$cache/.crates.toml"; then
    step "building sbpf-linker $linker_version (about two minutes, once)"
    cargo install sbpf-linker --version "$linker_version" --locked --quiet --root "$cache"
  fi
}

toolchain() { # prints one version per line
  /usr/bin/rustc --version
  echo "clang $(/usr/bin/rust-clang -dumpversion)"
  echo "sbpf-linker $linker_version"
  sed -n '/^name = "anchor-lang"$/{n;s/version = "\(.*\)"/anchor-lang \1/p}' "$root/Cargo.lock"
}

# std's source with one line more: the minimum alignment of the bpf architecture. STAMP is kept beside it.
prepare_library() { # STAMP
  cmp -s "$1" "$cache/library/.patched" && return
  rm -rf "$cache/library"
  cp -r /usr/lib/rustlib/src/rust/library "$cache/library"
  sed -i '0,/target_arch = "x86",/s//target_arch = "x86",\n    target_arch = "bpf",/' \
    "$cache/library/std/src/sys/alloc/mod.rs"
  cp "$1" "$cache/library/.patched"
}

# The C library calls that LLVM emits (runtime.c), and what the program imports of Solana's runtime.
exports=(
  __bpf_trap memcpy memmove memset memcmp bcmp abort
  sol_curve_validate_point sol_get_clock_sysvar sol_get_rent_sysvar sol_get_sysvar sol_invoke_signed_c sol_log_
  sol_log_data sol_memcmp_ sol_memcpy_ sol_memmove_ sol_memset_ sol_panic_ sol_sha256
)

sbf_cargo() { # COMMAND ARGUMENTS...
  local symbols flags
  symbols=$(IFS=, && echo "${exports[*]}")
  flags=(
    '--cfg target_os="solana"' -Aexplicit_builtin_cfgs_in_flags -Zunstable-options -Cpanic=immediate-abort
    -Cpasses=lower-atomic -Crelocation-model=static -Cembed-bitcode=yes
    # A function of more than five arguments cannot be called, so nearly all is inlined.
    -Clink-arg=--llvm-args=-bpf-stack-size=4096 -Clink-arg=--llvm-args=-inline-threshold=50000
    -Clink-arg=--llvm-args=-inlinecold-threshold=50000 -Clink-arg=--llvm-args=-inlinehint-threshold=50000
    -Clink-arg=--ignore-inline-never -Clink-arg=--disable-memory-builtins
    "-Clink-arg=$cache/runtime.bc" "-Clink-arg=--export=$symbols"
  )
  cp "$root/scripts/sbf/runtime.c" "$root/scripts/sbf/target.json" "$cache/"
  (cd "$cache" && /usr/bin/rust-clang -target bpf -O2 -fno-builtin -emit-llvm -c runtime.c -o runtime.bc)
  PATH="$cache/bin:/usr/bin:$PATH" RUSTC_BOOTSTRAP=1 RUSTC_BOOTSTRAP_SYNTHETIC_TARGET=1 \
    LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu __CARGO_TESTS_ONLY_SRC_ROOT="$cache/library" \
    RUSTFLAGS="${flags[*]}" cargo "$@" --target "$cache/target.json" -Zjson-target-spec \
    -Zbuild-std=std,panic_abort -Zbuild-std-features=
}
