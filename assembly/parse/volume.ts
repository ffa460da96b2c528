// `docker run -v NAME:/path[:options]`.
import { show } from "../json/text";
import { didYouMean } from "../model/errors";
import { Failure } from "../model/result";
import { Context, Declaration } from "./context";
import { containerPath } from "./paths";

const FIELD: string = "volume";
const OPTIONS: string[] = ["ro", "rw", "nocopy", "z", "Z"];
const PROPAGATION: string[] = ["shared", "rshared", "slave", "rslave", "private", "rprivate"];
const CONSISTENCY: string[] = ["consistent", "cached", "delegated", "default"];
const FORM: string = "write NAME:/path or NAME:/path:ro";

export function parseVolume(context: Context, text: string): Failure | null {
  if (text.length == 0) return fail(text, "is empty", FORM);
  const parts = text.split(":");
  if (isHostPath(text)) {
    return fail(
      text,
      "has a folder of the host as its source; that is a bind mount, not a volume, and is not done here",
      "name a volume instead: " + FORM,
    );
  }
  if (parts.length == 1) return fail(text, 'has no ":/path"', FORM);
  if (parts.length > 3)
    return fail(
      text,
      'has more than three parts between its ":"',
      FORM + "; neither a name nor a path may hold a colon",
    );
  const name = parts[0];
  if (name.length == 0) return fail(text, "has no name before the colon", FORM);

  const request = context.request("--volume " + show(text));
  request.name = name;
  const path = containerPath(FIELD + " path", parts[1], true);
  const pathError = path.error;
  if (pathError !== null) return pathError.of(name);
  request.containerPath = path.value!;
  if (parts.length == 3) {
    const words = parts[2].split(",");
    let mode = "";
    let labelled = false;
    for (let i = 0; i < words.length; i++) {
      const word = words[i];
      if (word == "ro" || word == "rw") {
        if (mode.length && mode != word) return fail(text, "asks for both ro and rw", "write one of them");
        mode = word;
      } else if (word == "z" || word == "Z") {
        if (labelled) continue;
        labelled = true;
        context.note('volume "' + name + '": "' + word + '" (an SELinux label) is not applied');
      } else if (PROPAGATION.includes(word)) {
        return fail(text, 'asks for the propagation "' + word + '", which only bind mounts have', "leave it out");
      } else if (word != "nocopy" && !CONSISTENCY.includes(word)) {
        // nocopy: nothing is ever copied into a volume here; the consistency words mean nothing on Linux.
        return fail(
          text,
          'has the unknown option "' + show(word) + '"; it takes ' + OPTIONS.join(", "),
          didYouMean(word, OPTIONS),
        );
      }
    }
    if (mode.length) request.mode = mode;
  }
  return context.add(new Declaration(request), FIELD + " name", "driver", FIELD + " options");
}

/** /x, ./x, ../x, ~/x, or a lone . as Docker takes for host folders; also C:\x. */
function isHostPath(text: string): bool {
  const first = text.charCodeAt(0);
  if (first == 0x2f) return text.includes(":");
  if (first == 0x7e) return true;
  if (first == 0x2e) {
    const end = text.indexOf(":");
    const source = end < 0 ? text : text.substring(0, end);
    return source == "." || source == ".." || source.startsWith("./") || source.startsWith("../");
  }
  return text.length > 2 && text.charCodeAt(1) == 0x3a && text.charCodeAt(2) == 0x5c;
}

function fail(text: string, problem: string, hint: string): Failure {
  return new Failure("invalid", FIELD + ' "' + show(text) + '" ' + problem, hint).at(FIELD, show(text));
}
