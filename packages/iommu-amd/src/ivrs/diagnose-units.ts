import type { IvrsContents } from "./diagnose.ts";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import { EFR } from "../layouts/index.ts";
import type { Interval } from "./intervals.ts";
import { IVHD_ATTRIBUTES, IVHD_FEATURES } from "./layouts.ts";
import { countingBlocks, hardwareBlocks, unitKey } from "./ranges.ts";
import type { Ivhd, Ivhd10, Ivhd11 } from "./table.ts";

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const NEVER_FILLED_IN = 2n ** 64n - 1n;

const BASE = 8;
const CAPABILITY = 6;
const FEATURES = 20;
const EFR_IMAGE = 24;

const wordsOf = (value: bigint): Uint32Array => Uint32Array.of(Number(value & 0xffff_ffffn), Number(value >> 32n));

/** Bytes of the register window: 16 KiB, with performance counters 512 KiB. AMD-Vi §3.4. */
const windowSize = (block: Ivhd): bigint => {
  const counters = block.type === 0x10 ? IVHD_FEATURES.get.PNBanks(Uint32Array.of(block.features)) > 0 : EFR.layout.get.PCSup(wordsOf(block.extendedFeatures)) > 0;
  return counters ? 0x8_0000n : 0x4000n;
};

/** A register window: first and last address. */
interface Window extends Interval<bigint> {
  readonly block: Ivhd;
}

/** Register windows that can exist, one for each IOMMU, in the order of their addresses. */
export const registerWindows = (blocks: readonly Ivhd[]): Window[] =>
  blocks
    .filter(({ registerBase }) => registerBase !== 0n && registerBase !== NEVER_FILLED_IN)
    .map((block) => ({ block, first: block.registerBase, last: block.registerBase + windowSize(block) - 1n }))
    .sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : a.block.offset - b.block.offset));

const diagnoseBase = (block: Ivhd, width: number): Diagnosis[] => {
  const { registerBase, offset, capabilityOffset } = block;
  const at = offset + BASE;
  const found: Diagnosis[] = [];
  if (capabilityOffset < 0x40 || capabilityOffset > 0xfc || capabilityOffset % 4 !== 0) found.push(diagnosis("ivhd-capability-misplaced", offset + CAPABILITY, `The capability is said to be at offset ${hex(capabilityOffset)}; capabilities lie from 0x40 to 0xfc, on multiples of 4.`));
  if (registerBase === 0n) return [...found, diagnosis("ivhd-base-zero", at, "The register window is at address 0.")];
  if (registerBase === NEVER_FILLED_IN) return [...found, diagnosis("ivhd-base-all-ones", at, "The register window's address is all ones.")];
  if (registerBase % windowSize(block) !== 0n) found.push(diagnosis("ivhd-base-unaligned", at, `The register window at ${hex(registerBase)} is not aligned to its ${hex(windowSize(block))} bytes.`));
  if (width > 0 && (registerBase + windowSize(block) - 1n) >> BigInt(width) !== 0n) found.push(diagnosis("ivhd-base-beyond-width", at, `The register window at ${hex(registerBase)} needs more than ${width} address bits.`));
  return found;
};

const diagnoseOverlaps = (windows: readonly Window[]): Diagnosis[] => {
  const found: Diagnosis[] = [];
  let farthest: Window | undefined;
  for (const window of windows) {
    if (farthest && window.first <= farthest.last) found.push(diagnosis("ivhd-windows-overlap", window.block.offset + BASE, `The register window at ${hex(window.first)} overlaps that of the block at offset ${farthest.block.offset}.`));
    if (!farthest || window.last > farthest.last) farthest = window;
  }
  return found;
};

/** The fields that features (10h) and EFR image have in common. */
const COMMON = ["XTSup", "NXSup", "GTSup", "GLXSup", "IASup", "GASup", "HESup", "PASMax", "GATS", "HATS"] as const;

const diagnoseFeatures = (old: Ivhd10, block: Ivhd11): Diagnosis[] => {
  const [said, image] = [IVHD_FEATURES.decode(Uint32Array.of(old.features)), EFR.layout.decode(wordsOf(block.extendedFeatures))];
  const different = COMMON.filter((name) => said[name] !== image[name]);
  return different.length === 0 ? [] : [diagnosis("features-contradict", block.offset + EFR_IMAGE, `The EFR image differs in ${different.join(", ")} from the features of the block at offset ${old.offset}.`)];
};

/** Blocks for one IOMMU, in the order of the table. */
const diagnoseTogether = (blocks: readonly Ivhd[], reporting: boolean): Diagnosis[] => {
  const found: Diagnosis[] = [];
  const first = blocks[0] as Ivhd;
  const seen = new Set<number>();
  let highest = 0;
  for (const block of blocks) {
    const { type, offset } = block;
    if (seen.has(type)) found.push(diagnosis("ivhd-repeated", offset, `There is a block of type ${hex(type)} for the IOMMU ${hex(first.deviceId)} already.`));
    else if (type < highest) found.push(diagnosis("ivhd-out-of-order", offset, `The block of type ${hex(type)} for the IOMMU ${hex(first.deviceId)} stands after that of type ${hex(highest)}.`));
    seen.add(type);
    highest = Math.max(highest, type);
    if (block.registerBase !== first.registerBase || block.capabilityOffset !== first.capabilityOffset) found.push(diagnosis("ivhd-blocks-differ", offset + (block.registerBase === first.registerBase ? CAPABILITY : BASE), `Register window or capability of the IOMMU ${hex(first.deviceId)} differ from the block at offset ${first.offset}.`));
    if (block.type === 0x10) continue;
    if (reporting && block.extendedFeatures === 0n) found.push(diagnosis("efr-image-empty", offset + EFR_IMAGE, "The image of the extended feature register is 0."));
    else if (first.type === 0x10 && reporting) found.push(...diagnoseFeatures(first, block));
  }
  return found;
};

const diagnoseAttributes = (block: Ivhd): Diagnosis[] => {
  if (block.type === 0x10) return [];
  const words = Uint32Array.of(block.attributes);
  const at = block.offset + FEATURES;
  const misplaced = IVHD_ATTRIBUTES.get.PNCounters(words) === 0 && (block.attributes & 0xf000_187e) === 0;
  return [
    ...(IVHD_ATTRIBUTES.get.HATDis(words) ? [diagnosis("host-translation-disabled", at, "HATDis is set.")] : []),
    ...(IVHD_ATTRIBUTES.reservedIn(words) < 0 ? [] : misplaced ? [diagnosis("counters-misplaced", at, `The attributes ${hex(block.attributes)} have the number of performance counters in bits 10:7, as in the counter configuration register, instead of 16:13.`)] : [diagnosis("reserved-nonzero", at, `Reserved bits of the attributes ${hex(block.attributes)} are set.`)]),
  ];
};

/** What is wrong with IVHD blocks, but for their device entries. */
export const diagnoseUnits = ({ structures, physicalAddressSize, extendedFeatureReporting }: IvrsContents): Diagnosis[] => {
  const blocks = hardwareBlocks(structures);
  const together = new Map<number, Ivhd[]>();
  for (const block of blocks) {
    const known = together.get(unitKey(block));
    if (known) known.push(block);
    else together.set(unitKey(block), [block]);
  }
  return [
    ...(blocks.length === 0 ? [diagnosis("ivhd-missing", 48, "The table has no block that defines an IOMMU.")] : []),
    ...blocks.flatMap((block) => [...diagnoseBase(block, physicalAddressSize), ...diagnoseAttributes(block)]),
    ...[...together.values()].flatMap((each) => diagnoseTogether(each, extendedFeatureReporting)),
    ...diagnoseOverlaps(registerWindows(countingBlocks(structures))),
  ];
};
