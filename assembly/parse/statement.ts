// Our own statement: {"volumes": [{…}]} (docs/statement.md, docs/statement.schema.json). The CLI turns YAML into JSON.
import { Node, readJson } from "../json/reader";
import { Attribute, Attributes } from "../model/attributes";
import {
  ACCESS_MODES,
  CREATE_MODES,
  MAX_DRIVER,
  MAX_NAME,
  MAX_PATH,
  MODES,
  OWNERSHIP_MODES,
  wrong,
} from "../model/errors";
import { OptionValue, Options, VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { sizeFor } from "../options/check";
import { policyInPlace } from "../lifecycle/policy";
import { Context, Declaration } from "./context";
import { memberPath, subpath } from "./paths";

const MEMBERS: string[] = ["volumes", "$schema"];
const VOLUME_MEMBERS: string[] = [
  "name",
  "driver",
  "class",
  "size",
  "options",
  "container_path",
  "mode",
  "subpath",
  "access",
  "create",
  "ownership",
];

export function parseStatement(context: Context, text: string): Failure | null {
  const read = readJson(text, "the statement");
  const unread = read.error;
  if (unread !== null) return unread;
  const root = read.value!;
  if (root.isArray) root.expected('an object: {"volumes": […]}');
  if (!root.only(MEMBERS)) return root.failure;
  const volumes = root.array("volumes");
  if (volumes === null) {
    if (root.failure === null) root.refuse('has no "volumes"', 'write {"volumes": [{"name": …, "container_path": …}]}');
    return root.failure;
  }
  for (let i = 0; i < volumes.length; i++) {
    const failure = parseOne(context, volumes.at(i));
    if (failure !== null) return failure;
  }
  return null;
}

function parseOne(context: Context, node: Node): Failure | null {
  if (!node.only(VOLUME_MEMBERS)) return aliasHint(node);
  const place = node.path();
  const request = context.request("statement " + place);
  request.name = node.string("name", "", MAX_NAME);
  request.driver = node.string("driver", "", MAX_DRIVER);
  const options = node.object("options");
  if (options !== null) request.options = Options.fromNode(options);
  const path = node.string("container_path", "", MAX_PATH);
  request.mode = node.oneOf("mode", MODES, request.mode);
  const folder = node.string("subpath", "", MAX_PATH);
  request.access = node.oneOf("access", ACCESS_MODES, request.access);
  request.create = node.oneOf("create", CREATE_MODES, request.create);
  request.ownership = node.oneOf("ownership", OWNERSHIP_MODES, request.ownership);
  const size = readSize(node);
  const wanted = node.object("class");
  let attributes: Attributes | null = null;
  if (wanted !== null) attributes = Attributes.fromNode(wanted);
  const failure = node.failure;
  if (failure !== null) return failure;
  if (!node.has("name")) {
    node.refuse("has no name", "a volume needs a name");
    return node.failure;
  }
  const target = memberPath(place, "container_path", path);
  const badTarget = target.error;
  if (badTarget !== null) return badTarget.of(request.name, request.driver);
  request.containerPath = target.value!;
  const inside = subpath(place + ".subpath", folder);
  const badInside = inside.error;
  if (badInside !== null) return badInside.of(request.name);
  request.subpath = inside.value!;

  if (attributes !== null) {
    if (request.driver.length) {
      node.refuse("has both a driver and a class", "give one of them: a class becomes a driver by the node's settings");
      return node.failure;
    }
    const refused = applyClass(context, node, request, attributes, size);
    if (refused !== null) return refused;
  } else if (size.length) {
    const refused = applySize(context, place, request, size);
    if (refused !== null) return refused;
  }
  return context.add(new Declaration(request), place + ".name", place + ".driver", place + ".options");
}

/** `size` as text: a number of GB, or a number with a unit. "" where there is none. */
function readSize(node: Node): string {
  const size = node.some("size");
  if (size === null) return "";
  if (size.isNumber || size.isString) {
    const attribute = Attribute.fromNode("size", size);
    if (size.failure !== null) return "";
    if (attribute.isNumber && attribute.min > 0) return size.isNumber ? size.shown() : size.text(MAX_NAME);
  }
  size.expected('a number of GB greater than 0, or a text with a unit such as "10GB"');
  return "";
}

function applyClass(
  context: Context,
  node: Node,
  request: VolumeRequest,
  attributes: Attributes,
  size: string,
): Failure | null {
  if (size.length) {
    if (attributes.get("size") !== null) {
      node.refuse("has a size beside the one of its class", "give one of them");
      return node.failure;
    }
    attributes.all.push(Attribute.fromNode("size", node.get("size")!));
  }
  const refused = policyInPlace().resolveClass(request, attributes, context.config);
  if (refused !== null) {
    if (refused.field.length == 0) refused.field = node.path() + ".class";
    return refused;
  }
  return null;
}

function applySize(context: Context, place: string, request: VolumeRequest, size: string): Failure | null {
  const driver = request.driver.length ? request.driver : context.defaultDriver;
  const text = sizeFor(driver, size);
  if (text === null) {
    return wrong(place + ".size", size, "a whole number of GB, which driver " + driver + " counts in").of(
      request.name,
      driver,
    );
  }
  const before = request.options.get("size");
  if (before !== null && (before.isSecret || before.text != text)) {
    return new Failure(
      "invalid",
      place + " has the size " + size + " and the option size " + (before.isSecret ? "by a secret" : before.text),
      "give one of them",
    )
      .at(place + ".size", size)
      .of(request.name, driver);
  }
  if (before === null) request.options.set("size", new OptionValue(text));
  return null;
}

/** For what other forms call differently, the hint that an edit distance does not find. */
function aliasHint(node: Node): Failure | null {
  const failure = node.failure;
  if (failure === null || failure.hint.length) return failure;
  const dot = failure.field.lastIndexOf(".");
  const name = failure.field.substring(dot + 1).toLowerCase();
  let meant = "";
  if (
    name == "path" ||
    name == "target" ||
    name == "dst" ||
    name == "destination" ||
    name == "mountpath" ||
    name == "mountpoint"
  ) {
    meant = "container_path";
  } else if (name == "source" || name == "src" || name == "volume") {
    meant = "name";
  } else if (name == "opts" || name == "driver_opts" || name == "driveroptions") {
    meant = "options";
  } else if (name == "readonly" || name == "read_only" || name == "ro") {
    meant = '"mode": "ro"';
  } else if (name == "attributes" || name == "pool") {
    meant = "class";
  }
  if (meant.length) failure.hint = "did you mean " + (meant.startsWith('"') ? meant : '"' + meant + '"') + "?";
  return failure;
}
