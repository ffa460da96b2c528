// What the engine refuses a module for beside its shape (docs/abi.md): more than its compiler is given, and instructions
// of proposals that it leaves out. Said of a module that is valid WebAssembly: what is read here is known to be there.
import { Reader, SECTION, type Module, type Section } from "./wasm.ts";

const MOST = { types: 5_000, functions: 20_000, exports: 1_000, bodyBytes: 256 << 10, locals: 5_000, elements: 10_000 };
const LAST_SECTION = SECTION.dataCount;
/** i32, i64, f32, f64, funcref: no vectors, and nothing of the host's. */
const VALUES: readonly number[] = [0x7f, 0x7e, 0x7d, 0x7c, 0x70];

/** Why an engine of ABI 1 would not give the module to its compiler; empty where it would. */
export function boundProblems(module: Module): string[] {
  const problems: string[] = [];
  const within = (what: string, count: number, most: number): void => {
    if (count > most) problems.push(`it has ${count} ${what}; at most ${most} are accepted`);
  };
  const reader = (id: number): Reader | null => {
    const section = module.sections.find((one) => one.id === id);
    return section === undefined ? null : new Reader(section.payload, 0, section.payload.length, `section ${id}`);
  };
  const foreign = module.sections.find(({ id }: Section) => id > LAST_SECTION);
  if (foreign !== undefined) problems.push(`it has a section of kind ${foreign.id}, which no accepted feature uses`);
  const foreignCode = new Set<string>();
  const types = reader(SECTION.type);
  const count = types?.count() ?? 0;
  within("types", count, MOST.types);
  for (let left = count; types !== null && left > 0; left -= 1) {
    types.byte(); // a function's
    for (const values of [types.take(types.u32()), types.take(types.u32())])
      for (const value of values) if (!VALUES.includes(value)) foreignCode.add(foreignValue(value));
  }
  within("imports", module.imports.length, MOST.functions);
  within("functions", reader(SECTION.function)?.count() ?? 0, MOST.functions);
  within("exports", module.exports.length, MOST.exports);
  const tables = reader(SECTION.table);
  if (tables !== null) {
    const number = tables.count();
    within("tables", number, 1);
    for (let left = number; left > 0; left -= 1) {
      if (tables.byte() !== 0x70) problems.push("its table does not hold plain functions");
      within("table elements", tables.limits().min, MOST.elements);
    }
  }
  const code = reader(SECTION.code);
  for (let left = code?.count() ?? 0, i = 0; code !== null && left > 0; left -= 1, i += 1) {
    const body = code.take(code.u32());
    if (body.length > MOST.bodyBytes) {
      problems.push(`its function ${i} has ${body.length} bytes of code; at most ${MOST.bodyBytes} are accepted`);
      continue;
    }
    const inside = new Reader(body, 0, body.length, `function ${i}`);
    let locals = 0;
    for (let groups = inside.count(); groups > 0; groups -= 1) {
      locals += inside.u32();
      const type = inside.byte();
      if (!VALUES.includes(type)) foreignCode.add(foreignValue(type));
    }
    within("locals in one function", locals, MOST.locals);
    const found = foreignInstruction(inside);
    if (found !== null) foreignCode.add(found);
  }
  for (const found of foreignCode) problems.push(`its code has ${found}, which the engine does not take`);
  return problems;
}

const NAMES: Readonly<Record<number, string>> = {
  0x06: "exceptions",
  0x12: "tail calls",
  0x14: "typed function references",
  0xfb: "garbage collection",
  0xfd: "SIMD",
  0xfe: "threads",
};

const foreignValue = (type: number): string => `values of the type 0x${type.toString(16)}`;

/** The first instruction of a body that is not one of WebAssembly 1 with the extensions that the engine takes. */
function foreignInstruction(body: Reader): string | null {
  const skip = (bytes: number): void => void body.take(bytes);
  const number = (): void => {
    while (body.byte() >= 0x80);
  };
  while (body.left > 0) {
    const op = body.byte();
    if (op >= 0x45 && op <= 0xc4) continue; // numbers
    if (op >= 0x28 && op <= 0x3e) {
      number(); // alignment
      number(); // offset
      continue;
    }
    switch (op) {
      case 0x00: // unreachable
      case 0x01: // nop
      case 0x05: // else
      case 0x0b: // end
      case 0x0f: // return
      case 0x1a: // drop
      case 0x1b: // select
      case 0xd1: // ref.is_null
        break;
      case 0x1c: // select of these types
        for (const value of body.take(body.u32())) if (!VALUES.includes(value)) return foreignValue(value);
        break;
      case 0xd0: {
        // ref.null
        const value = body.byte();
        if (!VALUES.includes(value)) return foreignValue(value);
        break;
      }
      case 0x02: // block
      case 0x03: // loop
      case 0x04: // if
      case 0x0c: // br
      case 0x0d: // br_if
      case 0x10: // call
      case 0x25: // table.get
      case 0x26: // table.set
      case 0xd2: // ref.func
      case 0x20: // local.get
      case 0x21: // local.set
      case 0x22: // local.tee
      case 0x23: // global.get
      case 0x24: // global.set
      case 0x3f: // memory.size
      case 0x40: // memory.grow
      case 0x41: // i32.const
      case 0x42: // i64.const
        number();
        break;
      case 0x0e: // br_table
        for (let labels = body.u32() + 1; labels > 0; labels -= 1) number();
        break;
      case 0x11: // call_indirect
        number();
        number();
        break;
      case 0x43: // f32.const
        skip(4);
        break;
      case 0x44: // f64.const
        skip(8);
        break;
      case 0xfc: {
        const kind = body.u32();
        // 0 to 7 are conversions; then come memory.init, data.drop, memory.copy, memory.fill, table.init, elem.drop,
        // table.copy, table.grow, table.size, table.fill.
        const operands = [0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1][kind];
        if (operands === undefined) return `an instruction 0xfc ${kind}`;
        for (let left = operands; left > 0; left -= 1) number();
        break;
      }
      default:
        return `an instruction 0x${op.toString(16)} (${NAMES[op] ?? "a newer proposal"})`;
    }
  }
  return null;
}
