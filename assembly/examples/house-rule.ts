// A house rule on top of the stock policy: no volume is created without a size. `npm run demo` swaps it in.
//   dvdi-policy build --entry assembly/examples/house-rule.ts --name house --version 1.0.0 --out build/house.wasm
import { Failure, Policy, Scope, Volume, use } from "../library";

export { dvdi_abi_1, dvdi_alloc, configure, parse, prepare, cleanup, recover, canary } from "../abi/exports";

class HouseRule extends Policy {
  mayCreate(volume: Volume): Failure | null {
    if (volume.request.options.has("size")) return null;
    const message = "house rule: volume " + volume.name + " does not exist yet, and none is created without a size";
    return new Failure("refused", message, "give it one, as in --mount …,volume-opt=size=64m").of(
      volume.name,
      volume.driver,
    );
  }

  notes(volumes: Volume[], scope: Scope): string[] {
    return ["decided by the house rule, for " + volumes.length.toString() + " volume(s)"];
  }
}

use(new HouseRule());
