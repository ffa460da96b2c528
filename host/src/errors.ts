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
