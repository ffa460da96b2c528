// The builds that want clang: sanitizers (a third of what gcc takes to compile), libFuzzer, coverage of the source.
const VERSION = 14;

export const CLANG = `clang-${VERSION}`;
export const llvm = (tool) => `llvm-${tool}-${VERSION}`;

/** For CMake. */
export const COMPILERS = { CMAKE_C_COMPILER: CLANG, CMAKE_CXX_COMPILER: `clang++-${VERSION}` };
