// A Marathon app's definition: external volumes of the provider dvdi, and the DVDI_* variables of its env.
import { Node, readJson } from "../json/reader";
import { badLine, show } from "../json/text";
import { MAX_DRIVER, MAX_NAME, MAX_OPTIONS, MAX_OPTION_VALUE, MAX_PATH, didYouMean } from "../model/errors";
import { OptionValue, VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { Context, Declaration } from "./context";
import { parseEnv } from "./env";
import { memberPath } from "./paths";
import { misspelt } from "./slips";

const MARATHON: string = "Marathon";
const PREFIX: string = "dvdi/";
const DRIVER: string = "dvdi/driver";
const SIZE: string = "size";
const MODES: string[] = ["RW", "RO"];
const EXTERNAL_MEMBERS: string[] = ["name", "provider", "options", "size", "shared"];
const MAX_APPS: i32 = 1024;

export function parseMarathon(context: Context, text: string): Failure | null {
  const read = readJson(text, "the Marathon app");
  const unread = read.error;
  if (unread !== null) return unread;
  const root = read.value!;
  const apps: Node[] = [];
  collect(root, apps);
  let failure = root.failure;
  if (failure !== null) return failure;
  if (apps.length != 1) {
    root.refuse(
      apps.length ? "holds " + apps.length.toString() + " apps; a workload is one app" : "holds no app",
      "give the definition of one app",
    );
    return root.failure;
  }
  const app = apps[0];
  failure = parseApp(context, app);
  return failure;
}

/** The apps in a definition: an app, {"app": …}, a group ({"apps": …, "groups": …}), or a list of these. */
function collect(node: Node, out: Node[]): void {
  if (out.length >= MAX_APPS || node.failure !== null) return;
  if (node.isArray) {
    for (let i = 0; i < node.length; i++) collect(node.at(i), out);
    return;
  }
  if (!node.mustBeObject()) return;
  if (node.has("app")) {
    collect(node.get("app")!, out);
    return;
  }
  if (node.has("apps") || node.has("groups")) {
    const apps = node.array("apps");
    if (apps !== null) for (let i = 0; i < apps.length; i++) collect(apps.at(i), out);
    const groups = node.array("groups");
    if (groups !== null) for (let i = 0; i < groups.length; i++) collect(groups.at(i), out);
    return;
  }
  if (node.has("containers")) {
    node.refuse("is a pod, which cannot have dvdi volumes in Marathon", "give an app, or a statement", "unsupported");
    return;
  }
  out.push(node);
}

function parseApp(context: Context, app: Node): Failure | null {
  const container = app.object("container");
  let slip = misspelt(app, "container", MARATHON);
  if (slip !== null) return slip;
  let external = 0;
  if (container !== null) {
    const volumes = container.array("volumes");
    slip = misspelt(container, "volumes", MARATHON);
    if (slip !== null) return slip;
    if (volumes !== null) {
      for (let i = 0; i < volumes.length; i++) {
        const volume = volumes.at(i);
        if (!volume.mustBeObject()) return app.failure;
        // Host paths, local persistent volumes and secrets are Marathon's and Mesos's own.
        const node = volume.get("external");
        if (node === null || node.isNull) {
          slip = misspelt(volume, "external", MARATHON);
          if (slip !== null) return slip;
          continue;
        }
        external++;
        const failure = parseExternal(context, volume, node);
        if (failure !== null) return failure;
      }
    }
  }
  const env = app.some("env");
  if (env !== null) {
    const failure = parseEnv(context, env);
    if (failure !== null) return failure;
  }
  const failure = app.failure;
  if (failure !== null) return failure;
  const instances = app.some("instances");
  if (external == 0 || instances === null) return null;
  if (instances.isNumber && instances.number() > 1) {
    const place = instances.place() + " is " + instances.shown();
    context.note(place + ": every instance asks for the same volumes, which is refused unless their access allows it");
  }
  return null;
}

function parseExternal(context: Context, volume: Node, external: Node): Failure | null {
  if (!external.only(EXTERNAL_MEMBERS)) return volume.failure;
  const place = external.path();
  const provider = external.string("provider", "", MAX_NAME);
  let failure = volume.failure;
  if (failure !== null) return failure;
  if (provider.length == 0) {
    return new Failure("invalid", place + ' has no provider; accepted is "dvdi"', 'add "provider": "dvdi"').at(
      place + ".provider",
    );
  }
  if (provider != "dvdi") {
    return new Failure(
      "invalid",
      place + '.provider must be "dvdi", not "' + show(provider) + '": only Docker volume plugins are driven here',
      didYouMean(provider, ["dvdi"]),
    ).at(place + ".provider", show(provider));
  }
  const request = context.request("Marathon " + volume.path());
  if (!external.has("name")) {
    return new Failure("invalid", place + " has no name; Marathon wants one for an external volume").at(
      place + ".name",
    );
  }
  request.name = external.string("name", "", MAX_NAME);
  failure = readOptions(context, external, request);
  if (failure !== null) return failure;
  request.mode = volume.oneOf("mode", MODES, "RW") == "RO" ? "ro" : "rw";
  // Marathon lets several instances have the volume then.
  if (external.bool("shared", false)) request.access = "multi-writer";
  const path = volume.string("containerPath", "", MAX_PATH);
  failure = volume.failure;
  if (failure !== null) return failure;
  const target = memberPath(volume.path(), "containerPath", path);
  const badTarget = target.error;
  if (badTarget !== null) return badTarget.of(request.name, request.driver);
  request.containerPath = target.value!;
  return context.add(new Declaration(request), place + ".name", place + '.options["dvdi/driver"]', place + ".options");
}

function readOptions(context: Context, external: Node, request: VolumeRequest): Failure | null {
  const place = external.path() + ".options";
  const options = external.object("options");
  let size = "";
  let sizeName = "";
  if (options !== null) {
    const keys = options.keys();
    if (keys.length > MAX_OPTIONS) {
      options.refuse("has more than " + MAX_OPTIONS.toString() + " options");
      return external.failure;
    }
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      const node = options.get(key)!;
      let value = "";
      if (node.isString) value = node.text(MAX_OPTION_VALUE).trim();
      else if (node.isNumber || node.isBool) value = node.plain();
      else node.expected("text");
      const failure = external.failure;
      if (failure !== null) return failure;
      const bad = badLine(value);
      if (bad.length) {
        node.refuse(bad);
        return external.failure;
      }
      if (key.toLowerCase() == DRIVER) {
        if (request.driver.length && request.driver != value) {
          return new Failure("invalid", place + " names the driver twice").at(place);
        }
        request.driver = value;
      } else if (!key.startsWith(PREFIX)) {
        // As Marathon has it: such an option does not reach the driver.
        context.note(
          place +
            ': "' +
            show(key) +
            '" does not begin with dvdi/ and reaches no driver' +
            (key.length && !key.includes("/") ? '; did you mean "' + PREFIX + show(key) + '"?' : ""),
        );
      } else {
        const name = key.substring(PREFIX.length);
        const isSize = name.toLowerCase() == SIZE;
        if (isSize ? sizeName.length > 0 : request.options.has(name)) {
          return new Failure("invalid", place + ' gives "' + show(key) + '" twice, in another case', "give one of them")
            .at(place, show(key))
            .of(request.name);
        }
        if (isSize) {
          size = value;
          sizeName = name;
        } else {
          request.options.set(name, new OptionValue(value));
        }
      }
    }
  }
  if (request.driver.length == 0) {
    const keys = options !== null ? options.keys() : new Array<string>(0);
    let hint = 'add "dvdi/driver": "rexray", or the driver that is meant';
    for (let i = 0; i < keys.length; i++) {
      if (didYouMean(keys[i], [DRIVER]).length) hint = '"' + show(keys[i]) + '": did you mean "dvdi/driver"?';
    }
    return new Failure("invalid", place + ' has no "dvdi/driver"; Marathon wants one', hint)
      .at(place + '["dvdi/driver"]')
      .of(request.name);
  }
  // external.size wins over dvdi/size, as Marathon has it.
  const outer = external.some("size");
  if (outer !== null) {
    const text = outer.integer(1, 1 << 30).toString();
    const failure = external.failure;
    if (failure !== null) return failure.of(request.name, request.driver);
    if (size.length && size != text) {
      context.note('volume "' + request.name + '": external.size ' + text + " is taken, not dvdi/size " + show(size));
    }
    size = text;
  }
  if (size.length) request.options.set(sizeName.length ? sizeName : SIZE, new OptionValue(size));
  if (request.driver.length > MAX_DRIVER) request.driver = request.driver.substring(0, MAX_DRIVER + 1);
  return null;
}
