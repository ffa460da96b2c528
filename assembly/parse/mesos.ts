// Mesos ContainerInfo: volumes whose source is a DOCKER_VOLUME. Both spellings are read: the protobuf's own names
// (container_path) and those of proto3's JSON (containerPath).
import { Node, readJson } from "../json/reader";
import { show } from "../json/text";
import { nearest } from "../json/near";
import { MAX_DRIVER, MAX_NAME, MAX_OPTION_NAME, MAX_OPTION_VALUE, MAX_PATH } from "../model/errors";
import { OptionValue, VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { Context, Declaration } from "./context";
import { memberPath } from "./paths";
import { misspelt } from "./slips";

const MESOS: string = "Mesos";
const MODES: string[] = ["RW", "RO"];
const DOCKER_VOLUME: string = "DOCKER_VOLUME";
/** Kinds that are Mesos's own and left alone. */
const OTHERS: string[] = ["UNKNOWN", "HOST_PATH", "SANDBOX_PATH", "SECRET", "CSI_VOLUME"];

/** `text` is a ContainerInfo, or what holds one as `container` (an ExecutorInfo, a TaskInfo). */
export function parseMesos(context: Context, text: string): Failure | null {
  const read = readJson(text, "the ContainerInfo");
  const unread = read.error;
  if (unread !== null) return unread;
  let info = read.value!;
  if (!info.mustBeObject()) return info.failure;
  if (!info.has("volumes")) {
    if (info.has("container")) {
      const container = info.object("container");
      if (container === null) return info.failure;
      info = container;
    } else if (!info.has("type") && info.length > 0) {
      // Every ContainerInfo has a type.
      info.refuse(
        "has no volumes, no container and no type",
        'give a ContainerInfo, or what has one as its "container"',
      );
      return info.failure;
    }
  }
  const slip = misspelt(info, "volumes", MESOS);
  if (slip !== null) return slip;
  const volumes = info.array("volumes");
  if (volumes !== null) {
    for (let i = 0; i < volumes.length; i++) {
      const failure = parseOne(context, volumes.at(i));
      if (failure !== null) return failure;
    }
  }
  return info.failure;
}

function parseOne(context: Context, volume: Node): Failure | null {
  if (!volume.mustBeObject()) return volume.failure;
  const source = volume.object("source");
  if (source === null) {
    if (volume.failure !== null) return volume.failure;
    return misspelt(volume, "source", MESOS);
  }
  if (!source.has("type")) {
    source.refuse("has no type", 'write "type": "DOCKER_VOLUME"');
    return volume.failure;
  }
  const type = source.string("type", "", MAX_NAME);
  const docker = either(source, "docker_volume", "dockerVolume");
  const failure = volume.failure;
  if (failure !== null) return failure;
  if (type != DOCKER_VOLUME) {
    if (OTHERS.includes(type)) return null;
    // A slip of the pen must not lose a volume; a kind that a newer Mesos may have is left alone.
    if (docker === null && nearest(type, [DOCKER_VOLUME]).length == 0) return null;
    const field = source.path() + ".type";
    return new Failure(
      "invalid",
      field + " must be one of " + DOCKER_VOLUME + ", " + OTHERS.join(", ") + ', not "' + show(type) + '"',
      'did you mean "' + DOCKER_VOLUME + '"?',
    ).at(field, show(type));
  }
  if (docker === null) {
    source.refuse("is a DOCKER_VOLUME without docker_volume", 'add "docker_volume": {"driver": …, "name": …}');
    return volume.failure;
  }
  return parseDockerVolume(context, volume, docker);
}

function parseDockerVolume(context: Context, volume: Node, docker: Node): Failure | null {
  if (!docker.mustBeObject()) return volume.failure;
  const place = docker.path();
  const request = context.request("Mesos " + volume.path());
  request.name = docker.string("name", "", MAX_NAME);
  request.driver = docker.string("driver", "", MAX_DRIVER);
  const mode = volume.oneOf("mode", MODES, "RW");
  request.mode = mode == "RO" ? "ro" : "rw";
  const target = either(volume, "container_path", "containerPath");
  const path = target === null ? "" : target.text(MAX_PATH);
  const options = either(docker, "driver_options", "driverOptions");
  if (options !== null && options.mustBeObject()) readParameters(options, request);
  const failure = volume.failure;
  if (failure !== null) return failure;
  const result = memberPath(volume.path(), "container_path", path);
  const error = result.error;
  if (error !== null) return error.of(request.name, request.driver);
  request.containerPath = result.value!;
  return context.add(new Declaration(request), place + ".name", place + ".driver", place + ".driver_options");
}

/** Parameters{parameter: [{key, value}]}. */
function readParameters(options: Node, request: VolumeRequest): void {
  const list = options.array("parameter");
  if (list === null) return;
  for (let i = 0; i < list.length && !request.options.tooMany; i++) {
    const parameter = list.at(i);
    if (!parameter.mustBeObject()) return;
    if (!parameter.has("key") || !parameter.has("value")) {
      parameter.refuse("needs a key and a value");
      return;
    }
    const key = parameter.string("key", "", MAX_OPTION_NAME);
    const value = parameter.string("value", "", MAX_OPTION_VALUE);
    const before = request.options.get(key);
    if (before !== null && before.text != value) {
      parameter.refuse('gives the option "' + show(key) + '" a second time', "give it once");
      return;
    }
    request.options.set(key, new OptionValue(value));
  }
}

/** The member under either spelling; an error where both are there. */
function either(node: Node, snake: string, camel: string): Node | null {
  const first = node.some(snake);
  const second = node.some(camel);
  if (first !== null && second !== null) node.refuse("has both " + snake + " and " + camel, "give one of them");
  return first !== null ? first : second;
}
