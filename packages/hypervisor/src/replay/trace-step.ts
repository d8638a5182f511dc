import { PHYSICAL_LIMIT } from "@iommu-lab/memory";
import { NO_PASID, type RequesterId } from "@iommu-lab/pci-bus";
import { TraceError, TraceFields, type Word64 } from "./trace-fields.ts";
import type { TraceHeader } from "./trace-header.ts";

/** A message as it goes over the bus. */
export interface TracedMessage {
  readonly address: Word64;
  /** 32 bits. */
  readonly data: number;
}

/** An interrupt as the trace's reader of local APICs saw it. */
export interface TracedInterrupt {
  readonly dest: number;
  /** 0 physical, 1 logical. */
  readonly dest_mode: number;
  readonly delivery_mode: number;
  readonly vector: number;
  /** 0 edge, 1 level. */
  readonly trigger_mode: number;
  readonly redir_hint: number;
}

/** One part of a transfer, as the trace lists it. */
export interface DmaPart {
  readonly iova: Word64;
  readonly length: number;
  /** Read: what arrived, null when aborted. Write: what is sent. */
  readonly data: Uint8Array | null;
  /** Write: whether it went through. Read: whether there is data. */
  readonly ok: boolean;
}

interface Placed {
  /** Line in the file, from 1. */
  readonly line: number;
}

interface MemoryWrite extends Placed {
  readonly op: "mem_write";
  readonly address: number;
  readonly data: Uint8Array;
}
interface MemoryFill extends Placed {
  readonly op: "mem_fill";
  readonly address: number;
  readonly length: number;
  /** Repeated to `length` bytes. */
  readonly data: Uint8Array;
}
export interface MemoryRead extends Placed {
  readonly op: "mem_read";
  readonly address: number;
  readonly data: Uint8Array;
}
interface RegisterWrite extends Placed {
  readonly op: "reg_write";
  readonly offset: number;
  /** 2 in traces of AMD machines only. */
  readonly size: 2 | 4 | 8;
  readonly value: Word64;
}
export interface RegisterRead extends Placed {
  readonly op: "reg_read";
  readonly offset: number;
  readonly size: 2 | 4 | 8;
  readonly value: Word64;
  /** Only these bits are compared. */
  readonly mask: Word64;
}
export interface DmaTransfer extends Placed {
  readonly op: "dma_read" | "dma_write";
  readonly requester: RequesterId;
  /** 20 bits, or `NO_PASID`. */
  readonly pasid: number;
  readonly privileged: boolean;
  readonly execute: boolean;
  /** One, unless the trace lists the pieces of a transfer across a 4 KiB boundary. */
  readonly parts: readonly DmaPart[];
  readonly listed: boolean;
}
export interface MessageSent extends Placed {
  readonly op: "msi";
  readonly requester: RequesterId;
  readonly address: Word64;
  readonly data: number;
  /** What left the remapper; null: blocked. */
  readonly out: TracedMessage | null;
  readonly irq: TracedInterrupt | undefined;
}
export interface IommuMessage extends Placed {
  readonly op: "iommu_msi";
  readonly message: TracedMessage;
}
/** An access to the IOMMU's configuration space. */
interface ConfigWrite extends Placed {
  readonly op: "cfg_write";
  readonly offset: number;
  readonly size: 1 | 2 | 4;
  readonly value: number;
}
export interface ConfigRead extends Placed {
  readonly op: "cfg_read";
  readonly offset: number;
  readonly size: 1 | 2 | 4;
  readonly value: number;
}
/** The IOMMU's own interrupts since the last such step. */
export interface IommuInterrupts extends Placed {
  readonly op: "irqs";
  readonly interrupts: readonly Omit<TracedInterrupt, "redir_hint">[];
}
/** Nothing to do: a note, or a step marked `impl`. */
interface Passed extends Placed {
  readonly op: "passed";
  /** The op that is marked; undefined for a note. */
  readonly marked: string | undefined;
  /** Its mark: why the architecture does not determine the step. */
  readonly mark: string;
  /** The marked op observes something. */
  readonly observing: boolean;
}

/** One step of a trace. */
export type TraceStep = MemoryWrite | MemoryFill | MemoryRead | RegisterWrite | RegisterRead | DmaTransfer | MessageSent | IommuMessage | ConfigWrite | ConfigRead | IommuInterrupts | Passed;

const OBSERVING: ReadonlySet<string> = new Set(["mem_read", "reg_read", "dma_read", "dma_write", "msi", "iommu_msi", "cfg_read", "irqs"]);
const ACTING: ReadonlySet<string> = new Set(["mem_write", "mem_fill", "reg_write", "cfg_write"]);
/** Ops that only traces of AMD machines have. */
const AMD_ONLY: ReadonlySet<string> = new Set(["cfg_read", "cfg_write", "irqs"]);

/** Most bytes of one access by the CPU or a device. */
const LENGTH_LIMIT = 2 ** 24;
const FILL_LIMIT = 2 ** 40;
const U32 = 0xffff_ffff;
const ALL: Word64 = { low: U32, high: U32 };

const sizeOf = (fields: TraceFields, vendor: TraceHeader["iommu"]): 2 | 4 | 8 => {
  const size = fields.integer("size", 8);
  if (size === 2 && vendor === "amd") return size;
  return size === 4 || size === 8 ? size : fields.fail(`"size" is ${size}; registers are accessed by 4 or 8 bytes`);
};

const configSize = (fields: TraceFields): 1 | 2 | 4 => {
  const size = fields.integer("size", 8);
  return size === 1 || size === 2 || size === 4 ? size : fields.fail(`"size" is ${size}; configuration space is accessed by 1, 2 or 4 bytes`);
};

const configAccess = (op: "cfg_read" | "cfg_write", fields: TraceFields): ConfigRead | ConfigWrite => {
  const size = configSize(fields);
  return { op, line: fields.line, offset: fields.integer("off", 0xfff), size, value: fields.integer("value", 2 ** (8 * size) - 1) };
};

const iommuInterrupts = (fields: TraceFields): IommuInterrupts => ({
  op: "irqs",
  line: fields.line,
  interrupts: fields.records("out").map((irq) => ({ dest: irq.integer("dest", U32), dest_mode: irq.integer("dest_mode", 1), delivery_mode: irq.integer("delivery_mode", 7), vector: irq.integer("vector", 255), trigger_mode: irq.integer("trigger_mode", 1) })),
});

const registerValue = (fields: TraceFields, key: string, size: 2 | 4 | 8): Word64 => {
  const value = fields.word64(key);
  if (size === 2 && (value.high !== 0 || value.low > 0xffff)) return fields.fail(`"${key}" has more than 16 bits in a 2-byte access`);
  return size === 8 || value.high === 0 ? value : fields.fail(`"${key}" has more than 32 bits in a 4-byte access`);
};

const memoryRead = (fields: TraceFields): MemoryRead => {
  const data = fields.bytes("data");
  if (fields.integer("len", LENGTH_LIMIT) !== data.length) return fields.fail(`"len" and the ${data.length} bytes of "data" disagree`);
  return { op: "mem_read", line: fields.line, address: fields.integer("addr", PHYSICAL_LIMIT), data };
};

const memoryFill = (fields: TraceFields): MemoryFill => {
  const data = fields.bytes("data");
  const length = fields.integer("len", FILL_LIMIT);
  if (data.length === 0 && length > 0) return fields.fail(`"data" is empty`);
  return { op: "mem_fill", line: fields.line, address: fields.integer("addr", PHYSICAL_LIMIT), length, data };
};

const readPart = (fields: TraceFields): DmaPart => {
  const length = fields.integer("len", LENGTH_LIMIT);
  const iova = fields.word64("iova");
  if (fields.raw("data") === null) return { iova, length, data: null, ok: false };
  const data = fields.bytes("data");
  if (data.length !== length) return fields.fail(`"len" and the ${data.length} bytes of "data" disagree`);
  return { iova, length, data, ok: true };
};

/** The parts of a transfer must be the transfer: one after the other, none left out. */
const checkParts = (fields: TraceFields, parts: readonly DmaPart[], length: number): void => {
  const start = fields.word64("iova");
  let done = 0;
  for (const { iova, length: step } of parts) {
    const low = start.low + done;
    if (iova.low !== low % 2 ** 32 || iova.high !== (start.high + Math.floor(low / 2 ** 32)) % 2 ** 32) return fields.fail(`"parts" do not follow each other`);
    done += step;
  }
  if (done !== length) fields.fail(`"parts" have ${done} bytes together, the transfer has ${length}`);
};

const dmaParts = (fields: TraceFields): readonly DmaPart[] => {
  const listed = fields.has("parts");
  if (fields.what === "dma_read") {
    if (!listed) return [readPart(fields)];
    const parts = fields.records("parts").map(readPart);
    checkParts(fields, parts, fields.integer("len", LENGTH_LIMIT));
    return parts;
  }
  const data = fields.bytes("data");
  if (!listed) return [{ iova: fields.word64("iova"), length: data.length, data, ok: fields.boolean("ok") }];
  let done = 0;
  const parts = fields.records("parts").map((part) => {
    const length = part.integer("len", LENGTH_LIMIT);
    done += length;
    return { iova: part.word64("iova"), length, data: data.subarray(done - length, done), ok: part.boolean("ok") };
  });
  checkParts(fields, parts, data.length);
  return parts;
};

const dmaTransfer = (op: "dma_read" | "dma_write", fields: TraceFields): DmaTransfer => ({
  op,
  line: fields.line,
  requester: fields.requester("bdf"),
  pasid: fields.has("pasid") && fields.raw("pasid") !== null ? fields.integer("pasid", 0xf_ffff) : NO_PASID,
  privileged: fields.flag("priv") ?? false,
  execute: fields.flag("exec") ?? false,
  parts: dmaParts(fields),
  listed: fields.has("parts"),
});

const message = (fields: TraceFields): TracedMessage => ({ address: fields.word64("addr"), data: fields.integer("data", U32) });

const messageSent = (fields: TraceFields): MessageSent => {
  if (!fields.has("out")) return fields.fail(`"out" is missing; it must be an object, or null where the interrupt was blocked`);
  const irq = fields.has("irq") && fields.raw("irq") !== null ? fields.record("irq") : undefined;
  return {
    op: "msi",
    line: fields.line,
    requester: fields.requester("bdf"),
    address: fields.word64("addr"),
    data: fields.integer("data", U32),
    out: fields.raw("out") === null ? null : message(fields.record("out")),
    irq: irq && { dest: irq.integer("dest", U32), dest_mode: irq.integer("dest_mode", 1), delivery_mode: irq.integer("delivery_mode", 7), vector: irq.integer("vector", 255), trigger_mode: irq.integer("trigger_mode", 1), redir_hint: irq.integer("redir_hint", 1) },
  };
};

/**
 * Reads one line after the first.
 * @param vendor whose trace it is: some ops and sizes are AMD's only
 * @throws TraceError when its op is unknown or a field is missing or impossible
 */
export const parseStep = (text: string, line: number, vendor: TraceHeader["iommu"] = "intel"): TraceStep => {
  const fields = TraceFields.ofLine(text, line);
  const op = fields.what;
  if (op === "note") return { op: "passed", line, marked: undefined, mark: "", observing: false };
  if ((!OBSERVING.has(op) && !ACTING.has(op)) || (AMD_ONLY.has(op) && vendor !== "amd")) throw new TraceError(line, `unknown op "${op}"`);
  if (fields.has("impl")) {
    return { op: "passed", line, marked: op, mark: fields.text("impl"), observing: OBSERVING.has(op) };
  }
  switch (op) {
    case "mem_write":
      return { op, line, address: fields.integer("addr", PHYSICAL_LIMIT), data: fields.bytes("data") };
    case "mem_fill":
      return memoryFill(fields);
    case "mem_read":
      return memoryRead(fields);
    case "reg_write": {
      const size = sizeOf(fields, vendor);
      return { op, line, offset: fields.integer("off", 2 ** 27), size, value: registerValue(fields, "value", size) };
    }
    case "reg_read": {
      const size = sizeOf(fields, vendor);
      return { op, line, offset: fields.integer("off", 2 ** 27), size, value: registerValue(fields, "value", size), mask: fields.has("mask") ? fields.word64("mask") : ALL };
    }
    case "msi":
      return messageSent(fields);
    case "iommu_msi":
      return { op, line, message: message(fields) };
    case "cfg_read":
    case "cfg_write":
      return configAccess(op, fields);
    case "irqs":
      return iommuInterrupts(fields);
    default:
      return dmaTransfer(op === "dma_read" ? "dma_read" : "dma_write", fields);
  }
};
