import { FULL } from "@iommu-lab/iommu-amd/hardware";
import { DEVICE_TABLE_ENTRY } from "@iommu-lab/iommu-amd/layouts";
import { LEGACY } from "@iommu-lab/iommu-intel/hardware";
import { IRTA_REG } from "@iommu-lab/iommu-intel/layouts";
import { IRTE_128, IRTE_128_GUEST, IRTE_32 } from "@iommu-lab/interrupt-remap/amd";
import { IRTE_POSTED, IRTE_REMAPPED, POSTED_INTERRUPT_DESCRIPTOR } from "@iommu-lab/interrupt-remap/vtd";
import type { ExplanationStep, Interrupt, InterruptSink, Iommu, PostingNotification } from "@iommu-lab/pci-bus";
import { AmdBench } from "../bench/amd-bench.ts";
import type { AnyLayout, Tables } from "../bench/tables.ts";
import { VtdBench } from "../bench/vtd-bench.ts";
import { applyEdits } from "../entries/edits.ts";
import { OWNER, type InterruptSettings } from "./settings.ts";

/** A structure in memory as it is after the messages. */
export interface Shown {
  readonly layout: AnyLayout;
  readonly address: number;
  readonly words: readonly number[];
}

/** What came of the messages. */
export interface InterruptLab {
  /** Steps of the last message. */
  readonly steps: readonly ExplanationStep[];
  readonly fault: number;
  readonly delivered: readonly Interrupt[];
  /** Notifications of posted interrupts, in order. */
  readonly notifications: readonly PostingNotification[];
  readonly entry: Shown;
  /** VT-d's posted-interrupt descriptor. */
  readonly descriptor: Shown | undefined;
  /** Virtual vectors that wait for the guest. */
  readonly pending: readonly number[];
  /** Times that a processor has to leave the guest, or be woken, for these messages. */
  readonly exits: number;
}

/** The entry that the bench has bound, and its vector in the host or in the guest. */
const INDEX = 1;
const VECTOR = 0x41;
/** Notification vectors: of a running guest, and of one that must be woken. */
const ACTIVE = 0xf2;
const WAKE_UP = 0xf1;
const TAG = 7;
/** IRR of a virtual APIC page: 32 vectors every 16 bytes. */
const IRR = 0x200;

/** The bench of either vendor: built, edited, and what to look at afterwards. */
interface Bench {
  readonly tables: Tables;
  readonly iommu: Iommu;
  readonly layout: AnyLayout;
  readonly entry: number;
  readonly descriptor: number | undefined;
  /** Words of 32 requests each. */
  readonly requests: readonly number[];
}

const vtdBench = ({ posted, processor, running, suppressed, extended, compatibility, edits }: InterruptSettings): Bench => {
  const bench = new VtdBench(LEGACY, { caches: "none" });
  const [table, page] = [bench.page(), bench.page()];
  const [entry, descriptor] = [table * 4096 + 16 * INDEX, page * 4096];
  const owner = { SVT: 1, SID: OWNER };
  // Without EIME a destination has 8 bits, which stand at 15:8.
  const destination = extended ? processor : processor << 8;
  if (posted) {
    bench.put(IRTE_POSTED, entry, { P: 1, IM: 1, VV: VECTOR, PDAL: descriptor / 64, PDAH: 0, ...owner });
    bench.put(POSTED_INTERRUPT_DESCRIPTOR, descriptor, { SN: suppressed ? 1 : 0, NV: running ? ACTIVE : WAKE_UP, NDST: destination });
  } else bench.put(IRTE_REMAPPED, entry, { P: 1, V: VECTOR, DST: destination, ...owner });
  applyEdits(bench, edits);
  bench.write(IRTA_REG, { IRTA: table, S: 7, EIME: extended ? 1 : 0 });
  bench.command({ SIRTP: 1 });
  bench.command({ IRE: 1, CFI: compatibility ? 1 : 0 });
  return { tables: bench, iommu: bench.unit, layout: posted ? IRTE_POSTED : IRTE_REMAPPED, entry, descriptor: posted ? descriptor : undefined, requests: posted ? Array.from({ length: 8 }, (_, i) => descriptor + 4 * i) : [] };
};

const amdBench = ({ posted, wide, processor, running, extended, edits }: InterruptSettings): Bench => {
  const bench = new AmdBench(FULL, { caches: "none" });
  const [table, page] = [bench.page(), bench.page()];
  const guest = posted && wide;
  const entry = table * 4096 + INDEX * (wide ? 16 : 4);
  bench.put(DEVICE_TABLE_ENTRY, bench.entryOf(OWNER), { V: 1, IV: 1, IntCtl: 2, IntTabLen: 8, IntTabRoot: table * 32 });
  // The stranger has a table of its own, with nothing in it: AMD's tables are by device, and need no source check.
  bench.put(DEVICE_TABLE_ENTRY, bench.entryOf(0x0300), { V: 1, IV: 1, IntCtl: 2, IntTabLen: 8, IntTabRoot: bench.page() * 32 });
  if (guest) bench.put(IRTE_128_GUEST, entry, { RemapEn: 1, GuestMode: 1, IsRun: running ? 1 : 0, GALogIntr: 1, Destination: processor, GATag: TAG, Vector: VECTOR, VApicPage: page });
  else if (wide) bench.put(IRTE_128, entry, { RemapEn: 1, Destination: processor, Vector: VECTOR });
  else bench.put(IRTE_32, entry, { RemapEn: 1, Destination: processor, Vector: VECTOR });
  applyEdits(bench, edits);
  bench.start({ ...(wide ? { GAEn: 1, GAMEn: 1, GALogEn: 1 } : {}), XTEn: wide && extended ? 1 : 0 });
  return { tables: bench, iommu: bench.iommu, layout: guest ? IRTE_128_GUEST : wide ? IRTE_128 : IRTE_32, entry, descriptor: undefined, requests: guest ? Array.from({ length: 8 }, (_, i) => page * 4096 + IRR + 16 * i) : [] };
};

const shown = (tables: Tables, layout: AnyLayout, address: number): Shown => ({ layout, address, words: [...tables.words(address, layout.width / 32)] });

/** Sends the messages. The same settings give the same result. */
export const runInterrupts = (settings: InterruptSettings): InterruptLab => {
  const { tables, iommu, layout, entry, descriptor, requests } = settings.vendor === "intel" ? vtdBench(settings) : amdBench(settings);
  const delivered: Interrupt[] = [];
  const notifications: PostingNotification[] = [];
  const sink: InterruptSink = { deliver: (interrupt) => { delivered.push({ ...interrupt }); }, post: ({ notification }) => { notifications.push(notification.kind === "interrupt" ? { kind: "interrupt", interrupt: { ...notification.interrupt } } : notification); } };
  const verdict = { fault: 0, recorded: false };
  let steps: ExplanationStep[] = [];
  for (let i = 0; i < settings.messages; i++) {
    steps = [];
    iommu.remapInterrupt({ requester: settings.requester, address: settings.address, data: settings.data }, sink, verdict, { step: (step) => { steps.push(step); } });
  }
  const pending = requests.flatMap((at, i) => { const word = tables.memory.read32(at); return Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (word >>> bit) & 1).map((bit) => 32 * i + bit); });
  // A host's interrupt takes its processor out of the guest; of posted ones only those that must wake or log do.
  const waking = notifications.filter((notification) => notification.kind === "log" || (notification.kind === "interrupt" && notification.interrupt.vector !== ACTIVE)).length;
  return { steps, fault: verdict.fault, delivered, notifications, entry: shown(tables, layout, entry), descriptor: descriptor === undefined ? undefined : shown(tables, POSTED_INTERRUPT_DESCRIPTOR, descriptor), pending, exits: delivered.length + waking };
};
