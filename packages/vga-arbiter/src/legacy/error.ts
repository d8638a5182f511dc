/** A refusal as the kernel's VGA arbiter gives it: an error number and the reason. */
export class VgaArbiterError extends Error {
  override readonly name = "VgaArbiterError";
  readonly code: "EBUSY" | "EINVAL" | "EIO" | "ENODEV" | "ENOMEM" | "EPROTO";
  constructor(code: VgaArbiterError["code"], message: string) {
    super(message);
    this.code = code;
  }
}
