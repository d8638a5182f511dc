import type { Hpa } from "@iommu-lab/memory";
import { decodeSdt, encodeSdt, SDT_HEADER_SIZE, type SdtHeader, type SdtIdentity, type TableProblem } from "./sdt.ts";

/** Where the configuration space of one range of buses is memory-mapped (ECAM). PCI Firmware §4.1.2 "MCFG Table Description". */
export interface EcamAllocation {
  /** Address of bus 0's first byte, also when `firstBus` is not 0: bus b is at base + b * 1 MiB. */
  readonly base: Hpa;
  /** PCI segment group, 16 bits. */
  readonly segment: number;
  readonly firstBus: number;
  /** Inclusive. */
  readonly lastBus: number;
}

/** A decoded MCFG table. */
export interface Mcfg {
  readonly header: SdtHeader;
  readonly allocations: readonly EcamAllocation[];
  readonly problems: readonly TableProblem[];
}

const RESERVED = 8;
const ENTRY = 16;

const checkAllocation = ({ base, segment, firstBus, lastBus }: EcamAllocation): void => {
  if (!Number.isSafeInteger(base) || base < 0 || base >= 2 ** 52) throw new RangeError(`ECAM base HPA 0x${base.toString(16)} is not below 2^52.`);
  if (!(Number.isInteger(segment) && segment >= 0 && segment < 0x1_0000)) throw new RangeError(`Segment 0x${segment.toString(16)} does not fit the 16 bits of an MCFG entry.`);
  if (!(firstBus >= 0 && firstBus <= lastBus && lastBus < 256)) throw new RangeError(`Buses 0x${firstBus.toString(16)} to 0x${lastBus.toString(16)} are no range below 0x100.`);
};

/**
 * Makes an MCFG table.
 * @throws RangeError when an allocation does not fit its fields
 */
export const encodeMcfg = (allocations: readonly EcamAllocation[], identity: SdtIdentity = {}): Uint8Array => {
  const body = new Uint8Array(RESERVED + ENTRY * allocations.length);
  const view = new DataView(body.buffer);
  for (const [i, allocation] of allocations.entries()) {
    checkAllocation(allocation);
    const at = RESERVED + ENTRY * i;
    view.setUint32(at, allocation.base % 2 ** 32, true);
    view.setUint32(at + 4, Math.floor(allocation.base / 2 ** 32), true);
    view.setUint16(at + 8, allocation.segment, true);
    view.setUint8(at + 10, allocation.firstBus);
    view.setUint8(at + 11, allocation.lastBus);
  }
  return encodeSdt("MCFG", body, identity);
};

/** Reads an MCFG table; never throws. Entries that make no sense are left out and reported. */
export const decodeMcfg = (table: Uint8Array): Mcfg => {
  const { header, body, problems: found } = decodeSdt(table, "MCFG");
  const problems = [...found];
  const allocations: EcamAllocation[] = [];
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const report = (at: number, field: string, text: string): void => void problems.push({ kind: "content", field, offset: SDT_HEADER_SIZE + at, text });
  const entries = Math.max(0, body.length - RESERVED);
  if (entries % ENTRY) report(body.length - (entries % ENTRY), "Configuration Space Base Address Allocation", `${entries % ENTRY} bytes follow the last whole entry of 16 bytes.`);
  for (let at = RESERVED; at + ENTRY <= body.length; at += ENTRY) {
    const high = view.getUint32(at + 4, true);
    const firstBus = view.getUint8(at + 10);
    const lastBus = view.getUint8(at + 11);
    if (high >= 2 ** 20) report(at, "Base Address", `Base address bits 63:32 are 0x${high.toString(16)}; no processor names addresses past 2^52.`);
    else if (firstBus > lastBus) report(at + 10, "Start Bus Number", `Start bus 0x${firstBus.toString(16)} is above end bus 0x${lastBus.toString(16)}.`);
    else allocations.push({ base: high * 2 ** 32 + view.getUint32(at, true), segment: view.getUint16(at + 8, true), firstBus, lastBus });
  }
  return { header, allocations, problems };
};
