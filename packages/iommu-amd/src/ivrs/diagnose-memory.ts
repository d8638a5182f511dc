import type { IvrsContents } from "./diagnose.ts";
import { registerWindows } from "./diagnose-units.ts";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import { touching } from "./intervals.ts";
import { IVMD_FLAGS } from "./layouts.ts";
import { countingBlocks, rangesOf, type IvhdRange } from "./ranges.ts";
import type { Ivhd, Ivmd } from "./table.ts";

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const PAGE = 4096n;
const END = 1n << 64n;
/** Interrupts, and HyperTransport's special ranges. AMD-Vi §2.1.2. */
const SPECIAL = [
  { first: 0xfee0_0000n, last: 0xfeef_ffffn },
  { first: 0xfd_0000_0000n, last: 0xff_ffff_ffffn },
] as const;

const START = 16;
const SIZE = 24;

const diagnoseBounds = ({ start, size, offset }: Ivmd, width: number): Diagnosis[] => {
  if (size === 0n) return [diagnosis("ivmd-empty", offset + SIZE, `The memory range at ${hex(start)} has no bytes.`)];
  const last = start + size - 1n;
  const range = `The memory range from ${hex(start)} to ${hex(last)}`;
  if (last >= END) return [diagnosis("ivmd-wraps", offset + SIZE, `${range} needs more than 64 bits.`)];
  const found: Diagnosis[] = [];
  if (start % PAGE !== 0n) found.push(diagnosis("ivmd-unaligned", offset + START, `${range} does not begin on a page.`));
  else if (size % PAGE !== 0n) found.push(diagnosis("ivmd-unaligned", offset + SIZE, `${range} does not end with a page.`));
  if (width > 0 && last >> BigInt(width) !== 0n) found.push(diagnosis("ivmd-beyond-width", offset + START, `${range} needs more than ${width} address bits.`));
  if (SPECIAL.some((special) => start <= special.last && last >= special.first)) found.push(diagnosis("ivmd-in-special-range", offset + START, `${range} touches addresses that are no memory.`));
  return found;
};

const diagnoseFlags = ({ flags, offset }: Ivmd): Diagnosis[] => {
  const { Unity, IR, IW, ExclusionRange } = IVMD_FLAGS.decode(Uint32Array.of(flags));
  return [
    ...(IVMD_FLAGS.reservedIn(Uint32Array.of(flags)) < 0 ? [] : [diagnosis("reserved-nonzero", offset + 1, `Reserved bits of the flags ${hex(flags)} are set.`)]),
    ...(ExclusionRange ? [diagnosis("ivmd-exclusion", offset + 1, "The range is excluded from translation.")] : []),
    ...(Unity && !ExclusionRange ? [diagnosis("ivmd-unity", offset + 1, "The range is to be mapped one to one.")] : []),
    ...(ExclusionRange || IR || IW ? [] : [diagnosis("ivmd-no-access", offset + 1, `The flags ${hex(flags)} allow neither reads nor writes.`)]),
  ];
};

type Served = ReadonlyMap<number, (first: number, last: number) => boolean>;

/** Per segment: whether an IOMMU has any of a range of DeviceIDs. */
const servedDevices = (units: readonly Ivhd[]): Served => {
  const ranges = new Map<number, IvhdRange[]>();
  for (const { segment, entries } of units) {
    const known = ranges.get(segment) ?? [];
    for (const range of rangesOf(entries).ranges) known.push(range);
    ranges.set(segment, known);
  }
  return new Map([...ranges].map(([segment, each]) => [segment, touching(each)]));
};

const diagnoseDevices = ({ type, segment, deviceId, lastDeviceId, offset }: Ivmd, served: Served): Diagnosis[] => {
  const has = served.get(segment);
  if (!has) return [diagnosis("segment-without-ivhd", offset + 8, `The memory range is for segment ${segment}.`)];
  if (type === 0x20) return [];
  if (type === 0x22 && lastDeviceId < deviceId) return [diagnosis("ivmd-range-reversed", offset + 6, `The devices end at ${hex(lastDeviceId)}, before their start at ${hex(deviceId)}.`)];
  const last = type === 0x22 ? lastDeviceId : deviceId;
  return has(deviceId, last) ? [] : [diagnosis("ivmd-device-unserved", offset + 4, `The memory range is for device ${hex(deviceId)}${last > deviceId ? ` to ${hex(last)}` : ""}.`)];
};

/** What is wrong with IVMD blocks. */
export const diagnoseMemory = ({ structures, physicalAddressSize }: IvrsContents): Diagnosis[] => {
  const ranges = structures.filter((s): s is Ivmd => s.name === "IVMD");
  if (ranges.length === 0) return [];
  const units = countingBlocks(structures);
  const hasRegisters = touching(registerWindows(units));
  const served = servedDevices(units);
  return ranges.flatMap((range) => [
    ...diagnoseFlags(range),
    ...diagnoseDevices(range, served),
    ...diagnoseBounds(range, physicalAddressSize),
    ...(range.size > 0n && hasRegisters(range.start, range.start + range.size - 1n) ? [diagnosis("ivmd-over-registers", range.offset + START, `The memory range at ${hex(range.start)} touches the registers of an IOMMU.`)] : []),
  ]);
};
