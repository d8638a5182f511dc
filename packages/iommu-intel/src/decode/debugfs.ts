import { big, hex, lineOf, linesOf, type Decoded, type DecodedStructure, type Fact, type Finding, type LineResult, type Told } from "@iommu-lab/pci-bus/decode";
import { decodeDescriptor } from "./descriptors.ts";
import { decodeRegister, REGISTERS } from "./registers.ts";
import { decodeContextEntry, decodeIrte, decodePasidEntry, decodeRootEntry, decodeSecondStageEntry } from "./table-entries.ts";

/** Files below /sys/kernel/debug/iommu/intel that are read. */
export type DebugfsFile = "iommu_regset" | "dmar_translation_struct" | "ir_translation_struct" | "invalidation_queue" | "domain_translation_struct" | "dmar_perf_latency";

/** What a line's reading depends on: the unit or device whose rows follow, and the row format. */
interface State {
  unit: string | null;
  /** Device whose page table follows. */
  device: string | null;
}

type RowReader = (line: string, offset: number, state: State) => LineResult | undefined;

const named = ({ structure, findings }: Told, facts: Readonly<Record<string, Fact>>): LineResult => ({ structures: [{ ...structure, facts: { ...facts, ...structure.facts } }], findings });

const head = (line: string, state: State): boolean => {
  const unit = /(?:^IOMMU:? |on IOMMU: )(\S{1,32}?):?(?: |$)/.exec(line);
  if (unit) state.unit = unit[1] ?? null;
  return unit !== null;
};

const registerRow: RowReader = (line, offset, state) => {
  const match = /^\s*([A-Z][0-9A-Z_a-z]{1,24})\s+0x([0-9a-f]{1,4})\s+0x([0-9a-f]{1,16})\s*$/.exec(line);
  if (!match) return undefined;
  const [, name = "", at, contents] = match;
  const register = REGISTERS.get(name);
  const value = big(contents);
  if (!register) return lineOf(name, offset, { unit: state.unit, register: Number(big(at)), value }, []);
  // 32-bit registers are printed with 16 digits too.
  return named(decodeRegister(name, BigInt.asUintN(register.width, value), offset), { unit: state.unit });
};

const quads = (text: string): bigint[] => text.split(":").map((part) => big(part.replace(/^0x/, "")));

const joined = (parts: readonly bigint[]): bigint => parts.reduce((sum, part) => (sum << 64n) | part, 0n);

const translationRow: RowReader = (line, offset, state) => {
  const match = /^([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\s+(0x[0-9a-f]{1,16}:0x[0-9a-f]{1,16})\s+(0x[0-9a-f]{1,16}:0x[0-9a-f]{1,16})\s+(-1|\d{1,7})\s+(0x[0-9a-f]{1,16}:0x[0-9a-f]{1,16}:0x[0-9a-f]{1,16})/.exec(line);
  if (!match) {
    const off = /DMA Remapping is not enabled on (\S{1,32})/.exec(line);
    return off ? lineOf("unit", offset, { unit: off[1] ?? null, translation: false }, [`DMA remapping is off on ${off[1] ?? ""}.`]) : undefined;
  }
  const [, requester = "", root = "", context = "", pasid = "-1", entry = ""] = match;
  const facts = { unit: state.unit, requester };
  const rows: Told[] = [decodeRootEntry(joined(quads(root)), offset)];
  if (pasid === "-1") rows.push(decodeContextEntry(joined(quads(context)), offset));
  else rows.push(decodePasidEntry(joined(quads(entry)), offset));
  const [first, second] = rows.map((row) => named(row, { ...facts, pasid: pasid === "-1" ? null : Number(pasid) }));
  // Scalable-mode root and context entries are printed in part only, so they are not judged.
  return pasid === "-1" && first && second ? { structures: [...first.structures, ...second.structures], findings: [...first.findings, ...second.findings] } : second;
};

const interruptRow: RowReader = (line, offset, state) => {
  const match = /^\s*(\d{1,5})\s+([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\s+(?:[0-9a-f]{8}\s+){1,2}[0-9a-f]{2}\s+([0-9a-f]{16})\s+([0-9a-f]{16})\s*$/.exec(line);
  if (!match) return line.includes("Interrupt Remapping is not enabled") ? lineOf("interrupt remapping", offset, { unit: state.unit, enabled: false }, ["Interrupt remapping is off."]) : undefined;
  const [, index, , high, low] = match;
  return named(decodeIrte((big(high) << 64n) | big(low), offset), { unit: state.unit, index: Number(index) });
};

const queueRow: RowReader = (line, offset, state) => {
  const base = /Base: 0x([0-9a-f]{1,16})\s+Head: (\d{1,7})\s+Tail: (\d{1,7})/.exec(line);
  if (base) return lineOf("invalidation queue", offset, { unit: state.unit, base: big(base[1]), head: Number(base[2]), tail: Number(base[3]) }, [base[2] === base[3] ? "The queue is idle: head and tail are equal." : `The unit works on descriptor ${base[2] ?? ""}; software has added up to ${base[3] ?? ""}.`]);
  const match = /^\s*(\d{1,6})\s+([0-9a-f]{16})\s+([0-9a-f]{16})(?:\s+([0-9a-f]{16})\s+([0-9a-f]{16}))?\s+([0-9a-f]{16})\s*$/.exec(line);
  if (!match) return undefined;
  const [, index, qw0, qw1, qw2, qw3, status] = match;
  const value = joined([big(qw3), big(qw2), big(qw1), big(qw0)]);
  // Slots that were never used say nothing.
  if (value === 0n) return { structures: [], findings: [] };
  return named(decodeDescriptor(value, qw2 === undefined ? 128 : 256, offset), { unit: state.unit, index: Number(index), status: (["free", "in use", "done", "aborted"] as const)[Number(big(status))] ?? Number(big(status)) });
};

const pageRow: RowReader = (line, offset, state) => {
  const device = /^Device (\S{1,32})(?: with pasid (?:0x)?([0-9a-f]{1,5}))? @0x([0-9a-f]{1,16})/.exec(line);
  if (device) {
    state.device = device[1] ?? null;
    return lineOf("domain", offset, { requester: state.device, pasid: device[2] === undefined ? null : Number(big(device[2])), pageTable: big(device[3]) }, [`The table of ${state.device ?? ""} is at ${hex(big(device[3]))}.`]);
  }
  const match = /^0x([0-9a-f]{1,13}) \|\s+(.{0,200})$/.exec(line);
  if (!match) return undefined;
  const entries = (match[2] ?? "").trim().split(/\s+/).map((text) => big(/^0x([0-9a-f]{1,16})$/.exec(text)?.[1]));
  const leaf = entries.findLastIndex((entry) => entry !== 0n);
  const level = entries.length - leaf;
  const entry = entries[leaf];
  if (entry === undefined) return undefined;
  const { structure, findings } = decodeSecondStageEntry(entry, offset, level);
  const bytes = 4096n << BigInt(9 * (level - 1));
  const iova = big(match[1]) << 12n;
  return { structures: [{ ...structure, facts: { requester: state.device, iova, bytes, ...structure.facts, path: entries.slice(0, leaf + 1) }, meaning: [`IOVA ${hex(iova)} to ${hex(iova + bytes - 1n)}: ${structure.meaning.join(" ")}`] }], findings };
};

const LATENCIES = ["below100ns", "below1us", "below10us", "below100us", "below1ms", "below10ms", "above10ms", "minimumUs", "maximumUs", "averageUs"] as const;

const latencyRow: RowReader = (line, offset, state) => {
  const match = /^\s*(inv_iotlb|inv_devtlb|inv_iec|svm_prq)((?:\s+\d{1,20}){10})\s*$/.exec(line);
  if (!match) return undefined;
  const values = (match[2] ?? "").trim().split(/\s+/).map(BigInt);
  return lineOf(match[1] ?? "", offset, { unit: state.unit, ...Object.fromEntries(LATENCIES.map((key, i) => [key, Number(values[i] ?? 0n)])) }, [`Took ${String(values[9])} µs on average, between ${String(values[7])} and ${String(values[8])} µs.`]);
};

const ROWS: Readonly<Record<DebugfsFile, RowReader>> = { iommu_regset: registerRow, dmar_translation_struct: translationRow, ir_translation_struct: interruptRow, invalidation_queue: queueRow, domain_translation_struct: pageRow, dmar_perf_latency: latencyRow };

const SIGNS: readonly (readonly [DebugfsFile, RegExp])[] = [
  ["iommu_regset", /^Name\s+Offset\s+Contents/m],
  ["dmar_translation_struct", /^B\.D\.F\s+Root_entry|^DMA Remapping is not enabled on/m],
  ["ir_translation_struct", /^(?:Remapped|Posted) Interrupt supported on IOMMU/m],
  ["invalidation_queue", /^Invalidation queue on IOMMU/m],
  ["domain_translation_struct", /^IOVA_PFN\s+PML5E/m],
  ["dmar_perf_latency", /^\s*<0\.1us/m],
];

/** Which debugfs file a text is, by its headings; only its beginning is looked at. */
export const debugfsFile = (text: string): DebugfsFile | undefined => SIGNS.find(([, sign]) => sign.test(text.slice(0, 65_536)))?.[0];

/** A file of /sys/kernel/debug/iommu/intel. Lines that are no rows are passed over. */
export const decodeDebugfs = (file: DebugfsFile, text: string): Decoded => {
  const [structures, diagnoses]: [DecodedStructure[], Finding[]] = [[], []];
  const state: State = { unit: null, device: null };
  for (const { line, offset } of linesOf(text)) {
    head(line, state);
    const result = ROWS[file](line, offset, state);
    if (!result) continue;
    for (const structure of result.structures) structures.push(structure);
    for (const finding of result.findings) diagnoses.push(finding);
  }
  return { kind: "debugfs", header: { file }, structures, diagnoses };
};
