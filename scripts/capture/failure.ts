/** What keeps a capture from being made, as a sentence for the person at the keyboard. */
export class CaptureFailure extends Error {
  override readonly name = "CaptureFailure";
}
