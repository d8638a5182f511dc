import { LEGACY, withCapabilities } from "@iommu-lab/iommu-intel/hardware";
import { CONTEXT_ENTRY, FAULT_RECORD, FSTS_REG, IRTA_REG, ROOT_ENTRY, SECOND_STAGE_ENTRY } from "@iommu-lab/iommu-intel/layouts";
import { IRTE_REMAPPED } from "@iommu-lab/interrupt-remap/vtd";
import { Access, AddressType, newTranslation, NO_PASID, type InterruptSink } from "@iommu-lab/pci-bus";
import { VtdBench } from "../bench/vtd-bench.ts";
import type { FaultLab, RingSlot } from "./lab.ts";
import type { FaultSettings, Operation } from "./settings.ts";

/** Four fault recording registers: the fifth fault finds them full. */
const RECORDS = 4;
const UNIT = withCapabilities(LEGACY, { cap: { NFR: RECORDS - 1 }, hostAddressWidth: 46 });
const DEVICE = 0x0100;
const STRANGER = 0x0300;
const DOMAIN = 5;
const STORM = 300;
const LEVELS = 4;
const NOBODY: InterruptSink = { deliver: () => undefined, post: () => undefined };
/** Page numbers: mapped read-only, mapped by a broken entry, not mapped. */
const READ_ONLY = 0x7777;
const BROKEN = 0x7778;
const UNMAPPED = 0x7_0000;
const WINDOW = 0xf_ee00;
const BEYOND = 2 ** 36;
/** Interrupt indexes: bound to the device, not present. */
const BOUND_INDEX = 1;
const ABSENT_INDEX = 2;

const build = (silent: boolean): VtdBench => {
  const bench = new VtdBench(UNIT);
  const contexts = bench.page();
  bench.put(ROOT_ENTRY, bench.root + 16 * (DEVICE >>> 8), { P: 1, CTP: contexts });
  let table = bench.page();
  bench.put(CONTEXT_ENTRY, contexts * 4096, { P: 1, FPD: silent ? 1 : 0, SSPTPTR: table, AW: LEVELS - 2, DID: DOMAIN });
  // The function beside it has a translation type that does not exist.
  bench.put(CONTEXT_ENTRY, contexts * 4096 + 16, { P: 1, TT: 3, AW: LEVELS - 2 });
  for (let level = LEVELS; level > 1; level--) {
    const next = bench.page();
    bench.put(SECOND_STAGE_ENTRY, table * 4096 + 8 * (Math.floor(READ_ONLY / 2 ** (9 * (level - 1))) % 512), { R: 1, W: 1, ADDR: next });
    table = next;
  }
  bench.put(SECOND_STAGE_ENTRY, table * 4096 + 8 * (READ_ONLY % 512), { R: 1, ADDR: 0x1_2345 });
  bench.put(SECOND_STAGE_ENTRY, table * 4096 + 8 * (BROKEN % 512), { R: 1, W: 1, TM: 1, ADDR: 0x1_2346 });
  const interrupts = bench.page();
  bench.put(IRTE_REMAPPED, interrupts * 4096 + 16 * BOUND_INDEX, { P: 1, FPD: silent ? 1 : 0, V: 0x41, SVT: 1, SID: DEVICE });
  bench.write(IRTA_REG, { IRTA: interrupts, S: 7 });
  bench.command({ SIRTP: 1 });
  bench.start(0);
  bench.command({ IRE: 1 });
  return bench;
};

const dma = (bench: VtdBench, requester: number, page: number, access: Access): void => {
  bench.unit.translate({ requester, pasid: NO_PASID, addressType: AddressType.Untranslated, page, access }, newTranslation());
};
const interrupt = (bench: VtdBench, requester: number, address: number, data: number): void => {
  bench.unit.remapInterrupt({ requester, address, data }, NOBODY, { fault: 0, recorded: false });
};
/** Address of a message in remappable format without subhandle. */
const remappable = (index: number): number => 0xfee0_0010 + index * 32;

/** Software's part, as Linux does it: from FRI on until a record is free, then the status. */
const take = (bench: VtdBench): void => {
  const first = bench.read(FSTS_REG).FRI;
  for (let i = 0; i < RECORDS; i++) {
    const index = (first + i) % RECORDS;
    if (FAULT_RECORD.get.F(bench.faultRecords()[index] ?? new Uint32Array(4)) === 0) break;
    bench.clearFault(index);
  }
  bench.write(FSTS_REG, { PFO: 1 });
};

const ACTS: Readonly<Record<Operation, (bench: VtdBench) => void>> = {
  unmapped: (bench) => { dma(bench, DEVICE, UNMAPPED, Access.Read); },
  readonly: (bench) => { dma(bench, DEVICE, READ_ONLY, Access.Write); },
  reserved: (bench) => { dma(bench, DEVICE, BROKEN, Access.Read); },
  width: (bench) => { dma(bench, DEVICE, BEYOND, Access.Read); },
  source: (bench) => { dma(bench, STRANGER, READ_ONLY, Access.Read); },
  entry: (bench) => { dma(bench, DEVICE + 1, READ_ONLY, Access.Read); },
  window: (bench) => { dma(bench, DEVICE, WINDOW, Access.Read); },
  compatibility: (bench) => { interrupt(bench, DEVICE, 0xfee0_0000, 0x41); },
  absent: (bench) => { interrupt(bench, DEVICE, remappable(ABSENT_INDEX), 0); },
  impostor: (bench) => { interrupt(bench, STRANGER, remappable(BOUND_INDEX), 0); },
  storm: (bench) => { for (let i = 0; i < STORM; i++) dma(bench, DEVICE, UNMAPPED + i, Access.Read); },
  take,
};

/** What the fault recording registers hold after everything that was done. */
export const runVtd = ({ done, silent }: FaultSettings): FaultLab => {
  const bench = build(silent);
  let taken = 0;
  for (const operation of done) {
    const before = operation === "take" ? bench.faultRecords().filter((words) => FAULT_RECORD.get.F(words) === 1).length : 0;
    ACTS[operation](bench);
    taken += before;
  }
  const slots = bench.faultRecords().map((words, index): RingSlot => ({ index, words: [...words], pending: FAULT_RECORD.get.F(words) === 1 }));
  const { PFO, PPF, FRI } = bench.read(FSTS_REG);
  const pending = slots.filter((slot) => slot.pending).length;
  const { faults } = bench.unit.totals;
  return { size: RECORDS, slots, pending, overflow: PFO === 1, first: FRI, status: { FSTS_REG: `PFO=${PFO} PPF=${PPF} FRI=${FRI}` }, faults, lost: faults - taken - pending };
};
