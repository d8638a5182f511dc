import { AmdInterruptFault, AmdInterruptRemapper, GA_LOG_ENTRY, IRTE_128, IRTE_128_GUEST, IRTE_32, newAmdInterruptVerdict, type AmdInterruptFields, type AmdRemapControl } from "@iommu-lab/interrupt-remap/amd";
import { FlatMemory } from "@iommu-lab/memory";
import { DeliveryMode, type CachePolicy, type ExplanationStep, type Interrupt, type Posting } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const DEVICE = 0x0108; // arbitrary
const TABLE = 0x1_0080; // 128-byte aligned, arbitrary
const BACKING = 0x2_3000;
const RAM = 0x10_0000;
const PASSED = { fault: 0, recorded: false, present: false, reserved: false, address: 0 };

const FIELDS: AmdInterruptFields = { valid: true, control: 2, tableLength: 8, tablePage: TABLE / 128, ignoreUnmapped: false, suppressAll: false, initPass: false, externalPass: false, nmiPass: false, lint0Pass: false, lint1Pass: false };
const CONTROL: AmdRemapControl = { wideEntries: true, extended: false, guestMode: false, largeTables: false, cacheDisabled: false };

class Bench {
  readonly memory = new FlatMemory(RAM);
  readonly control: AmdRemapControl;
  readonly delivered: Interrupt[] = [];
  readonly posted: Posting[] = [];
  readonly log: (readonly [number, number])[] = [];
  readonly remapper: AmdInterruptRemapper;

  constructor(control: Partial<AmdRemapControl> = {}, caches: CachePolicy = "none") {
    this.control = { ...CONTROL, ...control };
    this.remapper = new AmdInterruptRemapper({ memory: this.memory, control: this.control, physicalAddressWidth: 40, caches, gaLog: (low, high) => this.log.push([low, high]) });
  }

  put(index: number, words: ArrayLike<number>): void {
    const stride = this.control.wideEntries ? 16 : 4;
    for (let i = 0; i < words.length; i++) this.memory.write32(TABLE + stride * index + 4 * i, words[i] as number);
  }

  send(data: number, options: { readonly fields?: Partial<AmdInterruptFields>; readonly address?: number; readonly requester?: number; readonly explain?: ExplanationStep[] } = {}): ReturnType<typeof newAmdInterruptVerdict> {
    const out = newAmdInterruptVerdict();
    const { explain } = options;
    const sink = { deliver: (interrupt: Readonly<Interrupt>) => void this.delivered.push({ ...interrupt }), post: (posting: Posting) => void this.posted.push(posting) };
    this.remapper.remap({ requester: options.requester ?? DEVICE, address: options.address ?? 0xfee0_0000, data }, { ...FIELDS, ...options.fields }, sink, out, explain ? { step: (step) => void explain.push(step) } : undefined);
    return out;
  }
}

const host = (fields: Record<string, number> = {}): Uint32Array => IRTE_128.encode({ RemapEn: 1, Vector: 0x41, Destination: 5, ...fields });
const narrow = (fields: Record<string, number> = {}): Uint32Array => IRTE_32.encode({ RemapEn: 1, Vector: 0x41, Destination: 5, ...fields });
const guest = (fields: Record<string, number> = {}): Uint32Array => IRTE_128_GUEST.encode({ RemapEn: 1, GuestMode: 1, Vector: 0x62, VApicPage: BACKING / 4096, GATag: 0xabcd_1234, ...fields });

describe("what the device table entry decides (AMD-Vi §2.2.5)", () => {
  test("IV clear: every message passes as it came", () => {
    const bench = new Bench();
    expect(bench.send(0x4441, { fields: { valid: false, control: 3 }, address: 0xfee0_500c })).toEqual(PASSED);
    expect(bench.delivered).toEqual([{ vector: 0x41, deliveryMode: DeliveryMode.Nmi, destination: 5, destinationMode: "logical", trigger: "edge", redirectionHint: true }]);
  });
  test.each([
    { control: 0, fault: AmdInterruptFault.TargetAbort, recorded: false },
    { control: 1, fault: 0, recorded: false },
    { control: 3, fault: AmdInterruptFault.IllegalDeviceEntry, recorded: true },
  ])("IntCtl = $control", ({ control, fault, recorded }) => {
    for (const data of [0x41, 0x141]) {
      const bench = new Bench();
      expect(bench.send(data, { fields: { control } })).toEqual({ ...PASSED, fault, recorded });
      expect(bench.delivered.length).toBe(fault === 0 ? 1 : 0);
    }
  });
  test.each([
    { type: 4, bit: "nmiPass" },
    { type: 5, bit: "initPass" },
    { type: 7, bit: "externalPass" },
  ] as const)("message type $type needs $bit and a physical destination, whatever IntCtl", ({ type, bit }) => {
    const data = type << 8;
    for (const control of [0, 1, 2, 3]) {
      const bench = new Bench();
      const outcome = (fields: Partial<AmdInterruptFields>, address = 0xfee0_0000): number => bench.send(data, { fields: { control, ...fields }, address }).fault;
      expect([outcome({ [bit]: true }), outcome({}), outcome({ nmiPass: true, initPass: true, externalPass: true, [bit]: false }), outcome({ [bit]: true }, 0xfee0_0004)]).toEqual([0, 0x100, 0x100, 0x100]);
      expect(bench.delivered.map(({ deliveryMode }) => deliveryMode)).toEqual([type]);
    }
  });
  test("an SMI passes; types 3 and 6 are none", () => {
    const bench = new Bench();
    expect([bench.send(0x200).fault, bench.send(0x300).fault, bench.send(0x600).fault, bench.delivered[0]?.deliveryMode]).toEqual([0, 0x100, 0x100, DeliveryMode.Smi]);
  });
});

describe("the table (AMD-Vi §2.2.5)", () => {
  test.each([0, 1, 5, 9])("IntTabLen = %i: so many entries", (tableLength) => {
    const bench = new Bench();
    const last = 2 ** tableLength - 1;
    for (const index of [last, last + 1]) bench.put(index, host());
    expect(bench.send(last, { fields: { tableLength } })).toEqual(PASSED);
    expect(last < 511 ? bench.send(last + 1, { fields: { tableLength } }) : { fault: 2, recorded: true }).toMatchObject({ fault: AmdInterruptFault.PageFault, recorded: true });
  });
  test("IntTabLen above 11 is illegal", () => {
    expect([new Bench().send(0, { fields: { tableLength: 12 } }), new Bench().send(0, { fields: { tableLength: 11 } })]).toMatchObject([{ fault: AmdInterruptFault.IllegalDeviceEntry, recorded: true }, { fault: AmdInterruptFault.PageFault }]);
  });
  test("arbitrated messages are the indexes from 256 on; with large tables every type is an index", () => {
    const bench = new Bench();
    bench.put(0x141, host({ Vector: 0x50 }));
    bench.send(0x141, { fields: { tableLength: 11 } });
    const large = new Bench({ largeTables: true });
    for (const index of [0x241, 0x741]) large.put(index, host({ Vector: 0x60 }));
    expect([large.send(0x241, { fields: { tableLength: 11 } }).fault, large.send(0x741, { fields: { tableLength: 11 } }).fault]).toEqual([0, 0]);
    expect([bench.delivered[0]?.vector, large.delivered.map(({ vector }) => vector)]).toEqual([0x50, [0x60, 0x60]]);
  });
  test("data above the index does not choose", () => {
    const bench = new Bench();
    bench.put(0x41, host());
    expect([bench.send(0xf841).fault, bench.delivered[0]?.trigger]).toEqual([0, "level"]);
  });
  test("an entry outside memory is a table error at its address", () => {
    for (const wideEntries of [true, false]) {
      const bench = new Bench({ wideEntries });
      expect(bench.send(3, { fields: { tablePage: RAM / 128 } })).toEqual({ ...PASSED, fault: AmdInterruptFault.TableError, recorded: true, address: RAM + (wideEntries ? 48 : 12) });
    }
  });
  test("an entry past the physical address width too", () => {
    const bench = new Bench();
    expect(bench.send(0, { fields: { tablePage: 2 ** 33 } }).fault).toBe(AmdInterruptFault.TableError);
  });
  test("RemapEn clear: a page fault, PR clear", () => {
    const bench = new Bench();
    bench.put(1, host({ RemapEn: 0, IntType: 7 }));
    expect(bench.send(1)).toEqual({ ...PASSED, fault: AmdInterruptFault.PageFault, recorded: true });
  });
  test.each([
    { name: "SupIOPF", entry: { SupIOPF: 1 }, fields: {} },
    { name: "IG", entry: {}, fields: { ignoreUnmapped: true } },
    { name: "SA", entry: {}, fields: { suppressAll: true } },
  ])("$name keeps page faults out of the log", ({ entry, fields }) => {
    for (const changes of [{ RemapEn: 0 }, { IntType: 5 }]) {
      const bench = new Bench();
      bench.put(1, host({ ...entry, ...changes }));
      expect(bench.send(1, { fields })).toMatchObject({ fault: AmdInterruptFault.PageFault, recorded: false });
    }
    expect(new Bench().send(0x1ff, { fields }).recorded).toBe("SupIOPF" in entry);
  });
});

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
/** Bits that make a valid entry reserved when flipped. */
const reservedBits = (control: Partial<AmdRemapControl>, entry: Uint32Array): number[] =>
  range(0, 32 * entry.length - 1).filter((bit) => {
    const bench = new Bench(control);
    const words = entry.slice();
    words[bit >>> 5] = ((words[bit >>> 5] as number) ^ (2 ** (bit & 31))) >>> 0;
    bench.put(1, words);
    return bench.send(1).reserved;
  });

describe("entries of 32 bits (AMD-Vi §2.2.5.1)", () => {
  test.each([
    { fields: {}, expected: { vector: 0x41, deliveryMode: 0, destination: 5, destinationMode: "physical" } },
    { fields: { IntType: 1, DM: 1, RqEoi: 1, Vector: 0xfe, Destination: 0xab }, expected: { vector: 0xfe, deliveryMode: 1, destination: 0xab, destinationMode: "logical" } },
  ])("$fields", ({ fields, expected }) => {
    const bench = new Bench({ wideEntries: false });
    bench.put(7, narrow(fields));
    expect(bench.send(0x8007, { address: 0xfee0_0008 })).toEqual(PASSED);
    expect(bench.delivered).toEqual([{ trigger: "level", redirectionHint: true, ...expected }]);
  });
  test("exactly these bits are reserved", () => {
    expect(reservedBits({ wideEntries: false }, narrow())).toEqual([3, 4, 7, ...range(24, 31)]);
  });
});

describe("entries of 128 bits for the host (AMD-Vi §2.2.5.2)", () => {
  test("destinations have 8 bits, with x2APIC mode 32", () => {
    const bench = new Bench();
    bench.put(1, host({ Destination: 0xab, IntType: 1, DM: 1 }));
    bench.send(1);
    const wide = new Bench({ extended: true });
    wide.put(1, host({ Destination: 0xab_cdef, DestinationHigh: 0x89 }));
    wide.send(1);
    expect([bench.delivered[0], wide.delivered[0]?.destination]).toMatchObject([{ destination: 0xab, deliveryMode: 1, destinationMode: "logical", vector: 0x41 }, 0x89ab_cdef]);
  });
  test("exactly these bits are reserved", () => {
    expect(reservedBits({}, host())).toEqual([3, 4, 7]);
    expect(reservedBits({ extended: true }, host())).toEqual([3, 4, 7]);
  });
  test("a reserved entry is a page fault with PR and RZ", () => {
    const bench = new Bench();
    bench.put(1, host({ IntType: 2 }));
    expect(bench.send(1)).toEqual({ fault: AmdInterruptFault.PageFault, recorded: true, present: true, reserved: true, address: 0 });
  });
});

describe("guest virtual APIC mode (AMD-Vi §2.2.5.3)", () => {
  const bench = (fields: Record<string, number>, control: Partial<AmdRemapControl> = {}): Bench => {
    const made = new Bench({ guestMode: true, ...control });
    made.put(1, guest(fields));
    return made;
  };
  test("a running guest: its IRR bit, and the doorbell of its processor", () => {
    const made = bench({ IsRun: 1, GALogIntr: 1, Destination: 0x12_3456, DestinationHigh: 0x78 });
    expect(made.send(1)).toEqual(PASSED);
    expect(made.posted).toEqual([{ structure: BACKING, updated: BACKING + 0x230, vector: 0x62, notification: { kind: "doorbell", apicId: 0x7812_3456 } }]);
    expect([made.memory.read32(BACKING + 0x230), made.log, made.delivered]).toEqual([1 << 2, [], []]);
  });
  test("one that does not run: the GA log, where it is asked for", () => {
    const made = bench({ GALogIntr: 1 });
    made.send(1);
    expect(made.posted[0]?.notification).toEqual({ kind: "log", tag: 0xabcd_1234 });
    expect(GA_LOG_ENTRY.decode(Uint32Array.from(made.log[0] ?? []))).toEqual({ GATag: 0xabcd_1234, DeviceID: DEVICE, Code: 1 });
    const silent = bench({});
    silent.send(1);
    expect([silent.posted[0]?.notification, silent.log, silent.memory.read32(BACKING + 0x230)]).toEqual([{ kind: "none" }, [], 4]);
  });
  test.each([0, 31, 32, 255])("vector %i, beside what is pending already", (Vector) => {
    const made = bench({ Vector, IsRun: 1 });
    const at = BACKING + 0x200 + (Vector >>> 5) * 16;
    made.memory.write32(at, 0x8000_0001);
    made.send(1);
    expect(made.memory.read32(at)).toBe((0x8000_0001 | (1 << (Vector & 31))) >>> 0);
  });
  test("without guest mode, or in an entry of 32 bits, it is reserved", () => {
    expect(bench({ IsRun: 1 }, { guestMode: false }).send(1)).toMatchObject({ fault: AmdInterruptFault.PageFault, present: true, reserved: true });
  });
  test("a backing page outside memory is a table error", () => {
    expect(bench({ VApicPage: RAM / 4096 }).send(1)).toEqual({ ...PASSED, fault: AmdInterruptFault.TableError, recorded: true, address: RAM });
    expect(bench({ VApicPage: 2 ** 28 }).send(1).address).toBe(2 ** 40);
  });
});

describe("cached entries (AMD-Vi §2.4.5)", () => {
  const rounds = (caches: CachePolicy, act: (bench: Bench) => void, control: Partial<AmdRemapControl> = {}): number | undefined => {
    const bench = new Bench(control, caches);
    bench.put(1, host({ Vector: 0x30 }));
    bench.send(1);
    bench.put(1, host({ Vector: 0x31 }));
    act(bench);
    bench.send(1);
    return bench.delivered[1]?.vector;
  };
  test.each(["realistic", "adversarial"] as const)("%s: an entry stays until its device's table or everything is invalidated", (caches) => {
    expect(rounds(caches, () => undefined)).toBe(0x30);
    expect(rounds(caches, ({ remapper }) => { remapper.invalidateTable(DEVICE + 1); })).toBe(0x30);
    expect(rounds(caches, ({ remapper }) => { remapper.invalidateTable(DEVICE); })).toBe(0x31);
    expect(rounds(caches, ({ remapper }) => { remapper.invalidateAll(); })).toBe(0x31);
    expect(rounds(caches, ({ remapper }) => { remapper.reset(); })).toBe(0x31);
    expect(rounds(caches, () => undefined, { cacheDisabled: true })).toBe(0x31);
  });
  test("without caches changes act at once", () => {
    expect(rounds("none", () => undefined)).toBe(0x31);
  });
  test.each(["realistic", "adversarial"] as const)("%s: entries that are not valid are never kept, nor those of another device", (caches) => {
    const bench = new Bench({}, caches);
    bench.put(1, host({ RemapEn: 0 }));
    expect(bench.send(1).fault).toBe(AmdInterruptFault.PageFault);
    bench.put(1, host({ Vector: 0x30 }));
    expect(bench.send(1).fault).toBe(0);
    bench.put(1, host({ Vector: 0x31 }));
    bench.send(1, { requester: DEVICE + 1 });
    expect(bench.delivered.map(({ vector }) => vector)).toEqual([0x30, 0x31]);
  });
  test("the realistic cache keeps four entries of a set", () => {
    const bench = new Bench({}, "realistic");
    for (let i = 0; i < 5; i++) bench.put(16 * i, host({ Vector: 0x30 }));
    for (let i = 0; i < 5; i++) bench.send(16 * i);
    for (let i = 0; i < 5; i++) bench.put(16 * i, host({ Vector: 0x31 }));
    for (const i of [4, 3, 2, 1, 0]) bench.send(16 * i);
    expect(bench.delivered.slice(5).map(({ vector }) => vector)).toEqual([0x30, 0x30, 0x30, 0x30, 0x31]);
  });
});

describe("for any table and message (AMD-Vi §2.2.5)", () => {
  test("exactly one outcome, the same with an explanation, and never an exception", () => {
    const word = fc.integer({ min: 0, max: 0xffff_ffff });
    const fields = fc.record({ valid: fc.boolean(), control: fc.nat(3), tableLength: fc.nat(15), tablePage: fc.constantFrom(TABLE / 128, RAM / 128, 2 ** 40), ignoreUnmapped: fc.boolean(), suppressAll: fc.boolean(), initPass: fc.boolean(), externalPass: fc.boolean(), nmiPass: fc.boolean() });
    const control = fc.record({ wideEntries: fc.boolean(), extended: fc.boolean(), guestMode: fc.boolean(), largeTables: fc.boolean(), cacheDisabled: fc.boolean() });
    fc.assert(
      fc.property(control, fields, fc.array(word, { minLength: 4, maxLength: 4 }), word, fc.nat(0xf_ffff), (control, fields, entry, data, address) => {
        const outcomes = [false, true].map((explained) => {
          const bench = new Bench(control);
          bench.put(data & 0x7f, entry);
          const explain: ExplanationStep[] = [];
          const verdict = bench.send(data & 0xffff_f87f, { fields, address: 0xfee0_0000 + address, ...(explained ? { explain } : {}) });
          if (explained) expect(explain.length).toBeGreaterThan(verdict.fault === 0 && bench.delivered.length + bench.posted.length === 0 ? -1 : 0);
          expect(bench.delivered.length + bench.posted.length).toBeLessThanOrEqual(verdict.fault === 0 ? 1 : 0);
          return { verdict, delivered: bench.delivered, posted: bench.posted, log: bench.log };
        });
        expect(outcomes[1]).toEqual(outcomes[0]);
      }),
    );
  });
  test("steps name the entry and the rule", () => {
    const bench = new Bench({}, "adversarial");
    bench.put(1, host({ IntType: 3 }));
    const steps: ExplanationStep[] = [];
    bench.send(1, { explain: steps });
    bench.send(1, { explain: steps });
    expect(steps.map(({ structure, outcome }) => `${structure}: ${outcome}`)).toEqual(["IRTE: read", "interrupt: blocked, event 2", "IRTE: hit", "interrupt: blocked, event 2"]);
    expect(steps[0]).toMatchObject({ address: TABLE + 16, fields: { IntType: 3, RemapEn: 1 } });
  });
});
