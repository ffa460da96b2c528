// A house rule on top of the stock policy (house.ts says what it is). `npm run demo` swaps it in.
//   dvdi-policy build --entry examples/house-rule/main.ts --name house --version 1.0.0 --out build/house.wasm
import { use } from "../../assembly/library";
import { House } from "./house";

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

use(new House());
