# shellcheck shell=bash
# Sourced by build-program: how Debian's compiler is made to emit SBF. Expects $cache, with runtime.bc, target.json, library and bin in it.

# What the program may import from Solana's runtime, and the C library calls that LLVM emits (runtime.c).
sbf_exports=__bpf_trap,memcpy,memmove,memset,memcmp,bcmp,abort,sol_curve_validate_point,sol_get_clock_sysvar,sol_get_rent_sysvar
sbf_exports+=,sol_get_sysvar,sol_invoke_signed_c,sol_log_,sol_log_data,sol_memcmp_,sol_memcpy_,sol_memmove_,sol_memset_,sol_panic_,sol_sha256

sbf_cargo() { # COMMAND ARGUMENTS...
  local arguments=(
    '--cfg target_os="solana"' -Aexplicit_builtin_cfgs_in_flags -Zunstable-options -Cpanic=immediate-abort
    -Cpasses=lower-atomic -Crelocation-model=static -Cembed-bitcode=yes
    # A function of more than five arguments cannot be called, so nearly all is inlined.
    -Clink-arg=--llvm-args=-bpf-stack-size=4096 -Clink-arg=--llvm-args=-inline-threshold=50000
    -Clink-arg=--llvm-args=-inlinecold-threshold=50000 -Clink-arg=--llvm-args=-inlinehint-threshold=50000
    -Clink-arg=--ignore-inline-never -Clink-arg=--disable-memory-builtins
    "-Clink-arg=$cache/runtime.bc" "-Clink-arg=--export=$sbf_exports"
  )
  PATH="$cache/bin:/usr/bin:$PATH" RUSTC_BOOTSTRAP=1 RUSTC_BOOTSTRAP_SYNTHETIC_TARGET=1 \
    LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu __CARGO_TESTS_ONLY_SRC_ROOT="$cache/library" RUSTFLAGS="${arguments[*]}" \
    /usr/bin/cargo "$@" --target "$cache/target.json" -Zjson-target-spec -Zbuild-std=std,panic_abort -Zbuild-std-features=
}
