import type { Hpa } from "@iommu-lab/memory";
import type { Interrupt, Posting, PostingNotification } from "@iommu-lab/pci-bus";
import { newInterrupt } from "../msi/message.ts";
import { CONTROL_RESERVED, CONTROL_WORD, DESCRIPTOR_WORDS, DESTINATION_RESERVED_XAPIC, DESTINATION_WORD, NOTIFICATION_VECTOR_SHIFT, OUTSTANDING, SUPPRESSED } from "./entry-masks.ts";
import { InterruptFault } from "./interrupt-fault.ts";
import type { RemapMemory } from "./remap-memory.ts";

/** Whether posting sends a notification: none is outstanding, and they are not suppressed or this one is urgent. VT-d §5.2.3 "Interrupt-Posting Hardware Operation". */
export const postingNotifies = (outstanding: boolean, suppressed: boolean, urgent: boolean): boolean => !outstanding && (urgent || !suppressed);

const SILENT: PostingNotification = { kind: "none" };

/** A posting as its owner may change it. */
type OwnPosting = { -readonly [K in keyof Posting]: Posting[K] };

/** Posts interrupts into descriptors in memory. Its records are reused: a sink that keeps a posting copies it. VT-d §5.2.3. */
export class InterruptPoster {
  /** The descriptor seen last, before it was changed. */
  readonly descriptor = new Uint32Array(DESCRIPTOR_WORDS);
  readonly #memory: RemapMemory;
  readonly #pageLimit: number;
  readonly #interrupt: Interrupt = newInterrupt();
  readonly #notification: PostingNotification = { kind: "interrupt", interrupt: this.#interrupt };
  readonly #posting: OwnPosting = { structure: 0, updated: 0, vector: 0, notification: SILENT };

  constructor(memory: RemapMemory, pageLimit: number) {
    this.#memory = memory;
    this.#pageLimit = pageLimit;
  }

  /** What the last `post` that gave 0 did, for the sink. */
  get posting(): Posting {
    return this.#posting;
  }

  /**
   * Sets a virtual vector's bit in the descriptor and decides on the notification, as one locked update.
   * @param structure HPA of the descriptor, a multiple of 64
   * @param extended  notification destinations are 32-bit x2APIC IDs
   * @returns 0, 27h where no descriptor can be read, 28h where it has reserved bits set; nothing is changed then
   */
  post(structure: Hpa, vector: number, urgent: boolean, extended: boolean): number {
    const page = Math.floor(structure / 4096);
    const words = page < this.#pageLimit ? this.#memory.wordsOf(page) : undefined;
    if (words === undefined) return InterruptFault.DescriptorAccess;
    const at = this.#memory.wordOf(page) + ((structure % 4096) >>> 2);
    const copy = this.descriptor;
    for (let word = 0; word < DESCRIPTOR_WORDS; word++) copy[word] = words[at + word] as number; // a descriptor never crosses a page
    if (this.#hasReservedBits(extended)) return InterruptFault.DescriptorReserved;
    this.#update(structure, vector, urgent, extended);
    return 0;
  }

  #hasReservedBits(extended: boolean): boolean {
    const copy = this.descriptor;
    let bits = (copy[CONTROL_WORD] as number) & CONTROL_RESERVED;
    if (!extended) bits |= (copy[DESTINATION_WORD] as number) & DESTINATION_RESERVED_XAPIC;
    for (let word = DESTINATION_WORD + 1; word < DESCRIPTOR_WORDS; word++) bits |= copy[word] as number; // 16 words
    return bits !== 0;
  }

  #update(structure: Hpa, vector: number, urgent: boolean, extended: boolean): void {
    const control = this.descriptor[CONTROL_WORD] as number; // 16 words
    const request = vector >>> 5;
    // Model: nothing else runs between these two writes, so that they are the one locked update of the hardware.
    this.#memory.write32(structure + 4 * request, ((this.descriptor[request] as number) | (1 << (vector & 31))) >>> 0);
    const posting = this.#posting;
    posting.structure = structure;
    posting.updated = structure + 8 * (vector >>> 6);
    posting.vector = vector;
    posting.notification = SILENT;
    if (!postingNotifies((control & OUTSTANDING) !== 0, (control & SUPPRESSED) !== 0, urgent)) return;
    this.#memory.write32(structure + 4 * CONTROL_WORD, (control | OUTSTANDING) >>> 0);
    const destination = this.descriptor[DESTINATION_WORD] as number; // 16 words
    this.#interrupt.vector = (control >>> NOTIFICATION_VECTOR_SHIFT) & 0xff;
    this.#interrupt.destination = extended ? destination : (destination >>> 8) & 0xff;
    posting.notification = this.#notification;
  }
}
