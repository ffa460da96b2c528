import { Policy, use } from "../../assembly/library";
import { parseWith, source } from "../../assembly/testing";
import { Vendors } from "./vendors";

const CLOUD =
  '{"name":"cloud","driver":"ebs","attributes":{"tier":["database","bulk"],"iops":{"min":100,"max":64000}}}';
const RACKS =
  '{"name":"racks","driver":"pxd","attributes":{"tier":["database","bulk"],"iops":{"min":100,"max":20000}}}';

/** The driver and the options of a volume of that class, where these pools are to be had. */
function resolved(pools: string, wanted: string, options: string = "{}"): string {
  const volume = '{"name":"data","container_path":"/data","options":' + options + ',"class":' + wanted + "}";
  const statement = source("statement", '{"volumes":[' + volume + "]}");
  const parsed = parseWith('{"pools":[' + pools + "]}", [statement]);
  return parsed.message.length ? parsed.message : parsed.short.replace(" at /data rw", "");
}

describe("one class", () => {
  beforeEach(() => {
    use(new Vendors());
  });
  afterEach(() => {
    use(new Policy());
  });

  it("is what each vendor calls it", () => {
    const wanted = '{"tier":"database","size":100,"iops":3000}';
    expect(resolved(CLOUD, wanted)).toBe('ebs data {"size":"100","volumetype":"gp3","iops":"3000","encrypted":"true"}');
    expect(resolved(RACKS, wanted)).toBe(
      'pxd data {"size":"100GB","io_profile":"db_remote","priority_io":"high","repl":"3","secure":"true"}',
    );
  });

  it("of more work or less becomes other types", () => {
    expect(resolved(CLOUD, '{"tier":"database","size":10,"iops":"5k"}')).toBe(
      'ebs data {"size":"10","volumetype":"io2","iops":"5000","encrypted":"true"}',
    );
    expect(resolved(CLOUD, '{"tier":"bulk","size":"1T"}')).toBe(
      'ebs data {"size":"1024","volumetype":"st1","encrypted":"true"}',
    );
    expect(resolved(RACKS, '{"tier":"bulk","size":"1T"}')).toBe(
      'pxd data {"size":"1024GB","io_profile":"sequential","priority_io":"low","repl":"1","secure":"true"}',
    );
  });

  it("goes to the second pool where the first has too little, and to none where nobody has it", () => {
    expect(resolved(RACKS + "," + CLOUD, '{"tier":"database","iops":30000}')).toBe(
      'ebs data {"volumetype":"io2","iops":"30000","encrypted":"true"}',
    );
    expect(resolved(RACKS, '{"tier":"archive"}')).toBe(
      'volume "data": no pool fits its class: racks has tier database or bulk, not archive',
    );
  });

  it("leaves alone what the workload says itself, and drivers of others", () => {
    expect(resolved(RACKS, '{"tier":"database","size":1}', '{"repl":"2"}')).toBe(
      'pxd data {"repl":"2","size":"1GB","io_profile":"db_remote","priority_io":"high","secure":"true"}',
    );
    expect(resolved('{"name":"old","driver":"nfs"}', '{"size":1}')).toBe('nfs data {"size":"1GB"}');
  });
});
