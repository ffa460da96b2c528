// What the steps of one prepare have in common: its volumes, their drivers, and who asks these.
import { Config } from "../model/config";
import { Call } from "./calls";
import { Policy } from "./policy";
import { Asker } from "./retry";
import { Volume } from "./volume";

/** A driver of this operation, and its volumes that it must be asked about. */
export class Driver {
  scope: string = "local";
  /** It takes options with a Mount, and makes a volume that exists as large as they say. */
  mountOpts: bool = false;
  /** The volumes to whose Get it answered with an error of its own. */
  doubtful: Volume[] = [];
  readonly volumes: Volume[] = [];

  constructor(readonly name: string) {}
}

/** Handed from step to step. */
export class Work {
  /** For the workload's user, whatever becomes of the operation. */
  readonly notes: string[] = [];
  readonly drivers: Driver[] = [];
  /** The volumes without repetitions: what plugins are asked about. */
  readonly distinct: Volume[] = [];
  readonly asker: Asker;

  constructor(
    readonly policy: Policy,
    readonly config: Config,
    readonly volumes: Volume[],
  ) {
    this.asker = new Asker(policy, config);
    this.group();
  }

  /** Volumes that are asked for twice (on two paths) are found, created and mounted once. */
  private group(): void {
    const volumes = this.volumes;
    const seen = new Map<string, i32>();
    for (let i = 0; i < volumes.length; i++) {
      const volume = unchecked(volumes[i]);
      volume.first = i;
      if (volumes.length > 1) {
        // A driver's name has no space in it.
        const key = volume.driver + " " + volume.name;
        if (seen.has(key)) {
          volume.first = seen.get(key);
          continue;
        }
        seen.set(key, i);
      }
      this.distinct.push(volume);
      if (volume.attached) volume.there = true;
      else this.driverOf(volume.driver).volumes.push(volume);
    }
  }

  /** The driver of that name, which is one of this operation's from here on. */
  driverOf(name: string): Driver {
    for (let i = 0; i < this.drivers.length; i++) {
      const driver = unchecked(this.drivers[i]);
      if (driver.name == name) return driver;
    }
    const driver = new Driver(name);
    this.drivers.push(driver);
    return driver;
  }

  /** A call about a volume, not sent yet. */
  call(method: string, volume: Volume): Call {
    const slow = method == "Mount" || method == "Create";
    const timeout = slow ? this.config.mountTimeoutMs : this.config.callTimeoutMs;
    return new Call(method, volume.driver, volume.index, volume.name, timeout);
  }
}
