import { PAGE_SHIFT, PAGE_SIZE } from "@iommu-lab/memory";
import { Access, AddressType, Completion, newTranslation, NO_PASID, type ExplanationSink, type TranslationRequest } from "@iommu-lab/pci-bus";
import { hex64, hexBytes, type Json } from "./trace-fields.ts";
import type { DmaPart, DmaTransfer } from "./trace-step.ts";
import type { TracedMachine } from "./traced-machine.ts";
import { readTraced } from "./traced-memory.ts";

const PAGES_PER_WORD = 2 ** (32 - PAGE_SHIFT);

const accessOf = ({ op, pasid, privileged, execute }: DmaTransfer): Access => {
  const access = op === "dma_read" ? Access.Read : Access.Write;
  // Without a PASID prefix a request has no way to ask for either. PCIe §6.20 "PASID TLP Prefix".
  if (pasid === NO_PASID) return access;
  return access | (privileged ? Access.Privileged : 0) | (execute && op === "dma_read" ? Access.Execute : 0);
};

/** Does DMA as a PCI function does: cut at 4 KiB, each request translated by itself and moved where it leads. */
export class DmaEngine {
  readonly #machine: TracedMachine;
  readonly #out = newTranslation();
  readonly #request: TranslationRequest = { requester: 0, pasid: NO_PASID, addressType: AddressType.Untranslated, page: 0, access: 0 };

  constructor(machine: TracedMachine) {
    this.#machine = machine;
  }

  /** Does the transfer; gives what was observed in the form of the trace. */
  transfer(step: DmaTransfer, explain?: ExplanationSink): readonly DmaPart[] {
    this.#request.requester = step.requester;
    this.#request.pasid = step.pasid;
    this.#request.access = accessOf(step);
    return step.parts.map((part) => (step.op === "dma_read" ? this.#read(part, explain) : this.#write(part, explain)));
  }

  #read(part: DmaPart, explain: ExplanationSink | undefined): DmaPart {
    const data = new Uint8Array(part.length);
    const ok = this.#requests(part, explain, (at, from, to) => {
      readTraced(this.#machine.memory, at, data.subarray(from, to));
    });
    return { ...part, data: ok ? data : null, ok };
  }

  #write(part: DmaPart, explain: ExplanationSink | undefined): DmaPart {
    const data = part.data ?? new Uint8Array();
    const ok = this.#requests(part, explain, (at, from, to) => {
      this.#machine.memory.writeFrom(at, data.subarray(from, to));
    });
    return { ...part, ok };
  }

  /**
   * Calls `move` for each request that passes, with where it leads (HPA) and which bytes of the part it has.
   * @returns whether all passed
   */
  #requests({ iova, length }: DmaPart, explain: ExplanationSink | undefined, move: (at: number, from: number, to: number) => void): boolean {
    let page = iova.high * PAGES_PER_WORD + (iova.low >>> PAGE_SHIFT);
    let offset = iova.low % PAGE_SIZE;
    let ok = true;
    let done = 0;
    // At least once: a zero-length read is one request without bytes. PCIe §2.2.5 "First/Last DW Byte Enables Rules".
    do {
      const step = Math.min(length - done, PAGE_SIZE - offset);
      this.#request.page = page;
      this.#machine.iommu.translate(this.#request, this.#out, explain);
      if (this.#out.completion === Completion.Successful && this.#reaches(this.#out.page)) move(this.#out.page * PAGE_SIZE + offset, done, done + step);
      else ok = false;
      done += step;
      page = (page + 1) % 2 ** 52;
      offset = 0;
    } while (done < length);
    return ok;
  }

  #reaches(page: number): boolean {
    return this.#machine.abortsWithoutMemory !== true || this.#machine.memory.wordsOf(page) !== undefined;
  }
}

const sameBytes = (a: Uint8Array | null, b: Uint8Array | null): boolean => a === b || (a !== null && b !== null && a.length === b.length && a.every((byte, i) => byte === b[i]));

/** Whether two transfers of one step came out the same. */
export const sameDma = ({ op, parts }: DmaTransfer, actual: readonly DmaPart[]): boolean => parts.every((part, i) => part.ok === actual[i]?.ok && (op === "dma_write" || sameBytes(part.data, actual[i].data)));

/** What a transfer came to, as the trace writes it. */
export const dmaJson = ({ op, listed }: DmaTransfer, parts: readonly DmaPart[]): Json => {
  const outcome = ({ data, ok }: DmaPart): Json => (op === "dma_write" ? ok : data === null ? null : hexBytes(data));
  if (!listed) return parts[0] === undefined ? null : outcome(parts[0]);
  return parts.map((part) => ({ iova: hex64(part.iova), len: part.length, [op === "dma_write" ? "ok" : "data"]: outcome(part) }));
};
