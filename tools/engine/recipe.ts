/** How the engine is compiled: which files, with which flags, and why each flag is there. */

/** Set by measurement: README.md of hosts/simulator/engine tells how. */
export const C_STACK_BYTES = 128 * 1024;

const EXCEPTIONS = ["-mllvm", "-wasm-enable-sjlj", "-mllvm", "-wasm-use-legacy-eh=true"];

export const COMPILE_FLAGS: readonly string[] = [
  "-O2",
  // setjmp and longjmp as WebAssembly exceptions, in the encoding that Node 20 knows.
  ...EXCEPTIONS,
  // XS accesses one object through several types, and lets integers wrap.
  "-fno-common",
  "-fno-strict-aliasing",
  "-fwrapv",
  // Without it a double above 2^31 cast to an integer is undefined: 0xffffffff became 2147483647 and every hash was wrong.
  "-fno-strict-float-cast-overflow",
  "-DINCLUDE_XSPLATFORM",
  '-DXSPLATFORM="platform.h"',
  "-DmxMetering=1",
  "-DmxParse=1",
  "-DmxRun=1",
  "-DmxNoConsole=1",
  // A release build without it does not check the JavaScript stack: an overflow corrupts the heap in silence.
  "-DmxBoundsCheck=1",
  "-DmxMinusZero=1",
  "-DmxStringNormalize=1",
  "-DmxRegExpUnicodePropertyEscapes=1",
  "-D_WASI_EMULATED_SIGNAL",
  "-D_WASI_EMULATED_PROCESS_CLOCKS",
  "-Ihost",
  "-Ixs/includes",
  "-Ixs/platforms",
  "-Ixs/sources",
  "-Ied25519/src",
  "-Ilibcperciva/alg",
  "-Ilibcperciva/util",
  // The published sources warn; they are not ours to change. Our own files are compiled with OWN_FLAGS.
  "-w",
];

/** On top, for our own files. */
export const OWN_FLAGS: readonly string[] = [
  "-Wno-everything",
  "-Werror=implicit-function-declaration",
  "-Werror=return-type",
];

/** On top, for single files. */
export const FILE_FLAGS: Readonly<Record<string, readonly string[]>> = {
  // Dispatch by switch is a quarter faster here than by computed goto, which XS takes where it sees an optimizer.
  "host/interpreter.c": ["-U__OPTIMIZE__"],
  // XS knows no limit of a WebAssembly stack. Its function steps aside for the one in block.c.
  "xs/sources/xsCommon.c": ["-DfxCStackLimit=fxNoCStackLimit"],
};

/** interpreter.c includes it. */
export const INCLUDED_ONLY: readonly string[] = ["xs/sources/xsRun.c"];

export const LINK_FLAGS: readonly string[] = [
  ...EXCEPTIONS,
  "-mexec-model=reactor",
  "-lsetjmp",
  "-lwasi-emulated-signal",
  "-lwasi-emulated-process-clocks",
  `-Wl,-z,stack-size=${C_STACK_BYTES}`,
  // Below everything else: an overflow is a trap, never a write into other data.
  "-Wl,--stack-first",
  // A restored board starts with an empty C stack.
  "-Wl,--export=__stack_pointer",
  "-Wl,--strip-debug",
];
