import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readFromSnapshot, skippedWithoutShared } from "../../../test/shared.ts";
import { decodeKernelLog, type Decoded } from "../src/decode/index.ts";

const facts = (decoded: Decoded): object[] => decoded.structures.map((s) => s.facts);
const ids = (decoded: Decoded): string[] => decoded.diagnoses.map(({ id }) => id);

const fault = (requester: string, driver: string | null, domain: number, address: bigint, flags: number): object => ({ requester, driver, domain, address, flags });

describe("events in kernel logs", () => {
  test.each<[string, string, object]>([
    ["6.x, a driver has the device", "[   12.3] nvme 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0011 address=0xfffc0000 flags=0x0020]", fault("0000:01:00.0", "nvme", 0x11, 0xfffc_0000n, 0x20)],
    ["6.x, journald", "Nov 21 10:00:00 host kernel: vfio-pci 0000:0d:00.4: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000e address=0x0 flags=0x0000]", fault("0000:0d:00.4", "vfio-pci", 0xe, 0n, 0)],
    ["5.19 on, with the segment", "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:01:00.0 domain=0x0011 address=0xfffc0000 flags=0x0070]", fault("0000:01:00.0", null, 0x11, 0xfffc_0000n, 0x70)],
    ["up to 5.18", "AMD-Vi: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0011 address=0x00000000fffc0000 flags=0x0010]", fault("01:00.0", null, 0x11, 0xfffc_0000n, 0x10)],
    ["2.6", "AMD IOMMU: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0011 address=0x00000000fffc0000 flags=0x0010]", fault("01:00.0", null, 0x11, 0xfffc_0000n, 0x10)],
    ["behind the IOMMU's own name", "iommu ivhd0: AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:01:00.0 domain=0x0011 address=0xfffffffdf8000000 flags=0x0008]", { ...fault("0000:01:00.0", null, 0x11, 0xffff_fffd_f800_0000n, 8), request: "interrupt" }],
    ["a domain of five digits", "pci 10000:e1:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0011 address=0x1000 flags=0x0020]", { requester: "10000:e1:00.0", driver: "pci" }],
  ])("IO_PAGE_FAULT, %s", (_what, line, expected) => {
    const decoded = decodeKernelLog(line);
    expect(decoded.structures).toHaveLength(1);
    expect(decoded.structures[0]?.name).toBe("IO_PAGE_FAULT");
    expect(facts(decoded)[0]).toMatchObject(expected);
    expect(decoded.diagnoses).toEqual([]);
  });
  test("flags are told by name and meaning", () => {
    const { structures } = decodeKernelLog("nvme 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0011 address=0xfffc0000 flags=0x0070]");
    expect(structures[0]).toMatchObject({ facts: { flagNames: ["PR", "RW", "PE"], access: "write", cause: "no-permission" }, meaning: ["0000:01:00.0 asked for a write at 0xfffc0000, which was blocked.", "The page is mapped, but not for writes."] });
  });
  test.each<[string, string, object]>([
    ["ILLEGAL_DEV_TABLE_ENTRY", "device=0000:01:00.0 pasid=0x00000 address=0xfffc0000 flags=0x0080", { requester: "0000:01:00.0", pasid: null, flagNames: ["RZ"] }],
    ["ILLEGAL_DEV_TABLE_ENTRY", "device=01:00.0 address=0x00000000fffc0000 flags=0x0080", { requester: "01:00.0", pasid: null }],
    ["DEV_TAB_HARDWARE_ERROR", "device=01:00.0 address=0x0000000000001000 flags=0x0400", { error: "target abort", address: 0x1000n }],
    ["PAGE_TAB_HARDWARE_ERROR", "device=01:00.0 domain=0x0005 address=0x1000 flags=0x0200", { domain: 5, error: "master abort" }],
    ["PAGE_TAB_HARDWARE_ERROR", "device=0000:01:00.0 pasid=0x0005 address=0x1000 flags=0x0201", { pasid: 5 }],
    ["ILLEGAL_COMMAND_ERROR", "address=0x00000001045ca000", { address: 0x1_045c_a000n, requester: null }],
    ["COMMAND_HARDWARE_ERROR", "address=0x1000 flags=0x0600", { error: "data error" }],
    ["IOTLB_INV_TIMEOUT", "device=0000:0c:00.0 address=0x1000e8030", { requester: "0000:0c:00.0", address: 0x1_000e_8030n }],
    ["INVALID_DEVICE_REQUEST", "device=0000:00:00.0 pasid=0x00000 address=0xfffffffdf8000000 flags=0x0a00", { requestType: 5, pasid: null }],
    ["INVALID_PPR_REQUEST", "device=0000:01:00.0 pasid=0x00001 address=0x1000 flags=0x0100 tag=0x003", { pasid: 1, group: 3 }],
    ["RMP_PAGE_FAULT", "device=0000:01:00.0, vmg_tag=0x0001, gpa=0x1000, flags_rmp=0x0002, flags=0x0000", { vmgTag: 1, address: 0x1000n, rmpFlags: 2, requester: "0000:01:00.0" }],
    ["RMP_HW_ERROR", "device=0000:01:00.0, vmg_tag=0x0001, spa=0x1000, flags=0x0000", { vmgTag: 1, address: 0x1000n }],
  ])("%s %s", (name, rest, expected) => {
    const decoded = decodeKernelLog(`[  1.0] AMD-Vi: Event logged [${name} ${rest}]\n`);
    expect(decoded.structures).toMatchObject([{ name, facts: expected }]);
    expect(decoded.diagnoses).toEqual([]);
    expect(decoded.structures[0]?.meaning).not.toEqual([]);
  });
  test("events that Linux does not know are decoded from their bits", () => {
    expect(decodeKernelLog("AMD-Vi: Event logged [UNKNOWN event[0]=0x00000100 event[1]=0x20200011 event[2]=0xfffc0000 event[3]=0x00000000").structures).toMatchObject([{ name: "IO_PAGE_FAULT", facts: { requester: "01:00.0", domain: 0x11, address: 0xfffc_0000n, flags: 0x20 } }]);
    expect(decodeKernelLog("UNKNOWN type=0x0b event[0]=0x00000100 event[1]=0xb0000000 event[2]=0x0 event[3]=0x0").structures).toMatchObject([{ name: "event with code 11" }]);
  });
  test("what a line lacks is said", () => {
    expect(ids(decodeKernelLog("AMD-Vi: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0011 addr"))).toEqual(["event-incomplete"]);
    expect(ids(decodeKernelLog("AMD-Vi: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0011]"))).toEqual(["event-incomplete"]);
    expect(decodeKernelLog("AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0011 address=0x0 flags=0x0000]").structures[0]?.meaning[0]).toBe("An unnamed device asked for an access at 0x0, which was blocked.");
    expect(ids(decodeKernelLog("AMD-Vi: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0011 address=0x0 flags=0x0200]"))).toEqual(["event-flags-unknown"]);
  });
  test("the device table entry after ILLEGAL_DEV_TABLE_ENTRY, and the command after ILLEGAL_COMMAND_ERROR", () => {
    const { structures } = decodeKernelLog("AMD-Vi: DTE[0]: 6000000123456603\nAMD-Vi: DTE[1]: 0000000000000005\nAMD-Vi: DTE[2]: 2000000100000013\nAMD-Vi: DTE[3]: 0000000000000000\nAMD-Vi: CMD[0]: 00000100\nAMD-Vi: CMD[1]: 20000000\nAMD-Vi: CMD[2]: 00000000\nAMD-Vi: CMD[3]: 00000000\n");
    expect(structures).toMatchObject([{ name: "device table entry", offset: 0, facts: { domain: 5, levels: 3 } }, { name: "INVALIDATE_DEVTAB_ENTRY", facts: { requester: "01:00.0" } }]);
    // Two dumps that got into each other are none.
    expect(decodeKernelLog("DTE[0]: 1\nDTE[1]: 2\nDTE[1]: 3\nDTE[2]: 4\nDTE[3]: 5\n").structures).toEqual([]);
    expect(decodeKernelLog("AMD-Vi: DTE[1]: 0000000000000005\nAMD-Vi: DTE[2]: 2000000100000013\nAMD-Vi: CMD[0]: 0\nAMD-Vi: DTE[1]: 0\n").structures).toEqual([]);
  });
});

describe("what the driver says at boot", () => {
  test.each<[string, readonly object[]]>([
    ["AMD-Vi: Extended features (0x58f77ef22294a5a, 0x100): PPR NX GT IA PC GA_vAPIC", [{ name: "EFR", value: 0x58f_77ef_2229_4a5an, facts: { hostLevels: 6 } }, { name: "EFR2", facts: { interruptTableEntries: 2048 } }]],
    ["pci 0000:00:00.2: AMD-Vi: Extended features (0xf77ef22294ada):", [{ name: "EFR", value: 0xf_77ef_2229_4adan }]],
    ["AMD-Vi:  Extended features:  PreF PPR GT IA", [{ name: "extended features", facts: { printed: ["PreF", "PPR", "GT", "IA"] } }]],
    ["AMD-Vi: Using global IVHD EFR:0x29d3, EFR2:0x0", [{ name: "EFR", value: 0x29d3n }, { name: "EFR2" }]],
    ["pci 0000:00:00.2: AMD-Vi: Found IOMMU cap 0x40", [{ facts: { device: "0000:00:00.2", capabilityOffset: 0x40 } }]],
    ["AMD-Vi: Found IOMMU at 0000:00:00.2 cap 0x40", [{ facts: { device: "0000:00:00.2" } }]],
    ["AMD-Vi: ivrs, add hid:AMDI0020, uid:\\_SB.FUR0, rdevid:0xa0", [{ facts: { hid: "AMDI0020", uid: "\\_SB.FUR0", deviceId: 0xa0 } }]],
    ["AMD-Vi: Using IVHD type 0x11", [{ facts: { type: 0x11 } }]],
    ["AMD-Vi: device: 0000:00:00.2 cap: 0040 seg: 0 flags: b0 info 0000", [{ name: "IVHD", facts: { device: "0000:00:00.2", capabilityOffset: 0x40, segment: 0, flags: 0xb0 } }]],
    ["AMD-Vi:        mmio-addr: 00000000feb80000", [{ facts: { registerBase: 0xfeb8_0000n } }]],
    ["AMD-Vi:   DEV_SELECT_RANGE_START\t devid: 0000:00:01.0 flags: 00", [{ name: "device entry", facts: { entry: "range-start", device: "0000:00:01.0" } }]],
    ["AMD-Vi:   DEV_RANGE_END\t\t devid: 0000:ff:1f.6", [{ facts: { entry: "range-end", device: "0000:ff:1f.6" } }]],
    ["AMD-Vi:   DEV_SPECIAL(IOAPIC[33])\t\tdevid: 00:14.0", [{ facts: { entry: "special", of: "IOAPIC[33]", device: "00:14.0" } }]],
    ["AMD-Vi: Lazy IO/TLB flushing enabled", [{ facts: { lazy: true } }]],
    ["AMD-Vi: V2 page table enabled (Paging mode : 5 level)", [{ facts: { format: "v2", levels: 5 } }]],
    ["AMD-Vi: Interrupt remapping enabled", [{ name: "interrupt-remapping" }]],
    ["AMD-Vi: X2APIC enabled", [{ name: "x2apic" }]],
    ["AMD-Vi: Virtual APIC enabled", [{ name: "virtual-apic" }]],
    ["AMD-Vi: Initialized for Passthrough Mode", [{ name: "pass-through" }]],
    ["AMD-Vi: Using strict mode due to virtualization", [{ name: "strict-mode" }]],
    ["AMD-Vi: AMD IOMMUv2 functionality not available on this system - This is not a bug.", [{ name: "iommuv2-missing" }]],
    ["AMD-Vi: Translation is already enabled - trying to copy translation structures", [{ name: "translation-copied" }]],
  ])("%s", (line, expected) => {
    expect(decodeKernelLog(line).structures).toMatchObject(expected);
    expect(decodeKernelLog(line).structures).toHaveLength(expected.length);
  });
  test.each([
    ["ioapic-not-in-ivrs", "AMD-Vi: [Firmware Bug]: : IOAPIC[0] not in IVRS table"],
    ["southbridge-ioapic-missing", "AMD-Vi: [Firmware Bug]: : No southbridge IOAPIC found"],
    ["interrupt-remapping-off", "AMD-Vi: Disabling interrupt remapping"],
    ["ivrs-checksum", "AMD-Vi: [Firmware Bug]: IVRS invalid checksum"],
    ["completion-wait-timeout", "AMD-Vi: Completion-Wait loop timed out"],
    ["command-buffer-timeout", "AMD-Vi: Command buffer timeout"],
    ["event-log-overflow", "AMD-Vi: IOMMU event log overflow"],
    ["event-log-overflow", "AMD-Vi: IOMMU Event log restarting"],
    ["ppr-log-overflow", "AMD-Vi: IOMMU PPR log restarting"],
    ["ga-log-overflow", "AMD-Vi: IOMMU GA Log overflow"],
    ["events-suppressed", "amd_iommu_report_page_fault: 127 callbacks suppressed"],
    ["option-unknown", "AMD-Vi: Unknown option - 'on'"],
    ["efr-mismatch", "AMD-Vi: [Firmware Warn]: EFR mismatch. Use IVHD EFR (0xf77ef22294ada : 0x400f77ef22294ada), EFR2 (0x0 : 0x0)."],
  ])("%s", (id, line) => {
    expect(ids(decodeKernelLog(line))).toEqual([id]);
  });
  test("lines of others are passed over", () => {
    expect(decodeKernelLog("usb 1-1: new device\nDMAR: DRHD base: 0x000000fed91000 flags: 0x1\nIO_PAGE_FAULT is an event\n\u001b[31mred").structures).toEqual([]);
  });
  test("any text, and any text of pieces that resemble lines, ends in a result at once", () => {
    const piece = fc.constantFrom("AMD-Vi: ", "Event logged [", "IO_PAGE_FAULT ", "device=", "01:00.0", " domain=0x", "0011", " address=0x", "flags=0x", "]", "UNKNOWN event[0]=", "DTE[0]: ", "CMD[1]: ", "ffffffffffffffffffffffff", "\n", "\u001b[2J", "Extended features (0x", "DEV_SPECIAL(", "ivrs, add hid:", "nvme 0000:01:00.0: ");
    fc.assert(fc.property(fc.oneof(fc.string(), fc.array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 40 }).map((parts) => parts.join(""))), (text) => {
      expect(decodeKernelLog(text).structures.length).toBeLessThanOrEqual(3 * text.length);
    }));
  });
  test("one line of ten million characters takes no time", () => {
    const start = performance.now();
    decodeKernelLog(`AMD-Vi: Event logged [IO_PAGE_FAULT ${"a ".repeat(5_000_000)}`);
    decodeKernelLog("[".repeat(1_000_000));
    decodeKernelLog(`${"IO_PAGE_FAULT ".repeat(100)}\n`.repeat(1000));
    expect(performance.now() - start).toBeLessThan(3000);
  });
});

describe.skipIf(!hasShared())(`kernel logs of recorded hosts${skippedWithoutShared}`, () => {
  test.each(listShared("snapshots", ".tar.gz").filter((name) => name.startsWith("amd-")))("%s: features are read", async (archive) => {
    const decoded = decodeKernelLog(new TextDecoder().decode(await readFromSnapshot(archive, "dmesg.txt")));
    // QEMU's: 29D3h, with the reserved GATS 2.
    expect(decoded.structures.filter(({ name }) => name === "EFR").map(({ value }) => value)).toEqual([0x29d3n, 0x29d3n]);
    expect(ids(decoded)).toContain("efr-guest-size-reserved");
    expect(decoded.structures.map(({ name }) => name)).toContain("strict-mode");
  });
});
