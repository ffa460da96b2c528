// How a workload gets its volumes: all of them, or none. Each step asks for all volumes side by side, and the first
// one that cannot go on ends the operation; the engine undoes what was done. The order of the steps is fixed here,
// and hooks only answer questions in between.
import { Config } from "../model/config";
import { Options } from "../model/request";
import { Failure } from "../model/result";
import { Call, Kind } from "./calls";
import {
  existsAlready,
  failureOfCall,
  getFailed,
  listFailed,
  noGreeting,
  nothingKnown,
  pluginSaidNo,
  transient,
  unclear,
} from "./failures";
import { Policy } from "./policy";
import { Asker } from "./retry";
import { contradiction, keepOwners, outsiders } from "./share";
import { stageAll } from "./stages";
import { Scope, Volume } from "./volume";

/** A driver of this operation, and its volumes that it must be asked about. */
class Driver {
  scope: string = "local";
  /** It takes options with a Mount, and makes a volume that exists as large as they say. */
  mountOpts: bool = false;
  /** The volumes to whose Get it answered with an error of its own. */
  doubtful: Volume[] = [];
  readonly volumes: Volume[] = [];

  constructor(readonly name: string) {}
}

/** One prepare. */
export class Preparation {
  readonly notes: string[] = [];
  private drivers: Driver[] = [];
  /** The volumes without repetitions: what plugins are asked about. */
  private distinct: Volume[] = [];
  private asker: Asker;

  constructor(
    private policy: Policy,
    private config: Config,
    private scope: Scope,
    readonly volumes: Volume[],
    /** The volumes are only to exist: none is mounted, none has a user. */
    private creating: bool = false,
    /** How long this prepare has waited already for users that were to end. */
    private waitedMs: i64 = 0,
  ) {
    this.asker = new Asker(policy, config);
  }

  /** Null where every volume is staged, or exists where no more is wanted. */
  run(): Failure | null {
    this.group();
    let failure = this.admit();
    if (failure === null) failure = this.greet();
    if (failure === null) failure = this.find();
    if (failure === null) failure = this.decideCreates();
    if (this.creating) return failure === null ? this.create() : failure;
    // What is there is mounted first: a volume is only created where the others could be had.
    if (failure === null) failure = this.mount();
    if (failure === null) failure = this.create();
    if (failure === null) failure = this.mount();
    if (failure === null) failure = this.mountRepeated();
    if (failure === null) failure = stageAll(this.policy, this.volumes);
    return failure;
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

  private driverOf(name: string): Driver {
    for (let i = 0; i < this.drivers.length; i++) {
      const driver = unchecked(this.drivers[i]);
      if (driver.name == name) return driver;
    }
    const driver = new Driver(name);
    this.drivers.push(driver);
    return driver;
  }

  /** The policy's word on each volume, and on those who use it now. */
  private admit(): Failure | null {
    for (let i = 0; i < this.volumes.length; i++) {
      const volume = unchecked(this.volumes[i]);
      let failure = contradiction(volume.request);
      if (failure === null) failure = this.policy.admit(volume, this.scope);
      if (failure === null && this.creating) continue;
      const others = failure === null ? outsiders(volume.users, this.scope) : [];
      if (failure === null && others.length) {
        failure = this.policy.share(volume, others);
        if (failure !== null)
          failure.againMs = this.policy.wait(volume, others, this.scope, this.waitedMs, this.config);
      }
      if (failure === null) failure = this.own(volume);
      if (failure !== null) return named(failure, volume);
    }
    return null;
  }

  /** Whose the files are to be. Said before anything is done, for a stage would only find out at the end. */
  private own(volume: Volume): Failure | null {
    volume.ownership = this.policy.ownership(volume, this.scope);
    if (volume.ownership == "none") return null;
    if (this.scope.hasUser) {
      const note = keepOwners(volume);
      if (note.length) this.notes.push(note);
      return null;
    }
    return new Failure(
      "invalid",
      volume.request.title() +
        " is asked for with ownership " +
        volume.ownership +
        ", but no user is named for the workload",
      "name the user (`dvdi run --user`), or ask for ownership none",
    ).at("ownership", volume.ownership);
  }

  /** Activate, once for each driver. Its answer must name VolumeDriver. */
  private greet(): Failure | null {
    const calls: Call[] = [];
    for (let i = 0; i < this.drivers.length; i++) {
      calls.push(new Call("Activate", this.drivers[i].name, -1, "", this.config.callTimeoutMs));
    }
    const failure = this.asker.settle(calls);
    if (failure !== null) return failure;
    for (let i = 0; i < calls.length; i++) {
      const call = calls[i];
      if (call.answer.kind != Kind.Ok)
        return named(noGreeting(call, this.config.defaultDriver), this.drivers[i].volumes[0]);
      if (!call.answer.implements.includes("VolumeDriver")) {
        const what = call.answer.implements.length ? call.answer.implements.join(", ") : "nothing";
        return named(
          new Failure(
            "driver",
            "the plugin " + call.driver + " is no volume driver: it implements " + what,
            "name a volume driver's plugin (`dvdi doctor` shows those that are found)",
          ),
          this.drivers[i].volumes[0],
        );
      }
    }
    return null;
  }

  /** Capabilities of each driver and Get of each volume, side by side. */
  private find(): Failure | null {
    const capabilities: Call[] = [];
    const gets: Call[] = [];
    const asked: Volume[] = [];
    const calls: Call[] = [];
    for (let i = 0; i < this.drivers.length; i++) {
      const driver = this.drivers[i];
      const call = new Call("Capabilities", driver.name, -1, "", this.config.callTimeoutMs);
      capabilities.push(call);
      calls.push(call);
      for (let j = 0; j < driver.volumes.length; j++) {
        const get = this.volumeCall("Get", driver.volumes[j]);
        gets.push(get);
        calls.push(get);
        asked.push(driver.volumes[j]);
      }
    }
    let failure = this.asker.settle(calls);
    if (failure !== null) return failure;
    for (let i = 0; i < this.drivers.length; i++) {
      const driver = this.drivers[i];
      // Many plugins know no Capabilities: they are local then, as the protocol has it.
      const answer = capabilities[i].answer;
      if (answer.kind == Kind.Ok && answer.scope == "global") driver.scope = "global";
      driver.mountOpts = answer.kind == Kind.Ok && answer.mountOpts;
      for (let j = 0; j < driver.volumes.length; j++) {
        failure = this.policy.place(driver.volumes[j], driver.scope);
        if (failure !== null) return named(failure, driver.volumes[j]);
      }
    }
    return this.heard(asked, gets);
  }

  /** What was answered to Get of volumes; where it was an error, List has the last word. */
  private heard(volumes: Volume[], gets: Call[]): Failure | null {
    for (let i = 0; i < this.drivers.length; i++) this.drivers[i].doubtful = [];
    for (let i = 0; i < gets.length; i++) {
      const volume = volumes[i];
      const answer = gets[i].answer;
      if (answer.kind == Kind.Ok) {
        volume.there = true;
        volume.createdAt = answer.createdAt;
      } else if (answer.kind == Kind.Error) {
        volume.getError = answer.error.length ? answer.error : "an error without a text";
        this.driverOf(volume.driver).doubtful.push(volume);
      } else {
        return failureOfCall(gets[i]);
      }
    }
    return this.list();
  }

  /** List of those drivers that answered a Get with an error: it may mean that the volume is missing, or not. */
  private list(): Failure | null {
    const calls: Call[] = [];
    const asked: Driver[] = [];
    for (let i = 0; i < this.drivers.length; i++) {
      const driver = this.drivers[i];
      if (driver.doubtful.length == 0) continue;
      calls.push(new Call("List", driver.name, -1, "", this.config.callTimeoutMs));
      asked.push(driver);
    }
    const failure = this.asker.settle(calls);
    if (failure !== null) return failure;
    for (let i = 0; i < calls.length; i++) {
      const driver = asked[i];
      const answer = calls[i].answer;
      for (let j = 0; j < driver.doubtful.length; j++) {
        const volume = driver.doubtful[j];
        if (answer.kind != Kind.Ok) return listFailed(volume, calls[i]);
        if (!answer.names.includes(volume.name)) {
          if (unclear(volume.getError, volume.name)) return getFailed(volume);
          continue;
        }
        volume.there = true;
        this.notes.push(
          "driver " +
            driver.name +
            ' answered Get of volume "' +
            volume.name +
            '" with "' +
            volume.getError +
            '", but its List names it',
        );
      }
    }
    return null;
  }

  /** Whether each volume that is missing may be created. Nothing is created before all of them may. */
  private decideCreates(): Failure | null {
    for (let i = 0; i < this.distinct.length; i++) {
      const volume = this.distinct[i];
      if (volume.there) continue;
      const request = volume.request;
      if (request.create == "never") {
        return named(
          new Failure(
            "not-found",
            request.title() +
              ' does not exist (the driver says "' +
              volume.getError +
              '"), and it is not created because create is never',
            "check the name, create the volume first, or say create: if-missing",
          ),
          volume,
        );
      }
      const failure = this.policy.mayCreate(volume);
      if (failure !== null) return named(failure, volume);
    }
    return null;
  }

  /** Create of each volume that is missing. */
  private create(): Failure | null {
    let calls: Call[] = [];
    let missing: Volume[] = [];
    for (let i = 0; i < this.distinct.length; i++) {
      const volume = this.distinct[i];
      if (volume.there) continue;
      const call = this.volumeCall("Create", volume);
      call.options = this.policy.options(volume);
      calls.push(call);
      missing.push(volume);
    }
    while (calls.length) {
      let failure = this.asker.settle(calls);
      if (failure !== null) return failure;
      const unclear: Volume[] = [];
      const unclearCalls: Call[] = [];
      const unsent: Volume[] = [];
      const unsentCalls: Call[] = [];
      let wait: i64 = 0;
      for (let i = 0; i < calls.length; i++) {
        const call = calls[i];
        const answer = call.answer;
        if (answer.kind == Kind.Ok) {
          missing[i].created = true;
          missing[i].there = true;
        } else if (answer.kind == Kind.Unknown && !answer.sent) {
          const ms = this.policy.retry(answer.reason, call.attempts, this.config);
          if (ms < 0) return failureOfCall(call);
          if (ms > wait) wait = ms;
          unsent.push(missing[i]);
          unsentCalls.push(call);
        } else if (answer.kind == Kind.Unknown || (answer.kind == Kind.Error && existsAlready(answer.error))) {
          unclear.push(missing[i]);
          unclearCalls.push(call);
        } else {
          return failureOfCall(call);
        }
      }
      for (let i = 0; i < unclear.length; i++) {
        failure = this.afterCreate(unclear[i], unclearCalls[i]);
        if (failure !== null) return failure;
      }
      if (unsent.length == 0) return null;
      if (!this.asker.pause(wait, unsentCalls[0])) return failureOfCall(unsentCalls[0]);
      failure = this.findAgain(unsent);
      if (failure !== null) return failure;
      calls = [];
      missing = [];
      for (let i = 0; i < unsent.length; i++) {
        if (unsent[i].there) continue;
        calls.push(unsentCalls[i]);
        missing.push(unsent[i]);
      }
    }
    return null;
  }

  /**
   * Before a Create that never reached its plugin is sent again: meanwhile another node may have made the volume, and the
   * engine sends one Create for what Get and List have said.
   */
  private findAgain(volumes: Volume[]): Failure | null {
    const gets: Call[] = [];
    for (let i = 0; i < volumes.length; i++) gets.push(this.volumeCall("Get", volumes[i]));
    const failure = this.asker.settle(gets);
    return failure === null ? this.heard(volumes, gets) : failure;
  }

  /**
   * Create was not answered, or the driver says that the volume exists (another node was faster): Get tells. Create
   * is never sent a second time, for there are plugins that lose what they know of a volume by it.
   */
  private afterCreate(volume: Volume, create: Call): Failure | null {
    let attempt = 0;
    while (true) {
      attempt++;
      const get = this.volumeCall("Get", volume);
      const failure = this.asker.settle([get]);
      if (failure !== null) return failure;
      const answer = get.answer;
      if (answer.kind == Kind.Ok) {
        volume.there = true;
        volume.createdAt = answer.createdAt;
        volume.created = create.answer.kind == Kind.Unknown;
        return null;
      }
      if (answer.kind != Kind.Error) return failureOfCall(get);
      if (create.answer.kind == Kind.Error) return pluginSaidNo(create);
      // It may be at it still.
      const ms = this.policy.retry(create.answer.reason, attempt, this.config);
      if (ms < 0 || !this.asker.pause(ms, create)) {
        const cause = nothingKnown(create);
        return named(
          new Failure(
            cause.code,
            cause.message + '; it may be at it still, for it answers Get with "' + answer.error + '"',
            "wait a while and run this again: the volume is used if it is there by then",
          ),
          volume,
        );
      }
    }
  }

  /** Mount of each volume that is there and not mounted yet. */
  private mount(): Failure | null {
    let todo: Call[] = [];
    let volumes: Volume[] = [];
    for (let i = 0; i < this.distinct.length; i++) {
      const volume = this.distinct[i];
      if (!volume.there || volume.mounted) continue;
      const call = this.volumeCall("Mount", volume);
      // A size that was chosen is the least that would do: the volume may have grown since.
      const sized = !volume.created && volume.request.sizeIsSaid && this.driverOf(volume.driver).mountOpts;
      if (sized) call.options = sizeOf(this.policy.options(volume));
      todo.push(call);
      volumes.push(volume);
    }
    while (todo.length) {
      const failure = this.asker.settle(todo);
      if (failure !== null) return failure;
      let wait: i64 = 0;
      const again: Call[] = [];
      const againVolumes: Volume[] = [];
      const asks: Call[] = [];
      for (let i = 0; i < todo.length; i++) {
        const call = todo[i];
        const answer = call.answer;
        if (answer.kind == Kind.Ok) {
          volumes[i].mounted = true;
          continue;
        }
        let kind = "";
        if (answer.kind == Kind.Unknown && answer.sent) kind = answer.reason;
        else if (answer.kind == Kind.Error && transient(answer.error)) kind = "transient";
        if (!kind.length) return failureOfCall(call);
        const ms = this.policy.retry(kind, call.attempts, this.config);
        if (ms < 0) return failureOfCall(call);
        if (ms > wait) wait = ms;
        again.push(call);
        againVolumes.push(volumes[i]);
        if (answer.kind == Kind.Unknown) asks.push(this.volumeCall("Get", volumes[i]));
      }
      if (again.length == 0) return null;
      if (!this.asker.pause(wait, again[0])) return failureOfCall(again[0]);
      // A Mount that was not answered may be sent again with the same ID, but to a plugin that is alive and knows the volume.
      const failed = this.askBeforeMount(asks);
      if (failed !== null) return failed;
      todo = again;
      volumes = againVolumes;
    }
    return null;
  }

  private askBeforeMount(asks: Call[]): Failure | null {
    const failure = this.asker.settle(asks);
    if (failure !== null) return failure;
    for (let i = 0; i < asks.length; i++) {
      if (asks[i].answer.kind != Kind.Ok) return failureOfCall(asks[i]);
    }
    return null;
  }

  /** Mount of the volumes that are asked for once more: the engine answers, the plugin sees nothing of it. */
  private mountRepeated(): Failure | null {
    const calls: Call[] = [];
    for (let i = 0; i < this.volumes.length; i++) {
      const volume = unchecked(this.volumes[i]);
      if (volume.first == i) continue;
      calls.push(this.volumeCall("Mount", volume));
      volume.created = this.volumes[volume.first].created;
      volume.createdAt = this.volumes[volume.first].createdAt;
    }
    const failure = this.asker.settle(calls);
    if (failure !== null) return failure;
    for (let i = 0; i < calls.length; i++) {
      if (calls[i].answer.kind != Kind.Ok) return failureOfCall(calls[i]);
    }
    return null;
  }

  private volumeCall(method: string, volume: Volume): Call {
    const slow = method == "Mount" || method == "Create";
    const timeout = slow ? this.config.mountTimeoutMs : this.config.callTimeoutMs;
    return new Call(method, volume.driver, volume.index, volume.name, timeout);
  }
}

/** The size that is asked for, alone: a volume that exists is to be as large, its other options stay as they were. */
function sizeOf(options: Options): Options | null {
  for (let i = 0; i < options.size; i++) {
    const value = options.values[i];
    if (value.isSecret || options.names[i].toLowerCase() != "size") continue;
    const size = new Options();
    size.setText(options.names[i], value.text);
    return size;
  }
  return null;
}

/** Names the volume in a failure that names none. */
export function named(failure: Failure, volume: Volume): Failure {
  if (!failure.volume.length) failure.volume = volume.name;
  if (!failure.driver.length) failure.driver = volume.driver;
  return failure;
}
