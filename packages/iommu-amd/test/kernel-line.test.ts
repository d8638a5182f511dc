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
  test.each([
    ["a page table that cannot be read", [0x0001_0100, 0x4000_0005, 0x1000, 1], "[PAGE_TAB_HARDWARE_ERROR device=0000:01:00.0 pasid=0x10005 address=0x100001000 flags=0x0000]"],
    ["a request that the device may not send", [0x0100, 0x8000_0000, 0xfee0_0000, 0], "[INVALID_DEVICE_REQUEST device=0000:01:00.0 pasid=0x00000 address=0xfee00000 flags=0x0000]"],
    ["a page request that the device may not send", [0x1234_0100, 0x9012_0845, 0x2000, 0], "[INVALID_PPR_REQUEST device=0000:01:00.0 pasid=0x21234 address=0x2000 flags=0x0012 tag=0x045]"],
    ["a page that the reverse map table gives to somebody else", [0x0003_0100, 0xd080_0007, 0x3000, 0], "[RMP_PAGE_FAULT device=0000:01:00.0, vmg_tag=0x0007, gpa=0x3000, flags_rmp=0x0003, flags=0x0080]"],
    ["a reverse map table that cannot be read", [0x0100, 0xe001_0007, 0x3005, 0], "[RMP_HW_ERROR device=0000:01:00.0, vmg_tag=0x0007, spa=0x3000, flags=0x0001]"],
    ["an event that the kernel has no name for", [0, 0xa000_0000, 0, 1], "[UNKNOWN event[0]=0x00000000 event[1]=0xa0000000 event[2]=0x00000000 event[3]=0x00000001"],
  ])("6.1, %s", (_, event, line) => {
    expect(kernelLine(event, "6.1")).toBe(`AMD-Vi: Event logged ${line}`);
    expect(kernelLine(event, "5.10")).toBeUndefined();
    expect(decodeKernelLog(kernelLine(event, "6.1") ?? "")).toMatchObject({ structures: [{}], diagnoses: [] });
  });
  test("of the reverse map table is in the function's name where a driver has it", () => {
    expect(kernelLine([0x0100, 0xe001_0007, 0x3000, 0], "6.12", { driver: "nvme" })).toBe("nvme 0000:01:00.0: AMD-Vi: Event logged [RMP_HW_ERROR vmg_tag=0x0007, spa=0x3000, flags=0x0001]");
  });
  test("is not known of every event on older kernels", () => {
    expect(kernelLine(EVENT_COUNTER_ZERO.encode({ EventCode: 10 }), "5.10")).toBeUndefined();
    expect(kernelLine([0, 0, 0, 0], "4.19")).toBeUndefined();
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
