import { Node, readJson } from "../json/reader";
import { JsonWriter, quote } from "../json/writer";
import { Config } from "../model/config";

function failed(text: string): string {
  const result = readJson(text, "the text");
  const error = result.error;
  return error === null ? "" : error.message;
}

function root(text: string): Node {
  const result = readJson(text, "the text");
  assert(result.error === null, text);
  return result.value!;
}

describe("reader", () => {
  it("reads what is there", () => {
    const node = root('{"a": "x\\/y\\\\\\/z", "b": [1, true, null], "c": {"d": -5}}');
    expect(node.string("a")).toBe("x/y\\/z");
    const list = node.array("b")!;
    expect(list.length).toBe(3);
    expect(list.at(0).integer()).toBe(1);
    expect(list.at(1).truth()).toBe(true);
    expect(list.at(2).isNull).toBe(true);
    expect(node.object("c")!.int("d", 0)).toBe(-5);
    expect(node.int("missing", 7)).toBe(7);
    expect(node.failure === null).toBe(true);
  });

  it("finds each value, in any order", () => {
    const node = root('{"l": [[1, [2]], {"a": {}, "b": []}, "x", -7e2, [], "y"], "l2": {"l": 5}, "": 6}');
    const list = node.array("l")!;
    expect(list.length).toBe(6);
    expect(list.at(5).text()).toBe("y");
    expect(list.at(0).at(1).at(0).integer()).toBe(2);
    expect(list.at(3).integer()).toBe(-700);
    expect(list.at(2).text()).toBe("x");
    expect(list.at(1).object("a")!.length).toBe(0);
    expect(list.at(1).array("b")!.length).toBe(0);
    expect(list.at(4).isArray).toBe(true);
    expect(list.at(6).isNull).toBe(true);
    expect(node.object("l2")!.int("l", 0)).toBe(5);
    expect(node.int("", 0)).toBe(6);
    expect(node.keys().join("|")).toBe("l|l2|");
    expect(node.get("x") === null).toBe(true);
    expect(list.keys().length).toBe(0);
    expect(root("5").integer()).toBe(5);
    expect(root(' "é\\u00e9" ').text()).toBe("éé");
    expect(root("[ ]").length).toBe(0);
  });

  it("reads lists and objects of any size", () => {
    const parts: string[] = [];
    for (let i = 0; i < 3000; i++) parts.push('{"k' + i.toString() + '":[' + i.toString() + ',"v"]}');
    const list = root("[" + parts.join(" , ") + "]");
    expect(list.length).toBe(3000);
    for (let i = 2999; i >= 0; i -= 7) {
      expect(
        list
          .at(i)
          .array("k" + i.toString())!
          .at(0)
          .integer(),
      ).toBe(i);
    }
  });

  it("refuses what is no JSON, and says where", () => {
    const start = "the text cannot be read: it is not JSON: line ";
    expect(failed("")).toBe("the text cannot be read: it is empty");
    expect(failed(" ")).toBe(start + "1, column 2: expected a value, found the end");
    expect(failed("{")).toBe(start + "1, column 2: expected a name in double quotes, found the end");
    expect(failed('{"a":1} x')).toBe(start + "1, column 9: expected nothing after the value");
    expect(failed('{"a":01}')).toBe(start + "1, column 6: expected a value");
    expect(failed('{"a":"\n"}')).toBe(start + "1, column 7: expected no raw line break or control character in a text");
    expect(failed('{\n  "a": 1,\n}')).toBe(start + "3, column 1: expected a name in double quotes");
    expect(failed('{"a": 1 "b": 2}')).toBe(start + '1, column 9: expected "," or "}"');
    expect(failed("[1 2]")).toBe(start + '1, column 4: expected "," or "]"');
    expect(failed("[1,]")).toBe(start + "1, column 4: expected a value");
    expect(failed('{"a" 1}')).toBe(start + '1, column 6: expected ":"');
    expect(failed("{'a': 1}")).toBe(start + "1, column 2: expected a name in double quotes");
    expect(failed('["\\x"]')).toBe(start + '1, column 4: expected one of " \\ / b f n r t u after the backslash');
    expect(failed('["\\u12"]')).toBe(start + "1, column 4: expected four hex digits after \\u");
    expect(failed('["a')).toBe(start + "1, column 4: expected the text's closing quote, found the end");
    expect(failed("[True]")).toBe(start + "1, column 2: expected a value");
    expect(failed("NaN")).toBe(start + "1, column 1: expected a value");
  });

  it("refuses a name that is there twice, at any depth", () => {
    expect(failed('{"a":1,"a":2}')).toBe('the text cannot be read: the name "a" is there twice in one object');
    expect(failed('[{"x":{"b":1,"c":{"b":1},"b":2}}]')).toBe(
      'the text cannot be read: the name "b" is there twice in one object',
    );
    expect(failed('{"a":{"a":{"a":"a"}},"b":{"a":1}}')).toBe("");
  });

  it("refuses a name that is there twice among many", () => {
    for (let many = 2; many < 200; many = many * 2 + 1) {
      for (let twice = 0; twice < many; twice += 1 + many / 7) {
        const members: string[] = [];
        for (let i = 0; i < many; i++) members.push('"ä' + i.toString() + '":{"n":' + i.toString() + "}");
        const fine = "{" + members.join(",") + ',"b":[{"ä0":1}]}';
        expect(failed(fine)).toBe("");
        expect(
          root(fine)
            .object("ä" + twice.toString())!
            .int("n", -1),
        ).toBe(twice);
        members.push('"ä' + twice.toString() + '":0');
        expect(failed("[{" + members.join(",") + "}]")).toBe(
          'the text cannot be read: the name "ä' + twice.toString() + '" is there twice in one object',
        );
      }
    }
    expect(failed('{"":1,"":2}')).toBe('the text cannot be read: the name "" is there twice in one object');
  });

  it("refuses what is too long or too many", () => {
    const name = '"' + "n".repeat(1024);
    expect(failed("{" + name + '":1}')).toBe("");
    expect(failed("{" + name + 'n":1}')).toBe(
      "the text cannot be read: a name is 1025 bytes long at character 2; at most 1024 are taken",
    );
    expect(failed("[" + "1,".repeat(65535) + "1]")).toBe("");
    expect(failed("[" + "1,".repeat(65536) + "1]")).toBe(
      "the text cannot be read: a list has more than 65536 elements",
    );
    const members: string[] = [];
    for (let i = 0; i < 4096; i++) members.push('"' + i.toString() + '":0');
    expect(failed("{" + members.join(",") + "}")).toBe("");
    members.push('"x":0');
    expect(failed("{" + members.join(",") + "}")).toBe("the text cannot be read: an object has more than 4096 members");
    expect(failed('"' + "x".repeat((4 << 20) - 2) + '"')).toBe("");
    expect(failed('"' + "x".repeat((4 << 20) - 1) + '"')).toBe(
      "the text cannot be read: it is longer than 4194304 bytes",
    );
  });

  it("counts lines and columns in characters", () => {
    const start = "the text cannot be read: it is not JSON: line ";
    expect(failed('{"ä🙂":1,\n "中": x}')).toBe(start + "2, column 7: expected a value");
    expect(failed('["🙂" "ä"]')).toBe(start + '1, column 7: expected "," or "]"');
    expect(failed("[1x]")).toBe(start + "1, column 2: expected a value");
    expect(failed("[truer]")).toBe(start + "1, column 2: expected a value");
    expect(failed("[1.]")).toBe(start + "1, column 2: expected a value");
    expect(failed("[-]")).toBe(start + "1, column 2: expected a value");
    expect(failed("[1e+]")).toBe(start + "1, column 2: expected a value");
    expect(failed("[1}")).toBe(start + '1, column 3: expected "," or "]"');
    expect(failed('["\\')).toBe(
      start + '1, column 4: expected one of " \\ / b f n r t u after the backslash, found the end',
    );
  });

  it("names a byte order mark, which no editor shows", () => {
    expect(failed('\uFEFF{"a":1}')).toBe(
      "the text cannot be read: it is not JSON: line 1, column 1: expected a value, found a byte order mark; " +
        "save it as UTF-8 without one",
    );
    expect(failed("[\uFEFF]")).toBe("the text cannot be read: it is not JSON: line 1, column 2: expected a value");
  });

  it("refuses escapes in names", () => {
    expect(failed('{"\\u0061":1}')).toBe(
      "the text cannot be read: a name holds a backslash at character 2; write it without escapes",
    );
  });

  it("refuses depth", () => {
    expect(failed("[".repeat(32) + "]".repeat(32))).toBe("");
    expect(failed("[".repeat(33) + "]".repeat(33))).toBe(
      "the text cannot be read: it is nested more than 32 deep at character 32",
    );
    expect(failed("[".repeat(100000))).toBe("the text cannot be read: it is nested more than 32 deep at character 32");
  });

  it("names place and value of a wrong type", () => {
    const node = root('{"a": [{"b": "7"}]}');
    node.array("a")!.at(0).int("b", 0);
    expect(node.failure!.message).toBe('a[0].b must be a whole number, not "7"');
    expect(node.failure!.field).toBe("a[0].b");
  });

  it("refuses numbers that are not whole or out of range", () => {
    const texts = ["1.5", "1e400", "9007199254740993", "-1"];
    for (let i = 0; i < texts.length; i++) {
      const node = root('{"n":' + texts[i] + "}");
      node.int("n", 0, 0, 100);
      expect(node.failure !== null).toBe(true, texts[i]);
    }
  });

  it("refuses NUL and lone surrogates in text", () => {
    const texts = ['"\\u0000"', '"\\ud800"', '"\\udc00x"', '"\\ud800\\ud800"'];
    for (let i = 0; i < texts.length; i++) {
      const node = root("[" + texts[i] + "]");
      node.at(0).text();
      expect(node.failure !== null).toBe(true, texts[i]);
    }
    const node = root('["\\ud83d\\ude00"]');
    expect(node.at(0).text()).toBe("😀");
    expect(node.failure === null).toBe(true);
  });

  it("names the unknown member and the near one", () => {
    const node = root('{"defualt_driver":"x"}');
    Config.fromNode(node);
    expect(node.failure!.hint).toBe('did you mean "default_driver"?');
  });
});

describe("writer", () => {
  it("escapes", () => {
    expect(quote('a"b\\c\n\u0001é😀')).toBe('"a\\"b\\\\c\\u000a\\u0001é😀"');
    expect(quote(String.fromCharCode(0xd800) + "x")).toBe('"\ufffdx"');
    expect(quote("\u0001".repeat(300)).length).toBe(1802);
  });

  it("escapes at any place of a text", () => {
    for (let code = 1; code < 0x180; code++) {
      for (let place = 0; place < 9; place++) {
        const text = "abcdefgh".substring(0, place) + String.fromCharCode(code) + "ijklmnop".substring(place);
        if (root(quote(text)).text() != text) assert(false, "U+" + code.toString(16) + " at " + place.toString());
      }
    }
    expect(quote("a\0bcdefgh")).toBe('"a\\u0000bcdefgh"');
  });

  it("keeps text of any length and script", () => {
    const units = ["a", "\u007f", "\u0080", "ä", "\u07ff", "\u0800", "中", "\uffff", "🙂", "\u{10ffff}"];
    for (let i = 0; i < units.length; i++) {
      for (let length = 0; length < 40; length++) {
        const text = "x".repeat(length) + units[i] + "y".repeat(length % 7);
        expect(root(quote(text)).text()).toBe(text);
        expect(root(quote(units[i].repeat(length))).text()).toBe(units[i].repeat(length));
        const named = root("{" + quote(text) + ":1," + quote(text + "z") + ":2}");
        expect(named.int(text, 0)).toBe(1);
        expect(named.int(text + "z", 0)).toBe(2);
        expect(named.has(text + "y")).toBe(false);
      }
      const long = units[i].repeat(1500) + '"';
      expect(root(quote(long)).text()).toBe(long);
    }
  });

  it("writes UTF-8", () => {
    const w = new JsonWriter(1).string("ä€🙂z");
    expect(w.length).toBe(12);
    expect(<i32>(w.packed() & 0xffff_ffff)).toBe(12);
    expect(<usize>(w.packed() >> 32)).toBe(w.start);
    expect(load<u8>(w.start)).toBe(0x22);
    expect(load<u8>(w.start, 1)).toBe(0xc3);
    expect(load<u8>(w.start, 10)).toBe(0x7a);
    expect(new JsonWriter(1).raw('{"ä":"🙂"}').toString()).toBe('{"ä":"🙂"}');
  });

  it("puts commas", () => {
    const w = new JsonWriter(4);
    w.beginObject()
      .key("a")
      .int(-1)
      .key("b")
      .beginArray()
      .bool(true)
      .null()
      .endArray()
      .key("c")
      .beginObject()
      .endObject();
    expect(w.endObject().toString()).toBe('{"a":-1,"b":[true,null],"c":{}}');
  });
});

describe("config", () => {
  it("is normalized, and reads its own text", () => {
    const text = new Config().toJson();
    const node = root(text);
    const again = Config.fromNode(node);
    expect(node.failure === null).toBe(true);
    expect(again.toJson()).toBe(text);
  });

  it("says what differs from the stock settings, and that alone", () => {
    expect(new Config().toJson()).toBe("{}");
    expect(Config.ofInput(root('{"config":{}}')).toJson()).toBe("{}");
    expect(Config.ofInput(root("{}")).toJson()).toBe("{}");
    const settings =
      '{"call_timeout_ms":7,"default_driver":"nfs","defaults":{"access":"multi-writer","create":"never","ownership":"root-dir"},' +
      '"mount_timeout_ms":8,"pools":[{"name":"p","driver":"d","options":{"size":"5"},"attributes":{}}],' +
      '"retry":{"attempts":2,"base_ms":3,"max_ms":4}}';
    expect(Config.fromNode(root(settings)).toJson()).toBe(settings);
    expect(Config.fromNode(root('{"retry":{"attempts":5,"base_ms":3}}')).toJson()).toBe(
      '{"retry":{"attempts":5,"base_ms":3,"max_ms":5000}}',
    );
    const changed = root('{"config":{"default_driver":"rclone"}}');
    expect(Config.ofInput(changed).defaultDriver).toBe("rclone");
    const wrong = root('{"config":{"default_driver":5}}');
    Config.ofInput(wrong);
    expect(wrong.failure!.message).toBe("config.default_driver must be text, not 5");
  });
});
