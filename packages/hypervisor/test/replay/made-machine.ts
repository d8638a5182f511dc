/** A machine with an IOMMU simple enough to know by heart: pages below 100h go to the page 10h higher, all others fault. */
import { SparseMemory, type MmioHandler } from "@iommu-lab/memory";
import { Completion, type ExplanationSink, type Interrupt, type InterruptMessage, type InterruptSink, type Iommu, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { decodeMessage } from "../../src/replay/message.ts";
import type { Machines } from "../../src/replay/replay.ts";
import type { TracedMessage } from "../../src/replay/trace-step.ts";

/** Register whose writing makes the IOMMU send its value as a message. */
export const SENDS = 0x60;
export const FAULTS = 0x34;

class MadeIommu implements Iommu {
  readonly words = new Uint32Array(64);
  readonly registers: MmioHandler;
  readonly requests: TranslationRequest[] = [];

  constructor(messages: TracedMessage[]) {
    const { words } = this;
    const write = (offset: number, value: number): void => {
      words[offset >> 2] = value;
      if (offset === SENDS) messages.push({ address: { low: 0xfee0_0000, high: 1 }, data: value });
    };
    this.registers = {
      read: (offset) => words[offset >> 2] ?? 0,
      write: (offset, _size, value) => { write(offset, value); },
      read64: (offset, into) => { into.set(words.subarray(offset >> 2, (offset >> 2) + 2)); },
      write64: (offset, low, high) => { write(offset, low); write(offset + 4, high); },
    };
  }
  translate(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    this.requests.push({ ...request });
    const ok = request.page < 0x100;
    out.page = request.page + 0x10;
    out.completion = ok ? Completion.Successful : Completion.UnsupportedRequest;
    out.fault = ok ? 0 : 6;
    explain?.step({ structure: "page", rule: "pages below 100h are mapped", section: "made", outcome: ok ? "translated" : "fault 06h" });
  }
  remapInterrupt({ address, data }: Readonly<InterruptMessage>, sink: InterruptSink): void {
    if (data === 0) return;
    const { dest, dest_mode, delivery_mode, vector, trigger_mode, redir_hint } = decodeMessage({ address: { low: address, high: 0 }, data });
    sink.deliver({ destination: dest, destinationMode: dest_mode === 1 ? "logical" : "physical", deliveryMode: delivery_mode as Interrupt["deliveryMode"], vector, trigger: trigger_mode === 1 ? "level" : "edge", redirectionHint: redir_hint === 1 });
  }
  pageRequest(): void { /* not used by traces */ }
  connect(): void { /* no devices below */ }
  reset(): void { /* made anew for each trace */ }
}

/** Builders for `replayWith`, and what the IOMMU was asked. */
export const madeMachines = (): { readonly machines: Machines; readonly requests: () => readonly TranslationRequest[] } => {
  let made: MadeIommu | undefined;
  return {
    machines: {
      intel: ({ ram }) => {
        const messages: TracedMessage[] = [];
        made = new MadeIommu(messages);
        return { memory: new SparseMemory({ ranges: ram, budget: 2 ** 24 }), iommu: made, messages, tellsOfFaults: (offset) => offset === FAULTS };
      },
    },
    requests: () => made?.requests ?? [],
  };
};

export const HEADER = `{"op":"machine","trace":1,"iommu":"intel","ram":"0x1000000","regs":{}}`;
/** A trace of steps as a file has it. */
export const trace = (...steps: readonly object[]): string => [HEADER, ...steps.map((step) => JSON.stringify(step)), ""].join("\n");
