import { PHYSICAL_LIMIT, type RamRange } from "@iommu-lab/memory";
import { TraceError, TraceFields, type Word64 } from "./trace-fields.ts";

/** First line of a trace: the machine it was recorded on. */
export interface TraceHeader {
  readonly iommu: "intel" | "amd";
  readonly ram: readonly RamRange[];
  /** 32-bit words of the registers that the header gives a reset value, by byte offset. */
  readonly reset: ReadonlyMap<number, number>;
  /** DWORDs of the IOMMU's configuration space at reset, by byte offset: an AMD IOMMU is a PCI function. */
  readonly config: ReadonlyMap<number, number>;
  /** What the recorded machine was built with; a vendor's machine reads the few keys that the format lets it read. */
  readonly options: TraceFields;
}

/** Largest offset of a register: a unit's window has at most 2^15 pages (VT-d §8.3, size in DRHD). */
const OFFSET_LIMIT = 2 ** 27 - 8;

const readRam = (fields: TraceFields): RamRange[] => {
  const size = fields.integer("ram", PHYSICAL_LIMIT);
  if (!fields.has("ram_map")) return [{ start: 0, size }];
  const map = fields.raw("ram_map");
  if (!Array.isArray(map)) return fields.fail(`"ram_map" must be a list of [start, end)`);
  return map.map((pair: unknown) => {
    if (!Array.isArray(pair) || pair.length !== 2) return fields.fail(`"ram_map" must be a list of [start, end)`);
    const range = new TraceFields(fields.line, "machine.ram_map", { start: pair[0] as unknown, end: pair[1] as unknown });
    const start = range.integer("start", PHYSICAL_LIMIT);
    return { start, size: range.integer("end", PHYSICAL_LIMIT) - start };
  });
};

const readReset = (fields: TraceFields): Map<number, number> => {
  const words = new Map<number, number>();
  if (!fields.has("reset")) return words;
  const reset = fields.record("reset");
  for (const key of reset.keys()) {
    const offset = new TraceFields(fields.line, "machine.reset", { offset: key }).integer("offset", OFFSET_LIMIT);
    const { low, high }: Word64 = reset.record(key).word64("value");
    words.set(offset, low);
    if (reset.record(key).raw("size") === 8) words.set(offset + 4, high);
  }
  return words;
};

const readConfig = (fields: TraceFields): Map<number, number> => {
  const dwords = new Map<number, number>();
  if (!fields.has("config")) return dwords;
  const config = fields.record("config");
  for (const key of config.keys()) dwords.set(new TraceFields(fields.line, "machine.config", { offset: key }).integer("offset", 0xffc), config.integer(key, 0xffff_ffff));
  return dwords;
};

/**
 * Reads the first line of a trace.
 * @throws TraceError when it describes no machine that can be built
 */
export const parseHeader = (text: string, line = 1): TraceHeader => {
  const fields = TraceFields.ofLine(text, line);
  if (fields.what !== "machine") throw new TraceError(line, `a trace begins with the op "machine", not with "${fields.what}"`);
  if (fields.raw("trace") !== 1) return fields.fail(`"trace" is ${JSON.stringify(fields.raw("trace")) as string | undefined ?? "missing"}; only version 1 of the format can be read`);
  const iommu = fields.text("iommu");
  if (iommu !== "intel" && iommu !== "amd") return fields.fail(`"iommu" is "${iommu}"; it must be "intel" or "amd"`);
  fields.record("regs");
  return { iommu, ram: readRam(fields), reset: readReset(fields), config: readConfig(fields), options: fields.has("options") ? fields.record("options") : new TraceFields(line, "machine.options", {}) };
};
