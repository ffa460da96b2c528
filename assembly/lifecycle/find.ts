// What is there: each driver is greeted, and asked for its volumes.
import { Failure } from "../model/result";
import { Call, Kind } from "./calls";
import { failureOfCall, getFailed, listFailed, named, noGreeting, unclear } from "./failures";
import { Volume } from "./volume";
import { Driver, Work } from "./work";

/** Activate, once for each driver. Its answer must name VolumeDriver. */
export function greet(work: Work): Failure | null {
  const calls: Call[] = [];
  for (let i = 0; i < work.drivers.length; i++) {
    calls.push(new Call("Activate", work.drivers[i].name, -1, "", work.config.callTimeoutMs));
  }
  const failure = work.asker.settle(calls);
  if (failure !== null) return failure;
  for (let i = 0; i < calls.length; i++) {
    const call = calls[i];
    if (call.answer.kind != Kind.Ok)
      return named(noGreeting(call, work.config.defaultDriver), work.drivers[i].volumes[0]);
    if (!call.answer.implements.includes("VolumeDriver")) {
      const what = call.answer.implements.length ? call.answer.implements.join(", ") : "nothing";
      return named(
        new Failure(
          "driver",
          "the plugin " + call.driver + " is no volume driver: it implements " + what,
          "name a volume driver's plugin (`dvdi doctor` shows those that are found)",
        ),
        work.drivers[i].volumes[0],
      );
    }
  }
  return null;
}

/** Capabilities of each driver and Get of each volume, side by side. */
export function find(work: Work): Failure | null {
  const capabilities: Call[] = [];
  const gets: Call[] = [];
  const asked: Volume[] = [];
  const calls: Call[] = [];
  for (let i = 0; i < work.drivers.length; i++) {
    const driver = work.drivers[i];
    const call = new Call("Capabilities", driver.name, -1, "", work.config.callTimeoutMs);
    capabilities.push(call);
    calls.push(call);
    for (let j = 0; j < driver.volumes.length; j++) {
      const get = work.call("Get", driver.volumes[j]);
      gets.push(get);
      calls.push(get);
      asked.push(driver.volumes[j]);
    }
  }
  let failure = work.asker.settle(calls);
  if (failure !== null) return failure;
  for (let i = 0; i < work.drivers.length; i++) {
    const driver = work.drivers[i];
    // Many plugins know no Capabilities: they are local then, as the protocol has it.
    const answer = capabilities[i].answer;
    if (answer.kind == Kind.Ok && answer.scope == "global") driver.scope = "global";
    driver.mountOpts = answer.kind == Kind.Ok && answer.mountOpts;
    for (let j = 0; j < driver.volumes.length; j++) {
      failure = work.policy.place(driver.volumes[j], driver.scope);
      if (failure !== null) return named(failure, driver.volumes[j]);
    }
  }
  return heard(work, asked, gets);
}

/**
 * Before a Create that never reached its plugin is sent again: meanwhile another node may have made the volume, and the
 * engine sends one Create for what Get and List have said.
 */
export function findAgain(work: Work, volumes: Volume[]): Failure | null {
  const gets: Call[] = [];
  for (let i = 0; i < volumes.length; i++) gets.push(work.call("Get", volumes[i]));
  const failure = work.asker.settle(gets);
  return failure === null ? heard(work, volumes, gets) : failure;
}

/** What was answered to Get of volumes; where it was an error, List has the last word. */
function heard(work: Work, volumes: Volume[], gets: Call[]): Failure | null {
  for (let i = 0; i < work.drivers.length; i++) work.drivers[i].doubtful = [];
  for (let i = 0; i < gets.length; i++) {
    const volume = volumes[i];
    const answer = gets[i].answer;
    if (answer.kind == Kind.Ok) {
      volume.there = true;
      volume.createdAt = answer.createdAt;
    } else if (answer.kind == Kind.Error) {
      volume.getError = answer.error.length ? answer.error : "an error without a text";
      work.driverOf(volume.driver).doubtful.push(volume);
    } else {
      return failureOfCall(gets[i]);
    }
  }
  return list(work);
}

/** List of those drivers that answered a Get with an error: it may mean that the volume is missing, or not. */
function list(work: Work): Failure | null {
  const calls: Call[] = [];
  const asked: Driver[] = [];
  for (let i = 0; i < work.drivers.length; i++) {
    const driver = work.drivers[i];
    if (driver.doubtful.length == 0) continue;
    calls.push(new Call("List", driver.name, -1, "", work.config.callTimeoutMs));
    asked.push(driver);
  }
  const failure = work.asker.settle(calls);
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
      work.notes.push(
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
