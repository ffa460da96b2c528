import { parse, parseWith, source } from "./parsing";

describe("docker run -v", () => {
  it("takes a name and a path", () => {
    const parsed = parse("volume", "data:/data");
    expect(parsed.short).toBe("rexray data at /data rw {}");
    expect(parsed.first.from).toBe("--volume data:/data");
    expect(parsed.first.access).toBe("single-writer");
    expect(parsed.first.create).toBe("if-missing");
    expect(parsed.first.ownership).toBe("none");
  });

  it("takes the options", () => {
    expect(parse("volume", "data:/data:ro").short).toBe("rexray data at /data ro {}");
    expect(parse("volume", "data:/data:rw,nocopy").short).toBe("rexray data at /data rw {}");
    const labelled = parse("volume", "data:/data:z");
    expect(labelled.short).toBe("rexray data at /data rw {}");
    expect(labelled.notes).toBe('volume "data": "z" (an SELinux label) is not applied');
  });

  it("takes the caller's default driver before the settings'", () => {
    const sources = [source("volume", "data:/data")];
    expect(parseWith('{"default_driver":"ebs"}', sources).first.driver).toBe("ebs");
    expect(parseWith('{"default_driver":"ebs"}', sources, "rclone").first.driver).toBe("rclone");
  });

  it("tidies the path", () => {
    expect(parse("volume", "data://var//./lib/x/").first.containerPath).toBe("/var/lib/x");
  });

  it("refuses folders of the host, with the reason", () => {
    const texts = ["/srv/data:/data", "./x:/data", "../x:/data", "~/x:/data", ".:/data"];
    for (let i = 0; i < texts.length; i++) {
      const parsed = parse("volume", texts[i]);
      expect(parsed.message.includes("that is a bind mount, not a volume")).toBe(
        true,
        texts[i] + ": " + parsed.message,
      );
      expect(parsed.field).toBe("volume");
    }
  });

  it("refuses what is nearly right", () => {
    expect(parse("volume", "").message).toBe('volume "" is empty');
    expect(parse("volume", "data").message).toBe('volume "data" has no ":/path"');
    expect(parse("volume", "/data").message).toBe('volume "/data" has no ":/path"');
    expect(parse("volume", ":/data").message).toBe('volume ":/data" has no name before the colon');
    expect(parse("volume", "data:").message).toBe("volume path is empty");
    expect(parse("volume", "data:data").message).toBe('volume path "data" must be absolute');
    expect(parse("volume", "data:/").message).toBe(
      'volume path "/" is the root of the workload\'s files, which no volume can replace',
    );
    expect(parse("volume", "data:/a/../etc").message).toBe('volume path "/a/../etc" holds ".."');
    expect(parse("volume", "data:/data:ro:x").message.includes("more than three parts")).toBe(true);
    expect(parse("volume", "data:/data:ro,rw").message.includes("both ro and rw")).toBe(true);
    expect(parse("volume", "data:/data:rshared").message.includes("only bind mounts have")).toBe(true);
    const typo = parse("volume", "data:/data:r0");
    expect(typo.message).toBe('volume "data:/data:r0" has the unknown option "r0"; it takes ro, rw, nocopy, z, Z');
    const near = parse("volume", "data:/data:nocpy");
    expect(near.hint).toBe('did you mean "nocopy"?');
  });

  it("refuses names that are none", () => {
    expect(parse("volume", ".hidden:/d").message).toBe('volume name ".hidden" starts with "."');
    expect(parse("volume", "-x:/d").message).toBe('volume name "-x" starts with "-"');
    expect(parse("volume", "a/b:/d").message).toBe('volume name "a/b" holds a slash');
    expect(parse("volume", "a\nb:/d").message).toBe('volume name "a\\u000ab" holds a control character (U+000A)');
    expect(parse("volume", "x".repeat(256) + ":/d").message.endsWith("is longer than 255 characters")).toBe(true);
    expect(parse("volume", "x".repeat(255) + ":/d").message).toBe("");
    expect(parse("volume", "Größe_1.x-y:/d").message).toBe("");
  });
});

describe("docker run --mount", () => {
  it("takes all its keys", () => {
    const parsed = parse(
      "mount",
      "type=volume,source=data,target=/data,readonly,volume-driver=rexray/ebs,volume-opt=size=5,volume-opt=volumetype=gp2,volume-subpath=a/b,volume-nocopy",
    );
    expect(parsed.short).toBe('rexray/ebs data at /data ro {"size":"5","volumetype":"gp2"}');
    expect(parsed.first.subpath).toBe("a/b");
  });

  it("takes the other spellings", () => {
    expect(parse("mount", "src=data,dst=/data").short).toBe("rexray data at /data rw {}");
    expect(parse("mount", "SRC=data,Destination=/data,ro=true").short).toBe("rexray data at /data ro {}");
    expect(parse("mount", "src=data,dst=/data,readonly=false").short).toBe("rexray data at /data rw {}");
    expect(parse("mount", "src=data,dst=/data,readonly=0").first.mode).toBe("rw");
  });

  it("reads quotes as encoding/csv does", () => {
    const parsed = parse("mount", 'src=data,dst=/data,volume-driver=own,"volume-opt=o=addr=10.0.0.1,vers=4,""x"""');
    expect(parsed.short).toBe('own data at /data rw {"o":"addr=10.0.0.1,vers=4,\\"x\\""}');
    expect(
      parse("mount", 'src=data,dst=/data,"volume-opt=o=a').message.endsWith("has a quote that is not closed"),
    ).toBe(true);
    expect(parse("mount", 'src=data,dst=/d"a"').message.includes("a quote inside a part")).toBe(true);
    expect(parse("mount", '"src=data"x,dst=/data').message.includes("text after a closing quote")).toBe(true);
  });

  it("refuses other types, with the reason", () => {
    const bind = parse("mount", "type=bind,src=/srv,dst=/data");
    expect(bind.message).toBe('mount type must be volume, not "bind"');
    expect(bind.hint).toBe("only volumes of volume drivers are given to workloads here");
    expect(parse("mount", "type=volum,src=x,dst=/data").hint).toBe('did you mean "volume"?');
    expect(parse("mount", "src=/srv,dst=/data").message.includes("bind mount, not a volume")).toBe(true);
  });

  it("refuses what is nearly right", () => {
    expect(parse("mount", "src=data").message).toBe('mount "src=data" names no target');
    expect(parse("mount", "dst=/data").message).toBe('mount "dst=/data" names no volume');
    expect(parse("mount", "src=a,dst=/data,readonly=maybe").message).toBe(
      'mount readonly must be true or false, not "maybe"',
    );
    expect(parse("mount", "src=a,source=b,dst=/data").message.endsWith("names two sources")).toBe(true);
    expect(parse("mount", "src=a,dst=/a,target=/b").message.endsWith("names two targets")).toBe(true);
    expect(parse("mount", "src,dst=/a").message.includes('has "src" without "="')).toBe(true);
    expect(parse("mount", "src=a,dst=/a,,").message.includes("is no key=value")).toBe(true);
    expect(parse("mount", "src=a,dst=/a,volume-dirver=x").hint).toBe('did you mean "volume-driver"?');
    expect(parse("mount", "src=a,dst=/a,volume-driver=").message.includes("must be the name of a driver")).toBe(true);
    expect(parse("mount", "src=a,dst=/a,volume-driver=../x").message.includes('starts with "."')).toBe(true);
    expect(parse("mount", "src=a,dst=/a,volume-driver=a//b").message.includes("has an empty part")).toBe(true);
    expect(parse("mount", "src=a,dst=/a,volume-opt=").message.includes("a volume-opt without a name")).toBe(true);
    expect(parse("mount", "src=a,dst=/a,volume-driver=o,volume-opt=k=1,volume-opt=k=2").message.includes("twice")).toBe(
      true,
    );
    expect(parse("mount", "src=a,dst=/a,volume-subpath=../x").message.includes('holds ".."')).toBe(true);
  });

  it("leaves out what means nothing here, with a note", () => {
    expect(parse("mount", "src=a,dst=/a,volume-label=x=y").notes).toBe(
      "mount: volume-label=x=y means nothing here and was left out",
    );
  });
});
