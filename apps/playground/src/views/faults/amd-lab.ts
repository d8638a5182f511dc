import { FULL } from "@iommu-lab/iommu-amd/hardware";
import { CONTROL, DEVICE_TABLE_ENTRY, EVT_HEAD, EVT_TAIL, HOST_PDE, HOST_PTE, STATUS } from "@iommu-lab/iommu-amd/layouts";
import { IRTE_128 } from "@iommu-lab/interrupt-remap/amd";
import { Access, AddressType, newTranslation, NO_PASID, type InterruptSink } from "@iommu-lab/pci-bus";
import { AmdBench, RING_ENTRIES } from "../bench/amd-bench.ts";
import type { FaultLab, RingSlot } from "./lab.ts";
import type { FaultSettings, Operation } from "./settings.ts";

const DEVICE = 0x0100;
const STRANGER = 0x0300;
const DOMAIN = 5;
const STORM = 300;
const LEVELS = 4;
const NOBODY: InterruptSink = { deliver: () => undefined, post: () => undefined };
const READ_ONLY = 0x7777;
const BROKEN = 0x7778;
const UNMAPPED = 0x7_0000;
const WINDOW = 0xf_ee00;
const BEYOND = 2 ** 36;
const ABSENT_INDEX = 2;
/** 2^8 entries. */
const TABLE_LENGTH = 8;

const build = (silent: boolean): AmdBench => {
  const bench = new AmdBench(FULL);
  let table = bench.page();
  const interrupts = bench.page();
  const SA = silent ? 1 : 0;
  bench.put(DEVICE_TABLE_ENTRY, bench.entryOf(DEVICE), { V: 1, TV: 1, IR: 1, IW: 1, DomainID: DOMAIN, Mode: LEVELS, HostRoot: table, SA, IV: 1, IntCtl: 2, IntTabLen: TABLE_LENGTH, IntTabRoot: interrupts * 32 });
  // Blocked: nothing of it is translated; its interrupts have no table of their own.
  bench.put(DEVICE_TABLE_ENTRY, bench.entryOf(STRANGER), { V: 1, SA, IV: 1, IntCtl: 2, IntTabLen: 0, IntTabRoot: interrupts * 32 });
  const wrong = DEVICE_TABLE_ENTRY.encode({ V: 1, TV: 1, IR: 1, IW: 1, Mode: LEVELS, HostRoot: table });
  wrong[0] = (wrong[0] ?? 0) | (1 << 2); // no field has bit 2
  bench.putWords(bench.entryOf(DEVICE + 1), wrong);
  for (let level = LEVELS; level > 1; level--) {
    const next = bench.page();
    bench.put(HOST_PDE, table * 4096 + 8 * (Math.floor(READ_ONLY / 2 ** (9 * (level - 1))) % 512), { PR: 1, IR: 1, IW: 1, NextLevel: level - 1, Address: next });
    table = next;
  }
  bench.put(HOST_PTE, table * 4096 + 8 * (READ_ONLY % 512), { PR: 1, IR: 1, Address: 0x1_2345 });
  const broken = HOST_PTE.encode({ PR: 1, IR: 1, IW: 1, Address: 0x1_2346 });
  broken[1] = (broken[1] ?? 0) | (1 << 20); // bit 52
  bench.putWords(table * 4096 + 8 * (BROKEN % 512), broken);
  bench.put(IRTE_128, interrupts * 4096, { RemapEn: 1, Vector: 0x41 });
  bench.start({ GAEn: 1 });
  return bench;
};

const dma = (bench: AmdBench, requester: number, page: number, access: Access): void => {
  bench.iommu.translate({ requester, pasid: NO_PASID, addressType: AddressType.Untranslated, page, access }, newTranslation());
};
const interrupt = (bench: AmdBench, requester: number, data: number): void => {
  bench.iommu.remapInterrupt({ requester, address: 0xfee0_0000, data }, NOBODY, { fault: 0, recorded: false });
};

/** Software's part, as Linux does it: the head follows the tail; an overflow is cleared and the log started again. */
const take = (bench: AmdBench): void => {
  bench.takeEvents();
  if (bench.read(STATUS).EventOverflow === 0) return;
  bench.write(CONTROL, { ...bench.read(CONTROL), EventLogEn: 0 });
  bench.write(STATUS, { EventOverflow: 1 });
  bench.write(CONTROL, { ...bench.read(CONTROL), EventLogEn: 1 });
};

/** "compatibility" has no like here: a message is an index whatever it looks like. */
const ACTS: Readonly<Record<Operation, (bench: AmdBench) => void>> = {
  unmapped: (bench) => { dma(bench, DEVICE, UNMAPPED, Access.Read); },
  readonly: (bench) => { dma(bench, DEVICE, READ_ONLY, Access.Write); },
  reserved: (bench) => { dma(bench, DEVICE, BROKEN, Access.Read); },
  width: (bench) => { dma(bench, DEVICE, BEYOND, Access.Read); },
  source: (bench) => { dma(bench, STRANGER, READ_ONLY, Access.Read); },
  entry: (bench) => { dma(bench, DEVICE + 1, READ_ONLY, Access.Read); },
  window: (bench) => { dma(bench, DEVICE, WINDOW, Access.Read); },
  compatibility: (bench) => { interrupt(bench, DEVICE, 0x0441); },
  absent: (bench) => { interrupt(bench, DEVICE, ABSENT_INDEX); },
  impostor: (bench) => { interrupt(bench, STRANGER, ABSENT_INDEX); },
  storm: (bench) => { for (let i = 0; i < STORM; i++) dma(bench, DEVICE, UNMAPPED + i, Access.Read); },
  take,
};

/** What the event log holds after everything that was done. */
export const runAmd = ({ done, silent }: FaultSettings): FaultLab => {
  const bench = build(silent);
  let [taken, faults] = [0, 0];
  for (const operation of done) {
    if (operation === "take") taken += bench.events().length;
    ACTS[operation](bench);
    if (operation !== "take") faults += operation === "storm" ? STORM : 1;
  }
  const head = bench.read(EVT_HEAD).Ptr;
  const slots = bench.events().map((words, i): RingSlot => ({ index: (head + i) % RING_ENTRIES, words: [...words], pending: true }));
  const { EventOverflow, EventLogInt, EventLogRun } = bench.read(STATUS);
  const { events } = bench.iommu.totals;
  return { size: RING_ENTRIES, slots, pending: slots.length, overflow: EventOverflow === 1, first: head, status: { STATUS: `EventOverflow=${EventOverflow} EventLogInt=${EventLogInt} EventLogRun=${EventLogRun}`, EVT_HEAD: String(head), EVT_TAIL: String(bench.read(EVT_TAIL).Ptr) }, faults: Math.max(events, faults), lost: Math.max(0, events - taken - slots.length) };
};
