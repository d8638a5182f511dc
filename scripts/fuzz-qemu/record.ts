import { Qemu } from "./qemu.ts";
import { DEVICES, DMA_BUDGET, RAM, type Action, type Configuration, type Program } from "./program.ts";
import { Random } from "./random.ts";

/** A page that no program uses, for moving bytes into and out of the devices' buffers before and after it. */
const SCRATCH = 0x20_0000;

const PAGE = 4096n;
const GSTS = 0x1c;
const GCMD = 0x18;
const FSTS = 0x34;
const TE = 0x8000_0000n;
/** One-shot bits of GSTS that must not go back into GCMD. VT-d §11.4.4 "Global Command Register". */
const LEVELS = 0x0680_0000n;

type Step = Record<string, unknown>;
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const bytes = (data: Uint8Array): string => Buffer.from(data).toString("hex");

interface Part {
  readonly iova: bigint;
  readonly len: number;
}

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

/** QEMU 7.2 leaves FFFFh in the PASID field of records without a PASID; in scalable mode its reason codes are those of legacy mode, and RID_PASID shows as a PASID. */
const recordMask = ({ scalable }: Configuration): { readonly mask: bigint; readonly why: string } =>
  scalable ? { mask: 0xf000_0000_7fff_ffffn, why: "QEMU reports legacy-mode reason codes here; scalable mode has its own; and RID_PASID" } : { mask: 0xf000_00ff_ffff_ffffn, why: "the PASID of a record without one is not compared" };

/** Runs one program on QEMU and writes down what it observes. */
class Recorder {
  readonly steps: Step[] = [];
  readonly #qemu: Qemu;
  readonly #program: Program;
  /** How far each device's two half buffers are used: what it sends, what it received. */
  readonly #sent = new Map<string, number>();
  readonly #received = new Map<string, number>();
  readonly #staged = new Map<string, Uint8Array>();
  /** Reads whose bytes are still in a device. */
  readonly #kept: { readonly bdf: string; readonly at: number; readonly len: number; readonly fill: (data: Uint8Array) => void }[] = [];

  constructor(qemu: Qemu, program: Program) {
    this.#qemu = qemu;
    this.#program = program;
  }

  async header(): Promise<Step> {
    const { family, seed, configuration } = this.#program;
    const { aw, scalable, snoopControl, cachingMode, eim } = configuration;
    const register = async (off: number, size: 4 | 8): Promise<Step> => ({ size, value: hex(await this.#qemu.readRegister(off, size)) });
    return {
      op: "machine", trace: 1, iommu: "intel", source: "qemu (scripts/fuzz-qemu.ts)", family, seed,
      ram: hex(0x1_8000_0000), ram_map: RAM.map((range) => range.map(hex)), regs: { base: "0xfed90000", size: "0x230" }, qemu_options: this.#qemu.options,
      options: { aw_bits: aw, haw: aw, mgaw: aw, scalable, first_stage: false, caching_mode: cachingMode, snoop_control: snoopControl, device_iotlb: false, intremap: true, eim, pass_through: true, nfr: 1, mamv: 18, superpages: [2, 3], fault_collapse: true, draining: true, rid_pasid: scalable, ir_faults: false, intr_output_check: false },
      reset: { "0x8": await register(0x8, 8), "0x10": await register(0x10, 8), "0x0": await register(0, 4), "0x38": await register(0x38, 4), "0xa0": await register(0xa0, 4) },
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
    await this.#qemu.writeRegister(GCMD, 4, (await this.#qemu.readRegister(GSTS, 4)) & LEVELS);
    if (((await this.#qemu.readRegister(GSTS, 4)) & TE) !== 0n) throw new Error("Translation cannot be switched off to take out what was read.");
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
        this.steps.push({ op: "mem_write", addr: hex(action.addr), data: bytes(action.data) });
        return;
      case "mem_read":
        this.steps.push({ op: "mem_read", addr: hex(action.addr), len: action.len, data: bytes(await this.#qemu.readMemory(action.addr, action.len)) });
        return;
      case "reg_write":
        await this.#writeRegister(action.off, action.size, action.value);
        return;
      case "reg_read":
        await this.#readRegister(action.off, action.size, action.mask, action.why);
        return;
      case "msi":
        await this.#sendMessage(action);
        return;
      case "check_faults":
        await this.#checkFaults(action.clear);
        return;
      case "dma_read":
      case "dma_write":
        await this.#transfer(action);
    }
  }

  async #writeRegister(off: number, size: 4 | 8, value: bigint): Promise<void> {
    await this.#qemu.writeRegister(off, size, value);
    this.steps.push({ op: "reg_write", off: hex(off), size, value: hex(value) });
    this.#ownMessages();
  }

  async #readRegister(off: number, size: 4 | 8, mask?: bigint, why?: string): Promise<bigint> {
    const value = await this.#qemu.readRegister(off, size);
    this.steps.push({ op: "reg_read", off: hex(off), size, value: hex(value), ...(mask === undefined ? {} : { mask: hex(mask), why_mask: why }) });
    return value;
  }

  async #checkFaults(clear: boolean): Promise<void> {
    const status = await this.#readRegister(FSTS, 4);
    if ((status & 2n) !== 0n) {
      const { mask, why } = recordMask(this.#program.configuration);
      await this.#readRegister(0x220, 8, (1n << BigInt(this.#program.configuration.aw)) - 1n, "bits above MGAW are reserved in FI; QEMU keeps them");
      await this.#readRegister(0x228, 8, mask, why);
    }
    if (!clear) return;
    // Both, in this order: QEMU keeps FECTL.IP until FSTS is written.
    if ((status & 2n) !== 0n) await this.#writeRegister(0x228, 8, 1n << 63n);
    await this.#writeRegister(FSTS, 4, 0x1n);
    await this.#readRegister(FSTS, 4);
  }

  async #transfer({ op, bdf, iova, len }: Extract<Action, { op: "dma_read" | "dma_write" }>): Promise<void> {
    const used = op === "dma_read" ? this.#received : this.#sent;
    const at = used.get(bdf) ?? 0;
    if (at + len > DMA_BUDGET) throw new Error(`${bdf} moves more than ${DMA_BUDGET} bytes.`);
    used.set(bdf, at + len);
    await this.#qemu.dma(bdf, op === "dma_read" ? "read" : "write", iova, op === "dma_read" ? DMA_BUDGET + at : at, len);
    const events = this.#qemu.events();
    const pages = (name: string, index: number): bigint[] => events.filter((event) => event.name === name).map(({ numbers }) => (numbers[index] ?? 0n) / PAGE);
    const faulted = new Set(pages("vtd_dmar_fault", 2));
    const silenced = events.some(({ name }) => name === "vtd_fault_disabled");
    const translated = events.filter(({ name }) => name === "vtd_dmar_translate").map(({ numbers }) => ({ start: (numbers.at(-3) ?? 0n) & ~(numbers.at(-1) ?? 0n), end: (numbers.at(-3) ?? 0n) | (numbers.at(-1) ?? 0n) }));
    // QEMU tells each translation and each fault; a request of which it tells nothing was not translated at all, and passed.
    const passed = ({ iova: from }: Part): boolean => !faulted.has(from / PAGE) && (!silenced || translated.some(({ start, end }) => start <= from && from <= end));
    const outcomes = partsOf(iova, len).map((part) => ({ part, ok: passed(part), from: at + Number(part.iova - iova) }));
    const step: Step = { op, bdf, iova: hex(iova), ...(op === "dma_read" ? { len } : { data: bytes((this.#staged.get(bdf) ?? new Uint8Array()).subarray(at, at + len)) }) };
    const places: Step[] = outcomes.length === 1 ? [step] : outcomes.map(({ part }) => ({ iova: hex(part.iova), len: part.len }));
    if (outcomes.length > 1) step.parts = places;
    for (const [i, { part, ok, from }] of outcomes.entries()) {
      const place = places[i] ?? {};
      if (op === "dma_write") place.ok = ok;
      else {
        place.data = null;
        if (ok) this.#kept.push({ bdf, at: from, len: part.len, fill: (data) => { place.data = bytes(data); } });
      }
    }
    const cond = events.filter(({ name }) => name === "vtd_dmar_fault").map(({ numbers }) => ({ reason: Number(numbers[1]), iova: hex(((numbers[2] ?? 0n) / PAGE) * PAGE) }));
    if (cond.length > 0) step.cond = [...new Map(cond.map((each) => [`${each.reason} ${each.iova}`, each])).values()];
    if (silenced) step.suppressed = true;
    this.steps.push(step);
    this.#ownMessages(events);
  }

  async #sendMessage({ bdf, addr, data }: Extract<Action, { op: "msi" }>): Promise<void> {
    this.#qemu.events();
    await this.#qemu.message(bdf, addr, data);
    const events = this.#qemu.events();
    const passed = events.find(({ name }) => name === "vtd_ir_remap_msi")?.numbers;
    this.steps.push({ op: "msi", bdf, addr: hex(addr), data: hex(data), out: passed === undefined ? null : { addr: hex(passed[2] ?? 0n), data: hex(passed[3] ?? 0n) } });
    this.#ownMessages(events);
  }

  #ownMessages(events = this.#qemu.events()): void {
    for (const { name, numbers } of events) if (name === "vtd_irq_generate") this.steps.push({ op: "iommu_msi", addr: hex(numbers[0] ?? 0n), data: hex(numbers[1] ?? 0n) });
  }
}

/**
 * Runs a program on a fresh QEMU.
 * @returns the trace, line by line
 * @throws QemuFailure when QEMU ends or hangs
 */
export const record = async (program: Program): Promise<string[]> => {
  const qemu = await Qemu.start(program.configuration);
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

