import type { CachePolicy, ExplanationStep } from "@iommu-lab/pci-bus";
import { DmaEngine, dmaJson, sameDma } from "./dma.ts";
import { decodeMessage, expectedMessageJson, messageJson, outcomeJson, sameMessage, sendMessage } from "./message.ts";
import { hex64, hexBytes, TraceError, type Json, type Word64 } from "./trace-fields.ts";
import { parseHeader, type TraceHeader } from "./trace-header.ts";
import { parseStep, type ConfigRead, type DmaTransfer, type IommuInterrupts, type IommuMessage, type MemoryRead, type MessageSent, type RegisterRead, type TracedMessage, type TraceStep } from "./trace-step.ts";
import type { MachineBuilder, TracedMachine } from "./traced-machine.ts";
import { fillTraced, readTraced } from "./traced-memory.ts";

/** An observation on which model and recording disagree. */
export interface Mismatch {
  /** Line in the file, from 1. */
  readonly line: number;
  /** The op that observed it; "iommu_msi" at the line of any op, expecting null, for a message that the recording does not have. */
  readonly op: string;
  readonly expected: Json;
  readonly actual: Json;
  /** The step as it stands in the file. */
  readonly text: string;
  /** Line of the request that explains it: this one, or the last before it. */
  readonly request: number | undefined;
}

/** What replaying one trace came to. */
export interface ReplayReport {
  /** Observing steps that were compared. */
  readonly compared: number;
  /** Observing steps that the trace marks as not determined by the architecture. */
  readonly skipped: number;
  /** How many of them have each mark. */
  readonly skippedByMark: ReadonlyMap<string, number>;
  readonly mismatches: readonly Mismatch[];
  /** How the model decided the requests asked for, by line. */
  readonly explanations: ReadonlyMap<number, readonly ExplanationStep[]>;
}

export interface ReplayOptions {
  /** Default "realistic". */
  readonly caches?: CachePolicy;
  /** Lines of `dma_*` and `msi` steps whose decision is to be explained. */
  readonly explain?: ReadonlySet<number>;
}

/** Builders by the vendor that a trace names. */
export type Machines = Readonly<Partial<Record<TraceHeader["iommu"], MachineBuilder>>>;

const U32 = 0xffff_ffff;

/** One trace on its way through the model. */
class Replay {
  compared = 0;
  skipped = 0;
  readonly skippedByMark = new Map<string, number>();
  readonly mismatches: Mismatch[] = [];
  readonly explanations = new Map<number, ExplanationStep[]>();
  readonly #machine: TracedMachine;
  readonly #dma: DmaEngine;
  readonly #explain: ReadonlySet<number>;
  readonly #pair = new Uint32Array(2);
  /** The step that acted last: its messages are still to be compared. */
  #before: { readonly line: number; readonly text: string } = { line: 1, text: "" };
  #request: number | undefined = undefined;

  constructor(machine: TracedMachine, explain: ReadonlySet<number>) {
    this.#machine = machine;
    this.#dma = new DmaEngine(machine);
    this.#explain = explain;
  }

  step(step: TraceStep, text: string): void {
    if (step.op === "passed") {
      if (step.observing) {
        this.skipped++;
        this.skippedByMark.set(step.mark, (this.skippedByMark.get(step.mark) ?? 0) + 1);
      }
      if (step.marked === "irqs") this.#machine.messages.length = 0;
      // A marked message may come or not; a marked step of another kind does nothing.
      if (step.marked === "iommu_msi") this.#machine.messages.shift();
      return;
    }
    if (step.op === "iommu_msi") {
      this.#compareMessage(step, text);
      return;
    }
    this.finish();
    this.#before = { line: step.line, text };
    try {
      this.#perform(step, text);
    } catch (error) {
      // The one refusal on the way: memory beyond the budget.
      throw error instanceof RangeError ? new TraceError(step.line, `${step.op}: ${error.message}`) : error;
    }
  }

  /** Compares what the last step must not have sent. */
  finish(): void {
    const { messages, config } = this.#machine;
    if (config !== undefined) return;
    for (const message of messages) this.mismatches.push({ ...this.#before, op: "iommu_msi", expected: null, actual: messageJson(message), request: this.#request });
    messages.length = 0;
  }

  #perform(step: Exclude<TraceStep, { op: "passed" } | IommuMessage>, text: string): void {
    const { memory, iommu, config } = this.#machine;
    switch (step.op) {
      case "mem_write":
        memory.writeFrom(step.address, step.data);
        break;
      case "mem_fill":
        if (step.length > 0) fillTraced(memory, step.address, step.length, step.data);
        break;
      case "mem_read":
        this.#readMemory(step, text);
        break;
      case "reg_write":
        if (step.size === 8) iommu.registers.write64(step.offset, step.value.low, step.value.high);
        else iommu.registers.write(step.offset, step.size, step.value.low);
        break;
      case "reg_read":
        this.#readRegister(step, text);
        break;
      case "dma_read":
      case "dma_write":
        this.#transfer(step, text);
        break;
      case "msi":
        this.#sendMessage(step, text);
        break;
      case "cfg_write":
        config?.write(step.offset, step.size, step.value);
        break;
      case "cfg_read":
        this.#readConfig(step, text);
        break;
      case "irqs":
        this.#compareInterrupts(step, text);
        break;
    }
  }

  #readMemory({ line, op, address, data }: MemoryRead, text: string): void {
    const actual = new Uint8Array(data.length);
    readTraced(this.#machine.memory, address, actual);
    this.#compare(actual.every((byte, i) => byte === data[i]), line, op, text, this.#request, () => [hexBytes(data), hexBytes(actual)]);
  }

  #readRegister({ line, op, offset, size, value, mask }: RegisterRead, text: string): void {
    const { registers } = this.#machine.iommu;
    let actual: Word64;
    if (size === 8) {
      registers.read64(offset, this.#pair);
      actual = { low: this.#pair[0] as number, high: this.#pair[1] as number };
    } else actual = { low: registers.read(offset, size) >>> 0, high: 0 };
    const same = ((actual.low ^ value.low) & mask.low) === 0 && ((actual.high ^ value.high) & mask.high) === 0;
    const request = this.#machine.tellsOfFaults(offset) ? this.#request : undefined;
    const masked = ({ low, high }: Word64): string => hex64({ low: (low & mask.low) >>> 0, high: (high & mask.high) >>> 0 });
    this.#compare(same, line, op, text, request, () => (mask.low === U32 && mask.high === U32 ? [hex64(value), hex64(actual)] : [masked(value), masked(actual)]));
  }

  #readConfig({ line, op, offset, size, value }: ConfigRead, text: string): void {
    const actual = this.#machine.config?.read(offset, size) ?? 0;
    this.#compare(actual === value, line, op, text, undefined, () => [`0x${value.toString(16)}`, `0x${actual.toString(16)}`]);
  }

  /** The IOMMU's own interrupts since the last such step: order and contents. */
  #compareInterrupts({ line, op, interrupts }: IommuInterrupts, text: string): void {
    const actual = this.#machine.messages.splice(0).map((message) => {
      const { dest, dest_mode, delivery_mode, vector, trigger_mode } = decodeMessage(message);
      return { dest, dest_mode, delivery_mode, vector, trigger_mode };
    });
    this.#compare(JSON.stringify(actual) === JSON.stringify(interrupts), line, op, text, this.#request, () => [interrupts.map((each) => ({ ...each })), actual]);
  }

  #transfer(step: DmaTransfer, text: string): void {
    this.#request = step.line;
    const actual = this.#dma.transfer(step, this.#sink(step.line));
    this.#compare(sameDma(step, actual), step.line, step.op, text, step.line, () => [dmaJson(step, step.parts), dmaJson(step, actual)]);
  }

  #sendMessage(step: MessageSent, text: string): void {
    this.#request = step.line;
    const actual = sendMessage(this.#machine, step, this.#sink(step.line));
    this.#compare(sameMessage(step, actual, this.#machine.config === undefined ? "intel" : "amd"), step.line, step.op, text, step.line, () => [expectedMessageJson(step), outcomeJson(actual)]);
  }

  #compareMessage({ line, op, message }: IommuMessage, text: string): void {
    const actual: TracedMessage | undefined = this.#machine.messages.shift();
    const same = actual?.data === message.data && actual.address.low === message.address.low && actual.address.high === message.address.high;
    this.#compare(same, line, op, text, this.#request, () => [messageJson(message), actual === undefined ? null : messageJson(actual)]);
  }

  #compare(same: boolean, line: number, op: string, text: string, request: number | undefined, shown: () => readonly [Json, Json]): void {
    this.compared++;
    if (same) return;
    const [expected, actual] = shown();
    this.mismatches.push({ line, op, expected, actual, text, request });
  }

  #sink(line: number): { step: (step: ExplanationStep) => void } | undefined {
    if (!this.#explain.has(line)) return undefined;
    const steps: ExplanationStep[] = [];
    this.explanations.set(line, steps);
    return { step: (step) => void steps.push(step) };
  }
}

/**
 * Replays a recorded machine trace on the model: does what acts, compares what observes.
 * @param lines the file's lines in order, or its whole text
 * @throws TraceError for the first line that is no step
 */
export const replayWith = async (machines: Machines, lines: string | Iterable<string> | AsyncIterable<string>, { caches = "realistic", explain = new Set() }: ReplayOptions = {}): Promise<ReplayReport> => {
  let replay: Replay | undefined;
  let line = 0;
  let vendor: TraceHeader["iommu"] = "intel";
  for await (const text of typeof lines === "string" ? lines.split("\n") : lines) {
    line++;
    if (text.trim() === "") continue;
    if (replay === undefined) {
      const header = parseHeader(text, line);
      vendor = header.iommu;
      const build = machines[header.iommu];
      if (build === undefined) throw new TraceError(line, `machine: traces of "${header.iommu}" machines cannot be replayed yet`);
      replay = new Replay(build(header, { caches }), explain);
    } else replay.step(parseStep(text, line, vendor), text);
  }
  if (replay === undefined) throw new TraceError(1, "the trace is empty");
  replay.finish();
  const { compared, skipped, skippedByMark, mismatches, explanations } = replay;
  return { compared, skipped, skippedByMark, mismatches, explanations };
};

/** Lines of the requests that explain what went wrong, for `ReplayOptions.explain` of a second replay: explaining is not free, and the first goes the fast way. */
export const requestsBehind = (mismatches: readonly Mismatch[]): Set<number> => new Set(mismatches.flatMap(({ request }) => request ?? []));
