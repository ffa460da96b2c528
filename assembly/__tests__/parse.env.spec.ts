import { env, parseWith, Parsed, source } from "./parsing";

function parse(pairs: string[]): Parsed {
  return parseWith("{}", [env(pairs)]);
}

describe("DVDI_* variables", () => {
  it("reads a whole set", () => {
    const parsed = parse([
      "DVDI_VOLUME_NAME",
      "vol",
      "DVDI_VOLUME_DRIVER",
      "rexray/ebs",
      "DVDI_VOLUME_OPTS",
      "size=5,iops=150,volumetype=io1,newfstype=xfs,overwritefs=false",
      "DVDI_VOLUME_CONTAINERPATH",
      "/tmp/ebs",
      "DVDI_VOLUME_EXPLICITCREATE",
      "true",
    ]);
    expect(parsed.short).toBe(
      'rexray/ebs vol at /tmp/ebs rw {"size":"5","iops":"150","volumetype":"io1","newfstype":"xfs","overwritefs":"false"}',
    );
    expect(parsed.first.from).toBe("DVDI_VOLUME_NAME");
    expect(parsed.first.create).toBe("if-missing");
  });

  it("passes over all other variables", () => {
    expect(parse(["PATH", "/bin", "DVD", "x", "dvdi_volume_name", "x", "MY_DVDI_VOLUME_NAME", "x"]).short).toBe("");
    expect(parse([]).short).toBe("");
  });

  it("takes rexray where no driver is named", () => {
    expect(parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_CONTAINERPATH", "/d"]).first.driver).toBe("rexray");
    const sources = [env(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_CONTAINERPATH", "/d"])];
    expect(parseWith('{"default_driver":"rclone"}', sources).first.driver).toBe("rclone");
  });

  it("takes suffixes in any mix and order", () => {
    const parsed = parse([
      "DVDI_VOLUME_CONTAINERPATH9",
      "/nine",
      "DVDI_VOLUME_NAME3",
      "three",
      "DVDI_VOLUME_NAME",
      "bare",
      "DVDI_VOLUME_NAME9",
      "nine",
      "DVDI_VOLUME_OPTS3",
      "size=3",
      "DVDI_VOLUME_DRIVER9",
      "rclone",
      "DVDI_VOLUME_CONTAINERPATH3",
      "/three",
      "DVDI_VOLUME_CONTAINERPATH",
      "/bare",
    ]);
    expect(parsed.short).toBe(
      'rexray bare at /bare rw {}; rexray three at /three rw {"size":"3"}; rclone nine at /nine rw {}',
    );
    expect(parsed.volumes[2].from).toBe("DVDI_VOLUME_NAME9");
  });

  it("puts a volume without a path where the driver's family has its volumes", () => {
    expect(parse(["DVDI_VOLUME_NAME", "v"]).first.containerPath).toBe("/var/lib/rexray/volumes/v");
    expect(parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_DRIVER", "rexray/ebs:0.11"]).first.containerPath).toBe(
      "/var/lib/rexray/volumes/v",
    );
    expect(parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_DRIVER", "own:1"]).first.containerPath).toBe(
      "/var/lib/own_1/volumes/v",
    );
  });

  it("keeps all of an option's value behind the first equals sign", () => {
    const parsed = parse([
      "DVDI_VOLUME_NAME",
      "v",
      "DVDI_VOLUME_DRIVER",
      "own",
      "DVDI_VOLUME_OPTS",
      "a=b=c=, d = e ,,x=",
    ]);
    expect(parsed.short).toBe('own v at /var/lib/own/volumes/v rw {"a":"b=c=","d":"e","x":""}');
  });

  it("leaves creation to the settings unless EXPLICITCREATE is true", () => {
    const never = '{"defaults":{"create":"never"}}';
    const cases = ["", "false", "FALSE"];
    for (let i = 0; i < cases.length; i++) {
      const sources = [env(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_EXPLICITCREATE", cases[i]])];
      expect(parseWith("{}", sources).first.create).toBe("if-missing");
      expect(parseWith(never, sources).first.create).toBe("never");
    }
    expect(
      parseWith(never, [env(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_EXPLICITCREATE", " True "])]).first.create,
    ).toBe("if-missing");
    expect(parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_EXPLICITCREATE", "yes"]).message).toBe(
      'DVDI_VOLUME_EXPLICITCREATE must be true or false, not "yes"',
    );
  });

  it("refuses DVDCLI, with the reason", () => {
    const names = ["DVDI_VOLUME_DVDCLI", "DVDI_VOLUME_DVDCLI1"];
    for (let i = 0; i < names.length; i++) {
      const parsed = parse(["DVDI_VOLUME_NAME", "v", names[i], "/usr/bin/dvdcli"]);
      expect(parsed.failure!.code).toBe("refused");
      expect(parsed.message).toBe(
        names[i] +
          " is refused: it named a program that the node would run with root's rights, and no program is run here",
      );
      expect(parsed.field).toBe(names[i]);
    }
  });

  it("refuses names that are nearly right, and says which are accepted", () => {
    const accepted =
      "accepted are DVDI_VOLUME_NAME, DVDI_VOLUME_DRIVER, DVDI_VOLUME_OPTS, DVDI_VOLUME_CONTAINERPATH, DVDI_VOLUME_EXPLICITCREATE, each bare or with one digit from 1 to 9";
    const slip = parse(["DVDI_VOLUME_NMAE2", "v"]);
    expect(slip.message).toBe("DVDI_VOLUME_NMAE2 is not known; " + accepted);
    expect(slip.hint).toBe("did you mean DVDI_VOLUME_NAME2?");
    expect(parse(["DVDI_VOLUME_NAME10", "v"]).message).toBe('DVDI_VOLUME_NAME10 has the suffix "10"; ' + accepted);
    expect(parse(["DVDI_VOLUME_NAME0", "v"]).hint).toBe("write DVDI_VOLUME_NAME");
    expect(parse(["DVDI_VOLUME_NAME_1", "v"]).message).toBe("DVDI_VOLUME_NAME_1 is not known; " + accepted);
    expect(parse(["DVDI_VOLUME_OPTIONS", "v"]).message).toBe("DVDI_VOLUME_OPTIONS is not known; " + accepted);
    expect(parse(["DVDI_VOLS_JSON_ARRAY", "v"]).message).toBe("DVDI_VOLS_JSON_ARRAY is not known; " + accepted);
  });

  it("refuses a set without a name", () => {
    const parsed = parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_DRIVER2", "rexray"]);
    expect(parsed.message).toBe("DVDI_VOLUME_DRIVER2 is set, but DVDI_VOLUME_NAME2 is not; a volume needs a name");
    expect(parse(["DVDI_VOLUME_NAME", "", "DVDI_VOLUME_OPTS", "size=5"]).message).toBe(
      "DVDI_VOLUME_OPTS is set, but DVDI_VOLUME_NAME is not; a volume needs a name",
    );
    expect(parse(["DVDI_VOLUME_NAME1", ""]).short).toBe("");
  });

  it("refuses options that are no pairs, twice or wrong", () => {
    expect(parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_OPTS", "size"]).message).toBe(
      'DVDI_VOLUME_OPTS has "size", which is no name=value',
    );
    expect(parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_OPTS", "=5"]).message).toBe(
      'DVDI_VOLUME_OPTS has "=5", which is no name=value',
    );
    expect(parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_OPTS", "size=5,size=6"]).message).toBe(
      'DVDI_VOLUME_OPTS gives "size" twice',
    );
    expect(parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_OPTS", "size=5,Size=10"]).message).toBe(
      'DVDI_VOLUME_OPTS gives "Size" twice',
    );
    const wrong = parse(["DVDI_VOLUME_NAME1", "v", "DVDI_VOLUME_OPTS1", "size=5GB"]);
    expect(wrong.message).toBe('DVDI_VOLUME_OPTS1.size must be a whole number of GB from 1 to 1048576, not "5GB"');
    expect(wrong.hint).toBe("write 5: the unit is always GB");
    expect(wrong.failure!.volume).toBe("v");
  });

  it("refuses text that hides something", () => {
    expect(parse(["DVDI_VOLUME_NAME", "a\u0007b"]).message).toBe("DVDI_VOLUME_NAME holds a control character (U+0007)");
    expect(parse(["DVDI_VOLUME_NAME", "a\0b"]).message.endsWith("holds a NUL character")).toBe(true);
    expect(parse(["DVDI_VOLUME_NAME", "v", "DVDI_VOLUME_CONTAINERPATH", "/a/../../etc"]).message).toBe(
      'DVDI_VOLUME_CONTAINERPATH "/a/../../etc" holds ".."',
    );
    expect(parseWith("{}", ['{"form":"env","env":{"DVDI_VOLUME_NAME":5}}']).message).toBe(
      "sources[0].env.DVDI_VOLUME_NAME must be text, not 5",
    );
    expect(parseWith("{}", ['{"form":"env"}']).message).toBe('sources[0] has no "env"');
    expect(parseWith("{}", [source("env", "x")]).message).toBe('sources[0] has no "env"');
  });
});
