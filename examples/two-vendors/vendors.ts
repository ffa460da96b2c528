// A workload asks for `class: {tier: database, size: 100, iops: 3000}` wherever it runs. Which pool that is say the node's
// settings; what it is called there, this policy: Amazon's volumes by REX-Ray on one site, Portworx on the other.
//
//   policy:
//     pools:
//       - {name: cloud, driver: ebs, attributes: {tier: [database, bulk], iops: {min: 100, max: 64000}}}
//       - {name: racks, driver: pxd, attributes: {tier: [database, bulk], iops: {min: 100, max: 20000}}}
import { Attributes, Config, Failure, Policy, VolumeRequest, chosen } from "../../assembly/library";

/** What gp3 gives without asking; above it io2 is cheaper for the same work. */
const GP3_IOPS: f64 = 3000;

export class Vendors extends Policy {
  resolveClass(request: VolumeRequest, wanted: Attributes, config: Config): Failure | null {
    const failure = super.resolveClass(request, wanted, config);
    if (failure !== null) return failure;
    const pool = config.pool(request.classChoice!.pool)!;
    const bulk = chosen(pool, wanted, "tier") == "bulk";
    if (request.driver == "ebs") forEbs(request, bulk, chosen(pool, wanted, "iops"));
    else if (request.driver == "pxd") forPortworx(request, bulk);
    return null;
  }
}

function forEbs(request: VolumeRequest, bulk: bool, iops: string): void {
  if (bulk) {
    set(request, "volumetype", "st1");
  } else {
    set(request, "volumetype", parseFloat(iops) > GP3_IOPS ? "io2" : "gp3");
    if (iops.length) set(request, "iops", iops);
  }
  set(request, "encrypted", "true");
}

function forPortworx(request: VolumeRequest, bulk: bool): void {
  set(request, "io_profile", bulk ? "sequential" : "db_remote");
  set(request, "priority_io", bulk ? "low" : "high");
  // A replica is the price of a node that is lost; what is bulk can be made again.
  set(request, "repl", bulk ? "1" : "3");
  set(request, "secure", "true");
}

/** What a workload or a pool says itself stays. */
function set(request: VolumeRequest, name: string, value: string): void {
  if (!request.options.has(name)) request.options.setText(name, value);
}
