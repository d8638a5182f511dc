import type { VgaArbiter } from "../arbiter/arbiter.ts";
import { OpenArbiterFile } from "./open-file.ts";

/** /dev/vga_arbiter: the kernel's arbiter for user space, such as X servers and machine emulators that reach VGA themselves. */
export class VgaArbiterDevice {
  readonly #arbiter: VgaArbiter;
  readonly #maxCards: number;

  /** @param maxCards how many devices one open file can target: CONFIG_VGA_ARB_MAX_GPUS, 16 by default */
  constructor(arbiter: VgaArbiter, maxCards = 16) {
    this.#arbiter = arbiter;
    this.#maxCards = maxCards;
  }

  /** A new open file; its target is the default device. */
  open(): OpenArbiterFile {
    return new OpenArbiterFile(this.#arbiter, this.#maxCards);
  }
}
