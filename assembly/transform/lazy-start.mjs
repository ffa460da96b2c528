// A policy has no start function (docs/abi.md), but AssemblyScript makes one wherever a global needs code to be
// initialised, and the JSON library has such globals. This transform for asc, used together with
// `exportStart: "_start"`, takes the start function out of the exports and lets every exported function call it
// first. The compiler has given it a guard: it runs once, and it calls no import.

const START = "~start";
const EXPORT = "_start";

// asc puts `binaryen` (and much else) on the prototype of a transform's class.
export default class LazyStart {
  /** @param {object} module the compiled module, before optimization */
  afterCompile(module) {
    const { binaryen } = this;
    let found = false;
    const internals = new Set();
    for (let i = 0; i < module.getNumExports(); i++) {
      const info = binaryen.getExportInfo(module.getExportByIndex(i));
      if (info.kind !== binaryen.ExternalFunction) continue;
      if (info.name === EXPORT) found = true;
      else internals.add(info.value);
    }
    if (!found) throw new Error(`lazy-start needs the compiler's option exportStart: "${EXPORT}"`);
    module.removeExport(EXPORT);
    for (const internal of internals) {
      const ref = module.getFunction(internal);
      const { results, body } = binaryen.getFunctionInfo(ref);
      const first = module.call(START, [], binaryen.none);
      binaryen.Function.setBody(ref, module.block(null, [first, body], results));
    }
  }
}
