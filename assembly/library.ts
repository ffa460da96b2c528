// What a house's main.ts is written with (docs/policies.md).
export { Attributes, quantity } from "./model/attributes";
export { Config, Pool } from "./model/config";
export { Options, OptionValue, VolumeRequest } from "./model/request";
export { Failure } from "./model/result";
export { chosen } from "./parse/classes";
export { Backoff, Policy, use } from "./lifecycle/policy";
export { shareRules } from "./lifecycle/share";
export { History, Scope, User, Volume } from "./lifecycle/volume";
