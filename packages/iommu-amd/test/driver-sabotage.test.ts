/** The contract must notice a driver that forgets an invalidation: here its commands are lost on their way. */
import type { FlatMemory, MmioHandler } from "@iommu-lab/memory";
import { firstViolation, iommuDriverContract } from "@iommu-lab/pci-bus/testing";
import { describe, expect, test } from "vitest";
import { CMD_BASE, CMD_TAIL, CommandCode } from "../src/layouts/index.ts";
import { createAmdRig, profileNamed } from "./driver-rig.ts";

const cases = iommuDriverContract({ seeds: [1], steps: 200 });

const COMMAND_BYTES = 16;
const BUFFER_BYTES = 4096; // the driver's

/** Turns commands of one opcode into waits that do nothing, before hardware is told of them. */
const without = (opcode: number) => (registers: MmioHandler, memory: FlatMemory): MmioHandler => {
  let done = 0;
  const base = new Uint32Array(2);
  return {
    read: (offset, size) => registers.read(offset, size),
    read64: (offset, into) => { registers.read64(offset, into); },
    write: (offset, size, value) => { registers.write(offset, size, value); },
    write64: (offset, low, high) => {
      if (offset === CMD_BASE.offset) done = 0;
      if (offset === CMD_TAIL.offset) {
        registers.read64(CMD_BASE.offset, base);
        for (; done !== low; done = (done + COMMAND_BYTES) % BUFFER_BYTES) {
          const at = (base[0]! & ~0xfff) + done;
          if (memory.read32(at + 4) >>> 28 !== opcode) continue;
          for (let i = 0; i < COMMAND_BYTES; i += 4) memory.write32(at + i, i === 4 ? CommandCode.CompletionWait << 28 : 0);
        }
      }
      registers.write64(offset, low, high);
    },
  };
};

describe("a driver that forgets invalidations breaks the contract", () => {
  test.each([
    { forgets: "device table entry", opcode: CommandCode.InvalidateDeviceEntry, profile: "host tables" },
    { forgets: "pages", opcode: CommandCode.InvalidatePages, profile: "host tables" },
    { forgets: "pages of guest tables", opcode: CommandCode.InvalidatePages, profile: "guest tables" },
    { forgets: "device-TLB", opcode: CommandCode.InvalidateIotlb, profile: "host tables" },
    { forgets: "device-TLB, with PASIDs", opcode: CommandCode.InvalidateIotlb, profile: "guest tables" },
    { forgets: "interrupt table", opcode: CommandCode.InvalidateInterruptTable, profile: "host tables" },
    { forgets: "page response", opcode: CommandCode.CompletePpr, profile: "host tables" },
  ])("$forgets ($profile)", ({ opcode, profile }) => {
    expect(firstViolation(cases, () => createAmdRig(profileNamed(profile), { between: without(opcode) }))).toBeDefined();
  });
  test("what passes everything through breaks nothing", () => {
    expect(firstViolation(cases, () => createAmdRig(profileNamed("guest tables"), { between: without(15) }))).toBeUndefined();
  });
});
