import { hex, type Machine, type Part, type Step, type TransferOutcome } from "../machine.ts";
import type { Qemu, QemuEvent } from "../qemu.ts";

/** DWORDs of the function's configuration space that a trace's first line has. */
const CONFIG_DWORDS = 28;
const RESET_REGISTERS: readonly number[] = [0x0, 0x8, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x1a0, 0x2000, 0x2008, 0x2010, 0x2018, 0x2020];
const CONTROL = 0x18;
/** An access that does not reach memory is made again, in pieces of at most this many bytes. */
const PIECE = 4n;

/** QEMU's `amd-iommu`. */
export class AmdMachine implements Machine {
  readonly vendor = "amd";
  readonly bdf = "00:01.0";
  readonly registers = 0xfed8_0000;
  readonly device = "amd-iommu,intremap=on";
  readonly events = ["amdvi_translation_result", "amdvi_page_fault", "amdvi_invalid_dte", "amdvi_get_pte_hwerror", "amdvi_mode_invalid", "amdvi_mem_ir_write_req", "amdvi_mem_ir_write", "apic_deliver_irq"];

  async header(qemu: Qemu): Promise<Step> {
    const reset: Step = {};
    for (const off of RESET_REGISTERS) reset[hex(off)] = { size: 8, value: hex(await qemu.readRegister(off, 8)) };
    const config: Step = {};
    for (let off = 0; off < 4 * CONFIG_DWORDS; off += 4) config[hex(off)] = hex(await qemu.readConfig(this.bdf, off));
    return { regs: { base: hex(this.registers), size: "0x4000" }, options: { device: this.device }, iommu_bdf: this.bdf, reset, config };
  }

  async disable(qemu: Qemu): Promise<void> {
    await qemu.writeRegister(CONTROL, 8, 0n);
  }

  /**
   * QEMU tells where each access was looked up, not whether it was allowed. One that reaches memory is looked up once
   * for each page; any other is cut into small pieces, each looked up by itself. Nothing is told when the unit is off.
   */
  transferred(events: readonly QemuEvent[], parts: readonly Part[]): TransferOutcome {
    const lookups = events.filter(({ name }) => name === "amdvi_translation_result").map(({ numbers }) => numbers.at(-2) ?? 0n);
    const end = parts.reduce((last, { iova, len }) => (iova + BigInt(len) > last ? iova + BigInt(len) : last), 0n);
    const passed = ({ iova, len }: Part): boolean => {
      if (lookups.length === 0) return true;
      const from = lookups.filter((at) => at <= iova).at(-1);
      const next = lookups.find((at) => at > iova) ?? end;
      if (from === undefined || BigInt(len) <= PIECE) throw new Error(`Nothing can be said of ${len} bytes at ${hex(iova)}.`);
      return next - iova > PIECE;
    };
    const why = [...new Set(events.map(({ name }) => name).filter((name) => name.startsWith("amdvi_") && name !== "amdvi_translation_result"))];
    return { passed: parts.map(passed), diagnosis: why.length > 0 ? { why } : {} };
  }

  message(events: readonly QemuEvent[]): ReturnType<Machine["message"]> {
    const written = events.find(({ name }) => name === "amdvi_mem_ir_write")?.numbers;
    return written === undefined ? null : { addr: written[0] ?? 0n, data: written[1] ?? 0n };
  }

  ownMessages(events: readonly QemuEvent[]): Step[] {
    // A device's message reaches the same bus.
    if (events.some(({ name }) => name === "amdvi_mem_ir_write_req")) return [];
    return events
      .filter(({ name }) => name === "apic_deliver_irq")
      .map(({ numbers }) => {
        const [dest, destMode, deliveryMode, vector, triggerMode] = numbers.map(Number);
        return { dest, dest_mode: destMode, delivery_mode: deliveryMode, vector, trigger_mode: triggerMode };
      });
  }
}
