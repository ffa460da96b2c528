// Options of more than one command: what they take is checked before anything is done.
import { InvalidArgumentError, Option } from "commander";

/** An option that takes one value each time, so that it never takes an argument that stands behind it. */
export const repeated = (flags: string, about: string): Option =>
  new Option(flags, `${about} (again for another one)`).argParser((value: string, before?: string[]) => [
    ...(before ?? []),
    value,
  ]);

export interface Kind {
  is: (value: number) => boolean;
  /** It must be …. */
  what: string;
}

export const COUNT: Kind = { is: (value) => Number.isSafeInteger(value) && value >= 0, what: "a whole number" };
export const WHOLE: Kind = { is: Number.isSafeInteger, what: "a whole number" };
export const SHARE: Kind = { is: (value) => value >= 0 && value <= 1, what: "a share, from 0 to 1" };
export const SECONDS: Kind = { is: (value) => value > 0 && value < 1e6, what: "a number of seconds" };

/** An option that takes a number. */
export const numeric = (flags: string, about: string, { is, what }: Kind): Option =>
  new Option(flags, about).argParser((text: string) => {
    const value = Number(text);
    if (text.trim() === "" || !is(value)) throw new InvalidArgumentError(`It must be ${what}.`);
    return value;
  });
