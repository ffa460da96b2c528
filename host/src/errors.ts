import { getSystemErrorMap } from "node:util";

/** Why a system call failed, in the system's words: `no such file or directory`. */
export function whyFailed(error: NodeJS.ErrnoException): string {
  return getSystemErrorMap().get(error.errno ?? 0)?.[1] ?? error.message;
}

/** Something that the user can put right: shown as one message with a hint, without a stack. */
export class UserError extends Error {
  override name = "UserError";
  constructor(
    message: string,
    readonly hint: string | null,
  ) {
    super(message);
  }
}
