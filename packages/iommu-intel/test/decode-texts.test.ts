import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readFromSnapshot, skippedWithoutShared } from "../../../test/shared.ts";
import { decodeDebugfs, decodeKernelLog, debugfsFile, type Decoded } from "../src/decode/index.ts";

const facts = ({ structures }: Decoded): unknown[] => structures.map((s) => s.facts);
const ids = ({ diagnoses }: Decoded): string[] => diagnoses.map(({ id }) => id);
const dma = (access: string, requester: string, address: bigint, reason: number, pasid: number | null = null): object => ({ access, requester, address, reason, pasid });
const irq = (requester: string, interruptIndex: number, reason: number): object => ({ access: "interrupt", requester, interruptIndex, reason, pasid: null });

describe("kernel fault lines", () => {
  test.each([
    ["6.x", "[  12.345678] DMAR: [DMA Read NO_PASID] Request device [02:00.0] fault addr 0xfffe0000 [fault reason 0x06] text", dma("read", "02:00.0", 0xfffe_0000n, 6)],
    ["6.x with PASID", "DMAR: [DMA Write PASID 0x1f] Request device [e7:1f.7] fault addr 0x7f0012345000 [fault reason 0x86] text", dma("write", "e7:1f.7", 0x7f00_1234_5000n, 0x86, 0x1f)],
    ["5.x", "DMAR: [DMA Read] Request device [0e:00.0] PASID ffffffff fault addr 4f005000 [fault reason 05] text", dma("read", "0e:00.0", 0x4f00_5000n, 5)],
    ["5.x, reason in decimal", "DMAR: [DMA Write] Request device [0e:00.0] PASID ffffffff fault addr 4f005000 [fault reason 12] text", dma("write", "0e:00.0", 0x4f00_5000n, 12)],
    ["5.0", "DMAR: [DMA Write] Request device [02:00.0] fault addr ffe00000 [fault reason 02] text", dma("write", "02:00.0", 0xffe0_0000n, 2)],
    ["4.x, on two lines", "DMAR:[DMA Write] Request device [02:00.0] fault addr ffe00000 \nDMAR:[fault reason 12] text", dma("write", "02:00.0", 0xffe0_0000n, 12)],
    ["3.x, as syslog has it", "Jan  1 00:00:00 host kernel: [1.0] dmar: DMAR:[DMA Read] Request device [00:02.0] fault addr 1000 \nJan  1 00:00:00 host kernel: DMAR:[fault reason 06] text", dma("read", "00:02.0", 0x1000n, 6)],
    ["an interrupt, 6.x", "DMAR: [INTR-REMAP] Request device [02:00.0] fault index 0x22 [fault reason 0x26] text", irq("02:00.0", 0x22, 0x26)],
    ["an interrupt, 5.x", "DMAR: [INTR-REMAP] Request device [f0:1f.0] fault index 22 [fault reason 38] text", irq("f0:1f.0", 0x22, 38)],
    ["an interrupt, 3.x, with its misprint", "INTR-REMAP: Request device [[f0:1f.7] fault index 0\nINTR-REMAP:[fault reason 38] text", irq("f0:1f.7", 0, 38)],
  ])("%s", (_what, line, expected) => {
    const decoded = decodeKernelLog(line);
    expect(decoded.structures).toHaveLength(1);
    expect(facts(decoded)[0]).toMatchObject(expected);
    expect(decoded.diagnoses).toEqual([]);
  });
  test("the reason is named from the specification", () => {
    expect(decodeKernelLog("[DMA Read NO_PASID] Request device [02:00.0] fault addr 0x0 [fault reason 0x86] x").structures[0]?.meaning).toEqual(["02:00.0 asked for a read at 0x0, which was blocked.", "Reason 0x86 (SGN.7): No read permission."]);
  });
  test("a fault without its second line is still told, once", () => {
    const lost = decodeKernelLog("DMAR:[DMA Write] Request device [02:00.0] fault addr 1000\nother\nDMAR:[DMA Write] Request device [03:00.0] fault addr 1000\nDMAR:[fault reason 02] x");
    expect(facts(lost)).toMatchObject([{ requester: "02:00.0", reason: null }, { requester: "03:00.0", reason: 2 }]);
    expect(ids(lost)).toEqual(["fault-reason-missing"]);
  });
  test("a reason that does not exist is named", () => {
    expect(ids(decodeKernelLog("[DMA Read NO_PASID] Request device [02:00.0] fault addr 0x0 [fault reason 0xee] x"))).toEqual(["fault-reason-unknown"]);
  });
  test.each([["dmar0: reg_base_addr fed90000 ver 1:0 cap d2008c222f0606 ecap f00f4a", "dmar0"], ["dmar: IOMMU 1: reg_base_addr fed90000 ver 1:0 cap d2008c222f0606 ecap f00f4a", "IOMMU 1"], ["reg_base_addr fed90000 ver 1:0 cap d2008c222f0606 ecap f00f4a", null]])("%s", (line, unit) => {
    const decoded = decodeKernelLog(line);
    expect(decoded.structures.map(({ name }) => name)).toEqual(["remapping unit", "CAP_REG", "ECAP_REG"]);
    expect(facts(decoded)).toMatchObject([{ unit, registerBase: 0xfed9_0000n, version: "1.0", cap: 0xd2_008c_222f_0606n, ecap: 0xf0_0f4an }, { domains: 65_536 }, { interruptRemapping: true }]);
  });
  test.each([
    ["DMAR: DRHD: handling fault status reg 3", { name: "FSTS_REG" }],
    ["DMAR: VT-d detected Invalidation Queue Error: Reason 4", { facts: { reason: 4 } }],
    ["DMAR: VT-d detected Invalidation Time-out Error: SID 200", { name: "invalidation time-out error", facts: { requester: "02:00.0" } }],
    ["DMAR: VT-d detected Invalidation Completion Error: SID 200", { name: "invalidation completion error" }],
    ["DMAR: QI HEAD: some name qw0 = 0x11, qw1 = 0x0", { name: "context-cache invalidate descriptor" }],
    ["DMAR: QI PRIOR: some name qw0 = 0x200000025, qw1 = 0x1000", { facts: { statusAddress: 0x1000n } }],
    ["DMAR: Host address width 39", { facts: { hostAddressWidth: 39 } }],
    ["DMAR: DRHD base: 0x000000fed91000 flags: 0x1", { facts: { registerBase: 0xfed9_1000n, includeAll: true } }],
    ["DMAR: RMRR base: 0x0000003e2e0000 end: 0x0000003e2fffff", { facts: { base: 0x3e2e_0000n, limit: 0x3e2f_ffffn } }],
    ["DMAR: ATSR flags: 0x1", { name: "ATSR" }],
    ["DMAR: SATC flags: 0x1", { name: "SATC" }],
    ["DMAR: RHSA base: 0x000000fbffc000 proximity domain: 0x1", { facts: { registerBase: 0xfbff_c000n, proximityDomain: 1 } }],
    ["DMAR: ANDD device: 1 name: \\_SB.PCI0.I2C0", { facts: { deviceNumber: 1, objectName: "\\_SB.PCI0.I2C0" } }],
    ["DMAR-IR: IOAPIC id 2 under DRHD base  0xfed91000 IOMMU 1", { facts: { id: 2, registerBase: 0xfed9_1000n } }],
    ["DMAR-IR: HPET id 0 under DRHD base 0xfed91000", { name: "HPET" }],
    ["DMAR-IR: Enabled IRQ remapping in x2apic mode", { facts: { mode: "x2apic" } }],
    ["DMAR: dmar0: Using Queued invalidation", { facts: { unit: "dmar0", queued: true } }],
    ["DMAR: Dump dmar0 table entries for IOVA 0xfffe0000", { facts: { unit: "dmar0", address: 0xfffe_0000n } }],
    ["DMAR: scalable mode root entry: hi 0x0000000000000000, low 0x0000000103a2d001", { name: "scalable-mode root entry" }],
    ["DMAR: root entry: 0x0000000103a2d001", { facts: { contextTable: 0x1_03a2_d000n } }],
    ["DMAR: context entry: hi 0x0000000000000102, low 0x0000000103a35001", { facts: { pageTable: 0x1_03a3_5000n } }],
    ["DMAR: pasid dir entry: 0x0000000103a35001", { name: "PASID directory entry" }],
    ["DMAR: pte level: 2, pte value: 0x0000000103a00083", { facts: { level: 2, leaf: true } }],
    ["DMAR: page table not present at level 3", { facts: { level: 3 } }],
    ["DMAR: PTE not present at level 3", { facts: { level: 3 } }],
  ])("%s", (line, expected) => {
    expect(decodeKernelLog(line).structures).toMatchObject([expected]);
  });
  test("after a scalable root entry, context entries are scalable", () => {
    expect(decodeKernelLog("scalable mode root entry: hi 0x0, low 0x1001\ncontext entry: hi 0x0, low 0x1001").structures[1]?.name).toBe("scalable-mode context entry");
  });
  test("eight lines make a PASID table entry", () => {
    const lines = Array.from({ length: 8 }, (_, i) => `DMAR: pasid table entry[${i}]: 0x${i === 0 ? "0000000000000101" : i === 1 ? "0000000000000007" : "0000000000000000"}`);
    expect(decodeKernelLog(lines.join("\n")).structures).toMatchObject([{ name: "PASID table entry", facts: { present: true, domain: 7, translation: "pass-through" } }]);
    expect(decodeKernelLog(lines.slice(1).join("\n")).structures).toEqual([]);
  });
  test.each([
    ["firmware-drhd-broken", "Your BIOS is broken; DMAR reported at address fed90000 returns all ones!"],
    ["firmware-rmrr-broken", "Your BIOS is broken; bad RMRR [0x1-0x2]"],
    ["firmware-rhsa-unknown", "Your BIOS is broken; RHSA refers to non-existent DMAR unit at fed90000"],
    ["rmrr-blocks-passthrough", "vfio-pci 0000:01:00.0: Device is ineligible for IOMMU domain attach due to platform RMRR requirement."],
    ["interrupt-remapping-failed", "DMAR-IR: Failed to enable irq remapping. You are vulnerable"],
    ["interrupt-remapping-erratum", "This system BIOS has enabled interrupt remapping on a chipset that contains an erratum"],
    ["x2apic-opt-out", "DMAR-IR: x2apic is disabled because BIOS sets x2apic opt out bit."],
    ["no-dmar", "DMAR: No DMAR devices found"],
  ])("%s", (id, line) => {
    expect(ids(decodeKernelLog(line))).toEqual([id]);
  });
  test("lines of others are passed over", () => {
    expect(decodeKernelLog("usb 1-1: new device\nAMD-Vi: Event logged [IO_PAGE_FAULT]\n\u001b[31mred").structures).toEqual([]);
  });
  test("any text, and any text of pieces that resemble lines, ends in a result at once", () => {
    const piece = fc.constantFrom("DMAR: ", "[DMA Read", " NO_PASID]", " PASID ", "Request device [", "02:00.0]", "fault addr 0x", "[fault reason ", "0x06]", "qw0 = ", "QI HEAD: ", "reg_base_addr ", " ver 1:0 cap ", "ffffffffffffffffffffffff", "\n", "\u001b[2J", "pasid table entry[0]: ");
    fc.assert(fc.property(fc.oneof(fc.string(), fc.array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 40 }).map((parts) => parts.join(""))), (text) => {
      expect(decodeKernelLog(text).structures.length).toBeLessThanOrEqual(3 * text.length);
    }));
  });
  test("one line of ten million characters takes no time", () => {
    const start = performance.now();
    decodeKernelLog(`DMAR: [DMA Read ${"a ".repeat(5_000_000)}`);
    decodeKernelLog("[".repeat(1_000_000));
    expect(performance.now() - start).toBeLessThan(3000);
  });
});

describe("files of /sys/kernel/debug/iommu/intel", () => {
  const decode = (text: string): Decoded => {
    const file = debugfsFile(text);
    expect(file).toBeDefined();
    return decodeDebugfs(file ?? "iommu_regset", text);
  };
  test("iommu_regset", () => {
    const { structures } = decode("IOMMU: dmar0 Register Base Address: fed90000\nName\t\t\tOffset\t\tContents\nVER             \t0x00\t\t0x0000000000000010\nGSTS            \t0x1c\t\t0x00000000c7000000\nCAP             \t0x08\t\t0x00d2008c222f0606\nFUTURE          \t0x1000\t\t0x0000000000000001\n");
    expect(structures.map(({ name, facts: { unit } }) => [name, unit])).toEqual([["VER_REG", "dmar0"], ["GSTS_REG", "dmar0"], ["CAP_REG", "dmar0"], ["FUTURE", "dmar0"]]);
    expect(structures[1]?.meaning).toEqual(["The interrupt remap table pointer is set.", "Interrupt remapping is on.", "Queued invalidation is on.", "The root table pointer is set.", "Translation is on."]);
  });
  test("dmar_translation_struct, legacy and scalable", () => {
    const zero = "0x0000000000000000";
    const { structures } = decode(`IOMMU dmar0: Root Table Address: 0x103a2c000\nB.D.F\tRoot_entry\t\t\t\tContext_entry\t\t\t\tPASID\tPASID_table_entry\n00:02.0\t${zero}:0x0000000103a2d001\t0x0000000000000102:0x0000000103a35001\t-1    \t${zero}:${zero}:${zero}\n00:03.0\t${zero}:0x0000000103a2d001\t0x0000000000000102:0x0000000103a35001\t5     \t${zero}:0x0000000000000007:0x0000000000000101\n\nDMA Remapping is not enabled on dmar1\n`);
    expect(structures).toMatchObject([
      { name: "root entry", facts: { unit: "dmar0", requester: "00:02.0" } },
      { name: "context entry", facts: { requester: "00:02.0", domain: 1 } },
      { name: "PASID table entry", facts: { requester: "00:03.0", pasid: 5, domain: 7 } },
      { facts: { unit: "dmar1", translation: false } },
    ]);
  });
  test("ir_translation_struct, remapped and posted", () => {
    const { structures } = decode("Remapped Interrupt supported on IOMMU: dmar1\n IR table address:100200000\n Entry SrcID   DstID    Vct IRTE_high\t\tIRTE_low\n 3     00:1f.2 00000300 31  00000000000400fa\t0000030000310001\n\n****\n\nPosted Interrupt supported on IOMMU: dmar1\n IR table address:100200000\n Entry SrcID   PDA_high PDA_low  Vct IRTE_high\t\tIRTE_low\n 7     02:00.0 00000001 12345640 41  0000000100040200\t123456400041c001\n");
    expect(structures).toMatchObject([
      { facts: { unit: "dmar1", index: 3, mode: "remapped", vector: 0x31 } },
      { facts: { unit: "dmar1", index: 7, mode: "posted", descriptor: 0x1_1234_5640n } },
    ]);
  });
  test("invalidation_queue, narrow and wide", () => {
    const { structures } = decode("Invalidation queue on IOMMU: dmar0\n Base: 0x100400000\tHead: 2\tTail: 3\nIndex\t\tqw0\t\t\tqw1\t\t\tstatus\n    0\t0000000000000011\t0000000000000000\t0000000000000000\n    1\t0000000000000000\t0000000000000000\t0000000000000000\n    2\t0000000200000025\t0000000100052604\t0000000000000000\n    3\t0000000000000037\t0000000000000000\t0000000000000000\t0000000000000000\t0000000000000002\n");
    expect(structures).toMatchObject([
      { name: "invalidation queue", facts: { base: 0x1_0040_0000n, head: 2, tail: 3 } },
      { name: "context-cache invalidate descriptor", facts: { unit: "dmar0", index: 0, status: "free" } },
      { facts: { index: 2, statusAddress: 0x1_0005_2604n } },
      { name: "PASID-cache invalidate descriptor", width: 256, facts: { index: 3, status: "done" } },
    ]);
  });
  test("domain_translation_struct, with a 4 KiB and a 2 MiB page", () => {
    const zero = "0x0000000000000000";
    const { structures } = decode(`Device 0000:00:02.0 @0x103a35000\nIOVA_PFN\t\tPML5E\t\t\tPML4E\t\t\tPDPE\t\t\tPDE\t\t\tPTE\n0x00000000fffff |\t${zero}\t0x0000000103a36003\t0x0000000103a37003\t0x0000000103a38003\t0x0000000099999003\n0x0000000000200 |\t${zero}\t0x0000000103a36003\t0x0000000103a37003\t0x0000000000200083\t${zero}\n`);
    expect(structures).toMatchObject([
      { facts: { requester: "0000:00:02.0", pageTable: 0x1_03a3_5000n } },
      { facts: { iova: 0xffff_f000n, address: 0x9999_9000n, bytes: 4096n, level: 1, leaf: true }, meaning: ["IOVA 0xfffff000 to 0xffffffff: Page at 0x99999000, rights RW."] },
      { facts: { iova: 0x20_0000n, address: 0x20_0000n, bytes: 0x20_0000n, level: 2, leaf: true } },
    ]);
  });
  test("dmar_perf_latency", () => {
    const { structures } = decode("IOMMU: dmar0 Register Base Address: fed90000\n         <0.1us   0.1us-1us    1us-10us  10us-100us   100us-1ms    1ms-10ms      >=10ms     min(us)     max(us) average(us)\n   inv_iotlb           0         286         123           1           0           0           0           0          11           1\n");
    expect(structures).toMatchObject([{ name: "inv_iotlb", facts: { unit: "dmar0", below100ns: 0, below1us: 286, maximumUs: 11, averageUs: 1 } }]);
  });
  test("rows with any damage end in a result", () => {
    const files = ["iommu_regset", "dmar_translation_struct", "ir_translation_struct", "invalidation_queue", "domain_translation_struct", "dmar_perf_latency"] as const;
    const cell = fc.constantFrom("0x0", "0x00000000fffff", "|", "\t", "\n", " ", "0000000000000011", "02:00.0", "Device ", "@0x1", "-1", ":", "inv_iotlb", "CAP", "ffffffffffffffffff");
    fc.assert(fc.property(fc.constantFrom(...files), fc.array(cell, { maxLength: 60 }), (file, cells) => {
      expect(decodeDebugfs(file, cells.join("")).structures.length).toBeLessThanOrEqual(cells.length + 1);
    }));
  });
});

describe.skipIf(!hasShared())(`kernel logs of recorded hosts${skippedWithoutShared}`, () => {
  test.each(listShared("snapshots", ".tar.gz").filter((name) => name.startsWith("intel-")).slice(0, 8))("%s: unit, I/O APIC and mode are read", async (archive) => {
    const decoded = decodeKernelLog(new TextDecoder().decode(await readFromSnapshot(archive, "dmesg.txt")));
    const names = decoded.structures.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["host address width", "DRHD", "remapping unit", "CAP_REG", "ECAP_REG", "invalidation", "iommu-on"]));
    expect(decoded.diagnoses.map(({ id }) => id).filter((id) => id === "register-all-ones" || id === "ecap-contradiction")).toEqual([]);
  });
});
