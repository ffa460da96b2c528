// What the options of known drivers may be, as data. A rule is a line: a name, a kind, and the kind's arguments.
//
//   int MIN MAX UNIT   a whole number in the unit
//   size               a number with a unit (10, 512m, 1GiB); without one it is GB
//   one A|B|C          one of the words, in any case
//   bool               true or false
//   label              letters, digits and _ . - : + only
//   text               any text of one line that is not empty
//
// The name * stands for every name that is not there.
//
// Names are compared in any case, as REX-Ray does. A driver that is not here gets its options unchecked.

// A schema is the list of its rules. One that is much like another is that one with changes: a line replaces the rule
// of its name, or comes in at the end; "-name" takes a rule out.

const REXRAY: string[] = [
  "size int 1 1048576 GB",
  "iops int 1 1000000 IOPS",
  "volumetype label",
  "type label",
  "availabilityzone label",
  "newfstype one ext2|ext3|ext4|xfs|btrfs",
  "fstype one ext2|ext3|ext4|xfs|btrfs",
  "overwritefs bool",
  "encrypted bool",
  "encryptionkey text",
  "snapshotname text",
  "snapshotid label",
  "volumename text",
  "volumeid label",
  "preempt bool",
];

// Figures of Amazon's API: the largest of all types.
const EBS: string[] = [
  "size int 1 65536 GB",
  "iops int 100 256000 IOPS",
  "volumetype one standard|gp2|gp3|io1|io2|st1|sc1",
  "type one standard|gp2|gp3|io1|io2|st1|sc1",
];

// The type of a volume is the name of its storage pool.
const SCALEIO: string[] = [
  "iops int 11 1000000 IOPS",
  "volumetype text",
  "type text",
  "-encrypted",
  "-encryptionkey",
  "storagepool text",
  "protectiondomain text",
  "thinorthick one ThinProvisioned|ThickProvisioned",
];

const XTREMIO: string[] = ["-encrypted", "-encryptionkey"];

const NFS: string[] = [
  "share text",
  "device text",
  "server text",
  "host text",
  "addr text",
  "path text",
  "export text",
  "mountpoint text",
  "create bool",
  "type one nfs|nfs4",
  "o text",
  "nfsopts text",
  "mountopts text",
  "options text",
  "vers one 2|3|4|4.0|4.1|4.2",
  "nfsvers one 2|3|4|4.0|4.1|4.2",
  "proto one tcp|udp|tcp6|udp6|rdma",
  "port int 0 65535 port",
  "mountport int 0 65535 port",
  "rsize int 1024 1048576 bytes",
  "wsize int 1024 1048576 bytes",
  "timeo int 1 6000 deciseconds",
  "retrans int 0 1000 retries",
  "sec one none|sys|krb5|krb5i|krb5p",
  "soft bool",
  "hard bool",
  "nolock bool",
  "noatime bool",
  "ro bool",
  "uid int 0 4294967295 id",
  "gid int 0 4294967295 id",
  "mode text",
  "size size",
];

// Its operator names more: the attributes of its tiers. The driver refuses those that it does not know.
const DVDI: string[] = [
  "size size",
  "newfstype one ext4|xfs|btrfs",
  "fstype one ext4|xfs|btrfs",
  "overwritefs bool",
  "tier label",
  "volumetype label",
  "type label",
  "iops int 1 1000000000 IOPS",
  "bps label",
  "* text",
];

/** The rules for a driver, or null for one whose options are its own affair. A tag (`rexray/ebs:0.11`) does not count. */
export function schemaOf(driver: string): string[] | null {
  let name = driver.toLowerCase();
  const tag = name.indexOf(":");
  if (tag >= 0) name = name.substring(0, tag);
  if (name == "rexray") return REXRAY;
  if (name.startsWith("rexray/") || name.startsWith("rexray-")) name = name.substring(7);
  if (name == "ebs" || name == "ec2" || name == "aws") return changed(REXRAY, EBS);
  if (name == "scaleio") return changed(REXRAY, SCALEIO);
  if (name == "xtremio") return changed(REXRAY, XTREMIO);
  if (
    name == "nfs" ||
    name == "nfs4" ||
    name == "netshare" ||
    name == "docker-volume-netshare" ||
    name == "nfs-volume-plugin"
  ) {
    return NFS;
  }
  if (name == "dvdi" || name == "dvdi-driver") return DVDI;
  return null;
}

/** A schema with changes. */
function changed(schema: string[], changes: string[]): string[] {
  const out = schema.slice();
  for (let i = 0; i < changes.length; i++) {
    const change = changes[i];
    const remove = change.startsWith("-");
    const name = remove ? change.substring(1) + " " : change.substring(0, change.indexOf(" ") + 1);
    let at = 0;
    while (at < out.length && !out[at].startsWith(name)) at++;
    if (remove) out.splice(at, 1);
    else if (at < out.length) out[at] = change;
    else out.push(change);
  }
  return out;
}
