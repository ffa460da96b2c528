import { parse, parseWith, source } from "./parsing";

function volume(members: string): string {
  return '{"volumes":[{"name":"v","container_path":"/d"' + members + "}]}";
}

describe("the statement", () => {
  it("takes all members", () => {
    const parsed = parse(
      "statement",
      volume(
        ',"driver":"own","options":{"a":"b","n":5,"t":true,"key":{"secret":"db-key"}},"mode":"ro","subpath":"x/y","access":"multi-reader","create":"never","ownership":"root-dir"',
      ),
    );
    expect(parsed.short).toBe('own v at /d ro {"a":"b","n":"5","t":"true","key":{"secret":"db-key"}}');
    expect(parsed.first.subpath).toBe("x/y");
    expect(parsed.first.access).toBe("multi-reader");
    expect(parsed.first.create).toBe("never");
    expect(parsed.first.ownership).toBe("root-dir");
    expect(parsed.first.from).toBe("statement volumes[0]");
  });

  it("takes the settings' defaults", () => {
    const settings = '{"defaults":{"access":"multi-writer","create":"never","ownership":"recursive"}}';
    const first = parseWith(settings, [source("statement", volume(""))]).first;
    expect(first.access + first.create + first.ownership).toBe("multi-writerneverrecursive");
  });

  it("takes a size as the driver wants it", () => {
    expect(parse("statement", volume(',"size":10')).short).toBe('rexray v at /d rw {"size":"10"}');
    expect(parse("statement", volume(',"size":"1TB"')).short).toBe('rexray v at /d rw {"size":"1024"}');
    expect(parse("statement", volume(',"size":"512m","driver":"dvdi"')).short).toBe('dvdi v at /d rw {"size":"512m"}');
    expect(parse("statement", volume(',"size":"10GiB","driver":"own"')).short).toBe('own v at /d rw {"size":"10GiB"}');
    expect(parse("statement", volume(',"size":10,"options":{"size":"10"}')).short).toBe(
      'rexray v at /d rw {"size":"10"}',
    );
  });

  it("refuses sizes that are none", () => {
    expect(parse("statement", volume(',"size":"512m"')).message).toBe(
      'volumes[0].size must be a whole number of GB, which driver rexray counts in, not "512m"',
    );
    const texts = ['"big"', '"10XB"', "0", "-1", "[1]", '{"min":1}', "true", "1e999", '"-5"', '"0"'];
    for (let i = 0; i < texts.length; i++) {
      const message = parse("statement", volume(',"size":' + texts[i])).message;
      expect(message.startsWith("volumes[0].size must be a number")).toBe(true, texts[i] + ": " + message);
    }
    expect(parse("statement", volume(',"size":10,"options":{"size":"11"}')).message).toBe(
      "volumes[0] has the size 10 and the option size 11",
    );
  });

  it("refuses a size beside an option of its name in another case", () => {
    expect(parse("statement", volume(',"size":"10GB","options":{"Size":"20"}')).message).toBe(
      "volumes[0] has the size 10GB and the option size 20",
    );
    expect(parse("statement", volume(',"size":"10GB","options":{"Size":"10"}')).short).toBe(
      'rexray v at /d rw {"size":"10"}',
    );
    expect(parse("statement", volume(',"size":10,"options":{"size":{"secret":"10"}}')).message).toBe(
      "volumes[0] has the size 10 and the option size by a secret",
    );
  });

  it("refuses unknown members, and knows what others call them", () => {
    const typo = parse("statement", '{"volumes":[{"nmae":"v"}]}');
    expect(typo.message).toBe(
      '"nmae" is not known in volumes[0]; it takes name, driver, class, size, options, container_path, mode, subpath, access, create, ownership',
    );
    expect(typo.field).toBe("volumes[0].nmae");
    expect(typo.hint).toBe('did you mean "name"?');
    expect(parse("statement", '{"volumes":[{"containerPath":"v"}]}').hint).toBe('did you mean "container_path"?');
    expect(parse("statement", '{"volumes":[{"target":"v"}]}').hint).toBe('did you mean "container_path"?');
    expect(parse("statement", '{"volumes":[{"read_only":true}]}').hint).toBe('did you mean "mode": "ro"?');
    expect(parse("statement", '{"volume":[]}').hint).toBe('did you mean "volumes"?');
    expect(parse("statement", "{}").message).toBe('the statement has no "volumes"');
    expect(parse("statement", "[]").message).toBe('the statement must be an object: {"volumes": […]}, not a list');
    expect(parse("statement", '{"$schema":"x","volumes":[]}').short).toBe("");
  });

  it("passes fractions on as they were written", () => {
    const written = ["0.02414", "304.84178", "-3344.2347757", "0.30000000000000004", "1.50", "2.000", "-0.0", "0.10e1"];
    const passed = ["0.02414", "304.84178", "-3344.2347757", "0.30000000000000004", "1.5", "2", "0", "1"];
    for (let i = 0; i < written.length; i++) {
      const options = ',"driver":"own","options":{"o":' + written[i] + "}";
      expect(parse("statement", volume(options)).short).toBe('own v at /d rw {"o":"' + passed[i] + '"}');
    }
    expect(parse("statement", volume(',"driver":"own","size":0.02414')).short).toBe(
      'own v at /d rw {"size":"0.02414"}',
    );
  });
  it("passes whole numbers of any length on as they were written", () => {
    const whole = ["9007199254740993", "123456789012345678", "-123456789012345678901", "100000000000000000000"];
    for (let i = 0; i < whole.length; i++) {
      const options = ',"driver":"own","options":{"id":' + whole[i] + "}";
      expect(parse("statement", volume(options)).short).toBe('own v at /d rw {"id":"' + whole[i] + '"}');
    }
    expect(parse("statement", volume(',"driver":"own","options":{"a":1e20,"b":1.50,"c":0.1,"d":-0}')).short).toBe(
      'own v at /d rw {"a":"100000000000000000000","b":"1.5","c":"0.1","d":"0"}',
    );
    expect(parse("statement", volume(',"driver":"ebs","options":{"size":123456789012345678}')).message).toBe(
      'volumes[0].options.size must be a whole number of GB from 1 to 65536, not "123456789012345678"',
    );
  });

  it("refuses wrong values, naming them and what is accepted", () => {
    expect(parse("statement", '{"volumes":[{"container_path":"/d"}]}').message).toBe("volumes[0] has no name");
    const nowhere = parse("statement", '{"volumes":[{"name":"v","driver":"d"}]}');
    expect(nowhere.message).toBe("volumes[0] has no container_path");
    expect(nowhere.hint).toBe('write "container_path": "/data", with the folder where the workload wants the volume');
    expect(nowhere.field).toBe("volumes[0].container_path");
    expect(nowhere.failure!.volume + " of " + nowhere.failure!.driver).toBe("v of d");
    expect(parse("statement", volume(',"mode":"RO"')).message).toBe('volumes[0].mode must be one of rw, ro, not "RO"');
    expect(parse("statement", volume(',"mode":"RO"')).hint).toBe('did you mean "ro"?');
    expect(parse("statement", volume(',"access":"multi_reader"')).hint).toBe('did you mean "multi-reader"?');
    expect(parse("statement", volume(',"create":true')).message).toBe(
      "volumes[0].create must be one of never, if-missing, not true",
    );
    expect(parse("statement", volume(',"options":{"a":null}')).message).toBe(
      'volumes[0].options.a must be a text, a number, true, false or {"secret": NAME}, not null',
    );
    expect(parse("statement", volume(',"options":{"a":1e999}')).message).toBe(
      "volumes[0].options.a must be a number up to 1e21, not 1e999",
    );
    // The library reads this one as 4.46e+39.
    expect(parse("statement", volume(',"options":{"a":0.446291154604991570E+45}')).message).toBe(
      "volumes[0].options.a must be a number up to 1e21, not 0.446291154604991570E+45",
    );
    expect(parse("statement", volume(',"options":{"a":{"secret":5}}')).message).toBe(
      "volumes[0].options.a.secret must be text, not 5",
    );
    expect(parse("statement", volume(',"options":[]')).message).toBe(
      "volumes[0].options must be an object, not a list",
    );
    expect(parse("statement", volume(',"subpath":"a/../../b"')).message).toBe(
      'volumes[0].subpath "a/../../b" holds ".."',
    );
    expect(parse("statement", volume(',"driver":"a b"')).message).toBe('volumes[0].driver "a b" holds " "');
    expect(parse("statement", volume(',"name2":1').replace('"name":"v",', '"name":7,')).failure !== null).toBe(true);
  });

  it("takes a relative path: a Mesos sandbox", () => {
    expect(parse("statement", '{"volumes":[{"name":"v","container_path":"./a//b/"}]}').first.containerPath).toBe("a/b");
    expect(parse("statement", '{"volumes":[{"name":"v","container_path":"."}]}').failure !== null).toBe(true);
  });
});

const POOLS = `{"pools":[
  {"name":"slow","driver":"rexray/ebs","options":{"volumetype":"st1"},"attributes":{"media":"hdd","iops":{"max":500},"size":{"min":500}}},
  {"name":"fast","driver":"rexray/ebs","options":{"volumetype":"io1","iops":"\${iops}"},"attributes":{"media":["ssd","nvme"],"iops":{"min":1000,"max":20000},"size":{"max":"16TB"},"encrypted":true}},
  {"name":"local","driver":"dvdi","attributes":{"tier":"Gold"}}]}`;

function byClass(members: string): string {
  return '{"volumes":[{"name":"v","container_path":"/d","class":' + members + "}]}";
}

describe("classes", () => {
  it("become the first pool that has what is wanted", () => {
    const parsed = parseWith(POOLS, [
      source("statement", byClass('{"media":"SSD","iops":{"min":3000},"size":"100GB"}')),
    ]);
    expect(parsed.short).toBe('rexray/ebs v at /d rw {"volumetype":"io1","iops":"3000","size":"100"}');
    const choice = parsed.first.classChoice!;
    expect(choice.pool).toBe("fast");
    expect(choice.passedOver.length).toBe(1);
    expect(choice.passedOver[0].pool + " " + choice.passedOver[0].reason).toBe("slow has media hdd, not ssd");
    expect(choice.attributes).toBe('{"media":"SSD","iops":{"min":3000},"size":"100GB"}');
    expect(parsed.first.toJson().includes('"class":{"attributes":{"media":"SSD"')).toBe(true);
  });

  it("give a size with its unit to drivers that do not count in GB", () => {
    const sized = (size: string): string =>
      parseWith(POOLS, [source("statement", byClass('{"tier":"gold","size":"' + size + '"}'))]).short;
    expect(sized("20GB")).toBe('dvdi v at /d rw {"size":"20GB"}');
    expect(sized("1TB")).toBe('dvdi v at /d rw {"size":"1024GB"}');
    expect(sized("512m")).toBe('dvdi v at /d rw {"size":"512MB"}');
  });

  it("take the least that both sides allow", () => {
    const parsed = parseWith(POOLS, [source("statement", byClass('{"media":"nvme","iops":{"max":5000}}'))]);
    expect(parsed.short).toBe('rexray/ebs v at /d rw {"volumetype":"io1","iops":"1000"}');
  });

  it("take the greatest where neither side names a least", () => {
    const sized = (size: string): string =>
      parseWith(POOLS, [source("statement", byClass('{"media":"ssd","size":' + size + "}"))]).short;
    expect(sized('{"max":"20TB"}')).toBe('rexray/ebs v at /d rw {"volumetype":"io1","size":"16384"}');
    expect(sized('{"max":"2TB"}')).toBe('rexray/ebs v at /d rw {"volumetype":"io1","size":"2048"}');
  });

  it("say of a size that it was chosen, where it is not the statement's own", () => {
    const pools = '{"pools":[{"name":"p","driver":"dvdi","attributes":{"size":{"min":1}}';
    const own = pools + "}]}";
    const wanted = pools + ',"options":{"size":"${size}"}}]}';
    const fixed = pools + ',"options":{"size":"5"}}]}';
    const chose = (settings: string, members: string): bool =>
      parseWith(settings, [source("statement", byClass(members))])
        .first.toJson()
        .includes('"size_chosen":true');
    expect(chose(own, '{"size":{"max":20}}')).toBe(true);
    expect(chose(own, '{"size":{"min":2,"max":20}}')).toBe(true);
    expect(chose(own, '{"size":"20GB"}')).toBe(false);
    expect(chose(own, "{}")).toBe(false);
    expect(chose(own, '{"size":{"min":2}},"options":{"Size":"3"}')).toBe(false);
    expect(chose(wanted, '{"size":20}')).toBe(false);
    expect(chose(wanted, '{"size":{"min":2}}')).toBe(true);
    expect(chose(fixed, '{"size":20}')).toBe(true);
    expect(chose(fixed, "{}")).toBe(true);
  });

  it("leave out an option whose attribute is not wanted", () => {
    const parsed = parseWith(POOLS, [source("statement", byClass('{"encrypted":true}'))]);
    expect(parsed.short).toBe('rexray/ebs v at /d rw {"volumetype":"io1"}');
  });

  it("take words that look like numbers for words", () => {
    const placed = (has: string, wants: string): string => {
      const pool = '{"name":"p","driver":"own","options":{"in":"${zone}"},"attributes":{"zone":' + has + "}}";
      const parsed = parseWith('{"pools":[' + pool + "]}", [source("statement", byClass('{"zone":' + wants + "}"))]);
      return parsed.message.length ? parsed.message : parsed.short;
    };
    const taken = [
      ["1b", '"1b"', '"1b"'],
      ["1B", '"1b"', '"1B"'],
      ["1b", '["1a","1b"]', '"1b"'],
      ["1b", '"1b"', '["1c","1b"]'],
      ["3g", '["3g","4g"]', '"3g"'],
      ["3g", '"3g"', '"3g"'],
      ["0042", '"0042"', '"0042"'],
      ["4", '["3","4"]', '"4"'],
      ["4", '["3","4"]', "4"],
      ["4", "4", '["3","4"]'],
      ["true", '["true","false"]', "true"],
      // A number is what meets a number or a range.
      ["3000", '{"min":100,"max":5000}', '"3k"'],
      ["3000", "3000", '"3k"'],
      ["3000", '"3kB"', "3000"],
    ];
    for (let i = 0; i < taken.length; i++) {
      const way = taken[i][1] + " for " + taken[i][2];
      expect(placed(taken[i][1], taken[i][2])).toBe('own v at /d rw {"in":"' + taken[i][0] + '"}', way);
    }
    const none = 'volume "v": no pool fits its class: p has zone ';
    expect(placed('"1b"', '"1"')).toBe(none + "1b, not 1");
    expect(placed('["1a","1b"]', '"1c"')).toBe(none + "1a or 1b, not 1c");
    expect(placed('"0042"', '"0043"')).toBe(none + "0042, not 0043");
    expect(placed('["3","4"]', '{"min":3}')).toBe(none + "3 or 4, not at least 3");
  });

  it("compare words in any case, and take a size beside the class", () => {
    const text = '{"volumes":[{"name":"v","container_path":"/d","size":5,"class":{"tier":"gold"}}]}';
    expect(parseWith(POOLS, [source("statement", text)]).short).toBe('dvdi v at /d rw {"size":"5GB"}');
  });

  it("let a request's own options win, in whatever case", () => {
    const cased = source(
      "statement",
      '{"volumes":[{"name":"v","container_path":"/d","options":{"VolumeType":"gp2","Size":5},"class":{"media":"ssd","size":9}}]}',
    );
    expect(parseWith(POOLS, [cased]).short).toBe('rexray/ebs v at /d rw {"volumetype":"gp2","size":"5"}');
    const text =
      '{"volumes":[{"name":"v","container_path":"/d","options":{"volumetype":"io2"},"class":{"media":"ssd"}}]}';
    expect(parseWith(POOLS, [source("statement", text)]).short).toBe('rexray/ebs v at /d rw {"volumetype":"io2"}');
  });

  it("are an error with all reasons where no pool fits", () => {
    const parsed = parseWith(POOLS, [source("statement", byClass('{"media":"ssd","iops":50000}'))]);
    expect(parsed.message).toBe(
      'volume "v": no pool fits its class: slow has media hdd, not ssd; fast has iops 1000 to 20000, not 50000; local has no media',
    );
    expect(parsed.field).toBe("volumes[0].class");
    const none = parseWith("{}", [source("statement", byClass('{"media":"ssd"}'))]);
    expect(none.message).toBe('volume "v": no pool fits its class: the settings have no pools');
    const big = parseWith(POOLS, [source("statement", byClass('{"encrypted":true,"size":"17TB"}'))]);
    expect(big.message.includes("fast has size at most 16384 GB, not 17408 GB")).toBe(true, big.message);
  });

  it("refuse what contradicts itself", () => {
    const both = '{"volumes":[{"name":"v","container_path":"/d","driver":"own","class":{"media":"ssd"}}]}';
    expect(parseWith(POOLS, [source("statement", both)]).message).toBe("volumes[0] has both a driver and a class");
    const sizes = '{"volumes":[{"name":"v","container_path":"/d","size":5,"class":{"size":5}}]}';
    expect(parseWith(POOLS, [source("statement", sizes)]).message).toBe(
      "volumes[0] has a size beside the one of its class",
    );
    expect(parseWith(POOLS, [source("statement", byClass('{"iops":{"min":5,"max":1}}'))]).message).toBe(
      "volumes[0].class.iops has a min that is greater than its max",
    );
    expect(parseWith(POOLS, [source("statement", byClass('{"iops":{"least":5}}'))]).message).toBe(
      '"least" is not known in volumes[0].class.iops; it takes min, max',
    );
    expect(
      parseWith(POOLS, [source("statement", byClass('{"iops":null}'))]).message.startsWith(
        "volumes[0].class.iops must be",
      ),
    ).toBe(true);
  });
});
