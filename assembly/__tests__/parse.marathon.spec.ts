// Definitions as Marathon takes them. Those of others are not kept here: a test run with DVDI_MARATHON_DEFINITIONS=FOLDER
// also parses every .json file in that folder, unedited, and expects each to declare a volume.
import { readJson } from "../json/reader";
import { env, parse, parseWith, Parsed, source } from "./parsing";
import * as world from "./world";

/** The volume of the first guide to external volumes: Mesos containerizer, relative path, a size. */
const RELATIVE = `{
  "id": "journal", "instances": 1, "cpus": 0.5, "mem": 64,
  "cmd": "date >> journal-data/lines; tail -n 3 journal-data/lines",
  "container": {
    "type": "MESOS",
    "volumes": [
      {
        "containerPath": "journal-data",
        "external": {"size": 100, "name": "journal", "provider": "dvdi", "options": {"dvdi/driver": "rexray"}},
        "mode": "RW"
      }
    ]
  },
  "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
}`;

/** A Docker image, an absolute path, ports and health checks around it. */
const DOCKER = `{
  "id": "/db/main", "instances": 1, "cpus": 1, "mem": 512,
  "env": {"DB_PASSWORD": {"secret": "password"}, "PLAIN": "x"},
  "secrets": {"password": {"source": "db/password"}},
  "container": {
    "type": "DOCKER",
    "docker": {"image": "postgres:9.6", "network": "BRIDGE", "parameters": [{"key": "env", "value": "PGDATA=/data"}],
      "portMappings": [{"containerPort": 5432, "hostPort": 0, "protocol": "tcp"}]},
    "volumes": [
      {"containerPath": "/etc/localtime", "hostPath": "/etc/localtime", "mode": "RO"},
      {"containerPath": "/data", "external": {"name": "main-db", "provider": "dvdi", "options": {"dvdi/driver": "rexray"}}, "mode": "RW"},
      {"containerPath": "scratch", "persistent": {"size": 512, "type": "root"}, "mode": "RW"},
      {"containerPath": "/run/key", "secret": "password"}
    ]
  },
  "healthChecks": [{"protocol": "TCP", "portIndex": 0}],
  "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
}`;

/** Every option of a storage system's own. */
const OPTIONS = `{
  "id": "store", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": 1,
  "container": {"type": "MESOS", "volumes": [{"containerPath": "store", "mode": "RO", "external": {
    "name": "store-1", "provider": "dvdi",
    "options": {"dvdi/driver": "arraydriver", "dvdi/size": "33", "dvdi/replica": " 3 ", "dvdi/maxIops": 100, "dvdi/fsType": "ext4", "dvdi/thin": true}}}]}
}`;

/** Before Marathon knew external volumes: the module's variables in env. */
const VARIABLES = `{
  "id": "before-1.0", "cpus": 0.1, "mem": 32, "instances": 1,
  "cmd": "while true; do touch /var/lib/rexray/volumes/first/mark; sleep 5; done",
  "env": {
    "DVDI_VOLUME_NAME": "first", "DVDI_VOLUME_DRIVER": "rexray",
    "DVDI_VOLUME_OPTS": "size=5,iops=150,volumetype=io1,newfstype=xfs,overwritefs=true",
    "DVDI_VOLUME_NAME1": "second", "DVDI_VOLUME_DRIVER1": "rexray", "DVDI_VOLUME_OPTS1": "size=6,volumetype=gp2,newfstype=ext4",
    "DVDI_VOLUME_CONTAINERPATH1": "/tmp/second"
  }
}`;

function app(external: string, around: string = '"containerPath":"/d","mode":"RW"'): Parsed {
  return parse(
    "marathon",
    '{"id":"a","container":{"type":"MESOS","volumes":[{' + around + ',"external":' + external + "}]}}",
  );
}

function options(members: string): Parsed {
  return app('{"name":"v","provider":"dvdi","options":{' + members + "}}");
}

describe("a Marathon app", () => {
  it("with a relative path and a size", () => {
    const parsed = parse("marathon", RELATIVE);
    expect(parsed.short).toBe('rexray journal at journal-data rw {"size":"100"}');
    expect(parsed.first.from).toBe("Marathon container.volumes[0]");
    expect(parsed.notes).toBe("");
  });

  it("with volumes of other kinds beside", () => {
    expect(parse("marathon", DOCKER).short).toBe("rexray main-db at /data rw {}");
    expect(parse("marathon", DOCKER).first.from).toBe("Marathon container.volumes[1]");
  });

  it("with options of the driver's own", () => {
    expect(parse("marathon", OPTIONS).short).toBe(
      'arraydriver store-1 at store ro {"replica":"3","maxIops":"100","fsType":"ext4","thin":"true","size":"33"}',
    );
  });

  it("with the variables of the original module", () => {
    expect(parse("marathon", VARIABLES).short).toBe(
      'rexray first at /var/lib/rexray/volumes/first rw {"size":"5","iops":"150","volumetype":"io1","newfstype":"xfs","overwritefs":"true"}; ' +
        'rexray second at /tmp/second rw {"size":"6","volumetype":"gp2","newfstype":"ext4"}',
    );
  });

  it("and the variables that Marathon made of it are one declaration", () => {
    const made = env([
      "DVDI_VOLUME_CONTAINERPATH",
      "journal-data",
      "DVDI_VOLUME_NAME",
      "journal",
      "DVDI_VOLUME_DRIVER",
      "rexray",
      "DVDI_VOLUME_OPTS",
      "size=100",
    ]);
    const parsed = parseWith("{}", [source("marathon", RELATIVE), made]);
    expect(parsed.short).toBe('rexray journal at journal-data rw {"size":"100"}');
    expect(parsed.notes).toBe(
      'volume "journal" (driver rexray) is declared in Marathon container.volumes[0] and in DVDI_VOLUME_NAME: Marathon container.volumes[0] is taken',
    );
  });

  it("may be wrapped: as the API answers it, in a list, in a group of one", () => {
    const short = parse("marathon", RELATIVE).short;
    expect(parse("marathon", '{"app":' + RELATIVE + "}").short).toBe(short);
    expect(parse("marathon", "[" + RELATIVE + "]").short).toBe(short);
    expect(parse("marathon", '{"apps":[' + RELATIVE + "]}").short).toBe(short);
    expect(parse("marathon", '{"id":"/g","groups":[{"id":"h","apps":[' + RELATIVE + "]}]}").short).toBe(short);
  });

  it("without a volume has none", () => {
    expect(parse("marathon", '{"id":"a","cmd":"x"}').short).toBe("");
    expect(parse("marathon", '{"id":"a","container":{"type":"MESOS"}}').short).toBe("");
    expect(parse("marathon", '{"id":"a","container":null,"env":null}').short).toBe("");
    expect(parse("marathon", '{"container":{"volumes":[{"containerPath":"x","external":null}]}}').short).toBe("");
  });

  it("that is shared allows many writers", () => {
    expect(app('{"name":"v","provider":"dvdi","shared":true,"options":{"dvdi/driver":"own"}}').first.access).toBe(
      "multi-writer",
    );
  });

  it("refuses what would be read as an app without volumes", () => {
    const volume =
      '[{"containerPath":"d","external":{"name":"v","provider":"dvdi","options":{"dvdi/driver":"rexray"}}}]';
    const outer = parse("marathon", '{"Container":{"volumes":' + volume + "}}");
    expect(outer.message).toBe('the Marathon app has "Container", which Marathon does not know');
    expect(outer.hint).toBe('did you mean "container"?');
    const inner = parse("marathon", '{"container":{"volume":' + volume + "}}");
    expect(inner.message).toBe('container has "volume", which Marathon does not know');
    expect(inner.hint).toBe('did you mean "volumes"?');
  });

  it("external.size wins over dvdi/size, with a note", () => {
    const parsed = app('{"name":"v","size":7,"provider":"dvdi","options":{"dvdi/driver":"own","dvdi/size":"9"}}');
    expect(parsed.short).toBe('own v at /d rw {"size":"7"}');
    expect(parsed.notes).toBe('volume "v": external.size 7 is taken, not dvdi/size 9');
  });

  it("external.size wins over dvdi/Size, too", () => {
    const parsed = app('{"name":"v","size":7,"provider":"dvdi","options":{"dvdi/driver":"own","dvdi/Size":"9"}}');
    expect(parsed.short).toBe('own v at /d rw {"Size":"7"}');
    expect(parsed.notes).toBe('volume "v": external.size 7 is taken, not dvdi/size 9');
  });

  it("has each option once, in whatever case", () => {
    const place = "container.volumes[0].external.options gives ";
    const size = options('"dvdi/driver":"own","dvdi/size":"5","dvdi/Size":"9"');
    expect(size.message).toBe(place + '"dvdi/Size" twice, in another case');
    expect(size.hint).toBe("give one of them");
    expect(options('"dvdi/driver":"own","dvdi/IOPS":1,"dvdi/iops":1').message).toBe(
      place + '"dvdi/iops" twice, in another case',
    );
  });

  it("options without the prefix reach no driver, with a note", () => {
    const parsed = options('"dvdi/driver":"own","size":5,"other/x":"y"');
    expect(parsed.short).toBe("own v at /d rw {}");
    expect(parsed.notes).toBe(
      'container.volumes[0].external.options: "size" does not begin with dvdi/ and reaches no driver; did you mean "dvdi/size"?\n' +
        'container.volumes[0].external.options: "other/x" does not begin with dvdi/ and reaches no driver',
    );
  });

  it("with several instances gets a note", () => {
    const parsed = parse("marathon", RELATIVE.replace('"instances": 1', '"instances": 3'));
    expect(parsed.notes.startsWith("instances is 3: every instance asks for the same volumes")).toBe(true);
  });
});

describe("a Marathon app that is nearly right", () => {
  it("lacks what Marathon wants", () => {
    expect(app('{"provider":"dvdi","options":{"dvdi/driver":"own"}}').message).toBe(
      "container.volumes[0].external has no name; Marathon wants one for an external volume",
    );
    expect(app('{"name":"","provider":"dvdi","options":{"dvdi/driver":"own"}}').message).toBe(
      "container.volumes[0].external.name is empty; a volume needs a name",
    );
    expect(app('{"name":"v","options":{"dvdi/driver":"own"}}').message).toBe(
      'container.volumes[0].external has no provider; accepted is "dvdi"',
    );
    expect(app('{"name":"v","provider":"dvdi"}').message).toBe(
      'container.volumes[0].external.options has no "dvdi/driver"; Marathon wants one',
    );
    const slip = options('"dvdi/drivr":"own"');
    expect(slip.message).toBe('container.volumes[0].external.options has no "dvdi/driver"; Marathon wants one');
    expect(slip.hint).toBe('"dvdi/drivr": did you mean "dvdi/driver"?');
    expect(slip.field).toBe('container.volumes[0].external.options["dvdi/driver"]');
    expect(app('{"name":"v","provider":"dvdi","options":{"dvdi/driver":"own"}}', '"mode":"RW"').message).toBe(
      "container.volumes[0] has no containerPath",
    );
  });

  it("has another provider, which is refused with the reason", () => {
    const csi = app('{"name":"v","provider":"csi","options":{"pluginName":"x"}}');
    expect(csi.message).toBe(
      'container.volumes[0].external.provider must be "dvdi", not "csi": only Docker volume plugins are driven here',
    );
    expect(csi.field).toBe("container.volumes[0].external.provider");
    expect(app('{"name":"v","provider":"dvd","options":{}}').hint).toBe('did you mean "dvdi"?');
  });

  it("has values of the wrong kind", () => {
    expect(app('"v"').message).toBe('container.volumes[0].external must be an object, not "v"');
    expect(app('{"name":"v","size":"5","provider":"dvdi","options":{"dvdi/driver":"own"}}').message).toBe(
      'container.volumes[0].external.size must be a whole number, not "5"',
    );
    expect(app('{"name":"v","size":1.5,"provider":"dvdi","options":{"dvdi/driver":"own"}}').message).toBe(
      "container.volumes[0].external.size must be a whole number, not 1.5",
    );
    expect(
      app('{"name":"v","size":0,"provider":"dvdi","options":{"dvdi/driver":"own"}}').message.includes("from 1 to"),
    ).toBe(true);
    expect(app('{"nmae":"v","provider":"dvdi"}').hint).toBe('did you mean "name"?');
    expect(
      app('{"name":"v","provider":"dvdi","options":{"dvdi/driver":"own"}}', '"containerPath":"/d","mode":"rw"').message,
    ).toBe('container.volumes[0].mode must be one of RW, RO, not "rw"');
    expect(
      app('{"name":"v","provider":"dvdi","options":{"dvdi/driver":"own"}}', '"containerPath":"../d"').message,
    ).toBe('container.volumes[0].containerPath "../d" holds ".."');
    expect(options('"dvdi/driver":"own","dvdi/x":[1]').message).toBe(
      "container.volumes[0].external.options.dvdi/x must be text, not a list",
    );
    expect(options('"dvdi/driver":"rexray","dvdi/iops":"b"').message).toBe(
      'container.volumes[0].external.options.iops must be a whole number of IOPS from 1 to 1000000, not "b"',
    );
    expect(options('"dvdi/driver":"rexray","dvdi/newfstype":""').message.includes("newfstype must be one of")).toBe(
      true,
    );
  });

  it("misspells external", () => {
    const parsed = parse("marathon", '{"container":{"volumes":[{"containerPath":"x","extrenal":{"name":"v"}}]}}');
    expect(parsed.message).toBe('container.volumes[0] has "extrenal", which Marathon does not know');
    expect(parsed.hint).toBe('did you mean "external"?');
  });

  it("is not one app", () => {
    expect(parse("marathon", "[" + RELATIVE + "," + DOCKER + "]").message).toBe(
      "the Marathon app holds 2 apps; a workload is one app",
    );
    expect(parse("marathon", "[]").message).toBe("the Marathon app holds no app");
    const pod = parse("marathon", '{"id":"p","containers":[],"volumes":[]}');
    expect(pod.message).toBe("the Marathon app is a pod, which cannot have dvdi volumes in Marathon");
    expect(pod.failure!.code).toBe("unsupported");
    expect(parse("marathon", "5").message).toBe("the Marathon app must be an object, not 5");
    expect(parse("marathon", '{"id":"a"').message.startsWith("the Marathon app cannot be read: it is not JSON")).toBe(
      true,
    );
  });
});

const published = readJson(world.files("DVDI_MARATHON_DEFINITIONS"), "the definitions").value!;
if (published.length > 0) {
  describe("published definitions, unedited", () => {
    it("declare their volumes", () => {
      for (let i = 0; i < published.length; i++) {
        const parsed = parse("marathon", published.at(i).string("text"));
        expect(parsed.message).toBe("", published.at(i).string("name"));
        expect(parsed.volumes.length).toBeGreaterThan(0, published.at(i).string("name"));
        log<string>(
          published.at(i).string("name") + ": " + parsed.short + (parsed.notes.length ? " | " + parsed.notes : ""),
        );
      }
    });
  });
}
