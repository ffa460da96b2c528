import { JsonWriter } from "../json/writer";
import { env, parseWith, Parsed, source } from "./parsing";

function parse(sources: string[]): Parsed {
  return parseWith("{}", sources);
}

const MESOS =
  '{"volumes":[{"mode":"RW","container_path":"/d","source":{"type":"DOCKER_VOLUME","docker_volume":{"driver":"own","name":"v"}}}]}';

/** A statement that was read from a file. */
function statement(origin: string, volumes: string): string {
  const w = new JsonWriter().beginObject().key("form").string("statement").key("origin").string(origin);
  return w
    .key("text")
    .string('{"volumes":[' + volumes + "]}")
    .endObject()
    .toString();
}

describe("several files", () => {
  const good = '{"name":"a","container_path":"/a"}';

  it("are told apart in errors", () => {
    const parsed = parse([
      statement("one.yaml", good),
      statement("two.yaml", '{"name":"b","container_path":"/b/../.."}'),
    ]);
    expect(parsed.message.startsWith("two.yaml: volumes[0].container_path")).toBe(true, parsed.message);
    expect(parsed.field).toBe("volumes[0].container_path");
    expect(parse([statement("one.yaml", "7")]).message.startsWith("one.yaml: volumes[0] must be")).toBe(true);
    // What is no file's is told as it was.
    const third = parse([statement("one.yaml", good), source("volume", "b")]);
    expect(third.message.length > 0).toBe(true);
    expect(third.message.includes("one.yaml")).toBe(false, third.message);
  });

  it("are told apart where they do not go together", () => {
    const parsed = parse([statement("one.yaml", good), statement("two.yaml", '{"name":"b","container_path":"/a"}')]);
    expect(parsed.message).toBe(
      'two volumes are to be at /a: volume "a" (driver rexray) by statement volumes[0] of one.yaml and ' +
        'volume "b" (driver rexray) by statement volumes[0] of two.yaml',
    );
    expect(parse([statement("one.yaml", good), statement("a\nb", good)]).notes.endsWith(" of a b: taken once")).toBe(
      true,
    );
  });

  it("have a name, which is text", () => {
    expect(parse(['{"form":"volume","text":"a:/a","origin":7}']).message).toBe("sources[0].origin must be text, not 7");
    expect(parse([statement("x".repeat(4096), good)]).message.startsWith("sources[0].origin is 4096 characters")).toBe(
      true,
    );
    expect(parse(['{"form":"volume","text":"a:/a","origin":null}']).short).toBe("rexray a at /a rw {}");
  });
});

describe("several forms", () => {
  it("are one workload's volumes, in order", () => {
    const parsed = parse([
      source("volume", "a:/a"),
      source("mount", "src=b,dst=/b"),
      source("statement", '{"volumes":[{"name":"c","container_path":"/c"}]}'),
      source("mesos", MESOS),
      env(["DVDI_VOLUME_NAME", "e", "DVDI_VOLUME_CONTAINERPATH", "/e"]),
    ]);
    expect(parsed.short).toBe(
      "rexray a at /a rw {}; rexray b at /b rw {}; rexray c at /c rw {}; own v at /d rw {}; rexray e at /e rw {}",
    );
    expect(parsed.notes).toBe("");
  });

  it("without any volume are no error", () => {
    expect(parse([]).short).toBe("");
    expect(parseWith("{}", ['{"form":"statement","text":"{\\"volumes\\":[]}"}']).short).toBe("");
  });

  it("two volumes on one path are an error", () => {
    const parsed = parse([source("volume", "a:/d"), source("volume", "b:/d/")]);
    expect(parsed.message).toBe(
      'two volumes are to be at /d: volume "a" (driver rexray) by --volume a:/d and volume "b" (driver rexray) by --volume b:/d/',
    );
    expect(
      parse([source("volume", "a:/d"), env(["DVDI_VOLUME_NAME", "b", "DVDI_VOLUME_CONTAINERPATH", "/d"])]).failure !==
        null,
    ).toBe(true);
  });

  it("the same volume on the same path is taken once", () => {
    const parsed = parse([source("volume", "a:/d"), source("mount", "src=a,dst=/d")]);
    expect(parsed.short).toBe("rexray a at /d rw {}");
    expect(parsed.notes).toBe(
      'volume "a" (driver rexray) is declared twice, in --volume a:/d and in --mount src=a,dst=/d: taken once',
    );
  });

  it("one volume at two paths is two", () => {
    expect(parse([source("volume", "a:/d"), source("volume", "a:/e:ro")]).short).toBe(
      "rexray a at /d rw {}; rexray a at /e ro {}",
    );
  });

  it("contradictions are errors", () => {
    expect(parse([source("volume", "a:/d"), source("volume", "a:/d:ro")]).message).toBe(
      'volume "a" (driver rexray) is asked for twice in ways that contradict: --volume a:/d and --volume a:/d:ro differ in mode',
    );
    const options = parse([
      source("mount", "src=a,dst=/d,volume-opt=size=1"),
      source("mount", "src=a,dst=/e,volume-opt=size=2"),
    ]);
    expect(options.message.endsWith("differ in options")).toBe(true, options.message);
    const access = parse([
      source(
        "statement",
        '{"volumes":[{"name":"a","container_path":"/d"},{"name":"a","container_path":"/e","access":"multi-reader","create":"never"}]}',
      ),
    ]);
    expect(access.message.endsWith("differ in access, create")).toBe(true, access.message);
  });

  it("the environment yields to every other form, with a note", () => {
    const vars = [
      "DVDI_VOLUME_NAME",
      "v",
      "DVDI_VOLUME_DRIVER",
      "own",
      "DVDI_VOLUME_OPTS",
      "size=5",
      "DVDI_VOLUME_CONTAINERPATH",
      "/d",
    ];
    // In any order of the sources.
    const parsed = parse([env(vars), source("mesos", MESOS)]);
    expect(parsed.short).toBe("own v at /d rw {}");
    expect(parsed.notes).toBe(
      'volume "v" (driver own) is declared in Mesos volumes[0] and in DVDI_VOLUME_NAME: Mesos volumes[0] is taken; they differ in options',
    );
    expect(parse([source("mesos", MESOS), env(vars)]).notes).toBe(parsed.notes);
  });

  it("the environment yields at any path of the volume, in any order of the others", () => {
    const second = MESOS.replace("/d", "/e");
    const differing = ["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_DRIVER", "own", "DVDI_VOLUME_OPTS", "size=4"];
    const at = differing.concat(["DVDI_VOLUME_CONTAINERPATH", "/e"]);
    const orders = [
      [source("mesos", MESOS), source("mesos", second)],
      [source("mesos", second), source("mesos", MESOS)],
    ];
    for (let i = 0; i < orders.length; i++) {
      const named = parse(orders[i].concat([env(at)]));
      expect(named.message).toBe("");
      expect(named.volumes.length).toBe(2);
      expect(named.notes.endsWith(" is taken; they differ in options")).toBe(true, named.notes);
      expect(parse(orders[i].concat([env(differing)])).volumes.length).toBe(2);
    }
    // Where another volume has the path that a variable's default would be.
    const taken = source("mount", "src=w,dst=/var/lib/own/volumes/v");
    expect(parse([taken, source("mesos", MESOS), env(differing)]).volumes.length).toBe(2);
  });

  it("a variable without a path yields too", () => {
    const parsed = parse([source("mesos", MESOS), env(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_DRIVER", "own"])]);
    expect(parsed.short).toBe("own v at /d rw {}");
    expect(parsed.notes).toBe(
      'volume "v" (driver own) is declared in Mesos volumes[0] and in DVDI_VOLUME_NAME: Mesos volumes[0] is taken',
    );
  });

  it("another path in the environment is another use, and must not contradict", () => {
    const same = parse([
      source("mesos", MESOS),
      env(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_DRIVER", "own", "DVDI_VOLUME_CONTAINERPATH", "/e"]),
    ]);
    expect(same.short).toBe("own v at /d rw {}; own v at /e rw {}");
    const other = parse([
      source("mesos", MESOS),
      env([
        "DVDI_VOLUME_NAME",
        "v",
        "DVDI_VOLUME_DRIVER",
        "own",
        "DVDI_VOLUME_CONTAINERPATH",
        "/e",
        "DVDI_VOLUME_OPTS",
        "a=b",
      ]),
    ]);
    expect(other.message.endsWith("differ in options")).toBe(true, other.message);
  });
});

describe("the input", () => {
  it("is refused where it is wrong", () => {
    expect(parse(['{"form":"statment","text":""}']).hint).toBe('did you mean "statement"?');
    expect(parse(['{"form":"volume"}']).message).toBe('sources[0] has no "text"');
    expect(parse(['{"form":"volume","text":5}']).message).toBe("sources[0].text must be text, not 5");
    expect(parse(['{"form":"volume","text":"a\\u0000b:/d"}']).message.endsWith("holds a NUL character")).toBe(true);
    expect(parse(['{"form":"volume","text":"\\ud800:/d"}']).message.includes("half of a surrogate pair")).toBe(true);
    expect(parse(['{"form":"volume","text":"a:/d","text":"b:/d"}']).message.includes("is there twice")).toBe(true);
    expect(parse(["5"]).message).toBe("sources[0] must be an object, not 5");
    expect(parseWith("{}", [source("volume", "a:/d")], "/x").message.startsWith('default_driver "/x"')).toBe(true);
  });

  it("is refused where it is too much", () => {
    const many: string[] = [];
    for (let i = 0; i < 1025; i++) many.push(source("volume", "v" + i.toString() + ":/d" + i.toString()));
    expect(parse(many).message).toBe("more than 1024 volumes are declared for one workload");
    many.pop();
    expect(parse(many).message).toBe("");
    const deep = '{"volumes":' + "[".repeat(1000) + "]".repeat(1000) + "}";
    expect(
      parse([source("statement", deep)]).message.startsWith(
        "the statement cannot be read: it is nested more than 32 deep",
      ),
    ).toBe(true);
    const nested = '{"volumes":' + "[".repeat(40) + "]".repeat(40) + "}";
    expect(parse([source("statement", nested)]).message.includes("nested more than 32 deep")).toBe(true);
    expect(
      parse([source("statement", '{"volumes":"' + "x".repeat(1 << 20) + '"}')]).message.includes("characters long"),
    ).toBe(true);
  });
});
