import { DESCRIPTORS } from "../layouts/index.ts";
import type { VtdCapabilities } from "./capabilities.ts";

/** IQEI values. VT-d §11.4.9.9. */
export const QueueError = { None: 0, Tail: 1, Fetch: 2, Type: 3, Reserved: 4, Width: 5, Alignment: 6, Mode: 7 } as const;

/** Descriptor types: {bits 11:9, bits 3:0} of the first word. */
export const DescriptorType = { Context: 1, Iotlb: 2, DeviceTlb: 3, InterruptEntries: 4, Wait: 5, PasidIotlb: 6, PasidCache: 7, PasidDeviceTlb: 8, PageGroupResponse: 9 } as const;

const PD = 1 << 7;

/** Reserved bits of each descriptor's four words, by 4 · type. VT-d §6.5.2.1 to §6.5.2.8, §7.6.1. */
const RESERVED = new Int32Array(40);
for (const [type, { reserved }] of Object.entries(DESCRIPTORS)) RESERVED.set(reserved, 4 * Number(type));

/** Granularities (bits 5:4) that each type does not have, as bit sets. */
const NO_GRANULARITIES = new Uint8Array(10);
NO_GRANULARITIES[DescriptorType.Context] = NO_GRANULARITIES[DescriptorType.Iotlb] = 1 << 0;
NO_GRANULARITIES[DescriptorType.PasidIotlb] = (1 << 0) | (1 << 1);
NO_GRANULARITIES[DescriptorType.PasidCache] = 1 << 2;

/**
 * Checks one descriptor: 0 or an IQEI value. VT-d §6.5.2, Table 23.
 * Model: a unit with scalable mode takes the descriptors of scalable mode in legacy mode too, as QEMU's does.
 */
export class DescriptorRules {
  /** The largest address mask of a page-selective IOTLB invalidation; -1 where there is none. */
  readonly #largestMask: number;
  /** The `RESERVED` of this unit. */
  readonly #reserved = RESERVED.slice();
  /** 1 for every {bits 11:9, bits 3:0} that is a type the unit has. */
  readonly #types = new Uint8Array(128);

  constructor({ cap, ecap }: VtdCapabilities) {
    this.#largestMask = cap.PSI ? cap.MAMV : -1;
    if (!ecap.PDS) this.#reserved[4 * DescriptorType.Wait] = (RESERVED[4 * DescriptorType.Wait] as number) | PD;
    this.#types.fill(1, 1, (ecap.SMTS || ecap.ADMS ? DescriptorType.PageGroupResponse : DescriptorType.Wait) + 1);
    if (!ecap.DT) this.#types[DescriptorType.DeviceTlb] = this.#types[DescriptorType.PasidDeviceTlb] = 0;
    if (!ecap.IR) this.#types[DescriptorType.InterruptEntries] = 0;
    if (!ecap.PRS) this.#types[DescriptorType.PageGroupResponse] = 0;
  }

  /** The first 128 bits of a descriptor, in four words that are int32. @param type {bits 11:9, bits 3:0} of the first */
  check(type: number, w0: number, w1: number, w2: number, w3: number): number {
    if (this.#types[type] === 0) return QueueError.Type;
    const reserved = this.#reserved;
    const rule = 4 * type;
    if (((w0 & (reserved[rule] as number)) | (w1 & (reserved[rule + 1] as number)) | (w2 & (reserved[rule + 2] as number)) | (w3 & (reserved[rule + 3] as number))) !== 0) return QueueError.Reserved;
    // Model: IM beyond MHMV is software's mistake that hardware need not find; it invalidates as much as it says.
    const granularity = (w0 >>> 4) & 3;
    return (((NO_GRANULARITIES[type] as number) >>> granularity) & 1) !== 0 || (type === DescriptorType.Iotlb && granularity === 3 && (w2 & 63) > this.#largestMask) ? QueueError.Reserved : QueueError.None;
  }
}
