import { hex, hexBytes, type Observer, type Part, type Step } from "./machine.ts";
import { Qemu } from "./qemu.ts";
import { DEVICES, DMA_BUDGET, RAM, type Action, type Program } from "./program.ts";
import { Random } from "./random.ts";

/** A page that no program uses, for moving bytes into and out of the devices' buffers before and after it. */
const SCRATCH = 0x20_0000;

const PAGE = 4096n;

/** Requests never cross 4 KiB. */
const partsOf = (iova: bigint, len: number): Part[] => {
  const parts: Part[] = [];
  for (let at = iova; at < iova + BigInt(len); ) {
    const end = (at / PAGE + 1n) * PAGE;
    const step = end < iova + BigInt(len) ? end - at : iova + BigInt(len) - at;
    parts.push({ iova: at, len: Number(step) });
    at += step;
  }
  return parts;
};

/** Runs one program on QEMU and writes down what it observes. */
class Recorder implements Observer {
  readonly steps: Step[] = [];
  readonly #qemu: Qemu;
  readonly #program: Program;
  /** How far each device's two half buffers are used: what it sends, what it received. */
  readonly #sent = new Map<string, number>();
  readonly #received = new Map<string, number>();
  readonly #staged = new Map<string, Uint8Array>();
  /** The unit's own interrupts since the last `irqs` step. */
  readonly #interrupts: Step[] = [];
  /** Reads whose bytes are still in a device. */
  readonly #kept: { readonly bdf: string; readonly at: number; readonly len: number; readonly fill: (data: Uint8Array) => void }[] = [];

  constructor(qemu: Qemu, program: Program) {
    this.#qemu = qemu;
    this.#program = program;
  }

  async header(): Promise<Step> {
    const { family, seed, machine } = this.#program;
    return {
      op: "machine", trace: 1, iommu: machine.vendor, source: "qemu (scripts/fuzz-qemu.ts)", family, seed,
      ram: hex(0x1_8000_0000), ram_map: RAM.map((range) => range.map(hex)), ...(await machine.header(this.#qemu)),
      devices: DEVICES.map((bdf) => ({ bdf, kind: "edu" })),
    };
  }

  /** Fills each device's first half buffer while nothing is translated yet. */
  async stage(): Promise<void> {
    const random = new Random(this.#program.seed ^ 0x5eed);
    for (const bdf of DEVICES) {
      const data = random.bytes(DMA_BUDGET);
      this.#staged.set(bdf, data);
      await this.#qemu.writeMemory(SCRATCH, data);
      await this.#qemu.dma(bdf, "read", BigInt(SCRATCH), 0, DMA_BUDGET);
    }
    await this.#qemu.writeMemory(SCRATCH, new Uint8Array(DMA_BUDGET));
    this.#qemu.events();
  }

  /** Takes what the devices received out of them, with translation off, and puts it into the steps that received it. */
  async collect(): Promise<void> {
    await this.#program.machine.disable(this.#qemu);
    for (const bdf of new Set(this.#kept.map((kept) => kept.bdf))) {
      await this.#qemu.dma(bdf, "write", BigInt(SCRATCH), DMA_BUDGET, DMA_BUDGET);
      const buffer = await this.#qemu.readMemory(SCRATCH, DMA_BUDGET);
      for (const { at, len, fill } of this.#kept.filter((kept) => kept.bdf === bdf)) fill(buffer.subarray(at, at + len));
    }
  }

  async run(action: Action): Promise<void> {
    switch (action.op) {
      case "note":
        this.steps.push({ op: "note", text: action.text });
        return;
      case "mem_write":
        await this.#qemu.writeMemory(action.addr, action.data);
        this.steps.push({ op: "mem_write", addr: hex(action.addr), data: hexBytes(action.data) });
        return;
      case "mem_read":
        this.steps.push({ op: "mem_read", addr: hex(action.addr), len: action.len, data: hexBytes(await this.#qemu.readMemory(action.addr, action.len)) });
        return;
      case "reg_write":
        await this.writeRegister(action.off, action.size, action.value);
        return;
      case "reg_read":
        await this.readRegister(action.off, action.size, action.mask, action.why);
        return;
      case "msi":
        await this.#sendMessage(action);
        return;
      case "cfg_write":
        await this.#qemu.writeConfig(this.#unit(), action.off, action.value);
        this.steps.push({ op: "cfg_write", bdf: this.#unit(), off: hex(action.off), size: 4, value: hex(action.value) });
        return;
      case "cfg_read":
        this.steps.push({ op: "cfg_read", bdf: this.#unit(), off: hex(action.off), size: 4, value: hex(await this.#qemu.readConfig(this.#unit(), action.off)) });
        return;
      case "irqs":
        this.steps.push({ op: "irqs", out: this.#interrupts.splice(0) });
        return;
      case "later":
        for (const each of action.actions()) await this.run(each);
        return;
      case "observe":
        await action.observe(this);
        return;
      case "dma_read":
      case "dma_write":
        await this.#transfer(action);
    }
  }

  async writeRegister(off: number, size: 4 | 8, value: bigint): Promise<void> {
    await this.#qemu.writeRegister(off, size, value);
    this.steps.push({ op: "reg_write", off: hex(off), size, value: hex(value) });
    this.#ownMessages();
  }

  async readRegister(off: number, size: 4 | 8, mask?: bigint, why?: string): Promise<bigint> {
    const value = await this.#qemu.readRegister(off, size);
    this.steps.push({ op: "reg_read", off: hex(off), size, value: hex(value), ...(mask === undefined ? {} : { mask: hex(mask), why_mask: why }) });
    return value;
  }

  async #transfer({ op, bdf, iova, len }: Extract<Action, { op: "dma_read" | "dma_write" }>): Promise<void> {
    const used = op === "dma_read" ? this.#received : this.#sent;
    const at = used.get(bdf) ?? 0;
    if (at + len > DMA_BUDGET) throw new Error(`${bdf} moves more than ${DMA_BUDGET} bytes.`);
    used.set(bdf, at + len);
    await this.#qemu.dma(bdf, op === "dma_read" ? "read" : "write", iova, op === "dma_read" ? DMA_BUDGET + at : at, len);
    const events = this.#qemu.events();
    const parts = partsOf(iova, len);
    const { passed, diagnosis } = this.#program.machine.transferred(events, parts);
    const outcomes = parts.map((part, i) => ({ part, ok: passed[i] === true, from: at + Number(part.iova - iova) }));
    const step: Step = { op, bdf, iova: hex(iova), ...(op === "dma_read" ? { len } : { data: hexBytes((this.#staged.get(bdf) ?? new Uint8Array()).subarray(at, at + len)) }) };
    const places: Step[] = outcomes.length === 1 ? [step] : outcomes.map(({ part }) => ({ iova: hex(part.iova), len: part.len }));
    if (outcomes.length > 1) step.parts = places;
    for (const [i, { part, ok, from }] of outcomes.entries()) {
      const place = places[i] ?? {};
      if (op === "dma_write") place.ok = ok;
      else {
        place.data = null;
        if (ok) this.#kept.push({ bdf, at: from, len: part.len, fill: (data) => { place.data = hexBytes(data); } });
      }
    }
    Object.assign(step, diagnosis);
    this.steps.push(step);
    this.#ownMessages(events);
  }

  async #sendMessage({ bdf, addr, data }: Extract<Action, { op: "msi" }>): Promise<void> {
    this.#qemu.events();
    await this.#qemu.message(bdf, addr, data);
    const events = this.#qemu.events();
    const out = this.#program.machine.message(events);
    this.steps.push({ op: "msi", bdf, addr: hex(addr), data: hex(data), out: out && { addr: hex(out.addr), data: hex(out.data) } });
    this.#ownMessages(events);
  }

  #ownMessages(events = this.#qemu.events()): void {
    const { machine } = this.#program;
    (machine.vendor === "intel" ? this.steps : this.#interrupts).push(...machine.ownMessages(events));
  }

  #unit(): string {
    const { bdf } = this.#program.machine;
    if (bdf === undefined) throw new Error("This unit has no configuration space.");
    return bdf;
  }
}

/**
 * Runs a program on a fresh QEMU.
 * @returns the trace, line by line
 * @throws QemuFailure when QEMU ends or hangs
 */
export const record = async (program: Program): Promise<string[]> => {
  const qemu = await Qemu.start(program.machine);
  try {
    const recorder = new Recorder(qemu, program);
    const header = await recorder.header();
    await recorder.stage();
    for (const { actions } of program.blocks) for (const action of actions) await recorder.run(action);
    await recorder.collect();
    return [header, ...recorder.steps].map((step) => JSON.stringify(step));
  } finally {
    qemu.stop();
  }
};

