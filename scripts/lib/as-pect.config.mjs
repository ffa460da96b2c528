// The policy's own as-pect configuration, with the reporter that counts.
import config from "../../as-pect.config.js";

export default { ...config, reporter: "scripts/lib/as-pect-reporter.mjs" };
