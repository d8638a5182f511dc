import { POSTED_INTERRUPT_DESCRIPTOR } from "@iommu-lab/interrupt-remap/vtd";
import { PAGE_SIZE, type FrameAllocator, type Hpa, type PhysicalMemory } from "@iommu-lab/memory";

const WORDS = 8;
/** ON is bit 256, the notification's control word follows the 256 requests. VT-d §9.11. */
const CONTROL = 32;
const OUTSTANDING = 1;
/** IRR of a virtual APIC: 32 vectors every 16 bytes. AMD APM vol. 2 §15.29.3. */
const IRR = 0x200;
const IRR_STRIDE = 16;

/** What a remapper posts into for one virtual processor: VT-d's posted-interrupt descriptor, or AMD's virtual APIC backing page. */
export class PostedVectors {
  /** Address of the structure. */
  readonly structure: Hpa;
  readonly #memory: PhysicalMemory;
  readonly #amd: boolean;

  /**
   * @param notification vector that the processor takes as "look into the descriptor"
   * @param processor    APIC ID of the processor that the virtual one runs on
   * @throws RangeError when there is no frame left
   */
  constructor(vendor: "intel" | "amd", memory: PhysicalMemory, frames: FrameAllocator, notification: number, processor: number) {
    const page = frames.allocate();
    if (page < 0) throw new RangeError("There is no frame left for a posted-interrupt descriptor.");
    this.structure = page * PAGE_SIZE;
    this.#memory = memory;
    this.#amd = vendor === "amd";
    memory.writeFrom(this.structure, new Uint8Array(PAGE_SIZE));
    if (this.#amd) return;
    const words = POSTED_INTERRUPT_DESCRIPTOR.encode({ NV: notification, NDST: processor });
    for (const [i, word] of words.entries()) memory.write32(this.structure + 4 * i, word);
  }

  /**
   * Takes what is posted, lowest vector first, as the processor does on a notification: first the outstanding bit goes, then the
   * requests, so that what is posted in between notifies again.
   */
  take(): number[] {
    const vectors: number[] = [];
    if (!this.#amd) this.#memory.write32(this.structure + CONTROL, (this.#memory.read32(this.structure + CONTROL) & ~OUTSTANDING) >>> 0);
    for (let word = 0; word < WORDS; word++) {
      const at = this.structure + (this.#amd ? IRR + IRR_STRIDE * word : 4 * word);
      const bits = this.#memory.read32(at);
      if (bits === 0) continue;
      this.#memory.write32(at, 0);
      for (let bit = 0; bit < 32; bit++) if ((bits >>> bit) & 1) vectors.push(32 * word + bit);
    }
    return vectors;
  }
}
