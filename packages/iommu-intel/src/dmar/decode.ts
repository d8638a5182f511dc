import { decodeSdt, encodeSdt, reservedBytes, SDT_HEADER_SIZE, sdtChecksum, wide, wordsAt } from "@iommu-lab/pci-bus/acpi";
import { diagnoseDmar } from "./diagnose.ts";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import { ANDD, ATSR, DEVICE_SCOPE, DMAR_BODY, DRHD, RHSA, RMRR, SATC, SIDP, STRUCTURES, structureName } from "./layouts.ts";
import type { DmarOddities, DmarPathStep, DmarScope, DmarStructure, DmarTable, RawStructure } from "./table.ts";

/** Bytes that are no DMAR table at all. */
export class DmarError extends Error {
  override readonly name = "DmarError";
}

/** Offset of the first remapping structure. VT-d §8.1. */
const STRUCTURES_OFFSET = 48;

const SCOPE_HEADER = DEVICE_SCOPE.width / 8;

type Report = (found: Diagnosis) => void;

const optional = <K extends string>(key: K, bytes: Uint8Array | undefined): Readonly<Partial<Record<K, Uint8Array>>> => (bytes === undefined || bytes.length === 0 ? {} : { [key]: bytes }) as Readonly<Partial<Record<K, Uint8Array>>>;

const hexBytes = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");

const readReserved = (layout: Parameters<typeof reservedBytes>[0], words: Uint32Array, at: number, report: Report): { readonly reserved?: Uint8Array } => {
  const reserved = reservedBytes(layout, words);
  if (reserved) {
    const first = reserved.findIndex((byte) => byte !== 0);
    report(diagnosis("reserved-nonzero", at + first, `Reserved bits of ${layout.name} are set (byte ${first} on: ${hexBytes(reserved.subarray(first, reserved.findLastIndex((byte) => byte !== 0) + 1))}).`));
  }
  return optional("reserved", reserved);
};

const readScope = (bytes: Uint8Array, at: number, inSidp: boolean, report: Report): DmarScope => {
  const words = wordsAt(bytes, at, DEVICE_SCOPE.width);
  const { TYPE, LENGTH, FLAGS, ENUMERATION_ID, START_BUS } = DEVICE_SCOPE.decode(words);
  const path: DmarPathStep[] = [];
  for (let step = at + SCOPE_HEADER; step + 2 <= at + LENGTH; step += 2) path.push({ device: bytes[step] as number, function: bytes[step + 1] as number });
  const odd = (LENGTH - SCOPE_HEADER) % 2;
  if (odd) report(diagnosis("scope-length-invalid", at + 1, `The device scope has ${LENGTH} bytes: its path ends in half a step.`));
  if (FLAGS && !inSidp) report(diagnosis("reserved-nonzero", at + 2, `Reserved bits of ${DEVICE_SCOPE.name} are set (byte 2: ${hexBytes(Uint8Array.of(FLAGS))}); only SIDP structures have flags there.`));
  return { offset: at, type: TYPE, flags: FLAGS, enumerationId: ENUMERATION_ID, startBus: START_BUS, path, ...readReserved(DEVICE_SCOPE, words, at, report), ...(odd ? { rest: bytes.slice(at + LENGTH - 1, at + LENGTH) } : {}) };
};

const readScopes = (bytes: Uint8Array, start: number, end: number, inSidp: boolean, report: Report): { readonly scopes: readonly DmarScope[]; readonly rest?: Uint8Array } => {
  const scopes: DmarScope[] = [];
  let at = start;
  for (; at < end; ) {
    const length = bytes[at + 1] as number;
    if (end - at < SCOPE_HEADER || length < SCOPE_HEADER || at + length > end) {
      report(diagnosis("scope-length-invalid", at, end - at < 2 ? "One byte is left where a device scope should begin." : `The device scope states ${length} bytes; it has at least ${SCOPE_HEADER}, and ${end - at} are left in its structure.`));
      return { scopes, rest: bytes.slice(at, end) };
    }
    scopes.push(readScope(bytes, at, inSidp, report));
    at += length;
  }
  return { scopes };
};

const readName = (bytes: Uint8Array, start: number, end: number, report: Report): { readonly objectName: string; readonly rest?: Uint8Array } => {
  const zero = bytes.subarray(start, end).indexOf(0);
  const stop = zero < 0 ? end : start + zero;
  const objectName = String.fromCharCode(...bytes.subarray(start, stop));
  if (zero < 0) report(diagnosis("andd-name-malformed", start, "The object name is not ended by a zero."));
  const after = bytes.slice(stop, end);
  return { objectName, ...(after.length === 1 ? {} : { rest: after }) };
};

const readKnown = (bytes: Uint8Array, at: number, length: number, type: number, report: Report): DmarStructure | undefined => {
  const layout = STRUCTURES[type];
  if (!layout || length < layout.width / 8) return undefined;
  const words = wordsAt(bytes, at, layout.width);
  const fixed = at + layout.width / 8;
  const common = { offset: at, length, ...readReserved(layout, words, at, report) };
  const scoped = (): { readonly scopes: readonly DmarScope[]; readonly rest?: Uint8Array } => readScopes(bytes, fixed, at + length, type === 6, report);
  switch (type) {
    case 0: {
      const { INCLUDE_PCI_ALL, SIZE, SEGMENT, BASE_LOW, BASE_HIGH } = DRHD.decode(words);
      return { type, name: "DRHD", ...common, includeAll: INCLUDE_PCI_ALL === 1, size: SIZE, segment: SEGMENT, registerBase: wide(BASE_LOW, BASE_HIGH), ...scoped() };
    }
    case 1: {
      const { SEGMENT, BASE_LOW, BASE_HIGH, LIMIT_LOW, LIMIT_HIGH } = RMRR.decode(words);
      return { type, name: "RMRR", ...common, segment: SEGMENT, base: wide(BASE_LOW, BASE_HIGH), limit: wide(LIMIT_LOW, LIMIT_HIGH), ...scoped() };
    }
    case 2: {
      const { ALL_PORTS, SEGMENT } = ATSR.decode(words);
      return { type, name: "ATSR", ...common, allPorts: ALL_PORTS === 1, segment: SEGMENT, ...scoped() };
    }
    case 3: {
      const { BASE_LOW, BASE_HIGH, PROXIMITY_DOMAIN } = RHSA.decode(words);
      return { type, name: "RHSA", ...common, registerBase: wide(BASE_LOW, BASE_HIGH), proximityDomain: PROXIMITY_DOMAIN, ...optional("rest", bytes.slice(fixed, at + length)) };
    }
    case 4:
      return { type, name: "ANDD", ...common, deviceNumber: ANDD.decode(words).ACPI_DEVICE_NUMBER, ...readName(bytes, fixed, at + length, report) };
    case 5: {
      const { ATC_REQUIRED, SEGMENT } = SATC.decode(words);
      return { type, name: "SATC", ...common, atcRequired: ATC_REQUIRED === 1, segment: SEGMENT, ...scoped() };
    }
    default:
      return { type: 6, name: "SIDP", ...common, segment: SIDP.decode(words).SEGMENT, ...scoped() };
  }
};

const readRaw = (bytes: Uint8Array, at: number, length: number, type: number, report: Report): RawStructure => {
  const layout = STRUCTURES[type];
  report(layout ? diagnosis("structure-too-short", at + 2, `${layout.name} of ${length} bytes; it has at least ${layout.width / 8}.`) : diagnosis("structure-type-unknown", at, `Structure type ${type} (${length} bytes) is not in the specification.`));
  return { type, name: "raw", offset: at, length, data: bytes.slice(at + 4, at + length) };
};

const readStructures = (bytes: Uint8Array, end: number, report: Report): { readonly structures: readonly DmarStructure[]; readonly rest: Uint8Array } => {
  const structures: DmarStructure[] = [];
  let at = STRUCTURES_OFFSET;
  for (; at < end; ) {
    const [type, length] = [(bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8), (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8)];
    if (end - at < 4 || length < 4 || at + length > end) {
      const what = end - at < 4 ? `${end - at} bytes are left where a structure should begin.` : `A structure (${structureName(type)}) states ${length} bytes; ${end - at} are left in the table.`;
      report(diagnosis(end - at >= 4 && length < 4 ? "structure-length-zero" : "structure-overruns-table", at, what));
      break;
    }
    structures.push(readKnown(bytes, at, length, type, report) ?? readRaw(bytes, at, length, type, report));
    at += length;
  }
  return { structures, rest: bytes.slice(at, end) };
};

/** Where the table ends, and how its length and checksum fields lie. ACPI §5.2.6. */
const readFrame = (bytes: Uint8Array, report: Report): { readonly end: number; readonly odd: DmarOddities } => {
  const { header } = decodeSdt(bytes, "DMAR");
  const sound = header.length >= STRUCTURES_OFFSET && header.length <= bytes.length;
  const end = sound ? header.length : bytes.length;
  if (!sound) report(diagnosis("table-length-wrong", 4, `Length says ${header.length} bytes; ${bytes.length} are at hand, and all of them are read.`));
  const expected = sdtChecksum(bytes, end);
  if (header.checksum !== expected) report(diagnosis("table-checksum-wrong", 9, `The checksum is 0x${header.checksum.toString(16)}; the bytes need 0x${expected.toString(16)}.`));
  if (end < bytes.length) report(diagnosis("table-trailing-bytes", end, `${bytes.length - end} bytes follow the ${end} that Length counts.`));
  const fresh = encodeSdt("DMAR", new Uint8Array(), header);
  const plain = bytes.subarray(0, SDT_HEADER_SIZE).every((byte, i) => (i >= 4 && i < 8) || i === 9 || byte === fresh[i]);
  return {
    end,
    odd: {
      ...(plain ? {} : { header: bytes.slice(0, SDT_HEADER_SIZE) }),
      ...(sound ? {} : { length: header.length }),
      ...(header.checksum === expected ? {} : { checksum: header.checksum }),
      ...optional("trailing", bytes.slice(end)),
    },
  };
};

/**
 * Reads a DMAR table, signature to end, as in /sys/firmware/acpi/tables/DMAR. VT-d §8.
 * Firmware's mistakes do not stop it: they are in `diagnoses`, and what is damaged is kept as bytes.
 * @throws DmarError when the bytes are no DMAR table, or end before its first structure
 */
export const decodeDmar = (bytes: Uint8Array): DmarTable => {
  const { header } = decodeSdt(bytes);
  if (header.signature !== "DMAR") throw new DmarError(`A DMAR table starts with "DMAR"; here are ${bytes.length} bytes that start with "${header.signature}".`);
  if (bytes.length < STRUCTURES_OFFSET) throw new DmarError(`The DMAR table ends after ${bytes.length} bytes; its structures begin at byte ${STRUCTURES_OFFSET}.`);
  const diagnoses: Diagnosis[] = [];
  const report: Report = (found) => void diagnoses.push(found);
  const frame = readFrame(bytes, report);
  const words = wordsAt(bytes, SDT_HEADER_SIZE, DMAR_BODY.width);
  const { HAW, INTR_REMAP, X2APIC_OPT_OUT, DMA_CTRL_PLATFORM_OPT_IN_FLAG } = DMAR_BODY.decode(words);
  const { reserved } = readReserved(DMAR_BODY, words, SDT_HEADER_SIZE, report);
  const { structures, rest } = readStructures(bytes, frame.end, report);
  const odd: DmarOddities = { ...frame.odd, ...optional("reserved", reserved), ...optional("rest", rest) };
  const table = { header, hostAddressWidth: HAW + 1, interruptRemapping: INTR_REMAP === 1, x2apicOptOut: X2APIC_OPT_OUT === 1, dmaControlOptIn: DMA_CTRL_PLATFORM_OPT_IN_FLAG === 1, structures, ...(Object.keys(odd).length > 0 ? { odd } : {}) };
  return { ...table, diagnoses: [...diagnoses, ...diagnoseDmar(table)].sort((a, b) => a.offset - b.offset) };
};

