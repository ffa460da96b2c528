// The policy's own as-pect configuration, with a count of what was run. The points go to the file that DVDI_COVERAGE
// names, as JSON lines, in the place of as-covers's table.
import { Covers } from "@as-covers/glue";
import { writeFileSync } from "node:fs";

import config from "./as-pect.config.mjs";

Covers.prototype.stringify = function () {
  const lines = [...this.coverPoints.values()].map(({ file, line, col, type, covered }) =>
    JSON.stringify({ file, line, col, type, covered }),
  );
  writeFileSync(process.env.DVDI_COVERAGE, `${lines.join("\n")}\n`);
  return "";
};

export default { ...config, coverage: ["assembly/**/*.ts"] };
