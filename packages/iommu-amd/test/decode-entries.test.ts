import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeCommand, decodeDeviceTableEntry, decodeEvent, decodeGaLogEntry, decodeGcr3Entry, decodeGuestEntry, decodeHostEntry, decodeIrte, decodePprLogEntry, decodeRegister, REGISTERS, type Told } from "../src/decode/index.ts";

const ids = (told: Told): string[] => told.findings.map(({ id }) => id);
const bytes = (...quads: bigint[]): bigint => quads.reduceRight((sum, quad) => (sum << 64n) | quad, 0n);

describe("device table entries, AMD-Vi §2.2.2", () => {
  // As Linux writes them: domain 5 with a table of three levels, interrupts remapped by a table of 512 entries.
  const MAPPED = bytes(0x6000_0001_2345_6603n, 5n, 0x2000_0001_0000_0013n, 0n);
  test("a translating entry with remapped interrupts", () => {
    const told = decodeDeviceTableEntry(MAPPED);
    expect(told.structure.facts).toMatchObject({ valid: true, translationValid: true, domain: 5, levels: 3, pageTable: 0x1_2345_6000n, read: true, write: true, guestTranslation: false, interruptMapValid: true, interruptTable: 0x1_0000_0000n, interruptEntries: 512, interruptControl: "remapped" });
    expect(told.structure.meaning).toEqual(["DMA is translated: the host table of 3 levels at 0x123456000; rights RW; as domain 5.", "Fixed interrupts are remapped by the table of 512 entries at 0x100000000; no other kind passes."]);
    expect(told.findings).toEqual([]);
  });
  test("guest tables: the GCR3 table's address comes from three parts", () => {
    // Root 0x000f_edcb_a987_6000: bits 14:12 at 60:58, 30:15 at 95:80, 51:31 at 127:107.
    const root = 0x000f_edcb_a987_6000n;
    const value = 3n | (1n << 55n) | (1n << 56n) | (((root >> 12n) & 7n) << 58n) | (((root >> 15n) & 0xffffn) << 80n) | ((root >> 31n) << 107n);
    expect(decodeDeviceTableEntry(value).structure.facts).toMatchObject({ guestTranslation: true, gcr3Table: root, gcr3Levels: 2 });
  });
  test.each<[string, bigint, string, string[]]>([
    ["empty", 0n, "V is 0: DMA passes untranslated, the device reaches all of memory.", ["dte-interrupts-unmapped"]],
    ["TV 0", 1n, "DMA is blocked: V is set but TV is not, so every access ends in a page fault.", ["dte-interrupts-unmapped"]],
    ["blocked", bytes(3n, 7n), "DMA is blocked: neither reads nor writes are allowed (domain 7).", ["dte-interrupts-unmapped"]],
    ["identity", bytes(0x6000_0000_0000_0003n, 7n), "DMA passes untranslated with rights RW, as domain 7.", ["dte-interrupts-unmapped"]],
    ["mode 7", bytes(0x6000_0000_0000_1e03n), "DMA is translated: a host table of reserved depth; rights RW; as domain 0.", ["dte-mode-reserved", "dte-interrupts-unmapped"]],
  ])("%s: what becomes of DMA", (_what, value, text, findings) => {
    const told = decodeDeviceTableEntry(value);
    expect(told.structure.meaning[0]).toBe(text);
    expect(ids(told)).toEqual(findings);
  });
  test.each<[string, bigint]>([
    ["dte-table-zero", bytes(0x6000_0000_0000_0603n, 0n, 1n)],
    ["dte-gcr3-levels-reserved", bytes(0x0380_0000_0000_0003n, 0n, 1n)],
    ["dte-io-control-reserved", bytes(3n, 0x18_0000_0000n, 1n)],
    ["dte-interrupt-control-reserved", bytes(3n, 0n, 0x3000_0000_0000_0001n)],
    ["dte-interrupt-table-too-long", bytes(3n, 0n, 0x2000_0000_0000_0019n)],
    ["dte-interrupts-unmapped", bytes(3n, 0n, 0x1000_0000_0000_0001n)],
    ["faults-not-recorded", bytes(3n, 0x6_0000_0000n, 1n)],
    ["faults-recorded-once", bytes(3n, 0x2_0000_0000n, 1n)],
    ["interrupt-faults-not-recorded", bytes(3n, 0n, 0x21n)],
    ["reserved-bits", bytes(0x7n, 0n, 1n)],
    ["reserved-bits", bytes(3n, 0n, 0x0010_0000_0000_0001n)],
  ])("%s", (id, value) => {
    expect(ids(decodeDeviceTableEntry(value))).toEqual([id]);
  });
  test("reserved bits count only in the half that is valid", () => {
    expect(ids(decodeDeviceTableEntry(bytes(0x4n, 0n, 1n)))).toEqual([]);
    expect(ids(decodeDeviceTableEntry(bytes(3n, 0n, 0x0010_0000_0000_0000n)))).toEqual(["dte-interrupts-unmapped"]);
  });
  test("interrupts that pass are named", () => {
    expect(decodeDeviceTableEntry(bytes(0n, 0n, 0xc700_0000_0000_0001n)).structure.facts.interruptsPassed).toEqual(["INIT", "ExtInt", "NMI", "LINT0", "LINT1"]);
  });
});

describe("page table entries, AMD-Vi §2.2.3", () => {
  test.each<[string, bigint, number | undefined, object, string[]]>([
    ["nothing", 0n, undefined, { present: false }, []],
    ["reserved bits of nothing", 0x0100_0000_0000_0000n, undefined, { present: false }, []],
    ["a table", 0x6000_0001_2345_6401n, undefined, { present: true, leaf: false, nextLevel: 2, address: 0x1_2345_6000n, bytes: null }, []],
    ["a page of unknown level", 0x6000_0001_2345_6001n, undefined, { leaf: true, address: 0x1_2345_6000n, bytes: null, read: true, write: true }, []],
    ["a page of 4 KiB", 0x2000_0001_2345_6061n, 1, { leaf: true, bytes: 4096n, read: true, write: false, accessed: true, dirty: true }, []],
    ["a page of 2 MiB", 0x6000_0001_2340_0001n, 2, { bytes: 0x20_0000n }, []],
    ["a page of 8 KiB by its address", 0x6000_0001_2345_6e01n, 1, { leaf: true, address: 0x1_2345_6000n, bytes: 8192n }, []],
    ["a page of 16 KiB by its address", 0x6000_0001_2345_5e01n, undefined, { address: 0x1_2345_4000n, bytes: 16384n }, []],
    ["a page of 4 MiB by its address", 0x6000_0001_235f_fe01n, 2, { address: 0x1_2340_0000n, bytes: 0x40_0000n }, []],
    ["a size of another level", 0x6000_0001_2345_6e01n, 2, { bytes: 8192n }, ["pte-size-invalid"]],
    ["the size of the level itself", 0x6000_0001_234f_fe01n, 2, { bytes: 0x20_0000n }, ["pte-size-invalid"]],
    ["the size of the level above", 0x6000_0001_234f_fe01n, 1, { bytes: 0x20_0000n }, ["pte-size-invalid"]],
    ["the largest size of a level", 0x6000_0001_2347_fe01n, 1, { bytes: 0x10_0000n }, []],
    ["a level that is none below", 0x6000_0001_2345_6401n, 2, { nextLevel: 2 }, ["pte-level-invalid"]],
    ["a level below none", 0x6000_0001_2345_6c01n, undefined, { nextLevel: 6 }, ["pte-level-invalid"]],
    ["a large page with low address bits", 0x6000_0001_2345_6001n, 2, {}, ["pte-address-unaligned"]],
    ["no rights", 0x0000_0001_2345_6001n, 1, {}, ["pte-permits-nothing"]],
    ["reserved bits", 0x6010_0001_2345_6001n, 1, {}, ["reserved-bits"]],
    ["bits of pages in a table", 0x7000_0001_2345_6201n, undefined, {}, ["reserved-bits"]],
  ])("host entry: %s", (_what, value, level, facts, findings) => {
    const told = decodeHostEntry(value, 0, level);
    expect(told.structure.facts).toMatchObject(facts);
    expect(ids(told)).toEqual(findings);
  });
  test("the size that an address holds is a power of two, and the address is aligned to it", () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 40n - 1n }), (page) => {
      const { bytes: size, address } = decodeHostEntry((page << 12n) | 0x6000_0000_0000_0e01n).structure.facts as { bytes: bigint; address: bigint };
      expect(size & (size - 1n)).toBe(0n);
      expect(address % size).toBe(0n);
      expect(address | ((size >> 1n) - 4096n)).toBe(page << 12n);
    }));
  });
  test.each<[string, bigint, number | undefined, object, string[]]>([
    ["nothing", 0n, undefined, { present: false }, []],
    ["table or page", 0x1_2345_6007n, undefined, { present: true, leaf: null, address: 0x1_2345_6000n, write: true, user: true }, []],
    ["large page", 0x8000_0001_2340_0081n, undefined, { leaf: true, write: false, user: false, noExecute: true }, []],
    ["page of level 1", 0x1_2345_6001n, 1, { leaf: true }, []],
    ["large page on level 4", 0x1_2345_6081n, 4, { leaf: false }, ["pte-size-invalid"]],
  ])("guest entry: %s", (_what, value, level, facts, findings) => {
    const told = decodeGuestEntry(value, 0, level);
    expect(told.structure.facts).toMatchObject(facts);
    expect(ids(told)).toEqual(findings);
  });
  test("GCR3 entries", () => {
    expect(decodeGcr3Entry(0x1_2345_6001n).structure.facts).toEqual({ valid: true, address: 0x1_2345_6000n });
    expect(ids(decodeGcr3Entry(0x3n))).toEqual(["reserved-bits"]);
    expect(decodeGcr3Entry(0x2n)).toMatchObject({ structure: { facts: { valid: false } }, findings: [] });
  });
});

describe("commands, AMD-Vi §2.4", () => {
  test.each<[string, bigint, object, string, string[]]>([
    ["COMPLETION_WAIT", bytes(0x1000_0001_2345_6001n, 0xabcdn), { store: true, storeAddress: 0x1_2345_6000n, storeData: 0xabcdn, interrupt: false }, "Waits for all commands before it, then writes 0xabcd to 0x123456000.", []],
    ["COMPLETION_WAIT with interrupt", bytes(0x1000_0000_0000_0002n), { interrupt: true }, "Waits for all commands before it, then raises the completion interrupt.", []],
    ["silent COMPLETION_WAIT", bytes(0x1000_0000_0000_0000n), {}, "Waits for all commands before it, then does nothing.", ["command-wait-silent"]],
    ["INVALIDATE_DEVTAB_ENTRY", bytes(0x2000_0000_0000_0100n), { requester: "01:00.0" }, "Forgets the device table entry of 01:00.0.", []],
    ["INVALIDATE_IOMMU_PAGES, one", bytes(0x3000_0005_0000_0000n, 0x1_2345_6000n), { domain: 5, pasid: null, address: 0x1_2345_6000n, bytes: 4096n }, "Forgets translations of 0x123456000 to 0x123456fff in domain 5.", []],
    ["INVALIDATE_IOMMU_PAGES, 16 KiB", bytes(0x3000_0005_0000_0000n, 0x1_2345_5001n), { address: 0x1_2345_4000n, bytes: 16384n }, "Forgets translations of 0x123454000 to 0x123457fff in domain 5.", []],
    ["INVALIDATE_IOMMU_PAGES, all, as Linux writes it", bytes(0x3000_0005_0000_0000n, 0x7fff_ffff_ffff_f003n), { everything: true, directories: true }, "Forgets translations of all addresses in domain 5, with page directory entries.", []],
    ["INVALIDATE_IOMMU_PAGES of a PASID", bytes(0x3000_0005_0001_2345n & ~0xf000_0000n, 0x1004n), { domain: 5, pasid: 0x1_2345 }, "Forgets translations of 0x1000 to 0x1fff of PASID 0x12345 in domain 5.", []],
    ["INVALIDATE_IOTLB_PAGES", bytes(0x4145_0100_2023_0100n, 0x1004n), { requester: "01:00.0", queue: 0x100, maximumPending: 32, pasid: 0x1_2345 }, "Asks the device-TLB of 01:00.0 to forget 0x1000 to 0x1fff of PASID 0x12345.", []],
    ["INVALIDATE_INTERRUPT_TABLE", bytes(0x5000_0000_0000_00a0n), { requester: "00:14.0" }, "Forgets the interrupt remapping entries of 00:14.0.", []],
    ["PREFETCH_IOMMU_PAGES", bytes(0x6000_0007_0300_0100n, 0x1014n), { pages: 4, pasid: 7, address: 0x1000n, invalidate: true }, "Fetches the translations of 4 pages from 0x1000 on for 01:00.0 with PASID 0x7, after forgetting the old ones.", []],
    ["COMPLETE_PPR_REQUEST", bytes(0x7000_0007_0000_0100n, 0x0000_1003_0000_0004n), { group: 3, response: 1, pasid: 7 }, "Answers page request group 3 of 01:00.0 with PASID 0x7: the request was invalid.", []],
    ["INVALIDATE_IOMMU_ALL", bytes(0x8000_0000_0000_0000n), {}, "Forgets everything that the IOMMU has cached.", []],
    ["reserved bits", bytes(0x8000_0000_0000_0001n), {}, "Forgets everything that the IOMMU has cached.", ["reserved-bits"]],
  ])("%s", (_what, value, facts, meaning, findings) => {
    const told = decodeCommand(value);
    expect(told.structure.facts).toMatchObject(facts);
    expect(told.structure.meaning).toEqual([meaning]);
    expect(ids(told)).toEqual(findings);
  });
  test.each([[0n, "never written"], [0xf000_0000_0000_0000n, "not known"]])("opcode of %i is none", (value, text) => {
    expect(decodeCommand(value).findings).toMatchObject([{ id: "command-opcode-invalid", text: expect.stringContaining(text) as string }]);
  });
});

describe("interrupt remapping entries and logs, AMD-Vi §2.2.5, §2.6, §2.7", () => {
  test.each<[string, bigint, 32 | 128, object, string[]]>([
    ["32 bits", 0x0031_0201n, 32, { valid: true, guestMode: false, vector: 0x31, destination: 2, logical: false, type: "fixed" }, []],
    ["32 bits in guest mode", 0x0031_0281n, 32, {}, ["irte-guest-mode-misplaced"]],
    ["128 bits with a 32-bit destination", bytes(0x0302_0141n, 0x0400_0000_0000_0031n), 128, { vector: 0x31, destination: 0x0403_0201, logical: true }, []],
    ["a reserved type", bytes(0x9n, 0x31n), 128, { type: null }, ["irte-type-reserved"]],
    ["no faults", bytes(0x3n, 0x31n), 128, {}, ["faults-not-recorded"]],
    ["for a running guest", bytes(0x1234_5678_0000_05c1n, 0x0000_0001_2345_6041n), 128, { guestMode: true, vector: 0x41, destination: 5, backingPage: 0x1_2345_6000n, tag: 0x1234_5678, running: true }, []],
    ["for a guest that sleeps", bytes(0x1234_5678_0000_0085n, 0x0000_0001_2345_6041n), 128, { running: false, log: true }, []],
    ["for a guest that nobody wakes", bytes(0x81n, 0x0000_0001_2345_6041n), 128, {}, ["irte-wake-missing"]],
    ["for a guest without a page", bytes(0xc1n, 0x41n), 128, {}, ["irte-backing-page-zero"]],
    ["not valid", 0n, 128, { valid: false }, []],
  ])("IRTE: %s", (_what, value, width, facts, findings) => {
    const told = decodeIrte(value, width);
    expect(told.structure.facts).toMatchObject(facts);
    expect(ids(told)).toEqual(findings);
  });
  test("GA log entries", () => {
    const told = decodeGaLogEntry(0x1000_0100_1234_5678n);
    expect(told.structure.facts).toEqual({ tag: 0x1234_5678, requester: "01:00.0", code: 1 });
    expect(told.structure.meaning).toEqual(["01:00.0 sent an interrupt for a guest that is not running; its entry's tag is 0x12345678."]);
    expect(ids(decodeGaLogEntry(0n))).toEqual(["ga-log-code-unknown"]);
    expect(ids(decodeGaLogEntry(0x2000_0000_0000_0000n))).toEqual(["ga-log-code-unknown"]);
  });
  test("PPR log entries", () => {
    // PASID 0x12345, write and user, group 5, last.
    const told = decodePprLogEntry(bytes(0x1160_0605_2345_0100n, 0x7f00_0000_1000n));
    expect(told.structure.facts).toMatchObject({ requester: "01:00.0", pasid: 0x1_2345, address: 0x7f00_0000_1000n, access: ["write"], user: true, group: 5, last: true });
    expect(told.structure.meaning).toEqual(["01:00.0 with PASID 0x12345 asks for the page at 0x7f0000001000 to write (group 5, its last)."]);
    expect(ids(decodePprLogEntry(0n))).toEqual(["ppr-code-unknown"]);
  });
});

describe("registers, AMD-Vi §3.4", () => {
  test("the features of a Zen 2 machine", () => {
    expect(decodeRegister("EFR", 0x058f_77ef_2229_4aden).structure.facts).toMatchObject({ hostLevels: 6, guestLevels: 4, gcr3Levels: 2, pasidBits: 16, pageRequests: true, x2apic: true, guestVirtualApic: true, performanceCounters: true });
  });
  test.each<[string, bigint]>([
    ["efr-contradiction", 0x20n],
    ["efr-no-host-translation", 0xc00n],
    ["efr-guest-size-reserved", 0x2010n],
    ["efr-gcr3-levels-reserved", 0xc010n],
    ["efr-no-posted-interrupts", 0x0n],
  ])("%s", (id, value) => {
    expect(ids(decodeRegister("EFR", value))).toContain(id);
  });
  test("EFR2, control and status", () => {
    expect(decodeRegister("EFR2", 0x100n).structure.facts).toMatchObject({ interruptTableEntries: 2048 });
    expect(decodeRegister("CONTROL", 0x1001n).structure.meaning).toEqual(["IOMMU enable.", "Command buffer enable."]);
    expect(decodeRegister("STATUS", 0x1n).structure.meaning).toEqual(["An event found the log full."]);
    expect(decodeRegister("CMD_BASE", 0x0900_0001_2345_6000n).structure.fields.find(({ name }) => name === "Base")?.address).toBe(0x1_2345_6000n);
  });
  test("all ones means that nobody is there", () => {
    expect(ids(decodeRegister("STATUS", 2n ** 64n - 1n))).toEqual(["register-all-ones"]);
  });
  test("a name that is none is refused", () => {
    expect(() => decodeRegister("CAP", 0n)).toThrow(/no register CAP; there are/);
    expect(REGISTERS.size).toBeGreaterThan(60);
  });
});

describe("structures of any bits", () => {
  test("end in a result", () => {
    const decoders = [decodeCommand, decodeDeviceTableEntry, decodeEvent, decodeGaLogEntry, decodeGcr3Entry, decodeGuestEntry, decodeHostEntry, (value: bigint) => decodeIrte(value, 32), (value: bigint) => decodeIrte(value, 128), decodePprLogEntry, ...[...REGISTERS.keys()].map((name) => (value: bigint) => decodeRegister(name, value))];
    fc.assert(fc.property(fc.constantFrom(...decoders), fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), fc.constantFrom(32n, 64n, 128n, 256n), (decode, bits, width) => {
      const { structure, findings } = decode(bits & ((1n << width) - 1n));
      expect(structure.name).not.toBe("");
      expect([...structure.meaning, ...findings.map(({ text }) => text)].join(" ")).not.toMatch(/undefined|NaN|null/);
    }));
  });
});
