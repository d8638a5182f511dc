import { IRTE_POSTED, IRTE_REMAPPED } from "@iommu-lab/interrupt-remap/vtd";
import { Access, AddressType, NO_PASID, type PageRequest } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { CONTEXT_ENTRY, FAULT_REASONS, FIRST_STAGE_ENTRY, IRTA_REG, PASID_DIRECTORY_ENTRY, PASID_ENTRY, ROOT_ENTRY, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY, SECOND_STAGE_ENTRY } from "../../src/layouts/index.ts";
import { BDF, DID, INTERRUPT_TABLE, legacyRig, RAM, Rig, ROOT, scalableRig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
const NOWHERE = RAM / 4096 + 7;
/** Past every second stage of four levels. */
const WIDE = 2 ** 36;
const DESCRIPTOR = 0x40_0000; // arbitrary

type Scalable = ReturnType<typeof scalableRig>;
type Fields = Readonly<Record<string, number>>;
type ScalableOptions = NonNullable<Parameters<typeof scalableRig>[0]>;

const legacy = (options: Parameters<typeof legacyRig>[0], page = PAGE, access: Access = Access.Read): Rig => {
  const rig = legacyRig(options);
  rig.fault(page, { access });
  return rig;
};

/** A second-stage page of a legacy unit. */
const legacyPage = (leaf: Fields, host = HOST, access: Access = Access.Read): Rig => {
  const rig = legacyRig();
  rig.mapSecond(rig.table, PAGE, host, { leaf });
  rig.fault(PAGE, { access });
  return rig;
};

const scalable = (options: ScalableOptions, request: Parameters<Rig["fault"]>[1] = {}, prepare: (rig: Scalable) => void = () => undefined, page = PAGE): Rig => {
  const rig = scalableRig(options);
  prepare(rig);
  rig.fault(page, request);
  return rig;
};

const change = (rig: Scalable, fields: Fields): void => {
  rig.put(PASID_ENTRY, rig.at.entry, { ...PASID_ENTRY.decode(rig.words(rig.at.entry, 16)), ...fields });
};

const secondStage = (options: ScalableOptions, leaf: Fields, host = HOST, access: Access = Access.Read): Rig => scalable(options, { access }, (rig) => rig.mapSecond(rig.second, PAGE, host, { leaf }));

const firstStage = (options: ScalableOptions, leaf: Fields, host = HOST, access: Access = Access.Read): Rig =>
  scalable({ ...options, pasid: { PGTT: 1, ...options.pasid } }, { access, pasid: 0 }, (rig) => rig.mapFirst(rig.first, PAGE, host, { leaf }));

/** First-stage tables that the second stage maps one to one; `prepare` gets their entries, from the top. */
const nested = (prepare: (rig: Scalable, entries: readonly number[], guest: (address: number, leaf: Fields) => void) => void): Rig =>
  scalable({ pasid: { PGTT: 3 } }, {}, (rig) => {
    const entries = rig.mapFirst(rig.first, PAGE, HOST);
    const guest = (address: number, leaf: Fields): void => {
      rig.mapSecond(rig.second, Math.floor(address / 4096), Math.floor(address / 4096), { leaf });
    };
    for (const entry of entries) guest(entry, {});
    prepare(rig, entries, guest);
  });

const ASK: PageRequest = { requester: BDF, pasid: NO_PASID, page: PAGE, access: Access.Read, group: 1, last: true };
const pageRequest = (rig: Rig): Rig => {
  rig.unit.pageRequest(ASK);
  return rig;
};

/** An interrupt in remappable format through entry 3 of a table of 16. */
const interrupt = (entry: Fields, options: { readonly address?: number; readonly data?: number; readonly table?: number; readonly layout?: typeof IRTE_POSTED | typeof IRTE_REMAPPED } = {}): Rig => {
  const { address = 0xfee0_0010 | (3 << 5), data = 0, table = INTERRUPT_TABLE / 4096, layout = IRTE_REMAPPED } = options;
  const rig = new Rig();
  rig.put(layout, INTERRUPT_TABLE + 16 * 3, { P: 1, ...entry });
  rig.write(IRTA_REG, { IRTA: table, S: 3 });
  rig.command({ SIRTP: 1 });
  rig.command({ IRE: 1 });
  rig.interrupt(address, data);
  return rig;
};
const posting = (address: number): Fields => ({ IM: 1, PDAL: (address % 2 ** 32) / 64, PDAH: Math.floor(address / 2 ** 32) });

/** For each reason: one unit that has just recorded it. */
const CASES: Readonly<Record<number, () => Rig>> = {
  // Legacy mode: root and context entry, second stage. VT-d §9.1, §9.3, §3.7.
  0x01: () => requestOf(legacyRig(), 0x0500),
  0x02: () => legacy({ context: { P: 0 } }),
  0x03: () => legacy({ context: { TT: 3 } }),
  0x04: () => legacy({}, WIDE),
  0x05: () => legacyPage({ W: 0 }, HOST, Access.Write),
  0x06: () => legacyPage({ R: 0 }),
  0x07: () => {
    const rig = legacyRig();
    rig.put(SECOND_STAGE_ENTRY, rig.table * 4096, { R: 1, W: 1, ADDR: NOWHERE });
    rig.fault(PAGE);
    return rig;
  },
  0x08: () => requestOf(new Rig().start(0, NOWHERE * 4096)),
  0x09: () => {
    const rig = legacyRig();
    rig.put(ROOT_ENTRY, ROOT + 16, { P: 1, CTP: NOWHERE });
    return requestOf(rig);
  },
  0x0a: () => {
    const rig = legacyRig();
    rig.flip(ROOT + 16, 3);
    return requestOf(rig);
  },
  0x0b: () => {
    const rig = legacyRig();
    rig.put(CONTEXT_ENTRY, rig.entries.context, { P: 1, AW: 2, DID });
    rig.flip(rig.entries.context, 5);
    return requestOf(rig);
  },
  0x0c: () => legacyPage({ TM: 1 }),
  0x0d: () => {
    const rig = legacyRig();
    rig.fault(PAGE, { type: AddressType.TranslationRequest });
    return rig;
  },
  0x0e: () => legacyPage({}, 0xf_ee12),
  // Interrupts. VT-d §5.1, §5.2, §3.14.
  0x20: () => interrupt({}, { address: 0xfee0_0018, data: 0x1_0003 }),
  0x21: () => interrupt({}, { address: 0xfee0_0010 | (16 << 5) }),
  0x22: () => interrupt({ P: 0 }),
  0x23: () => interrupt({}, { table: NOWHERE }),
  0x24: () => interrupt({ DST: 1 }),
  0x25: () => interrupt({}, { address: 0xfee0_1000, data: 0x41 }),
  0x26: () => interrupt({ SVT: 1, SID: BDF + 1 }),
  0x27: () => interrupt(posting(NOWHERE * 4096), { layout: IRTE_POSTED }),
  0x28: () => {
    const rig = interrupt({ P: 0, FPD: 1 });
    rig.put(IRTE_POSTED, INTERRUPT_TABLE + 16 * 3, { P: 1, ...posting(DESCRIPTOR) });
    rig.memory.write32(DESCRIPTOR + 60, 1);
    rig.interrupt(0xfee0_0010 | (3 << 5), 0);
    return rig;
  },
  0x29: () => legacy({}, 0xf_ee12),
  // The translation table mode. VT-d §11.4.5.
  0x30: () => requestOf(new Rig({ ecap: { SMTS: 1, SSTS: 1 } }).start(2)),
  0x31: () => {
    const rig = legacyRig();
    rig.fault(PAGE, { pasid: 1 });
    return rig;
  },
  0x32: () => pageRequest(legacyRig({ ecap: { PRS: 1 } })),
  // Scalable mode: root and context entry. VT-d §9.2, §9.4.
  0x38: () => requestOf(new Rig({ ecap: { SMTS: 1, SSTS: 1 } }).start(1, NOWHERE * 4096)),
  0x39: () => requestOf(scalableRig(), 0x0500),
  0x3a: () => scalable({}, {}, (rig) => { rig.flip(rig.at.root, 3); }),
  0x40: () => scalable({}, {}, (rig) => { rig.put(SCALABLE_ROOT_ENTRY, rig.at.root, { LP: 1, LCTP: NOWHERE }); }),
  0x41: () => scalable({ context: { P: 0 } }),
  0x42: () => scalable({}, {}, (rig) => { rig.flip(rig.at.context, 6); }),
  0x43: () => scalable({ context: { RID_PASID: 2 ** 13 } }),
  0x44: () => scalable({}, { type: AddressType.TranslationRequest }),
  0x45: () => scalable({ context: { PASIDE: 0 } }, { pasid: 1 }),
  0x46: () => scalable({}, { pasid: 2 ** 13 }),
  0x47: () => pageRequest(scalableRig()),
  0x48: () => scalable({ context: { RID_PASID: 2 ** 13 }, policy: { ridPasidFault: 0x48 } }),
  // PASID directory and table. VT-d §9.5, §9.6.
  0x50: () => scalable({}, {}, (rig) => { rig.put(SCALABLE_CONTEXT_ENTRY, rig.at.context, { P: 1, PASIDDIRPTR: NOWHERE }); }),
  0x51: () => scalable({}, { pasid: 64 }),
  0x52: () => scalable({}, {}, (rig) => { rig.flip(rig.at.directory, 3); }),
  0x58: () => scalable({}, {}, (rig) => { rig.put(PASID_DIRECTORY_ENTRY, rig.at.directory, { P: 1, SMPTBLPTR: NOWHERE }); }),
  0x59: () => scalable({}, { pasid: 1 }),
  0x5a: () => scalable({}, {}, (rig) => { rig.flip(rig.at.entry, 5); }),
  0x5b: () => scalable({ pasid: { PGTT: 0 } }),
  0x5c: () => scalable({ pasid: { PGTT: 1 }, ecap: { ERS: 1 } }, { pasid: 0, access: Access.Read | Access.Execute }),
  0x5d: () => scalable({ pasid: { PGTT: 1 } }, { pasid: 0, access: Access.Read | Access.Privileged }),
  // First stage, alone and nested. VT-d §3.6, §3.8.
  0x70: () => scalable({ pasid: { PGTT: 1 } }, {}, (rig) => { rig.put(FIRST_STAGE_ENTRY, rig.first * 4096, { P: 1, ADDR: NOWHERE }); }),
  0x71: () => firstStage({}, { P: 0 }),
  0x72: () => firstStage({ hostAddressWidth: 46 }, {}, 2 ** 34),
  0x73: () => scalable({ pasid: { PGTT: 1, FSPTPTR: NOWHERE } }),
  0x74: () => nested((rig) => { change(rig, { FSPTPTR: WIDE }); }),
  0x75: () => nested((rig, _, guest) => { guest(rig.first * 4096, { R: 0 }); }),
  0x76: () => nested((_, entries, guest) => { guest(entries[1] as number, { R: 0 }); }),
  0x77: () => nested((_, entries, guest) => { guest(entries[1] as number, { W: 0 }); }),
  0x90: () => firstStage({ pasid: { PWSNP: 0 } }, {}),
  0x91: () => firstStage({ writeProtected: new Set([0x11]) }, {}),
  // Second stage. VT-d §3.7.
  0x78: () => scalable({}, {}, (rig) => { rig.put(SECOND_STAGE_ENTRY, rig.second * 4096, { R: 1, W: 1, ADDR: NOWHERE }); }),
  0x79: () => secondStage({}, { R: 0, W: 0 }),
  0x7a: () => secondStage({}, { TM: 1 }),
  0x7b: () => scalable({ pasid: { SSPTPTR: NOWHERE } }),
  0x7c: () => secondStage({ pasid: { SSADE: 1, PWSNP: 0 } }, {}),
  0x7d: () => secondStage({ pasid: { SSADE: 1 }, writeProtected: new Set([0x10]) }, {}),
  // Of both. VT-d §7.1.3.
  0x80: () => scalable({ pasid: { PGTT: 1 } }, {}, () => undefined, 2 ** 50),
  0x81: () => firstStage({}, { US: 0 }),
  0x82: () => firstStage({ ecap: { ERS: 1 }, pasid: { ERE: 1, NXE: 1 } }, { XD: 1 }, HOST, Access.Read | Access.Execute),
  0x83: () => scalable({ pasid: { PGTT: 4 }, hostAddressWidth: 46 }, {}, () => undefined, 2 ** 34),
  0x84: () => scalable({}, {}, () => undefined, WIDE),
  0x85: () => secondStage({}, { W: 0 }, HOST, Access.Write),
  0x86: () => secondStage({}, { R: 0 }),
  0x87: () => secondStage({}, {}, 0xf_ee12),
};

/** Reasons that no unit of this model records, and why. */
const NEVER: Readonly<Record<number, string>> = {
  0x33: "No source at hand says which request it is for. It came with abort-DMA mode, in which this model records nothing.",
  0x88: "No source at hand says what it is for: header files name it, without a condition.",
  0x89: "As 88h.",
};

const requestOf = (rig: Rig, requester = BDF): Rig => {
  rig.fault(PAGE, { requester });
  return rig;
};

const hex = (code: number): string => `${code.toString(16).padStart(2, "0")}h`;
const codes = Object.keys(FAULT_REASONS).map(Number);

describe("every fault reason (VT-d §7.1.3, Table 26)", () => {
  test.each(codes.filter((code) => !(code in NEVER)).map((code) => ({ reason: hex(code), code })))("$reason is recorded", ({ code }) => {
    expect(CASES[code], "a reason of the layouts needs a case here, or a reason why it has none").toBeDefined();
    expect(CASES[code]?.().record()?.reason).toBe(code);
  });
  test("nothing is listed twice, or without being a reason", () => {
    expect([...Object.keys(CASES), ...Object.keys(NEVER)].map(Number).sort((a, b) => a - b)).toEqual(codes.sort((a, b) => a - b));
  });
});
