// What must hold of a JSON text before json-as may build values from it. validateJSON has accepted the syntax by
// then; here are the rules that JSON leaves open and that json-as does not keep: duplicate keys, escapes in keys,
// depth, counts, and the escape `\/`.

/** Depth of arrays and objects in each other. */
export const MAX_DEPTH: i32 = 32;
/** UTF-16 units of one text. */
export const MAX_TEXT: i32 = 4 << 20;
/** Members of one object. */
export const MAX_MEMBERS: i32 = 4096;
/** Elements of one array. */
export const MAX_ELEMENTS: i32 = 65536;
/** UTF-16 units of one key. */
export const MAX_KEY: i32 = 1024;

const QUOTE: u16 = 0x22;
const BACKSLASH: u16 = 0x5c;

/** The outcome of scan(): `error` is "" where the text may be parsed. */
export class Scan {
  error: string = "";
  /** The text holds `\/` and must go through unescapeSlashes(). */
  slashes: bool = false;
}

/** A set of the keys seen in the objects that are open, by object. Open addressing, doubled when half full. */
class KeySet {
  private slots: StaticArray<i32> = new StaticArray<i32>(64);
  private starts: StaticArray<usize> = new StaticArray<usize>(32);
  private lengths: StaticArray<i32> = new StaticArray<i32>(32);
  private owners: StaticArray<i32> = new StaticArray<i32>(32);
  private hashes: StaticArray<u32> = new StaticArray<u32>(32);
  private used: i32 = 0;

  /** Adds a key of object number `owner`; false where it is there already. */
  add(owner: i32, start: usize, length: i32): bool {
    let hash: u32 = 0x811c9dc5 ^ (<u32>owner * 0x9e3779b1);
    for (let i = 0; i < length; i++) hash = (hash ^ load<u16>(start + (<usize>i << 1))) * 0x01000193;
    hash ^= hash >> 15;
    const mask = this.slots.length - 1;
    let slot = <i32>hash & mask;
    while (true) {
      const entry = unchecked(this.slots[slot]) - 1;
      if (entry < 0) break;
      if (
        unchecked(this.hashes[entry]) == hash &&
        unchecked(this.owners[entry]) == owner &&
        unchecked(this.lengths[entry]) == length &&
        memory.compare(unchecked(this.starts[entry]), start, <usize>length << 1) == 0
      ) {
        return false;
      }
      slot = (slot + 1) & mask;
    }
    const index = this.used++;
    unchecked((this.slots[slot] = index + 1));
    unchecked((this.starts[index] = start));
    unchecked((this.lengths[index] = length));
    unchecked((this.owners[index] = owner));
    unchecked((this.hashes[index] = hash));
    if (this.used == this.starts.length) this.grow();
    return true;
  }

  private grow(): void {
    const capacity = this.used << 1;
    const starts = new StaticArray<usize>(capacity);
    const lengths = new StaticArray<i32>(capacity);
    const owners = new StaticArray<i32>(capacity);
    const hashes = new StaticArray<u32>(capacity);
    const bytes = <usize>this.used << 2;
    memory.copy(changetype<usize>(starts), changetype<usize>(this.starts), bytes);
    memory.copy(changetype<usize>(lengths), changetype<usize>(this.lengths), bytes);
    memory.copy(changetype<usize>(owners), changetype<usize>(this.owners), bytes);
    memory.copy(changetype<usize>(hashes), changetype<usize>(this.hashes), bytes);
    this.starts = starts;
    this.lengths = lengths;
    this.owners = owners;
    this.hashes = hashes;
    const slots = new StaticArray<i32>(capacity << 1);
    const mask = slots.length - 1;
    for (let i = 0; i < this.used; i++) {
      let slot = <i32>unchecked(hashes[i]) & mask;
      while (unchecked(slots[slot]) != 0) slot = (slot + 1) & mask;
      unchecked((slots[slot] = i + 1));
    }
    this.slots = slots;
  }
}

/** Checks a text whose syntax is valid JSON already. Positions in errors are UTF-16 units from 0. */
export function scan(text: string): Scan {
  const out = new Scan();
  const base = changetype<usize>(text);
  const end = base + (<usize>text.length << 1);
  // For each open container: the number of the object (0 for an array) and its count of members or elements.
  const owners = new StaticArray<i32>(MAX_DEPTH + 1);
  const counts = new StaticArray<i32>(MAX_DEPTH + 1);
  const keys = new KeySet();
  let depth = 0;
  let objects = 0;
  // In an object, whether the next string is a key.
  let expectKey = false;
  let at = base;
  while (at < end) {
    const code = load<u16>(at);
    if (code == QUOTE) {
      const start = at + 2;
      let escaped = false;
      at = start;
      while (true) {
        const inner = load<u16>(at);
        if (inner == QUOTE) break;
        if (inner == BACKSLASH) {
          escaped = true;
          if (load<u16>(at, 2) == 0x2f) out.slashes = true;
          at += 4;
        } else {
          at += 2;
        }
      }
      if (expectKey) {
        const length = <i32>((at - start) >> 1);
        if (escaped) {
          out.error = "a name holds a backslash at " + position(start, base) + "; write it without escapes";
          return out;
        }
        if (length > MAX_KEY) {
          out.error =
            "a name is " + length.toString() + " characters long at " + position(start, base) +
            "; at most " + MAX_KEY.toString() + " are taken";
          return out;
        }
        if (!keys.add(unchecked(owners[depth]), start, length)) {
          out.error = 'the name "' + keyText(start, length) + '" is there twice in one object';
          return out;
        }
        counts[depth]++;
        if (unchecked(counts[depth]) > MAX_MEMBERS) {
          out.error = "an object has more than " + MAX_MEMBERS.toString() + " members";
          return out;
        }
        expectKey = false;
      }
      at += 2;
      continue;
    }
    if (code == 0x7b || code == 0x5b) {
      if (++depth > MAX_DEPTH) {
        out.error = "it is nested more than " + MAX_DEPTH.toString() + " deep at " + position(at, base);
        return out;
      }
      const isObject = code == 0x7b;
      unchecked((owners[depth] = isObject ? ++objects : 0));
      unchecked((counts[depth] = 0));
      expectKey = isObject;
    } else if (code == 0x7d || code == 0x5d) {
      depth--;
      expectKey = false;
    } else if (code == 0x2c) {
      if (unchecked(owners[depth]) != 0) {
        expectKey = true;
      } else {
        counts[depth]++;
        if (unchecked(counts[depth]) < MAX_ELEMENTS) {
          at += 2;
          continue;
        }
        out.error = "a list has more than " + MAX_ELEMENTS.toString() + " elements";
        return out;
      }
    }
    at += 2;
  }
  return out;
}

/** Rewrites the escape `\/` to `/`, which json-as would decode to NUL. */
export function unescapeSlashes(text: string): string {
  const length = text.length;
  const out = changetype<string>(__new(<usize>length << 1, idof<string>()));
  const end = changetype<usize>(text) + (<usize>length << 1);
  let to = changetype<usize>(out);
  for (let at = changetype<usize>(text); at < end; at += 2) {
    const code = load<u16>(at);
    if (code == BACKSLASH && at + 2 < end) {
      const next = load<u16>(at, 2);
      if (next != 0x2f) {
        store<u16>(to, code);
        to += 2;
      }
      store<u16>(to, next);
      at += 2;
    } else {
      store<u16>(to, code);
    }
    to += 2;
  }
  const used = <i32>((to - changetype<usize>(out)) >> 1);
  return out.substring(0, used);
}

function position(at: usize, base: usize): string {
  return "character " + ((<i64>(at - base)) >> 1).toString();
}

function keyText(start: usize, length: i32): string {
  const shown = length > 64 ? 64 : length;
  const out = changetype<string>(__new(<usize>shown << 1, idof<string>()));
  memory.copy(changetype<usize>(out), start, <usize>shown << 1);
  return shown < length ? out + "…" : out;
}
