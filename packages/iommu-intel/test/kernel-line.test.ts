import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeKernelLog, kernelFaultOf, kernelLine, KERNELS } from "../src/decode/index.ts";
import { FAULT_REASONS, FAULT_RECORD } from "../src/layouts/index.ts";

const READ = kernelFaultOf(FAULT_RECORD.encode({ FI: 0xf_ffe0, SID: 0x0200, T1: 1, FR: 6, F: 1 }));

describe("the kernel's line about a fault", () => {
  test.each([
    ["3.10", "dmar: DMAR:[DMA Read] Request device [02:00.0] fault addr fffe0000 \nDMAR:[fault reason 06] PTE Read access is not set"],
    ["4.19", "DMAR: [DMA Read] Request device [02:00.0] fault addr fffe0000 [fault reason 06] PTE Read access is not set"],
    ["5.10", "DMAR: [DMA Read] Request device [02:00.0] PASID ffffffff fault addr fffe0000 [fault reason 06] PTE Read access is not set"],
    ["5.15", "DMAR: [DMA Read NO_PASID] Request device [02:00.0] fault addr 0xfffe0000 [fault reason 0x06] PTE Read access is not set"],
    ["6.12", "DMAR: [DMA Read NO_PASID] Request device [02:00.0] fault addr 0xfffe0000 [fault reason 0x06] PTE Read access is not set"],
  ] as const)("%s", (kernel, line) => {
    expect(kernelLine(READ, kernel)).toBe(line);
  });
  test("in scalable mode has words since 5.10, as Debian's 6.1 wrote it in a guest of ours", () => {
    const fault = kernelFaultOf(FAULT_RECORD.encode({ FI: 0x12_3456, SID: 0x40, FR: 0x79, F: 1 }));
    expect(kernelLine(fault, "6.1")).toBe("DMAR: [DMA Write NO_PASID] Request device [00:08.0] fault addr 0x123456000 [fault reason 0x79] SM: Read/Write permission error in second-level paging entry");
    expect(kernelLine(fault, "4.19")).toMatch(/\] Unknown$/);
    expect(kernelLine({ ...fault, reason: 0x88 }, "6.12")).toMatch(/\[fault reason 0x88\] Unknown$/);
  });
  test("of an interrupt has its index", () => {
    const fault = kernelFaultOf(FAULT_RECORD.encode({ FI: 0x22 * 2 ** 36, SID: 0xf0ff, FR: 0x26, F: 1 }));
    expect(fault).toEqual({ requester: 0xf0ff, access: "interrupt", address: 0x22n, pasid: null, reason: 0x26 });
    expect(kernelLine(fault, "6.1")).toBe("DMAR: [INTR-REMAP] Request device [f0:1f.7] fault index 0x22 [fault reason 0x26] Blocked an interrupt request due to source-id verification failure");
  });
  test("is read back by the decoder, whatever the fault and the kernel", () => {
    const records = fc.record({ FI: fc.nat(2 ** 31 - 1), SID: fc.nat(0xffff), T1: fc.nat(1), PP: fc.nat(1), PV: fc.nat(0xf_ffff), FR: fc.constantFrom(...Object.keys(FAULT_REASONS).map(Number)) });
    fc.assert(
      fc.property(records, fc.constantFrom(...KERNELS), (record, kernel) => {
        // A decimal reason of two digits is one of scalable mode's in hexadecimal as well: those kernels had no scalable mode.
        fc.pre(record.FR < 0x30 || kernel === "5.15" || kernel === "6.1" || kernel === "6.12");
        const fault = kernelFaultOf(FAULT_RECORD.encode({ F: 1, ...record }));
        const { structures, diagnoses } = decodeKernelLog(kernelLine(fault, kernel));
        const keepsPasid = fault.access !== "interrupt" && kernel !== "3.10" && kernel !== "4.19";
        expect(structures).toHaveLength(1);
        expect(diagnoses).toEqual([]);
        expect(structures[0]?.facts).toMatchObject({ access: fault.access, pasid: keepsPasid ? fault.pasid : null, reason: fault.reason, ...(fault.access === "interrupt" ? { interruptIndex: Number(fault.address) } : { address: fault.address }) });
      }),
    );
  });
});
