import { parse } from "./parsing";

const SNAKE = `{
  "type": "MESOS",
  "volumes": [
    {"mode": "RO", "container_path": "data", "source": {"type": "DOCKER_VOLUME", "docker_volume": {
      "driver": "rexray/ebs", "name": "vol1",
      "driver_options": {"parameter": [{"key": "size", "value": "10"}, {"key": "volumetype", "value": "gp2"}]}}}},
    {"mode": "RW", "container_path": "/host", "host_path": "/srv"},
    {"mode": "RW", "container_path": "/tmp", "source": {"type": "SANDBOX_PATH", "sandbox_path": {"type": "SELF", "path": "tmp"}}},
    {"mode": "RW", "container_path": "/key", "source": {"type": "SECRET", "secret": {"type": "VALUE", "value": {"data": "eA=="}}}}
  ]}`;
const CAMEL = `{"type": "MESOS", "volumes": [{"mode": "RW", "containerPath": "/data", "source": {"type": "DOCKER_VOLUME",
  "dockerVolume": {"name": "vol2", "driverOptions": {"parameter": [{"key": "size", "value": "1"}]}}}}]}`;

function one(docker: string, rest: string = ""): string {
  return (
    '{"volumes":[{"container_path":"/d","source":{"type":"DOCKER_VOLUME","docker_volume":' + docker + "}" + rest + "}]}"
  );
}

describe("Mesos ContainerInfo", () => {
  it("takes Docker volumes and leaves the others alone", () => {
    const parsed = parse("mesos", SNAKE);
    expect(parsed.short).toBe('rexray/ebs vol1 at data ro {"size":"10","volumetype":"gp2"}');
    expect(parsed.first.from).toBe("Mesos volumes[0]");
    expect(parsed.notes).toBe("");
  });

  it("takes both spellings, and the default driver", () => {
    expect(parse("mesos", CAMEL).short).toBe('rexray vol2 at /data rw {"size":"1"}');
    expect(parse("mesos", '{"executor_id": {"value": "x"}, "container": ' + CAMEL + "}").first.name).toBe("vol2");
    expect(parse("mesos", '{"container": ' + CAMEL + "}").first.from).toBe("Mesos container.volumes[0]");
  });

  it("takes a container without volumes", () => {
    expect(parse("mesos", '{"type": "MESOS"}').short).toBe("");
    expect(parse("mesos", '{"type": "MESOS", "volumes": []}').short).toBe("");
    expect(
      parse("mesos", '{"volumes": [{"mode":"RW","container_path":"x","source":{"type":"NEWER_KIND"}}]}').short,
    ).toBe("");
  });

  it("refuses what would be read as a container without volumes", () => {
    const docker = ':[{"container_path":"/d","source":{"type":"DOCKER_VOLUME","docker_volume":{"name":"v"}}}]}';
    const slips = ["Volumes", "volume", "volumnes"];
    for (let i = 0; i < slips.length; i++) {
      const slip = parse("mesos", '{"type":"MESOS","' + slips[i] + '"' + docker);
      expect(slip.message).toBe('the ContainerInfo has "' + slips[i] + '", which Mesos does not know');
      expect(slip.hint).toBe('did you mean "volumes"?');
    }
    expect(parse("mesos", '{"container":{"Volumes"' + docker + "}").message).toBe(
      'container has "Volumes", which Mesos does not know',
    );
    const others = ['{"containerInfo":{"volumes"', '{"executor":{"container":{"volumes"'];
    const ends = ["}", "}}"];
    for (let i = 0; i < others.length; i++) {
      const other = parse("mesos", others[i] + docker + ends[i]);
      expect(other.message).toBe("the ContainerInfo has no volumes, no container and no type");
      expect(other.hint).toBe('give a ContainerInfo, or what has one as its "container"');
    }
    expect(parse("mesos", '{"volumes":[{"container_path":"/d","Source":{}}]}').hint).toBe('did you mean "source"?');
    expect(parse("mesos", '{"volumes":[{"container_path":"/d","source":{"dockervolume":{"name":"v"}}}]}').message).toBe(
      "volumes[0].source has no type",
    );
  });

  it("refuses what is nearly right", () => {
    expect(parse("mesos", SNAKE.replace('"DOCKER_VOLUME"', '"docker_volume"')).hint).toBe(
      'did you mean "DOCKER_VOLUME"?',
    );
    expect(parse("mesos", SNAKE.replace('"DOCKER_VOLUME"', '"DOCKERVOLUME"')).message).toBe(
      'volumes[0].source.type must be one of DOCKER_VOLUME, UNKNOWN, HOST_PATH, SANDBOX_PATH, SECRET, CSI_VOLUME, not "DOCKERVOLUME"',
    );
    expect(parse("mesos", '{"volumes":[{"container_path":"/d","source":{"type":"DOCKER_VOLUME"}}]}').message).toBe(
      "volumes[0].source is a DOCKER_VOLUME without docker_volume",
    );
    expect(parse("mesos", one('{"driver":"d"}')).message).toBe(
      "volumes[0].source.docker_volume.name is empty; a volume needs a name",
    );
    expect(parse("mesos", SNAKE.replace('"RO"', '"ro"')).message).toBe(
      'volumes[0].mode must be one of RW, RO, not "ro"',
    );
    expect(parse("mesos", SNAKE.replace('"container_path": "data"', '"container_path": ""')).message).toBe(
      "volumes[0] has no container_path",
    );
    expect(parse("mesos", one('{"name":"v","driver_options":{"parameter":[{"key":"size"}]}}')).message).toBe(
      "volumes[0].source.docker_volume.driver_options.parameter[0] needs a key and a value",
    );
    expect(parse("mesos", one('{"name":"v","driver_options":{"parameter":[{"key":"size","value":5}]}}')).message).toBe(
      "volumes[0].source.docker_volume.driver_options.parameter[0].value must be text, not 5",
    );
    expect(
      parse(
        "mesos",
        one('{"name":"v","driver_options":{"parameter":[{"key":"a","value":"1"},{"key":"a","value":"2"}]}}'),
      ).message,
    ).toBe('volumes[0].source.docker_volume.driver_options.parameter[1] gives the option "a" a second time');
    expect(
      parse(
        "mesos",
        one('{"name":"v","driver_options":{"parameter":[{"key":"a","value":"1"},{"key":"A","value":"2"}]}}'),
      ).message,
    ).toBe('volumes[0].source.docker_volume.driver_options.parameter[1] gives the option "A" a second time');
    expect(parse("mesos", one('{"name":"v"}', ',"containerPath":"/e"')).message).toBe(
      "volumes[0] has both container_path and containerPath",
    );
    expect(parse("mesos", "[]").message).toBe("the ContainerInfo must be an object, not a list");
    expect(parse("mesos", '{"volumes": {}}').message).toBe("volumes must be a list, not an object");
    expect(parse("mesos", '{"volumes": ["x"]}').message).toBe('volumes[0] must be an object, not "x"');
  });
});
