// A house rule: no volume is larger than 10 GB, and every workload is told by which rules it got its volumes.
// Built with
//   dvdi-policy build --entry examples/house-rule/main.ts --name house --version 2.0.0 --out build/house.wasm
import { Failure, Policy, Scope, Volume, quantity, use } from "../../assembly/library";

export {
  dvdi_abi_1,
  dvdi_alloc,
  configure,
  parse,
  prepare,
  cleanup,
  recover,
  canary,
} from "../../assembly/abi/exports";

const LIMIT_GB: f64 = 10;

class House extends Policy {
  admit(volume: Volume, scope: Scope): Failure | null {
    const size = volume.request.options.get("size");
    if (size === null || size.isSecret) return null;
    const gb = quantity("size", size.text);
    if (isNaN(gb) || gb <= LIMIT_GB) return null;
    return new Failure(
      "refused",
      volume.request.title() + " is asked for with size " + size.text + ", and the house gives at most 10 GB",
      "ask for 10 GB or less",
    );
  }

  notes(volumes: Volume[], scope: Scope): string[] {
    return ["decided by the house rules 2.0: at most 10 GB for a volume"];
  }
}

use(new House());
