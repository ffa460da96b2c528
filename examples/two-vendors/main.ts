// One class of storage, two vendors' options (vendors.ts).
//   dvdi-policy build --entry examples/two-vendors/main.ts --name two-vendors --version 1.0.0 --out build/two-vendors.wasm
import { use } from "../../assembly/library";
import { Vendors } from "./vendors";

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

use(new Vendors());
