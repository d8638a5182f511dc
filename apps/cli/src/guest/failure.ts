/** What keeps a guest from being made or booted, as a sentence for the person at the keyboard. */
export class GuestFailure extends Error {
  override readonly name = "GuestFailure";
}
