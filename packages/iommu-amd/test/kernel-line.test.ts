import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeKernelLog, kernelLine, KERNELS } from "../src/decode/index.ts";
import { COMMAND_HARDWARE_ERROR, DEV_TAB_HARDWARE_ERROR, EVENT_COUNTER_ZERO, ILLEGAL_COMMAND_ERROR, ILLEGAL_DEV_TABLE_ENTRY, IO_PAGE_FAULT, IOTLB_INV_TIMEOUT } from "../src/layouts/index.ts";

const FAULT = IO_PAGE_FAULT.encode({ EventCode: 2, DeviceID: 0x0100, DomainIDorPASID: 0x11, PR: 1, RW: 1, AddressLow: 0xfffc_0000 });

describe("the kernel's line about an event", () => {
  test.each([
    ["3.10", "AMD-Vi: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0011 address=0x00000000fffc0000 flags=0x0030]"],
    ["5.10", "AMD-Vi: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0011 address=0xfffc0000 flags=0x0030]"],
    ["6.1", "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:01:00.0 domain=0x0011 address=0xfffc0000 flags=0x0030]"],
  ] as const)("%s", (kernel, line) => {
    expect(kernelLine(FAULT, kernel)).toBe(line);
  });
  test("is in the function's name where a driver has it", () => {
    expect(kernelLine(FAULT, "6.12", { driver: "nvme" })).toBe("nvme 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0011 address=0xfffc0000 flags=0x0030]");
  });
  test("is not known of every event", () => {
    expect(kernelLine(EVENT_COUNTER_ZERO.encode({ EventCode: 10 }), "6.1")).toBeUndefined();
    expect(kernelLine([0, 0, 0, 0], "6.1")).toBeUndefined();
  });
  test("is read back by the decoder, whatever the event and the kernel", () => {
    const events = fc.constantFrom([ILLEGAL_DEV_TABLE_ENTRY, 1], [IO_PAGE_FAULT, 2], [DEV_TAB_HARDWARE_ERROR, 3], [ILLEGAL_COMMAND_ERROR, 5], [COMMAND_HARDWARE_ERROR, 6], [IOTLB_INV_TIMEOUT, 7]);
    fc.assert(
      fc.property(events, fc.nat(0xffff), fc.nat(2 ** 31 - 1), fc.nat(2 ** 31 - 1), fc.constantFrom(...KERNELS), fc.constantFrom(undefined, "vfio-pci"), ([layout, code], device, low, high, kernel, driver) => {
        const words = [device, (code as number) * 2 ** 28 + 5, low, high];
        const line = kernelLine(words, kernel, driver === undefined ? {} : { driver });
        const { structures, diagnoses } = decodeKernelLog(line ?? "");
        expect(diagnoses).toEqual([]);
        expect(structures).toMatchObject([{ name: (layout as typeof IO_PAGE_FAULT).name, facts: { address: (BigInt(high) << 32n) + BigInt(low), flags: code === 5 || code === 7 ? null : 0 } }]);
      }),
    );
  });
});
