import { JsonWriter } from "../json/writer";
import { sizeFor } from "../options/check";
import { holds } from "./operation";
import { parse, Parsed } from "./parsing";

/** One option of one driver, as the statement gives it. */
function option(driver: string, name: string, value: string): Parsed {
  const w = new JsonWriter();
  w.beginObject().key("volumes").beginArray().beginObject();
  w.key("name").string("v").key("container_path").string("/d").key("driver").string(driver);
  w.key("options").beginObject().key(name).string(value).endObject();
  w.endObject().endArray().endObject();
  return parse("statement", w.toString());
}

function taken(driver: string, name: string, values: string[]): void {
  for (let i = 0; i < values.length; i++) {
    expect(option(driver, name, values[i]).message).toBe("", driver + " " + name + "=" + values[i]);
  }
}

function refused(driver: string, name: string, values: string[], accepted: string): void {
  for (let i = 0; i < values.length; i++) {
    expect(option(driver, name, values[i]).message).toBe(
      "volumes[0].options." + name + " must be " + accepted + ', not "' + values[i] + '"',
    );
  }
}

describe("options of known drivers", () => {
  it("EBS", () => {
    const names = ["ebs", "rexray/ebs", "rexray/ebs:0.11.4", "rexray-ebs", "ec2"];
    for (let i = 0; i < names.length; i++)
      taken(names[i], "volumetype", ["gp2", "gp3", "io1", "IO2", "standard", "st1", "sc1"]);
    taken("ebs", "size", ["1", "16384"]);
    taken("ebs", "iops", ["100", "64000"]);
    taken("ebs", "newFsType", ["ext4", "xfs"]);
    taken("ebs", "overwritefs", ["true", "false", "0"]);
    taken("ebs", "availabilityZone", ["eu-central-1a"]);
    taken("ebs", "snapshotid", ["snap-0123"]);
    refused(
      "ebs",
      "size",
      ["0", "-1", "1.5", "70000", "", "ten", "99999999999999999999"],
      "a whole number of GB from 1 to 65536",
    );
    refused("ebs", "iops", ["5", "fast"], "a whole number of IOPS from 100 to 256000");
    refused("ebs", "volumetype", ["gp9", ""], "one of standard, gp2, gp3, io1, io2, st1, sc1");
    refused("ebs", "newfstype", ["ntfs"], "one of ext2, ext3, ext4, xfs, btrfs");
    refused("ebs", "overwritefs", ["yes"], "true or false");
    refused("ebs", "availabilityzone", ["eu central"], "a word of letters, digits and _ . - : +");
    expect(option("ebs", "volumetype", "gp22").hint).toBe('did you mean "gp2"?');
  });

  it("names the option that was meant, and all that there are", () => {
    const slip = option("rexray/ebs", "volumtype", "gp2");
    expect(slip.message).toBe(
      'volumes[0].options.volumtype: driver rexray/ebs has no option "volumtype"; it takes size, iops, volumetype, type, availabilityzone, newfstype, fstype, overwritefs, encrypted, encryptionkey, snapshotname, snapshotid, volumename, volumeid, preempt',
    );
    expect(slip.hint).toBe('did you mean "volumetype"?');
    expect(slip.field).toBe("volumes[0].options.volumtype");
    expect(slip.failure!.driver).toBe("rexray/ebs");
    expect(option("rexray", "siz", "1").hint).toBe('did you mean "size"?');
  });

  it("ScaleIO, whose volume types are its pools", () => {
    taken("scaleio", "volumetype", ["pool one"]);
    taken("rexray/scaleio", "thinorthick", ["ThinProvisioned", "thickprovisioned"]);
    refused("scaleio", "thinorthick", ["thin"], "one of ThinProvisioned, ThickProvisioned");
    refused("scaleio", "iops", ["10"], "a whole number of IOPS from 11 to 1000000");
  });

  it("XtremIO", () => {
    taken("xtremio", "size", ["5"]);
    expect(option("xtremio", "encrypted", "true").message.includes('has no option "encrypted"')).toBe(true);
  });

  it("NFS", () => {
    taken("nfs", "share", ["10.0.0.1:/export"]);
    taken("nfs", "vers", ["3", "4.2"]);
    refused("nfs", "vers", ["5"], "one of 2, 3, 4, 4.0, 4.1, 4.2");
    refused("nfs", "proto", ["sctp"], "one of tcp, udp, tcp6, udp6, rdma");
    refused("netshare", "port", ["65536"], "a whole number of port from 0 to 65535");
    expect(option("nfs", "shar", "x").hint).toBe('did you mean "share"?');
  });

  it("dvdi-driver", () => {
    taken("dvdi", "size", ["10", "512m", "1GiB", "2TB"]);
    refused("dvdi", "size", ["0", "big", "10q"], "a size such as 10 (GB), 512m or 1GiB");
    taken("dvdi", "newfstype", ["ext4", "xfs", "btrfs"]);
    refused("dvdi", "newfstype", ["ntfs"], "one of ext4, xfs, btrfs");
    taken("dvdi", "tier", ["fast"]);
    taken("dvdi", "iops", ["500"]);
    refused("dvdi", "iops", ["0", "many"], "a whole number of IOPS from 1 to 1000000000");
    taken("dvdi", "bps", ["4096", "10m"]);
    // The attributes of the operator's tiers.
    taken("dvdi", "media", ["ssd"]);
  });

  it("of unknown drivers pass", () => {
    taken("own", "anything", ["at all", ""]);
    taken("rexray/other", "x", ["y"]);
    taken("rclone", "remote", [":memory:"]);
  });

  it("are sent in the schema's spelling, those of unknown drivers as they are written", () => {
    expect(option("ebs", "newFsType", "xfs").short).toBe('ebs v at /d rw {"newfstype":"xfs"}');
    expect(option("dvdi", "NewFsType", "xfs").short).toBe('dvdi v at /d rw {"newfstype":"xfs"}');
    expect(option("dvdi", "Media", "ssd").short).toBe('dvdi v at /d rw {"Media":"ssd"}');
    expect(option("own", "newFsType", "xfs").short).toBe('own v at /d rw {"newFsType":"xfs"}');
  });

  it("are one option in whatever case", () => {
    const drivers = ["ebs", "dvdi", "own"];
    for (let i = 0; i < drivers.length; i++) {
      const driver = drivers[i];
      const volume = '{"name":"v","container_path":"/d","driver":"' + driver + '","options":{"size":"5","Size":"5"}}';
      const statement = parse("statement", '{"volumes":[' + volume + "]}");
      expect(statement.message).toBe('volumes[0].options has "size" and "Size", which are one option', driver);
      expect(statement.hint).toBe("give one of them");
      const mount = "src=v,dst=/d,volume-driver=" + driver + ",volume-opt=size=5,volume-opt=SIZE=";
      holds(parse("mount", mount + "6").message, 'gives the option "SIZE" twice', driver);
      expect(parse("mount", mount + "5").short).toBe(driver + ' v at /d rw {"size":"5"}');
    }
  });

  it("are those of the schema by their whole name, in the letters that it has", () => {
    const names = ["size int", "size int 1 1048576", "overwritefs bool", "encryption\u212aey"];
    for (let i = 0; i < names.length; i++) {
      holds(option("ebs", names[i], "5").message, "driver ebs has no option", names[i]);
    }
    expect(option("dvdi", "noloc\u212a", "5").short).toBe('dvdi v at /d rw {"noloc\u212a":"5"}');
  });

  it("refuse control characters and bad names everywhere", () => {
    expect(option("own", "a", "x\ny").message).toBe("volumes[0].options.a holds a control character (U+000A)");
    expect(option("own", "", "x").message.includes("empty or overlong name")).toBe(true);
    expect(option("own", "a", "x".repeat(16385)).message.includes("at most 16384 are taken")).toBe(true);
    let many = "";
    for (let i = 0; i < 129; i++) many += (i ? "," : "") + '"k' + i.toString() + '":"v"';
    const text = '{"volumes":[{"name":"v","container_path":"/d","driver":"own","options":{' + many + "}}]}";
    expect(parse("statement", text).message).toBe("volumes[0].options has 129 options; at most 128 are taken");
    let pairs = "src=v,dst=/d,volume-driver=own";
    for (let i = 0; i < 500; i++) pairs += ",volume-opt=k" + i.toString() + "=v";
    expect(parse("mount", pairs).message).toBe("mount volume-opt has more than 128 options");
  });

  it("secrets are not looked at", () => {
    const text =
      '{"volumes":[{"name":"v","container_path":"/d","driver":"ebs","options":{"encryptionkey":{"secret":"k"},"size":{"secret":"s"}}}]}';
    expect(parse("statement", text).message).toBe("");
  });
});

describe("sizes", () => {
  it("become what the driver counts in", () => {
    expect(sizeFor("ebs", "10GB")!).toBe("10");
    expect(sizeFor("ebs", "2 TiB")!).toBe("2048");
    expect(sizeFor("ebs", "1.5TB")!).toBe("1536");
    expect(sizeFor("ebs", "10.5") === null).toBe(true);
    expect(sizeFor("own", "10.5")!).toBe("10.5");
  });
});
