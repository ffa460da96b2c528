// How a workload gets its volumes: all of them, or none. Each step asks for all volumes side by side, and the first
// one that cannot go on ends the operation; the engine undoes what was done. The order of the steps is fixed here,
// and hooks only answer questions in between.
import { Config } from "../model/config";
import { Failure } from "../model/result";
import { createMissing, decideCreates } from "./create";
import { named } from "./failures";
import { find, greet } from "./find";
import { mountFound, mountRepeated } from "./mount";
import { Policy } from "./policy";
import { contradiction, keepOwners, outsiders } from "./share";
import { stageAll } from "./stages";
import { Scope, Volume } from "./volume";
import { Work } from "./work";

/** One prepare. */
export class Preparation {
  private work: Work;

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
    this.work = new Work(policy, config, volumes);
  }

  get notes(): string[] {
    return this.work.notes;
  }

  /** Null where every volume is staged, or exists where no more is wanted. */
  run(): Failure | null {
    const work = this.work;
    let failure = this.admit();
    if (failure === null) failure = greet(work);
    if (failure === null) failure = find(work);
    if (failure === null) failure = decideCreates(work);
    if (this.creating) return failure === null ? createMissing(work) : failure;
    // What is there is mounted first: a volume is only created where the others could be had.
    if (failure === null) failure = mountFound(work);
    if (failure === null) failure = createMissing(work);
    if (failure === null) failure = mountFound(work);
    if (failure === null) failure = mountRepeated(work);
    if (failure === null) failure = stageAll(this.policy, this.volumes);
    return failure;
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
      if (note.length) this.work.notes.push(note);
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
}
