// What is typed behind `npm run NAME --`.
import { parseArgs } from "node:util";

import { fail, StepError } from "./ui.mjs";

/**
 * The values of these options (as parseArgs of node:util has them). A command line with anything else ends the program,
 * with a line that says what, and which options there are.
 * @template {import("node:util").ParseArgsConfig["options"]} T
 * @param {T} options
 */
export function flagsOf(options) {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    if (!String(error.code).startsWith("ERR_PARSE_ARGS")) throw error;
    const names = Object.keys(options).map((name) => `--${name}`);
    fail(new StepError(error.message.split(". ")[0], { hint: `options: ${names.join(", ")}` }));
    return process.exit();
  }
}
