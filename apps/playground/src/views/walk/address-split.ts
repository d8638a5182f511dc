import { NO_PASID } from "@iommu-lab/pci-bus";
import { MODES, visitedLevels, LEAF_LEVELS, type WalkMode } from "./modes.ts";
import type { WalkSettings } from "./settings.ts";

/** A run of bits with what it is for. */
export interface Part {
  readonly kind: "bus" | "function" | "device" | "directory" | "pasidRow" | "level" | "skipped" | "offset" | "above";
  readonly msb: number;
  readonly lsb: number;
  readonly value: bigint;
  /** Of a table's row. */
  readonly level: number;
}

/** One number of the request, split. */
export interface Split {
  readonly name: "requester" | "pasid" | "address";
  readonly parts: readonly Part[];
}

const part = (kind: Part["kind"], number: bigint, msb: number, lsb: number, level = 0): Part => ({ kind, msb, lsb, value: (number >> BigInt(lsb)) & ((1n << BigInt(msb - lsb + 1)) - 1n), level });

/** Lowest address bit that selects a row at a level. */
export const lowestBit = (level: number): number => 12 + 9 * (level - 1);

const addressParts = (mode: WalkMode, { address, size, skip }: WalkSettings): readonly Part[] => {
  const number = BigInt(address);
  if (mode.levels === 0) return [part("offset", number, 63, 0)];
  const visited = visitedLevels(mode, size, skip);
  const end = lowestBit(LEAF_LEVELS[size]);
  const width = Math.min(64, lowestBit(mode.levels + 1));
  const levels = Array.from({ length: mode.levels - LEAF_LEVELS[size] + 1 }, (_, i) => mode.levels - i);
  return [...(width < 64 ? [part("above", number, 63, width)] : []), ...levels.map((level) => part(visited.includes(level) ? "level" : "skipped", number, Math.min(63, lowestBit(level + 1) - 1), lowestBit(level), level)), part("offset", number, end - 1, 0)];
};

/** How hardware takes a request apart to find the rows of its tables. */
export const splitRequest = (settings: WalkSettings): readonly Split[] => {
  const mode = MODES[settings.mode];
  const requester = BigInt(settings.requester);
  const scalable = mode.vendor === "intel" && mode.kind !== "legacy";
  const pasid = BigInt(settings.pasid === NO_PASID ? 0 : settings.pasid);
  return [
    { name: "requester", parts: mode.vendor === "intel" ? [part("bus", requester, 15, 8), part("function", requester, 7, 0)] : [part("device", requester, 15, 0)] },
    ...(scalable ? [{ name: "pasid" as const, parts: [part("directory", pasid, 19, 6), part("pasidRow", pasid, 5, 0)] }] : []),
    { name: "address", parts: addressParts(mode, settings) },
  ];
};
