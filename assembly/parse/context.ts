// What the forms share while one input is parsed.
import { checkOptions } from "../options/check";
import { Config } from "../model/config";
import { MAX_VOLUMES, checkDriverName, checkVolumeName } from "../model/errors";
import { VolumeRequest } from "../model/request";
import { Failure } from "../model/result";

/** So many notes are kept: who has more to be told has read enough. */
const MAX_NOTES: i32 = 1024;

/** One volume as a form declares it. */
export class Declaration {
  /** Declared by a first-class form; false for the environment, which yields to those. */
  firstClass: bool = true;
  /** The container path was written down; false where it was made up by a form's default. */
  pathGiven: bool = true;

  constructor(public request: VolumeRequest) {}
}

export class Context {
  declarations: Declaration[] = [];
  notes: string[] = [];
  /** Where the source that is being read was written down (a file), for errors; "" where that goes without saying. */
  origin: string = "";

  constructor(
    public config: Config,
    /** The driver of a volume that names none. */
    public defaultDriver: string,
  ) {}

  /** A request with the settings' defaults, to be filled by a form. */
  request(from: string): VolumeRequest {
    const out = new VolumeRequest();
    out.from = this.origin.length ? from + " of " + this.origin : from;
    out.access = this.config.access;
    out.create = this.config.create;
    out.ownership = this.config.ownership;
    return out;
  }

  /**
   * Checks what all forms have in common and takes the declaration. `nameField`, `driverField`, `optionsField`: what the form calls
   * them, for errors. An empty driver becomes the default one.
   */
  add(declared: Declaration, nameField: string, driverField: string, optionsField: string): Failure | null {
    const request = declared.request;
    if (request.driver.length == 0) request.driver = this.defaultDriver;
    let failure = checkVolumeName(nameField, request.name);
    if (failure !== null) return failure;
    failure = checkDriverName(driverField, request.driver);
    if (failure !== null) return failure.of(request.name);
    failure = checkOptions(optionsField, request);
    if (failure !== null) return failure;
    if (this.declarations.length >= MAX_VOLUMES) {
      return new Failure("invalid", "more than " + MAX_VOLUMES.toString() + " volumes are declared for one workload");
    }
    this.declarations.push(declared);
    return null;
  }

  note(text: string): void {
    if (this.notes.length < MAX_NOTES) this.notes.push(text);
  }
}
