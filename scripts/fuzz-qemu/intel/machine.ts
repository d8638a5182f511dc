import { hex, type Machine, type Part, type Step, type TransferOutcome } from "../machine.ts";
import type { Qemu, QemuEvent } from "../qemu.ts";
import { optionsOf, type Configuration } from "./configuration.ts";

const PAGE = 4096n;
const GSTS = 0x1c;
const GCMD = 0x18;
const TE = 0x8000_0000n;
/** One-shot bits of GSTS that must not go back into GCMD. VT-d §11.4.4 "Global Command Register". */
const LEVELS = 0x0680_0000n;

/** QEMU's `intel-iommu`. */
export class IntelMachine implements Machine {
  readonly vendor = "intel";
  readonly registers = 0xfed9_0000;
  readonly events = ["vtd_irq_generate", "vtd_dmar_fault", "vtd_fault_disabled", "vtd_dmar_translate", "vtd_ir_remap_msi"];
  readonly device: string;
  readonly #configuration: Configuration;

  constructor(configuration: Configuration) {
    this.#configuration = configuration;
    this.device = `intel-iommu,${optionsOf(configuration)}`;
  }

  async header(qemu: Qemu): Promise<Step> {
    const { aw, scalable, snoopControl, cachingMode, eim } = this.#configuration;
    const register = async (off: number, size: 4 | 8): Promise<Step> => ({ size, value: hex(await qemu.readRegister(off, size)) });
    return {
      regs: { base: hex(this.registers), size: "0x230" }, qemu_options: optionsOf(this.#configuration),
      options: { aw_bits: aw, haw: aw, mgaw: aw, scalable, first_stage: false, caching_mode: cachingMode, snoop_control: snoopControl, device_iotlb: false, intremap: true, eim, pass_through: true, nfr: 1, mamv: 18, superpages: [2, 3], fault_collapse: true, draining: true, rid_pasid: scalable, ir_faults: false, intr_output_check: false },
      reset: { "0x8": await register(0x8, 8), "0x10": await register(0x10, 8), "0x0": await register(0, 4), "0x38": await register(0x38, 4), "0xa0": await register(0xa0, 4) },
    };
  }

  async disable(qemu: Qemu): Promise<void> {
    await qemu.writeRegister(GCMD, 4, (await qemu.readRegister(GSTS, 4)) & LEVELS);
    if (((await qemu.readRegister(GSTS, 4)) & TE) !== 0n) throw new Error("Translation cannot be switched off to take out what was read.");
  }

  transferred(events: readonly QemuEvent[], parts: readonly Part[]): TransferOutcome {
    const faults = events.filter(({ name }) => name === "vtd_dmar_fault").map(({ numbers }) => ({ reason: Number(numbers[1]), page: (numbers[2] ?? 0n) / PAGE }));
    const faulted = new Set(faults.map(({ page }) => page));
    const silenced = events.some(({ name }) => name === "vtd_fault_disabled");
    const translated = events.filter(({ name }) => name === "vtd_dmar_translate").map(({ numbers }) => ({ start: (numbers.at(-3) ?? 0n) & ~(numbers.at(-1) ?? 0n), end: (numbers.at(-3) ?? 0n) | (numbers.at(-1) ?? 0n) }));
    const cond = [...new Map(faults.map(({ reason, page }) => [`${reason} ${page}`, { reason, iova: hex(page * PAGE) }])).values()];
    return {
      // QEMU tells each translation and each fault; a request of which it tells nothing was not translated at all, and passed.
      passed: parts.map(({ iova }) => !faulted.has(iova / PAGE) && (!silenced || translated.some(({ start, end }) => start <= iova && iova <= end))),
      diagnosis: { ...(cond.length > 0 ? { cond } : {}), ...(silenced ? { suppressed: true } : {}) },
    };
  }

  message(events: readonly QemuEvent[]): ReturnType<Machine["message"]> {
    const passed = events.find(({ name }) => name === "vtd_ir_remap_msi")?.numbers;
    return passed === undefined ? null : { addr: passed[2] ?? 0n, data: passed[3] ?? 0n };
  }

  ownMessages(events: readonly QemuEvent[]): Step[] {
    return events.filter(({ name }) => name === "vtd_irq_generate").map(({ numbers }) => ({ op: "iommu_msi", addr: hex(numbers[0] ?? 0n), data: hex(numbers[1] ?? 0n) }));
  }
}
