// One volume of a workload, whatever form it was written in (docs/abi.md, VolumeRequest).
import { Node } from "../json/reader";
import { show } from "../json/text";
import { JsonWriter } from "../json/writer";
import {
  ACCESS_MODES,
  CREATE_MODES,
  MAX_DRIVER,
  MAX_NAME,
  MAX_OPTIONS,
  MAX_OPTION_NAME,
  MAX_OPTION_VALUE,
  MAX_PATH,
  MODES,
  OWNERSHIP_MODES,
} from "./errors";

/** An option's value: a text, or the name of a secret that the engine alone can resolve. */
export class OptionValue {
  constructor(
    /** The text, or the secret's name. */
    public text: string,
    public isSecret: bool = false,
  ) {}

  equals(other: OptionValue): bool {
    return this.isSecret == other.isSecret && this.text == other.text;
  }

  writeTo(w: JsonWriter): void {
    if (this.isSecret) w.beginObject().key("secret").string(this.text).endObject();
    else w.string(this.text);
  }
}

/** A name as names are compared: drivers read Size and size as one option. The same string where it has no capitals. */
function inAnyCase(name: string): string {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if ((code >= 0x41 && code <= 0x5a) || code >= 0x80) return name.toLowerCase();
  }
  return name;
}

/** Options by name, in the order in which they were given. Names are compared in any case. */
export class Options {
  /** As they are sent. */
  readonly names: string[] = [];
  readonly values: OptionValue[] = [];
  /** The names as they are compared. */
  private keys: string[] = [];

  get size(): i32 {
    return this.names.length;
  }

  /** More than are taken, as the check of the options says: a form that has so many need not be read on. */
  get tooMany(): bool {
    return this.size > MAX_OPTIONS;
  }

  get(name: string): OptionValue | null {
    const index = this.keys.indexOf(inAnyCase(name));
    return index < 0 ? null : this.values[index];
  }

  has(name: string): bool {
    return this.keys.includes(inAnyCase(name));
  }

  /** Adds, or replaces the value. */
  set(name: string, value: OptionValue): void {
    const key = inAnyCase(name);
    const index = this.keys.indexOf(key);
    if (index >= 0) this.values[index] = value;
    else this.push(name, key, value);
  }

  setText(name: string, text: string): void {
    this.set(name, new OptionValue(text));
  }

  /** Writes the name of the option at an index in another case. */
  respell(index: i32, name: string): void {
    this.names[index] = name;
  }

  private push(name: string, key: string, value: OptionValue): void {
    this.names.push(name);
    this.keys.push(key);
    this.values.push(value);
  }

  /** The same options with the same values, in any order. */
  equals(other: Options): bool {
    if (this.size != other.size) return false;
    for (let i = 0; i < this.size; i++) {
      const key = unchecked(this.keys[i]);
      // Mostly they stand in the same order; looking for each is slow where there are many.
      const at = unchecked(other.keys[i]) == key ? i : other.keys.indexOf(key);
      if (at < 0 || !other.values[at].equals(this.values[i])) return false;
    }
    return true;
  }

  writeTo(w: JsonWriter): void {
    w.beginObject();
    for (let i = 0; i < this.names.length; i++) {
      w.key(unchecked(this.names[i]));
      unchecked(this.values[i]).writeTo(w);
    }
    w.endObject();
  }

  /** From {name: text | number | bool | {"secret": NAME}}; records an error in the node for anything else. */
  static fromNode(node: Node): Options {
    const out = new Options();
    if (!node.mustBeObject()) return out;
    const keys = node.keys();
    if (keys.length > MAX_OPTIONS) {
      node.refuse("has " + keys.length.toString() + " options; at most " + MAX_OPTIONS.toString() + " are taken");
      return out;
    }
    let capitals = false;
    for (let i = 0; i < keys.length; i++) {
      const name = unchecked(keys[i]);
      const value = node.get(name)!;
      if (name.length == 0 || name.length > MAX_OPTION_NAME) {
        value.refuse("has an empty or overlong name");
        return out;
      }
      const key = inAnyCase(name);
      if (key != name) capitals = true;
      if (value.isString) {
        out.push(name, key, new OptionValue(value.text(MAX_OPTION_VALUE)));
      } else if (value.isNumber || value.isBool) {
        out.push(name, key, new OptionValue(value.plain()));
      } else if (value.isObject && value.length == 1 && value.has("secret")) {
        out.push(name, key, new OptionValue(value.get("secret")!.text(MAX_NAME), true));
      } else {
        value.expected('a text, a number, true, false or {"secret": NAME}');
        return out;
      }
    }
    // The reader has refused a name that is there twice as it stands.
    if (capitals) out.refuseTwins(node);
    return out;
  }

  /** Records an error where two names are one. */
  private refuseTwins(node: Node): void {
    const seen = new Map<string, i32>();
    for (let i = 0; i < this.size; i++) {
      const key = unchecked(this.keys[i]);
      if (seen.has(key)) {
        const one = show(this.names[seen.get(key)]);
        node.refuse('has "' + one + '" and "' + show(this.names[i]) + '", which are one option', "give one of them");
        return;
      }
      seen.set(key, i);
    }
  }
}

/** A pool that did not fit, and why. */
export class PassedOver {
  constructor(
    public pool: string,
    public reason: string,
  ) {}
}

/** How a class became a driver: kept so that `explain` can say it. */
export class ClassChoice {
  /** The attributes that were asked for, as JSON. */
  attributes: string = "{}";
  pool: string = "";
  /** The option `size` is not what the workload said: it was chosen from a range, or is the pool's own. */
  sizeChosen: bool = false;
  passedOver: PassedOver[] = [];

  writeTo(w: JsonWriter): void {
    w.beginObject();
    w.key("attributes").raw(this.attributes);
    w.key("pool").string(this.pool);
    if (this.sizeChosen) w.key("size_chosen").bool(true);
    w.key("passed_over").beginArray();
    for (let i = 0; i < this.passedOver.length; i++) {
      const passed = this.passedOver[i];
      w.beginObject().key("pool").string(passed.pool).key("reason").string(passed.reason).endObject();
    }
    w.endArray();
    w.endObject();
  }
}

export class VolumeRequest {
  driver: string = "";
  name: string = "";
  options: Options = new Options();
  containerPath: string = "";
  /** "rw" or "ro". */
  mode: string = "rw";
  /** Relative folder in the volume, or "". */
  subpath: string = "";
  access: string = "single-writer";
  create: string = "if-missing";
  ownership: string = "none";
  /** Where it was declared, for messages: `DVDI_VOLUME_NAME1`, `container.volumes[0]`. */
  from: string = "";
  classChoice: ClassChoice | null = null;

  get readOnly(): bool {
    return this.mode == "ro";
  }

  /** Whether the option `size`, where there is one, is what the workload said. */
  get sizeIsSaid(): bool {
    const choice = this.classChoice;
    return choice === null || !choice.sizeChosen;
  }

  /** "NAME (driver DRIVER)", as messages name a volume. */
  title(): string {
    return 'volume "' + this.name + '" (driver ' + this.driver + ")";
  }

  writeTo(w: JsonWriter): void {
    w.beginObject();
    w.key("driver").string(this.driver);
    w.key("name").string(this.name);
    w.key("options");
    this.options.writeTo(w);
    w.key("container_path").string(this.containerPath);
    w.key("mode").string(this.mode);
    w.key("subpath").string(this.subpath);
    w.key("access").string(this.access);
    w.key("create").string(this.create);
    w.key("ownership").string(this.ownership);
    w.key("from").string(this.from);
    const choice = this.classChoice;
    if (choice !== null) {
      w.key("class");
      choice.writeTo(w);
    }
    w.endObject();
  }

  toJson(): string {
    const w = new JsonWriter();
    this.writeTo(w);
    return w.toString();
  }

  /**
   * From what writeTo() wrote, with any further members beside (prepare's index, attachment, history). Records an
   * error in the node where a member is missing or of another type. Of `class` only what decides is read back; the rest
   * explains.
   */
  static fromNode(node: Node): VolumeRequest {
    const out = new VolumeRequest();
    if (!node.mustBeObject()) return out;
    out.driver = node.string("driver", "", MAX_DRIVER);
    out.name = node.string("name", "", MAX_NAME);
    if (node.failure === null && (out.driver.length == 0 || out.name.length == 0)) {
      node.refuse("needs a driver and a name");
    }
    const options = node.object("options");
    if (options !== null) out.options = Options.fromNode(options);
    out.containerPath = node.string("container_path", "", MAX_PATH);
    out.mode = node.oneOf("mode", MODES, out.mode);
    out.subpath = node.string("subpath", "", MAX_PATH);
    out.access = node.oneOf("access", ACCESS_MODES, out.access);
    out.create = node.oneOf("create", CREATE_MODES, out.create);
    out.ownership = node.oneOf("ownership", OWNERSHIP_MODES, out.ownership);
    out.from = node.string("from");
    const choice = node.object("class");
    if (choice !== null && choice.bool("size_chosen", false)) {
      out.classChoice = new ClassChoice();
      out.classChoice!.sizeChosen = true;
    }
    return out;
  }
}
